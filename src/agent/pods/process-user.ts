import { readFile } from 'node:fs/promises';
import type { LinuxContainerUser } from '../../api/types/core-v1.ts';

/** Whom a container's first process runs as. Undefined: it has ended already. */
export async function processUser(pid: number): Promise<LinuxContainerUser | undefined> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return parseProcessUser(text);
}

/** The effective ids of `/proc/<pid>/status`; the groups with the primary one, as runtimes tell them. */
export function parseProcessUser(text: string): LinuxContainerUser | undefined {
  const ids = (name: string): number[] | undefined =>
    new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.split(/\s+/).filter(Boolean).map(Number);
  const [, uid] = ids('Uid') ?? [];
  const [, gid] = ids('Gid') ?? [];
  if (uid === undefined || gid === undefined) return undefined;
  return { uid, gid, supplementalGroups: [...new Set([gid, ...(ids('Groups') ?? [])])] };
}
