import { describe, expect, it } from 'vitest';
import type { CronJob, CronJobSpec, Job } from '../../../src/api/types/batch-v1.ts';
import {
  type CronDecision,
  decideCronJob,
  mostRecent,
} from '../../../src/server/controllers/cronjob/decide.ts';
import { parseSchedule } from '../../../src/server/controllers/cronjob/schedule.ts';

const BEGIN = Date.parse('2026-03-01T00:00:00Z');
const minutes = (count: number): number => BEGIN + count * 60_000;
const text = (time: number | undefined): string | undefined =>
  time === undefined ? undefined : new Date(time).toISOString().slice(11, 16);

function cron(spec: Partial<CronJobSpec> = {}, status: CronJob['status'] = {}): CronJob {
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: {
      name: 'night',
      namespace: 'default',
      uid: 'cron',
      creationTimestamp: new Date(BEGIN).toISOString(),
    },
    spec: { schedule: '*/10 * * * *', jobTemplate: { spec: { template: {} } }, ...spec },
    status,
  };
}

const ran = (count: number): CronJob['status'] => ({
  lastScheduleTime: new Date(minutes(count)).toISOString(),
});

function decide(one: CronJob, now: number, jobs: Job[] = []): CronDecision {
  return decideCronJob({
    cron: one,
    schedule: parseSchedule(one.spec.schedule, one.spec.timeZone),
    jobs,
    now,
  });
}

function job(name: string, facts: { ended?: 'Complete' | 'Failed'; started?: number } = {}): Job {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace: 'default', uid: name },
    spec: { template: {} },
    status: {
      startTime: new Date(facts.started ?? BEGIN).toISOString(),
      ...(facts.ended ? { conditions: [{ type: facts.ended, status: 'True' }] } : {}),
    },
  };
}
const active = (...jobs: Job[]): CronJob['status'] => ({
  active: jobs.map(({ metadata: { name = '', uid = '' } }) => ({ kind: 'Job', name, uid })),
});

describe('a run', () => {
  it.each<[string, Partial<CronJobSpec>, CronJob['status'], number, string | undefined]>([
    ['is not due at the moment of creation', {}, {}, 0, undefined],
    ['is due on its minute', {}, {}, 10, '00:10'],
    ['is not repeated', {}, ran(10), 19, undefined],
    ['follows the last one', {}, ran(10), 20, '00:20'],
    ['missed several times happens once, the latest', {}, ran(10), 55, '00:50'],
    ['after the clock was set back waits until time has caught up', {}, ran(60), 30, undefined],
    ['after a clock that had jumped ahead: at the next after that', {}, ran(60), 70, '01:10'],
    ['within its deadline is made up for', { startingDeadlineSeconds: 300 }, ran(10), 24, '00:20'],
    ['beyond its deadline is left out', { startingDeadlineSeconds: 200 }, ran(10), 24, undefined],
    ['looks back no further than its deadline', { startingDeadlineSeconds: 60 }, {}, 600, '10:00'],
    ['is not begun while suspended', { suspend: true }, {}, 10, undefined],
  ])('%s', (_name, spec, status, now, expected) => {
    const decision = decide(cron(spec, status), minutes(now));
    expect(text(decision.create && decision.scheduledAt)).toBe(expected);
  });

  it('is named after its minute, so that a second attempt meets the first one’s Job', () => {
    const decision = decide(cron(), minutes(10));
    const { name } = decision.create?.metadata ?? {};
    expect(name).toBe(`night-${minutes(10) / 60_000}`);
    const again = decide(cron(), minutes(10), [job(name ?? '')]);
    expect([again.create, text(again.scheduledAt)]).toEqual([undefined, '00:10']);
  });

  it('says in its Job when it was due, in the time zone of the CronJob', () => {
    const annotation = (spec: Partial<CronJobSpec>): string | undefined =>
      decide(cron(spec), minutes(10)).create?.metadata.annotations?.[
        'batch.kubernetes.io/cronjob-scheduled-timestamp'
      ];
    expect(annotation({})).toBe('2026-03-01T00:10:00Z');
    expect(annotation({ timeZone: 'Asia/Kolkata' })).toBe('2026-03-01T05:40:00+05:30');
  });

  it('asks to be looked at again when the next is due', () => {
    expect(decide(cron(), minutes(3)).again).toBe(7 * 60_000);
  });
});

