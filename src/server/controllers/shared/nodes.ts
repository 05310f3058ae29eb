import type { Node } from '../../../api/types/core-v1.ts';
import { findCondition } from './conditions.ts';

export const isTrue = ({ status }: Node, condition: string): boolean =>
  findCondition(status?.conditions, condition)?.status === 'True';

/** Where a node is reached from outside of the cluster: its IPv4 ExternalIP, or else InternalIP. */
export function outsideAddress({ status }: Node): string | undefined {
  const of = (wanted: string): string | undefined =>
    status?.addresses?.find(({ type, address }) => type === wanted && !address.includes(':'))?.address;
  return of('ExternalIP') ?? of('InternalIP');
}
