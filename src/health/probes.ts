import type { Probe } from '../api/types/core-v1.ts';

export type ProbeKind = 'startup' | 'liveness' | 'readiness';

/** One try. `unknown`: it could not be made (the engine did not answer); it counts neither way. */
export interface ProbeOutcome {
  result: 'success' | 'failure' | 'unknown';
  output: string;
  /** A success that somebody should look at: why. */
  warning?: string;
}

/** What a series of tries has come to. */
export interface ProbeState {
  /** The verdict that holds. */
  verdict: 'unknown' | 'success' | 'failure';
  /** How often in a row the last result came. */
  streak: number;
  last?: 'success' | 'failure';
}

export interface ProbeTiming {
  initialDelayMs: number;
  periodMs: number;
  timeoutMs: number;
  successThreshold: number;
  failureThreshold: number;
}

/** The API server's defaults, for objects that never passed it. */
export function probeTiming(probe: Probe): ProbeTiming {
  return {
    initialDelayMs: (probe.initialDelaySeconds ?? 0) * 1000,
    periodMs: (probe.periodSeconds ?? 10) * 1000,
    timeoutMs: (probe.timeoutSeconds ?? 1) * 1000,
    successThreshold: probe.successThreshold ?? 1,
    failureThreshold: probe.failureThreshold ?? 3,
  };
}

/** Liveness is taken for good until it fails, readiness for bad until it succeeds; a startup probe has no say before. */
export function initialProbeState(kind: ProbeKind): ProbeState {
  const verdict = kind === 'liveness' ? 'success' : kind === 'readiness' ? 'failure' : 'unknown';
  return { verdict, streak: 0 };
}

/** The state after one more try. A verdict changes when its threshold of like results in a row is reached. Pure. */
export function afterProbe(
  state: ProbeState,
  result: ProbeOutcome['result'],
  timing: ProbeTiming,
): ProbeState {
  if (result === 'unknown') return state;
  const streak = state.last === result ? state.streak + 1 : 1;
  const threshold = result === 'success' ? timing.successThreshold : timing.failureThreshold;
  return { verdict: streak >= threshold ? result : state.verdict, streak, last: result };
}
