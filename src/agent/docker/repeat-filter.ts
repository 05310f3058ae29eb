import type { OutputSink } from '../runtime.ts';
import type { FrameSink } from './demux.ts';

/** Where entries are looked for again: more than Docker has been seen to repeat (some hundred). */
const REMEMBERED = 4096;
/** `2026-11-20T15:00:06.205410512Z ` and longer with an offset. */
const LONGEST_STAMP = 40;
const BLANK = 0x20;

/**
 * Docker before 23 shows the first lines of a new log file twice to those who follow: once before and once after it has
 * noticed the rotation. Every entry carries the nanosecond at which it was written, so what comes again is known by it.
 * An entry that is only older than the last one (the board's clock was set back) is no repetition and stays.
 */
export class RepeatFilter implements FrameSink {
  private readonly target: OutputSink;
  private readonly timestamps: boolean;
  private readonly seen = new Float64Array(REMEMBERED);
  private next = 0;
  private last = 0;
  /** Of the entry that is being read, until its end is found. */
  private stamp: Buffer | undefined = Buffer.alloc(0);
  private repeated = false;

  /** `timestamps`: the reader wants them too. */
  constructor(target: OutputSink, timestamps: boolean) {
    this.target = target;
    this.timestamps = timestamps;
  }

  get blocked(): boolean {
    return this.target.blocked ?? false;
  }

  async drained(): Promise<void> {
    await this.target.drained?.();
  }

  frame(): void {
    this.stamp = Buffer.alloc(0);
    this.repeated = false;
  }

  stdout(chunk: Buffer): void {
    this.take(chunk, (rest) => this.target.stdout(rest));
  }

  stderr(chunk: Buffer): void {
    this.take(chunk, (rest) => this.target.stderr(rest));
  }

  private take(chunk: Buffer, pass: (rest: Buffer) => void): void {
    let rest = chunk;
    if (this.stamp) {
      const before = this.stamp.length;
      const head = before === 0 ? chunk : Buffer.concat([this.stamp, chunk]);
      const end = head.indexOf(BLANK);
      if (end < 0 && head.length < LONGEST_STAMP) {
        this.stamp = Buffer.from(head);
        return;
      }
      this.stamp = undefined;
      // Not a stamp: shown as it came.
      const key = end < 0 ? Number.NaN : nanoseconds(head.toString('latin1', 0, end));
      this.repeated = this.isRepeated(key);
      rest = this.timestamps || Number.isNaN(key) ? head : head.subarray(end + 1);
    }
    if (!this.repeated && rest.length > 0) pass(rest);
  }

  private isRepeated(key: number): boolean {
    if (Number.isNaN(key)) return false;
    if (key <= this.last && this.seen.includes(key)) return true;
    this.last = key;
    this.seen[this.next] = key;
    this.next = (this.next + 1) % REMEMBERED;
    return false;
  }
}

/** Nanoseconds of a day and more: exact as a number, and the same only for the same moment of some weeks. */
function nanoseconds(stamp: string): number {
  const milliseconds = Date.parse(stamp);
  if (Number.isNaN(milliseconds)) return Number.NaN;
  const fraction = /\.(\d{1,9})/.exec(stamp)?.[1] ?? '';
  const seconds = Math.floor(milliseconds / 1000) % 8_000_000;
  return seconds * 1e9 + Number(fraction.padEnd(9, '0'));
}
