import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBusyboxImage } from '../../scripts/lib/busybox-image.mjs';
import { dockerCall } from '../../scripts/lib/docker-api.mjs';
import {
  type EngineLayout,
  engineLayout,
  enginePid,
  removeEngineFiles,
  startEngine,
  stopEngine,
} from '../../scripts/lib/private-engine.mjs';

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
  private readonly onExit = (): void => this.endAtOnce();

  constructor(options: { prefix?: readonly string[] } = {}) {
    this.directory = mkdtempSync(join(tmpdir(), 'copepod-docker-'));
    this.layout = engineLayout(this.directory);
    this.prefix = options.prefix ?? [];
    this.socket = this.layout.socket;
    this.dockerHost = `unix://${this.socket}`;
  }

  async start(): Promise<void> {
    process.once('exit', this.onExit);
    await startEngine(this.layout, { prefix: this.prefix });
    await ensureBusyboxImage(this.socket);
  }

  get pid(): number | undefined {
    return enginePid(this.layout);
  }

  /** SIGKILL, as a crash; containers live on. Start again with `start`. */
  kill(): void {
    const { pid } = this;
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  }

  async stop(): Promise<void> {
    process.removeListener('exit', this.onExit);
    await stopEngine(this.layout, { graceSeconds: 0 });
    removeEngineFiles(this.layout);
    rmSync(this.directory, { recursive: true, force: true });
  }

  call(method: string, path: string, body?: object): Promise<unknown> {
    return dockerCall(
      this.socket,
      method,
      path,
      body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) },
    );
  }

  /** Containers that carry all of these labels; running ones unless `all`. */
  async containers(labels: Record<string, string> = {}, all = false): Promise<ListedContainer[]> {
    const filters = { label: Object.entries(labels).map(([key, value]) => `${key}=${value}`) };
    const query = new URLSearchParams({ all: String(all), filters: JSON.stringify(filters) });
    return (await this.call('GET', `/containers/json?${query}`)) as ListedContainer[];
  }

  /** The last resort when a test process ends without stop(): the containers' processes and the engine. */
  private endAtOnce(): void {
    const { pid } = this;
    if (pid === undefined) return;
    try {
      const ids = execFileSync('docker', ['-H', this.dockerHost, 'ps', '-q'], { encoding: 'utf8' });
      if (ids.trim() !== '') {
        execFileSync('docker', ['-H', this.dockerHost, 'kill', ...ids.trim().split('\n')], {
          stdio: 'ignore',
        });
      }
      process.kill(pid, 'SIGTERM');
    } catch {
      // It has ended by itself.
    }
  }
}
