import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { parentPort } from 'node:worker_threads';
import Database from 'better-sqlite3';
import type { EngineRow, StoredRow } from './port.ts';
import type { Request, Response, WorkerError, WorkerOptions } from './sqlite-protocol.ts';

/** Raise it together with a migration in `migrate`. */
const SCHEMA_VERSION = 1;
/** "CPOD": `file` and this program know the database by it. */
const APPLICATION_ID = 0x43504f44;

const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  -- With a rowid, so that a new object is appended to the table and shares pages with others of its batch, and an update
  -- leaves the index alone.
  CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    revision INTEGER NOT NULL,
    json TEXT NOT NULL,
    UNIQUE (bucket, key)
  );
`;

/** A failure that the main thread turns into its own typed error. */
class Refusal extends Error {
  readonly error: WorkerError;
  constructor(error: WorkerError) {
    super(error.kind);
    this.error = error;
  }
}

/** The database, used from one thread by one request at a time. */
class ObjectDatabase {
  private readonly file: string;
  private readonly options: WorkerOptions;
  private readonly database: Database.Database;
  private readonly put: Database.Statement;
  private readonly remove: Database.Statement;
  private readonly setMeta: Database.Statement;
  private readonly begin: Database.Statement;
  private readonly end: Database.Statement;
  private readonly undo: Database.Statement;
  private reading: IterableIterator<StoredRow> | undefined;
  private synchronous: 'FULL' | 'NORMAL' = 'FULL';
  /** A guess at what the log has grown by since the last checkpoint. */
  private logBytes = 0;

  constructor(file: string, options: WorkerOptions) {
    this.file = file;
    this.options = options;
    // Secrets are in it: nobody but the owner may read it. The log takes over the file's mode.
    closeSync(openSync(file, 'a', 0o600));
    this.database = new Database(file, { timeout: 0 });
    try {
      this.prepare();
      this.migrate();
    } catch (error) {
      this.database.close();
      throw error;
    }
    const database = this.database;
    this.put = database.prepare(
      `INSERT INTO objects (bucket, key, revision, json) VALUES (?, ?, ?, ?)
       ON CONFLICT (bucket, key) DO UPDATE SET revision = excluded.revision, json = excluded.json`,
    );
    this.remove = database.prepare('DELETE FROM objects WHERE bucket = ? AND key = ?');
    this.setMeta = database.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)');
    this.begin = database.prepare('BEGIN IMMEDIATE');
    this.end = database.prepare('COMMIT');
    this.undo = database.prepare('ROLLBACK');
  }

  reserved(): number {
    return this.meta('reserved') ?? 0;
  }

  /** The next rows, sorted by bucket and key; none at the end. */
  read(): StoredRow[] {
    const statement = 'SELECT bucket, key, revision, json FROM objects ORDER BY bucket, key';
    this.reading ??= this.database.prepare<[], StoredRow>(statement).iterate();
    const rows: StoredRow[] = [];
    for (let characters = 0; characters < this.options.chunkCharacters; ) {
      const next = this.reading.next();
      if (next.done) break;
      rows.push(next.value);
      characters += next.value.json.length;
    }
    if (rows.length === 0) this.reading = undefined;
    return rows;
  }

  apply(rows: readonly EngineRow[], sync: boolean, reserve: number | undefined): void {
    this.setSynchronous(sync ? 'FULL' : 'NORMAL');
    this.begin.run();
    try {
      for (const row of rows) {
        if (row.json === undefined) this.remove.run(row.bucket, row.key);
        else this.put.run(row.bucket, row.key, row.revision, row.json);
      }
      if (reserve !== undefined) this.setMeta.run('reserved', reserve);
      this.end.run();
    } catch (error) {
      if (this.database.inTransaction) this.undo.run();
      throw error;
    }
    for (const row of rows) this.logBytes += (row.json?.length ?? 0) + 2 * this.options.pageSize;
  }

  /** Between two requests, so that nobody waits for it. */
  checkpointIfDue(): void {
    if (this.logBytes < this.options.checkpointBytes) return;
    this.logBytes = 0;
    this.database.pragma('wal_checkpoint(PASSIVE)');
  }

  /** Moves the log into the database and removes it. */
  close(): void {
    this.setSynchronous('FULL');
    if (this.options.vacuum) this.database.exec('VACUUM');
    this.database.close();
  }

  private prepare(): void {
    const database = this.database;
    database.pragma(`page_size = ${this.options.pageSize}`);
    // Kernel locks keep a second process out, and without sharing there is no -shm file to write.
    database.pragma('locking_mode = EXCLUSIVE');
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma(`cache_size = -${this.options.cacheKiB}`);
    database.pragma('temp_store = MEMORY');
    if (this.options.secureDelete) database.pragma('secure_delete = ON');
    // Only a net under checkpointIfDue, which works between requests.
    database.pragma(
      `wal_autocheckpoint = ${Math.ceil((4 * this.options.checkpointBytes) / this.options.pageSize)}`,
    );
    database.pragma(`journal_size_limit = ${4 * this.options.checkpointBytes}`);
  }

  private migrate(): void {
    const tables = this.database
      .prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")
      .pluck()
      .get();
    const version = tables === 0 ? this.create() : this.schemaVersion();
    if (version > SCHEMA_VERSION)
      throw new Refusal({ kind: 'tooNew', found: version, known: SCHEMA_VERSION });
  }

  private create(): number {
    this.database.transaction(() => {
      this.database.exec(SCHEMA);
      this.database.pragma(`application_id = ${APPLICATION_ID}`);
      this.database.prepare("INSERT INTO meta (name, value) VALUES ('schema', ?)").run(SCHEMA_VERSION);
    })();
    this.syncDirectory();
    return SCHEMA_VERSION;
  }

  private schemaVersion(): number {
    if (this.database.pragma('application_id', { simple: true }) !== APPLICATION_ID) {
      throw new Refusal({ kind: 'corrupt', detail: 'made by another program' });
    }
    const version = this.meta('schema');
    if (version === undefined) throw new Refusal({ kind: 'corrupt', detail: 'no schema version' });
    return version;
  }

  private meta(name: string): number | undefined {
    return this.database.prepare('SELECT value FROM meta WHERE name = ?').pluck().get(name) as
      | number
      | undefined;
  }

  /** SQLite itself says when a pragma inside a transaction is ignored; ours are always outside. */
  private setSynchronous(level: 'FULL' | 'NORMAL'): void {
    if (this.synchronous === level) return;
    this.database.pragma(`synchronous = ${level}`);
    this.synchronous = level;
  }

  /** A new file is only there after a power cut when its directory entry is. */
  private syncDirectory(): void {
    const directory = openSync(dirname(this.file), 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }
}

function describe(error: unknown): WorkerError {
  if (error instanceof Refusal) return error.error;
  const { code = 'UNKNOWN', message } = error as { code?: string; message: string };
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB')
    return { kind: 'corrupt', detail: message };
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) return { kind: 'inUse' };
  return { kind: 'sqlite', code, message };
}

function serve(port: NonNullable<typeof parentPort>): void {
  let database: ObjectDatabase | undefined;

  const answer = (request: Request): Response => {
    if (request.call === 'open') {
      database = new ObjectDatabase(request.file, request.options);
      return { id: request.id, call: 'open', reserved: database.reserved() };
    }
    if (!database) throw new Error('the database is not open');
    if (request.call === 'read') return { id: request.id, call: 'read', rows: database.read() };
    if (request.call === 'apply') database.apply(request.rows, request.sync, request.reserve);
    if (request.call === 'close') database.close();
    return { id: request.id, call: request.call };
  };

  port.on('message', (request: Request) => {
    try {
      port.postMessage(answer(request));
    } catch (error) {
      port.postMessage({ id: request.id, call: 'error', error: describe(error) } satisfies Response);
    }
    if (request.call === 'close') return port.close();
    // A failed checkpoint loses nothing: the log keeps what it has, and the next one tries again.
    if (request.call === 'apply') {
      try {
        database?.checkpointIfDue();
      } catch {}
    }
  });
}

if (parentPort) serve(parentPort);
