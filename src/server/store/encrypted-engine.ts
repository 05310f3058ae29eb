import type { EncryptionKeys } from './encryption-keys.ts';
import type { Engine, EngineRow, StoredRow } from './port.ts';

const ENCRYPTED = new Set(['secrets']);

/** An engine whose rows of Secrets are encrypted; to the store, and so to memory and watches, they are plain. */
export class EncryptedEngine implements Engine {
  private readonly engine: Engine;
  private readonly keys: EncryptionKeys;
  private readonly encrypts: boolean;

  /** `encrypts` false: what is encrypted is read, and written plain. */
  constructor(options: { engine: Engine; keys: EncryptionKeys; encrypts: boolean }) {
    this.engine = options.engine;
    this.keys = options.keys;
    this.encrypts = options.encrypts;
  }

  /** Rejects with SecretUnreadable as well. */
  open(load: (row: StoredRow) => void): Promise<{ reserved: number }> {
    return this.engine.open((row) =>
      load(ENCRYPTED.has(row.bucket) ? { ...row, json: this.keys.decrypt(row.json, placeOf(row)) } : row),
    );
  }

  apply(rows: readonly EngineRow[], options: { sync: boolean; reserve?: number }): Promise<void> {
    return this.engine.apply(this.encrypts ? rows.map((row) => this.sealed(row)) : rows, options);
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  private sealed(row: EngineRow): EngineRow {
    if (row.json === undefined || !ENCRYPTED.has(row.bucket)) return row;
    return { ...row, json: this.keys.encrypt(row.json, placeOf(row)) };
  }
}

/**
 * Rewrites what is not written as wanted: plain rows of before, rows of an older key, encrypted ones when encryption was
 * turned off. `engine` is of this alone: opened and closed here, so that its log, too, is gone afterwards. Returns how many
 * rows were rewritten. Until it has ended, all keys stay; a crash inside is made good by the next start.
 */
export async function rewriteSecrets(options: {
  engine: Engine;
  keys: EncryptionKeys;
  encrypt: boolean;
}): Promise<number> {
  const { engine, keys, encrypt } = options;
  const rows: EngineRow[] = [];
  try {
    await engine.open((row) => {
      if (!ENCRYPTED.has(row.bucket) || keys.isCurrent(row.json, encrypt)) return;
      const place = placeOf(row);
      const plain = keys.decrypt(row.json, place);
      rows.push({ ...row, json: encrypt ? keys.encrypt(plain, place) : plain });
    });
    if (rows.length > 0) await engine.apply(rows, { sync: true });
  } finally {
    await engine.close();
  }
  keys.settled(encrypt ? 'Enabled' : 'Disabled');
  return rows.length;
}

const placeOf = ({ bucket, key }: { bucket: string; key: string }): string => `${bucket}/${key}`;
