import type { Container, Pod } from '../api/types/core-v1.ts';
import type { ObservedContainer } from './runtime.ts';

/** dockershim's labels, which log collectors and monitors for Kubernetes on Docker read. */
export const LABEL = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
  type: 'io.kubernetes.docker.type',
  sandboxId: 'io.kubernetes.sandbox.id',
  logPath: 'io.kubernetes.container.logpath',
  restartCount: 'annotation.io.kubernetes.container.restartCount',
  hash: 'annotation.io.kubernetes.container.hash',
  terminationMessagePath: 'annotation.io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'annotation.io.kubernetes.container.terminationMessagePolicy',
  preStop: 'annotation.io.kubernetes.container.preStopHandler',
  gracePeriod: 'annotation.io.kubernetes.pod.terminationGracePeriod',
} as const;

export const SANDBOX = 'POD';

/** `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`; names of Kubernetes hold no underscore. */
export function containerName(pod: Pod, container: string, attempt: number): string {
  const { name, namespace, uid } = pod.metadata;
  return `k8s_${container}_${name}_${namespace}_${uid}_${attempt}`;
}

/** The namespace, name and uid of a stored pod: the API server has set all three. */
export function identity(pod: Pod): { namespace: string; name: string; uid: string } {
  const { namespace, name, uid } = pod.metadata;
  return { namespace: namespace ?? 'default', name: name ?? '', uid: uid ?? '' };
}

/** `name_namespace(uid)`, as the kubelet's messages call a pod. */
export function podTitle(pod: Pod): string {
  const { namespace, name, uid } = identity(pod);
  return `${name}_${namespace}(${uid})`;
}

export function podUidOf(container: ObservedContainer): string | undefined {
  return container.labels[LABEL.podUid];
}

export type ContainerRole = 'init' | 'sidecar' | 'regular' | 'ephemeral';

export interface NamedContainer {
  role: ContainerRole;
  container: Container;
}

/** Init containers (in order), then regular, then ephemeral ones. */
export function containersOf(pod: Pod): NamedContainer[] {
  const { initContainers = [], containers, ephemeralContainers = [] } = pod.spec ?? { containers: [] };
  return [
    ...initContainers.map((container) => ({ role: roleOfInit(container), container })),
    ...containers.map((container) => ({ role: 'regular' as const, container })),
    ...ephemeralContainers.map((container) => ({
      role: 'ephemeral' as const,
      container: container as Container,
    })),
  ];
}

/** A restartable init container is a sidecar. */
export function roleOfInit(container: Container): 'init' | 'sidecar' {
  return container.restartPolicy === 'Always' ? 'sidecar' : 'init';
}

/** `spec.containers{web}`: what a container's event is about. */
export function fieldPath({ role, container }: NamedContainer): string {
  if (role === 'regular') return `spec.containers{${container.name}}`;
  if (role === 'ephemeral') return `spec.ephemeralContainers{${container.name}}`;
  return `spec.initContainers{${container.name}}`;
}

/**
 * Changes when the container must be made anew. As in the kubelet, only the image counts: every other field of a
 * running container is immutable, or is applied in place.
 */
export function containerHash(container: Container): string {
  let hash = 0x811c9dc5;
  for (const character of `${container.name}\n${container.image ?? ''}`) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  }
  return hash.toString(16);
}
