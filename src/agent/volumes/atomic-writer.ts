import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { nameSuffix, type Random } from '../../lib/random.ts';

export interface PayloadFile {
  data: Buffer;
  mode: number;
  /** Owner; root unless told. */
  uid?: number;
}

/** Files of a volume by path relative to it. */
export type Payload = Map<string, PayloadFile>;

const DATA = '..data';
const NEW_DATA = '..data_tmp';

/**
 * Replaces the content of a directory at one instant, as the kubelet's AtomicWriter: the files lie in a new
 * `..<timestamp>` directory, `..data` is a symlink to it that is switched by rename(2), and what the container sees are
 * symlinks through `..data`. A reader never sees files of two versions, unless it holds one open.
 */
export async function writeAtomically(
  directory: string,
  payload: Payload,
  options: { clock: Clock; random: Random; gid?: number },
): Promise<void> {
  const previous = await readlink(join(directory, DATA)).catch(() => undefined);
  const stamp = new Date(options.clock.now()).toISOString().slice(0, 19).replace(/[-T:]/g, '_');
  const version = `..${stamp}.${nameSuffix(options.random, 9)}`;
  const root = join(directory, version);
  await mkdir(root, { mode: 0o755 });
  await own(root, 0o755, options.gid);
  const made = new Set([root]);
  for (const [path, file] of payload) {
    const target = join(root, path);
    for (const parent of missingParents(root, dirname(target), made)) {
      await mkdir(parent, { mode: 0o755 });
      await own(parent, 0o755, options.gid);
    }
    await writeFile(target, file.data, { mode: file.mode });
    // writeFile's mode passes through the umask.
    await chmod(target, options.gid === undefined ? file.mode : file.mode | 0o440);
    if (file.uid !== undefined || options.gid !== undefined)
      await chown(target, file.uid ?? 0, options.gid ?? 0);
  }
  await rm(join(directory, NEW_DATA), { force: true });
  await symlink(version, join(directory, NEW_DATA));
  await rename(join(directory, NEW_DATA), join(directory, DATA));
  await linkTopLevel(directory, payload);
  if (previous !== undefined && previous !== version) {
    await rm(join(directory, previous), { recursive: true, force: true });
  }
}

async function linkTopLevel(directory: string, payload: Payload): Promise<void> {
  const names = new Set([...payload.keys()].map((path) => path.split('/')[0] ?? path));
  for (const entry of await readdir(directory)) {
    if (entry.startsWith('..') || names.has(entry)) continue;
    await rm(join(directory, entry), { force: true });
  }
  for (const name of names) {
    const link = join(directory, name);
    const exists = await lstat(link).then(
      () => true,
      () => false,
    );
    if (!exists) await symlink(join(DATA, name), link);
  }
}

function missingParents(root: string, directory: string, made: Set<string>): string[] {
  const missing: string[] = [];
  for (let parent = directory; parent !== root && !made.has(parent); parent = dirname(parent)) {
    missing.unshift(parent);
    made.add(parent);
  }
  return missing;
}

async function own(path: string, mode: number, gid: number | undefined): Promise<void> {
  if (gid === undefined) return;
  await chown(path, 0, gid);
  await chmod(path, mode | 0o2050);
}
