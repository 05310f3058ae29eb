import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../src/lib/logger.ts';
import {
  type Durability,
  RevisionConflict,
  RevisionTooOld,
  type Stored,
} from '../../../src/server/store/port.ts';
import { ObjectStore, type StoreLimits } from '../../../src/server/store/store.ts';
import { configMap, contents, noteOf, put, remove, show } from '../../support/store-objects.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { type Medium, media } from './engines.ts';

const BUCKET = 'configmaps';

describe.each(Object.keys(media))('a store on the %s engine', (name) => {
  let medium: Medium;
  let store: ObjectStore;

  async function start(limits: Partial<StoreLimits> = {}): Promise<void> {
    store = new ObjectStore({
      engine: medium.engine(),
      clock: new VirtualClock(),
      logger: silentLogger,
      freeze: true,
      limits,
    });
    await store.start();
  }

  const one = async (...commit: Parameters<ObjectStore['commit']>): Promise<Stored> => {
    const [stored] = await store.commit(...commit);
    return stored as Stored;
  };

  beforeEach(async () => {
    medium = (media[name] as () => Medium)();
    await start();
  });
  afterEach(async () => {
    await store.stop();
    await medium.dispose();
  });

  test('create, update and delete: rising revisions, which the objects carry', async () => {
    const created = await one([put('a/x', 0, 'first')]);
    expect(created.object).toEqual({
      ...configMap('a/x', 'first'),
      metadata: { namespace: 'a', name: 'x', resourceVersion: String(created.revision) },
    });
    expect(store.get(BUCKET, 'a/x')).toBe(created);
    const updated = await one([put('a/x', created.revision, 'second')]);
    expect(updated.revision).toBeGreaterThan(created.revision);
    expect(noteOf(created)).toBe('first');
    const deleted = await one([remove('a/x', updated.revision)]);
    expect(deleted.revision).toBeGreaterThan(updated.revision);
    expect(noteOf(deleted)).toBe('second');
    expect(deleted.object.metadata.resourceVersion).toBe(String(deleted.revision));
    expect(store.get(BUCKET, 'a/x')).toBeUndefined();
    expect(store.revision).toBe(deleted.revision);
  });

  test('a lost race is a RevisionConflict and nothing of the commit happens', async () => {
    const { revision } = await one([put('a/x', 0)]);
    for (const write of [
      put('a/x', 0),
      put('a/x', revision + 1),
      remove('a/x', revision - 1),
      put('a/y', 5),
    ]) {
      const attempt = store.commit([put('a/other', 0), write]);
      await expect(attempt).rejects.toThrow(RevisionConflict);
    }
    await expect(store.commit([put('a/x', 7)])).rejects.toMatchObject({ actual: revision });
    expect(contents(store)).toEqual([`a/x@${revision}`]);
    expect(store.heads(BUCKET)).toHaveLength(1);
  });

  test('lists are sorted by key; a prefix is a namespace and nothing beside it', async () => {
    const keys = ['b/a', 'a-b/z', 'a/c', 'a/a', 'a.b/q', 'ab/x', 'a/b'];
    await store.commit(keys.map((key) => put(key, 0)));
    const list = (prefix?: string) => contents(store, prefix).map((text) => text.replace(/@.*/, ''));
    expect(list()).toEqual([...keys].sort());
    expect(list('a/')).toEqual(['a/a', 'a/b', 'a/c']);
    expect(list('c/')).toEqual([]);
    expect(store.count(BUCKET)).toBe(7);
    expect(store.list('nothing')).toEqual([]);
  });

  test('head shows what is staged at once; get and list only what is published', async () => {
    const first = store.commit([put('a/x', 0, 'one')]);
    const staged = store.head(BUCKET, 'a/x') as Stored;
    expect(noteOf(staged)).toBe('one');
    expect(store.get(BUCKET, 'a/x')).toBeUndefined();
    const second = store.commit([put('a/x', staged.revision, 'two'), put('a/w', 0)]);
    expect(store.heads(BUCKET).map(noteOf)).toEqual(['', 'two']);
    expect(store.list(BUCKET)).toEqual([]);
    await Promise.all([first, second]);
    expect(store.list(BUCKET).map(noteOf)).toEqual(['', 'two']);
    const deletion = store.commit([remove('a/x', store.get(BUCKET, 'a/x')?.revision ?? 0)]);
    expect(store.head(BUCKET, 'a/x')).toBeUndefined();
    expect(store.heads(BUCKET)).toHaveLength(1);
    await deletion;
  });

  test('a list is not changed by later writes, nor can its objects be changed', async () => {
    const { object, revision } = await one([put('a/x', 0, 'one')]);
    const list = store.list(BUCKET);
    await store.commit([put('a/x', revision, 'two'), put('a/y', 0)]);
    expect(list.map(show)).toEqual([`a/x@${revision} one`]);
    expect(() => Object.assign(object.metadata, { labels: {} })).toThrow(TypeError);
  });

  test('everything survives an orderly restart but what is volatile; revisions go on without a gap', async () => {
    await store.commit([put('a/durable', 0, 'd')]);
    await store.commit([put('a/coalesced', 0, 'c', 'coalesced')]);
    await store.commit([put('a/volatile', 0, 'v', 'volatile')]);
    const gone = await one([put('a/gone', 0, 'g')]);
    await store.commit([remove('a/gone', gone.revision, 'volatile')]);
    const { revision } = store;
    await store.stop();
    await start();
    expect(store.list(BUCKET).map(noteOf)).toEqual(['c', 'd']);
    expect(store.revision).toBe(revision);
    expect((await one([put('a/next', 0)])).revision).toBe(revision + 1);
  });

  test('after a crash: every acknowledged durable write, and revisions above all that were seen', async () => {
    await store.commit([put('a/durable', 0, 'old')]);
    const seen: number[] = [];
    store.watch(BUCKET, undefined, (event) => seen.push(event.revision));
    const base = await one([put('a/durable', store.revision, 'new')]);
    await store.commit([put('a/durable', base.revision, 'status', 'coalesced')]);
    for (let index = 0; index < 20; index += 1) await store.commit([put(`v/${index}`, 0, '', 'volatile')]);
    const gone = await one([put('a/gone', 0)]);
    await store.commit([remove('a/gone', gone.revision)]);
    medium.crash();
    await start();
    expect(['new', 'status']).toContain(noteOf(store.get(BUCKET, 'a/durable')));
    expect(store.get(BUCKET, 'a/gone')).toBeUndefined();
    expect(store.list(BUCKET, 'v/')).toEqual([]);
    expect(store.revision).toBeGreaterThanOrEqual(Math.max(...seen));
  });

  test('a durable write carries along what was coalesced on the same object', async () => {
    const created = await one([put('a/x', 0, 'spec')]);
    const status = await one([put('a/x', created.revision, 'spec+status', 'coalesced')]);
    await store.commit([put('a/x', status.revision, 'spec2+status')]);
    medium.crash();
    await start();
    expect(noteOf(store.get(BUCKET, 'a/x'))).toBe('spec2+status');
  });

  test('a watch delivers what came after its revision, then what comes, in order and with both states', async () => {
    const created = await one([put('a/x', 0, 'one')]);
    const updated = await one([put('a/x', created.revision, 'two')]);
    const events: string[] = [];
    const watch = store.watch(BUCKET, created.revision, ({ type, object, previous, revision }) => {
      expect(object.metadata.resourceVersion).toBe(String(revision));
      const note = (state: object | undefined) => state && noteOf({ object: state, revision } as Stored);
      events.push(`${type} ${note(previous)}->${note(object)}`);
    });
    expect(events).toEqual(['MODIFIED one->two']);
    await store.commit([put('a/y', 0, 'new', 'coalesced')]);
    await store.commit([remove('a/x', updated.revision)]);
    watch.stop();
    await store.commit([put('a/z', 0)]);
    expect(events).toEqual(['MODIFIED one->two', 'ADDED undefined->new', 'DELETED two->two']);
  });

  test('the past of a bucket can be listed, and is RevisionTooOld beyond the history', async () => {
    await store.stop();
    await start({ historyChanges: 4 });
    const durability: Durability = 'coalesced';
    const begin = store.revision;
    const a = await one([put('a/a', 0, '1', durability)]);
    const b = await one([put('b/b', 0, '1', durability)]);
    const states: [number, string[]][] = [[store.revision, contents(store)]];
    const a2 = await one([put('a/a', a.revision, '2', durability)]);
    states.push([store.revision, contents(store)]);
    await store.commit([remove('b/b', b.revision, durability)]);
    states.push([store.revision, contents(store)]);
    await store.commit([put('a/c', 0, '1', durability)]);
    states.push([store.revision, contents(store)]);
    await store.commit([put('a/a', a2.revision, '3', durability)]);
    states.push([store.revision, contents(store)]);
    for (const [revision, expected] of states)
      expect(store.listAt(BUCKET, revision).map(show)).toEqual(expected);
    expect(store.listAt(BUCKET, a2.revision, 'b/').map(show)).toEqual([`b/b@${b.revision} 1`]);
    expect(() => store.listAt(BUCKET, a.revision)).toThrow(RevisionTooOld);
    expect(() => store.watch(BUCKET, a.revision, () => {})).toThrow(RevisionTooOld);
    expect(begin).toBe(0);
  });

  test('history begins anew with every start', async () => {
    await store.commit([put('a/x', 0)]);
    const old = store.revision;
    await store.commit([put('a/y', 0)]);
    await store.stop();
    await start();
    expect(() => store.watch(BUCKET, old, () => {})).toThrow(RevisionTooOld);
    expect(() => store.watch('untouched', old, () => {})).toThrow(RevisionTooOld);
    expect(contents(store)).toEqual(store.listAt(BUCKET, store.revision).map(show));
    store.watch(BUCKET, store.revision, () => {}).stop();
  });
});
