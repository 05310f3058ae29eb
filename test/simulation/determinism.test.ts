import { expect, test } from 'vitest';
import { loadFacts } from './cluster.ts';
import { runSeed } from './run.ts';

// What reads real time or real randomness anywhere makes two runs of one seed differ: then no failure can be replayed.
test.each(['7', '11', 'again'])(
  'seed %s twice is the same life',
  async (seed) => {
    const facts = await loadFacts();
    const first = await runSeed({ seed, facts, keepTrace: true });
    const second = await runSeed({ seed, facts, keepTrace: true });
    expect(first.violations).toEqual([]);
    if (first.digest !== second.digest) expect(second.trace).toBe(first.trace);
    expect(second.digest).toBe(first.digest);
    expect(second.virtualMs).toBe(first.virtualMs);
  },
  600_000,
);

test('another seed is another life', async () => {
  const facts = await loadFacts();
  const [first, second] = [await runSeed({ seed: '3', facts }), await runSeed({ seed: '4', facts })];
  expect(second.digest).not.toBe(first.digest);
}, 600_000);
