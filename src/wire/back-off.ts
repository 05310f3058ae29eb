import type { Random } from '../lib/random.ts';

/** Milliseconds before attempt `failures` + 1: doubling, with "equal jitter" so that a fleet does not return in step. */
export function backOff(
  failures: number,
  random: Random,
  { baseMs = 500, maxMs = 20_000 }: { baseMs?: number; maxMs?: number } = {},
): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(failures, 30));
  return ceiling / 2 + (random.number() * ceiling) / 2;
}
