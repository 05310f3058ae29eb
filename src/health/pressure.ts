import type { BoardMeasurements } from '../api/board.ts';

const MIB = 1024 * 1024;
/** kubelet's default hard eviction thresholds. */
const LEAST_MEMORY = 100 * MIB;
const LEAST_DISK = 0.1;
/** kubelet's eviction-pressure-transition-period: a pressure that is over is believed only after this. */
const TRANSITION_MS = 300_000;

const SIGNALS: readonly { type: string; message: string; present(m: BoardMeasurements): boolean }[] = [
  {
    type: 'MemoryPressure',
    message: 'kubelet has insufficient memory available',
    present: ({ memTotal, memAvailable }) => memTotal > 0 && memAvailable < LEAST_MEMORY,
  },
  {
    type: 'DiskPressure',
    message: 'kubelet has disk pressure',
    present: ({ diskTotal, diskAvailable }) => diskTotal > 0 && diskAvailable < diskTotal * LEAST_DISK,
  },
];

/** When each pressure was last observed, on the monotonic clock. */
export type PressureState = Readonly<Record<string, number>>;

/** Pure: the pressures that count at `now`, with their messages, and the state for the next call. */
export function pressures(
  measurements: BoardMeasurements,
  state: PressureState,
  now: number,
): { conditions: Record<string, string>; state: PressureState } {
  const conditions: Record<string, string> = {};
  const next: Record<string, number> = {};
  for (const { type, message, present } of SIGNALS) {
    const observed = present(measurements) ? now : state[type];
    if (observed === undefined || now - observed >= TRANSITION_MS) continue;
    next[type] = observed;
    conditions[type] = message;
  }
  return { conditions, state: next };
}