describe('more than a hundred missed runs', () => {
  const often = (spec: Partial<CronJobSpec> = {}, status: CronJob['status'] = {}): CronJob =>
    cron({ schedule: '* * * * *', ...spec }, status);
  const schedule = parseSchedule('* * * * *', undefined);

  it('are suspicious, and the latest happens', () => {
    expect(mostRecent(often(), schedule, minutes(100))).toEqual({ time: minutes(100), tooMany: false });
    expect(mostRecent(often(), schedule, minutes(101))).toEqual({ time: minutes(101), tooMany: true });
    expect(mostRecent(often(), schedule, minutes(600_000))).toEqual({
      time: minutes(600_000),
      tooMany: true,
    });
    expect(decide(often(), minutes(500)).events).toMatchObject([
      { type: 'Warning', reason: 'TooManyMissedTimes' },
    ]);
  });

  it('are none with a deadline that few fit into', () => {
    expect(mostRecent(often({ startingDeadlineSeconds: 600 }), schedule, minutes(5000))).toEqual({
      time: minutes(5000),
      tooMany: false,
    });
  });
});

describe('a change of the clock in a time zone', () => {
  // New York skips 02:00 to 03:00 on 2026-03-08 and repeats 01:00 to 02:00 on 2026-11-01.
  const newYork = (schedule: string, from: string): CronJob =>
    cron({ schedule, timeZone: 'America/New_York' }, { lastScheduleTime: from });
  const runs = (one: CronJob, until: string): string[] => {
    const times: string[] = [];
    let current = one;
    for (let now = Date.parse(one.status?.lastScheduleTime ?? ''); now <= Date.parse(until); ) {
      const { create, scheduledAt, again } = decide(current, now);
      now += again ?? Number.POSITIVE_INFINITY;
      if (!create || scheduledAt === undefined) continue;
      times.push(new Date(scheduledAt).toISOString().slice(5, 16));
      current = { ...current, status: { lastScheduleTime: new Date(scheduledAt).toISOString() } };
    }
    return times;
  };

  it('runs hourly over the hour that is left out, and over the one that comes twice', () => {
    expect(runs(newYork('0 * * * *', '2026-03-08T05:00:00Z'), '2026-03-08T08:00:00Z')).toEqual([
      '03-08T06:00',
      '03-08T07:00',
      '03-08T08:00',
    ]);
    expect(runs(newYork('0 * * * *', '2026-11-01T04:00:00Z'), '2026-11-01T07:00:00Z')).toEqual([
      '11-01T05:00',
      '11-01T06:00',
      '11-01T07:00',
    ]);
  });

  it('leaves out a time that the clock skips', () => {
    expect(runs(newYork('30 2 * * *', '2026-03-07T07:30:00Z'), '2026-03-09T07:00:00Z')).toEqual([
      '03-09T06:30',
    ]);
  });
});

describe('a run beside another', () => {
  const running = job('night-1');
  it.each<[CronJobSpec['concurrencyPolicy'], boolean, string[]]>([
    ['Allow', true, []],
    ['Forbid', false, []],
    ['Replace', true, ['night-1']],
  ])('%s', (concurrencyPolicy, starts, removed) => {
    const one = cron(concurrencyPolicy === undefined ? {} : { concurrencyPolicy }, active(running));
    const decision = decide(one, minutes(10), [running]);
    expect(decision.create !== undefined).toBe(starts);
    expect(decision.remove.map(({ metadata }) => metadata.name)).toEqual(removed);
  });

  it('that was forbidden happens when the other has ended', () => {
    const one = cron({ concurrencyPolicy: 'Forbid' }, active(running));
    const ended = job('night-1', { ended: 'Complete' });
    expect(text(decide(one, minutes(13), [ended]).scheduledAt)).toBe('00:10');
  });
});

describe('the history', () => {
  it('keeps the newest of each kind, and none of those that run', () => {
    const jobs = [1, 2, 3, 4].map((count) =>
      job(`ok-${count}`, { ended: 'Complete', started: minutes(count) }),
    );
    const failed = [1, 2].map((count) => job(`bad-${count}`, { ended: 'Failed', started: minutes(count) }));
    const remove = (spec: Partial<CronJobSpec>): (string | undefined)[] =>
      decide(cron(spec), BEGIN, [...jobs, ...failed, job('running')]).remove.map(
        ({ metadata }) => metadata.name,
      );
    expect(remove({})).toEqual(['ok-1', 'bad-1']);
    expect(remove({ successfulJobsHistoryLimit: 0, failedJobsHistoryLimit: 2 })).toEqual([
      'ok-1',
      'ok-2',
      'ok-3',
      'ok-4',
    ]);
  });

  it('notes what has ended, what is missing, and what was started without being noted', () => {
    const one = cron({ suspend: true }, active(job('gone'), job('done')));
    const { status, events } = decide(one, BEGIN, [job('done', { ended: 'Failed' }), job('found')]);
    expect(status.active?.map(({ name }) => name)).toEqual(['found']);
    expect(events.map(({ reason, message }) => `${reason}: ${message}`)).toEqual([
      'MissingJob: Active job went missing: gone',
      'SawCompletedJob: Saw completed job: done, condition: Failed',
    ]);
  });
});
