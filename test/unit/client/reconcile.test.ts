import { expect, it } from 'vitest';
import { Controller } from '../../../src/client/reconcile.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

it('looks again within a minute at what waits for a time far away: the clock may have been set', async () => {
  const clock = new VirtualClock({ start: 5000 });
  const due = Date.parse('2026-01-01T00:00:00Z');
  let done = 0;
  const controller = new Controller({
    name: 'test',
    clock,
    logger: silentLogger,
    watches: [],
    reconcile: async () => {
      const left = due - clock.now();
      if (left > 0) return left;
      done += 1;
      return undefined;
    },
  });
  await controller.start();
  controller.enqueue('key');
  await clock.advance(10_000);
  expect(done).toBe(0);
  // NTP answers.
  clock.jump(due);
  await clock.advance(60_000);
  expect(done).toBe(1);
  await controller.stop();
});
