import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.ts';
import { lockDirectory } from '../../../src/server/store/directory-lock.ts';
import {
  DatabaseCorrupt,
  DatabaseTooNew,
  DirectoryInUse,
  EngineError,
  EngineGone,
} from '../../../src/server/store/errors.ts';
import { SqliteEngine } from '../../../src/server/store/sqlite-engine.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

let directory: string;
let file: string;
let engines: SqliteEngine[];

function engine(options: Partial<ConstructorParameters<typeof SqliteEngine>[0]> = {}): SqliteEngine {
  const made = new SqliteEngine({ file, clock: new SystemClock(), ...options });
  engines.push(made);
  return made;
}

const open = (made: SqliteEngine) => made.open(() => {});
const row = (key: string, revision: number, json = '{}') => ({ bucket: 'pods', key, revision, json });

async function fill(): Promise<void> {
  const writer = engine();
  await open(writer);
  const rows = Array.from({ length: 50 }, (_, index) =>
    row(`a/${index}`, index + 1, `"${'x'.repeat(2000)}"`),
  );
  await writer.apply(rows, { sync: true });
  await writer.close();
}

/** A worker of the test's own making. */
const script = (code: string): URL => new URL(`data:text/javascript,${encodeURIComponent(code)}`);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'copepod-sqlite-'));
  file = join(directory, 'store.db');
  engines = [];
});
afterEach(async () => {
  for (const each of engines) await each.close().catch(() => {});
  rmSync(directory, { recursive: true, force: true });
});

test('the files are for their owner only, and closing leaves just the database', async () => {
  const first = engine();
  await open(first);
  await first.apply([row('a', 1)], { sync: true });
  for (const suffix of ['', '-wal']) expect(statSync(file + suffix).mode & 0o777).toBe(0o600);
  expect(() => statSync(`${file}-shm`)).toThrow();
  await first.close();
  expect(() => statSync(`${file}-wal`)).toThrow();
});

test('the log is bounded: it moves into the database between two batches', async () => {
  const writer = engine({ worker: { checkpointBytes: 256 * 1024 } });
  await open(writer);
  for (let round = 0; round < 400; round += 1) {
    await writer.apply([row(`a/${round % 7}`, round, `"${'x'.repeat(4000)}"`)], { sync: false });
  }
  expect(statSync(`${file}-wal`).size).toBeLessThan(600 * 1024);
});

test('a database of a newer version is refused with what to do', async () => {
  await fill();
  const database = new Database(file);
  database.exec("UPDATE meta SET value = 99 WHERE name = 'schema'");
  database.close();
  const attempt = open(engine());
  await expect(attempt).rejects.toThrow(DatabaseTooNew);
  await expect(attempt).rejects.toThrow(/schema version 99.*newer copepod/);
});

test.each<[string, () => void]>([
  [
    'no database at all',
    () => writeFileSync(file, 'this is a text, and long enough to have a header'.repeat(99)),
  ],
  ['cut off', () => truncateSync(file, 40_000)],
  [
    'of another program',
    () => {
      rmSync(file);
      new Database(file).exec('CREATE TABLE theirs (x)').close();
    },
  ],
  [
    'with an object that is no JSON',
    () => new Database(file).exec("UPDATE objects SET json = '{' WHERE key = 'a/7'").close(),
  ],
])('a file that is %s is named, and nothing else happens to it', async (_, damage) => {
  await fill();
  damage();
  const attempt = engine().open(({ json }) => JSON.parse(json));
  await expect(attempt).rejects.toThrow(DatabaseCorrupt);
  await expect(attempt).rejects.toThrow(`${file} is damaged`);
});

test('a second engine on the same database is refused while the first lives', async () => {
  const first = engine();
  await open(first);
  await expect(open(engine())).rejects.toThrow(DirectoryInUse);
  await first.apply([row('a', 1)], { sync: true });
  await first.close();
  await open(engine());
});

test('the lock of a directory keeps a second process out, names the first, and ends with release', async () => {
  const lock = await lockDirectory(directory);
  await expect(lockDirectory(directory)).rejects.toThrow(DirectoryInUse);
  await expect(lockDirectory(directory)).rejects.toMatchObject({ pid: process.pid });
  lock.release();
  (await lockDirectory(directory)).release();
});

test('a failed transaction leaves nothing of itself and the engine goes on', async () => {
  const writer = engine();
  await open(writer);
  const attempt = writer.apply([row('a/1', 1)], { sync: true, reserve: null as unknown as number });
  await expect(attempt).rejects.toThrow(EngineError);
  await expect(attempt).rejects.toMatchObject({ code: 'SQLITE_CONSTRAINT_NOTNULL' });
  await writer.apply([row('a/2', 2)], { sync: true });
  await writer.close();
  const keys: string[] = [];
  await engine().open(({ key }) => keys.push(key));
  expect(keys).toEqual(['a/2']);
});

test('a worker that ends fails what is pending and everything after, and says so once', async () => {
  const failures: EngineGone[] = [];
  const dying = engine({
    workerUrl: script(`import { parentPort } from 'node:worker_threads';
      parentPort.on('message', ({ id, call }) => {
        if (call === 'apply') process.exit(7);
        parentPort.postMessage({ id, call, reserved: 0, rows: [] });
      });`),
    onFailure: (error) => failures.push(error),
  });
  await open(dying);
  await expect(dying.apply([row('a', 1)], { sync: true })).rejects.toThrow('ended with code 7');
  await expect(dying.apply([row('a', 1)], { sync: true })).rejects.toThrow(EngineGone);
  expect(failures).toHaveLength(1);
});

test('a worker that throws outside a request is gone, too', async () => {
  const failures: EngineGone[] = [];
  const broken = engine({
    workerUrl: script(`throw new Error('cannot load')`),
    onFailure: (error) => failures.push(error),
  });
  await expect(open(broken)).rejects.toThrow('cannot load');
  expect(failures).toHaveLength(1);
});

test('a worker that does not answer within the deadline is given up', async () => {
  const clock = new VirtualClock();
  const failures: EngineGone[] = [];
  const silent = engine({
    clock,
    deadlineMs: 5000,
    workerUrl: script(
      `import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => {});`,
    ),
    onFailure: (error) => failures.push(error),
  });
  const opening = expect(open(silent)).rejects.toThrow('did not answer for 5000 ms');
  await clock.advance(5000);
  await opening;
  expect(failures).toHaveLength(1);
});
