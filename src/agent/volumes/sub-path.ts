import {
  chmod,
  chown,
  constants,
  type FileHandle,
  mkdir,
  open,
  realpath,
  stat,
  writeFile,
} from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import type { VolumeMount } from '../../api/types/core-v1.ts';
import { ContainerConfigError } from '../containers/config-error.ts';
import { expand } from '../containers/expansion.ts';
import type { Mounter } from './port.ts';

/** open(2) for a place only; Node does not name it. The same on all architectures that Node runs on under Linux. */
const O_PATH = 0o10000000;
const PLACE = O_PATH | constants.O_NOFOLLOW;

/** subPath, or subPathExpr with the container's environment; undefined where the whole volume is mounted. */
export function subPathOf(mount: VolumeMount, env: ReadonlyMap<string, string>): string | undefined {
  if (!mount.subPathExpr) return mount.subPath || undefined;
  let missing: string | undefined;
  const path = expand(mount.subPathExpr, (name) => {
    if (!env.has(name)) missing = name;
    return env.get(name);
  });
  if (missing !== undefined) {
    throw new ContainerConfigError(`missing value for "${missing}" in subPathExpr of volume "${mount.name}"`);
  }
  if (isAbsolute(path) || path.split('/').includes('..')) {
    throw new ContainerConfigError(
      `subPathExpr of volume "${mount.name}" expands to the invalid path "${path}"`,
    );
  }
  return path;
}

/** The path leads out of the volume, or turns into a symlink while it is being looked at. */
export class UnsafePath extends Error {
  constructor(path: string) {
    super(`${path} leads out of the volume`);
    this.name = 'UnsafePath';
  }
}

/**
 * The real path of a subPath inside `root`. For content that no container can write; else see bindSubPath.
 * Throws UnsafePath; ENOENT when it is not there.
 */
export async function resolveInside(root: string, subPath: string): Promise<string> {
  const base = await realpath(root);
  const found = await realpath(join(base, subPath));
  if (!inside(base, found)) throw new UnsafePath(subPath);
  return found;
}

/**
 * Binds a subPath of a volume that containers write to at `target`, making the directory when it is missing. Whoever can
 * write to the volume could put a symlink to the host's files in place between a check and the engine's mount
 * (CVE-2017-1002101, CVE-2021-25741), so the path is opened part by part without following any, and what was opened is
 * what is mounted. Idempotent. Throws UnsafePath.
 */
export async function bindSubPath(
  mounter: Pick<Mounter, 'bindOpen' | 'unmount' | 'mountsBelow'>,
  root: string,
  subPath: string,
  target: string,
): Promise<void> {
  const place = await openInside(await realpath(root), subPath);
  try {
    const wanted = await place.stat();
    const mounted = (await mounter.mountsBelow(target)).includes(target);
    if (mounted) {
      const present = await stat(target);
      if (present.dev === wanted.dev && present.ino === wanted.ino) return;
      await mounter.unmount(target);
    }
    if (wanted.isDirectory()) await mkdir(target, { recursive: true, mode: 0o755 });
    else {
      await mkdir(dirname(target), { recursive: true, mode: 0o755 });
      await writeFile(target, '', { mode: 0o640 });
    }
    await mounter.bindOpen(place.fd, target);
  } finally {
    await place.close();
  }
}

/** Opens (and makes) a path below `base`. Symlinks that stay inside are followed once, by name, before it is opened. */
async function openInside(base: string, subPath: string): Promise<FileHandle> {
  const wanted = subPath.split('/').filter((part) => part !== '' && part !== '.');
  let real = base;
  let missing: string[] = [];
  for (const [index, part] of wanted.entries()) {
    const found = await realpath(join(real, part)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return undefined;
    });
    if (found === undefined) {
      missing = wanted.slice(index);
      break;
    }
    if (!inside(base, found)) throw new UnsafePath(subPath);
    real = found;
  }
  const { mode, gid } = await stat(base);
  let place = await open(base, PLACE | constants.O_DIRECTORY);
  try {
    for (const part of relative(base, real).split('/').filter(Boolean))
      place = await step(place, part, subPath);
    for (const part of missing) {
      const path = `/proc/self/fd/${place.fd}/${part}`;
      const made = await mkdir(path, { mode: mode & 0o777 }).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error;
          return false;
        },
      );
      place = await step(place, part, subPath);
      if (made) await adopt(place, mode, gid);
    }
    return place;
  } catch (error) {
    await place.close();
    throw error;
  }
}

/** From a directory to what it holds under this name; a symlink is refused, not followed. Closes the directory. */
async function step(directory: FileHandle, name: string, subPath: string): Promise<FileHandle> {
  const next = await open(`/proc/self/fd/${directory.fd}/${name}`, PLACE);
  if ((await next.stat()).isSymbolicLink()) {
    await next.close();
    throw new UnsafePath(subPath);
  }
  await directory.close();
  return next;
}

/** A directory that was made belongs to the pod as the volume's root does. The umask has taken rights away. */
async function adopt(place: FileHandle, mode: number, gid: number): Promise<void> {
  const path = `/proc/self/fd/${place.fd}`;
  await chown(path, 0, gid);
  await chmod(path, mode & 0o7777);
}

function inside(base: string, path: string): boolean {
  const way = relative(base, path);
  return way === '' || !(way === '..' || way.startsWith('../') || isAbsolute(way));
}
