import type { KubeObject } from '../../api/object.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { type Batch, casualties, composeBatch, markWritten, type RowState } from './batch.ts';
import { StoreClosed, StoreOverloaded, WriteFailed } from './errors.ts';
import { type ChangeRecord, History } from './history.ts';
import { JsonCache } from './json-cache.ts';
import type { Bucket, Engine, Key, Store, Stored, StoredRow, StoreEvent, Write } from './port.ts';
import { type Entry, SortedEntries } from './sorted-entries.ts';
import { deepFreeze, Staging } from './staging.ts';
import type { Change, Transaction } from './transaction.ts';
import { UnflushedKeys } from './unflushed.ts';

export interface StoreLimits {
  /** Changes that may wait for the disk; beyond, commits reject with StoreOverloaded. */
  queuedChanges: number;
  /** Changes in one engine transaction. */
  batchChanges: number;
  /** Per bucket: changes kept for watchers that come back and for paging. */
  historyChanges: number;
  /** Changes older than this are forgotten, except for the newest `historyLeast` of each bucket. */
  historyAgeMs: number;
  historyLeast: number;
  /** Coalesced writes reach the disk at the latest after so long. */
  flushIntervalMs: number;
  /** Coalesced writes go along with a durable transaction when they have waited so long: each one costs flash. */
  piggybackAfterMs: number;
  /** Revisions reserved at a time; a crash skips at most so many. */
  reserveBlock: number;
  /** Characters of JSON kept for watchers and the engine. */
  jsonCharacters: number;
}

export const DEFAULT_LIMITS: StoreLimits = {
  queuedChanges: 20_000,
  batchChanges: 1000,
  historyChanges: 1024,
  historyAgeMs: 5 * 60_000,
  historyLeast: 32,
  flushIntervalMs: 10 * 60_000,
  piggybackAfterMs: 60_000,
  reserveBlock: 100_000,
  jsonCharacters: 1_000_000,
};

interface Watcher {
  /** The newest revision this watcher has seen or asked to follow from. */
  revision: number;
  readonly onEvent: (event: StoreEvent) => void;
}

interface BucketState {
  readonly entries: SortedEntries;
  readonly history: History;
  readonly watchers: Set<Watcher>;
}

/**
 * All objects in memory over an engine. The way of a commit: stage -> queue -> (durable: batch -> fsync) -> publish ->
 * acknowledge. Invariants:
 * - changes are published in the order of their revisions, each once;
 * - what is published is on disk, or was declared coalesced or volatile;
 * - a revision that anybody has seen is not above the reserved end on disk, so no restart gives it again;
 * - one engine call at a time; what is staged meanwhile collects for the next.
 */
export class ObjectStore implements Store {
  private readonly engine: Engine;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly limits: StoreLimits;
  private readonly freeze: boolean;
  private readonly onLoad: ((object: KubeObject) => void) | undefined;
  private readonly texts: JsonCache;

  private readonly buckets = new Map<Bucket, BucketState>();
  private readonly unflushed = new UnflushedKeys();
  private staging: Staging;
  private queue: Transaction[] = [];
  private queuedChanges = 0;
  private state: 'new' | 'running' | 'stopping' | 'stopped' = 'new';
  private publishedRevision = 0;
  /** Where history began: the revision at start. */
  private firstRevision = 0;
  private reserved = 0;
  private publishing = false;
  private writing = false;
  private wakeUp = false;
  private failing = false;
  /** Set while a flush is due: everything out of date since this instant is written. */
  private flushUntil: number | undefined;
  private flushTimer: Timer | undefined;
  private pruneTimer: Timer | undefined;
  private idleWaiters: (() => void)[] = [];

