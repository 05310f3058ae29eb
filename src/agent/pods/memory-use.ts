import { readFile } from 'node:fs/promises';

/**
 * Bytes of memory that the control group of process `pid` holds and cannot give back: its use less the pages of files.
 * Undefined: not known.
 */
export async function memoryUse(pid: number): Promise<number | undefined> {
  const { groupFiles } = await import('../../health/control-groups.ts');
  const text = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
  const files = groupFiles(await text(`/proc/${pid}/cgroup`));
  if (!files) return undefined;
  const [usage, stat] = await Promise.all([
    text(`${files.memory}/${files.version === 2 ? 'memory.current' : 'memory.usage_in_bytes'}`),
    text(`${files.memory}/memory.stat`),
  ]);
  if (!/^\d+$/.test(usage.trim())) return undefined;
  const prefix = files.version === 2 ? '' : 'total_';
  const pages = (kind: string): number =>
    Number(new RegExp(`^${prefix}${kind}_file (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
  return Math.max(0, Number(usage) - pages('active') - pages('inactive'));
}
