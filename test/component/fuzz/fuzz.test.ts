import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { loadRecordings } from '../../golden/replay/recording.ts';
import { Fuzzer, type FuzzResult } from './fuzzer.ts';

// FUZZ_REQUESTS: how many; FUZZ_SEED: replays a run (its findings name it); FUZZ_ONLY: recordings whose file begins so.
const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 20_000);
const SEED = process.env.FUZZ_SEED ?? 'copepod';
const ONLY = process.env.FUZZ_ONLY ?? '';
const DIRECTORY = join(import.meta.dirname, '../../golden/recordings');
const MOST_GROWTH = 64 * 2 ** 20;

test('mutated requests get an error of their own class, never a 5xx, and end', {
  timeout: 120_000 + REQUESTS * 100,
}, async () => {
  setFlagsFromString('--expose-gc');
  globalThis.gc = runInNewContext('gc');
  const recordings = loadRecordings(DIRECTORY).filter(({ file }) => file.startsWith(ONLY));
  const result = await new Fuzzer({ recordings, requests: REQUESTS, seed: SEED }).run();
  report(result);
  expect(result.findings.map(({ what }) => what)).toEqual([]);
  expect(result.sent).toBeGreaterThanOrEqual(REQUESTS);
  // Most must have got beyond the first check of all, else the mutations test nothing.
  expect(result.statuses['422'] ?? 0).toBeGreaterThan(ONLY ? -1 : result.sent / 50);
  expect(result.heapBytes[1] - result.heapBytes[0]).toBeLessThan(MOST_GROWTH);
});

function report({ sent, statuses, findings, heapBytes: [before, after] }: FuzzResult): void {
  const lines = findings.flatMap(({ what, seed, request, answer, log }) => [
    `--- ${what}, FUZZ_SEED=${seed}`,
    request,
    `=> ${answer}`,
    log,
  ]);
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  lines.push(
    `${sent} requests, ${JSON.stringify(statuses)}, heap ${mebibytes(before)} -> ${mebibytes(after)}`,
  );
  console.log(lines.join('\n'));
}
