import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';

/** One program run as data, so that what is to be done can be decided, compared and printed without doing it. */
export interface NetCommand {
  file: string;
  args: readonly string[];
  stdin?: string;
}

/** All that the pod network asks of the operating system. Everything applies to the network namespace of this process. */
export interface NetCommands {
  /** The program's standard output. Throws CommandError; never runs longer than its own deadline. */
  run(command: NetCommand): Promise<string>;
  /** Writes a file below /proc/sys. Throws CommandError. */
  write(path: string, value: string): Promise<void>;
  /** A file below /proc, or undefined where the kernel does not have it. */
  read(path: string): Promise<string | undefined>;
}

export class CommandError extends Error {
  /** True when the program is not installed. */
  readonly missing: boolean;
  /** It did not end in time, and was ended. */
  readonly timedOut: boolean;
  readonly stderr: string;

  constructor(command: string, options: { missing: boolean; stderr: string; timedOut?: boolean }) {
    super(options.missing ? `${command} is not installed` : `${command}: ${options.stderr.trim()}`);
    this.name = 'CommandError';
    this.missing = options.missing;
    this.timedOut = options.timedOut ?? false;
    this.stderr = options.stderr;
  }
}

export type NetworkErrorCode =
  | 'NoPodCIDR'
  | 'AddressesExhausted'
  | 'HostPortTaken'
  | 'Unsupported'
  | 'CommandFailed'
  | 'CommandMissing';

/** The message is fit for a pod's FailedCreatePodSandBox event. */
export class NetworkError extends Error {
  readonly code: NetworkErrorCode;

  constructor(code: NetworkErrorCode, message: string) {
    super(message);
    this.name = 'NetworkError';
    this.code = code;
  }

  static from(error: unknown): NetworkError {
    if (error instanceof NetworkError) return error;
    if (error instanceof CommandError) {
      return new NetworkError(error.missing ? 'CommandMissing' : 'CommandFailed', error.message);
    }
    return new NetworkError('CommandFailed', error instanceof Error ? error.message : String(error));
  }
}

/** `ip -batch` stops at the first line that fails, and says which. */
export function ipBatch(lines: readonly string[]): NetCommand {
  return { file: 'ip', args: ['-batch', '-'], stdin: `${lines.join('\n')}\n` };
}

/** The same inside the network namespace of a process. */
export function ipBatchIn(pid: number, lines: readonly string[]): NetCommand {
  return {
    file: 'nsenter',
    args: ['-t', String(pid), '-n', 'ip', '-batch', '-'],
    stdin: `${lines.join('\n')}\n`,
  };
}

/** Several programs one after the other in one process of ours; the first that fails ends it, and its words are the error's. */
export function oneShell(commands: readonly NetCommand[]): NetCommand {
  const lines = commands.map(({ file, args, stdin }) => {
    const line = [file, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    return stdin === undefined ? `${line} </dev/null\n` : `${line} <<'${END}'\n${stdin}${END}\n`;
  });
  return { file: '/bin/sh', args: ['-e'], stdin: lines.join('') };
}

/** Ends the input of a program within a shell; no line of ours reads so. */
const END = '--copepod--';

export function nftScript(script: string): NetCommand {
  return { file: 'nft', args: ['-f', '-'], stdin: script };
}

/** Where a package manager puts them; a service's PATH may lack the sbin folders. */
const SBIN = '/usr/local/sbin:/usr/sbin:/sbin';
const LARGEST_OUTPUT = 16 * 1024 * 1024;

/** Runs the real programs, a few at a time: twenty pods at once shall not mean forty processes at once. */
export class SystemNetCommands implements NetCommands {
  private readonly timeoutMs: number;
  private readonly concurrency: number;
  private readonly waiting: (() => void)[] = [];
  private running = 0;

  constructor(options: { timeoutMs?: number; concurrency?: number } = {}) {
    this.timeoutMs = options.timeoutMs ?? 20_000;
    this.concurrency = options.concurrency ?? 4;
  }

  async run(command: NetCommand): Promise<string> {
    if (this.running >= this.concurrency) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running += 1;
    try {
      return await this.execute(command);
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.running -= 1;
    }
  }

  async write(path: string, value: string): Promise<void> {
    try {
      await writeFile(path, value);
    } catch (error) {
      throw new CommandError(`writing ${path}`, { missing: false, stderr: String(error) });
    }
  }

  async read(path: string): Promise<string | undefined> {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new CommandError(`reading ${path}`, { missing: false, stderr: String(error) });
    }
  }

  private execute({ file, args, stdin }: NetCommand): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = execFile(
        file,
        args,
        {
          timeout: this.timeoutMs,
          killSignal: 'SIGKILL',
          maxBuffer: LARGEST_OUTPUT,
          env: { ...process.env, PATH: `${process.env.PATH ?? ''}:${SBIN}`, LC_ALL: 'C' },
        },
        (error, stdout, stderr) => {
          if (!error) return resolve(stdout);
          const failure = error as NodeJS.ErrnoException & { killed?: boolean };
          const text = failure.killed ? `no answer within ${this.timeoutMs} ms` : stderr || failure.message;
          reject(
            new CommandError(file, {
              missing: failure.code === 'ENOENT',
              stderr: text,
              timedOut: failure.killed ?? false,
            }),
          );
        },
      );
      // A program that ends before it has read everything closes the pipe; its exit status tells the story.
      child.stdin?.on('error', () => {});
      child.stdin?.end(stdin ?? '');
    });
  }
}
