import type { KubeObject } from '../../api/object.ts';

/** A resource's name in the store: `groupResource()`, e.g. `pods` or `deployments.apps`. */
export type Bucket = string;
/** `namespace/name`, or `name` for cluster-scoped objects. */
export type Key = string;

/**
 * How soon a write must survive a power cut (docs/adr on durability):
 * - `durable`: acknowledged after fsync. Everything a user wrote, bindings, owner decisions.
 * - `coalesced`: same pipeline, same revision order, published and acknowledged at once; flushed in rare batches. A
 *   crash takes such a write back to the last flushed state of the object; whoever made it reports again.
 * - `volatile`: never written to disk (events, leases of nodes).
 * Durability belongs to the write, not to the object: a pod's spec is durable, its status is coalesced.
 */
export type Durability = 'durable' | 'coalesced' | 'volatile';

export interface Write {
  bucket: Bucket;
  key: Key;
  /** The object to put (metadata.resourceVersion is set by the store), or undefined to delete. */
  object: KubeObject | undefined;
  /** The revision of the staged head that this write replaces; 0: the key must not exist. */
  expected: number;
  durability: Durability;
}

export interface Stored {
  object: KubeObject;
  revision: number;
}

export interface StoreEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  key: Key;
  revision: number;
  /** For DELETED: the last state, with metadata.resourceVersion set to the deletion's revision. */
  object: KubeObject;
  /** The state before (MODIFIED, DELETED): selectors of a watch need both sides. */
  previous: KubeObject | undefined;
}

/**
 * All objects, in memory, behind one commit pipeline: stage -> one transaction per batch -> publish to cache and
 * watchers in revision order -> acknowledge. Reads are synchronous and show only what is published.
 */
export interface Store {
  start(): Promise<void>;
  /** Flushes everything, also what is coalesced. */
  stop(): Promise<void>;

  /** The revision of the newest published change. Never goes back, not even over a crash. */
  readonly revision: number;
  get(bucket: Bucket, key: Key): Stored | undefined;
  /** Sorted by key. `prefix` is `namespace/` or nothing. Holds no copy: do not change the objects. */
  list(bucket: Bucket, prefix?: string): readonly Stored[];
  count(bucket: Bucket): number;
  /**
   * The newest staged state, perhaps not yet on disk: what a read-modify-write must build on, so that writers of one
   * object do not lose their race against the group commit.
   */
  head(bucket: Bucket, key: Key): Stored | undefined;
  /** The newest staged objects of a bucket: what counting admission (quota) and uniqueness checks build on. */
  heads(bucket: Bucket, prefix?: string): readonly Stored[];

  /**
   * All or nothing. Staging is synchronous: a lost race is found before anything is written. Resolves
   * when published (and, for durable writes, synced), with each write's new revision and object, in order.
   * Rejects (never throws): with RevisionConflict, WriteFailed when the engine fails (disk full; nothing of the commit
   * happened), StoreOverloaded or StoreClosed. The strongest durability among the writes holds for all of them. A key may
   * occur once. The store keeps the objects it is given: whoever commits one must not change it afterwards.
   */
  commit(writes: readonly Write[]): Promise<readonly Stored[]>;

  /**
   * Follows a bucket from the revision after `from` (0 or absent: from now). Throws RevisionTooOld when the ring buffer
   * no longer reaches back that far. `onEvent` is called synchronously while publishing and must not throw or block;
   * changes of the past are delivered before watch() returns.
   */
  watch(bucket: Bucket, from: number | undefined, onEvent: (event: StoreEvent) => void): { stop(): void };
  /** The state of a bucket as it was at `revision`, while history reaches that far (else RevisionTooOld): consistent paging. */
  listAt(bucket: Bucket, revision: number, prefix?: string): readonly Stored[];
  /**
   * The JSON of an object that came from this store (get, list, commit, an event): serialised once per change however
   * many ask, as long as it is recent. For any other object it is JSON.stringify.
   */
  json(object: KubeObject): string;
}

export class RevisionConflict extends Error {
  readonly write: Write;
  readonly actual: number;
  constructor(write: Write, actual: number) {
    super(`${write.bucket} ${write.key}: expected revision ${write.expected}, found ${actual}`);
    this.name = 'RevisionConflict';
    this.write = write;
    this.actual = actual;
  }
}

export class RevisionTooOld extends Error {
  /** The oldest revision from which history is complete. */
  readonly oldest: number;
  constructor(oldest: number) {
    super(`history begins at revision ${oldest}`);
    this.name = 'RevisionTooOld';
    this.oldest = oldest;
  }
}

/**
 * What the store needs of a database; SQLite in a worker thread is one, memory (tests, simulation) another.
 * Calls are made one at a time.
 */
export interface Engine {
  /** Opens (creating if needed), hands every stored row to `load`, and returns the revision counter's reserved end. */
  open(load: (row: StoredRow) => void): Promise<{ reserved: number }>;
  /**
   * One transaction: all of it or, when it rejects, nothing. With `sync`, resolves after it and every transaction before
   * it are on stable storage; without, the transaction is ordered but a crash may lose it. `reserve` sets the counter's
   * reserved end.
   */
  apply(rows: readonly EngineRow[], options: { sync: boolean; reserve?: number }): Promise<void>;
  close(): Promise<void>;
}

export interface StoredRow {
  bucket: Bucket;
  key: Key;
  revision: number;
  json: string;
}

export interface EngineRow {
  bucket: Bucket;
  key: Key;
  revision: number;
  /** The object as JSON, or undefined to delete. */
  json: string | undefined;
}
