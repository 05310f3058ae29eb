import type { JsonObject } from '../../api/object.ts';
import { podRequests } from '../../api/pod-resources.ts';
import { wholeUnits } from '../../api/quantity.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import type { ActivePod, PodUse } from './port.ts';

export type Starved = 'memory' | 'ephemeral-storage' | 'inodes' | 'pids';

/**
 * The pods in the order in which the kubelet evicts them for a resource: first those that use more than they asked for,
 * of these the least important, of these the one farthest above its request. A pod that could not be measured goes
 * before the measured ones of its kind. Pure.
 */
export function rankForEviction(
  pods: readonly ActivePod[],
  uses: ReadonlyMap<string, PodUse>,
  starved: Starved,
): ActivePod[] {
  const rows = pods.map((active) => {
    const used = usedOf(active.pod, uses, starved);
    const request = requestOf(active.pod, starved);
    return {
      active,
      priority: active.pod.spec?.priority ?? 0,
      exceeds: starved === 'pids' ? false : used === undefined || used > request,
      above: used === undefined ? Number.POSITIVE_INFINITY : used - request,
    };
  });
  rows.sort(
    (left, right) =>
      Number(right.exceeds) - Number(left.exceeds) ||
      left.priority - right.priority ||
      (left.above === right.above ? 0 : right.above - left.above),
  );
  return rows.map(({ active }) => active);
}

function usedOf(pod: Pod, uses: ReadonlyMap<string, PodUse>, starved: Starved): number | undefined {
  const use = uses.get(pod.metadata.uid ?? '');
  return use && podTotal(use, starved);
}

/** What the pod uses of a resource as a whole; undefined when nothing of it was measured. */
export function podTotal(use: PodUse, starved: Starved): number | undefined {
  let total: number | undefined;
  const add = (value: number | undefined): void => {
    if (value !== undefined) total = (total ?? 0) + value;
  };
  for (const { memory, pids, writable, logs } of use.containers.values()) {
    if (starved === 'memory') add(memory);
    else if (starved === 'pids') add(pids);
    else if (starved === 'ephemeral-storage') {
      add(writable);
      add(logs);
    }
  }
  for (const { bytes, inodes } of use.volumes.values()) {
    if (starved === 'ephemeral-storage') add(bytes);
    else if (starved === 'inodes') add(inodes);
  }
  return total;
}

function requestOf({ spec }: Pod, starved: Starved): number {
  if (starved !== 'memory' && starved !== 'ephemeral-storage') return 0;
  const quantity = podRequests((spec ?? {}) as unknown as JsonObject).get(starved);
  return quantity ? wholeUnits(quantity) : 0;
}
