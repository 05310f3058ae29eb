import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Engine, EngineRow, StoredRow } from '../../../src/server/store/port.ts';
import { type Medium, media } from './engines.ts';

const row = (key: string, revision: number, json = `{"at":${revision}}`, bucket = 'pods'): StoredRow => ({
  bucket,
  key,
  revision,
  json,
});
const gone = (key: string, revision: number): EngineRow => ({ ...row(key, revision), json: undefined });

describe.each(Object.keys(media))('the %s engine', (name) => {
  let medium: Medium;
  let engine: Engine;

  async function open(): Promise<{ rows: StoredRow[]; reserved: number }> {
    engine = medium.engine();
    const rows: StoredRow[] = [];
    const { reserved } = await engine.open((stored) => rows.push(stored));
    return { rows, reserved };
  }

  async function reopen() {
    await engine.close();
    return await open();
  }

  beforeEach(() => {
    medium = (media[name] as () => Medium)();
  });
  afterEach(async () => {
    await medium.dispose();
  });

  test('begins empty', async () => {
    expect(await open()).toEqual({ rows: [], reserved: 0 });
  });

  test('returns after closing what was put, sorted by bucket and key, and not what was deleted', async () => {
    await open();
    await engine.apply([row('a/2', 1), row('a/1', 2), gone('b', 3), row('x', 4, '"ü€𝄞"', 'nodes')], {
      sync: true,
      reserve: 500,
    });
    await engine.apply([row('a/2', 5), gone('a/1', 6)], { sync: false });
    expect(await reopen()).toEqual({
      rows: [row('x', 4, '"ü€𝄞"', 'nodes'), row('a/2', 5)],
      reserved: 500,
    });
  });

  test('the reserved end is set, also downwards, and otherwise stays', async () => {
    await open();
    await engine.apply([], { sync: true, reserve: 1000 });
    await engine.apply([row('a', 1)], { sync: true });
    expect((await reopen()).reserved).toBe(1000);
    await engine.apply([], { sync: true, reserve: 10 });
    expect((await reopen()).reserved).toBe(10);
  });

  test('a crash leaves what was synced, with everything before it', async () => {
    await open();
    await engine.apply([row('early', 1)], { sync: false });
    await engine.apply([row('synced', 2)], { sync: true, reserve: 7 });
    medium.crash();
    const { rows, reserved } = await open();
    expect(rows.map(({ key }) => key)).toEqual(['early', 'synced']);
    expect(reserved).toBe(7);
  });

  test('many and large rows come back whole', async () => {
    await open();
    const rows = Array.from({ length: 300 }, (_, index) =>
      row(`ns/${String(index).padStart(4, '0')}`, index + 1, JSON.stringify('x'.repeat(index * 40))),
    );
    await engine.apply(rows, { sync: true });
    expect((await reopen()).rows).toEqual(rows);
  });
});
