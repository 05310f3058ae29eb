import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadFacts } from './cluster.ts';
import { type Outcome, runSeed } from './run.ts';

/** Two files share the seeds: vitest gives each a process. */
export const SHARDS = 2;
const DEFAULT_SEEDS = 200;
const SEEDS_A_TEST = 10;
/** Generous: a seed takes about a second, also on a board. */
const TIMEOUT_MS = 600_000;

/**
 * SEEDS=5000 npx vitest run --project simulation   many more
 * FIRST=1001 SEEDS=500 …                           others
 * SEED=123 …                                       this one again, its trace in a file
 */
export function simulate(shard: number): void {
  const { SEED, SEEDS, FIRST } = process.env;
  if (SEED !== undefined) {
    const what = shard === 0 ? `seed ${SEED}` : 'the other file repeats the seed';
    test(what, async () => check(shard === 0 ? [await run(SEED)] : []), TIMEOUT_MS);
    return;
  }
  const first = Number(FIRST ?? 1);
  const end = first + Number(SEEDS ?? DEFAULT_SEEDS);
  describe(`seeds ${first} to ${end - 1}, every ${SHARDS}th`, () => {
    const mine = Array.from({ length: end - first }, (_, index) => first + index).filter(
      (seed) => seed % SHARDS === shard,
    );
    for (let begin = 0; begin < mine.length; begin += SEEDS_A_TEST) {
      const seeds = mine.slice(begin, begin + SEEDS_A_TEST);
      test(
        `${seeds[0]} … ${seeds.at(-1)}`,
        async () => {
          const outcomes: Outcome[] = [];
          for (const seed of seeds) outcomes.push(await run(String(seed)));
          check(outcomes);
        },
        TIMEOUT_MS,
      );
    }
  });
}

async function run(seed: string): Promise<Outcome> {
  return await runSeed({ seed, facts: await loadFacts() });
}

function check(outcomes: readonly Outcome[]): void {
  const failed = outcomes.filter(({ violations }) => violations.length > 0);
  if (failed.length === 0) {
    if (outcomes.length === 0) return;
    const virtual = outcomes.reduce((sum, { virtualMs }) => sum + virtualMs, 0) / 60_000;
    const writes = outcomes.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    // Progress: thousands of seeds take their time.
    process.stdout.write(
      `simulation: seeds ${outcomes.map(({ seed }) => seed).join(' ')}: ${Math.round(virtual)} virtual minutes, ${writes} writes acknowledged\n`,
    );
    return;
  }
  const reports = failed.map(({ seed, violations, trace }) => {
    const file = join(mkdtempSync(join(tmpdir(), 'copepod-simulation-')), `seed-${seed}.txt`);
    writeFileSync(file, trace);
    return [
      `seed ${seed} (again: SEED=${seed} npx vitest run --project simulation), trace in ${file}:`,
      ...violations.slice(0, 10).map((violation) => `  ${violation}`),
      '  …',
      ...trace.split('\n').slice(-25),
    ].join('\n');
  });
  expect.fail(reports.join('\n\n'));
}
