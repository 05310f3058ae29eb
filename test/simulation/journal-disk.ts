import type { JournalKind } from '../../src/agent/journal.ts';
import type { Clock, Timer } from '../../src/lib/clock.ts';

const FLUSH_DELAY_MS = 500;
const CLOCK_FLOOR = 'clockFloor';

type Batch = ReadonlyMap<string, string | undefined>;

/** The file of a board's journal: transactions without fsync form a log of which a power cut keeps a prefix. */
export class JournalDisk {
  private readonly synced = new Map<string, string>();
  private log: Batch[] = [];

  write(batch: Batch): void {
    this.log.push(batch);
    // The kernel writes back what is old.
    if (this.log.length > 16) this.apply(this.log.splice(0, 8));
  }

  sync(): void {
    this.apply(this.log);
    this.log = [];
  }

  /** Of the newest transactions only `surviving` remain. */
  powerCut(surviving: (unsynced: number) => number): void {
    this.apply(this.log.slice(0, surviving(this.log.length)));
    this.log = [];
  }

  contents(): Map<string, string> {
    const contents = new Map(this.synced);
    for (const batch of this.log) applyTo(contents, batch);
    return contents;
  }

  private apply(batches: readonly Batch[]): void {
    for (const batch of batches) applyTo(this.synced, batch);
  }
}

/** The agent's Journal over a JournalDisk: the same delays, no files. */
export class SimulatedJournal {
  private readonly disk: JournalDisk;
  private readonly clock: Clock;
  private readonly opened: Map<string, string>;
  private pending = new Map<string, string | undefined>();
  private timer: Timer | undefined;

  constructor(options: { disk: JournalDisk; clock: Clock }) {
    this.disk = options.disk;
    this.clock = options.clock;
    this.opened = options.disk.contents();
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.flush();
  }

  take<T>(kind: JournalKind): Map<string, T> {
    const found = new Map<string, T>();
    for (const [id, json] of this.opened) {
      if (id.startsWith(`${kind}|`)) found.set(id.slice(kind.length + 1), JSON.parse(json) as T);
    }
    return found;
  }

  fact<T>(name: string): T | undefined {
    const json = this.opened.get(`fact|${name}`);
    return json === undefined ? undefined : (JSON.parse(json) as T);
  }

  get clockFloor(): number {
    return this.fact<number>(CLOCK_FLOOR) ?? 0;
  }

  put(kind: JournalKind, key: string, value: object | string | number): void {
    this.note(`${kind}|${key}`, JSON.stringify(value));
  }

  delete(kind: JournalKind, key: string): void {
    this.note(`${kind}|${key}`, undefined);
  }

  flush(): void {
    this.timer?.cancel();
    this.timer = undefined;
    if (this.pending.size === 0) return;
    const now = this.clock.now();
    if (now > this.clockFloor) this.pending.set(`fact|${CLOCK_FLOOR}`, JSON.stringify(now));
    this.disk.write(this.pending);
    this.pending = new Map();
  }

  sync(): void {
    this.flush();
    this.disk.sync();
  }

  private note(id: string, json: string | undefined): void {
    this.pending.set(id, json);
    this.timer ??= this.clock.after(FLUSH_DELAY_MS, () => this.flush());
  }
}

function applyTo(contents: Map<string, string>, batch: Batch): void {
  for (const [id, json] of batch) {
    if (json === undefined) contents.delete(id);
    else contents.set(id, json);
  }
}
