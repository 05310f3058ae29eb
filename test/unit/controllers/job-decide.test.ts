import { describe, expect, it } from 'vitest';
import type { Job, JobSpec, PodFailurePolicyRule } from '../../../src/api/types/batch-v1.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { decideJob, type JobDecision } from '../../../src/server/controllers/job/decide.ts';
import { formatIndexes, parseIndexes } from '../../../src/server/controllers/job/indexes.ts';
import { names, type PodFacts, pod } from './pods.ts';

const INDEX = 'batch.kubernetes.io/job-completion-index';
const FAILURES = 'batch.kubernetes.io/job-index-failure-count';
const IGNORED = 'batch.kubernetes.io/job-index-ignored-failure-count';
const NOW = 1_000_000;

function job(spec: Partial<JobSpec>, status: Job['status'] = {}): Job {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'sum', namespace: 'default', uid: 'job' },
    spec: {
      template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main' }] } },
      ...spec,
    },
    status: { startTime: '1970-01-01T00:00:00Z', ...status },
  };
}

/** A pod that the Job still has to count. */
const tracked = (facts: PodFacts): Pod => pod({ finalizers: ['batch.kubernetes.io/job-tracking'], ...facts });
const failed = (name: string, facts: PodFacts = {}): Pod =>
  tracked({ name, phase: 'Failed', exitCode: 1, finished: 0, ...facts });
const succeeded = (name: string, facts: PodFacts = {}): Pod =>
  tracked({ name, phase: 'Succeeded', ...facts });
const ofIndex = (index: number, failures = 0): PodFacts => ({
  annotations: { [INDEX]: String(index), [FAILURES]: String(failures) },
});
const decide = (one: Job, pods: Pod[], now = NOW): JobDecision => decideJob({ job: one, pods, now });
const conditions = ({ status }: JobDecision): string[] =>
  (status.conditions ?? []).map(({ type, reason }) => `${type} ${reason}`);
const indexes = ({ create }: JobDecision): (number | undefined)[] => create.map(({ index }) => index);

describe('a Job without completions', () => {
  it('is a work queue: the first success ends it once all others have ended, too', () => {
    const spec = { parallelism: 2 };
    expect(decide(job(spec), []).create).toHaveLength(2);
    const working = decide(job(spec), [succeeded('a'), tracked({ name: 'b' })]);
    expect([working.create, working.remove, working.discard]).toEqual([[], [], []]);
    expect(conditions(working)).toEqual([]);
    const counted = { succeeded: 1 };
    expect(conditions(decide(job(spec, counted), []))).toEqual([
      'SuccessCriteriaMet CompletionsReached',
      'Complete CompletionsReached',
    ]);
  });
});

describe('a Job of another size', () => {
  it('gives up pods without counting them, those that are not ready first', () => {
    const pods = [tracked({ name: 'a' }), tracked({ name: 'b', ready: false }), tracked({ name: 'c' })];
    const decision = decide(job({ parallelism: 2, completions: 5 }), pods);
    expect(names(decision.discard)).toEqual(['b']);
    expect(decision.status.active).toBe(2);
    expect(names(decide(job({ parallelism: 0, completions: 5 }), pods).discard)).toHaveLength(3);
  });

  it('never runs more than are left to do', () => {
    const one = job({ parallelism: 5, completions: 5 }, { succeeded: 3 });
    expect(decide(one, [tracked({ name: 'a' })]).create).toHaveLength(1);
  });
});

describe('counting', () => {
  it('enters a pod first, lets its finalizer go, and only then adds it', () => {
    const spec = { completions: 3 };
    const entered = decide(job(spec), [succeeded('a')]);
    expect(entered.status).toMatchObject({ uncountedTerminatedPods: { succeeded: ['a'] } });
    expect(entered.status.succeeded).toBeUndefined();
    expect(names(entered.release)).toEqual(['a']);
    // Its finalizer is gone, whether the pod is still there or not.
    const untracked = pod({ name: 'a', phase: 'Succeeded' });
    for (const pods of [[untracked], []]) {
      const added = decide(job(spec, entered.status), pods);
      expect(added.status).toMatchObject({ succeeded: 1, uncountedTerminatedPods: {} });
    }
  });
});

