import type { Clock, Timer } from '../../lib/clock.ts';
import type { Limiter } from '../limiter.ts';
import { PullProgress, toldAt } from './progress.ts';
import type { Pulled } from './puller.ts';

/** The pod does not want the image any more. */
export class PullCancelled extends Error {
  constructor(image: string) {
    super(`the pull of image "${image}" was cancelled: the pod does not want it any more`);
    this.name = 'PullCancelled';
  }
}

interface Waiter {
  pod: string;
  written: string;
  /** A pod that the desired state does not tell of is not judged by it. */
  known: boolean;
  onLongPull: (text: string) => void;
  leave: (error: Error) => void;
}

interface Shared {
  waiters: Set<Waiter>;
  abort: AbortController;
  beganAt: number;
  progress: PullProgress;
  timer: Timer | undefined;
  done: Promise<Pulled>;
}

/**
 * Pulls under way: pods that want the same image with the same credentials wait for one pull, and one that nobody waits
 * for any more is ended.
 */
export class SharedPulls {
  private readonly clock: Clock;
  private readonly limiter: Limiter;
  private readonly wants: (pod: string, image: string) => boolean;
  private readonly underWay = new Map<string, Shared>();

  constructor(options: { clock: Clock; limiter: Limiter; wants: (pod: string, image: string) => boolean }) {
    this.clock = options.clock;
    this.limiter = options.limiter;
    this.wants = options.wants;
  }

  /** Resolves with the pull; rejects with PullCancelled as soon as this pod does not want the image any more. */
  join(request: {
    key: string;
    pod: string;
    written: string;
    /** Called a few times while a long pull goes on. */
    onLongPull: (text: string) => void;
    pull: (signal: AbortSignal, progress: PullProgress) => Promise<Pulled>;
  }): Promise<{ result: Pulled; beganAt: number }> {
    const { key, pod, written, onLongPull } = request;
    const shared = this.underWay.get(key) ?? this.begin(key, request.pull);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        pod,
        written,
        known: this.wants(pod, written),
        onLongPull,
        leave: (error) => {
          shared.waiters.delete(waiter);
          reject(error);
          if (shared.waiters.size === 0) {
            // Whoever comes now begins anew.
            if (this.underWay.get(key) === shared) this.underWay.delete(key);
            shared.abort.abort(error);
          }
        },
      };
      shared.waiters.add(waiter);
      shared.done.then(
        (result) => resolve({ result, beganAt: shared.beganAt }),
        (error) => reject(error),
      );
    });
  }

  /** Something of the pods has changed: those that want their image no more leave. */
  review(): void {
    for (const { waiters } of [...this.underWay.values()]) {
      for (const waiter of [...waiters]) {
        if (waiter.known && !this.wants(waiter.pod, waiter.written))
          waiter.leave(new PullCancelled(waiter.written));
      }
    }
  }

  private begin(key: string, pull: (signal: AbortSignal, progress: PullProgress) => Promise<Pulled>): Shared {
    const abort = new AbortController();
    const state: Omit<Shared, 'done'> = {
      waiters: new Set<Waiter>(),
      abort,
      beganAt: this.clock.monotonic(),
      progress: new PullProgress(),
      timer: undefined,
    };
    const shared: Shared = Object.assign(state, {
      // It may begin before this returns.
      done: this.limiter.run(async () => {
        abort.signal.throwIfAborted();
        state.beganAt = this.clock.monotonic();
        this.tellLater(state, 0);
        return await pull(abort.signal, state.progress);
      }),
    });
    this.underWay.set(key, shared);
    shared.done
      .catch(() => {})
      .finally(() => {
        shared.timer?.cancel();
        if (this.underWay.get(key) === shared) this.underWay.delete(key);
      });
    return shared;
  }

  private tellLater(shared: Omit<Shared, 'done'>, count: number): void {
    const at = shared.beganAt + toldAt(count);
    shared.timer = this.clock.after(Math.max(1, at - this.clock.monotonic()), () => {
      const text = shared.progress.text();
      if (text !== undefined) for (const { onLongPull } of shared.waiters) onLongPull(text);
      this.tellLater(shared, count + 1);
    });
  }
}
