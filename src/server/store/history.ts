import type { KubeObject } from '../../api/object.ts';
import { type Key, RevisionTooOld, type StoreEvent } from './port.ts';
import type { Entry } from './sorted-entries.ts';

/** A published change, with what is needed to undo it. */
export interface ChangeRecord extends StoreEvent {
  readonly type: StoreEvent['type'];
  readonly object: KubeObject;
  readonly before: Entry | undefined;
  /** When it was published, monotonic milliseconds. */
  readonly at: number;
}

export interface HistoryLimits {
  /** At most so many changes. */
  most: number;
  /** Changes older than this go, except for the newest `least`: a quiet bucket's watchers need not relist. */
  ageMs: number;
  least: number;
}

/** The newest changes of one bucket, oldest first. Complete after revision `floor`. */
export class History {
  private readonly limits: HistoryLimits;
  private records: ChangeRecord[] = [];
  /** Records before this index are gone; the array is cut when they are 64. */
  private first = 0;
  private floorRevision: number;

  constructor(limits: HistoryLimits, floor: number) {
    this.limits = limits;
    this.floorRevision = floor;
  }

  get floor(): number {
    return this.floorRevision;
  }

  get length(): number {
    return this.records.length - this.first;
  }

  push(record: ChangeRecord): void {
    this.records.push(record);
    while (this.length > this.limits.most) this.drop();
  }

  /** Forgets what is older than the limit. */
  prune(now: number): void {
    while (this.length > this.limits.least) {
      const oldest = this.records[this.first] as ChangeRecord;
      if (now - oldest.at <= this.limits.ageMs) return;
      this.drop();
    }
  }

  /** The changes after `revision`, oldest first; throws RevisionTooOld when some of them are forgotten. */
  since(revision: number): readonly ChangeRecord[] {
    if (revision < this.floorRevision) throw new RevisionTooOld(this.floorRevision);
    let low = this.first;
    let high = this.records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.records[middle] as ChangeRecord).revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.records.slice(low);
  }

  /** What each key that changed after `revision` was at that revision (undefined: it did not exist). */
  undo(revision: number): Map<Key, Entry | undefined> {
    const states = new Map<Key, Entry | undefined>();
    for (const record of this.since(revision)) {
      if (!states.has(record.key)) states.set(record.key, record.before);
    }
    return states;
  }

  private drop(): void {
    this.floorRevision = (this.records[this.first] as ChangeRecord).revision;
    this.first += 1;
    if (this.first >= 64) {
      this.records = this.records.slice(this.first);
      this.first = 0;
    }
  }
}
