import { describe, expect, it } from 'vitest';
import type { StatefulSet, StatefulSetSpec } from '../../../src/api/types/apps-v1.ts';
import type { PersistentVolumeClaim, Pod } from '../../../src/api/types/core-v1.ts';
import type { OwnerReference } from '../../../src/api/types/meta-v1.ts';
import { decideStatefulSet, type StatefulPlan } from '../../../src/server/controllers/statefulset/decide.ts';
import { claimOwners } from '../../../src/server/controllers/statefulset/retention.ts';
import { names, type PodFacts, pod } from './pods.ts';

const NOW = 1_000_000;

function set(spec: Partial<StatefulSetSpec>, status?: StatefulSet['status']): StatefulSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'db', namespace: 'default', uid: 'set' },
    spec: { serviceName: 'db', selector: {}, template: {}, replicas: 3, ...spec },
    ...(status ? { status } : {}),
  };
}

/** Pods by ordinal; each of the revision `old` unless it says otherwise. */
const db = (ordinal: number, facts: PodFacts = {}, revision = 'old'): Pod =>
  pod({ name: `db-${ordinal}`, labels: { 'controller-revision-hash': revision }, ...facts });
const all = (...ordinals: number[]): Pod[] => ordinals.map((ordinal) => db(ordinal));

function decide(spec: Partial<StatefulSetSpec>, pods: Pod[], update = 'old'): StatefulPlan {
  return decideStatefulSet({
    set: set(spec, { replicas: pods.length, currentReplicas: pods.length }),
    pods,
    currentRevision: 'old',
    updateRevision: update,
    collisionCount: undefined,
    now: NOW,
  });
}
const created = ({ create }: StatefulPlan): string[] =>
  create.map(({ ordinal, revision }) => `${ordinal} ${revision}`);

describe('the ordinals of a StatefulSet', () => {
  it('begin where it says, one after another', () => {
    const spec: Partial<StatefulSetSpec> = { ordinals: { start: 5 } };
    expect(created(decide(spec, []))).toEqual(['5 old']);
    expect(created(decide(spec, all(5)))).toEqual(['6 old']);
    expect(created(decide({ ...spec, podManagementPolicy: 'Parallel' }, all(6)))).toEqual(['5 old', '7 old']);
  });

  it('outside of the range go, from the top, when those inside stand', () => {
    const spec: Partial<StatefulSetSpec> = { ordinals: { start: 1 }, replicas: 2 };
    expect(names(decide(spec, all(0, 1, 2, 3)).remove)).toEqual(['db-3']);
    expect(names(decide(spec, all(0, 1, 2)).remove)).toEqual(['db-0']);
    expect(names(decide(spec, [...all(0, 2, 3), db(1, { ready: false })]).remove)).toEqual([]);
    const parallel: Partial<StatefulSetSpec> = { ...spec, podManagementPolicy: 'Parallel' };
    expect(names(decide(parallel, all(0, 1, 2, 3)).remove)).toEqual(['db-3', 'db-0']);
  });

  it('are filled in order: a pod that is not ready, or not long enough, holds up the next', () => {
    expect(created(decide({}, [db(0, { ready: false })]))).toEqual([]);
    expect(created(decide({ minReadySeconds: 10 }, [db(0, { ready: NOW - 9000 })]))).toEqual([]);
    expect(created(decide({ minReadySeconds: 10 }, [db(0, { ready: NOW - 10_000 })]))).toEqual(['1 old']);
    expect(created(decide({}, [db(0, { deleted: true })]))).toEqual([]);
  });

  it('of ended pods are emptied first', () => {
    const plan = decide({}, [db(0, { phase: 'Failed' }), db(1), db(2)]);
    expect([names(plan.remove), names(plan.recreated), created(plan)]).toEqual([['db-0'], ['db-0'], []]);
  });
});

