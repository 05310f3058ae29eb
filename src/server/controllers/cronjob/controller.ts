import { isAlreadyExists, isNotFound } from '../../../api/errors.ts';
import { CRON_JOBS, JOBS } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import type { CronJob, Job } from '../../../api/types/batch-v1.ts';
import { Controller, isNamespaceTerminating, watch } from '../../../client/reconcile.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { controlledBy, controllerOf, indexClaims, toController } from '../shared/ownership.ts';
import { type CronDecision, decideCronJob, withStarted } from './decide.ts';
import { parseSchedule, type Schedule, ScheduleError } from './schedule.ts';

const NAME = 'cronjob-controller';
/** The wall clock may jump; a sleeping CronJob looks at it at least this often. */
const LONGEST_SLEEP_MS = 10 * 60_000;
/** Wakes a little after the time, so that it has come by a clock of whole milliseconds. */
const SLACK_MS = 100;

export function cronJobController(context: ControllerContext): Controller {
  const { client, clock, informers } = context;
  const recorder = context.events.of(NAME);
  const crons = informers.of(CRON_JOBS);
  const jobs = indexClaims(informers.of(JOBS));

  const scheduleOf = (cron: CronJob): Schedule | undefined => {
    try {
      return parseSchedule(cron.spec.schedule, cron.spec.timeZone);
    } catch (error) {
      if (!(error instanceof ScheduleError)) throw error;
      recorder.record(
        cron,
        'Warning',
        error.message.startsWith('unknown time zone') ? 'UnknownTimeZone' : 'UnparseableSchedule',
        `unparseable schedule: "${cron.spec.schedule}" : ${error.message}`,
      );
      return undefined;
    }
  };

  const remove = async (cron: CronJob, job: Job): Promise<void> => {
    const { namespace, name = '', uid } = job.metadata;
    try {
      await client.delete(JOBS, namespace, name, {
        propagationPolicy: 'Background',
        ...(uid === undefined ? {} : { preconditions: { uid } }),
      });
      recorder.record(cron, 'Normal', 'SuccessfulDelete', `Deleted job ${name}`);
    } catch (error) {
      if (isNotFound(error)) return;
      const message = error instanceof Error ? error.message : String(error);
      recorder.record(cron, 'Warning', 'FailedDelete', `Deleted job: ${message}`);
      throw error;
    }
  };

  /** The run's Job: made now, or by an attempt whose end was not recorded. */
  const start = async (cron: CronJob, decision: CronDecision): Promise<Job | undefined> => {
    const { namespace } = cron.metadata;
    const wanted = decision.create;
    if (!wanted) return undefined;
    try {
      const job = await client.create(JOBS, namespace, wanted);
      recorder.record(cron, 'Normal', 'SuccessfulCreate', `Created job ${wanted.metadata.name}`);
      return job;
    } catch (error) {
      if (isNamespaceTerminating(error)) return undefined;
      if (!isAlreadyExists(error)) {
        const message = error instanceof Error ? error.message : String(error);
        recorder.record(cron, 'Warning', 'FailedCreate', `Error creating job: ${message}`);
        throw error;
      }
      const existing = await client.get(JOBS, namespace, wanted.metadata.name);
      if (controllerOf(existing)?.uid === cron.metadata.uid) return existing;
      recorder.record(
        cron,
        'Warning',
        'UnexpectedJob',
        `Saw a job that the controller did not create or forgot: ${wanted.metadata.name}`,
      );
      return undefined;
    }
  };

  return new Controller({
    name: NAME,
    clock,
    logger: context.logger,
    watches: [
      watch(crons),
      watch(
        jobs,
        toController(crons, () => false),
      ),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const cron = crons.get(namespace, name);
      if (!cron) return undefined;
      const schedule = scheduleOf(cron);
      if (!schedule) return undefined;
      const owned = controlledBy(jobs, cron.metadata.uid ?? '');
      const decision = decideCronJob({ cron, schedule, jobs: owned, now: clock.now() });
      for (const { type, reason, message } of decision.events) recorder.record(cron, type, reason, message);
      for (const job of decision.remove) await remove(cron, job);
      let { status } = decision;
      if (decision.scheduledAt !== undefined) {
        const job = decision.create
          ? await start(cron, decision)
          : owned.find(
              ({ metadata }) =>
                metadata.name === `${name}-${Math.floor((decision.scheduledAt ?? 0) / 60_000)}`,
            );
        if (job) status = withStarted(status, job, decision.scheduledAt, decision.remove);
      }
      if (!sameJson(status, cron.status ?? {})) {
        // Jobs that were removed above changed nothing of the CronJob itself.
        await client.updateStatus(CRON_JOBS, { ...cron, status });
      }
      return decision.again === undefined ? undefined : Math.min(decision.again + SLACK_MS, LONGEST_SLEEP_MS);
    },
  });
}
