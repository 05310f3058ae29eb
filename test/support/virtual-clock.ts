import type { Clock, Timer } from '../../src/lib/clock.ts';
import { Heap } from '../../src/lib/heap.ts';

/** Consecutive rounds of the event loop without any use of the clock after which everything counts as quiet. */
const QUIET_ROUNDS = 4;
/** A program that keeps itself busy this long without time passing will do so for ever. */
const MOST_ROUNDS = 5_000;
/** 2026-01-01T00:00:00Z: tests that print times stay readable. */
const DEFAULT_START = 1_767_225_600_000;

interface Entry {
  due: number;
  sequence: number;
  interval: number | undefined;
  action: () => void;
  cancelled: boolean;
}

/**
 * A clock whose time passes only when told to. Timers fire in order of (due time, order of setting), and between two
 * timers everything that they started runs until quiet: microtasks, setImmediate and whatever I/O is ready at once. It
 * cannot see work that is under way in another thread or in the kernel: pass `busy` for that.
 */
export class VirtualClock implements Clock {
  private readonly start: number;
  private readonly busy: () => boolean;
  private readonly timers = new Heap<Entry>((a, b) => a.due - b.due || a.sequence - b.sequence);
  private elapsed = 0;
  private wallOffset = 0;
  private sequence = 0;
  private uses = 0;
  private advancing = false;

  constructor(options: { start?: number; busy?: () => boolean } = {}) {
    this.start = options.start ?? DEFAULT_START;
    this.busy = options.busy ?? (() => false);
  }

  now(): number {
    this.uses += 1;
    return this.start + this.wallOffset + this.elapsed;
  }

  monotonic(): number {
    this.uses += 1;
    return this.elapsed;
  }

  after(milliseconds: number, action: () => void): Timer {
    return this.add(milliseconds, undefined, action);
  }

  every(milliseconds: number, action: () => void): Timer {
    const interval = Math.max(1, milliseconds);
    return this.add(interval, interval, action);
  }

  /** Moves the wall clock (NTP, a board without a battery); monotonic time and timers do not notice. */
  jump(milliseconds: number): void {
    this.wallOffset += milliseconds;
  }

  /** The clock of one party: its own wall time, and timers that die with it. */
  view(options: { offset?: number } = {}): VirtualClockView {
    return new VirtualClockView(this, options.offset ?? 0);
  }

  /** Timers that wait. */
  get pending(): number {
    return this.timers.size;
  }

  /** Lets `milliseconds` pass, firing every timer that falls due on the way. Rejects with what a timer throws. */
  async advance(milliseconds: number): Promise<void> {
    await this.exclusive(async () => {
      const end = this.elapsed + milliseconds;
      await this.settle();
      while (this.fireNext(end)) await this.settle();
      this.elapsed = end;
      await this.settle();
    });
  }

  /**
   * Lets time pass until `condition` holds, at most `deadlineMs`; resolves with the milliseconds that it took. Rejects
   * when the deadline passes first, naming `what`.
   */
  async runUntil(
    condition: () => boolean | Promise<boolean>,
    deadlineMs: number,
    what = 'the condition',
  ): Promise<number> {
    return await this.exclusive(async () => {
      const begin = this.elapsed;
      const end = begin + deadlineMs;
      await this.settle();
      while (!(await condition())) {
        if (!this.fireNext(end)) {
          if (this.elapsed >= end)
            throw new Error(`${what} did not come true within ${deadlineMs} virtual ms`);
          this.elapsed = end;
        }
        await this.settle();
      }
      return this.elapsed - begin;
    });
  }

  /** Lets everything run that can run without time passing. */
  async settle(): Promise<void> {
    let quiet = 0;
    for (let round = 0; quiet < QUIET_ROUNDS; round += 1) {
      if (round > MOST_ROUNDS) throw new Error(`not quiet after ${MOST_ROUNDS} rounds at one instant`);
      const before = this.uses;
      await new Promise<void>((resolve) => setImmediate(resolve));
      quiet = this.uses === before && !this.busy() ? quiet + 1 : 0;
    }
  }

  private add(delay: number, interval: number | undefined, action: () => void): Timer {
    this.uses += 1;
    this.sequence += 1;
    const due = this.elapsed + Math.max(0, Number.isNaN(delay) ? 0 : delay);
    const entry: Entry = { due, sequence: this.sequence, interval, action, cancelled: false };
    this.timers.push(entry);
    return {
      cancel: () => {
        if (entry.cancelled) return;
        this.uses += 1;
        entry.cancelled = true;
        this.timers.remove(entry);
      },
    };
  }

  private fireNext(end: number): boolean {
    const entry = this.timers.peek();
    if (!entry || entry.due > end) return false;
    this.timers.pop();
    this.elapsed = Math.max(this.elapsed, entry.due);
    if (entry.interval === undefined) {
      entry.cancelled = true;
    } else {
      this.sequence += 1;
      entry.due += entry.interval;
      entry.sequence = this.sequence;
      this.timers.push(entry);
    }
    entry.action();
    return true;
  }

  /** Two callers that both drive time would each see the other's timers fire too early. */
  private async exclusive<T>(work: () => Promise<T>): Promise<T> {
    if (this.advancing) throw new Error('the virtual clock is being advanced already');
    this.advancing = true;
    try {
      return await work();
    } finally {
      this.advancing = false;
    }
  }
}

/** One party's view of a VirtualClock. `stop()` is that party's death: none of its timers fires any more. */
export class VirtualClockView implements Clock {
  private readonly clock: VirtualClock;
  private readonly timers = new Set<Timer>();
  private offset: number;
  private stopped = false;

  constructor(clock: VirtualClock, offset: number) {
    this.clock = clock;
    this.offset = offset;
  }

  now(): number {
    return this.clock.now() + this.offset;
  }

  monotonic(): number {
    return this.clock.monotonic();
  }

  after(milliseconds: number, action: () => void): Timer {
    return this.keep((done) =>
      this.clock.after(milliseconds, () => {
        done();
        action();
      }),
    );
  }

  every(milliseconds: number, action: () => void): Timer {
    return this.keep(() => this.clock.every(milliseconds, action));
  }

  jump(milliseconds: number): void {
    this.offset += milliseconds;
  }

  /** Cancels all timers; later ones never fire. */
  stop(): void {
    this.stopped = true;
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
  }

  private keep(set: (done: () => void) => Timer): Timer {
    if (this.stopped) return { cancel: () => {} };
    const inner = set(() => this.timers.delete(kept));
    const kept: Timer = {
      cancel: () => {
        this.timers.delete(kept);
        inner.cancel();
      },
    };
    this.timers.add(kept);
    return kept;
  }
}
