import { chmod, lchown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { PodSecurityContext } from '../../api/types/core-v1.ts';

const GROUP_READ_WRITE = 0o060;
const GROUP_DIRECTORY = 0o2070;

/**
 * Gives a volume to the pod's fsGroup as the kubelet's SetVolumeOwnership: group, group rights, and setgid on directories
 * so that new files belong to it. With OnRootMismatch only where the volume's root is not right yet.
 */
export async function applyFsGroup(path: string, security: PodSecurityContext | undefined): Promise<void> {
  const gid = security?.fsGroup;
  if (gid === undefined) return;
  if (security?.fsGroupChangePolicy === 'OnRootMismatch') {
    const { gid: owner, mode } = await lstat(path);
    if (owner === gid && (mode & GROUP_DIRECTORY) === GROUP_DIRECTORY) return;
  }
  await give(path, gid);
}

/** The root last: OnRootMismatch may rely on it when this was cut short. */
async function give(path: string, gid: number): Promise<void> {
  const stats = await lstat(path);
  if (stats.isDirectory()) for (const name of await readdir(path)) await give(join(path, name), gid);
  if (stats.gid !== gid) await lchown(path, stats.uid, gid);
  if (stats.isSymbolicLink()) return;
  const wanted = stats.mode | (stats.isDirectory() ? GROUP_DIRECTORY : GROUP_READ_WRITE);
  // chown takes setgid away.
  if (wanted !== stats.mode || stats.gid !== gid) await chmod(path, wanted & 0o7777);
}
