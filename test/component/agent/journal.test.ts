import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Journal } from '../../../src/agent/journal.ts';
import type { Logger } from '../../../src/lib/logger.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

let directory: string;
let clock: VirtualClock;
const errors: string[] = [];
const logger: Logger = { ...silentLogger, error: (_fields, message) => errors.push(message) };

async function open(): Promise<Journal> {
  const journal = new Journal({ directory, clock, logger });
  await journal.start();
  return journal;
}

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'copepod-journal-')), 'agent');
  clock = new VirtualClock();
  errors.length = 0;
});
afterEach(() => rm(join(directory, '..'), { recursive: true, force: true }));

describe('journal', () => {
  it('gives back what was put, and not what was deleted', async () => {
    const journal = await open();
    journal.put('pod', 'a', { name: 'x' });
    journal.put('pod', 'b', { name: 'y' });
    journal.put('secret', 'secrets/d/s', { data: { k: 'c2VjcmV0LXdvcmQ=' } });
    journal.put('fact', 'cluster', { v: 1 });
    journal.delete('pod', 'b');
    journal.put('pod', 'a', { name: 'z' });
    await journal.stop();
    const again = await open();
    expect([...again.take('pod')]).toEqual([['a', { name: 'z' }]]);
    expect(again.take<{ data: object }>('secret').get('secrets/d/s')).toEqual({
      data: { k: 'c2VjcmV0LXdvcmQ=' },
    });
    expect(again.fact('cluster')).toEqual({ v: 1 });
    expect(again.clockFloor).toBe(clock.now());
    await again.stop();
  });

  it('collects changes and writes them once', async () => {
    const journal = await open();
    for (let index = 0; index < 20; index += 1) journal.put('pod', String(index), { index });
    const second = await open();
    expect(second.take('pod').size).toBe(0);
    await second.stop();
    await clock.advance(1_000);
    const third = await open();
    expect(third.take('pod').size).toBe(20);
    await third.stop();
    await journal.stop();
  });

  it('keeps secrets and tokens unreadable without the key, files to root only', async () => {
    const journal = await open();
    journal.put('secret', 's', { data: { k: 'c2VjcmV0LXdvcmQ=' } });
    journal.put('token', 't', 'eyJhbGciOiJub25l');
    await journal.stop();
    let everything = '';
    for (const name of await readdir(directory)) {
      everything += await readFile(join(directory, name), 'latin1');
      expect((await stat(join(directory, name))).mode & 0o077, name).toBe(0);
    }
    expect(everything).not.toContain('c2VjcmV0LXdvcmQ=');
    expect(everything).not.toContain('eyJhbGciOiJub25l');
    await rm(join(directory, 'journal.key'));
    const again = await open();
    expect(again.take('secret').size).toBe(0);
    expect(errors).toEqual([]);
    await again.stop();
  });

  it.each([
    ['not a database', async (path: string) => writeFile(path, 'x'.repeat(5000))],
    [
      'damaged in the middle',
      async (path: string) => {
        const bytes = await readFile(path);
        bytes.fill(0x5a, 4096, bytes.length - 100);
        await writeFile(path, bytes);
      },
    ],
  ])('moves aside a file that is %s and starts empty, saying so', async (_what, damage) => {
    const journal = await open();
    for (let index = 0; index < 100; index += 1) journal.put('pod', String(index), { text: 'y'.repeat(500) });
    await journal.stop();
    await damage(join(directory, 'journal.db'));
    const again = await open();
    expect(again.take('pod').size).toBe(0);
    again.put('pod', 'new', {});
    await again.stop();
    expect(errors).toHaveLength(1);
    expect((await readdir(directory)).some((name) => name.includes('unreadable'))).toBe(true);
    const third = await open();
    expect([...third.take('pod').keys()]).toEqual(['new']);
    await third.stop();
  });

  it('survives a kill at any moment with whole entries only', async () => {
    const script = `
      import { Journal } from ${JSON.stringify(join(import.meta.dirname, '../../../src/agent/journal.ts'))};
      import { SystemClock } from ${JSON.stringify(join(import.meta.dirname, '../../../src/lib/clock.ts'))};
      import { silentLogger } from ${JSON.stringify(join(import.meta.dirname, '../../../src/lib/logger.ts'))};
      const journal = new Journal({ directory: ${JSON.stringify(directory)}, clock: new SystemClock(), logger: silentLogger });
      await journal.start();
      let round = journal.fact('round') ?? 0;
      for (;;) {
        round += 1;
        // One transaction: these belong together.
        for (let part = 0; part < 10; part += 1) journal.put('pod', String(part), { round, text: 'z'.repeat(2000) });
        journal.put('fact', 'round', round);
        journal.flush();
        process.stdout.write(round + '\\n');
        await new Promise((resolve) => setImmediate(resolve));
      }`;
    let highest = 0;
    for (let kill = 0; kill < 5; kill += 1) {
      const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let said = 0;
      const target = highest + 20 + kill * 37;
      child.stdout.on('data', (chunk: Buffer) => {
        said = Number(chunk.toString().trim().split('\n').at(-1)) || said;
        if (said >= target) child.kill('SIGKILL');
      });
      await new Promise((resolve) => child.once('close', resolve));
      const journal = await open();
      const round = journal.fact<number>('round') ?? 0;
      // A killed process takes back nothing that was written: only a power cut could.
      expect(round).toBeGreaterThanOrEqual(said);
      const parts = [...journal.take<{ round: number }>('pod').values()];
      expect(parts.map((part) => part.round)).toEqual(Array.from({ length: 10 }, () => round));
      await journal.stop();
      highest = round;
    }
    expect(errors).toEqual([]);
  });
});
