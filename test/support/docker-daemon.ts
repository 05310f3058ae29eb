import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBusyboxImage } from '../../scripts/lib/busybox-image.mjs';
import { dockerCall, dockerRequest, engineAnswers } from '../../scripts/lib/docker-api.mjs';
import {
  type EngineLayout,
  engineLayout,
  enginePid,
  removeEngineFiles,
  startEngine,
} from '../../scripts/lib/private-engine.mjs';
import { endAtExit, forgetAtExit } from './at-exit.ts';
import { waitFor } from './wait.ts';

/** A container as `GET /containers/json` lists it; only what tests look at. */
export interface ListedContainer {
  Id: string;
  Names: string[];
  State: string;
  Image: string;
  Labels: Record<string, string>;
}

/**
 * A Docker Engine of the test's own, with the busybox image in it. `prefix` starts it inside other namespaces.
 * Stops exactly that engine, by the pid that it wrote, and removes its files.
 */
export class DockerDaemon {
  readonly socket: string;
  readonly dockerHost: string;
  private readonly directory: string;
  private readonly layout: EngineLayout;
  private readonly prefix: readonly string[];
  private readonly extraArguments: readonly string[];
  private readonly onExit = (): void => this.endAtOnce();

  constructor(options: { prefix?: readonly string[]; extraArguments?: readonly string[] } = {}) {
    this.directory = mkdtempSync(join(tmpdir(), 'copepod-docker-'));
    this.layout = engineLayout(this.directory);
    this.prefix = options.prefix ?? [];
    this.extraArguments = options.extraArguments ?? [];
    this.socket = this.layout.socket;
    this.dockerHost = `unix://${this.socket}`;
  }

  async start(): Promise<void> {
    endAtExit(this.onExit);
    const { prefix, extraArguments } = this;
    await startEngine(this.layout, { prefix: [...prefix], extraArguments: [...extraArguments] });
    await ensureBusyboxImage(this.socket);
  }

  get pid(): number | undefined {
    return enginePid(this.layout);
  }

  /** Where the engine keeps images and containers. */
  get dataRoot(): string {
    return this.layout.dataRoot;
  }

  /** Where it keeps what is only true while it runs. */
  get execRoot(): string {
    return this.layout.execRoot;
  }

  /**
   * SIGKILL, as a crash; containers live on. Start again with `start`. Resolves when its containerd has ended too, which
   * happens by itself: an engine that starts while the old containerd is still there takes it for its own, and fails.
   */
  async kill(): Promise<void> {
    const { pid, pids } = this;
    if (pid === undefined) return;
    forgetAtExit(this.onExit);
    process.kill(pid, 'SIGKILL');
    await waitFor('the engine to end', () => pids.every(ended), { intervalMs: 5 });
  }

  /** As `kill`, and with it every process of a container, as when the board loses its power. */
  async powerCut(): Promise<void> {
    await this.kill();
    this.endForgotten();
  }

  async stop(): Promise<void> {
    forgetAtExit(this.onExit);
    await this.endContainers();
    await this.endEngine();
    this.endForgotten();
    rmSync(this.layout.pidfile, { force: true });
    removeEngineFiles(this.layout);
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** The engine leaves the connections of execs to its garbage collector, which may not run for two minutes. */
  async collect(): Promise<void> {
    await dockerRequest(this.socket, 'GET', '/debug/pprof/heap?gc=1&debug=1');
  }

  call(method: string, path: string, body?: object): Promise<unknown> {
    return dockerCall(
      this.socket,
      method,
      path,
      body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) },
    );
  }

  /** The files of an image as one tar, as `importImage` takes it. */
  exportImage(reference: string): Buffer {
    const docker = (...args: string[]): Buffer =>
      execFileSync('docker', ['-H', this.dockerHost, ...args], { maxBuffer: 64 * 1024 * 1024 });
    const id = docker('create', reference).toString().trim();
    try {
      return docker('export', id);
    } finally {
      docker('rm', id);
    }
  }

  /** Containers that carry all of these labels; running ones unless `all`. */
  async containers(labels: Record<string, string> = {}, all = false): Promise<ListedContainer[]> {
    const filters = { label: Object.entries(labels).map(([key, value]) => `${key}=${value}`) };
    const query = new URLSearchParams({ all: String(all), filters: JSON.stringify(filters) });
    return (await this.call('GET', `/containers/json?${query}`)) as ListedContainer[];
  }

  private async endContainers(): Promise<void> {
    if (this.pid === undefined || !(await engineAnswers(this.socket))) return;
    const running = await this.containers();
    await Promise.allSettled(running.map(({ Id }) => this.call('POST', `/containers/${Id}/stop?t=0`)));
  }

  /** At once: nothing of it is needed again, and in order it would take a second. */
  private async endEngine(): Promise<void> {
    const pids = this.pids;
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await waitFor('the engine to end', () => pids.every(dead), { intervalMs: 5 });
  }

  /** dockerd's, and that of the containerd which it has started. */
  private get pids(): number[] {
    const { pid } = this;
    const file = join(this.execRoot, 'containerd', 'containerd.pid');
    return pid === undefined ? [] : [pid, ...(existsSync(file) ? [Number(readFileSync(file, 'utf8'))] : [])];
  }

  /** An engine that was killed may have forgotten containers: their shims, and what still runs below them. */
  private endForgotten(): void {
    const ours = `-namespace\0copepod-${this.layout.id}\0`;
    const lines = execFileSync('ps', ['-e', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
    const processes = lines.map((line) => line.trim().split(/\s+/).map(Number));
    const shims = processes.filter(([pid]) => commandOf(pid).includes(ours)).map(([pid]) => pid);
    for (const [pid = 0, parent] of processes) {
      if (!shims.includes(pid) && !shims.includes(parent)) continue;
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended with its shim.
      }
    }
  }

  /** The last resort when a test process ends without stop(): the engine and its containers; its files take too long. */
  private endAtOnce(): void {
    try {
      for (const pid of this.pids) process.kill(pid, 'SIGKILL');
      // Their shims would go on, with nobody to tell.
      this.endForgotten();
    } catch {
      // It has ended by itself.
    }
  }
}

function commandOf(pid: number | undefined): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** A zombie counts as there: the engine's own look at its containerd is a signal 0, which a zombie takes. */
const ended = (pid: number): boolean => !existsSync(`/proc/${pid}`);

/** Nothing of it runs any more; who reaps it may take a second. */
function dead(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return true;
  }
}
