import { diskFull, tooHot } from '../api/board-limits.ts';
import type { BoardReadings } from '../client/boards.ts';
import { freeMemory } from './plugins/measured.ts';
import type { NodeInfo, Snapshot } from './snapshot.ts';

const MIB = 1024 * 1024;
/** Less more memory than this lets no further pod fit. */
const NOTABLE = 8 * MIB;

interface State {
  free: number;
  danger: boolean;
}

/** Notices when a board has notably more room than it was last known to have, so that pods it refused may try again. */
export class BoardRelief {
  private readonly readings: BoardReadings;
  private readonly snapshot: Snapshot;
  private readonly last = new Map<string, State>();

  constructor(options: { readings: BoardReadings; snapshot: Snapshot }) {
    this.readings = options.readings;
    this.snapshot = options.snapshot;
  }

  /** Looks at a board's new reading. */
  came(name: string, now: number): boolean {
    const node = this.snapshot.get(name);
    const reading = this.readings.of(name);
    if (!node || !reading) return false;
    const before = this.last.get(name);
    const free = freeMemory(node, reading, now);
    const danger = tooHot(reading, node.annotations) || diskFull(reading);
    const better = !before || free - before.free >= NOTABLE || (before.danger && !danger);
    // What is lost again counts from there.
    this.last.set(name, { free: better ? free : Math.min(free, before?.free ?? free), danger });
    return better;
  }

  forget(name: string): void {
    this.last.delete(name);
  }
}

/** `(cpu 12 %, 512 MiB free, 71 °C, throttled)`; requests count where nothing was measured. */
export function describeReading(node: NodeInfo | undefined, readings: BoardReadings, now: number): string {
  const reading = node && readings.of(node.name);
  if (!node || !reading) return '(not measured)';
  const parts = [
    `cpu ${Math.round(reading.cpu * 100)} %`,
    `${Math.round((reading.memAvailable - node.settling.memory(now, reading.at)) / MIB)} MiB free`,
  ];
  if (reading.temperature !== undefined) parts.push(`${Math.round(reading.temperature)} °C`);
  if (reading.throttled) parts.push('throttled');
  return `(${parts.join(', ')})`;
}
