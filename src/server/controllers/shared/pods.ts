import type { Pod, PodCondition } from '../../../api/types/core-v1.ts';

/** Neither ended nor being deleted: what counts as a replica. */
export function isActive(pod: Pod): boolean {
  return !isEnded(pod) && pod.metadata.deletionTimestamp === undefined;
}

export function isEnded(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** Being deleted, and not ended yet: still holds its resources. */
export function isTerminating(pod: Pod): boolean {
  return !isEnded(pod) && pod.metadata.deletionTimestamp !== undefined;
}

export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

export function isReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True';
}

/** When a pod became Ready, in ms; undefined while it is not. */
export function readySince(pod: Pod): number | undefined {
  const condition = podCondition(pod, 'Ready');
  if (condition?.status !== 'True') return undefined;
  return condition.lastTransitionTime === undefined ? 0 : Date.parse(condition.lastTransitionTime);
}

/** Ready for at least minReadySeconds. */
export function isAvailable(pod: Pod, minReadySeconds: number, now: number): boolean {
  const since = readySince(pod);
  if (since === undefined) return false;
  return minReadySeconds === 0 || (since > 0 && since + minReadySeconds * 1000 <= now);
}

/** Milliseconds until the next of the pods that are Ready becomes available; undefined when none is on the way. */
export function untilAvailable(
  pods: readonly Pod[],
  minReadySeconds: number,
  now: number,
): number | undefined {
  if (minReadySeconds === 0) return undefined;
  let soonest: number | undefined;
  for (const pod of pods) {
    const since = readySince(pod);
    if (since === undefined || since === 0) continue;
    const left = since + minReadySeconds * 1000 - now;
    if (left > 0 && (soonest === undefined || left < soonest)) soonest = left;
  }
  return soonest;
}

export function createdAt(object: { metadata: { creationTimestamp?: string } }): number {
  return object.metadata.creationTimestamp === undefined ? 0 : Date.parse(object.metadata.creationTimestamp);
}

const PHASE_ORDER: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };
const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

/**
 * Sorts by how willingly a pod is given up (ActivePodsWithRanks of Kubernetes): not assigned, pending, not ready, of
 * lower deletion cost, on a node that holds more of its siblings, ready for less long, restarted more often, younger.
 * Times are compared by magnitude (power of two) so that not always the same generation goes; then the uid decides.
 * `neighbours` says how many related active pods a pod's node holds.
 */
export function rankForDeletion(pods: readonly Pod[], neighbours: (pod: Pod) => number, now: number): Pod[] {
  const compare = (a: Pod, b: Pod): number =>
    Number(Boolean(a.spec?.nodeName)) - Number(Boolean(b.spec?.nodeName)) ||
    phaseOrder(a) - phaseOrder(b) ||
    Number(isReady(a)) - Number(isReady(b)) ||
    deletionCost(a) - deletionCost(b) ||
    neighbours(b) - neighbours(a) ||
    compareAges(readySince(a), readySince(b), a, b, now) ||
    restarts(b) - restarts(a) ||
    compareAges(createdAt(a), createdAt(b), a, b, now);
  return [...pods].sort(compare);
}

function phaseOrder(pod: Pod): number {
  return PHASE_ORDER[pod.status?.phase ?? 'Pending'] ?? 0;
}

function deletionCost(pod: Pod): number {
  const written = pod.metadata.annotations?.[DELETION_COST];
  const cost = Number(written ?? 0);
  return Number.isInteger(cost) ? cost : 0;
}

function restarts(pod: Pod): number {
  let most = 0;
  for (const status of pod.status?.containerStatuses ?? []) most = Math.max(most, status.restartCount);
  return most;
}

/** The younger first, unless both ages are of the same power of two: then by uid. */
function compareAges(
  a: number | undefined,
  b: number | undefined,
  podA: Pod,
  podB: Pod,
  now: number,
): number {
  if (a === undefined || b === undefined || a === b) return 0;
  const magnitude = (time: number): number => {
    // A clock that was set back would give ages below zero.
    const age = Math.floor((now - time) / 1000);
    return time === 0 ? Number.MAX_SAFE_INTEGER : age <= 0 ? 0 : Math.floor(Math.log2(age)) + 1;
  };
  const difference = magnitude(a) - magnitude(b);
  if (difference !== 0) return difference;
  const uidA = podA.metadata.uid ?? '';
  const uidB = podB.metadata.uid ?? '';
  return uidA < uidB ? -1 : uidA > uidB ? 1 : 0;
}
