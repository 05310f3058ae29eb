import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * The kubectl of Debian's kubernetes-client (1.20 in Debian 12), unpacked into a folder of its own, so that the one on
 * the PATH stays. Fetched once; later runs need no network.
 */
export function debianKubectl(): string {
  const folder = join(
    process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
    'copepod',
    'kubernetes-client',
  );
  const program = join(folder, 'usr/bin/kubectl');
  if (existsSync(program)) return program;
  const making = `${folder}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  // apt fetches as a user of its own.
  chmodSync(making, 0o777);
  try {
    const download = (): void => void run('apt-get', ['download', 'kubernetes-client'], making);
    try {
      download();
    } catch {
      run('apt-get', ['update'], making);
      download();
    }
    const [archive] = readdirSync(making).filter((name) => name.endsWith('.deb'));
    if (!archive) throw new Error('apt-get has downloaded nothing');
    run('dpkg', ['-x', archive, '.'], making);
    rmSync(join(making, archive));
    rmSync(folder, { recursive: true, force: true });
    renameSync(making, folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return program;
}

function run(command: string, args: readonly string[], cwd: string): void {
  execFileSync(command, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'], timeout: 120_000 });
}
