import type { Bucket, Key } from './port.ts';
import type { Entry } from './sorted-entries.ts';
import type { Change, Transaction } from './transaction.ts';

/** What the engine shall hold for one key. */
export interface RowState {
  readonly bucket: Bucket;
  readonly key: Key;
  readonly revision: number;
  readonly entry: Entry | undefined;
}

/** One engine transaction, decided but not done. */
export interface Batch {
  /** By rowId. */
  readonly rows: ReadonlyMap<string, RowState>;
  /** The front of the queue that this batch settles, coalesced transactions between durable ones included. */
  readonly covered: readonly Transaction[];
  readonly sync: boolean;
  readonly reserve: number | undefined;
}

/** What a failed batch takes with it, in queue order. */
export interface Casualties {
  readonly rejected: readonly Transaction[];
  readonly survivors: readonly Transaction[];
}

export function rowId(bucket: Bucket, key: Key): string {
  return `${bucket}\0${key}`;
}

/**
 * Takes durable transactions from the front of the queue until `mostChanges` are reached. Each key they touch is written
 * once, in its state at the end of that front: a coalesced change of the same key in between is in it and is thereby
 * written too. A state from behind the front is never written: its transaction could still fail. `due` are published
 * coalesced states that go along.
 */
export function composeBatch(
  queue: readonly Transaction[],
  due: Iterable<RowState>,
  options: { mostChanges: number; reserve: number | undefined },
): Batch {
  const covered = front(queue, options.mostChanges);
  const touched = new Set<string>();
  for (const { durable, changes } of covered) {
    if (!durable) continue;
    for (const change of changes) if (change.persistent) touched.add(rowId(change.bucket, change.key));
  }
  const rows = new Map<string, RowState>();
  for (const { changes } of covered) {
    for (const change of changes) {
      const id = rowId(change.bucket, change.key);
      if (touched.has(id)) rows.set(id, stateAfter(change));
    }
  }
  for (const state of due) {
    if (rows.size >= options.mostChanges) break;
    const id = rowId(state.bucket, state.key);
    if (!rows.has(id)) rows.set(id, state);
  }
  return {
    rows,
    covered,
    sync: covered.length > 0 || options.reserve !== undefined,
    reserve: options.reserve,
  };
}

/** Marks what a successful batch has brought to disk. */
export function markWritten(batch: Batch): void {
  for (const transaction of batch.covered) {
    if (transaction.durable) transaction.synced = true;
    for (const change of transaction.changes) {
      const row = batch.rows.get(rowId(change.bucket, change.key));
      if (row && change.revision <= row.revision) change.written = true;
    }
  }
}

/**
 * When a batch with durable transactions fails, every durable transaction staged so far fails, also those collected
 * behind it: what they decided (an address found free, a quota not used up) may rest on what just vanished. Coalesced and
 * volatile ones are reports about the world and go on, unless they build on a failed change of the same object or have
 * no reserved revision.
 */
export function casualties(queue: readonly Transaction[], batch: Batch, reserved: number): Casualties {
  const failedKeys = new Set<string>();
  const rejected: Transaction[] = [];
  const survivors: Transaction[] = [];
  for (const transaction of queue) {
    const ids = transaction.changes.map((change) => rowId(change.bucket, change.key));
    const fails =
      (transaction.durable && batch.covered.length > 0) ||
      (!transaction.durable && batch.reserve !== undefined && transaction.lastRevision > reserved) ||
      ids.some((id) => failedKeys.has(id));
    if (fails) for (const id of ids) failedKeys.add(id);
    (fails ? rejected : survivors).push(transaction);
  }
  return { rejected, survivors };
}

/**
 * The front of the queue up to the durable transaction that reaches `mostChanges`, and what is not durable right behind
 * it; empty when nothing is durable.
 */
function front(queue: readonly Transaction[], mostChanges: number): readonly Transaction[] {
  let changes = 0;
  let durable = 0;
  let end = 0;
  for (const transaction of queue) {
    if (transaction.durable && durable > 0 && changes >= mostChanges) break;
    if (transaction.durable) durable += 1;
    changes += transaction.changes.length;
    end += 1;
  }
  return durable > 0 ? queue.slice(0, end) : [];
}

function stateAfter(change: Change): RowState {
  const entry = change.after?.persistent ? change.after : undefined;
  return { bucket: change.bucket, key: change.key, revision: change.revision, entry };
}
