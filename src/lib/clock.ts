/**
 * Time as a port. Nothing outside this file reads the wall clock or sets a timer (a lint rule says so), so that
 * the simulation can run years of a cluster on a virtual clock.
 */
export interface Clock {
  /** Wall time, milliseconds since 1970. May jump: boards have no clock battery. */
  now(): number;
  /** Milliseconds since some fixed point; never goes backwards. Measure durations with this. */
  monotonic(): number;
  /** Runs `action` once after `milliseconds`. */
  after(milliseconds: number, action: () => void): Timer;
  /** Runs `action` every `milliseconds`, first after one interval. */
  every(milliseconds: number, action: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

/** setTimeout overflows at 2^31-1 ms and would fire at once; a longer wait is cut to this and is due again later. */
const LONGEST_TIMEOUT = 2 ** 31 - 1;

export class SystemClock implements Clock {
  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  after(milliseconds: number, action: () => void): Timer {
    let handle: NodeJS.Timeout;
    const arm = (left: number): void => {
      handle =
        left > LONGEST_TIMEOUT
          ? setTimeout(() => arm(left - LONGEST_TIMEOUT), LONGEST_TIMEOUT)
          : setTimeout(action, Math.max(0, left));
    };
    arm(milliseconds);
    return { cancel: () => clearTimeout(handle) };
  }

  every(milliseconds: number, action: () => void): Timer {
    const handle = setInterval(action, milliseconds);
    return { cancel: () => clearInterval(handle) };
  }
}

/** Resolves after `milliseconds`; rejects with the signal's reason when aborted first. */
export function sleep(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(milliseconds, () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** The promise's outcome, or a rejection with `onTimeout()` after `milliseconds`. The work itself is not stopped. */
export function withTimeout<T>(
  clock: Clock,
  milliseconds: number,
  work: Promise<T>,
  onTimeout: () => Error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(milliseconds, () => reject(onTimeout()));
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

/** RFC 3339 with whole seconds, as metav1.Time is written. */
export function timestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339 with microseconds, as metav1.MicroTime is written. */
export function microTimestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 23)}000Z`;
}
