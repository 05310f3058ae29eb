import { type Clock, timestamp } from '../../lib/clock.ts';

/** Before copepod was: what a board without a clock battery believes after a power cut. */
const UNSET_BEFORE = Date.UTC(2024, 0, 1);
/** A clock that was corrected by more than this was set, not trimmed. */
const SET_MS = 60_000;

/**
 * For how long a pod has been active. Counted by the monotonic clock from the moment that its start was first seen: a wall
 * clock that is set in between neither ends a pod nor lets it live longer.
 */
export class ActiveTime {
  private readonly clock: Clock;
  private beganAt: number | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** What the status says of the start; undefined while it says nothing. */
  observe(startTime: string | undefined): void {
    if (this.beganAt !== undefined || startTime === undefined) return;
    const start = Date.parse(startTime);
    const now = this.clock.now();
    // Told by a clock that was not set, or now is: how long ago it was nobody knows.
    const known = start >= UNSET_BEFORE || now < UNSET_BEFORE;
    const ago = known && now > start ? now - start : 0;
    this.beganAt = this.clock.monotonic() - ago;
  }

  /** Milliseconds; undefined before the start. */
  get elapsedMs(): number | undefined {
    return this.beganAt === undefined ? undefined : this.clock.monotonic() - this.beganAt;
  }

  /** The start as the wall clock has it now, when it was set since. */
  corrected(startTime: string): string | undefined {
    const elapsed = this.elapsedMs;
    if (elapsed === undefined) return undefined;
    const start = this.clock.now() - elapsed;
    return Math.abs(start - Date.parse(startTime)) > SET_MS ? timestamp(start) : undefined;
  }
}
