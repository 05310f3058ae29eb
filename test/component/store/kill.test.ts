import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SeededRandom } from '../../support/seeded-random.ts';

const WRITER = fileURLToPath(new URL('./writer-process.ts', import.meta.url));
const ROUNDS = 10;
const random = new SeededRandom(1);

interface Version {
  revision: number;
  /** `-` after a deletion. */
  note: string;
}

interface Life {
  startRevision: number;
  found: Map<string, Version>;
  /** Deletions that nobody was told of: they may have happened. */
  deleting: Set<string>;
  acknowledged: { key: string; version: Version; durable: boolean }[];
}

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'copepod-kill-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a writer, kills it a random moment after it has acknowledged some random amount, and returns what it said. */
async function live(round: number): Promise<Life> {
  const said = join(directory, `said-${round}`);
  // A file takes every line before the write returns; a pipe could be full.
  const output = openSync(said, 'a');
  const child = spawn(process.execPath, [WRITER, join(directory, 'store.db'), `r${round}`], {
    stdio: ['ignore', output, 'inherit'],
  });
  closeSync(output);
  const ended = once(child, 'close');
  const until = (what: () => boolean) =>
    vi.waitUntil(() => child.exitCode !== null || what(), { timeout: 20_000, interval: 1 });
  await until(() => /^started/m.test(readFileSync(said, 'utf8')));
  const enough = statSync(said).size + random.integer(40_000);
  await until(() => statSync(said).size > enough);
  for (let turns = random.integer(2000); turns > 0; turns -= 1) await new Promise(setImmediate);
  child.kill('SIGKILL');
  expect((await ended)[1]).toBe('SIGKILL');
  return parse(readFileSync(said, 'utf8'));
}

function parse(output: string): Life {
  const life: Life = { startRevision: 0, found: new Map(), deleting: new Set(), acknowledged: [] };
  // The last line may be cut off: then nobody was told.
  for (const line of output.split('\n').slice(0, -1)) {
    const [what = '', key = '', revision = '', note = '', durability] = line.split(' ');
    const version = { revision: Number(revision), note };
    if (what === 'found') life.found.set(key, version);
    if (what === 'started') life.startRevision = Number(key);
    if (what === 'deleting') life.deleting.add(key);
    if (what === 'ack' && note === '-') life.deleting.delete(key);
    if (what === 'ack') life.acknowledged.push({ key, version, durable: durability === 'durable' });
  }
  return life;
}

test(`${ROUNDS} rounds of SIGKILL: every acknowledged durable write is found, revisions never go back`, async () => {
  const durable = new Map<string, Version>();
  let deleting = new Set<string>();
  let newest = 0;
  let acknowledged = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const life = await live(round);
    expect(life.startRevision).toBeGreaterThanOrEqual(newest);
    for (const [key, { revision, note }] of durable) {
      const found = life.found.get(key);
      if (note !== '-' && !deleting.has(key)) expect(found, `${key} at ${revision} is lost`).toBeDefined();
      if (found) expect(found.revision, key).toBeGreaterThanOrEqual(note === '-' ? revision + 1 : revision);
      if (found?.revision === revision) expect(found.note).toBe(note);
    }
    deleting = life.deleting;
    durable.clear();
    for (const [key, version] of life.found) durable.set(key, version);
    for (const { key, version, durable: synced } of life.acknowledged) {
      newest = Math.max(newest, version.revision);
      if (synced) durable.set(key, version);
      // A coalesced deletion may or may not have reached the disk: of this key nothing is promised.
      else if (version.note === '-') durable.delete(key);
    }
    acknowledged += life.acknowledged.length;
  }
  expect(acknowledged).toBeGreaterThan(ROUNDS * 50);
}, 120_000);
