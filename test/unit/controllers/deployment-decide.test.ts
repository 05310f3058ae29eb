import { describe, expect, it } from 'vitest';
import type { Deployment, ReplicaSet } from '../../../src/api/types/apps-v1.ts';
import { decideDeployment } from '../../../src/server/controllers/deployment/decide.ts';
import { rollingLimits, scaledValue } from '../../../src/server/controllers/shared/int-or-percent.ts';

const template = (image: string) => ({
  metadata: { labels: { app: 'web' } },
  spec: { containers: [{ name: 'c', image }] },
});

function deployment(replicas: number, limits: object, image = 'new'): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: 'default', uid: 'd', generation: 1 },
    spec: {
      replicas,
      selector: { matchLabels: { app: 'web' } },
      template: template(image),
      strategy: { type: 'RollingUpdate', rollingUpdate: limits },
    },
  };
}

/** `[replicas, available]`, recorded for the size `desired` with `max`. */
function set(
  name: string,
  [replicas, available]: [number, number],
  desired: number,
  max: number,
): ReplicaSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      creationTimestamp: `2026-01-01T00:00:0${name === 'new' ? 9 : Number(name.at(-1)) || 0}Z`,
      annotations: {
        'deployment.kubernetes.io/revision': name === 'new' ? '9' : String(Number(name.at(-1)) || 1),
        'deployment.kubernetes.io/desired-replicas': String(desired),
        'deployment.kubernetes.io/max-replicas': String(max),
      },
    },
    spec: { replicas, selector: {}, template: template(name) },
    status: { replicas, availableReplicas: available, readyReplicas: available },
  };
}

/** The sizes after one pass. */
function pass(one: Deployment, sets: ReplicaSet[]): Record<string, number> {
  const sizes = Object.fromEntries(sets.map(({ metadata, spec }) => [metadata.name, spec?.replicas ?? 0]));
  for (const step of decideDeployment({ deployment: one, replicaSets: sets, podsOf: () => [], now: 0 })
    .steps) {
    if (step.do === 'update')
      sizes[step.replicaSet.metadata.name ?? ''] = step.replicaSet.spec?.replicas ?? 0;
    if (step.do === 'create') sizes.created = step.replicaSet.spec?.replicas ?? 0;
  }
  return sizes;
}

describe('one pass of a rolling update', () => {
  const surge = { maxSurge: 1, maxUnavailable: 0 };
  const both = { maxSurge: 1, maxUnavailable: 1 };
  const replace = { maxSurge: 0, maxUnavailable: 1 };
  it.each<[string, object, [number, number] | undefined, [number, number], Record<string, number>]>([
    ['starts with the surge', surge, undefined, [3, 3], { old: 3, created: 1 }],
    ['waits for the new pod', surge, [1, 0], [3, 3], { new: 1, old: 3 }],
    ['then gives up an old one', surge, [1, 1], [3, 3], { new: 1, old: 2 }],
    ['and adds the next', surge, [1, 1], [2, 2], { new: 2, old: 2 }],
    ['ends', surge, [3, 3], [1, 1], { new: 3, old: 0 }],
    ['without surge makes an empty set first', replace, undefined, [3, 3], { old: 3, created: 0 }],
    ['and takes an old pod away', replace, [0, 0], [3, 3], { new: 0, old: 2 }],
    ['fills the gap', replace, [0, 0], [2, 2], { new: 1, old: 2 }],
    ['does not open a second gap', replace, [1, 0], [2, 2], { new: 1, old: 2 }],
    ['gives up old pods that are not available at once', both, [1, 1], [3, 1], { new: 1, old: 1 }],
  ])('%s', (_name, limits, current, old, expected) => {
    const sets = [set('old', old, 3, 4), ...(current ? [set('new', current, 3, 4)] : [])];
    expect(pass(deployment(3, limits), sets)).toEqual(expected);
  });
});

describe('another rollout in the middle of one', () => {
  const surge = { maxSurge: 1, maxUnavailable: 0 };
  it.each<[string, [number, number], [number, number], [number, number] | undefined, Record<string, number>]>(
    [
      [
        'begins with an empty set when there is no room',
        [3, 3],
        [1, 0],
        undefined,
        { old1: 3, old2: 1, created: 0 },
      ],
      [
        'gives up what the other brought and is not available',
        [3, 3],
        [1, 0],
        [0, 0],
        { old1: 3, old2: 0, new: 0 },
      ],
      ['takes that room', [3, 3], [0, 0], [0, 0], { old1: 3, old2: 0, new: 1 }],
      [
        'gives up the oldest first of what is available',
        [2, 2],
        [1, 1],
        [1, 1],
        { old1: 1, old2: 1, new: 1 },
      ],
    ],
  )('%s', (_name, old1, old2, current, expected) => {
    const sets = [
      set('old1', old1, 3, 4),
      set('old2', old2, 3, 4),
      ...(current ? [set('new', current, 3, 4)] : []),
    ];
    expect(pass(deployment(3, surge), sets)).toEqual(expected);
  });
});

describe('a changed size in the middle of a rollout', () => {
  it.each<[string, number, [number, number], [number, number], Record<string, number>]>([
    ['grows both in proportion', 20, [5, 5], [8, 8], { new: 9, old: 14 }],
    ['shrinks both in proportion', 5, [5, 5], [8, 8], { new: 3, old: 5 }],
    ['empties both', 0, [5, 5], [8, 8], { new: 0, old: 0 }],
  ])('%s', (_name, replicas, current, old, expected) => {
    const limits = { maxSurge: 3, maxUnavailable: 2 };
    expect(
      pass(deployment(replicas, limits), [set('old', old, 10, 13), set('new', current, 10, 13)]),
    ).toEqual(expected);
  });

  it('gives all to the only active set', () => {
    expect(pass(deployment(7, {}), [set('old', [0, 0], 3, 4), set('new', [3, 3], 3, 4)])).toEqual({
      old: 0,
      new: 7,
    });
  });
});

describe('limits', () => {
  it.each([
    ['25%', 'up', 10, 3],
    ['25%', 'down', 10, 2],
    ['100%', 'up', 3, 3],
    ['1%', 'down', 99, 0],
    [4, 'down', 10, 4],
  ] as const)('%s of ten, rounded %s', (value, round, total, expected) => {
    expect(scaledValue(value, total, round)).toBe(expected);
  });

  it('are never both nothing', () => {
    expect(rollingLimits({ maxSurge: 0, maxUnavailable: '10%' }, 3)).toEqual({ surge: 0, unavailable: 1 });
    expect(rollingLimits(undefined, 4)).toEqual({ surge: 1, unavailable: 1 });
  });
});
