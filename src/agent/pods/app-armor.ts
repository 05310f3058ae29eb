import { readFile } from 'node:fs/promises';

/** Has this machine's kernel AppArmor, switched on? */
export async function hasAppArmor(): Promise<boolean> {
  const enabled = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => '');
  return enabled.trim() === 'Y';
}