  constructor(options: {
    engine: Engine;
    clock: Clock;
    logger: Logger;
    limits?: Partial<StoreLimits>;
    /** Freezes every object that goes in (tests): who changes a stored object gets a TypeError. */
    freeze?: boolean;
    /** Sees every object that comes from disk before anybody else does, and may replace its parts by equal ones. */
    onLoad?: (object: KubeObject) => void;
  }) {
    this.engine = options.engine;
    this.clock = options.clock;
    this.logger = options.logger;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.freeze = options.freeze ?? false;
    this.onLoad = options.onLoad;
    this.texts = new JsonCache({ maxCharacters: this.limits.jsonCharacters });
    this.staging = this.newStaging(0);
  }

  async start(): Promise<void> {
    if (this.state !== 'new') throw new Error('a store starts once');
    let newest = 0;
    const { reserved } = await this.engine.open((row) => {
      newest = Math.max(newest, row.revision);
      this.load(row);
    });
    this.reserved = reserved;
    this.publishedRevision = Math.max(reserved, newest);
    this.firstRevision = this.publishedRevision;
    this.staging = this.newStaging(this.publishedRevision);
    this.buckets.forEach((state, bucket) => {
      this.buckets.set(bucket, { ...state, history: this.newHistory() });
    });
    this.pruneTimer = this.clock.every(this.limits.historyAgeMs, () => this.prune());
    this.state = 'running';
  }

  async stop(): Promise<void> {
    if (this.state !== 'running') return;
    this.state = 'stopping';
    this.pruneTimer?.cancel();
    this.flushTimer?.cancel();
    try {
      await this.whenIdle();
      await this.flushAll();
    } finally {
      this.state = 'stopped';
      for (const { watchers } of this.buckets.values()) watchers.clear();
      await this.engine.close();
    }
  }

  get revision(): number {
    return this.publishedRevision;
  }

  get(bucket: Bucket, key: Key): Stored | undefined {
    return this.buckets.get(bucket)?.entries.get(key);
  }

  list(bucket: Bucket, prefix = ''): readonly Stored[] {
    return this.buckets.get(bucket)?.entries.list(prefix) ?? [];
  }

  count(bucket: Bucket): number {
    return this.buckets.get(bucket)?.entries.size ?? 0;
  }

  head(bucket: Bucket, key: Key): Stored | undefined {
    return this.staging.head(bucket, key);
  }

  heads(bucket: Bucket, prefix = ''): readonly Stored[] {
    return this.bucket(bucket).entries.listWith(prefix, this.staging.overlay(bucket));
  }

  commit(writes: readonly Write[]): Promise<readonly Stored[]> {
    if (this.state !== 'running') return Promise.reject(new StoreClosed());
    if (writes.length === 0) return Promise.resolve([]);
    if (this.queuedChanges + writes.length > this.limits.queuedChanges) {
      return Promise.reject(new StoreOverloaded(this.queuedChanges));
    }
    let transaction: Transaction;
    try {
      transaction = this.staging.stage(writes);
    } catch (error) {
      return Promise.reject(error);
    }
    this.queue.push(transaction);
    this.queuedChanges += transaction.changes.length;
    this.publishReady();
    this.wake();
    return transaction.promise;
  }

  watch(bucket: Bucket, from: number | undefined, onEvent: (event: StoreEvent) => void): { stop(): void } {
    const { history, watchers } = this.bucket(bucket);
    const past = from ? history.since(from) : [];
    const watcher: Watcher = { revision: Math.max(from || 0, this.publishedRevision), onEvent };
    watchers.add(watcher);
    this.replay(watcher, past);
    return { stop: () => void watchers.delete(watcher) };
  }

  listAt(bucket: Bucket, revision: number, prefix = ''): readonly Stored[] {
    const { entries, history } = this.bucket(bucket);
    return entries.listWith(prefix, history.undo(revision));
  }

  json(object: KubeObject): string {
    return this.texts.json(object);
  }

  private load(row: StoredRow): void {
    const object = JSON.parse(row.json) as KubeObject;
    this.onLoad?.(object);
    if (this.freeze) deepFreeze(object);
    this.bucket(row.bucket).entries.set(row.key, { object, revision: row.revision, persistent: true });
  }

