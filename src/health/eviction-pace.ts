import type { Node } from '../api/types/core-v1.ts';
import { readyStatus } from './node-state.ts';

const ZONE = 'topology.kubernetes.io/zone';
const REGION = 'topology.kubernetes.io/region';

/** kube-controller-manager's options of the same names. Rates are nodes a second. */
export interface EvictionRates {
  /** --node-eviction-rate */
  normal: number;
  /** --secondary-node-eviction-rate: while a large zone is disrupted; smaller ones stop. */
  secondary: number;
  /** --unhealthy-zone-threshold: the share of nodes that are down. */
  unhealthyShare: number;
  /** --large-cluster-size-threshold: zones of more nodes are large. */
  largeZone: number;
}

export const DEFAULT_RATES: EvictionRates = {
  normal: 0.1,
  secondary: 0.01,
  unhealthyShare: 0.55,
  largeZone: 50,
};

export interface ZoneHealth {
  state: 'normal' | 'partial' | 'full';
  size: number;
}

/** Nodes without labels of zone and region share one. */
export function zoneOf({ metadata: { labels = {} } }: Node): string {
  return `${labels[REGION] ?? ''}/${labels[ZONE] ?? ''}`;
}

/** How much of each zone is down (ComputeZoneState of Kubernetes). Pure. */
export function zonesOf(nodes: readonly Node[], rates: EvictionRates): ReadonlyMap<string, ZoneHealth> {
  const counts = new Map<string, { down: number; size: number }>();
  for (const node of nodes) {
    const zone = zoneOf(node);
    const count = counts.get(zone) ?? { down: 0, size: 0 };
    counts.set(zone, count);
    count.size += 1;
    if (readyStatus(node) !== 'True') count.down += 1;
  }
  return new Map(
    [...counts].map(([zone, { down, size }]): [string, ZoneHealth] => {
      if (down > 0 && down === size) return [zone, { state: 'full', size }];
      const partial = down > 2 && down / size >= rates.unhealthyShare;
      return [zone, { state: partial ? 'partial' : 'normal', size }];
    }),
  );
}

/** All of the cluster is down: that says more about the server or its network than about the boards. Pure. */
export function isCutOff(zones: ReadonlyMap<string, ZoneHealth>): boolean {
  return zones.size > 0 && [...zones.values()].every(({ state }) => state === 'full');
}

/** Nodes a second that may lose their pods in such a zone. Pure. */
export function rateOf({ state, size }: ZoneHealth, rates: EvictionRates): number {
  // A zone that is down as a whole while others live has lost its boards, not the server: they are replaced.
  if (state !== 'partial') return rates.normal;
  return size > rates.largeZone ? rates.secondary : 0;
}

/** One node after another: when the next of a zone may lose its pods. A changed rate begins anew. */
export class EvictionPace {
  private readonly zones = new Map<string, { rate: number; notBefore: number }>();

  /** Milliseconds to wait; 0 takes the turn; undefined while nobody is evicted. `now` is monotonic. */
  turn(zone: string, rate: number, now: number): number | undefined {
    const known = this.zones.get(zone);
    const current = known?.rate === rate ? known : { rate, notBefore: now };
    this.zones.set(zone, current);
    if (rate <= 0) return undefined;
    if (now < current.notBefore) return current.notBefore - now;
    current.notBefore = now + 1000 / rate;
    return 0;
  }
}
