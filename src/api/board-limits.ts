// From which measurements on a board is in danger: the scheduler keeps pods off it, and its Node says so.
// docs/scheduling.md states these numbers; change both.
import type { BoardMeasurements } from './board.ts';
import { parseQuantity, wholeUnits } from './quantity.ts';

const MIB = 1024 * 1024;

/** Memory that stays free: above kubelet's eviction threshold (100 MiB) by what pods commonly exceed their estimate. */
const MEMORY_FLOOR = 128 * MIB;
const MEMORY_FLOOR_SHARE = 0.025;
/** kubelet reports DiskPressure below a tenth; an image and its layer have to fit above. */
export const DISK_FLOOR_SHARE = 0.1;
const DISK_SPARE = 256 * MIB;
/** On a disk that is tiny altogether. */
const DISK_SPARE_SHARE = 0.02;
/** Degrees Celsius: the firmware of a Raspberry Pi throttles hard here. */
const TOO_HOT = 85;

/** Annotations of a Node that tune it: memory that stays free (`200Mi`), and degrees Celsius (`90`). */
export const MEMORY_FLOOR_ANNOTATION = 'copepod.io/memory-floor';
export const TOO_HOT_ANNOTATION = 'copepod.io/too-hot';

type Annotations = Readonly<Record<string, string>>;

/** Bytes that stay free on a board. */
export function memoryFloor({ memTotal }: BoardMeasurements, annotations: Annotations): number {
  return tuned(annotations[MEMORY_FLOOR_ANNOTATION]) ?? MEMORY_FLOOR + MEMORY_FLOOR_SHARE * memTotal;
}

/** Degrees Celsius from which on nothing is placed. */
export function hottestAllowed(annotations: Annotations): number {
  return tuned(annotations[TOO_HOT_ANNOTATION]) ?? TOO_HOT;
}

export function tooHot({ temperature }: BoardMeasurements, annotations: Annotations): boolean {
  return temperature !== undefined && temperature >= hottestAllowed(annotations);
}

export function diskFull({ diskTotal, diskAvailable }: BoardMeasurements): boolean {
  const spare = Math.min(DISK_SPARE, diskTotal * DISK_SPARE_SHARE);
  return diskTotal > 0 && diskAvailable < diskTotal * DISK_FLOOR_SHARE + spare;
}

function tuned(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  try {
    return wholeUnits(parseQuantity(text));
  } catch {
    // A user's typing error must not stop the scheduler; the default holds.
    return undefined;
  }
}
