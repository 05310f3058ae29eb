import { beforeEach, describe, expect, test } from 'vitest';
import type { Logger } from '../../../../src/lib/logger.ts';
import { StoreClosed, StoreOverloaded, WriteFailed } from '../../../../src/server/store/errors.ts';
import { MemoryDisk, MemoryEngine } from '../../../../src/server/store/memory-engine.ts';
import { RevisionConflict, type Stored } from '../../../../src/server/store/port.ts';
import { ObjectStore, type StoreLimits } from '../../../../src/server/store/store.ts';
import { contents, noteOf, put, remove } from '../../../support/store-objects.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const BUCKET = 'configmaps';
let disk: MemoryDisk;
let clock: VirtualClock;
let store: ObjectStore;
let errors: string[];

const logger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: (_fields, message) => errors.push(message),
  child: () => logger,
};

async function start(limits: Partial<StoreLimits> = {}): Promise<void> {
  store = new ObjectStore({ engine: new MemoryEngine({ disk, clock }), clock, logger, limits, freeze: true });
  await store.start();
}

async function restart(limits: Partial<StoreLimits> = {}): Promise<void> {
  disk.crash();
  await start(limits);
}

beforeEach(async () => {
  disk = new MemoryDisk();
  clock = new VirtualClock();
  errors = [];
  await start();
});

/** The revision that the newest staged state of a key has. */
const headRevision = (key: string): number => store.head(BUCKET, key)?.revision ?? 0;

describe('group commit', () => {
  test('writes of one turn share a transaction; what comes while it syncs shares the next', async () => {
    disk.pause();
    const first = ['a/1', 'a/2', 'a/3'].map((key) => store.commit([put(key, 0)]));
    await clock.settle();
    const second = ['a/4', 'a/5'].map((key) => store.commit([put(key, 0)]));
    await clock.settle();
    expect(contents(store)).toEqual([]);
    disk.resume();
    await Promise.all([...first, ...second]);
    expect(disk.written).toMatchObject({ transactions: 2, syncs: 2, rows: 5 });
  });

  test('many versions of an object in one batch are one row, and still one event each', async () => {
    const notes: (string | undefined)[] = [];
    store.watch(BUCKET, undefined, ({ object, revision }) => notes.push(noteOf({ object, revision })));
    const commits = ['1', '2', '3'].map((note) => store.commit([put('a/x', headRevision('a/x'), note)]));
    const durability = 'coalesced';
    commits.push(store.commit([put('a/x', headRevision('a/x'), '4', durability)]));
    await Promise.all(commits);
    expect(disk.written).toMatchObject({ transactions: 1, rows: 1 });
    expect(notes).toEqual(['1', '2', '3', '4']);
    await restart();
    expect(noteOf(store.get(BUCKET, 'a/x'))).toBe('4');
  });

  test('a batch is bounded and never holds the state of a commit behind it', async () => {
    await restart({ batchChanges: 2 });
    const commits = [1, 2, 3].map((index) => store.commit([put('a/x', headRevision('a/x'), `${index}`)]));
    await clock.settle();
    await Promise.all(commits);
    expect(disk.written).toMatchObject({ transactions: 2, rows: 2 });
  });

  test('more than the queue holds is refused', async () => {
    await restart({ queuedChanges: 2 });
    disk.pause();
    const commits = [store.commit([put('a/1', 0)]), store.commit([put('a/2', 0)])];
    await expect(store.commit([put('a/3', 0)])).rejects.toThrow(StoreOverloaded);
    disk.resume();
    await Promise.all(commits);
    await store.commit([put('a/3', 0)]);
    expect(store.count(BUCKET)).toBe(3);
  });
});

describe('order', () => {
  test('a coalesced write is published at once, unless a durable one is before it', async () => {
    await store.commit([put('a/first', 0)]);
    void store.commit([put('a/c1', 0, '', 'coalesced')]);
    expect(store.get(BUCKET, 'a/c1')).toBeDefined();
    disk.pause();
    const durable = store.commit([put('a/d', 0)]);
    const behind = store.commit([put('a/c2', 0, '', 'volatile')]);
    await clock.settle();
    expect(store.get(BUCKET, 'a/c2')).toBeUndefined();
    disk.resume();
    await Promise.all([durable, behind]);
    expect(store.get(BUCKET, 'a/c2')).toBeDefined();
  });

  test('a watcher that commits or watches while called gets every change once and in order', async () => {
    await store.commit([put('a/0', 0)]);
    const first: number[] = [];
    const inner: number[] = [];
    const last: number[] = [];
    store.watch(BUCKET, undefined, ({ revision }) => {
      first.push(revision);
      if (first.length > 1) return;
      void store.commit([put('a/nested', 0, '', 'volatile')]);
      store.watch(BUCKET, undefined, (event) => inner.push(event.revision));
    });
    store.watch(BUCKET, undefined, ({ revision }) => last.push(revision));
    await store.commit([put('a/1', 0)]);
    expect(first).toHaveLength(2);
    expect(last).toEqual(first);
    expect(inner).toEqual(first.slice(1));
  });

  test('the past comes before what the watcher itself commits meanwhile', async () => {
    for (const key of ['a/1', 'a/2', 'a/3']) await store.commit([put(key, 0)]);
    const keys: string[] = [];
    store.watch(BUCKET, 1, ({ key }) => {
      keys.push(key);
      if (keys.length === 1) void store.commit([put('a/4', 0, '', 'volatile')]);
    });
    expect(keys).toEqual(['a/2', 'a/3', 'a/4']);
  });

  test('a watcher that throws is logged and harms nobody', async () => {
    const seen: string[] = [];
    store.watch(BUCKET, undefined, () => {
      throw new Error('bad watcher');
    });
    store.watch(BUCKET, undefined, ({ key }) => seen.push(key));
    await store.commit([put('a/x', 0)]);
    expect(seen).toEqual(['a/x']);
    expect(errors).toEqual(['a watcher threw']);
  });
});

