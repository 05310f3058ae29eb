import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database, Statement } from 'better-sqlite3';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Service } from '../lib/service.ts';

/**
 * What the journal keeps. Secrets and tokens are encrypted.
 * `pod` by uid: Pod · `config` by digest key: ConfigMap · `secret` by digest key: Secret · `service`, `node`, `policy`, `ingress` by name ·
 * `status` by pod uid: the last PodStatus · `token` by request · `image` by id: what copepod pulled · `archive` by file name: what
 * was loaded of it · `fact` by name (cluster, identity, clock floor, …).
 */
export type JournalKind =
  | 'pod'
  | 'config'
  | 'secret'
  | 'service'
  | 'node'
  | 'policy'
  | 'ingress'
  | 'status'
  | 'token'
  | 'image'
  | 'archive'
  | 'fact';

const ENCRYPTED: ReadonlySet<JournalKind> = new Set(['secret', 'token', 'image']);
/** Raised when the tables change shape; a journal of another version is moved aside, as one that is broken. */
const SCHEMA_VERSION = 1;
/** Changes are collected for so long and written in one transaction: kind to flash when twenty pods arrive at once. */
const FLUSH_DELAY_MS = 500;
/** After a failure, if nothing changes before. */
const RETRY_MS = 30_000;
const CLOCK_FLOOR = 'clockFloor';
const SYNCED = 'synced';

/**
 * The agent's memory over restarts and power cuts: what a cold boot without a server starts from. All of it is held by
 * the parts that own it; the file is read once at start and written on real changes only. WAL without fsync per
 * transaction: a power cut can cost the last seconds, never the whole.
 */
export class Journal implements Service {
  private readonly directory: string;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly pending = new Map<string, { kind: JournalKind; key: string; json: string | undefined }>();
  private entries = new Map<string, Map<string, string>>();
  private database: Database | undefined;
  private encryptionKey: Buffer | undefined;
  private timer: Timer | undefined;
  private upsert: Statement | undefined;
  private remove: Statement | undefined;

