import type { Job, JobCondition, JobStatus } from '../../../api/types/batch-v1.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { timestamp } from '../../../lib/clock.ts';
import { findCondition, withCondition } from '../shared/conditions.ts';
import { createdAt, isActive, isReady, isTerminating, rankForDeletion } from '../shared/pods.ts';
import {
  type Counts,
  countedStatus,
  countPods,
  hasFailed,
  hasSucceeded,
  indexOf,
  isIndexed,
  nextFailureAnnotations,
  onlyReplacesFailed,
} from './count.ts';
import { parseIndexes } from './indexes.ts';

const FIRST_BACKOFF_MS = 10_000;
const LONGEST_BACKOFF_MS = 10 * 60_000;
const MOST_AT_ONCE = 500;

export interface NewJobPod {
  /** Indexed Jobs only. */
  index?: number;
  annotations: Record<string, string>;
}

export interface JobDecision {
  create: NewJobPod[];
  /** Deleted because the Job is decided; they are counted as they end. */
  remove: Pod[];
  /** Not wanted any more (scaled down, suspended): they lose their finalizer first and are never counted. */
  discard: Pod[];
  /** Lose their finalizer after the status is written. */
  release: Pod[];
  status: JobStatus;
  events: { type: 'Normal' | 'Warning'; reason: string; message: string }[];
  /** Look again after so many ms. */
  again: number | undefined;
}

export const isFinished = (job: Job): boolean =>
  (job.status?.conditions ?? []).some(
    ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
  );

type Outcome = { type: 'SuccessCriteriaMet' | 'FailureTarget'; reason: string; message: string };

/** One pass over a Job that is not finished. Pure. */
export function decideJob(input: { job: Job; pods: readonly Pod[]; now: number }): JobDecision {
  return new Pass(input).run();
}

class Pass {
  private readonly job: Job;
  private readonly pods: readonly Pod[];
  private readonly now: number;
  private readonly active: Pod[];
  private readonly counts: Counts;
  private readonly failed: number;
  private readonly succeeded: number;
  private conditions: JobCondition[];
  private startTime: string | undefined;
  private readonly decision: Omit<JobDecision, 'status'>;

  constructor({ job, pods, now }: { job: Job; pods: readonly Pod[]; now: number }) {
    this.job = job;
    this.pods = pods;
    this.now = now;
    this.active = pods.filter(isActive);
    this.counts = countPods(job, pods);
    this.failed = this.counts.failed + this.counts.uncounted.failed.length;
    this.succeeded = this.counts.succeeded + this.counts.uncounted.succeeded.length;
    this.conditions = [...(job.status?.conditions ?? [])];
    this.startTime = job.status?.startTime;
    this.decision = {
      create: [],
      remove: [],
      discard: [],
      release: this.counts.release,
      events: [],
      again: undefined,
    };
  }

  run(): JobDecision {
    const suspended = this.job.spec?.suspend === true;
    const resumed = !suspended && findCondition(this.conditions, 'Suspended')?.status === 'True';
    // A resumed Job starts anew, its deadline with it.
    if ((!this.startTime && !suspended) || resumed) this.startTime = timestamp(this.now);
    const outcome = this.decidedBefore() ?? this.failure() ?? this.success();
    let expected = this.active.length;
    if (outcome || suspended) {
      this.decision[outcome ? 'remove' : 'discard'].push(...this.active);
      expected = 0;
    } else {
      expected = this.manage();
    }
    if (!outcome) this.noteSuspension(suspended);
    if (outcome) this.conclude(outcome);
    return { ...this.decision, status: this.status(expected) };
  }

  /** What an earlier pass found: the Job is only waiting for its pods to end. */
  private decidedBefore(): Outcome | undefined {
    for (const type of ['FailureTarget', 'SuccessCriteriaMet'] as const) {
      const found = findCondition(this.conditions, type);
      if (found?.status === 'True') return { type, reason: found.reason ?? '', message: found.message ?? '' };
    }
    return undefined;
  }

