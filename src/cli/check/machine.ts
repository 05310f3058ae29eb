import { execFile } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { createServer } from 'node:net';
import { totalmem } from 'node:os';
import { dirname } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { type EngineVersion, engineVersion } from '../docker-socket.ts';

/** What the checks look at. */
export interface Machine {
  readonly uid: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Bytes. */
  readonly totalMemory: number;
  /** The file's text, or undefined when it cannot be read. */
  read(path: string): string | undefined;
  run(command: string, args: string[]): Promise<RunResult>;
  engineVersion(dockerHost: string): Promise<EngineVersion>;
  /** Bytes free where `path` lies or will lie. */
  freeDisk(path: string): number;
  /** Without an address: at all of them. */
  canListen(address: string | undefined, port: number): Promise<boolean>;
}

export interface RunResult {
  code: number;
  stdout: string;
  stderr: string;
  notFound: boolean;
}

export function thisMachine(clock: Clock): Machine {
  return {
    uid: process.getuid?.() ?? -1,
    now: clock.now(),
    totalMemory: totalmem(),
    read: (path) => {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return undefined;
      }
    },
    run,
    engineVersion: (dockerHost) => engineVersion(dockerHost),
    freeDisk,
    canListen,
  };
}

/** `ip` and `nft` live in /usr/sbin, which is not on an ordinary user's PATH. */
const PATH = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`;

function run(command: string, args: string[]): Promise<RunResult> {
  return new Promise((resolve) => {
    const options = {
      timeout: 10_000,
      encoding: 'utf8' as const,
      env: { ...process.env, PATH, LC_ALL: 'C' },
    };
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      const notFound = (error as NodeJS.ErrnoException | null)?.code === 'ENOENT';
      resolve({ code, stdout, stderr: stderr || error?.message || '', notFound });
    });
  });
}

function freeDisk(path: string): number {
  for (let place = path; ; place = dirname(place)) {
    try {
      const { bavail, bsize } = statfsSync(place);
      return bavail * bsize;
    } catch {
      if (place === '/') return 0;
    }
  }
}

function canListen(address: string | undefined, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    const host = address === undefined ? {} : { host: address };
    server.listen({ ...host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
