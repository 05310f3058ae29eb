import { expect, test } from 'vitest';
import { Histogram, metricText, sample } from '../../../src/lib/metrics.ts';
import { WorkQueue } from '../../../src/lib/work-queue.ts';
import { parsePrometheus } from '../../support/prometheus.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

test('labels hold any text', () => {
  expect(sample('a', {}, 1)).toBe('a 1');
  expect(sample('a', { b: 'x"y\\z\n', c: '' }, 2.5)).toBe('a{b="x\\"y\\\\z\\n",c=""} 2.5');
});

test('a histogram counts each value in its bucket and all above', () => {
  const histogram = new Histogram([1, 2]);
  for (const value of [0.5, 1, 1.5, 7]) histogram.observe(value);
  expect([...histogram.samples('h', { a: 'b' })]).toEqual([
    'h_bucket{a="b",le="1"} 2',
    'h_bucket{a="b",le="2"} 3',
    'h_bucket{a="b",le="+Inf"} 4',
    'h_sum{a="b"} 10',
    'h_count{a="b"} 4',
  ]);
});

test('a named queue tells of adds, waiting, work and retries; those of several stand in one family', async () => {
  const clock = new VirtualClock();
  let fails = 1;
  const queue = (name: string) =>
    new WorkQueue({
      name,
      clock,
      concurrency: 1,
      process: async (key) => {
        await new Promise<void>((resolve) => clock.after(3000, resolve));
        fails -= 1;
        if (key === 'a' && fails === 0) throw new Error('not yet');
      },
      onError: () => {},
    });
  const [first, second] = [queue('one'), queue('two')];
  for (const key of ['a', 'b', 'b']) first.add(key);
  expect(first.length).toBe(2);
  first.start();
  for (let turn = 0; turn < 20; turn += 1) await clock.advance(1000);
  const families = parsePrometheus(metricText([first.meter, second.meter].flatMap((meter) => meter ?? [])));
  const value = (family: string, key: string) => families.get(family)?.samples.get(key);
  expect(value('workqueue_adds_total', '{name="one"}')).toBe(3);
  expect(value('workqueue_adds_total', '{name="two"}')).toBe(0);
  expect(value('workqueue_retries_total', '{name="one"}')).toBe(1);
  expect(value('workqueue_depth', '{name="one"}')).toBe(0);
  expect(value('workqueue_work_duration_seconds', '_sum{name="one"}')).toBe(9);
  // b waited for a, and a for b when it came again.
  expect(value('workqueue_queue_duration_seconds', '_bucket{name="one",le="1"}')).toBe(1);
  await first.stop();
});
