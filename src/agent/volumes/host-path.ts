import type { Stats } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import type { HostPathVolumeSource } from '../../api/types/core-v1.ts';
import { VolumeError } from './port.ts';

/** What each type demands of what is there; `create` makes it when nothing is. */
const TYPES: Readonly<
  Record<string, { is: (stats: Stats) => boolean; noun: string; create?: (path: string) => Promise<void> }>
> = {
  Directory: { is: (stats) => stats.isDirectory(), noun: 'a directory' },
  DirectoryOrCreate: {
    is: (stats) => stats.isDirectory(),
    noun: 'a directory',
    create: async (path) => void (await mkdir(path, { recursive: true, mode: 0o755 })),
  },
  File: { is: (stats) => stats.isFile(), noun: 'a file' },
  FileOrCreate: {
    is: (stats) => stats.isFile(),
    noun: 'a file',
    create: async (path) => (await open(path, 'a', 0o644)).close(),
  },
  Socket: { is: (stats) => stats.isSocket(), noun: 'a socket file' },
  CharDevice: { is: (stats) => stats.isCharacterDevice(), noun: 'a character device' },
  BlockDevice: { is: (stats) => stats.isBlockDevice(), noun: 'a block device' },
};

/** Checks a hostPath by its type, creating it where the type says so. */
export async function prepareHostPath(volume: string, source: HostPathVolumeSource): Promise<void> {
  const { path, type = '' } = source;
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw new VolumeError(volume, `hostPath ${path}: ${error.message}`);
  });
  if (type === '') {
    // No check, says Kubernetes; Docker has always made a missing directory.
    if (!found) await mkdir(path, { recursive: true, mode: 0o755 });
    return;
  }
  const rule = TYPES[type];
  if (!rule) throw new VolumeError(volume, `${type} is an invalid volume type`);
  if (!found && rule.create) {
    await rule.create(path).catch((error: Error) => {
      throw new VolumeError(volume, `hostPath ${path}: ${error.message}`);
    });
    return;
  }
  if (!found || !rule.is(found)) {
    throw new VolumeError(volume, `hostPath type check failed: ${path} is not ${rule.noun}`);
  }
}
