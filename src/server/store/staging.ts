import type { KubeObject } from '../../api/object.ts';
import { type Bucket, type Durability, type Key, RevisionConflict, type Write } from './port.ts';
import type { Entry } from './sorted-entries.ts';
import { type Change, strongest, Transaction } from './transaction.ts';

/**
 * The staged changes that are not published yet, as a stack per key over the published state. Invariants:
 * - a key's staged head is the newest change of that key in the queue;
 * - a change is only rolled back when every later change of its key is (roll back in reverse order).
 */
export class Staging {
  private readonly published: (bucket: Bucket, key: Key) => Entry | undefined;
  private readonly freeze: boolean;
  private readonly heads = new Map<Bucket, Map<Key, Change>>();
  /** Numbers are never given twice, not even after a roll-back: who has seen a staged head expects its revision. */
  private lastRevision: number;

  constructor(options: {
    published: (bucket: Bucket, key: Key) => Entry | undefined;
    revision: number;
    freeze: boolean;
  }) {
    this.published = options.published;
    this.lastRevision = options.revision;
    this.freeze = options.freeze;
  }

  /** The newest revision given out. */
  get revision(): number {
    return this.lastRevision;
  }

  head(bucket: Bucket, key: Key): Entry | undefined {
    const staged = this.heads.get(bucket)?.get(key);
    return staged ? staged.after : this.published(bucket, key);
  }

  /** The newest staged state of every key of a bucket that has one. */
  overlay(bucket: Bucket): Map<Key, Entry | undefined> {
    const overlay = new Map<Key, Entry | undefined>();
    for (const [key, change] of this.heads.get(bucket) ?? []) overlay.set(key, change.after);
    return overlay;
  }

  /** Checks every write against its staged head (throws RevisionConflict, staging nothing), then stages them all. */
  stage(writes: readonly Write[]): Transaction {
    const befores = this.check(writes);
    // All or nothing, on disk too: the strongest durability holds for the whole commit.
    const durability = strongest(writes.map((write) => write.durability));
    const changes = writes.map((write, index) => this.stageOne(write, durability, befores[index]));
    return new Transaction(changes, durability === 'durable');
  }

  publish(change: Change): void {
    change.published = true;
    change.prior = undefined;
    const heads = this.heads.get(change.bucket);
    if (heads?.get(change.key) !== change) return;
    heads.delete(change.key);
    if (heads.size === 0) this.heads.delete(change.bucket);
  }

  rollBack(change: Change): void {
    const heads = this.heads.get(change.bucket);
    if (heads?.get(change.key) !== change) throw new Error('roll-back out of order');
    if (change.prior && !change.prior.published) heads.set(change.key, change.prior);
    else heads.delete(change.key);
    if (heads.size === 0) this.heads.delete(change.bucket);
  }

  private check(writes: readonly Write[]): (Entry | undefined)[] {
    const seen = new Set<string>();
    return writes.map((write) => {
      const id = `${write.bucket}\0${write.key}`;
      if (seen.has(id)) throw new Error(`${write.bucket} ${write.key} occurs twice in one commit`);
      seen.add(id);
      const before = this.head(write.bucket, write.key);
      const actual = before?.revision ?? 0;
      if (actual !== write.expected) throw new RevisionConflict(write, actual);
      if (!before && !write.object) throw new Error(`${write.bucket} ${write.key} does not exist`);
      return before;
    });
  }

  private stageOne(write: Write, durability: Durability, before: Entry | undefined): Change {
    this.lastRevision += 1;
    const revision = this.lastRevision;
    // A volatile write over (or deletion of) what the engine holds has to reach the engine too, else a restart would
    // bring the old row back.
    const persistent = durability !== 'volatile' || before?.persistent === true;
    const object = atRevision(write.object ?? (before as Entry).object, revision);
    if (this.freeze) deepFreeze(object);
    const after = write.object ? { object, revision, persistent } : undefined;
    const heads = this.heads.get(write.bucket) ?? new Map<Key, Change>();
    this.heads.set(write.bucket, heads);
    const change: Change = {
      bucket: write.bucket,
      key: write.key,
      revision,
      before,
      after,
      result: after ?? { object, revision },
      persistent,
      prior: heads.get(write.key),
      written: false,
      published: false,
    };
    heads.set(write.key, change);
    return change;
  }
}

function atRevision(object: KubeObject, revision: number): KubeObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
}

export function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
}
