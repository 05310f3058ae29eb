import { expect, it } from 'vitest';
import { ActiveTime } from '../../../../src/agent/pods/active-time.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const HOUR = 3_600_000;

it('goes on from what the status says, by the monotonic clock', async () => {
  const clock = new VirtualClock();
  const active = new ActiveTime(clock);
  expect(active.elapsedMs).toBeUndefined();
  active.observe(new Date(clock.now() - HOUR).toISOString());
  expect(active.elapsedMs).toBe(HOUR);
  await clock.advance(HOUR);
  expect(active.elapsedMs).toBe(2 * HOUR);
  // The first word counts.
  active.observe(new Date(clock.now()).toISOString());
  expect(active.elapsedMs).toBe(2 * HOUR);
});

it('does not count the decades by which a clock without battery is set', async () => {
  const clock = new VirtualClock();
  const active = new ActiveTime(clock);
  const set = (to: number) => clock.jump(to - clock.now());
  set(Date.UTC(1970, 0, 1, 0, 1));
  active.observe('1970-01-01T00:01:00Z');
  await clock.advance(HOUR);
  set(Date.UTC(2026, 5, 1, 12));
  expect(active.elapsedMs).toBe(HOUR);
  expect(active.corrected('1970-01-01T00:01:00Z')).toBe('2026-06-01T11:00:00Z');
  expect(active.corrected('2026-06-01T11:00:10Z')).toBeUndefined();
  // An agent that begins only now cannot know; the pod is not ended for it.
  const later = new ActiveTime(clock);
  later.observe('1970-01-01T00:01:00Z');
  expect(later.elapsedMs).toBe(0);
  // A start in the future is a start just now.
  const early = new ActiveTime(clock);
  early.observe('2027-01-01T00:00:00Z');
  expect(early.elapsedMs).toBe(0);
});
