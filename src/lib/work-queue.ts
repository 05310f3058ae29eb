import type { Clock, Timer } from './clock.ts';
import { QueueMeter } from './queue-meter.ts';

/**
 * A queue of keys in the manner of client-go's workqueue. Invariants:
 * - a key waits at most once, however often it is added;
 * - a key is never processed twice at the same time: added while in work, it is queued again when the work ends;
 * - a delayed key keeps its earliest due time.
 * The queue's bound is the number of distinct keys.
 */
export class WorkQueue<Key extends string = string> {
  private readonly clock: Clock;
  private readonly process: (key: Key) => Promise<void>;
  private readonly onError: (key: Key, error: unknown, retryInMs: number) => void;
  private readonly concurrency: number;
  private readonly baseDelayMs: number;
  private readonly maxDelayMs: number;

  /** With the time since when, in monotonic ms. */
  private readonly waiting = new Map<Key, number>();
  private readonly working = new Set<Key>();
  private readonly dirty = new Set<Key>();
  private readonly delayed = new Map<Key, { due: number; timer: Timer }>();
  private readonly failures = new Map<Key, number>();
  private running = false;
  private idleWaiters: (() => void)[] = [];
  /** Present when the queue has a name. */
  readonly meter: QueueMeter | undefined;

  constructor(options: {
    clock: Clock;
    process: (key: Key) => Promise<void>;
    /** Called for each failed attempt; the key is retried with exponential back-off. */
    onError: (key: Key, error: unknown, retryInMs: number) => void;
    concurrency?: number;
    baseDelayMs?: number;
    maxDelayMs?: number;
    /** For metrics. */
    name?: string;
  }) {
    this.clock = options.clock;
    this.process = options.process;
    this.onError = options.onError;
    this.concurrency = options.concurrency ?? 4;
    this.baseDelayMs = options.baseDelayMs ?? 5;
    this.maxDelayMs = options.maxDelayMs ?? 60_000;
    if (options.name !== undefined) this.meter = new QueueMeter(options.name, () => this.waiting.size);
  }

  start(): void {
    this.running = true;
    this.pump();
  }

  /** Takes no new key and resolves when the work under way has ended. */
  async stop(): Promise<void> {
    this.running = false;
    for (const { timer } of this.delayed.values()) timer.cancel();
    this.delayed.clear();
    this.waiting.clear();
    this.dirty.clear();
    if (this.working.size > 0) await new Promise<void>((resolve) => this.idleWaiters.push(resolve));
  }

  add(key: Key): void {
    const delayed = this.delayed.get(key);
    if (delayed) {
      delayed.timer.cancel();
      this.delayed.delete(key);
    }
    if (this.working.has(key)) {
      this.dirty.add(key);
      return;
    }
    if (!this.waiting.has(key)) {
      this.waiting.set(key, this.clock.monotonic());
      this.meter?.added();
    }
    this.pump();
  }

  addAfter(key: Key, milliseconds: number): void {
    if (milliseconds <= 0) return this.add(key);
    const due = this.clock.monotonic() + milliseconds;
    const existing = this.delayed.get(key);
    if (existing && existing.due <= due) return;
    existing?.timer.cancel();
    const timer = this.clock.after(milliseconds, () => {
      this.delayed.delete(key);
      this.add(key);
    });
    this.delayed.set(key, { due, timer });
  }

  /** Nothing waits and nothing is in work (delayed keys do not count). */
  get idle(): boolean {
    return this.waiting.size === 0 && this.working.size === 0;
  }

  get length(): number {
    return this.waiting.size;
  }

  private pump(): void {
    while (this.running && this.working.size < this.concurrency) {
      const next = this.waiting.entries().next();
      if (next.done) return;
      const [key, since] = next.value;
      this.meter?.waited(this.clock.monotonic() - since);
      this.waiting.delete(key);
      this.working.add(key);
      void this.run(key);
    }
  }

  private async run(key: Key): Promise<void> {
    const begun = this.clock.monotonic();
    try {
      await this.process(key);
      this.failures.delete(key);
    } catch (error) {
      const failures = this.failures.get(key) ?? 0;
      this.failures.set(key, failures + 1);
      const delay = Math.min(this.baseDelayMs * 2 ** Math.min(failures, 30), this.maxDelayMs);
      this.onError(key, error, delay);
      this.meter?.retried();
      if (this.running && !this.dirty.has(key)) this.addAfter(key, delay);
    } finally {
      this.meter?.worked(this.clock.monotonic() - begun);
      this.working.delete(key);
      if (this.dirty.delete(key)) this.add(key);
      this.pump();
      if (this.working.size === 0) {
        for (const resolve of this.idleWaiters.splice(0)) resolve();
      }
    }
  }
}
