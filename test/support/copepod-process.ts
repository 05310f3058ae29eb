import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isFresh, root } from '../../scripts/lib/bundle.mjs';
import { pinnedNode } from '../../scripts/lib/dependencies.mjs';
import { AGENT_NODE_OPTIONS, NODE_ENVIRONMENT, NODE_OPTIONS } from '../../scripts/lib/runtime-options.mjs';
import { endAtExit, forgetAtExit } from './at-exit.ts';
import type { Place } from './boards.ts';
import { waitFor } from './wait.ts';

/** The built program as a process of its own, started again and again on the same command line. */
export class CopepodProcess {
  private readonly args: () => readonly string[];
  private readonly place: Place | undefined;
  private readonly logFile: string;
  private readonly environment: Readonly<Record<string, string>>;
  private child: ChildProcess | undefined;
  private readonly onExit = (): void => {
    this.child?.kill('SIGKILL');
  };

  constructor(options: {
    /** Asked for when it starts. */
    args: () => readonly string[];
    logFile: string;
    /** Absent: this machine. */
    place?: Place | undefined;
    environment?: Readonly<Record<string, string>>;
  }) {
    this.environment = options.environment ?? {};
    this.args = options.args;
    this.logFile = options.logFile;
    this.place = options.place;
  }

  start(): void {
    if (this.running) throw new Error('already running');
    ensureBundle();
    endAtExit(this.onExit);
    const log = openSync(this.logFile, 'a');
    const args = this.args();
    const [command = '', ...rest] = [
      ...(this.place?.enter ?? []),
      pinnedNode(),
      ...(args[0] === 'agent' ? AGENT_NODE_OPTIONS : NODE_OPTIONS),
      join(root, 'dist/copepod.js'),
      ...args,
    ];
    this.child = spawn(command, rest, {
      stdio: ['ignore', log, log],
      env: { ...environment(), ...this.environment },
    });
    closeSync(log);
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number {
    const pid = this.child?.pid;
    if (pid === undefined) throw new Error('not started');
    return pid;
  }

  /** SIGKILL: nothing is flushed, nobody is told. Resolves when the process is gone. */
  kill(): Promise<void> {
    return this.end('SIGKILL', 10_000).then(() => {});
  }

  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null> {
    return this.end('SIGTERM', 60_000);
  }

  /** Everything that it has printed; nothing before its first start. */
  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
  }

  /** For a failure's message. */
  logTail(lines = 60): string {
    return `--- ${this.logFile}\n${this.log().trimEnd().split('\n').slice(-lines).join('\n')}`;
  }

  private async end(signal: NodeJS.Signals, timeoutMs: number): Promise<number | null> {
    const { child } = this;
    if (!child) return null;
    child.kill(signal);
    await waitFor(`copepod (pid ${child.pid}) to end by ${signal}`, () => !this.running, {
      timeoutMs,
      details: () => this.logTail(),
    });
    forgetAtExit(this.onExit);
    return child.exitCode;
  }
}

/** COPEPOD_… of the person who runs the tests must not configure what is tested. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('COPEPOD_') && !['NODE_OPTIONS', 'DOCKER_HOST', 'KUBECONFIG'].includes(name),
  );
  return { ...NODE_ENVIRONMENT, ...Object.fromEntries(own) };
}

/** scripts/test.mjs has built it; a single file run by hand builds what has changed. */
function ensureBundle(): void {
  if (isFresh(join(root, 'dist'))) return;
  execFileSync(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: root, stdio: 'pipe' });
}
