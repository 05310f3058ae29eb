import { describe, expect, it } from 'vitest';
import type { Node } from '../../../src/api/types/core-v1.ts';
import {
  DEFAULT_RATES,
  EvictionPace,
  isCutOff,
  rateOf,
  zoneOf,
  zonesOf,
} from '../../../src/health/eviction-pace.ts';

/** `down` of `size` nodes of a zone. */
function zone(name: string, down: number, size: number): Node[] {
  return Array.from({ length: size }, (_, index): Node => {
    const ready = { type: 'Ready', status: index < down ? 'Unknown' : 'True', reason: '', message: '' };
    const labels = { 'topology.kubernetes.io/zone': name };
    return {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: `${name}-${index}`, labels },
      status: { conditions: [ready] },
    };
  });
}

const healthOf = (...nodes: Node[]) => Object.fromEntries(zonesOf(nodes, DEFAULT_RATES));

describe('a zone', () => {
  it('is one of region and zone; nodes without labels share one', () => {
    const labels = { 'topology.kubernetes.io/region': 'r', 'topology.kubernetes.io/zone': 'z' };
    expect(zoneOf({ apiVersion: 'v1', kind: 'Node', metadata: { labels } })).toBe('r/z');
    expect(zoneOf({ apiVersion: 'v1', kind: 'Node', metadata: {} })).toBe('/');
  });

  it.each([
    [0, 5, 'normal'],
    [2, 3, 'normal'],
    [3, 5, 'partial'],
    [3, 6, 'normal'],
    [11, 20, 'partial'],
    [10, 20, 'normal'],
    [5, 5, 'full'],
    [1, 1, 'full'],
  ] as const)('of which %i of %i nodes are down is %s', (down, size, state) => {
    expect(healthOf(...zone('a', down, size))).toEqual({ '/a': { state, size } });
  });

  it('is judged apart from others; the cluster is cut off when all are down', () => {
    const nodes = [...zone('a', 3, 3), ...zone('b', 0, 2)];
    expect(healthOf(...nodes)).toEqual({
      '/a': { state: 'full', size: 3 },
      '/b': { state: 'normal', size: 2 },
    });
    expect(isCutOff(zonesOf(nodes, DEFAULT_RATES))).toBe(false);
    expect(isCutOff(zonesOf([...zone('a', 3, 3), ...zone('b', 2, 2)], DEFAULT_RATES))).toBe(true);
    expect(isCutOff(zonesOf([], DEFAULT_RATES))).toBe(false);
  });

  it.each([
    ['normal', 3, 0.1],
    ['full', 3, 0.1],
    ['partial', 50, 0],
    ['partial', 51, 0.01],
  ] as const)('that is %s with %i nodes loses %d nodes a second', (state, size, rate) => {
    expect(rateOf({ state, size }, DEFAULT_RATES)).toBe(rate);
  });
});

describe('nodes of a zone', () => {
  it('have their turn one after another, those of another zone beside them', () => {
    const pace = new EvictionPace();
    expect(pace.turn('a', 0.1, 0)).toBe(0);
    expect(pace.turn('a', 0.1, 1000)).toBe(9000);
    expect(pace.turn('b', 0.1, 1000)).toBe(0);
    expect(pace.turn('a', 0.1, 10_000)).toBe(0);
    expect(pace.turn('a', 0.1, 10_000)).toBe(10_000);
  });

  it('stop when the rate is nothing, and go on at once when it changes', () => {
    const pace = new EvictionPace();
    expect(pace.turn('a', 0.1, 0)).toBe(0);
    expect(pace.turn('a', 0, 10)).toBeUndefined();
    expect(pace.turn('a', 0.01, 20)).toBe(0);
    expect(pace.turn('a', 0.01, 1020)).toBe(99_000);
  });
});
