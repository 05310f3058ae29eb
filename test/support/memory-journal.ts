import type { JournalKind } from '../../src/agent/journal.ts';

/** The agent's journal in memory. `reopened` gives what a new process would find. Counts its writes. */
export class MemoryJournal {
  readonly entries: Map<string, string>;
  writes = 0;
  syncs = 0;

  constructor(entries: ReadonlyMap<string, string> = new Map()) {
    this.entries = new Map(entries);
  }

  take<T>(kind: JournalKind): Map<string, T> {
    const found = new Map<string, T>();
    for (const [id, json] of this.entries) {
      if (id.startsWith(`${kind}|`)) found.set(id.slice(kind.length + 1), JSON.parse(json) as T);
    }
    return found;
  }

  fact<T>(name: string): T | undefined {
    const json = this.entries.get(`fact|${name}`);
    return json === undefined ? undefined : (JSON.parse(json) as T);
  }

  put(kind: JournalKind, key: string, value: object | string | number): void {
    this.writes += 1;
    this.entries.set(`${kind}|${key}`, JSON.stringify(value));
  }

  delete(kind: JournalKind, key: string): void {
    this.writes += 1;
    this.entries.delete(`${kind}|${key}`);
  }

  sync(): void {
    this.syncs += 1;
  }

  reopened(): MemoryJournal {
    return new MemoryJournal(this.entries);
  }
}
