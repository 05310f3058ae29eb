import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CRON_JOBS, JOBS, PODS } from '../../../src/api/kinds.ts';
import type { CronJob } from '../../../src/api/types/batch-v1.ts';
import { cronJobController } from '../../../src/server/controllers/cronjob/controller.ts';
import { jobController } from '../../../src/server/controllers/job/controller.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  const MINUTE = 60_000;
  let plane: ControlPlane;
  let started: string[];

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    started = [];
    plane.client.follow(
      JOBS,
      {},
      {
        onList: () => {},
        onEvent: (event, job) => {
          if (event === 'ADDED') started.push(job.metadata.name ?? '');
        },
      },
    );
    await plane.start(cronJobController, jobController);
  });
  afterEach(() => plane.stop());

  const minutes = (offset: number): string => `tick-${Date.parse('2026-01-01T00:00:00Z') / MINUTE + offset}`;

  async function create(spec: Partial<CronJob['spec']> = {}): Promise<void> {
    await plane.client.create(CRON_JOBS, 'default', {
      metadata: { name: 'tick' },
      spec: {
        schedule: '*/5 * * * *',
        jobTemplate: {
          spec: {
            template: { spec: { restartPolicy: 'Never', containers: [{ name: 'tick', image: 'tick' }] } },
          },
        },
        ...spec,
      },
    });
    await plane.settle();
  }

  const cron = (): CronJob => plane.client.peek(CRON_JOBS, 'default', 'tick') as CronJob;
  async function finishAll(exitCode = 0): Promise<void> {
    for (const pod of plane.client.all(PODS)) {
      if (pod.status?.phase === 'Running') await plane.kubelet.finish(pod, exitCode);
    }
    await plane.settle();
  }

  describe('a CronJob', () => {
    it('starts a Job on its minute, named after it, and records it', async () => {
      await create();
      await plane.clock.advance(5 * MINUTE - 1);
      expect(started).toEqual([]);
      await plane.clock.advance(200);
      expect(started).toEqual([minutes(5)]);
      expect(cron().status).toMatchObject({ lastScheduleTime: '2026-01-01T00:05:00Z' });
      expect(cron().status?.active?.[0]?.name).toBe(minutes(5));
      const [job] = plane.client.all(JOBS);
      expect(job?.metadata.annotations).toEqual({
        'batch.kubernetes.io/cronjob-scheduled-timestamp': '2026-01-01T00:05:00Z',
      });
      await finishAll();
      expect(cron().status?.active).toBeUndefined();
      expect(cron().status?.lastSuccessfulTime).toBe('2026-01-01T00:05:00Z');
      expect(plane.events()).toContain(
        `SawCompletedJob: Saw completed job: ${minutes(5)}, condition: Complete`,
      );
    });

    it('runs each time once over an hour', async () => {
      await create();
      for (let run = 0; run < 12; run += 1) {
        await plane.clock.advance(5 * MINUTE);
        await finishAll();
      }
      await plane.clock.advance(1000);
      expect(started).toEqual(Array.from({ length: 12 }, (_, index) => minutes(5 * (index + 1))));
    });

    it('keeps three successful and one failed Job', async () => {
      await create();
      for (const code of [0, 1, 0, 1, 0, 0, 0]) {
        await plane.clock.advance(5 * MINUTE + 200);
        await plane.client.patch(CRON_JOBS, 'default', 'tick', {
          type: 'merge',
          body: { spec: { jobTemplate: { spec: { backoffLimit: 0 } } } },
        });
        await finishAll(code);
        await plane.clock.advance(0);
      }
      const left = plane.client.all(JOBS).map(({ metadata }) => metadata.name);
      expect(left).toHaveLength(4);
      expect(left).toContain(minutes(35));
    });

    it('does not start beside a running Job when that is forbidden', async () => {
      await create({ concurrencyPolicy: 'Forbid' });
      await plane.clock.advance(11 * MINUTE);
      expect(started).toEqual([minutes(5)]);
      expect(plane.events()).toContain(
        'JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid',
      );
      await finishAll();
      // The run that was held back is the latest one that is due.
      expect(started).toEqual([minutes(5), minutes(10)]);
    });

    it('replaces a running Job when that is wanted', async () => {
      await create({ concurrencyPolicy: 'Replace' });
      await plane.clock.advance(10 * MINUTE + 200);
      expect(started).toEqual([minutes(5), minutes(10)]);
      expect(plane.client.all(JOBS).map(({ metadata }) => metadata.name)).toEqual([minutes(10)]);
      expect(cron().status?.active?.map(({ name }) => name)).toEqual([minutes(10)]);
    });

    it('does nothing while suspended', async () => {
      await create({ suspend: true });
      await plane.clock.advance(60 * MINUTE);
      expect(started).toEqual([]);
    });

    it('repeats nothing after a restart, even when its status was lost, and catches up with the latest run only', async () => {
      await create();
      await plane.clock.advance(5 * MINUTE + 200);
      await plane.stop();
      const { status: _lost, ...rest } = cron();
      await plane.client.updateStatus(CRON_JOBS, rest as CronJob);
      await plane.start(cronJobController, jobController);
      expect(started).toEqual([minutes(5)]);
      expect(cron().status?.lastScheduleTime).toBe('2026-01-01T00:05:00Z');
      await plane.stop();
      await plane.clock.advance(60 * MINUTE);
      await plane.start(cronJobController, jobController);
      expect(started).toEqual([minutes(5), minutes(65)]);
    });

    it('leaves out a run whose starting deadline is over', async () => {
      await create({ startingDeadlineSeconds: 60 });
      await plane.stop();
      await plane.clock.advance(7 * MINUTE);
      await plane.start(cronJobController, jobController);
      expect(started).toEqual([]);
      await plane.clock.advance(3 * MINUTE + 200);
      expect(started).toEqual([minutes(10)]);
    });

    it('warns of more than a hundred missed runs and starts the latest', async () => {
      await create({ schedule: '* * * * *' });
      await plane.stop();
      await plane.clock.advance(200 * MINUTE);
      await plane.start(cronJobController, jobController);
      expect(started).toEqual([minutes(200)]);
      expect(plane.events()).toContain(
        'TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew',
      );
    });
  });
});