describe('podReplacementPolicy', () => {
  const going = tracked({ name: 'a', deleted: true });
  it('TerminatingOrFailed replaces a pod that is being deleted at once', () => {
    const decision = decide(job({}), [going], 10_000_000);
    expect(decision.create).toHaveLength(1);
    expect(decision.status).toMatchObject({ terminating: 1, uncountedTerminatedPods: { failed: ['a'] } });
  });
  it.each<[string, Partial<JobSpec>]>([
    ['Failed', { podReplacementPolicy: 'Failed' }],
    ['a failure policy', { podFailurePolicy: { rules: [] } }],
  ])('%s waits until it has ended', (_name, spec) => {
    const decision = decide(job(spec), [going], 10_000_000);
    expect(decision.create).toHaveLength(0);
    expect(decision.status).toMatchObject({ terminating: 1, uncountedTerminatedPods: {} });
    const ended = failed('a', { deleted: true });
    expect(decide(job(spec), [ended], 10_000_000).create).toHaveLength(1);
  });
});

describe('podFailurePolicy', () => {
  const policy = (...rules: NonNullable<JobSpec['podFailurePolicy']>['rules']): Partial<JobSpec> => ({
    podFailurePolicy: { rules },
  });
  const onCode = (
    action: PodFailurePolicyRule['action'],
    operator: 'In' | 'NotIn',
    ...values: number[]
  ): PodFailurePolicyRule => ({
    action,
    onExitCodes: { operator, values },
  });

  it.each<[string, Partial<JobSpec>, PodFacts, { counted: boolean; ends: string[] }]>([
    ['Ignore', policy(onCode('Ignore', 'In', 1)), {}, { counted: false, ends: [] }],
    ['Count', policy(onCode('Count', 'In', 1)), {}, { counted: true, ends: [] }],
    ['another code', policy(onCode('Ignore', 'In', 2)), {}, { counted: true, ends: [] }],
    ['NotIn', policy(onCode('Ignore', 'NotIn', 2)), {}, { counted: false, ends: [] }],
    [
      'the first rule that matches',
      policy(onCode('Ignore', 'In', 1), onCode('FailJob', 'In', 1)),
      {},
      { counted: false, ends: [] },
    ],
    [
      'FailJob',
      policy(onCode('FailJob', 'In', 1)),
      {},
      { counted: true, ends: ['FailureTarget PodFailurePolicy'] },
    ],
    [
      'a condition',
      policy({ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }),
      { conditions: [{ type: 'DisruptionTarget', status: 'True' }] },
      { counted: false, ends: [] },
    ],
    [
      'another container',
      policy({ action: 'Ignore', onExitCodes: { containerName: 'other', operator: 'In', values: [1] } }),
      {},
      { counted: true, ends: [] },
    ],
  ])('%s', (_name, spec, facts, { counted, ends }) => {
    const decision = decide(job({ backoffLimit: 6, ...spec }), [failed('a', facts)]);
    expect(decision.status.uncountedTerminatedPods?.failed).toEqual(counted ? ['a'] : undefined);
    expect(conditions(decision)).toEqual(ends);
    expect(names(decision.release)).toEqual(['a']);
  });

  it('FailIndex fails the index of the pod for good', () => {
    const spec: Partial<JobSpec> = {
      completionMode: 'Indexed',
      completions: 2,
      parallelism: 2,
      backoffLimitPerIndex: 5,
    };
    const one = job({ ...spec, ...policy(onCode('FailIndex', 'In', 1)) });
    const decision = decide(one, [failed('a', ofIndex(1)), tracked({ name: 'b', ...ofIndex(0) })]);
    expect(decision.status.failedIndexes).toBe('1');
    expect(indexes(decision)).toEqual([]);
  });
});

