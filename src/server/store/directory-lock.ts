import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DirectoryInUse } from './errors.ts';

export interface DirectoryLock {
  release(): void;
}

/**
 * Makes this process the only one to work on a data directory, or throws DirectoryInUse. Take it before anything in
 * the directory is read or made. The lock is the kernel's (fcntl, through SQLite, which Node has no other way to ask
 * for), so that it is gone with the process however that ends; the file `lock` stays and means nothing by itself.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const { default: Database } = await import('better-sqlite3');
  const file = join(directory, 'lock');
  const database = new Database(file, { timeout: 0 });
  try {
    database.pragma('locking_mode = EXCLUSIVE');
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) {
      throw new DirectoryInUse(directory, holder(file));
    }
    throw error;
  }
  return { release: () => database.close() };
}

/** The process that holds a lock on a file, from /proc/locks (proc(5)); nothing where it cannot be found out. */
function holder(file: string): number | undefined {
  try {
    const { ino } = statSync(file);
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const match = /POSIX\s+\S+\s+WRITE\s+(\d+)\s+[0-9a-f]+:[0-9a-f]+:(\d+)\s/.exec(line);
      if (match && Number(match[2]) === ino) return Number(match[1]);
    }
  } catch {}
  return undefined;
}
