// Events live in memory for an hour, and never more than a fixed number of them: the oldest go first.
import type { KubeObject } from '../../api/object.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { RevisionConflict, type Store, type Stored } from '../store/port.ts';

const BUCKET = 'events';
const LIFETIME_MS = 60 * 60_000;
const MOST_EVENTS = 5000;
const SWEEP_MS = 60_000;

export class EventLimits {
  private readonly store: Store;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private timer: Timer | undefined;

  constructor(options: { store: Store; clock: Clock; logger: Logger }) {
    this.store = options.store;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  start(): void {
    this.timer = this.clock.every(SWEEP_MS, () => {
      this.sweep().catch((error) => this.logger.error({ err: error }, 'events were not swept'));
    });
  }

  stop(): void {
    this.timer?.cancel();
  }

  private async sweep(): Promise<void> {
    const expired = expiredEvents(this.store.list(BUCKET), this.clock.now());
    await Promise.all(expired.map((row) => this.remove(row)));
  }

  private async remove({ object, revision }: Stored): Promise<void> {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    try {
      await this.store.commit([
        { bucket: BUCKET, key, object: undefined, expected: revision, durability: 'volatile' },
      ]);
    } catch (error) {
      // It was written again meanwhile: then it is young again.
      if (!(error instanceof RevisionConflict)) throw error;
    }
  }
}

/** Pure: which events are too old, or too many. */
export function expiredEvents(
  rows: readonly Stored[],
  now: number,
  limits: { lifetimeMs: number; most: number } = { lifetimeMs: LIFETIME_MS, most: MOST_EVENTS },
): Stored[] {
  const byAge = [...rows].sort((left, right) => left.revision - right.revision);
  const surplus = Math.max(0, byAge.length - limits.most);
  return byAge.filter((row, index) => index < surplus || lastSeen(row.object) < now - limits.lifetimeMs);
}

/** An event that goes on happening stays; a wrong clock at its source does not keep it (or lose it) for ever. */
function lastSeen(event: KubeObject): number {
  const { lastTimestamp, series, eventTime } = event as KubeObject & {
    lastTimestamp?: string | null;
    eventTime?: string | null;
    series?: { lastObservedTime?: string };
  };
  const times = [event.metadata.creationTimestamp, lastTimestamp, eventTime, series?.lastObservedTime];
  return Math.max(...times.map((time) => (time ? Date.parse(time) : 0)));
}