describe('a rolling update', () => {
  const rolling = (rollingUpdate: object): Partial<StatefulSetSpec> => ({
    updateStrategy: { type: 'RollingUpdate', rollingUpdate },
  });
  const removed = (spec: Partial<StatefulSetSpec>, pods: Pod[]): string[] =>
    names(decide(spec, pods, 'new').remove);

  it('takes one pod at a time from the top, and waits for it', () => {
    expect(removed({}, all(0, 1, 2))).toEqual(['db-2']);
    expect(removed({}, [...all(0, 1), db(2, { ready: false }, 'new')])).toEqual([]);
    expect(removed({}, [...all(0, 1), db(2, {}, 'new')])).toEqual(['db-1']);
  });

  it('stops at the partition; what is below comes back as it was', () => {
    expect(removed(rolling({ partition: 2 }), [...all(0, 1), db(2, {}, 'new')])).toEqual([]);
    const plan = decide(rolling({ partition: 2 }), [db(1), db(2, {}, 'new')], 'new');
    expect(created(plan)).toEqual(['0 old']);
    expect(created(decide(rolling({ partition: 0 }), all(1, 2), 'new'))).toEqual(['0 new']);
    expect(created(decide({}, all(1, 2), 'new'))).toEqual(['0 old']);
    expect(created(decide(rolling({ partition: 2 }), all(0, 1), 'new'))).toEqual(['2 new']);
  });

  it('counts the partition from the first ordinal', () => {
    const spec = { ...rolling({ partition: 2 }), ordinals: { start: 5 } };
    expect(removed(spec, all(5, 6, 7))).toEqual(['db-7']);
    expect(removed(spec, [...all(5, 6), db(7, {}, 'new')])).toEqual([]);
    expect(created(decide(spec, all(5), 'new'))).toEqual(['6 old']);
  });

  it.each<[string, number | string, Pod[], string[]]>([
    ['two', 2, all(0, 1, 2), ['db-2', 'db-1']],
    ['a share, rounded down', '70%', all(0, 1, 2), ['db-2', 'db-1']],
    ['at least one', '10%', all(0, 1, 2), ['db-2']],
    ['one is missing already', 2, [...all(0, 1), db(2, { ready: false }, 'new')], ['db-1']],
    [
      'two are missing already',
      2,
      [db(0), db(1, { ready: false }, 'new'), db(2, { ready: false }, 'new')],
      [],
    ],
    ['broken old ones besides', 2, [db(0), db(1), db(2, { ready: false })], ['db-2', 'db-1']],
  ])('maxUnavailable: %s', (_name, maxUnavailable, pods, expected) => {
    expect(removed({ ...rolling({ maxUnavailable }), podManagementPolicy: 'Parallel' }, pods)).toEqual(
      expected,
    );
  });

  it('counts pods below the partition that are missing', () => {
    const spec = {
      ...rolling({ maxUnavailable: 2, partition: 1 }),
      podManagementPolicy: 'Parallel',
    } as const;
    expect(removed(spec, [db(0, { ready: false }), db(1), db(2)])).toEqual(['db-2']);
  });

  it('leaves a revision whose pods never get ready', () => {
    const broken = [0, 1, 2].map((ordinal) => db(ordinal, { ready: false }));
    const parallel: Partial<StatefulSetSpec> = { podManagementPolicy: 'Parallel' };
    expect(removed(parallel, broken)).toEqual(['db-2']);
    expect(removed({ ...parallel, ...rolling({ maxUnavailable: 2 }) }, broken)).toEqual([
      'db-2',
      'db-1',
      'db-0',
    ]);
    // In order a pod that does not get ready holds up everything, as documented: it is deleted by hand.
    expect(removed({}, broken)).toEqual([]);
  });

  it('does nothing with OnDelete; what is deleted comes back new', () => {
    const spec: Partial<StatefulSetSpec> = { updateStrategy: { type: 'OnDelete' } };
    expect(removed(spec, all(0, 1, 2))).toEqual([]);
    expect(created(decide(spec, all(0, 2), 'new'))).toEqual(['1 new']);
  });
});

describe('the claims of a StatefulSet', () => {
  const claim = (...ownerReferences: OwnerReference[]): PersistentVolumeClaim => ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'data-db-1', ...(ownerReferences.length > 0 ? { ownerReferences } : {}) },
  });
  const ofSet = { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'db', uid: 'set', controller: true };
  const ofPod = { apiVersion: 'v1', kind: 'Pod', name: 'db-1', uid: 'db-1' };
  const formerPod = { ...ofPod, uid: 'former' };
  const other = { apiVersion: 'example.com/v1', kind: 'Backup', name: 'b', uid: 'b' };

  it.each<[string, string, boolean, OwnerReference[], OwnerReference[] | undefined]>([
    ['Retain', 'Retain', false, [], undefined],
    ['Retain', 'Retain', true, [], undefined],
    ['Retain', 'Retain', false, [ofSet], []],
    ['Delete', 'Retain', false, [], [ofSet]],
    ['Delete', 'Retain', true, [ofSet], undefined],
    ['Retain', 'Delete', false, [], undefined],
    ['Retain', 'Delete', true, [], [ofPod]],
    ['Retain', 'Delete', false, [formerPod], []],
    ['Delete', 'Delete', true, [ofSet], [ofPod]],
    ['Delete', 'Delete', false, [ofPod], [ofSet]],
    ['Delete', 'Retain', false, [other], [other, ofSet]],
    ['Delete', 'Delete', true, [{ ...other, controller: true }], undefined],
  ])(
    'whenDeleted %s, whenScaled %s, condemned %s',
    (whenDeleted, whenScaled, condemned, owners, expected) => {
      const policy = { whenDeleted, whenScaled };
      const owner = set({ persistentVolumeClaimRetentionPolicy: policy as never });
      expect(claimOwners({ set: owner, claim: claim(...owners), pod: db(1), condemned })).toEqual(expected);
    },
  );
});