describe('backoffLimitPerIndex', () => {
  const spec: Partial<JobSpec> = {
    completionMode: 'Indexed',
    completions: 3,
    parallelism: 3,
    backoffLimitPerIndex: 1,
  };

  it('waits for each index by its own failures, and counts them on its pods', () => {
    const others = [tracked({ name: 'b', ...ofIndex(1) }), tracked({ name: 'c', ...ofIndex(2) })];
    const early = decide(job(spec), [failed('a', { ...ofIndex(0), finished: NOW - 4000 }), ...others]);
    expect([indexes(early), early.again]).toEqual([[], 6000]);
    const late = decide(job(spec), [failed('a', { ...ofIndex(0), finished: NOW - 10_000 }), ...others]);
    expect(late.create).toEqual([{ index: 0, annotations: { [FAILURES]: '1' } }]);
  });

  it('does not count what the policy ignores', () => {
    const rules: PodFailurePolicyRule[] = [
      { action: 'Ignore', onExitCodes: { operator: 'In', values: [1] } },
    ];
    const one = job({ ...spec, completions: 1, podFailurePolicy: { rules } });
    expect(decide(one, [failed('a', ofIndex(0))]).create[0]?.annotations).toEqual({
      [FAILURES]: '0',
      [IGNORED]: '1',
    });
  });

  it('gives up an index after its limit; the others go on, and then the Job has failed', () => {
    const decision = decide(job(spec), [failed('a', ofIndex(0, 1)), tracked({ name: 'b', ...ofIndex(1) })]);
    expect(decision.status.failedIndexes).toBe('0');
    expect(indexes(decision)).toEqual([2]);
    expect(conditions(decision)).toEqual([]);
    const all = decide(job(spec, { failedIndexes: '0', completedIndexes: '1,2', failed: 2 }), []);
    expect(conditions(all)).toEqual(['FailureTarget FailedIndexes', 'Failed FailedIndexes']);
    expect(all.status).toMatchObject({ completedIndexes: '1,2', failedIndexes: '0', succeeded: 2 });
  });

  it('fails the Job at once beyond maxFailedIndexes', () => {
    const one = job({ ...spec, maxFailedIndexes: 1 }, { failedIndexes: '0' });
    const decision = decide(one, [failed('b', ofIndex(1, 1)), tracked({ name: 'c', ...ofIndex(2) })]);
    expect(conditions(decision)).toEqual(['FailureTarget MaxFailedIndexesExceeded']);
    expect(names(decision.remove)).toEqual(['c']);
  });
});

describe('successPolicy', () => {
  const spec: Partial<JobSpec> = { completionMode: 'Indexed', completions: 5, parallelism: 5 };
  it.each<[string, NonNullable<JobSpec['successPolicy']>['rules'], string, string[]]>([
    ['indexes', [{ succeededIndexes: '0,3' }], '0,3', ['SuccessCriteriaMet SuccessPolicy']],
    ['not all of them', [{ succeededIndexes: '0,3' }], '0,1', []],
    ['a count', [{ succeededCount: 2 }], '1,4', ['SuccessCriteriaMet SuccessPolicy']],
    ['a count of indexes', [{ succeededIndexes: '0-3', succeededCount: 2 }], '3,4', []],
    [
      'the second rule',
      [{ succeededIndexes: '0' }, { succeededCount: 1 }],
      '4',
      ['SuccessCriteriaMet SuccessPolicy'],
    ],
  ])('%s', (_name, rules, completedIndexes, expected) => {
    const leftOver = tracked({ name: 'z', ...ofIndex(2) });
    const decision = decide(job({ ...spec, successPolicy: { rules } }, { completedIndexes }), [leftOver]);
    expect(conditions(decision)).toEqual(expected);
    expect(names(decision.remove)).toEqual(expected.length > 0 ? ['z'] : []);
  });
});

describe('an indexed Job', () => {
  it('gives up pods of the same or of no index', () => {
    const spec: Partial<JobSpec> = { completionMode: 'Indexed', completions: 2, parallelism: 2 };
    const pods = [
      tracked({ name: 'a', ...ofIndex(0) }),
      tracked({ name: 'b', ...ofIndex(0), ready: false }),
      tracked({ name: 'c', ...ofIndex(7) }),
      tracked({ name: 'd' }),
    ];
    expect(names(decide(job(spec), pods).discard).sort()).toEqual(['b', 'c', 'd']);
  });
});

describe('containers that restart in place', () => {
  const spec: Partial<JobSpec> = {
    template: { spec: { restartPolicy: 'OnFailure', containers: [{ name: 'main' }] } },
  };
  it.each([
    [2, 1, []],
    [2, 2, ['FailureTarget BackoffLimitExceeded']],
    [0, 0, []],
    [0, 1, ['FailureTarget BackoffLimitExceeded']],
  ])('back-off limit %i, %i restarts', (backoffLimit, restarts, expected) => {
    expect(conditions(decide(job({ ...spec, backoffLimit }), [tracked({ name: 'a', restarts })]))).toEqual(
      expected,
    );
  });
});

describe('indexes as text', () => {
  it.each([
    ['', []],
    ['3', [3]],
    ['1,2', [1, 2]],
    ['0-2,5', [0, 1, 2, 5]],
    ['0-2,4-6,8,9', [0, 1, 2, 4, 5, 6, 8, 9]],
  ])('%s', (text, list) => {
    expect(formatIndexes(new Set(list))).toBe(text);
    expect([...parseIndexes(text, 100)]).toEqual(list);
  });
  it('end at the number of completions', () => {
    expect([...parseIndexes('0-5,x,9', 3)]).toEqual([0, 1, 2]);
  });
});
