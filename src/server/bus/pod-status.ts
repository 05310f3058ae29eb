import type { Node, Pod, PodCondition, PodStatus } from '../../api/types/core-v1.ts';
import { timestamp } from '../../lib/clock.ts';
import { sameJson } from '../../lib/equal.ts';

const TERMINAL = new Set(['Succeeded', 'Failed']);
/** The agent's alone, and gone when it does not say them: a resize that is over. */
const PASSING = new Set(['PodResizePending', 'PodResizeInProgress']);

/** Fields that others write and an agent's report does not take away. */
const KEPT = [
  'qosClass',
  'startTime',
  'nominatedNodeName',
  'observedGeneration',
  'resourceClaimStatuses',
] as const;

/**
 * The pod's status after a report, or undefined when it changes nothing. The report is the whole of what the agent knows;
 * conditions that it does not report (readiness gates, DisruptionTarget) stay, and when it was scheduled too. A pod that has ended stays
 * ended: Kubernetes knows no way back from Succeeded and Failed.
 */
export function mergePodStatus(existing: PodStatus | undefined, reported: PodStatus): PodStatus | undefined {
  const merged: PodStatus = { ...reported };
  for (const field of KEPT) {
    if (merged[field] === undefined && existing?.[field] !== undefined) {
      (merged as Record<string, unknown>)[field] = existing[field];
    }
  }
  if (TERMINAL.has(existing?.phase ?? '') && merged.phase !== existing?.phase) {
    merged.phase = existing?.phase as 'Succeeded' | 'Failed';
    if (existing?.reason !== undefined) merged.reason = existing.reason;
    if (existing?.message !== undefined) merged.message = existing.message;
  }
  const scheduled = existing?.conditions?.find(({ type }) => type === 'PodScheduled');
  const conditions = (reported.conditions ?? []).map((condition) =>
    condition.type === 'PodScheduled' && scheduled ? seen(scheduled, condition) : condition,
  );
  const reportedTypes = new Set(conditions.map(({ type }) => type));
  for (const condition of existing?.conditions ?? []) {
    if (!reportedTypes.has(condition.type) && !PASSING.has(condition.type)) conditions.push(condition);
  }
  if (conditions.length > 0) merged.conditions = conditions;
  return sameStatus(existing, merged) ? undefined : merged;
}

/** When the pod was scheduled the node does not know; of which generation it speaks it does. */
function seen(scheduled: PodCondition, { observedGeneration }: PodCondition): PodCondition {
  return observedGeneration === undefined ? scheduled : { ...scheduled, observedGeneration };
}

/** Equal but for the order of conditions. */
function sameStatus(existing: PodStatus | undefined, merged: PodStatus): boolean {
  if (!existing) return false;
  const byType = (status: PodStatus) =>
    [...(status.conditions ?? [])].sort((a, b) => (a.type < b.type ? -1 : 1));
  return sameJson({ ...existing, conditions: byType(existing) }, { ...merged, conditions: byType(merged) });
}

export type ReportVerdict =
  /** Of a pod that is no more, or not on this node: nothing to do but to let the agent forget it. */
  | 'forget'
  /** Overtaken by a newer report of the same agent process. */
  | 'stale'
  | 'apply';

/** Pure: may this report change that pod? */
export function judgeReport(
  pod: Pod | undefined,
  report: { uid: string; namespace: string; name: string; sequence: number },
  node: string,
  newestSequence: number | undefined,
): ReportVerdict {
  if (
    !pod ||
    pod.metadata.uid !== report.uid ||
    pod.metadata.namespace !== report.namespace ||
    pod.metadata.name !== report.name ||
    pod.spec?.nodeName !== node
  ) {
    return 'forget';
  }
  return newestSequence !== undefined && report.sequence < newestSequence ? 'stale' : 'apply';
}

export const readyCondition = (status: PodStatus | undefined): PodCondition | undefined =>
  status?.conditions?.find(({ type }) => type === 'Ready');

/**
 * The node monitor marks the pods of a silent node as not ready. Its agent knows nothing of that and says nothing new
 * when it is back, so what it `said` last has to be put back by us (kubelet does it by comparing with the API). Returns
 * the status to write, or undefined while the node is not ready or nothing was taken back.
 */
export function restoredReadiness(
  pod: Pod,
  said: PodCondition | undefined,
  node: Node | undefined,
): PodStatus | undefined {
  const nodeReady = node?.status?.conditions?.some(
    ({ type, status }) => type === 'Ready' && status === 'True',
  );
  if (!said || !nodeReady || TERMINAL.has(pod.status?.phase ?? '')) return undefined;
  const current = readyCondition(pod.status);
  if (!current || current.status === said.status) return undefined;
  const conditions = (pod.status?.conditions ?? []).map((condition) =>
    condition === current ? said : condition,
  );
  return { ...pod.status, conditions };
}

/**
 * A board's clock may be ahead by years until it has been set. A condition that begins in the future would keep its pod
 * from ever counting as available (minReadySeconds), so it begins when it is told: now, or when it was first told.
 */
export function withoutFuture(reported: PodStatus, existing: PodStatus | undefined, now: number): PodStatus {
  const isFuture = ({ lastTransitionTime }: PodCondition): boolean =>
    Date.parse(lastTransitionTime ?? '') > now;
  if (!reported.conditions?.some(isFuture)) return reported;
  const conditions = reported.conditions.map((condition) => {
    if (!isFuture(condition)) return condition;
    const before = existing?.conditions?.find(
      ({ type, status }) => type === condition.type && status === condition.status,
    );
    const told = before && !isFuture(before) ? before.lastTransitionTime : undefined;
    return { ...condition, lastTransitionTime: told ?? timestamp(now) };
  });
  return { ...reported, conditions };
}
