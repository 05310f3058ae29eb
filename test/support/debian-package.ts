import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * The files of a Debian package, unpacked into a folder of their own: nothing is installed, and what the machine has of
 * it stays. Fetched once; later runs need no network. Returns the folder that stands for `/`.
 */
export function debianPackage(name: string): string {
  const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'copepod', name);
  if (existsSync(folder)) return folder;
  const making = `${folder}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  // apt fetches as a user of its own.
  chmodSync(making, 0o777);
  try {
    const download = (): void => void run('apt-get', ['download', name], making);
    try {
      download();
    } catch {
      run('apt-get', ['update'], making);
      download();
    }
    const [archive] = readdirSync(making).filter((file) => file.endsWith('.deb'));
    if (!archive) throw new Error('apt-get has downloaded nothing');
    run('dpkg', ['-x', archive, '.'], making);
    rmSync(join(making, archive));
    renameSync(making, folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return folder;
}

/** The kubectl of Debian's kubernetes-client: 1.20 in Debian 12. */
export function debianKubectl(): string {
  return join(debianPackage('kubernetes-client'), 'usr/bin/kubectl');
}

/** The environment of a program whose wall clock begins at that time, `@YYYY-MM-DD hh:mm:ss` or `+1d`; its timers stay right. */
export function clockAt(time: string): Record<string, string> {
  const folder = join(debianPackage('libfaketime'), 'usr/lib');
  const [library] = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('/libfaketimeMT.so.1'),
  );
  if (!library) throw new Error('libfaketime has no library');
  return {
    LD_PRELOAD: join(folder, library),
    FAKETIME: time,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
}

function run(command: string, args: readonly string[], cwd: string): void {
  execFileSync(command, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'], timeout: 120_000 });
}
