import type { KubeObject } from '../../api/object.ts';
import type { Bucket, Durability, Key, Stored } from './port.ts';
import type { Entry } from './sorted-entries.ts';

/** One staged change of one object: `before` -> `after` (undefined: does not exist). */
export interface Change {
  readonly bucket: Bucket;
  readonly key: Key;
  readonly revision: number;
  readonly before: Entry | undefined;
  readonly after: Entry | undefined;
  /** What the writer gets back and watchers see: the new object, or the last state of a deleted one. */
  readonly result: Stored & { readonly object: KubeObject };
  /** The engine has to learn of it, now or with the next flush. */
  readonly persistent: boolean;
  /** The staged, not yet published change of the same key that this one builds on. */
  prior: Change | undefined;
  /** The engine has it, or something newer of the same key. */
  written: boolean;
  published: boolean;
}

/** One commit on its way: staged -> (durable: in a batch -> synced) -> published. */
export class Transaction {
  readonly changes: readonly Change[];
  /** Waits for an fsync before it may be published. */
  readonly durable: boolean;
  synced = false;
  readonly promise: Promise<readonly Stored[]>;
  private settle!: { resolve(results: readonly Stored[]): void; reject(error: unknown): void };

  constructor(changes: readonly Change[], durable: boolean) {
    this.changes = changes;
    this.durable = durable;
    this.promise = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
  }

  get lastRevision(): number {
    return this.changes[this.changes.length - 1]?.revision ?? 0;
  }

  acknowledge(): void {
    this.settle.resolve(this.changes.map((change) => change.result));
  }

  fail(error: unknown): void {
    this.settle.reject(error);
  }
}

const STRENGTH: Record<Durability, number> = { volatile: 0, coalesced: 1, durable: 2 };

export function strongest(durabilities: Iterable<Durability>): Durability {
  let result: Durability = 'volatile';
  for (const durability of durabilities) if (STRENGTH[durability] > STRENGTH[result]) result = durability;
  return result;
}
