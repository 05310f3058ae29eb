import { type RowState, rowId } from './batch.ts';
import type { Bucket, Key } from './port.ts';

interface Unflushed {
  readonly bucket: Bucket;
  readonly key: Key;
  readonly revision: number;
  /** When the row on disk began to be out of date, monotonic milliseconds. */
  readonly since: number;
}

/** The keys whose published state is newer than the engine's row, oldest first. At most one entry per object. */
export class UnflushedKeys {
  private readonly entries = new Map<string, Unflushed>();

  get size(): number {
    return this.entries.size;
  }

  add(bucket: Bucket, key: Key, revision: number, now: number): void {
    const id = rowId(bucket, key);
    // A Map keeps the place of a key that is set again: the order by `since` holds.
    this.entries.set(id, { bucket, key, revision, since: this.entries.get(id)?.since ?? now });
  }

  /** The engine now has these states; a key that changed meanwhile stays, counted from `now`. */
  flushed(rows: ReadonlyMap<string, RowState>, now: number): void {
    for (const [id, row] of rows) {
      const entry = this.entries.get(id);
      if (!entry) continue;
      this.entries.delete(id);
      if (entry.revision > row.revision) this.entries.set(id, { ...entry, since: now });
    }
  }

  /** Those out of date since `instant` or longer. */
  *olderThan(instant: number): Iterable<Unflushed> {
    for (const entry of this.entries.values()) {
      if (entry.since > instant) return;
      yield entry;
    }
  }
}
