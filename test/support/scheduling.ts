import type { BoardMeasurements } from '../../src/api/board.ts';
import type { Node, Pod } from '../../src/api/types/core-v1.ts';
import { type Decision, decide } from '../../src/scheduler/decide.ts';
import { NO_HINTS } from '../../src/scheduler/image-hints.ts';
import type { Situation } from '../../src/scheduler/plugins/plugin.ts';
import { podInfo } from '../../src/scheduler/pod-info.ts';
import { profileOf } from '../../src/scheduler/profile.ts';
import { Snapshot } from '../../src/scheduler/snapshot.ts';
import { NO_VOLUMES } from '../../src/scheduler/volumes.ts';

// A cluster for the pure decisions of the scheduler: no API, no clock.

export const PROFILE = profileOf('full');

export function node(
  name: string,
  overrides: {
    spec?: Node['spec'];
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    allocatable?: Record<string, string>;
    images?: NonNullable<Node['status']>['images'];
  } = {},
): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: { 'kubernetes.io/hostname': name, ...overrides.labels },
      ...(overrides.annotations ? { annotations: overrides.annotations } : {}),
    },
    ...(overrides.spec ? { spec: overrides.spec } : {}),
    status: {
      allocatable: {
        cpu: '2',
        memory: '1Gi',
        pods: '3',
        'ephemeral-storage': '10Gi',
        ...overrides.allocatable,
      },
      ...(overrides.images ? { images: overrides.images } : {}),
    },
  };
}

export type PodSpec = Partial<NonNullable<Pod['spec']>>;

/** Makes pods whose names and uids count up. */
export class Pods {
  private count = 0;

  make(
    spec: PodSpec & { requests?: Record<string, string> } = {},
    metadata: { owner?: string; labels?: Record<string, string>; namespace?: string; deleted?: boolean } = {},
  ): Pod {
    this.count += 1;
    const { requests, ...rest } = spec;
    const { owner, labels, namespace = 'default', deleted } = metadata;
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `p${this.count}`,
        namespace,
        uid: `uid-${this.count}`,
        ...(labels ? { labels } : {}),
        ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
        ...(owner
          ? {
              ownerReferences: [
                { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: owner, controller: true },
              ],
            }
          : {}),
      },
      spec: { containers: [{ name: 'main', ...(requests ? { resources: { requests } } : {}) }], ...rest },
    };
  }
}

export function cluster(nodes: readonly Node[], pods: readonly Pod[] = []): Snapshot {
  const snapshot = new Snapshot();
  for (const one of nodes) snapshot.setNode(one);
  for (const one of pods) snapshot.setPod(one, 0);
  return snapshot;
}

export function situation(snapshot: Snapshot, overrides: Partial<Situation> = {}): Situation {
  return {
    snapshot,
    readings: { of: () => undefined },
    volumes: NO_VOLUMES,
    images: NO_HINTS,
    siblings: () => undefined,
    now: 0,
    ...overrides,
  };
}

/** Boards that measure what is given, and otherwise that they are idle. */
export function readingsOf(
  measured: Readonly<Record<string, Partial<BoardMeasurements> & { at?: number }>>,
): Situation['readings'] {
  return {
    of: (name) =>
      measured[name] && {
        cpu: 0,
        load: 0,
        memTotal: 2 ** 30,
        memAvailable: 2 ** 30,
        diskTotal: 0,
        diskAvailable: 0,
        at: 0,
        ...measured[name],
      },
  };
}

/** Decides; of equal nodes the first is taken. */
export function schedule(pod: Pod, snapshot: Snapshot, overrides: Partial<Situation> = {}): Decision {
  return decide(podInfo(pod), situation(snapshot, overrides), { ...PROFILE, random: () => 0 });
}

/** Why none of the nodes does: `1 reason, 2 other reason`; the chosen node's name when one does. */
export function verdict(pod: Pod, snapshot: Snapshot, overrides: Partial<Situation> = {}): string {
  const { node: chosen, message } = schedule(pod, snapshot, overrides);
  return chosen ?? message.replace(/^0\/\d+ nodes are available: (.*)\.$/, '$1');
}
