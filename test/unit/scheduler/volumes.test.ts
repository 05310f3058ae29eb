import { describe, expect, it } from 'vitest';
import { keyOf } from '../../../src/api/object.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../../../src/api/types/core-v1.ts';
import type { CSINode, StorageClass } from '../../../src/api/types/storage-v1.ts';
import { podInfo } from '../../../src/scheduler/pod-info.ts';
import {
  BIND_COMPLETED,
  planVolumes,
  SELECTED_NODE,
  type VolumeObjects,
  volumesOf,
} from '../../../src/scheduler/volumes.ts';
import { cluster, node, Pods, schedule, verdict } from '../../support/scheduling.ts';

const pods = new Pods();
const nodes = [node('a'), node('b')];

function claim(
  name: string,
  spec: PersistentVolumeClaim['spec'] = {},
  more: { annotations?: Record<string, string>; phase?: 'Lost'; deleted?: boolean } = {},
): PersistentVolumeClaim {
  const annotations = spec?.volumeName ? { [BIND_COMPLETED]: 'yes' } : more.annotations;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-of-${name}`,
      ...(annotations ? { annotations } : {}),
      ...(more.deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'local',
      resources: { requests: { storage: '1Gi' } },
      ...spec,
    },
    ...(more.phase ? { status: { phase: more.phase } } : {}),
  };
}

function volume(
  name: string,
  options: {
    on?: string;
    size?: string;
    claimRef?: object;
    labels?: Record<string, string>;
    csi?: string;
  } = {},
): PersistentVolume {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, ...(options.labels ? { labels: options.labels } : {}) },
    spec: {
      capacity: { storage: options.size ?? '1Gi' },
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'local',
      ...(options.csi ? { csi: { driver: options.csi, volumeHandle: name } } : {}),
      ...(options.claimRef ? { claimRef: options.claimRef } : {}),
      ...(options.on
        ? {
            nodeAffinity: {
              required: {
                nodeSelectorTerms: [
                  {
                    matchExpressions: [
                      { key: 'kubernetes.io/hostname', operator: 'In' as const, values: [options.on] },
                    ],
                  },
                ],
              },
            },
          }
        : {}),
    },
    status: { phase: 'Available' },
  };
}

const storageClass = (name: string, more: Partial<StorageClass> = {}): StorageClass => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name },
  provisioner: 'kubernetes.io/no-provisioner',
  volumeBindingMode: 'WaitForFirstConsumer',
  ...more,
});

function objects(
  claims: PersistentVolumeClaim[],
  volumes: PersistentVolume[] = [],
  classes: StorageClass[] = [storageClass('local')],
  more: { csiNodes?: CSINode[]; promised?: Record<string, string> } = {},
): VolumeObjects {
  return {
    claim: (namespace, name) => claims.find((one) => keyOf(one) === `${namespace}/${name}`),
    volume: (name) => volumes.find(({ metadata }) => metadata.name === name),
    volumesOfClass: (name) => volumes.filter(({ spec }) => spec?.storageClassName === name),
    storageClass: (name) => classes.find(({ metadata }) => metadata.name === name),
    csiNode: (name) => more.csiNodes?.find(({ metadata }) => metadata.name === name),
    promisedTo: (name) => more.promised?.[name],
  };
}

const using = (...names: string[]): Pod =>
  pods.make({
    volumes: names.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
  });

describe('a pod whose claims do not allow any node', () => {
  it.each<[string, PersistentVolumeClaim[], string]>([
    ['is missing', [], 'persistentvolumeclaim "data" not found'],
    [
      'has lost its volume',
      [claim('data', { volumeName: 'gone' }, { phase: 'Lost' })],
      'persistentvolumeclaim "data" bound to non-existent persistentvolume "gone"',
    ],
    ['is going', [claim('data', {}, { deleted: true })], 'persistentvolumeclaim "data" is being deleted'],
    [
      'is unbound and does not wait',
      [claim('data', { storageClassName: 'now' })],
      'pod has unbound immediate PersistentVolumeClaims',
    ],
  ])('%s', (_name, claims, reason) => {
    const volumes = objects(claims, [], [storageClass('now', { volumeBindingMode: 'Immediate' })]);
    const decision = schedule(using('data'), cluster(nodes), { volumes });
    expect(decision.message).toBe(`0/2 nodes are available: ${reason}.`);
    expect([decision.refusedBy, decision.resolvable]).toEqual([['VolumeBinding'], []]);
  });

  it('waits for the claim of an ephemeral volume, and wants it to be its own', () => {
    const pod = pods.make({ volumes: [{ name: 'scratch', ephemeral: {} }] });
    const name = `${pod.metadata.name}-scratch`;
    expect(verdict(pod, cluster(nodes), { volumes: objects([]) })).toBe(
      `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`,
    );
    expect(verdict(pod, cluster(nodes), { volumes: objects([claim(name)]) })).toContain('(pod is not owner)');
  });
});

describe('bound claims', () => {
  it('want the nodes that their volumes reach', () => {
    const claims = [claim('data', { volumeName: 'v' })];
    expect(
      verdict(using('data'), cluster(nodes), { volumes: objects(claims, [volume('v', { on: 'b' })]) }),
    ).toBe('b');
    expect(
      verdict(using('data'), cluster(nodes), { volumes: objects(claims, [volume('v', { on: 'c' })]) }),
    ).toBe('2 node(s) had volume node affinity conflict');
    expect(verdict(using('data'), cluster(nodes), { volumes: objects(claims) })).toBe(
      '2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)',
    );
  });

  it('want the zone of their volumes', () => {
    const zoned = [
      node('a', { labels: { 'topology.kubernetes.io/zone': 'x' } }),
      node('b', { labels: { 'topology.kubernetes.io/zone': 'y' } }),
    ];
    const asks = (zone: string): string =>
      verdict(using('data'), cluster(zoned), {
        volumes: objects(
          [claim('data', { volumeName: 'v' })],
          [volume('v', { labels: { 'failure-domain.beta.kubernetes.io/zone': zone } })],
        ),
      });
    expect(asks('y')).toBe('b');
    expect(asks('z')).toBe('2 node(s) had no available volume zone');
  });
});

describe('claims that wait for their first consumer', () => {
  const plan = (claims: PersistentVolumeClaim[], all: VolumeObjects, name = 'a') => {
    const own = volumesOf(podInfo(using(...claims.map(({ metadata }) => metadata.name ?? ''))), all);
    if (typeof own === 'string') throw new Error(own);
    const target = cluster(nodes).get(name);
    if (!target) throw new Error('no such node');
    const made = planVolumes(own, target, all);
    return Array.isArray(made)
      ? made
      : {
          bind: made.bind.map((one) => `${one.claim.metadata.name}=${one.volume.metadata.name}`),
          provision: made.provision.map(({ metadata }) => metadata.name),
        };
  };
  const CONFLICT = "node(s) didn't find available persistent volumes to bind";

  it('take the smallest volume that suffices and reaches the node', () => {
    const claims = [claim('data')];
    const all = objects(claims, [
      volume('large', { size: '5Gi' }),
      volume('fits', { size: '2Gi' }),
      volume('small', { size: '500Mi' }),
      volume('elsewhere', { on: 'b' }),
    ]);
    expect(plan(claims, all)).toEqual({ bind: ['data=fits'], provision: [] });
    expect(plan(claims, all, 'b')).toEqual({ bind: ['data=elsewhere'], provision: [] });
  });

  it('share volumes so that all get one', () => {
    const claims = [claim('little'), claim('much', { resources: { requests: { storage: '4Gi' } } })];
    const all = objects(claims, [volume('big', { size: '5Gi' }), volume('mid', { size: '2Gi' })]);
    expect(plan(claims, all)).toEqual({ bind: ['much=big', 'little=mid'], provision: [] });
  });

  it('leave volumes that belong or are promised to others, and take their own first', () => {
    const claims = [claim('data')];
    const others = { namespace: 'default', name: 'other', uid: 'u' };
    const mine = { namespace: 'default', name: 'data', uid: 'uid-of-data' };
    expect(plan(claims, objects(claims, [volume('v', { claimRef: others })]))).toEqual([CONFLICT]);
    expect(
      plan(claims, objects(claims, [volume('v')], undefined, { promised: { v: 'default/other' } })),
    ).toEqual([CONFLICT]);
    expect(
      plan(claims, objects(claims, [volume('v'), volume('w', { size: '9Gi', claimRef: mine })])),
    ).toEqual({ bind: ['data=w'], provision: [] });
  });

  it('heed selector, mode and access', () => {
    const asks = (spec: PersistentVolumeClaim['spec']) => {
      const claims = [claim('data', spec)];
      return plan(claims, objects(claims, [volume('v', { labels: { disk: 'ssd' } })]));
    };
    expect(asks({ selector: { matchLabels: { disk: 'ssd' } } })).toEqual({ bind: ['data=v'], provision: [] });
    expect(asks({ selector: { matchLabels: { disk: 'hdd' } } })).toEqual([CONFLICT]);
    expect(asks({ volumeMode: 'Block' })).toEqual([CONFLICT]);
    expect(asks({ accessModes: ['ReadWriteMany'] })).toEqual([CONFLICT]);
  });

  it('are provisioned where their class can, on the node once selected', () => {
    const can = [storageClass('local', { provisioner: 'copepod.io/local' })];
    const claims = [claim('data')];
    expect(plan(claims, objects(claims, [], can))).toEqual({ bind: [], provision: ['data'] });
    const selected = [claim('data', {}, { annotations: { [SELECTED_NODE]: 'b' } })];
    expect(plan(selected, objects(selected, [volume('v')], can))).toEqual([CONFLICT]);
    expect(plan(selected, objects(selected, [volume('v')], can), 'b')).toEqual({
      bind: [],
      provision: ['data'],
    });
    const limited = [
      storageClass('local', {
        provisioner: 'copepod.io/local',
        allowedTopologies: [{ matchLabelExpressions: [{ key: 'kubernetes.io/hostname', values: ['b'] }] }],
      }),
    ];
    expect(verdict(using('data'), cluster(nodes), { volumes: objects(claims, [], limited) })).toBe('b');
  });
});

describe('limits of volumes', () => {
  it('lets one pod at a time use a ReadWriteOncePod claim', () => {
    const volumes = objects(
      [claim('data', { volumeName: 'v', accessModes: ['ReadWriteOncePod'] })],
      [volume('v')],
    );
    const first = using('data');
    expect(verdict(first, cluster(nodes), { volumes })).not.toContain('node');
    const placed = { ...first, spec: { ...first.spec, nodeName: 'a' } } as Pod;
    expect(verdict(using('data'), cluster(nodes, [placed]), { volumes })).toBe(
      '2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode',
    );
  });

  it('counts the volumes of a driver once each', () => {
    const names = ['one', 'two', 'three'];
    const csiNodes = nodes.map(
      ({ metadata }): CSINode => ({
        apiVersion: 'storage.k8s.io/v1',
        kind: 'CSINode',
        metadata: { name: metadata.name ?? '' },
        spec: { drivers: [{ name: 'disk', nodeID: 'n', allocatable: { count: 2 } }] },
      }),
    );
    const volumes = objects(
      names.map((name) => claim(name, { volumeName: name })),
      names.map((name) => volume(name, { csi: 'disk' })),
      undefined,
      { csiNodes },
    );
    const on = (...claims: string[]): Pod => {
      const pod = using(...claims);
      return { ...pod, spec: { ...pod.spec, nodeName: 'a' } } as Pod;
    };
    const snapshot = cluster([node('a')], [on('one'), on('one', 'two')]);
    expect(verdict(using('three'), snapshot, { volumes })).toBe('1 node(s) exceed max volume count');
    expect(verdict(using('two'), snapshot, { volumes })).toBe('a');
  });
});
