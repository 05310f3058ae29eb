import type { Clock } from '../../../lib/clock.ts';

/** More keys than this are not remembered; the oldest is forgotten. */
const REMEMBERED = 1000;

/** How long to wait before doing the same thing again: doubles with each time, forgotten after twice the longest. */
export class Backoff {
  private readonly clock: Clock;
  private readonly first: number;
  private readonly longest: number;
  private readonly entries = new Map<string, { delay: number; last: number }>();

  constructor(options: { clock: Clock; firstMs: number; longestMs: number }) {
    this.clock = options.clock;
    this.first = options.firstMs;
    this.longest = options.longestMs;
  }

  /** Milliseconds that are still to wait; 0 when the key may go. */
  remaining(key: string): number {
    const entry = this.entries.get(key);
    return entry ? Math.max(0, entry.last + entry.delay - this.clock.monotonic()) : 0;
  }

  /** It was done just now. */
  note(key: string): void {
    const now = this.clock.monotonic();
    const entry = this.entries.get(key);
    const stale = !entry || now - entry.last > 2 * this.longest;
    this.entries.delete(key);
    this.entries.set(key, {
      delay: stale ? this.first : Math.min(entry.delay * 2, this.longest),
      last: now,
    });
    if (this.entries.size <= REMEMBERED) return;
    const oldest = this.entries.keys().next();
    if (!oldest.done) this.entries.delete(oldest.value);
  }
}
