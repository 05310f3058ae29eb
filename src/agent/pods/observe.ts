import { LABEL } from '../names.ts';
import type { ObservedContainer, ResourceLimits } from '../runtime.ts';

/** One life of a container: every restart is a new instance with the next attempt number. */
export interface ObservedInstance {
  id: string;
  name: string;
  attempt: number;
  /** containerHash at creation. */
  hash: string;
  sandboxId: string;
  /** `exited` also when the start failed. */
  state: 'created' | 'running' | 'exited';
  image: string;
  imageId: string;
  createdAt: number;
  startedAt?: number;
  finishedAt?: number;
  exitCode?: number;
  oomKilled?: boolean;
  error?: string;
  limits?: ResourceLimits;
  labels: Record<string, string>;
}

export interface ObservedSandbox {
  id: string;
  attempt: number;
  state: 'created' | 'running' | 'exited';
  pid?: number;
  createdAt: number;
  labels: Record<string, string>;
}

/** What the engine holds of one pod. Lists are newest first. */
export interface ObservedPod {
  uid: string;
  sandboxes: ObservedSandbox[];
  containers: Map<string, ObservedInstance[]>;
}

/** Groups a pod's containers. Pure. */
export function observePod(uid: string, containers: Iterable<ObservedContainer>): ObservedPod {
  const pod: ObservedPod = { uid, sandboxes: [], containers: new Map() };
  for (const container of containers) {
    const { labels } = container;
    const attempt = Number(labels[LABEL.restartCount] ?? 0);
    const state = stateOf(container);
    if (labels[LABEL.type] === 'podsandbox') {
      pod.sandboxes.push({
        id: container.id,
        attempt,
        state,
        createdAt: container.createdAt,
        labels,
        ...(container.pid === undefined ? {} : { pid: container.pid }),
      });
      continue;
    }
    const name = labels[LABEL.containerName] ?? '';
    const { startedAt, finishedAt, exitCode, oomKilled, error } = container;
    const instance: ObservedInstance = {
      id: container.id,
      name,
      attempt,
      hash: labels[LABEL.hash] ?? '',
      sandboxId: labels[LABEL.sandboxId] ?? '',
      state,
      image: container.image,
      imageId: container.imageId,
      createdAt: container.createdAt,
      labels,
      ...(startedAt === undefined ? {} : { startedAt }),
      ...(finishedAt === undefined ? {} : { finishedAt }),
      ...(exitCode === undefined ? {} : { exitCode }),
      ...(oomKilled ? { oomKilled } : {}),
      ...(error ? { error } : {}),
      ...(container.limits ? { limits: container.limits } : {}),
    };
    const instances = pod.containers.get(name);
    if (instances) instances.push(instance);
    else pod.containers.set(name, [instance]);
  }
  pod.sandboxes.sort(newestFirst);
  for (const instances of pod.containers.values()) instances.sort(newestFirst);
  return pod;
}

export function latest(pod: ObservedPod, name: string): ObservedInstance | undefined {
  return pod.containers.get(name)?.[0];
}

export function isEmpty(pod: ObservedPod): boolean {
  return pod.sandboxes.length === 0 && pod.containers.size === 0;
}

function newestFirst(
  left: { attempt: number; createdAt: number },
  right: { attempt: number; createdAt: number },
): number {
  return right.attempt - left.attempt || right.createdAt - left.createdAt;
}

function stateOf({ state, exitCode }: ObservedContainer): ObservedInstance['state'] {
  if (state === 'running' || state === 'paused' || state === 'restarting') return 'running';
  // A container that could not be started stays "created", with the exit code of the failure.
  if (state === 'created') return exitCode === undefined ? 'created' : 'exited';
  return 'exited';
}
