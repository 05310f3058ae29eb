import type { Stats } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

export interface DirectoryUse {
  /** What the files take on the disk: blocks, not lengths. */
  bytes: number;
  inodes: number;
}

/**
 * What lies below a directory, as `du -x` counts: no other file system is entered, a file with several names counts
 * once. Files that vanish meanwhile count for nothing. Undefined when there is no such directory.
 */
export async function directoryUse(path: string): Promise<DirectoryUse | undefined> {
  const root = await lstat(path).catch(() => undefined);
  if (!root?.isDirectory()) return undefined;
  const use = { bytes: 0, inodes: 0 };
  const linked = new Set<number>();
  const count = ({ blocks, ino, nlink }: Stats, directory: boolean): void => {
    if (!directory && nlink > 1) {
      if (linked.has(ino)) return;
      linked.add(ino);
    }
    use.bytes += blocks * 512;
    use.inodes += 1;
  };
  count(root, true);
  const left = [path];
  for (let directory = left.pop(); directory !== undefined; directory = left.pop()) {
    const entries = await opendir(directory).catch(() => undefined);
    if (!entries) continue;
    for await (const { name } of entries) {
      const entry = join(directory, name);
      const stats = await lstat(entry).catch(() => undefined);
      if (!stats || stats.dev !== root.dev) continue;
      count(stats, stats.isDirectory());
      if (stats.isDirectory()) left.push(entry);
    }
  }
  return use;
}