describe('a failing engine', () => {
  test('takes back what was staged, also what builds on it or was collected behind it; later writes work', async () => {
    const base = (await store.commit([put('a/x', 0, 'base')]))[0] as Stored;
    const events: string[] = [];
    store.watch(BUCKET, undefined, ({ key }) => events.push(key));
    disk.pause();
    disk.failNext();
    const outcomes = [
      store.commit([put('a/x', base.revision, 'lost')]),
      store.commit([put('a/y', 0, 'lost too')]),
    ];
    await clock.settle();
    outcomes.push(store.commit([put('a/x', headRevision('a/x'), 'on top')]));
    outcomes.push(store.commit([put('a/y', headRevision('a/y'), 'status', 'coalesced')]));
    const independent = store.commit([put('a/report', 0, 'report', 'coalesced')]);
    const vanished = headRevision('a/x');
    disk.resume();
    const results = await Promise.allSettled(outcomes);
    expect(results.map(({ status }) => status)).toEqual(Array(4).fill('rejected'));
    await expect(outcomes[0]).rejects.toThrow(WriteFailed);
    await independent;
    expect(store.head(BUCKET, 'a/x')).toBe(base);
    expect(store.heads(BUCKET).map(noteOf)).toEqual(['report', 'base']);
    expect(events).toEqual(['a/report']);
    await expect(store.commit([put('a/x', vanished)])).rejects.toThrow(RevisionConflict);
    await store.commit([put('a/x', base.revision, 'again')]);
    expect(noteOf(store.get(BUCKET, 'a/x'))).toBe('again');
    await restart();
    expect(store.list(BUCKET).map(noteOf)).toContain('again');
  });

  test('a flush that fails loses nothing and is tried again', async () => {
    await store.commit([put('a/x', 0, 'spec')]);
    await store.commit([put('a/x', store.revision, 'status', 'coalesced')]);
    disk.failNext();
    await clock.advance(10 * 60_000);
    expect(errors).toEqual(['a batch failed']);
    await clock.advance(10 * 60_000);
    disk.crash(1);
    await start();
    expect(noteOf(store.get(BUCKET, 'a/x'))).toBe('status');
  });

  test('without a reservation nothing coalesced is shown, and it is refused', async () => {
    disk.failNext();
    await expect(store.commit([put('a/x', 0, '', 'volatile')])).rejects.toThrow(WriteFailed);
    expect(store.list(BUCKET)).toEqual([]);
    await store.commit([put('a/x', 0, '', 'volatile')]);
    expect(store.count(BUCKET)).toBe(1);
  });
});

