/** The store has been stopped, or was not started: the write did not happen. */
export class StoreClosed extends Error {
  constructor() {
    super('the store is not running');
    this.name = 'StoreClosed';
  }
}

/** More changes wait for the disk than the store will hold in memory: the write did not happen; try again later. */
export class StoreOverloaded extends Error {
  constructor(waiting: number) {
    super(`${waiting} changes are already waiting for the disk`);
    this.name = 'StoreOverloaded';
  }
}

/**
 * The engine could not write (disk full, I/O error, worker gone): the write did not happen as far as any reader of the
 * running store is concerned. `cause` is the engine's error.
 */
export class WriteFailed extends Error {
  constructor(cause: unknown) {
    super(`the change could not be written: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
    this.name = 'WriteFailed';
  }
}

/** The engine is gone for good (its thread ended or stopped answering); only a restart of the process helps. */
export class EngineGone extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'EngineGone';
  }
}

/** SQLite refused a statement. `code` is SQLite's, e.g. `SQLITE_FULL` or `SQLITE_IOERR_WRITE`. */
export class EngineError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(`${message} (${code})`);
    this.name = 'EngineError';
    this.code = code;
  }
}

/** The database was written by a newer version of the program. */
export class DatabaseTooNew extends Error {
  constructor(file: string, found: number, known: number) {
    super(
      `${file} has schema version ${found}, this version of copepod knows ${known}: ` +
        'it was written by a newer copepod; run that one, or restore a backup made before the upgrade',
    );
    this.name = 'DatabaseTooNew';
  }
}

/** The file is damaged or is not ours. */
export class DatabaseCorrupt extends Error {
  readonly file: string;
  constructor(file: string, detail: string) {
    super(
      `${file} is damaged or not a copepod database (${detail}): restore a backup in its place, or move ` +
        `${file}, ${file}-wal and ${file}-journal away to start with an empty cluster`,
    );
    this.name = 'DatabaseCorrupt';
    this.file = file;
  }
}

/** Another process works on the same data directory. */
export class DirectoryInUse extends Error {
  readonly directory: string;
  readonly pid: number | undefined;
  constructor(directory: string, pid: number | undefined) {
    super(
      `${directory} is in use by another copepod${pid === undefined ? '' : ` (process ${pid})`}: ` +
        'stop it, or choose another --data-dir',
    );
    this.name = 'DirectoryInUse';
    this.directory = directory;
    this.pid = pid;
  }
}
