import type { KubeObject } from '../../api/object.ts';
import type { Key, Stored } from './port.ts';

/** One version of an object. Never changed after it was made. */
export interface Entry extends Stored {
  readonly object: KubeObject;
  readonly revision: number;
  /** The engine has, or is to get, a row for this key. False for objects that have only seen volatile writes. */
  readonly persistent: boolean;
}

/**
 * The objects of one bucket, sorted by key (by UTF-16 unit, which for the names of Kubernetes is etcd's byte order). Two
 * parallel arrays: binary search to find, one memory move to insert, a slice to list a namespace.
 */
export class SortedEntries {
  private readonly keys: Key[] = [];
  private readonly entries: Entry[] = [];

  get size(): number {
    return this.keys.length;
  }

  get(key: Key): Entry | undefined {
    const index = this.lowerBound(key);
    return this.keys[index] === key ? this.entries[index] : undefined;
  }

  set(key: Key, entry: Entry): void {
    const last = this.keys[this.keys.length - 1];
    if (last === undefined || last < key) {
      this.keys.push(key);
      this.entries.push(entry);
      return;
    }
    const index = this.lowerBound(key);
    if (this.keys[index] === key) {
      this.entries[index] = entry;
    } else {
      this.keys.splice(index, 0, key);
      this.entries.splice(index, 0, entry);
    }
  }

  delete(key: Key): void {
    const index = this.lowerBound(key);
    if (this.keys[index] !== key) return;
    this.keys.splice(index, 1);
    this.entries.splice(index, 1);
  }

  /** A new array that later changes do not touch. */
  list(prefix: string): Entry[] {
    if (prefix === '') return this.entries.slice();
    const [from, to] = this.range(prefix);
    return this.entries.slice(from, to);
  }

  /** As `list`, with some keys replaced, added or (undefined) left out. */
  listWith(prefix: string, changes: ReadonlyMap<Key, Entry | undefined>): Entry[] {
    const changed = [...changes.keys()].filter((key) => key.startsWith(prefix)).sort();
    if (changed.length === 0) return this.list(prefix);
    const [from, to] = this.range(prefix);
    const result: Entry[] = [];
    let index = from;
    for (const key of changed) {
      while (index < to && (this.keys[index] as Key) < key) result.push(this.entries[index++] as Entry);
      if (index < to && this.keys[index] === key) index += 1;
      const entry = changes.get(key);
      if (entry) result.push(entry);
    }
    while (index < to) result.push(this.entries[index++] as Entry);
    return result;
  }

  private range(prefix: string): [from: number, to: number] {
    if (prefix === '') return [0, this.keys.length];
    const last = prefix.length - 1;
    const beyond = prefix.slice(0, last) + String.fromCharCode(prefix.charCodeAt(last) + 1);
    return [this.lowerBound(prefix), this.lowerBound(beyond)];
  }

  /** The index of the first key that is not less than `key`. */
  private lowerBound(key: Key): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.keys[middle] as Key) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
