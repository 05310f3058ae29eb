// `copepod secrets-encrypt`: works on the key file alone; the server need not run.
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { ENCRYPTION_KEYS_FILE, EncryptionKeys, type EncryptionStatus } from './store/encryption-keys.ts';

/** What to print, and the exit code. Throws the system's error when the key file cannot be read or written. */
export function secretsEncrypt(
  action: 'status' | 'rotate',
  dataDir: string,
  clock: Clock,
  random: Random,
): { text: string; code: number } {
  const file = join(dataDir, 'server', ENCRYPTION_KEYS_FILE);
  const keys = EncryptionKeys.read(file, random);
  if (!keys) {
    const hint = 'Secrets are not encrypted: start `copepod server` with --secrets-encryption\n';
    return { text: hint, code: action === 'status' ? 0 : 1 };
  }
  if (action === 'rotate') keys.addKey(clock.now());
  return { text: describe(keys.status()), code: 0 };
}

function describe({ enabled, activeKey, keys, pending }: EncryptionStatus): string {
  return [
    `Encryption Status: ${enabled ? 'Enabled' : 'Disabled'}`,
    `Rotation: ${pending ? 'the next start of the server rewrites all Secrets with the active key' : 'finished'}`,
    'Active  Key                           Created',
    ...keys.map(
      ({ name, created }) => `${name === activeKey ? '  *   ' : '      '}  ${name.padEnd(28)}  ${created}`,
    ),
    '',
  ].join('\n');
}
