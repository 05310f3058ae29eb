// Table rows of kinds that print their name, something, and their age.
import type { JsonObject } from '../../../../api/object.ts';
import type { Strategy } from '../../strategy.ts';
import { ageCell, nameCell } from '../cells.ts';

export type Cell = string | number | boolean;

export function row(between: (object: JsonObject) => Cell[]): NonNullable<Strategy['cells']> {
  return (object, now) => [nameCell(object), ...between(object), ageCell(object, now)];
}