  private failure(): Outcome | undefined {
    const fail = (reason: string, message: string): Outcome => ({ type: 'FailureTarget', reason, message });
    const { spec } = this.job;
    if (this.counts.failJob !== undefined) return fail('PodFailurePolicy', this.counts.failJob);
    const limit = spec?.backoffLimit ?? (spec?.backoffLimitPerIndex === undefined ? 6 : 2147483647);
    if (this.failed > limit || this.restartsBeyond(limit)) {
      return fail('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
    }
    if (this.deadlineLeft() === 0) {
      return fail('DeadlineExceeded', 'Job was active longer than specified deadline');
    }
    if (spec?.backoffLimitPerIndex !== undefined) {
      if (spec.maxFailedIndexes !== undefined && this.counts.failedIndexes.size > spec.maxFailedIndexes) {
        return fail(
          'MaxFailedIndexesExceeded',
          'Job has exceeded the specified maximal number of failed indexes',
        );
      }
      const ended = this.counts.failedIndexes.size + this.counts.succeededIndexes.size;
      if (this.counts.failedIndexes.size > 0 && ended >= (spec.completions ?? 0)) {
        return fail('FailedIndexes', 'Job has failed indexes');
      }
    }
    return undefined;
  }

  /** restartPolicy OnFailure: containers restart in place, and those restarts count instead of pods. */
  private restartsBeyond(limit: number): boolean {
    if (this.job.spec?.template.spec?.restartPolicy !== 'OnFailure') return false;
    let restarts = 0;
    for (const { status } of this.pods) {
      if (status?.phase !== 'Running' && status?.phase !== 'Pending') continue;
      for (const one of [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]) {
        restarts += one.restartCount;
      }
    }
    return limit === 0 ? restarts > 0 : restarts >= limit;
  }

  /** Milliseconds until activeDeadlineSeconds; undefined without one. */
  private deadlineLeft(): number | undefined {
    const seconds = this.job.spec?.activeDeadlineSeconds;
    if (seconds === undefined || !this.startTime || this.job.spec?.suspend) return undefined;
    const left = Math.max(0, Date.parse(this.startTime) + seconds * 1000 - this.now);
    this.lookAgainIn(left);
    return left;
  }

  private success(): Outcome | undefined {
    const met = (reason: string, message: string): Outcome => ({
      type: 'SuccessCriteriaMet',
      reason,
      message,
    });
    for (const [index, rule] of (this.job.spec?.successPolicy?.rules ?? []).entries()) {
      if (!isIndexed(this.job)) break;
      const wanted = rule.succeededIndexes;
      const relevant =
        wanted === undefined
          ? this.counts.succeededIndexes
          : new Set(
              [...parseIndexes(wanted, Number.MAX_SAFE_INTEGER)].filter((one) =>
                this.counts.succeededIndexes.has(one),
              ),
            );
      const needed = rule.succeededCount ?? parseIndexes(wanted, this.job.spec?.completions ?? 0).size;
      if (relevant.size >= needed) return met('SuccessPolicy', `Matched rules at index ${index}`);
    }
    const completions = this.job.spec?.completions;
    const complete =
      completions === undefined
        ? // A work queue: one pod that succeeds says that the work is done, the others finish theirs.
          this.succeeded > 0 && this.active.length === 0
        : this.succeeded >= completions && this.active.length === 0;
    return complete ? met('CompletionsReached', 'Reached expected number of succeeded pods') : undefined;
  }

  /** Plans pods to add or take away; returns how many will be active. */
  private manage(): number {
    const { completions, parallelism = 1 } = this.job.spec ?? {};
    const wanted =
      completions === undefined
        ? this.succeeded > 0
          ? this.active.length
          : parallelism
        : Math.min(parallelism, Math.max(0, completions - this.succeeded - this.counts.failedIndexes.size));
    const stray = isIndexed(this.job) ? this.strayIndexes(completions ?? 0) : [];
    const usable = this.active.filter((pod) => !stray.includes(pod));
    const surplus = Math.max(0, usable.length - wanted);
    if (stray.length > 0 || surplus > 0) {
      const ranked = rankForDeletion(usable, () => 0, this.now).slice(0, surplus);
      this.decision.discard.push(...stray, ...ranked);
      return this.active.length - stray.length - ranked.length;
    }
    // A pod that is on its way out keeps its place when only failed ones are replaced.
    const leaving = onlyReplacesFailed(this.job) ? this.pods.filter(isTerminating).length : 0;
    const missing = Math.min(MOST_AT_ONCE, wanted - usable.length - leaving);
    if (missing <= 0) return usable.length;
    const wait = this.job.spec?.backoffLimitPerIndex === undefined ? this.backoffLeft(this.pods) : 0;
    if (wait > 0) {
      this.lookAgainIn(wait);
      return usable.length;
    }
    this.decision.create.push(...this.newPods(missing, usable));
    return usable.length + this.decision.create.length;
  }

  private newPods(count: number, usable: readonly Pod[]): NewJobPod[] {
    if (!isIndexed(this.job)) return Array.from({ length: count }, () => ({ annotations: {} }));
    const taken = new Set(usable.map(indexOf));
    if (onlyReplacesFailed(this.job))
      for (const pod of this.pods.filter(isTerminating)) taken.add(indexOf(pod));
    const pods: NewJobPod[] = [];
    const completions = this.job.spec?.completions ?? 0;
    for (let index = 0; index < completions && pods.length < count; index += 1) {
      if (
        taken.has(index) ||
        this.counts.succeededIndexes.has(index) ||
        this.counts.failedIndexes.has(index)
      ) {
        continue;
      }
      const failures = this.pods.filter((pod) => indexOf(pod) === index && hasFailed(pod, this.job));
      if (this.job.spec?.backoffLimitPerIndex !== undefined) {
        const wait = this.backoffLeft(failures);
        if (wait > 0) {
          this.lookAgainIn(wait);
          continue;
        }
      }
      const last = failures.sort((a, b) => createdAt(a) - createdAt(b)).at(-1);
      pods.push({ index, annotations: nextFailureAnnotations(this.job, last) });
    }
    return pods;
  }

  /** Pods of no valid index, and all but one of several for the same. */
  private strayIndexes(completions: number): Pod[] {
    const stray: Pod[] = [];
    const seen = new Set<number>();
    for (const pod of rankForDeletion(this.active, () => 0, this.now).reverse()) {
      const index = indexOf(pod);
      const useless =
        index === undefined ||
        index >= completions ||
        seen.has(index) ||
        this.counts.succeededIndexes.has(index);
      if (useless) stray.push(pod);
      else seen.add(index);
    }
    return stray;
  }

  /** Failures since the last success double the wait, from ten seconds to ten minutes. */
  private backoffLeft(pods: readonly Pod[]): number {
    const lastSuccess = Math.max(0, ...pods.filter(hasSucceeded).map(finishedAt));
    const failures = pods
      .filter((pod) => pod.status?.phase === 'Failed')
      .map(finishedAt)
      .filter((time) => time > lastSuccess);
    if (failures.length === 0) return 0;
    const delay = Math.min(FIRST_BACKOFF_MS * 2 ** Math.min(failures.length - 1, 20), LONGEST_BACKOFF_MS);
    return Math.max(0, Math.max(...failures) + delay - this.now);
  }

  private noteSuspension(suspended: boolean): void {
    const current = findCondition(this.conditions, 'Suspended')?.status === 'True';
    if (suspended === current) return;
    const [status, reason, message] = suspended
      ? ['True', 'JobSuspended', 'Job suspended']
      : ['False', 'JobResumed', 'Job resumed'];
    this.condition('Suspended', status as 'True' | 'False', reason as string, message as string);
    this.decision.events.push({
      type: 'Normal',
      reason: suspended ? 'Suspended' : 'Resumed',
      message: suspended ? 'Job suspended' : 'Job resumed',
    });
  }

  /**
   * First the intermediate condition, then, when every pod has ended and is counted, the final one: whoever waits for
   * Complete or Failed may rely on no pod running any more.
   */
  private conclude(outcome: Outcome): void {
    const success = outcome.type === 'SuccessCriteriaMet';
    this.condition(outcome.type, 'True', outcome.reason, outcome.message);
    const uncounted = this.counts.uncounted.succeeded.length + this.counts.uncounted.failed.length;
    const alive = this.active.length + this.pods.filter(isTerminating).length;
    if (alive > 0 || uncounted > 0 || this.counts.release.length > 0) return;
    this.condition(success ? 'Complete' : 'Failed', 'True', outcome.reason, outcome.message);
    this.decision.events.push(
      success
        ? { type: 'Normal', reason: 'Completed', message: 'Job completed' }
        : { type: 'Warning', reason: outcome.reason, message: outcome.message },
    );
  }

  private condition(type: string, status: 'True' | 'False', reason: string, message: string): void {
    const now = timestamp(this.now);
    const current = findCondition(this.conditions, type);
    if (current?.status === status && current.reason === reason) return;
    this.conditions = withCondition(
      this.conditions,
      { type, status, reason, message, lastProbeTime: now },
      now,
    );
  }

  private status(active: number): JobStatus {
    const removed = new Set([...this.decision.remove, ...this.decision.discard]);
    const terminating = this.pods.filter(isTerminating).length + removed.size;
    const ready = this.active.filter((pod) => isReady(pod) && !removed.has(pod)).length;
    const complete = findCondition(this.conditions, 'Complete')?.status === 'True';
    const ended = complete || findCondition(this.conditions, 'Failed')?.status === 'True';
    return {
      ...(active > 0 && !ended ? { active } : {}),
      ready: ended ? 0 : ready,
      terminating: ended ? 0 : terminating,
      ...countedStatus(this.job, this.counts),
      ...(this.startTime === undefined ? {} : { startTime: this.startTime }),
      ...(complete ? { completionTime: this.job.status?.completionTime ?? timestamp(this.now) } : {}),
      ...(this.conditions.length > 0 ? { conditions: this.conditions } : {}),
    };
  }

  private lookAgainIn(milliseconds: number): void {
    const { again } = this.decision;
    this.decision.again = again === undefined ? milliseconds : Math.min(again, milliseconds);
  }
}

/** When a pod's last container ended; its own times where none is known. */
export function finishedAt(pod: Pod): number {
  let latest = 0;
  for (const { state } of pod.status?.containerStatuses ?? []) {
    const time = Date.parse(state?.terminated?.finishedAt ?? '');
    if (time > latest) latest = time;
  }
  if (latest > 0) return latest;
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime;
  return Date.parse(pod.metadata.deletionTimestamp ?? ready ?? '') || createdAt(pod);
}
