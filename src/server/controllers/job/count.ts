import type { Job, JobStatus } from '../../../api/types/batch-v1.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { judgeFailure } from './failure-policy.ts';
import { formatIndexes, parseIndexes } from './indexes.ts';

export const TRACKING = 'batch.kubernetes.io/job-tracking';
export const INDEX_ANNOTATION = 'batch.kubernetes.io/job-completion-index';
export const INDEX_FAILURES = 'batch.kubernetes.io/job-index-failure-count';
const INDEX_IGNORED = 'batch.kubernetes.io/job-index-ignored-failure-count';
/** The status must not grow without end: so many pods are taken into account at once. */
const MOST_UNCOUNTED = 500;

export const isIndexed = (job: Job): boolean => job.spec?.completionMode === 'Indexed';
export const isTracked = (pod: Pod): boolean => (pod.metadata.finalizers ?? []).includes(TRACKING);

export function indexOf(pod: Pod): number | undefined {
  const text = pod.metadata.annotations?.[INDEX_ANNOTATION];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

export const hasSucceeded = (pod: Pod): boolean => pod.status?.phase === 'Succeeded';

/**
 * Failed, or on its way out: with the default podReplacementPolicy a pod that is being deleted counts as failed at once,
 * with `Failed` only when it has ended.
 */
export function hasFailed(pod: Pod, job: Job): boolean {
  if (pod.status?.phase === 'Failed') return true;
  if (onlyReplacesFailed(job)) return false;
  return pod.metadata.deletionTimestamp !== undefined && !hasSucceeded(pod);
}

/** Jobs with a failure policy look at why a pod failed, so they have to wait for its end too. */
export const onlyReplacesFailed = (job: Job): boolean =>
  (job.spec?.podReplacementPolicy ?? (job.spec?.podFailurePolicy ? 'Failed' : 'TerminatingOrFailed')) ===
  'Failed';

export interface Counts {
  succeeded: number;
  failed: number;
  succeededIndexes: ReadonlySet<number>;
  failedIndexes: ReadonlySet<number>;
  /** What status.uncountedTerminatedPods shall be. */
  uncounted: { succeeded: string[]; failed: string[] };
  /** Pods whose finalizer may go once the status with `uncounted` is written. */
  release: Pod[];
  /** A pod failed for which the policy says FailJob. */
  failJob: string | undefined;
}

/**
 * Counts every pod exactly once, over restarts and pods that vanish. A finished pod is first entered into
 * status.uncountedTerminatedPods, then loses its finalizer, and only then moves from that list into the counter.
 */
export function countPods(job: Job, pods: readonly Pod[]): Counts {
  const status = job.status ?? {};
  const tracked = new Map(pods.filter(isTracked).map((pod) => [pod.metadata.uid ?? '', pod]));
  const limit = job.spec?.completions ?? Number.MAX_SAFE_INTEGER;
  const succeededIndexes = parseIndexes(isIndexed(job) ? status.completedIndexes : undefined, limit);
  const failedIndexes = parseIndexes(isIndexed(job) ? status.failedIndexes : undefined, limit);

  const settle = (uids: readonly string[] | undefined): { left: string[]; settled: number } => {
    const left = (uids ?? []).filter((uid) => tracked.has(uid));
    return { left, settled: (uids ?? []).length - left.length };
  };
  const succeededBefore = settle(status.uncountedTerminatedPods?.succeeded);
  const failedBefore = settle(status.uncountedTerminatedPods?.failed);
  const uncounted = { succeeded: succeededBefore.left, failed: failedBefore.left };
  let succeeded = (status.succeeded ?? 0) + (isIndexed(job) ? 0 : succeededBefore.settled);
  const failed = (status.failed ?? 0) + failedBefore.settled;

  const release: Pod[] = [];
  let failJob: string | undefined;
  for (const [uid, pod] of tracked) {
    if (uncounted.succeeded.includes(uid) || uncounted.failed.includes(uid)) {
      release.push(pod);
      continue;
    }
    if (uncounted.succeeded.length + uncounted.failed.length >= MOST_UNCOUNTED) break;
    const index = indexOf(pod);
    if (hasSucceeded(pod)) {
      if (isIndexed(job)) {
        if (index !== undefined && index < limit) succeededIndexes.add(index);
      } else {
        uncounted.succeeded.push(uid);
      }
      release.push(pod);
    } else if (hasFailed(pod, job)) {
      const verdict = judgeFailure(job, pod);
      release.push(pod);
      if (verdict?.action === 'Ignore') continue;
      if (verdict?.action === 'FailJob') failJob ??= verdict.message;
      if (verdict?.action === 'FailIndex' && index !== undefined) failedIndexes.add(index);
      if (index !== undefined && exhausted(job, pod)) failedIndexes.add(index);
      uncounted.failed.push(uid);
    }
  }
  if (isIndexed(job)) succeeded = succeededIndexes.size;
  return { succeeded, failed, succeededIndexes, failedIndexes, uncounted, release, failJob };
}

/** How often a pod's index had failed before it, as the pod itself carries it. */
export function failuresOf(pod: Pod): number {
  return Number(pod.metadata.annotations?.[INDEX_FAILURES] ?? 0) || 0;
}

/** This failure is one too many for its index. */
function exhausted(job: Job, pod: Pod): boolean {
  const limit = job.spec?.backoffLimitPerIndex;
  return limit !== undefined && failuresOf(pod) >= limit;
}

/** Annotations of an index's next pod, after `last` failed. */
export function nextFailureAnnotations(job: Job, last: Pod | undefined): Record<string, string> {
  if (job.spec?.backoffLimitPerIndex === undefined) return {};
  if (!last) return { [INDEX_FAILURES]: '0' };
  const ignored = Number(last.metadata.annotations?.[INDEX_IGNORED] ?? 0) || 0;
  if (judgeFailure(job, last)?.action === 'Ignore') {
    return { [INDEX_FAILURES]: String(failuresOf(last)), [INDEX_IGNORED]: String(ignored + 1) };
  }
  return {
    [INDEX_FAILURES]: String(failuresOf(last) + 1),
    ...(ignored > 0 ? { [INDEX_IGNORED]: String(ignored) } : {}),
  };
}

/** The part of the status that countPods settles. */
export function countedStatus(job: Job, counts: Counts): Partial<JobStatus> {
  const { succeeded, failed, uncounted } = counts;
  const completed = formatIndexes(counts.succeededIndexes);
  return {
    ...(succeeded > 0 ? { succeeded } : {}),
    ...(failed > 0 ? { failed } : {}),
    ...(isIndexed(job) && completed !== '' ? { completedIndexes: completed } : {}),
    ...(job.spec?.backoffLimitPerIndex === undefined
      ? {}
      : { failedIndexes: formatIndexes(counts.failedIndexes) }),
    uncountedTerminatedPods: {
      ...(uncounted.succeeded.length > 0 ? { succeeded: uncounted.succeeded } : {}),
      ...(uncounted.failed.length > 0 ? { failed: uncounted.failed } : {}),
    },
  };
}
