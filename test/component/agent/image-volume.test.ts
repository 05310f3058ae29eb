import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tarOf } from '../../../src/agent/docker/pause/tar.ts';
import { ImageError } from '../../../src/agent/images/image-manager.ts';
import { ImageVolumes } from '../../../src/agent/volumes/image-volume.ts';
import { testPod } from '../../support/fake-node.ts';

// Where the engine has no layers to mount, the image is copied. Mounted ones are in the end-to-end test.
let folder: string;
let ensured: number;
let removed: number;
let sizeBytes: number;
let failure: Error | undefined;
let content: Buffer;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'copepod-image-volume-'));
  ensured = 0;
  removed = 0;
  sizeBytes = 1;
  failure = undefined;
  content = tarOf([
    { name: '.dockerenv', mode: 0o755, data: Buffer.from('x') },
    { name: 'data', mode: 0o640, data: Buffer.from('content') },
  ]);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const volume = { name: 'v', image: { reference: 'data:1', pullPolicy: 'Always' as const } };
const pod = testPod('a', { containers: [], volumes: [volume] });
const place = (): string => join(folder, 'v');
const volumes = () =>
  new ImageVolumes({
    ensure: async () => {
      ensured += 1;
      if (failure) throw failure;
      return { id: 'sha256:1', repoDigests: [], sizeBytes, architecture: 's390x', user: '' };
    },
    engine: {
      layers: async () => undefined,
      export: async () => ({
        tar: Readable.from([content]),
        done: async () => {
          removed += 1;
        },
      }),
    },
    mounter: { mountsBelow: async () => [] },
  });

it('has what the image has, once and for all', async () => {
  await volumes().prepare(pod, volume, place());
  expect(readdirSync(place())).toEqual(['data']);
  expect(readFileSync(join(place(), 'data'), 'utf8')).toBe('content');
  expect(removed).toBe(1);
  // Also for the next agent, and whatever the tag means by then.
  await volumes().prepare(pod, volume, place());
  expect(ensured).toBe(1);
});

it('begins anew after a copy that was not finished', async () => {
  content = content.subarray(0, 700);
  await expect(volumes().prepare(pod, volume, place())).rejects.toThrow('could not be unpacked');
  expect(removed).toBe(1);
  content = tarOf([{ name: 'data', mode: 0o644, data: Buffer.from('whole') }]);
  await volumes().prepare(pod, volume, place());
  expect(readFileSync(join(place(), 'data'), 'utf8')).toBe('whole');
});

it('says why it cannot be had', async () => {
  failure = new ImageError('ErrImagePull', 'manifest unknown');
  await expect(volumes().prepare(pod, volume, place())).rejects.toMatchObject({
    volume: 'v',
    message: 'ErrImagePull: manifest unknown',
  });
  failure = undefined;
  sizeBytes = 2 ** 50;
  await expect(volumes().prepare(pod, volume, place())).rejects.toThrow('no room to copy the image');
  expect(existsSync(join(place(), 'data'))).toBe(false);
});