describe('coalesced writes', () => {
  test('are flushed in rare transactions of their own, without fsync, one row per object', async () => {
    await store.commit([put('a/x', 0), put('a/y', 0)]);
    const before = { ...disk.written };
    for (let minute = 0; minute < 9; minute += 1) {
      await store.commit([put('a/x', headRevision('a/x'), `${minute}`, 'coalesced')]);
      await store.commit([put('a/y', headRevision('a/y'), `${minute}`, 'coalesced')]);
      await clock.advance(60_000);
    }
    expect(disk.written).toEqual(before);
    await clock.advance(60_000);
    expect(disk.written.transactions - before.transactions).toBe(1);
    expect(disk.written.rows - before.rows).toBe(2);
    expect(disk.unsynced).toBe(1);
    await clock.advance(60 * 60_000);
    expect(disk.written.transactions - before.transactions).toBe(1);
  });

  test('that have waited go along with a durable one; fresh ones do not', async () => {
    await store.commit([put('a/old', 0), put('a/fresh', 0)]);
    await store.commit([put('a/old', headRevision('a/old'), 'status', 'coalesced')]);
    await clock.advance(60_000);
    await store.commit([put('a/fresh', headRevision('a/fresh'), 'status', 'coalesced')]);
    await store.commit([put('a/other', 0)]);
    await restart();
    expect(store.list(BUCKET).map(noteOf)).toEqual(['', 'status', '']);
  });

  test('what changes while an older state of it is being written is flushed the next time', async () => {
    await store.commit([put('a/x', 0)]);
    await store.commit([put('a/x', headRevision('a/x'), 'older', 'coalesced')]);
    disk.pause();
    await clock.advance(10 * 60_000);
    await store.commit([put('a/x', headRevision('a/x'), 'newer', 'coalesced')]);
    disk.resume();
    await clock.advance(10 * 60_000);
    disk.crash(10);
    await start();
    expect(noteOf(store.get(BUCKET, 'a/x'))).toBe('newer');
  });

  test('an old state that goes along does not stand for a newer one behind the durable write', async () => {
    await store.commit([put('a/x', 0), put('a/y', 0)]);
    await store.commit([put('a/x', headRevision('a/x'), 'older', 'coalesced')]);
    await clock.advance(60_000);
    const durable = store.commit([put('a/y', headRevision('a/y'))]);
    const behind = store.commit([put('a/x', headRevision('a/x'), 'newer', 'coalesced')]);
    await Promise.all([durable, behind]);
    await clock.advance(10 * 60_000);
    disk.crash(10);
    await start();
    expect(noteOf(store.get(BUCKET, 'a/x'))).toBe('newer');
  });

  test('volatile objects never reach the engine; a persisted one that is rewritten or deleted does', async () => {
    await store.commit([put('a/x', 0, 'row'), put('a/y', 0, 'row')]);
    const { rows } = disk.written;
    await store.commit([put('v/1', 0, '', 'volatile')]);
    await store.commit([remove('v/1', store.revision, 'volatile')]);
    await clock.advance(20 * 60_000);
    expect(disk.written.rows).toBe(rows);
    await store.commit([remove('a/x', headRevision('a/x'), 'volatile')]);
    await store.commit([put('a/x', 0, 'volatile now', 'volatile')]);
    await store.commit([put('a/y', headRevision('a/y'), 'rewritten', 'volatile')]);
    await clock.advance(20 * 60_000);
    disk.crash(10);
    await start();
    expect(store.list(BUCKET).map(noteOf)).toEqual(['rewritten']);
  });
});

describe('revisions', () => {
  test('are reserved in blocks: one fsync for many volatile writes, and no crash gives one twice', async () => {
    await restart({ reserveBlock: 100 });
    const { syncs } = disk.written;
    for (let index = 0; index < 90; index += 1) await store.commit([put(`v/${index}`, 0, '', 'volatile')]);
    expect(disk.written.syncs - syncs).toBe(1);
    const seen = store.revision;
    await restart({ reserveBlock: 100 });
    expect(store.revision).toBeGreaterThanOrEqual(seen);
    expect(store.revision).toBeLessThanOrEqual(seen + 100);
  });

  test('a deletion as the last write does not take the counter back', async () => {
    await store.commit([put('a/x', 0)]);
    const [deleted] = await store.commit([remove('a/x', store.revision)]);
    await restart();
    expect(store.revision).toBeGreaterThanOrEqual((deleted as Stored).revision);
  });
});

test('history keeps to its age, but for the newest changes', async () => {
  await restart({ historyLeast: 2, historyAgeMs: 60_000 });
  const from = store.revision;
  for (const key of ['a/1', 'a/2', 'a/3', 'a/4']) await store.commit([put(key, 0)]);
  store.watch(BUCKET, from, () => {}).stop();
  await clock.advance(180_000);
  expect(() => store.watch(BUCKET, from + 1, () => {})).toThrow(`history begins at revision`);
  const keys: string[] = [];
  store.watch(BUCKET, headRevision('a/2'), ({ key }) => keys.push(key));
  expect(keys).toEqual(['a/3', 'a/4']);
});

test('stop waits for what is under way, flushes, and refuses what comes after', async () => {
  disk.pause();
  const durable = store.commit([put('a/d', 0)]);
  const coalesced = store.commit([put('a/c', 0, 'c', 'coalesced')]);
  const stopped = store.stop();
  await expect(store.commit([put('a/late', 0)])).rejects.toThrow(StoreClosed);
  disk.resume();
  await Promise.all([durable, coalesced, stopped]);
  expect(clock.pending).toBe(0);
  await start();
  expect(store.list(BUCKET)).toHaveLength(2);
});

test('an object is serialised once, for the engine and for all who ask', async () => {
  let serialised = 0;
  const write = put('a/x', 0);
  Object.assign(write.object as object, {
    data: {
      toJSON: () => {
        serialised += 1;
        return {};
      },
    },
  });
  const [stored] = await store.commit([write]);
  const { object } = stored as Stored;
  expect(store.json(object)).toBe(JSON.stringify({ ...object, data: {} }));
  store.json(object);
  expect(serialised).toBe(1);
});
