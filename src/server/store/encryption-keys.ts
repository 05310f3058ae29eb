// The keys that Secrets are encrypted with, in a file that only the owner reads.
import { createCipheriv, createDecipheriv } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { timestamp } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';

/** In the server's directory. */
export const ENCRYPTION_KEYS_FILE = 'secrets-encryption.json';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Of Kubernetes' own encrypted values; ours differ in what follows the name of the key. */
const PREFIX = 'k8s:enc:aesgcm:v1:';

interface KeyFile {
  /** What the rows are, as far as they have been rewritten. */
  state: 'Enabled' | 'Disabled';
  /** The first encrypts; the others are needed until everything has been rewritten. */
  keys: { name: string; created: string; secret: string }[];
}

/** A row cannot be read: its key is missing, or it was changed. */
export class SecretUnreadable extends Error {
  constructor(where: string, why: string) {
    super(`${where} cannot be decrypted: ${why}`);
    this.name = 'SecretUnreadable';
  }
}

export interface EncryptionStatus {
  enabled: boolean;
  activeKey: string | undefined;
  keys: { name: string; created: string }[];
  /** Rows still have to be rewritten, which the next start does. */
  pending: boolean;
}

/** AES-256-GCM with the row's place as associated data: a row moved elsewhere does not decrypt. */
export class EncryptionKeys {
  private readonly path: string;
  private readonly random: Random;
  private file: KeyFile;

  private constructor(path: string, random: Random, file: KeyFile) {
    this.path = path;
    this.random = random;
    this.file = file;
  }

  /** Undefined when there is no key file. Throws SyntaxError or the system's error when it cannot be read. */
  static read(path: string, random: Random): EncryptionKeys | undefined {
    if (!existsSync(path)) return undefined;
    return new EncryptionKeys(path, random, JSON.parse(readFileSync(path, 'utf8')) as KeyFile);
  }

  /** With a first key. */
  static create(path: string, random: Random, now: number): EncryptionKeys {
    const keys = new EncryptionKeys(path, random, { state: 'Disabled', keys: [] });
    keys.addKey(now);
    return keys;
  }

  /** A new key for all that is written from now on. */
  addKey(now: number): void {
    const created = timestamp(now);
    // Names order by time and are unique within a second.
    const name = `key-${created.replace(/[^0-9]/g, '')}-${this.random.bytes(2).toString('hex')}`;
    const secret = this.random.bytes(KEY_BYTES).toString('base64');
    this.save({ ...this.file, keys: [{ name, created, secret }, ...this.file.keys] });
  }

  /** Everything is written as `state` demands by the first key: older keys are of no use any more. */
  settled(state: KeyFile['state']): void {
    this.save({ state, keys: this.file.keys.slice(0, 1) });
  }

  status(): EncryptionStatus {
    const { state, keys } = this.file;
    return {
      enabled: state === 'Enabled',
      activeKey: keys[0]?.name,
      keys: keys.map(({ name, created }) => ({ name, created })),
      pending: keys.length > 1,
    };
  }

  encrypt(text: string, place: string): string {
    const [key] = this.file.keys;
    if (!key) throw new Error(`${this.path} holds no key`);
    const nonce = this.random.bytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', Buffer.from(key.secret, 'base64'), nonce);
    cipher.setAAD(Buffer.from(place));
    const sealed = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return `${PREFIX}${key.name}:${sealed.toString('base64')}`;
  }

  /** Rows of before the encryption are plain JSON and come back as they are. */
  decrypt(stored: string, place: string): string {
    if (!stored.startsWith(PREFIX)) return stored;
    const end = stored.indexOf(':', PREFIX.length);
    const name = stored.slice(PREFIX.length, end);
    const key = this.file.keys.find((known) => known.name === name);
    if (!key) throw new SecretUnreadable(place, `${this.path} does not hold ${name}`);
    const sealed = Buffer.from(stored.slice(end + 1), 'base64');
    try {
      const decipher = createDecipheriv(
        'aes-256-gcm',
        Buffer.from(key.secret, 'base64'),
        sealed.subarray(0, NONCE_BYTES),
      );
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      const body = sealed.subarray(NONCE_BYTES, -TAG_BYTES);
      return Buffer.concat([decipher.update(body), decipher.final()]).toString();
    } catch {
      throw new SecretUnreadable(place, 'it was changed, or the key is another of the same name');
    }
  }

  /** Is this row written as wanted? */
  isCurrent(stored: string, encrypted: boolean): boolean {
    if (!encrypted) return !stored.startsWith(PREFIX);
    return stored.startsWith(`${PREFIX}${this.file.keys[0]?.name}:`);
  }

  /** Durable before anything is encrypted with a new key: a lost key would be lost Secrets. */
  private save(file: KeyFile): void {
    const made = `${this.path}.new`;
    const handle = openSync(made, 'w', 0o600);
    try {
      chmodSync(made, 0o600);
      writeSync(handle, `${JSON.stringify(file, null, 2)}\n`);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(made, this.path);
    const directory = openSync(dirname(this.path), 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
    this.file = file;
  }
}
