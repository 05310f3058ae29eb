// Every resource that has something peculiar, by its group resource.
import type { Strategy } from '../strategy.ts';
import { podStrategy } from './pods.ts';

export function createStrategies(): Map<string, Strategy> {
  return new Map<string, Strategy>([['pods', podStrategy]]);
}