  private bucket(name: Bucket): BucketState {
    let state = this.buckets.get(name);
    if (!state) {
      state = { entries: new SortedEntries(), history: this.newHistory(), watchers: new Set() };
      this.buckets.set(name, state);
    }
    return state;
  }

  private newHistory(): History {
    const { historyChanges, historyAgeMs, historyLeast } = this.limits;
    const limits = { most: historyChanges, ageMs: historyAgeMs, least: historyLeast };
    return new History(limits, this.firstRevision);
  }

  private newStaging(revision: number): Staging {
    const published = (bucket: Bucket, key: Key): Entry | undefined =>
      this.buckets.get(bucket)?.entries.get(key);
    return new Staging({ published, revision, freeze: this.freeze });
  }

  /** Publishes the front of the queue as far as nothing has to wait for the disk. */
  private publishReady(): void {
    // A watcher that commits from its callback must not publish a later change before this one reached every watcher.
    if (this.publishing) return;
    this.publishing = true;
    try {
      for (let next = this.queue[0]; next && this.mayPublish(next); next = this.queue[0]) {
        this.queue.shift();
        this.queuedChanges -= next.changes.length;
        for (const change of next.changes) this.publish(change);
        next.acknowledge();
      }
    } finally {
      this.publishing = false;
    }
    this.reportIdle();
  }

  private mayPublish(transaction: Transaction): boolean {
    return transaction.durable ? transaction.synced : transaction.lastRevision <= this.reserved;
  }

  private publish(change: Change): void {
    const { bucket, key, revision, before, after } = change;
    const { entries, history, watchers } = this.bucket(bucket);
    this.staging.publish(change);
    if (after) entries.set(key, after);
    else entries.delete(key);
    this.publishedRevision = revision;
    const now = this.clock.monotonic();
    if (change.persistent && !change.written) this.addUnflushed(change, now);
    const event: ChangeRecord = {
      type: !after ? 'DELETED' : before ? 'MODIFIED' : 'ADDED',
      key,
      revision,
      object: change.result.object,
      previous: before?.object,
      before,
      at: now,
    };
    history.push(event);
    for (const watcher of watchers) if (watcher.revision < revision) this.deliver(watcher, event);
  }

  private deliver(watcher: Watcher, event: StoreEvent): void {
    watcher.revision = Math.max(watcher.revision, event.revision);
    try {
      watcher.onEvent(event);
    } catch (error) {
      this.logger.error({ err: error, key: event.key, revision: event.revision }, 'a watcher threw');
    }
  }

  /** Holds back what the callback itself may commit, so that the past comes before it. */
  private replay(watcher: Watcher, past: readonly StoreEvent[]): void {
    const outer = this.publishing;
    this.publishing = true;
    for (const event of past) this.deliver(watcher, event);
    this.publishing = outer;
    if (!outer && past.length > 0) this.publishReady();
  }

  private addUnflushed(change: Change, now: number): void {
    this.unflushed.add(change.bucket, change.key, change.revision, now);
    if (this.state === 'running') this.armFlush();
  }

  private armFlush(): void {
    this.flushTimer ??= this.clock.after(this.limits.flushIntervalMs, () => {
      this.flushTimer = undefined;
      this.flushUntil = this.clock.monotonic();
      this.wake();
    });
  }

  /**
   * Starts the next engine call if there is work and none is under way. What other connections send in the same turn of
   * the event loop shares its fsync.
   */
  private wake(): void {
    if (this.writing || this.wakeUp || !this.hasWork()) return;
    this.wakeUp = true;
    setImmediate(() => {
      this.wakeUp = false;
      if (!this.writing && this.hasWork()) void this.write();
    });
  }

  /** After publishReady, a queue that is not empty waits for the disk. */
  private hasWork(): boolean {
    return this.queue.length > 0 || (this.flushUntil !== undefined && this.state === 'running');
  }

