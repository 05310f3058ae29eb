import type { EngineRow, StoredRow } from './port.ts';

/** What the main thread asks of the worker; one request at a time, each answered once with the same `id`. */
export type Request =
  | { id: number; call: 'open'; file: string; options: WorkerOptions }
  | { id: number; call: 'read' }
  | { id: number; call: 'apply'; rows: readonly EngineRow[]; sync: boolean; reserve: number | undefined }
  | { id: number; call: 'close' };

export interface WorkerOptions {
  pageSize: number;
  /** Kibibytes of page cache. */
  cacheKiB: number;
  /** The write-ahead log is moved into the database when it holds about so many bytes. */
  checkpointBytes: number;
  /** Characters of JSON in one answer to `read`. */
  chunkCharacters: number;
  /** What is deleted or replaced is overwritten with zeros, so that nothing of it stays in the file. */
  secureDelete: boolean;
  /** At the close, the file is written anew: of what was ever deleted nothing stays in it. */
  vacuum: boolean;
}

export type Response =
  | { id: number; call: 'open'; reserved: number }
  /** An empty chunk is the end. */
  | { id: number; call: 'read'; rows: StoredRow[] }
  | { id: number; call: 'apply' | 'close' }
  | { id: number; call: 'error'; error: WorkerError };

export type WorkerError =
  | { kind: 'tooNew'; found: number; known: number }
  | { kind: 'corrupt'; detail: string }
  | { kind: 'inUse' }
  | { kind: 'sqlite'; code: string; message: string };
