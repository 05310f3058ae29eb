import { type Clock, sleep } from '../../lib/clock.ts';
import { rowId } from './batch.ts';
import { EngineError, EngineGone } from './errors.ts';
import type { Engine, EngineRow, StoredRow } from './port.ts';

interface LoggedTransaction {
  readonly rows: readonly EngineRow[];
  readonly reserve: number | undefined;
}

/**
 * What survives a crash of the process that writes to it: for tests, simulation and servers without a disk. Transactions
 * that were not synced form a log behind the durable state; a crash keeps a prefix of it, as a write-ahead log does.
 */
export class MemoryDisk {
  /** Milliseconds that a transaction takes; needs the engine's clock. */
  latencyMs: (sync: boolean) => number = () => 0;

  private readonly rows = new Map<string, StoredRow>();
  private reserved = 0;
  private log: LoggedTransaction[] = [];
  private failures: Error[] = [];
  private owner: MemoryEngine | undefined;
  private gate: Promise<void> | undefined;
  private openGate: (() => void) | undefined;
  private counts = { transactions: 0, syncs: 0, rows: 0, characters: 0 };

  /** The next transaction (the next `times`) rejects and changes nothing. */
  failNext(times = 1, error: Error = new EngineError('SQLITE_FULL', 'database or disk is full')): void {
    for (let count = 0; count < times; count += 1) this.failures.push(error);
  }

  /** Transactions wait until `resume`. */
  pause(): void {
    this.gate ??= new Promise((resolve) => {
      this.openGate = resolve;
    });
  }

  resume(): void {
    this.openGate?.();
    this.gate = undefined;
    this.openGate = undefined;
  }

  /**
   * Power cut: the engine in use never answers again, and of the transactions that were not synced only the first
   * `surviving` remain. Open a new engine on this disk afterwards.
   */
  crash(surviving = 0): void {
    this.owner = undefined;
    this.resume();
    this.log = this.log.slice(0, surviving);
    this.sync();
    this.failures = [];
  }

  /** Transactions that a crash would lose. */
  get unsynced(): number {
    return this.log.length;
  }

  /** What was written since the beginning. */
  get written(): Readonly<{ transactions: number; syncs: number; rows: number; characters: number }> {
    return this.counts;
  }

  /** For MemoryEngine. */
  attach(engine: MemoryEngine): void {
    if (this.owner) throw new EngineGone('another engine is open on this disk');
    this.owner = engine;
  }

  /** For MemoryEngine. */
  detach(engine: MemoryEngine): void {
    if (this.owner !== engine) return;
    this.sync();
    this.owner = undefined;
  }

  /** For MemoryEngine. */
  ownedBy(engine: MemoryEngine): boolean {
    return this.owner === engine;
  }

  /** For MemoryEngine: sorted, as a database index would return them. */
  contents(): { rows: StoredRow[]; reserved: number } {
    this.sync();
    const rows = [...this.rows.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
    return { rows, reserved: this.reserved };
  }

  /** For MemoryEngine. */
  get paused(): Promise<void> | undefined {
    return this.gate;
  }

  /** For MemoryEngine. */
  write(rows: readonly EngineRow[], sync: boolean, reserve: number | undefined): void {
    const failure = this.failures.shift();
    if (failure) throw failure;
    this.log.push({ rows, reserve });
    this.counts.transactions += 1;
    this.counts.rows += rows.length;
    for (const row of rows) this.counts.characters += row.json?.length ?? 0;
    if (sync) this.sync();
  }

  private sync(): void {
    if (this.log.length > 0) this.counts.syncs += 1;
    for (const { rows, reserve } of this.log) {
      for (const { bucket, key, revision, json } of rows) {
        if (json === undefined) this.rows.delete(rowId(bucket, key));
        else this.rows.set(rowId(bucket, key), { bucket, key, revision, json });
      }
      if (reserve !== undefined) this.reserved = reserve;
    }
    this.log = [];
  }
}

/** One process's handle on a MemoryDisk. */
export class MemoryEngine implements Engine {
  private readonly disk: MemoryDisk;
  private readonly clock: Clock | undefined;
  private busy = false;

  constructor(options: { disk?: MemoryDisk; clock?: Clock } = {}) {
    this.disk = options.disk ?? new MemoryDisk();
    this.clock = options.clock;
  }

  async open(load: (row: StoredRow) => void): Promise<{ reserved: number }> {
    this.disk.attach(this);
    const { rows, reserved } = this.disk.contents();
    for (const row of rows) load(row);
    return { reserved };
  }

  async apply(rows: readonly EngineRow[], options: { sync: boolean; reserve?: number }): Promise<void> {
    if (this.busy) throw new Error('calls are made one at a time');
    this.busy = true;
    try {
      await this.pass(options.sync);
      this.disk.write(rows, options.sync, options.reserve);
    } finally {
      this.busy = false;
    }
  }

  async close(): Promise<void> {
    this.disk.detach(this);
  }

  /** Waits as the disk says; a process that crashed meanwhile waits for ever. */
  private async pass(sync: boolean): Promise<void> {
    const latency = this.disk.latencyMs(sync);
    if (latency > 0) {
      if (!this.clock) throw new Error('a MemoryEngine with latency needs a clock');
      await sleep(this.clock, latency);
    }
    await this.disk.paused;
    if (!this.disk.ownedBy(this)) await new Promise<never>(() => {});
  }
}