  private async write(): Promise<void> {
    this.writing = true;
    const batch = this.nextBatch();
    try {
      await this.apply(batch);
      markWritten(batch);
      this.unflushed.flushed(batch.rows, this.clock.monotonic());
      if (this.failing) this.logger.info({}, 'the store can write again');
      this.failing = false;
    } catch (error) {
      this.fail(batch, error);
    }
    this.writing = false;
    this.publishReady();
    this.wake();
  }

  private nextBatch(): Batch {
    const flushUntil = this.flushUntil ?? this.clock.monotonic() - this.limits.piggybackAfterMs;
    const options = { mostChanges: this.limits.batchChanges, reserve: this.reservation() };
    const batch = composeBatch(this.queue, this.outOfDate(flushUntil), options);
    if (this.flushUntil !== undefined && batch.rows.size < this.limits.batchChanges)
      this.flushUntil = undefined;
    return batch;
  }

  /** The new reserved end when less than half a block is left. */
  private reservation(): number | undefined {
    const { reserveBlock } = this.limits;
    const used = this.staging.revision;
    return used > this.reserved - reserveBlock / 2 && this.queue.length > 0 ? used + reserveBlock : undefined;
  }

  private *outOfDate(instant: number): Iterable<RowState> {
    for (const { bucket, key, revision } of this.unflushed.olderThan(instant)) {
      const entry = this.buckets.get(bucket)?.entries.get(key);
      yield { bucket, key, revision, entry: entry?.persistent ? entry : undefined };
    }
  }

  private async apply(batch: Batch): Promise<void> {
    const rows = [...batch.rows.values()].map(({ bucket, key, revision, entry }) => ({
      bucket,
      key,
      revision,
      json: entry && this.texts.json(entry.object),
    }));
    if (rows.length === 0 && batch.reserve === undefined) return;
    const { sync, reserve } = batch;
    await this.engine.apply(rows, reserve === undefined ? { sync } : { sync, reserve });
    if (reserve !== undefined) this.reserved = reserve;
  }

  private fail(batch: Batch, error: unknown): void {
    const { rejected, survivors } = casualties(this.queue, batch, this.reserved);
    const fields = { err: error, rows: batch.rows.size, rejected: rejected.length };
    // A full disk fails every batch; the log, on the same disk, hears of it once.
    if (this.failing) this.logger.debug(fields, 'a batch failed again');
    else this.logger.error(fields, 'a batch failed');
    this.failing = true;
    this.queue = [...survivors];
    for (const transaction of rejected.toReversed()) {
      this.queuedChanges -= transaction.changes.length;
      for (const change of transaction.changes.toReversed()) this.staging.rollBack(change);
    }
    this.flushUntil = undefined;
    if (this.unflushed.size > 0 && this.state === 'running') this.armFlush();
    for (const transaction of rejected) transaction.fail(new WriteFailed(error));
  }

  private prune(): void {
    const now = this.clock.monotonic();
    for (const { history } of this.buckets.values()) history.prune(now);
  }

  private async whenIdle(): Promise<void> {
    if (this.queue.length === 0 && !this.writing) return;
    await new Promise<void>((resolve) => this.idleWaiters.push(resolve));
  }

  private reportIdle(): void {
    if (this.queue.length > 0 || this.writing) return;
    for (const resolve of this.idleWaiters.splice(0)) resolve();
  }

  /** Everything coalesced, then the revision counter exactly: an orderly restart skips no revisions. */
  private async flushAll(): Promise<void> {
    while (this.unflushed.size > 0) {
      const options = { mostChanges: this.limits.batchChanges, reserve: undefined };
      const batch = composeBatch([], this.outOfDate(Number.POSITIVE_INFINITY), options);
      await this.apply(batch);
      this.unflushed.flushed(batch.rows, this.clock.monotonic());
    }
    const reserve = this.staging.revision;
    if (reserve !== this.reserved) await this.engine.apply([], { sync: true, reserve });
    this.reserved = reserve;
  }
}
