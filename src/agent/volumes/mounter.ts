import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Mounter } from './port.ts';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 20_000;
const NFS_HELPERS = ['/sbin/mount.nfs', '/usr/sbin/mount.nfs'];
/** A server that does not answer is waited for by mount(8) for minutes. */
const NFS_TIMEOUT_MS = 60_000;

/** mount(8) and umount(8): Node has no system call for them. */
export class SystemMounter implements Mounter {
  async mountTmpfs(path: string, options: { sizeBytes?: number; mode: string }): Promise<void> {
    const flags = [`mode=${options.mode}`, ...(options.sizeBytes ? [`size=${options.sizeBytes}`] : [])];
    await run('mount', ['-t', 'tmpfs', '-o', flags.join(','), 'tmpfs', path], {
      timeout: COMMAND_TIMEOUT_MS,
    });
  }

  async mountNfs(
    path: string,
    { server, path: exported, options }: { server: string; path: string; options: readonly string[] },
  ): Promise<void> {
    const found = await Promise.all(
      NFS_HELPERS.map((helper) =>
        access(helper, constants.X_OK).then(
          () => true,
          () => false,
        ),
      ),
    );
    if (!found.includes(true)) {
      throw new Error('NFS needs the program mount.nfs on this node (Debian: apt install nfs-common)');
    }
    const host = server.includes(':') ? `[${server}]` : server;
    const flags = options.length > 0 ? ['-o', options.join(',')] : [];
    await run('mount', ['-t', 'nfs', ...flags, `${host}:${exported}`, path], { timeout: NFS_TIMEOUT_MS });
  }

  async bindOpen(fd: number, target: string): Promise<void> {
    // The child finds it as its descriptor 3. A path that mount(8) resolved again would be a name, not what was opened.
    const child = spawn('mount', ['--no-canonicalize', '--bind', '/proc/self/fd/3', target], {
      stdio: ['ignore', 'ignore', 'pipe', fd],
      timeout: COMMAND_TIMEOUT_MS,
    });
    let words = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      words = (words + chunk.toString()).slice(0, 1024);
    });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`mount of a subPath failed: ${words.trim() || `exit code ${code}`}`);
  }

  async unmount(path: string): Promise<void> {
    await run('umount', [path], { timeout: COMMAND_TIMEOUT_MS });
  }

  async mountsBelow(path: string): Promise<string[]> {
    const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
    return mountPoints(mountinfo).filter((point) => point === path || point.startsWith(`${path}/`));
  }
}

/** The fifth field of each line; blanks and the like are written as octal escapes. */
export function mountPoints(mountinfo: string): string[] {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((point) => point !== undefined)
    .map((point) =>
      point.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    );
}
