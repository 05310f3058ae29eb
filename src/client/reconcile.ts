import { hasReason, isAlreadyExists, isConflict, isNotFound, type StatusError } from '../api/errors.ts';
import { type KubeObject, keyOf } from '../api/object.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Metered, MetricFamily } from '../lib/metrics.ts';
import type { Service } from '../lib/service.ts';
import { WorkQueue } from '../lib/work-queue.ts';
import type { Informer } from './informer.ts';

export type Enqueue = (key: string, afterMs?: number) => void;

/** One source of keys: waits for its informer, then maps every change to keys. */
export interface Watch {
  readonly synced: Promise<void>;
  /** Returns the unsubscriber. */
  attach(enqueue: Enqueue): () => void;
}

/** Which keys a changed object concerns. `old` is set for updates; `deleted` tells a deletion. */
export type KeyMapper<T> = (
  object: T,
  change: { old?: T; deleted: boolean },
) => string | readonly string[] | undefined;

/** Watches a type; without a mapper the key is the object's own. */
export function watch<T extends KubeObject>(
  informer: Informer<T>,
  toKeys: KeyMapper<T> = (object) => keyOf(object),
): Watch {
  return {
    get synced() {
      return informer.synced;
    },
    attach(enqueue) {
      const send = (object: T, change: { old?: T; deleted: boolean }): void => {
        const keys = toKeys(object, change);
        if (keys === undefined) return;
        if (typeof keys === 'string') enqueue(keys);
        else for (const key of keys) enqueue(key);
      };
      return informer.handle({
        onAdd: (object) => send(object, { deleted: false }),
        onUpdate: (object, old) => send(object, { old, deleted: false }),
        onDelete: (object) => send(object, { deleted: true }),
      });
    },
  };
}

/**
 * Who waits for a time looks again at least this often: a server without clock battery that starts in 1970 would else
 * sleep until the time of day that it took for the right one, when its clock has long been set.
 */
const LONGEST_WAIT_MS = 60_000;

/** Reconciles one key; a returned number asks to be called again after so many milliseconds. */
export type Reconcile = (key: string) => Promise<number | undefined>;

/**
 * The one loop of all controllers: keys from watches, one reconcile per key at a time, errors retried with back-off.
 * Level-triggered: reconcile looks at the informers, never at the event. Lost races (Conflict, AlreadyExists, NotFound)
 * and namespaces that are going away are ordinary and logged at debug only.
 */
export class Controller implements Service, Metered {
  readonly name: string;
  private readonly watches: readonly Watch[];
  private readonly queue: WorkQueue;
  private detach: (() => void)[] = [];
  private running = false;

  constructor(options: {
    name: string;
    clock: Clock;
    logger: Logger;
    watches: readonly Watch[];
    reconcile: Reconcile;
    concurrency?: number;
    maxDelayMs?: number;
  }) {
    this.name = options.name;
    this.watches = options.watches;
    const logger = options.logger.child({ controller: options.name });
    const queue: WorkQueue = new WorkQueue({
      name: options.name,
      clock: options.clock,
      ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
      ...(options.maxDelayMs === undefined ? {} : { maxDelayMs: options.maxDelayMs }),
      process: async (key) => {
        const again = await options.reconcile(key);
        if (again !== undefined) this.enqueue(key, Math.min(Math.max(1, again), LONGEST_WAIT_MS));
      },
      onError: (key, error, retryInMs) => {
        if (isOrdinary(error)) logger.debug({ key, err: error, retryInMs }, 'reconcile lost a race');
        else logger.warn({ key, err: error, retryInMs }, 'reconcile failed');
      },
    });
    this.queue = queue;
  }

  metrics(): Iterable<MetricFamily> {
    return this.queue.meter?.metrics() ?? [];
  }

  /** Resolves when the informers are filled and the loop runs. */
  async start(): Promise<void> {
    await Promise.all(this.watches.map((source) => source.synced));
    const enqueue: Enqueue = (key, afterMs) => this.enqueue(key, afterMs);
    this.running = true;
    this.detach = this.watches.map((source) => source.attach(enqueue));
    this.queue.start();
  }

  async stop(): Promise<void> {
    this.running = false;
    for (const detach of this.detach) detach();
    this.detach = [];
    await this.queue.stop();
  }

  enqueue(key: string, afterMs = 0): void {
    // Work that ends after stop() must leave no timer behind.
    if (!this.running) return;
    if (afterMs > 0) this.queue.addAfter(key, afterMs);
    else this.queue.add(key);
  }

  get idle(): boolean {
    return this.queue.idle;
  }
}

function isOrdinary(error: unknown): boolean {
  return isConflict(error) || isAlreadyExists(error) || isNotFound(error) || isNamespaceTerminating(error);
}

/** The refusal to create something in a namespace that is being deleted: no retry will help, nor does it need one. */
export function isNamespaceTerminating(error: unknown): boolean {
  return (
    hasReason(error, 'Forbidden') &&
    (error as StatusError).status.details?.causes?.some(
      (cause) => cause.reason === 'NamespaceTerminating',
    ) === true
  );
}
