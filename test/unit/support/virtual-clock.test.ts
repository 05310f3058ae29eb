import { expect, test } from 'vitest';
import { sleep } from '../../../src/lib/clock.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

test('timers fire in order of due time, then of setting, and only when time passes', async () => {
  const clock = new VirtualClock();
  const fired: string[] = [];
  clock.after(20, () => fired.push('late'));
  clock.after(10, () => fired.push('first'));
  clock.after(10, () => fired.push('second'));
  const cancelled = clock.after(5, () => fired.push('cancelled'));
  cancelled.cancel();
  await clock.advance(9);
  expect(fired).toEqual([]);
  await clock.advance(1);
  expect(fired).toEqual(['first', 'second']);
  await clock.advance(100);
  expect(fired).toEqual(['first', 'second', 'late']);
  expect(clock.pending).toBe(0);
  expect(clock.monotonic()).toBe(110);
});

test('what a timer starts runs before the next timer, promises and setImmediate included', async () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  const worker = (async () => {
    await sleep(clock, 10);
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(`woke at ${clock.monotonic()}`);
    await sleep(clock, 10);
    seen.push(`woke at ${clock.monotonic()}`);
  })();
  clock.after(15, () => seen.push(`timer at ${clock.monotonic()}`));
  await clock.advance(30);
  await worker;
  expect(seen).toEqual(['woke at 10', 'timer at 15', 'woke at 20']);
});

test('every repeats until cancelled; runUntil stops at the condition and names what it waited for', async () => {
  const clock = new VirtualClock();
  let ticks = 0;
  const timer = clock.every(1000, () => {
    ticks += 1;
  });
  expect(await clock.runUntil(() => ticks === 3, 10_000)).toBe(3000);
  timer.cancel();
  await expect(clock.runUntil(() => ticks === 4, 10_000, 'a fourth tick')).rejects.toThrow('a fourth tick');
  expect(clock.monotonic()).toBe(13_000);
});

test('a view has its own wall time, and its timers die with it', async () => {
  const clock = new VirtualClock();
  const board = clock.view({ offset: -5000 });
  let fired = 0;
  board.after(10, () => {
    fired += 1;
  });
  board.every(10, () => {
    fired += 1;
  });
  expect(board.now()).toBe(clock.now() - 5000);
  board.jump(5000);
  expect(board.now()).toBe(clock.now());
  await clock.advance(10);
  expect(fired).toBe(2);
  board.stop();
  board.after(1, () => {
    fired += 1;
  });
  await clock.advance(100);
  expect(fired).toBe(2);
  expect(clock.pending).toBe(0);
});

test('a seed repeats itself; forks are independent of how much the parent draws', () => {
  const draw = (random: SeededRandom) => [random.number(), random.uuid(), random.bytes(3).toString('hex')];
  expect(draw(new SeededRandom(7))).toEqual(draw(new SeededRandom(7)));
  expect(draw(new SeededRandom(7))).not.toEqual(draw(new SeededRandom(8)));
  const parent = new SeededRandom(7);
  parent.number();
  expect(draw(parent.fork('a'))).toEqual(draw(new SeededRandom(7).fork('a')));
  expect(draw(parent.fork('a'))).not.toEqual(draw(parent.fork('b')));
  expect(new SeededRandom(1).uuid()).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
});
