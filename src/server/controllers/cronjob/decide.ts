import type { CronJob, CronJobStatus, Job, JobTemplateSpec } from '../../../api/types/batch-v1.ts';
import type { ObjectReference } from '../../../api/types/core-v1.ts';
import type { NewObject } from '../../../client/port.ts';
import { timestamp } from '../../../lib/clock.ts';
import { controllerRef } from '../shared/ownership.ts';
import { createdAt } from '../shared/pods.ts';
import type { Schedule } from './schedule.ts';

/** More missed runs than this, and Kubernetes suspects that somebody set the clock. */
const TOO_MANY = 100;
const SCHEDULED_AT = 'batch.kubernetes.io/cronjob-scheduled-timestamp';

export interface CronEvent {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export interface CronDecision {
  /** Jobs to end before a new one starts (Replace), and surplus finished ones. */
  remove: Job[];
  create: (NewObject<Job> & { metadata: { name: string } }) | undefined;
  /** The run that `create` (or the job of that name) stands for, ms. */
  scheduledAt: number | undefined;
  /** Without what a created Job adds; see withStarted. */
  status: CronJobStatus;
  events: CronEvent[];
  /** Look again after so many ms: the next run. */
  again: number | undefined;
}

/**
 * One pass over a CronJob. Pure. A run is decided by the schedule, by the last run that the status or the creation time
 * records, and by now: never by a timer's firing, so that a restart neither repeats nor loses it. The Job's name follows
 * from its time, so that a second attempt meets the first one's Job.
 */
export function decideCronJob(input: {
  cron: CronJob;
  schedule: Schedule;
  /** Jobs that the CronJob controls. */
  jobs: readonly Job[];
  now: number;
}): CronDecision {
  const { cron, schedule, jobs, now } = input;
  const events: CronEvent[] = [];
  const status = settleActive(cron, jobs, events);
  const decision: CronDecision = {
    remove: surplus(cron, jobs),
    create: undefined,
    scheduledAt: undefined,
    status,
    events,
    again: undefined,
  };
  if (cron.metadata.deletionTimestamp !== undefined || cron.spec.suspend) return decision;

  const due = mostRecent(cron, schedule, now);
  if (due.tooMany) {
    events.push({
      type: 'Warning',
      reason: 'TooManyMissedTimes',
      message:
        'too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew',
    });
  }
  const next = schedule.next(now);
  decision.again = next === undefined ? undefined : next - now;
  if (due.time === undefined) return decision;
  const deadline = cron.spec.startingDeadlineSeconds;
  if (deadline !== undefined && due.time + deadline * 1000 < now) {
    const message = `Missed scheduled time to start a job: ${new Date(due.time).toUTCString()}`;
    events.push({ type: 'Warning', reason: 'MissSchedule', message });
    return decision;
  }
  const name = jobName(cron, due.time);
  // Started before, and the status did not survive: the Job says so.
  const existing = jobs.find(({ metadata }) => metadata.name === name);
  if (existing || (status.active ?? []).some((reference) => reference.name === name)) {
    decision.scheduledAt = due.time;
    return decision;
  }
  const active = jobs.filter((job) => (status.active ?? []).some(({ uid }) => uid === job.metadata.uid));
  if (active.length > 0 && cron.spec.concurrencyPolicy === 'Forbid') {
    events.push({
      type: 'Normal',
      reason: 'JobAlreadyActive',
      message: 'Not starting job because prior execution is running and concurrency policy is Forbid',
    });
    return decision;
  }
  if (cron.spec.concurrencyPolicy === 'Replace') decision.remove.push(...active);
  decision.create = newJob(cron, due.time);
  decision.scheduledAt = due.time;
  return decision;
}

/** The status after the run's Job exists. `lastScheduleTime` is what keeps the run from happening again. */
export function withStarted(
  status: CronJobStatus,
  job: Job,
  scheduledAt: number,
  removed: readonly Job[],
): CronJobStatus {
  const gone = new Set(removed.map(({ metadata }) => metadata.uid));
  const active = (status.active ?? []).filter(({ uid }) => !gone.has(uid) && uid !== job.metadata.uid);
  return {
    ...status,
    active: isDone(job) ? active : [...active, referenceOf(job)],
    lastScheduleTime: timestamp(scheduledAt),
  };
}

/** The latest run that is due and not yet recorded, and whether suspiciously many were missed. */
export function mostRecent(
  cron: CronJob,
  schedule: Schedule,
  now: number,
): { time: number | undefined; tooMany: boolean } {
  let earliest = Date.parse(cron.status?.lastScheduleTime ?? '');
  if (Number.isNaN(earliest)) earliest = createdAt(cron);
  const deadline = cron.spec.startingDeadlineSeconds;
  if (deadline !== undefined) earliest = Math.max(earliest, now - deadline * 1000);
  if (earliest > now) return { time: undefined, tooMany: false };
  let time: number | undefined;
  let missed = 0;
  for (let run = schedule.next(earliest); run !== undefined && run <= now; run = schedule.next(run)) {
    missed += 1;
    time = run;
    if (missed > TOO_MANY) {
      // Far behind: go on from close to now instead of through every run since.
      const near = closeTo(schedule, now);
      return { time: near ?? time, tooMany: deadline === undefined };
    }
  }
  return { time, tooMany: false };
}

/** The last run before now, found from ever further back. */
function closeTo(schedule: Schedule, now: number): number | undefined {
  for (let back = 60_000; back < 366 * 24 * 3_600_000; back *= 4) {
    let last: number | undefined;
    for (let run = schedule.next(now - back); run !== undefined && run <= now; run = schedule.next(run))
      last = run;
    if (last !== undefined) return last;
  }
  return undefined;
}

/** `<cron>-<minutes since 1970>`. */
export function jobName(cron: CronJob, time: number): string {
  return `${cron.metadata.name}-${Math.floor(time / 60_000)}`;
}

function newJob(cron: CronJob, time: number): NewObject<Job> & { metadata: { name: string } } {
  const { metadata, spec }: JobTemplateSpec = cron.spec.jobTemplate;
  const zone = cron.spec.timeZone;
  return {
    metadata: {
      name: jobName(cron, time),
      namespace: cron.metadata.namespace ?? '',
      ...(metadata?.labels ? { labels: metadata.labels } : {}),
      annotations: { ...metadata?.annotations, [SCHEDULED_AT]: zoned(time, zone) },
      ownerReferences: [controllerRef(cron)],
    },
    spec: spec ?? { template: {} },
  };
}

/** RFC 3339 in the CronJob's time zone, as Kubernetes annotates it. */
function zoned(time: number, zone: string | undefined): string {
  if (zone === undefined || zone === 'UTC' || zone === 'Etc/UTC') return timestamp(time);
  const parts: Record<string, string> = {};
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    timeZoneName: 'longOffset',
  });
  for (const { type, value } of format.formatToParts(time)) parts[type] = value;
  const offset = (parts.timeZoneName ?? 'GMT').slice(3) || 'Z';
  return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}:${parts.second}${offset}`;
}

/** Brings status.active in line with the Jobs that are there, and notes what finished. */
function settleActive(cron: CronJob, jobs: readonly Job[], events: CronEvent[]): CronJobStatus {
  const { active: before = [], ...rest } = cron.status ?? {};
  let { lastSuccessfulTime } = rest;
  const byUid = new Map(jobs.map((job) => [job.metadata.uid ?? '', job]));
  const active: ObjectReference[] = [];
  for (const reference of before) {
    const job = byUid.get(reference.uid ?? '');
    if (!job) {
      const message = `Active job went missing: ${reference.name}`;
      events.push({ type: 'Normal', reason: 'MissingJob', message });
    } else if (isDone(job)) {
      const how = isComplete(job) ? 'Complete' : 'Failed';
      const message = `Saw completed job: ${reference.name}, condition: ${how}`;
      events.push({ type: 'Normal', reason: 'SawCompletedJob', message });
    } else active.push(reference);
  }
  for (const job of jobs) {
    const listed = before.some(({ uid }) => uid === job.metadata.uid);
    if (!isDone(job) && !listed) {
      // Ours by its reference, but not recorded: the status was lost on the way.
      active.push(referenceOf(job));
    }
    const done = isComplete(job) ? job.status?.completionTime : undefined;
    if (done && (!lastSuccessfulTime || Date.parse(done) > Date.parse(lastSuccessfulTime)))
      lastSuccessfulTime = done;
  }
  return {
    ...rest,
    ...(active.length > 0 ? { active } : {}),
    ...(lastSuccessfulTime ? { lastSuccessfulTime } : {}),
  };
}

const hasEnded = (job: Job, type: 'Complete' | 'Failed'): boolean =>
  (job.status?.conditions ?? []).some((condition) => condition.type === type && condition.status === 'True');
const isComplete = (job: Job): boolean => hasEnded(job, 'Complete');
const isDone = (job: Job): boolean => isComplete(job) || hasEnded(job, 'Failed');

/** Finished Jobs beyond the history limits, the oldest. */
function surplus(cron: CronJob, jobs: readonly Job[]): Job[] {
  const beyond = (finished: Job[], limit: number): Job[] =>
    finished
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .sort((a, b) => started(a) - started(b) || ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1))
      .slice(0, Math.max(0, finished.length - limit));
  return [
    ...beyond(jobs.filter(isComplete), cron.spec.successfulJobsHistoryLimit ?? 3),
    ...beyond(
      jobs.filter((job) => hasEnded(job, 'Failed')),
      cron.spec.failedJobsHistoryLimit ?? 1,
    ),
  ];
}

const started = (job: Job): number => Date.parse(job.status?.startTime ?? '') || createdAt(job);

function referenceOf({ apiVersion, kind, metadata }: Job): ObjectReference {
  return {
    apiVersion,
    kind,
    name: metadata.name ?? '',
    namespace: metadata.namespace ?? '',
    ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
    ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
  };
}
