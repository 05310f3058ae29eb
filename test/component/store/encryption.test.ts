import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import { secretsEncrypt } from '../../../src/server/secrets-encrypt.ts';
import { EncryptedEngine, rewriteSecrets } from '../../../src/server/store/encrypted-engine.ts';
import { EncryptionKeys, SecretUnreadable } from '../../../src/server/store/encryption-keys.ts';
import type { Engine, StoredRow } from '../../../src/server/store/port.ts';
import { SqliteEngine } from '../../../src/server/store/sqlite-engine.ts';

const clock = new SystemClock();
const random = new SystemRandom();
let folder: string;
let keyFile: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'copepod-encryption-'));
  keyFile = join(folder, 'keys.json');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const WORDS = 'correct horse battery staple';
const sqlite = (worker = {}): SqliteEngine =>
  new SqliteEngine({ file: join(folder, 'store.db'), clock, worker });
const row = (bucket: string, key: string, text = WORDS) => ({
  bucket,
  key,
  revision: 1,
  json: JSON.stringify({ text }),
});

async function within<T>(engine: Engine, use: (rows: StoredRow[]) => Promise<T> | T): Promise<T> {
  const rows: StoredRow[] = [];
  await engine.open((stored) => rows.push(stored));
  try {
    return await use(rows);
  } finally {
    await engine.close();
  }
}

/** Everything that is on the disk, the log included. */
const onDisk = (): string =>
  readdirSync(folder)
    .filter((name) => name.startsWith('store.db'))
    .map((name) => readFileSync(join(folder, name), 'latin1'))
    .join('\n');

const rewrite = (keys: EncryptionKeys, encrypt: boolean): Promise<number> =>
  rewriteSecrets({ engine: sqlite({ secureDelete: true, vacuum: true }), keys, encrypt });

test('Secrets are unreadable on the disk, while it is written as well, and plain to who opens the engine', async () => {
  const keys = EncryptionKeys.create(keyFile, random, clock.now());
  const made = (): Engine => new EncryptedEngine({ engine: sqlite(), keys, encrypts: true });
  await within(made(), async () => {});
  const engine = made();
  await engine.open(() => {});
  await engine.apply([row('secrets', 'a/b'), row('configmaps', 'a/b', 'not secret')], { sync: true });
  expect(onDisk()).not.toContain(WORDS);
  expect(onDisk()).toContain('not secret');
  await engine.close();
  expect(onDisk()).not.toContain(WORDS);
  await within(made(), (rows) =>
    expect(rows.map(({ bucket, json }) => [bucket, JSON.parse(json).text])).toEqual([
      ['configmaps', 'not secret'],
      ['secrets', WORDS],
    ]),
  );
});

test('plain rows of before are read, rewritten, and leave nothing behind in the file', async () => {
  await within(sqlite(), async (_rows) => {});
  const plain = sqlite();
  await plain.open(() => {});
  await plain.apply([row('secrets', 'a/b')], { sync: true });
  // An older state of it, whose place in the file is free by now.
  await plain.apply([row('secrets', 'a/gone', `${WORDS} ${'x'.repeat(5000)}`)], { sync: true });
  await plain.apply([{ bucket: 'secrets', key: 'a/gone', revision: 2, json: undefined }], { sync: true });
  await plain.close();
  expect(onDisk()).toContain(WORDS);
  const keys = EncryptionKeys.create(keyFile, random, clock.now());
  expect(await rewrite(keys, true)).toBe(1);
  expect(onDisk()).not.toContain(WORDS);
  expect(keys.status()).toMatchObject({ enabled: true, pending: false });
  await within(new EncryptedEngine({ engine: sqlite(), keys, encrypts: true }), (rows) =>
    expect(JSON.parse(rows[0]?.json ?? '').text).toBe(WORDS),
  );
  // And back: what is switched off is plain again.
  expect(await rewrite(keys, false)).toBe(1);
  expect(onDisk()).toContain(WORDS);
});

test('a rotation makes a new key, rewrites with it, and drops the old one', async () => {
  const keys = EncryptionKeys.create(keyFile, random, clock.now());
  await rewrite(keys, true);
  const engine = new EncryptedEngine({ engine: sqlite(), keys, encrypts: true });
  await engine.open(() => {});
  await engine.apply([row('secrets', 'a/b')], { sync: true });
  await engine.close();
  const old = keys.status().activeKey ?? '';
  expect(onDisk()).toContain(old);
  keys.addKey(clock.now());
  expect(keys.status()).toMatchObject({ pending: true });
  // Between the two, everything can be read.
  const reread = EncryptionKeys.read(keyFile, random) as EncryptionKeys;
  expect(await rewrite(reread, true)).toBe(1);
  expect(reread.status().keys).toHaveLength(1);
  expect(onDisk()).not.toContain(old);
  expect(readFileSync(keyFile, 'utf8')).not.toContain(old);
  expect(await rewrite(reread, true)).toBe(0);
});

test('the key file is its owner’s alone; without it, or with a row moved, nothing is read', async () => {
  const keys = EncryptionKeys.create(keyFile, random, clock.now());
  expect(statSync(keyFile).mode & 0o777).toBe(0o600);
  const sealed = keys.encrypt('text', 'secrets/a/b');
  expect(keys.decrypt(sealed, 'secrets/a/b')).toBe('text');
  expect(() => keys.decrypt(sealed, 'secrets/a/c')).toThrow(SecretUnreadable);
  expect(() => keys.decrypt(`${sealed.slice(0, -6)}AAAA==`, 'secrets/a/b')).toThrow(SecretUnreadable);
  expect(keys.encrypt('text', 'secrets/a/b')).not.toBe(sealed);
  const other = EncryptionKeys.create(join(folder, 'other.json'), random, clock.now());
  expect(() => other.decrypt(sealed, 'secrets/a/b')).toThrow(/does not hold key-/);
});

test('the command shows and rotates', async () => {
  const data = join(folder, 'data');
  expect(secretsEncrypt('status', data, clock, random).text).toContain('not encrypted');
  expect(secretsEncrypt('rotate', data, clock, random).code).toBe(1);
  expect(existsSync(join(data, 'server'))).toBe(false);
});
