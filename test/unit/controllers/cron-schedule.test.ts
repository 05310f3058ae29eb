import { describe, expect, it } from 'vitest';
import { parseSchedule, ScheduleError } from '../../../src/server/controllers/cronjob/schedule.ts';

const next = (schedule: string, after: string, zone?: string): string | undefined => {
  const time = parseSchedule(schedule, zone).next(Date.parse(after));
  return time === undefined ? undefined : new Date(time).toISOString().replace('.000Z', 'Z');
};

describe('the next time of a schedule', () => {
  it.each([
    ['* * * * *', '2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z'],
    ['* * * * *', '2026-01-01T00:00:59Z', '2026-01-01T00:01:00Z'],
    ['*/15 * * * *', '2026-01-01T00:15:00Z', '2026-01-01T00:30:00Z'],
    ['5/20 * * * *', '2026-01-01T00:26:00Z', '2026-01-01T00:45:00Z'],
    ['30 4 1,15 * *', '2026-01-02T00:00:00Z', '2026-01-15T04:30:00Z'],
    ['0 0 29 2 *', '2026-01-01T00:00:00Z', '2028-02-29T00:00:00Z'],
    ['0 9 * * MON-FRI', '2026-01-02T10:00:00Z', '2026-01-05T09:00:00Z'],
    ['0 0 1 JAN *', '2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z'],
    ['@hourly', '2026-01-01T00:10:00Z', '2026-01-01T01:00:00Z'],
    ['@weekly', '2026-01-01T00:00:00Z', '2026-01-04T00:00:00Z'],
    ['@every 90s', '2026-01-01T00:00:00Z', '2026-01-01T00:01:30Z'],
    ['0 0 ? * 0', '2026-01-01T00:00:00Z', '2026-01-04T00:00:00Z'],
  ])('%s after %s is %s', (schedule, after, expected) => {
    expect(next(schedule, after)).toBe(expected);
  });

  it('takes either day when both day fields are restricted, both when one is not', () => {
    // 2026-01-02 is a Friday.
    expect(next('0 0 13 * FRI', '2026-01-01T00:00:00Z')).toBe('2026-01-02T00:00:00Z');
    expect(next('0 0 13 * FRI', '2026-01-09T12:00:00Z')).toBe('2026-01-13T00:00:00Z');
    expect(next('0 0 13 * *', '2026-01-01T00:00:00Z')).toBe('2026-01-13T00:00:00Z');
  });

  // The cases of robfig/cron for New York.
  it.each([
    ['hourly over the gap', '0 * * * *', '2012-03-11T01:00:00-05:00', '2012-03-11T07:00:00Z'],
    ['a time that the clock skips', '30 2 11 3 *', '2012-03-11T00:00:00-05:00', '2013-03-11T06:30:00Z'],
    ['two nightly after the gap', '0 2 * * *', '2012-03-11T00:00:00-05:00', '2012-03-12T06:00:00Z'],
    ["hourly, first one o'clock", '0 * * * *', '2012-11-04T00:00:00-04:00', '2012-11-04T05:00:00Z'],
    ["hourly, second one o'clock", '0 * * * *', '2012-11-04T01:00:00-04:00', '2012-11-04T06:00:00Z'],
    ['a repeated time runs twice', '0 1 * * *', '2012-11-04T01:00:00-04:00', '2012-11-04T06:00:00Z'],
    ['and no third time', '0 1 * * *', '2012-11-04T01:00:00-05:00', '2012-11-05T06:00:00Z'],
    ['three nightly', '0 3 * * *', '2012-11-04T00:00:00-04:00', '2012-11-04T08:00:00Z'],
  ])('New York: %s', (_name, schedule, after, expected) => {
    expect(next(schedule, after, 'America/New_York')).toBe(expected);
  });

  it('counts in the time zone it is given', () => {
    expect(next('0 8 * * *', '2026-01-01T00:00:00Z', 'Asia/Kolkata')).toBe('2026-01-01T02:30:00Z');
    expect(next('TZ=Europe/Berlin 0 8 * * *', '2026-07-01T00:00:00Z')).toBe('2026-07-01T06:00:00Z');
    expect(next('0 0 1 * *', '2026-01-15T00:00:00Z', 'Pacific/Auckland')).toBe('2026-01-31T11:00:00Z');
  });

  it('has no next time for a day that never comes', () => {
    expect(next('0 0 31 2 *', '2026-01-01T00:00:00Z')).toBeUndefined();
  });

  it.each([
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * L * *',
    '* * * * 7',
    '* * * * 1#2',
    '10-5 * * * *',
    '*/0 * * * *',
    '@reboot',
    '@every soon',
    'a * * * *',
  ])('refuses %s', (schedule) => {
    expect(() => parseSchedule(schedule, undefined)).toThrow(ScheduleError);
  });

  it('refuses an unknown time zone', () => {
    expect(() => parseSchedule('* * * * *', 'Mars/Olympus')).toThrow('unknown time zone Mars/Olympus');
  });
});
