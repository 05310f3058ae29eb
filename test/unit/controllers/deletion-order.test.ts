import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { planReplicas } from '../../../src/server/controllers/replicaset/decide.ts';
import { names, type PodFacts, pod } from './pods.ts';

const NOW = 1_000_000_000;
const cost = (value: string): PodFacts => ({
  annotations: { 'controller.kubernetes.io/pod-deletion-cost': value },
});

/** Which of the pods goes when one is too many. */
function goes(pods: Pod[], related: Pod[] = pods): string[] {
  return names(planReplicas({ replicas: pods.length - 1, pods, related, now: NOW }).remove);
}

describe('of two pods the one goes that', () => {
  // The pod named b comes first in each pair of facts, a second: by name alone a would go.
  it.each<[string, PodFacts, PodFacts]>([
    ['has no node', { node: '' }, {}],
    ['is pending', { phase: 'Pending', ready: false }, {}],
    ['is not ready', { ready: false }, {}],
    ['is not ready, whatever its cost', { ready: false, ...cost('100') }, cost('-100')],
    ['costs less', cost('-1'), {}],
    ['costs less than another, not being a number', cost('cheap'), cost('1')],
    ['is ready for less long, by orders of magnitude', { ready: NOW - 1000 }, { ready: NOW - 60_000 }],
    ['restarted more often', { restarts: 3 }, { restarts: 1 }],
    ['is younger, by orders of magnitude', { created: NOW - 1000 }, { created: NOW - 60_000 }],
  ])('%s', (_name, worse, better) => {
    expect(goes([pod({ name: 'a', ...better }), pod({ name: 'b', ...worse })])).toEqual(['b']);
  });

  it('stands on the node with more of its Deployment’s pods', () => {
    const pods = [pod({ name: 'a', node: 'x' }), pod({ name: 'b', node: 'y' })];
    const sibling = pod({ name: 'other-set', node: 'y' });
    expect(goes(pods, [...pods, sibling])).toEqual(['b']);
  });

  it('has the smaller uid when both are of about the same age', () => {
    const pods = [pod({ name: 'b', ready: NOW - 40_000 }), pod({ name: 'a', ready: NOW - 60_000 })];
    expect(goes(pods)).toEqual(['a']);
  });
});

describe('how many', () => {
  it('ended pods and those that are being deleted are not counted', () => {
    const pods = [pod({ name: 'a' }), pod({ name: 'b', phase: 'Failed' }), pod({ name: 'c', deleted: true })];
    expect(planReplicas({ replicas: 2, pods, related: pods, now: NOW })).toEqual({ create: 1, remove: [] });
  });

  it('are at most five hundred at once', () => {
    expect(planReplicas({ replicas: 2000, pods: [], related: [], now: NOW }).create).toBe(500);
  });
});
