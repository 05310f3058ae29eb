import type { Container, Pod, PodSpec } from '../../src/api/types/core-v1.ts';
import type { ObjectMeta } from '../../src/api/types/meta-v1.ts';

// What tests apply: pods of the busybox image that every board has, and what makes them.

/** Every engine of a test has it; scripts/lib/busybox-image.mjs. */
export const BUSYBOX = 'copepod.local/busybox';

/** Ends at once when it is told to. */
export const FOREVER = 'trap "exit 0" TERM; while true; do sleep 1000000 & wait $!; done';

/** A container `main` that runs a shell script. */
export function busybox(script: string, more: Partial<Container> = {}): Container {
  return {
    name: 'main',
    image: BUSYBOX,
    imagePullPolicy: 'IfNotPresent',
    command: ['sh', '-c', script],
    ...more,
  };
}

/** A pod of one container that stays, unless `spec` says otherwise. */
export function podOf(name: string, spec: Partial<PodSpec> = {}, metadata: Partial<ObjectMeta> = {}): Pod {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata }, spec: podSpec(spec) };
}

export const podSpec = (spec: Partial<PodSpec> = {}): PodSpec => ({
  terminationGracePeriodSeconds: 1,
  containers: [busybox(FOREVER)],
  ...spec,
});

export type WorkloadKind = 'Deployment' | 'StatefulSet' | 'DaemonSet';

/** A workload whose pods carry `app: <name>`. `spec` is its own: replicas and the like. */
export function workload(kind: WorkloadKind, name: string, pod: Partial<PodSpec>, spec: object = {}) {
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name },
    spec: {
      ...(kind === 'StatefulSet' ? { serviceName: name } : {}),
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: podSpec(pod) },
      ...spec,
    },
  };
}

/** A Service `name` over the pods that carry `app: <name>`. */
export const service = (name: string, spec: object) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app: name }, ...spec },
});

export const listOf = (objects: readonly object[]) => ({ apiVersion: 'v1', kind: 'List', items: objects });

export const onNode = (name: string): Partial<PodSpec> => ({
  nodeSelector: { 'kubernetes.io/hostname': name },
});
