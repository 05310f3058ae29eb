import { describe, expect, it } from 'vitest';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetSpec } from '../../../src/api/types/policy-v1.ts';
import { budgetStatus, type ScaleOf } from '../../../src/server/controllers/disruption.ts';
import { names, type PodFacts, pod } from './pods.ts';

const NOW = 10_000_000;
const at = (ms: number): string => new Date(ms).toISOString();

function budget(
  spec: Partial<PodDisruptionBudgetSpec>,
  disruptedPods: Record<string, string> = {},
): PodDisruptionBudget {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: 'web', namespace: 'default', generation: 2 },
    spec: { selector: {}, ...spec },
    status: { currentHealthy: 9, desiredHealthy: 9, disruptionsAllowed: 9, expectedPods: 9, disruptedPods },
  };
}

/** `count` pods, changed by what is said of some of them. */
const pods = (count: number, ...some: PodFacts[]): Pod[] =>
  Array.from({ length: count }, (_, index) => pod({ name: `p${index}`, ...some[index] }));
const scaleTo =
  (replicas: number): ScaleOf =>
  () => ({ owner: 'web', replicas });

function judge(spec: Partial<PodDisruptionBudgetSpec>, given: Pod[], scale = scaleTo(given.length)) {
  const { status } = budgetStatus({ budget: budget(spec), pods: given, scaleOf: scale, now: NOW });
  return [status.expectedPods, status.desiredHealthy, status.currentHealthy, status.disruptionsAllowed];
}

describe('a budget', () => {
  it.each<[string, Partial<PodDisruptionBudgetSpec>, number, number, number[]]>([
    ['minAvailable', { minAvailable: 2 }, 3, 3, [3, 2, 3, 1]],
    ['minAvailable more than there are', { minAvailable: 5 }, 3, 3, [3, 5, 3, 0]],
    ['minAvailable of nothing', { minAvailable: 0 }, 3, 3, [3, 0, 3, 3]],
    ['minAvailable, rounded up', { minAvailable: '50%' }, 7, 7, [7, 4, 7, 3]],
    ['minAvailable of the size that is wanted', { minAvailable: '50%' }, 3, 10, [10, 5, 3, 0]],
    ['maxUnavailable', { maxUnavailable: 1 }, 3, 3, [3, 2, 3, 1]],
    ['maxUnavailable of the size that is wanted', { maxUnavailable: 1 }, 3, 5, [5, 4, 3, 0]],
    ['maxUnavailable, rounded up', { maxUnavailable: '30%' }, 7, 7, [7, 4, 7, 3]],
    ['maxUnavailable of all', { maxUnavailable: '100%' }, 3, 3, [3, 0, 3, 3]],
    ['neither', {}, 2, 2, [2, 1, 2, 1]],
    ['no pods', { minAvailable: 0 }, 0, 0, [0, 0, 0, 0]],
  ])('%s', (_name, spec, count, replicas, expected) => {
    expect(judge(spec, pods(count), scaleTo(replicas))).toEqual(expected);
  });

  it('counts pods that are ready and stay', () => {
    const given = pods(4, { ready: false }, { deleted: true }, { phase: 'Succeeded' });
    expect(judge({ minAvailable: 1 }, given)).toEqual([4, 1, 1, 0]);
  });

  it('counts each controller once', () => {
    const given = pods(4);
    const scale: ScaleOf = ({ metadata }) =>
      metadata.name === 'p3' ? { owner: 'other', replicas: 2 } : { owner: 'web', replicas: 3 };
    expect(judge({ maxUnavailable: 1 }, given, scale)).toEqual([5, 4, 4, 0]);
  });
});

describe('an eviction that was granted', () => {
  const decide = (granted: number, facts: PodFacts = {}) =>
    budgetStatus({
      budget: budget({ minAvailable: 1 }, { p0: at(granted), gone: at(granted) }),
      pods: pods(3, facts),
      scaleOf: scaleTo(3),
      now: NOW,
    });

  it('counts until its pod is being deleted', () => {
    const { status, again } = decide(NOW - 20_000);
    expect(status).toMatchObject({
      currentHealthy: 2,
      disruptionsAllowed: 1,
      disruptedPods: { p0: at(NOW - 20_000) },
    });
    expect(again).toBe(100_000);
    expect(decide(NOW - 20_000, { deleted: true }).status.disruptedPods).toBeUndefined();
  });

  it('is forgotten when the pod is still there after two minutes', () => {
    const { status, forgotten } = decide(NOW - 120_000);
    expect(status).toMatchObject({ currentHealthy: 3, disruptionsAllowed: 2 });
    expect(status.disruptedPods).toBeUndefined();
    expect(names(forgotten)).toEqual(['p0']);
  });
});

describe('pods whose size nobody says', () => {
  const given = pods(2);
  const decide = (spec: Partial<PodDisruptionBudgetSpec>, scaleOf: ScaleOf) =>
    budgetStatus({ budget: budget(spec), pods: given, scaleOf, now: NOW });

  it('count by themselves where a number is asked for', () => {
    for (const scale of ['unmanaged', undefined] as const) {
      const { status, unmanaged, failure } = decide({ minAvailable: 1 }, () => scale);
      expect([status.disruptionsAllowed, unmanaged, failure]).toEqual([1, [], undefined]);
    }
  });

  it('are told of where a share is asked for: without a controller', () => {
    const { status, unmanaged } = decide({ maxUnavailable: 1 }, () => 'unmanaged');
    expect([status.expectedPods, status.disruptionsAllowed, names(unmanaged)]).toEqual([0, 0, ['p0', 'p1']]);
  });

  it('allow nothing there when their controller has no size', () => {
    const { status, failure } = decide({ minAvailable: '50%' }, () => undefined);
    expect(failure).toBe('found no controllers for pod "p0"');
    expect(status).toMatchObject({ disruptionsAllowed: 0, observedGeneration: 2 });
    expect(status.conditions).toMatchObject([
      { type: 'DisruptionAllowed', status: 'False', reason: 'SyncFailed' },
    ]);
  });
});
