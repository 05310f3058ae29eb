import type { Pod, PodStatus } from '../../../src/api/types/core-v1.ts';

/** What a pod of these tests is: everything else is ordinary. */
export interface PodFacts {
  name?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  node?: string;
  phase?: NonNullable<PodStatus['phase']>;
  /** Ready since this time, ms; false: not ready. */
  ready?: number | false;
  created?: number;
  deleted?: boolean;
  exitCode?: number;
  finished?: number;
  restarts?: number;
  conditions?: NonNullable<PodStatus['conditions']>;
}

const at = (ms: number): string => new Date(ms).toISOString();

/** A running, ready pod unless told otherwise. */
export function pod(facts: PodFacts = {}): Pod {
  const { name = 'pod', phase = 'Running', ready = 1000, created = 0, node = 'a' } = facts;
  const ended =
    facts.exitCode === undefined
      ? undefined
      : { exitCode: facts.exitCode, finishedAt: at(facts.finished ?? 0) };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      creationTimestamp: at(created),
      ...(facts.labels ? { labels: facts.labels } : {}),
      ...(facts.annotations ? { annotations: facts.annotations } : {}),
      ...(facts.finalizers ? { finalizers: facts.finalizers } : {}),
      ...(facts.deleted ? { deletionTimestamp: at(0) } : {}),
    },
    spec: { containers: [{ name: 'main' }], ...(node === '' ? {} : { nodeName: node }) },
    status: {
      phase,
      conditions: [
        {
          type: 'Ready',
          status: ready === false || phase !== 'Running' ? 'False' : 'True',
          lastTransitionTime: at(ready === false ? 0 : ready),
        },
        ...(facts.conditions ?? []),
      ],
      containerStatuses: [
        {
          name: 'main',
          image: '',
          imageID: '',
          ready: ready !== false,
          restartCount: facts.restarts ?? 0,
          ...(ended ? { state: { terminated: ended } } : {}),
        },
      ],
    },
  };
}

export const names = (pods: readonly Pod[]): string[] => pods.map(({ metadata }) => metadata.name ?? '');
