import { type Signal, type Threshold, unitsOf } from './thresholds.ts';

export interface Reading {
  available: number;
  capacity: number;
}

/** A signal that cannot be read is absent, and takes part in nothing. */
export type Readings = Partial<Record<Signal, Reading>>;

interface Condition {
  type: 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';
  message: string;
}

const MEMORY: Condition = { type: 'MemoryPressure', message: 'kubelet has insufficient memory available' };
const DISK: Condition = { type: 'DiskPressure', message: 'kubelet has disk pressure' };
const PIDS: Condition = { type: 'PIDPressure', message: 'kubelet has insufficient PID available' };

const CONDITIONS: Readonly<Record<Signal, Condition>> = {
  'memory.available': MEMORY,
  'nodefs.available': DISK,
  'nodefs.inodesFree': DISK,
  'imagefs.available': DISK,
  'imagefs.inodesFree': DISK,
  'pid.available': PIDS,
};

/** In this order pods are evicted: the kernel does not wait for memory. */
const URGENCY: readonly Signal[] = [
  'memory.available',
  'pid.available',
  'nodefs.available',
  'imagefs.available',
  'nodefs.inodesFree',
  'imagefs.inodesFree',
];

export interface PressureState {
  /** Thresholds that were crossed and are not resolved yet, with the monotonic time at which each was. */
  readonly crossed: ReadonlyMap<Threshold, number>;
  /** Condition type -> monotonic time at which it was observed last. */
  readonly observed: ReadonlyMap<string, number>;
}

export const NO_PRESSURE: PressureState = { crossed: new Map(), observed: new Map() };

export interface Pressure {
  state: PressureState;
  /** The node's conditions that are True, with their messages. */
  conditions: Readonly<Record<string, string>>;
  /** Thresholds that pods have to go for now, the most urgent first. */
  acting: readonly Threshold[];
}

/**
 * What the readings mean, as the kubelet's eviction manager sees it. Pure. A threshold that was crossed stays so until
 * its minimum reclaim is free as well; a condition stays for the transition period after it was observed last.
 */
export function judgePressure(input: {
  readings: Readings;
  thresholds: readonly Threshold[];
  state: PressureState;
  /** Monotonic. */
  now: number;
  transitionMs: number;
}): Pressure {
  const { readings, thresholds, state, now, transitionMs } = input;
  const crossed = new Map<Threshold, number>();
  const observed = new Map(state.observed);
  for (const threshold of thresholds) {
    const since = state.crossed.get(threshold);
    const reading = readings[threshold.signal];
    // Without a reading what was crossed stays so: the same failure may hide both.
    const holds = reading ? isCrossed(threshold, reading, since !== undefined) : since !== undefined;
    if (!holds) continue;
    crossed.set(threshold, since ?? now);
    observed.set(CONDITIONS[threshold.signal].type, now);
  }
  const conditions: Record<string, string> = {};
  for (const { type, message } of [MEMORY, DISK, PIDS]) {
    const last = observed.get(type);
    if (last === undefined) continue;
    if (now - last < transitionMs || last === now) conditions[type] = message;
    else observed.delete(type);
  }
  const acting = [...crossed]
    .filter(([{ graceMs = 0, signal }, since]) => readings[signal] && now - since >= graceMs)
    .map(([threshold]) => threshold)
    .sort((left, right) => urgency(left) - urgency(right));
  return { state: { crossed, observed }, conditions, acting };
}

function isCrossed(
  { least, reclaim }: Threshold,
  { available, capacity }: Reading,
  before: boolean,
): boolean {
  // A file system without inodes (btrfs, network) reads 0 of 0.
  if (capacity <= 0) return false;
  const more = before && reclaim ? unitsOf(reclaim, capacity) : 0;
  return available < unitsOf(least, capacity) + more;
}

/** Hard before soft for one signal: it is hard that decides the grace period. */
function urgency({ signal, graceMs }: Threshold): number {
  return URGENCY.indexOf(signal) * 2 + (graceMs === undefined ? 0 : 1);
}

/** The resource that a signal is about, in the words of the kubelet's messages. */
export function resourceOf(signal: Signal): 'memory' | 'ephemeral-storage' | 'inodes' | 'pids' {
  if (signal === 'memory.available') return 'memory';
  if (signal === 'pid.available') return 'pids';
  return signal.endsWith('inodesFree') ? 'inodes' : 'ephemeral-storage';
}

/** Bytes a millisecond: 100 MiB a second, about what one core of a board writes into fresh memory. */
const FILL_RATE = (100 * 1024 * 1024) / 1000;
const SOONEST_MS = 250;

/**
 * How soon memory has to be looked at again so that a process which takes it at full speed is noticed half-way between
 * the threshold and nothing; `longestMs` when there is plenty. The kubelet looks every ten seconds and is told by the
 * kernel in between, which Node cannot be.
 */
export function untilMemoryCheck(
  available: number,
  thresholds: readonly Threshold[],
  capacity: number,
  longestMs: number,
): number {
  let soonest = longestMs;
  for (const { signal, least } of thresholds) {
    if (signal !== 'memory.available') continue;
    const spare = available - unitsOf(least, capacity) / 2;
    soonest = Math.min(soonest, spare / FILL_RATE);
  }
  return Math.max(SOONEST_MS, soonest);
}
