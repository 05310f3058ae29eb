import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type Clock, withTimeout } from '../../lib/clock.ts';
import { DatabaseCorrupt, DatabaseTooNew, DirectoryInUse, EngineError, EngineGone } from './errors.ts';
import type { Engine, EngineRow, StoredRow } from './port.ts';
import type { Request, Response, WorkerError, WorkerOptions } from './sqlite-protocol.ts';

const DEFAULT_WORKER: WorkerOptions = {
  // Measured (bench/store.ts): smaller pages write less per change, larger ones only help reading, which is rare.
  pageSize: 2048,
  cacheKiB: 512,
  checkpointBytes: 2 * 1024 * 1024,
  chunkCharacters: 256 * 1024,
  secureDelete: false,
  vacuum: false,
};

type Call = Request extends infer Each ? (Each extends Request ? Omit<Each, 'id'> : never) : never;

/**
 * SQLite in a worker thread: an fsync on an SD card takes up to hundreds of milliseconds and must not stop the event
 * loop. When the worker ends or does not answer in time, the engine is gone for good (EngineGone for all calls, one call
 * of onFailure): whether its last transaction reached the disk is not known, and only a restart finds out.
 */
export class SqliteEngine implements Engine {
  private readonly file: string;
  private readonly clock: Clock;
  private readonly workerUrl: URL;
  private readonly workerOptions: WorkerOptions;
  private readonly deadlineMs: number;
  private readonly onFailure: (error: EngineGone) => void;
  private worker: Worker | undefined;
  private gone: EngineGone | undefined;
  private closing = false;
  private nextId = 1;
  private readonly pending = new Map<
    number,
    { resolve: (response: Response) => void; reject: (error: Error) => void }
  >();

  constructor(options: {
    /** The database; its directory must exist. */
    file: string;
    clock: Clock;
    /** The worker's entry; in the bundle `new URL('./store-worker.js', import.meta.url)`. */
    workerUrl?: URL;
    worker?: Partial<WorkerOptions>;
    /** The longest that one call may take. An SD card that collects its garbage can stall for many seconds. */
    deadlineMs?: number;
    /** Called once when the worker is lost: the process should end and be restarted. */
    onFailure?: (error: EngineGone) => void;
  }) {
    this.file = options.file;
    this.clock = options.clock;
    this.workerUrl = options.workerUrl ?? new URL('./sqlite-worker.ts', import.meta.url);
    this.workerOptions = { ...DEFAULT_WORKER, ...options.worker };
    this.deadlineMs = options.deadlineMs ?? 60_000;
    this.onFailure = options.onFailure ?? (() => {});
  }

  async open(load: (row: StoredRow) => void): Promise<{ reserved: number }> {
    const worker = new Worker(this.workerUrl, {
      name: 'store',
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2 },
      // The worker runs nothing that the process was told to preload (loaders of a test runner, inspectors).
      execArgv: [],
      env: {},
    });
    this.worker = worker;
    worker.on('message', (response: Response) => this.receive(response));
    worker.on('error', (error) => this.lose(`the store's thread failed: ${String(error)}`));
    worker.on('exit', (code) => this.lose(`the store's thread ended with code ${code}`));
    try {
      return await this.load(load);
    } catch (error) {
      this.closing = true;
      await worker.terminate();
      throw error;
    }
  }

  async apply(rows: readonly EngineRow[], options: { sync: boolean; reserve?: number }): Promise<void> {
    await this.call({ call: 'apply', rows, sync: options.sync, reserve: options.reserve });
  }

  async close(): Promise<void> {
    if (!this.worker || this.closing) return;
    this.closing = true;
    try {
      if (!this.gone) await this.call({ call: 'close' });
    } finally {
      await this.worker.terminate();
    }
  }

  private async load(load: (row: StoredRow) => void): Promise<{ reserved: number }> {
    const opened = await this.call({ call: 'open', file: this.file, options: this.workerOptions });
    for (;;) {
      const chunk = await this.call({ call: 'read' });
      if (chunk.call !== 'read' || chunk.rows.length === 0) break;
      for (const row of chunk.rows) this.loadRow(row, load);
    }
    return { reserved: opened.call === 'open' ? opened.reserved : 0 };
  }

  private loadRow(row: StoredRow, load: (row: StoredRow) => void): void {
    try {
      load(row);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new DatabaseCorrupt(this.file, `${row.bucket} ${row.key}: ${error.message}`);
    }
  }

  private async call(call: Call): Promise<Response> {
    const { worker } = this;
    if (!worker) throw new EngineGone('the engine is not open');
    if (this.gone) throw this.gone;
    const id = this.nextId;
    this.nextId += 1;
    const answer = new Promise<Response>((resolve, reject) => this.pending.set(id, { resolve, reject }));
    worker.postMessage({ ...call, id });
    const late = (): Error => this.lose(`the store's thread did not answer for ${this.deadlineMs} ms`);
    return await withTimeout(this.clock, this.deadlineMs, answer, late);
  }

  private receive(response: Response): void {
    const pending = this.pending.get(response.id);
    this.pending.delete(response.id);
    if (response.call === 'error') pending?.reject(this.toError(response.error));
    else pending?.resolve(response);
  }

  private toError(error: WorkerError): Error {
    switch (error.kind) {
      case 'tooNew':
        return new DatabaseTooNew(this.file, error.found, error.known);
      case 'corrupt':
        return new DatabaseCorrupt(this.file, error.detail);
      case 'inUse':
        return new DirectoryInUse(dirname(this.file), undefined);
      case 'sqlite':
        return new EngineError(error.code, error.message);
    }
  }

  private lose(reason: string): EngineGone {
    if (this.gone) return this.gone;
    const error = new EngineGone(reason);
    this.gone = error;
    const pending = [...this.pending.values()];
    this.pending.clear();
    for (const { reject } of pending) reject(error);
    if (!this.closing) {
      void this.worker?.terminate();
      this.onFailure(error);
    }
    return error;
  }
}
