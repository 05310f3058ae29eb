import { expect, it } from 'vitest';
import { afterProbe, initialProbeState, type ProbeKind, probeTiming } from '../../../src/health/probes.ts';

/** Runs `+` (success), `-` (failure) and `?` (unknown) and writes the verdict after each. */
function verdicts(
  kind: ProbeKind,
  results: string,
  thresholds: { successThreshold?: number; failureThreshold?: number },
) {
  const timing = probeTiming(thresholds);
  let state = initialProbeState(kind);
  return [...results]
    .map((result) => {
      state = afterProbe(state, result === '+' ? 'success' : result === '-' ? 'failure' : 'unknown', timing);
      return { success: '+', failure: '-', unknown: '?' }[state.verdict];
    })
    .join('');
}

it.each([
  ['readiness', '+--+---+', { failureThreshold: 3 }, '++++++-+'],
  ['readiness', '-++-++', { successThreshold: 2, failureThreshold: 1 }, '--+--+'],
  ['liveness', '--+---', { failureThreshold: 3 }, '+++++-'],
  ['startup', '--+', { failureThreshold: 3 }, '??+'],
  ['startup', '---', { failureThreshold: 3 }, '??-'],
  ['liveness', '--??-', { failureThreshold: 3 }, '++++-'],
] as const)('%s %s with %j -> %s', (kind, results, thresholds, expected) => {
  expect(verdicts(kind, results, thresholds)).toBe(expected);
});
