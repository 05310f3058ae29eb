import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SystemMounter } from '../../../src/agent/volumes/mounter.ts';
import { bindSubPath } from '../../../src/agent/volumes/sub-path.ts';

// With the mounts of this machine: as root.

let directory: string;
let volume: string;
let target: string;
const mounter = new SystemMounter();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'copepod-sub-path-'));
  volume = join(directory, 'volume');
  target = join(directory, 'pod/volume-subpaths/v/main/0');
  mkdirSync(volume);
});
afterEach(async () => {
  for (const point of (await mounter.mountsBelow(directory)).reverse()) await mounter.unmount(point);
  rmSync(directory, { recursive: true });
});

it('shows a directory, and still the same when its name leads elsewhere later', async () => {
  mkdirSync(join(volume, 'a/b'), { recursive: true });
  writeFileSync(join(volume, 'a/b/file'), 'mine');
  await bindSubPath(mounter, volume, 'a/b', target);
  expect(readFileSync(join(target, 'file'), 'utf8')).toBe('mine');
  // What a container that shares the volume could do in the meantime.
  renameSync(join(volume, 'a/b'), join(volume, 'a/moved'));
  symlinkSync('/etc', join(volume, 'a/b'));
  expect(readdirSync(target)).toEqual(['file']);
  await expect(bindSubPath(mounter, volume, 'a/b', target)).rejects.toThrow('leads out of the volume');
});

it('shows a file; once more is the same mount, and another file another one', async () => {
  writeFileSync(join(volume, 'conf'), 'one');
  await bindSubPath(mounter, volume, 'conf', target);
  await bindSubPath(mounter, volume, 'conf', target);
  expect(await mounter.mountsBelow(directory)).toEqual([target]);
  renameSync(join(volume, 'conf'), join(volume, 'old'));
  writeFileSync(join(volume, 'conf'), 'two');
  await bindSubPath(mounter, volume, 'conf', target);
  expect(readFileSync(target, 'utf8')).toBe('two');
  expect(await mounter.mountsBelow(directory)).toEqual([target]);
});

it('never follows a symlink that is put in place while the path is opened', async () => {
  // The swap of CVE-2021-25741, at every moment that it can come: two names that are exchanged all the time.
  mkdirSync(join(volume, 'dir'));
  writeFileSync(join(volume, 'dir/inside'), '');
  symlinkSync('/etc', join(volume, 'link'));
  const at = (name: string): string => join(volume, name);
  let swapping = true;
  let swaps = 0;
  const swap = (): void => {
    try {
      renameSync(at('dir'), at('kept'));
      renameSync(at('link'), at('dir'));
    } catch {
      // In between the name was free, and a directory of the volume's own was made there.
      rmSync(at('dir'), { recursive: true, force: true });
      symlinkSync('/etc', at('dir'));
      rmSync(at('link'), { force: true });
    }
    setImmediate(() => {
      renameSync(at('dir'), at('link'));
      try {
        renameSync(at('kept'), at('dir'));
      } catch {
        rmSync(at('dir'), { recursive: true });
        renameSync(at('kept'), at('dir'));
      }
      swaps += 1;
      if (swapping) setImmediate(swap);
    });
  };
  swap();
  try {
    for (let attempt = 0; attempt < 25; attempt += 1) {
      await bindSubPath(mounter, volume, 'dir', target).catch(() => {});
      for (const point of await mounter.mountsBelow(target)) {
        // Of the volume in any case: what was there, or what was made where nothing was.
        expect([['inside'], []]).toContainEqual(readdirSync(point));
        await mounter.unmount(point);
      }
    }
  } finally {
    swapping = false;
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  }
  expect(swaps).toBeGreaterThan(25);
});
