import { mkdtempSync, rmSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tarOf } from '../../../src/agent/docker/pause/tar.ts';
import { readArchive } from '../../../src/agent/images/archive-reader.ts';
import { ImageArchives } from '../../../src/agent/images/archives.ts';
import { RuntimeError } from '../../../src/agent/runtime.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { dockerArchive, ociArchive } from '../../support/image-archive.ts';
import { MemoryJournal } from '../../support/memory-journal.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const layer = tarOf([{ name: 'a', mode: 0o644, data: Buffer.alloc(3000, 'a') }]);
const image = (architecture = 'arm64') => ({ layers: [layer], architecture, entrypoint: ['/a'] });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'copepod-archives-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('an archive', () => {
  const read = (name: string, content: Buffer) => {
    writeFileSync(join(folder, name), content);
    return readArchive(join(folder, name), 'arm64');
  };

  it('of docker save is taken as it is', async () => {
    expect((await read('a.tar', dockerArchive([{ name: 'a:1', image: image() }]))).manifest).toBeUndefined();
  });

  it('in OCI layout gets docker save’s table of contents, of the image for this board', async () => {
    const content = ociArchive('r.example/a:1', [image('amd64'), image('arm64')]);
    for (const [name, packed] of [
      ['a.tar', content],
      ['a.tgz', zlib.gzipSync(content)],
    ] as const) {
      const { manifest } = await read(name, packed);
      expect(JSON.parse(manifest?.toString() ?? '')).toEqual([
        {
          Config: expect.stringMatching(/^blobs\/sha256\/[0-9a-f]{64}$/),
          RepoTags: ['r.example/a:1'],
          Layers: [expect.stringMatching(/^blobs\/sha256\/[0-9a-f]{64}$/)],
        },
      ]);
    }
  });

  it('compressed with zstd is read', async () => {
    const { zstdCompressSync } = zlib as { zstdCompressSync?: (content: Buffer) => Buffer };
    // Node 20 leaves it to the program zstd, which this machine may not have.
    if (!zstdCompressSync) return;
    const content = zstdCompressSync(dockerArchive([{ name: 'a:1', image: image() }]));
    expect((await read('a.tar.zst', content)).digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each([
    ['text.tar', Buffer.from('no tar'.repeat(200)), 'not a tar archive'],
    ['short.tar', dockerArchive([{ name: 'a:1', image: image() }]).subarray(0, 2000), 'ends in the middle'],
    [
      'other.tar',
      tarOf([{ name: 'x', mode: 0o644, data: Buffer.from('x') }]),
      'neither an archive of docker save',
    ],
    ['gzip.tar.gz', Buffer.from('no gzip'), 'incorrect header check'],
    ['foreign.tar', ociArchive('a:1', [image('s390x')]), 'no image for linux/arm64'],
  ])('%s is told to be bad', async (name, content, problem) => {
    await expect(read(name, content)).rejects.toThrow(problem);
  });
});

describe('the folder of archives', () => {
  let clock: VirtualClock;
  let journal: MemoryJournal;
  let loads: number;
  let present: Map<string, string>;
  let bad: string[];
  let told: string[];
  let failure: Error | undefined;
  let running: ImageArchives[];
  beforeEach(() => {
    clock = new VirtualClock();
    journal = new MemoryJournal();
    loads = 0;
    present = new Map();
    bad = [];
    told = [];
    failure = undefined;
    running = [];
  });
  afterEach(async () => {
    await Promise.all(running.map((each) => each.stop()));
  });

  async function start(): Promise<ImageArchives> {
    const archives = new ImageArchives({
      directory: folder,
      engine: {
        load: async (stream: Readable) => {
          for await (const _ of stream);
          if (failure) throw failure;
          loads += 1;
          present.set('a:1', `sha256:${loads}`);
          return ['a:1'];
        },
      },
      runtime: {
        inspectImage: async (name) => {
          const id = present.get(name);
          return id === undefined
            ? undefined
            : { id, repoDigests: [], sizeBytes: 1, architecture: 'arm64', user: '' };
        },
      },
      architecture: 'arm64',
      journal,
      clock,
      logger: silentLogger,
      onLoaded: (images) => void told.push(...images.map(({ name }) => name)),
      onBad: (message) => void bad.push(message),
    });
    running.push(archives);
    await archives.start();
    await archives.idle();
    return archives;
  }
  /** Looks, and looks again when what it found has settled. */
  async function settle(archives: ImageArchives): Promise<void> {
    for (let look = 0; look < 2; look += 1) {
      archives.poke();
      await archives.idle();
      await clock.advance(2_000);
      await archives.idle();
    }
  }
  const put = (name: string, content: Buffer, at = 1): void => {
    writeFileSync(join(folder, name), content);
    utimesSync(join(folder, name), at, at);
  };
  const archive = dockerArchive([{ name: 'a:1', image: image() }]);

  it('is loaded once for each content, over restarts', async () => {
    put('a.tar', archive);
    const archives = await start();
    expect(loads).toBe(0);
    await settle(archives);
    expect([loads, told]).toEqual([1, ['a:1']]);
    expect([...archives.pinned()]).toEqual(['sha256:1']);
    await archives.stop();
    journal = journal.reopened();
    const again = await start();
    await settle(again);
    // The same bytes with another time.
    put('a.tar', archive, 2);
    await settle(again);
    expect(loads).toBe(1);
    put('a.tar', dockerArchive([{ name: 'a:1', image: image('arm') }]), 3);
    await settle(again);
    expect(loads).toBe(2);
  });

  it('waits for a file that still grows', async () => {
    const archives = await start();
    for (let length = 1000; length < 5000; length += 1000) {
      put('a.tar', archive.subarray(0, length), length);
      archives.poke();
      await archives.idle();
      await clock.advance(1_500);
      await archives.idle();
    }
    expect([loads, bad]).toEqual([0, []]);
    put('a.tar', archive, 9000);
    await settle(archives);
    expect(loads).toBe(1);
  });

  it('brings back at the next start what somebody removed, and lets go of what is no more there', async () => {
    put('a.tar', archive);
    const archives = await start();
    await settle(archives);
    present.clear();
    await settle(archives);
    expect(loads).toBe(1);
    journal = journal.reopened();
    const again = await start();
    await settle(again);
    expect(loads).toBe(2);
    unlinkSync(join(folder, 'a.tar'));
    await settle(again);
    expect(again.pinned().size).toBe(0);
  });

  it('tells of a bad one once, and of no other file', async () => {
    put('bad.tar', Buffer.from('x'.repeat(2000)));
    put('notes.txt', Buffer.from('x'));
    const archives = await start();
    await settle(archives);
    await settle(archives);
    await archives.stop();
    journal = journal.reopened();
    await settle(await start());
    expect(bad).toEqual([`image archive ${join(folder, 'bad.tar')}: not a tar archive, or a damaged one`]);
  });

  it('tries again when the engine is away, and not what the engine refuses', async () => {
    put('a.tar', archive);
    failure = new RuntimeError('Unavailable', 'Cannot connect to the Docker daemon');
    const archives = await start();
    await settle(archives);
    expect([loads, bad]).toEqual([0, []]);
    failure = undefined;
    await clock.advance(5_000);
    await archives.idle();
    expect(loads).toBe(1);
    failure = new RuntimeError('Other', 'invalid archive');
    put('b.tar', dockerArchive([{ name: 'b:1', image: image() }]));
    await settle(archives);
    await settle(archives);
    expect(bad).toEqual([`image archive ${join(folder, 'b.tar')}: invalid archive`]);
  });
});