  constructor(options: {
    /** Made with mode 0700 when missing; holds journal.db and journal.key. */
    directory: string;
    clock: Clock;
    logger: Logger;
  }) {
    this.directory = options.directory;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  /** Opens and reads everything. A journal that cannot be read is moved aside, and an empty one begun. */
  async start(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    this.encryptionKey = await this.readKey();
    try {
      await this.open();
    } catch (error) {
      this.close();
      if (isFull(error)) {
        await this.open({ alone: true });
        this.logger.error({ err: error }, 'the disk is full: what the agent learns now may be forgotten');
        return;
      }
      const aside = await this.moveAside();
      this.logger.error(
        { err: error, movedTo: aside },
        'the agent’s journal is unreadable: it was moved aside and a new one begun; pods start when the server is reached',
      );
      await this.open();
    }
  }

  async stop(): Promise<void> {
    this.flush();
    this.close();
  }

  /** All entries of a kind as they were when the journal was opened; read once, by the part that owns them. */
  take<T>(kind: JournalKind): Map<string, T> {
    const found = new Map<string, T>();
    for (const [key, json] of this.entries.get(kind) ?? []) found.set(key, JSON.parse(json) as T);
    this.entries.delete(kind);
    return found;
  }

  /** One fact, as it was when the journal was opened. */
  fact<T>(name: string): T | undefined {
    const json = this.entries.get('fact')?.get(name);
    return json === undefined ? undefined : (JSON.parse(json) as T);
  }

  put(kind: JournalKind, key: string, value: object | string | number): void {
    this.note(kind, key, JSON.stringify(value));
  }

  delete(kind: JournalKind, key: string): void {
    this.note(kind, key, undefined);
  }

  /** The latest wall time that is known to have been: a board without a clock battery starts before it. */
  get clockFloor(): number {
    return this.fact<number>(CLOCK_FLOOR) ?? 0;
  }

  /** Writes what waits, in one transaction, with the present as the new clock floor. */
  flush(): void {
    this.timer?.cancel();
    this.timer = undefined;
    const { database } = this;
    if (!database || this.pending.size === 0) return;
    const changes = [...this.pending.values()];
    this.pending.clear();
    const now = this.clock.now();
    if (now > this.clockFloor) changes.push({ kind: 'fact', key: CLOCK_FLOOR, json: JSON.stringify(now) });
    try {
      database.transaction(() => {
        for (const { kind, key, json } of changes) {
          if (json === undefined) this.remove?.run(kind, key);
          else this.upsert?.run(kind, key, ENCRYPTED.has(kind) ? this.encrypt(kind, key, json) : json);
        }
      })();
    } catch (error) {
      // A full or read-only disk: the agent goes on from memory, and tries again, with the next change or after a while.
      for (const change of changes) {
        const id = `${change.kind}/${change.key}`;
        if (!this.pending.has(id)) this.pending.set(id, change);
      }
      this.timer ??= this.clock.after(RETRY_MS, () => this.flush());
      this.logger.error(
        { err: error, waiting: this.pending.size },
        'the agent’s journal could not be written',
      );
    }
  }

  /** Everything noted so far is on stable storage when this returns (a WAL is synced as a whole). Costs an fsync. */
  sync(): void {
    const { database } = this;
    if (!database) return;
    // Also when nothing waits: what was written before may not be on the disk yet.
    this.note('fact', SYNCED, JSON.stringify(this.clock.now()));
    database.pragma('synchronous = FULL');
    try {
      this.flush();
    } finally {
      database.pragma('synchronous = NORMAL');
    }
  }

  private note(kind: JournalKind, key: string, json: string | undefined): void {
    this.pending.set(`${kind}/${key}`, { kind, key, json });
    this.timer ??= this.clock.after(FLUSH_DELAY_MS, () => this.flush());
  }

  private async open({ alone = false } = {}): Promise<void> {
    const { default: Sqlite } = await import('better-sqlite3');
    const path = join(this.directory, 'journal.db');
    const database = new Sqlite(path);
    this.database = database;
    await chmod(path, 0o600);
    // Without others the index of the WAL is in memory, not in a file that a full disk has no room for.
    if (alone) database.pragma('locking_mode = EXCLUSIVE');
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = NORMAL');
    // A checkpoint rewrites pages: rarely, and before the WAL costs disk that a board may not have.
    database.pragma('wal_autocheckpoint = 500');
    database.pragma('cache_size = -512');
    const version = database.pragma('user_version', { simple: true });
    if (version !== 0 && version !== SCHEMA_VERSION) throw new Error(`journal of version ${String(version)}`);
    // Not again when it is there: a full disk can be read.
    if (version === 0)
      database.exec(
        'CREATE TABLE IF NOT EXISTS entries (kind TEXT, key TEXT, value BLOB, PRIMARY KEY (kind, key)) WITHOUT ROWID',
      );
    if (version === 0) database.pragma(`user_version = ${SCHEMA_VERSION}`);
    const check = database.pragma('quick_check(1)', { simple: true });
    if (check !== 'ok') throw new Error(`journal is damaged: ${String(check)}`);
    this.upsert = database.prepare(
      'INSERT INTO entries (kind, key, value) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value',
    );
    this.remove = database.prepare('DELETE FROM entries WHERE kind = ? AND key = ?');
    const rows = database.prepare('SELECT kind, key, value FROM entries').iterate() as IterableIterator<{
      kind: JournalKind;
      key: string;
      value: string | Buffer;
    }>;
    const entries = new Map<string, Map<string, string>>();
    for (const { kind, key, value } of rows) {
      const json = typeof value === 'string' ? value : this.decrypt(kind, key, value);
      if (json === undefined) continue;
      let ofKind = entries.get(kind);
      if (!ofKind) {
        ofKind = new Map();
        entries.set(kind, ofKind);
      }
      ofKind.set(key, json);
    }
    this.entries = entries;
  }

  private close(): void {
    this.timer?.cancel();
    this.timer = undefined;
    this.upsert = undefined;
    this.remove = undefined;
    this.database?.close();
    this.database = undefined;
  }

  private async moveAside(): Promise<string> {
    const suffix = `unreadable-${Math.floor(this.clock.now() / 1000)}`;
    const target = join(this.directory, `journal.db.${suffix}`);
    for (const part of ['', '-wal', '-shm']) {
      await rename(join(this.directory, `journal.db${part}`), `${target}${part}`).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      });
    }
    return target;
  }

  /** The key lies beside the file that it protects: it is against a copied database or a lost backup, not against root. */
  private async readKey(): Promise<Buffer> {
    const path = join(this.directory, 'journal.key');
    try {
      const key = await readFile(path);
      if (key.length === 32) return key;
      this.logger.warn({ path }, 'the journal’s key is damaged and replaced; journalled secrets are lost');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const key = randomBytes(32);
    await writeFile(`${path}.new`, key, { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
    return key;
  }

  /** AES-256-GCM: nonce (12 bytes), tag (16), text. Bound to its place, so that entries cannot be exchanged. */
  private encrypt(kind: string, key: string, json: string): Buffer {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.encryptionKey as Buffer, nonce);
    cipher.setAAD(Buffer.from(`${kind}/${key}`));
    const body = Buffer.concat([cipher.update(json, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), body]);
  }

  /** Undefined when it was written with another key: the server sends it again. */
  private decrypt(kind: string, key: string, value: Buffer): string | undefined {
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.encryptionKey as Buffer, value.subarray(0, 12));
      decipher.setAAD(Buffer.from(`${kind}/${key}`));
      decipher.setAuthTag(value.subarray(12, 28));
      return Buffer.concat([decipher.update(value.subarray(28)), decipher.final()]).toString('utf8');
    } catch (error) {
      this.logger.warn({ err: error, kind, key }, 'a journalled secret cannot be decrypted and is left out');
      return undefined;
    }
  }
}

/** No room, which says nothing about the file itself. */
function isFull(error: unknown): boolean {
  const { code = '' } = error as { code?: string };
  return code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE' || code === 'SQLITE_IOERR_WRITE';
}
