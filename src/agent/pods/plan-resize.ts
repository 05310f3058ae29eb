import type { Container, Pod } from '../../api/types/core-v1.ts';
import { resourceLimits } from '../containers/resources.ts';
import { containerHash } from '../names.ts';
import type { ResourceLimits } from '../runtime.ts';
import { resizableContainers } from './allocation.ts';
import type { PodFacts } from './facts.ts';
import { latest, type ObservedInstance, type ObservedPod } from './observe.ts';
import type { ContainerResize } from './steps.ts';

/** What an instance runs with: as the engine says or, where it cannot do all of it, as it was told last. */
export function appliedLimits(instance: ObservedInstance, facts: PodFacts): ResourceLimits | undefined {
  return facts.applied.get(instance.id) ?? instance.limits;
}

/** Has the instance to be restarted for the resources that its container has now? */
export function resizeRestarts(container: Container, instance: ObservedInstance, facts: PodFacts): boolean {
  const change = changeOf(container, instance, facts);
  if (!change) return false;
  const policy = (name: 'cpu' | 'memory'): boolean =>
    (container.resizePolicy ?? []).some(
      ({ resourceName, restartPolicy }) => resourceName === name && restartPolicy === 'RestartContainer',
    );
  return (change.cpu && policy('cpu')) || (change.memory !== 0 && policy('memory'));
}

/**
 * The running instances whose limits are to be changed in place, those that give something back first: what one gives
 * another may take, and the pod as a whole never goes beyond its own limits.
 */
export function inPlaceResizes(pod: Pod, observed: ObservedPod, facts: PodFacts): ContainerResize[] {
  const resizes: (ContainerResize & { grows: boolean })[] = [];
  for (const container of resizableContainers(pod)) {
    const instance = latest(observed, container.name);
    // One whose image has changed is made anew, with everything.
    if (instance?.state !== 'running' || instance.hash !== containerHash(container)) continue;
    const change = changeOf(container, instance, facts);
    if (!change || resizeRestarts(container, instance, facts)) continue;
    resizes.push({
      container: container.name,
      id: instance.id,
      limits: change.limits,
      ...(change.memory < 0 && change.limits.memoryBytes !== undefined ? { shrinksMemory: true } : {}),
      grows: change.memory > 0 || change.moreCpu,
    });
  }
  resizes.sort((left, right) => Number(left.grows) - Number(right.grows));
  return resizes.map(({ grows: _grows, ...resize }) => resize);
}

/** Is anything that runs still without what the pod has been given? */
export function resizeOutstanding(pod: Pod, observed: ObservedPod, facts: PodFacts): boolean {
  return resizableContainers(pod).some((container) => {
    const instance = latest(observed, container.name);
    return instance?.state === 'running' && changeOf(container, instance, facts) !== undefined;
  });
}

interface Change {
  limits: ResourceLimits;
  cpu: boolean;
  moreCpu: boolean;
  /** Negative: less than it has. */
  memory: number;
}

function changeOf(container: Container, instance: ObservedInstance, facts: PodFacts): Change | undefined {
  const has = appliedLimits(instance, facts);
  if (!has) return undefined;
  const limits = resourceLimits(container);
  const memory = finite(limits.memoryBytes) - finite(has.memoryBytes);
  const quota = finite(limits.cpuQuota) - finite(has.cpuQuota);
  const shares = (limits.cpuShares ?? 0) - (has.cpuShares ?? 0);
  if (memory === 0 && quota === 0 && shares === 0) return undefined;
  return { limits, cpu: quota !== 0 || shares !== 0, moreCpu: quota > 0 || shares > 0, memory };
}

/** No limit is more than any. */
function finite(value: number | undefined): number {
  return value === undefined || value <= 0 ? Number.MAX_SAFE_INTEGER : value;
}
