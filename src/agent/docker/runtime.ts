import type { Readable } from 'node:stream';
import { type Clock, sleep } from '../../lib/clock.ts';
import {
  type ContainerRuntime,
  type ContainerSpec,
  type ExecOptions,
  type ExecSession,
  type LogOptions,
  type ObservedContainer,
  type ObservedImage,
  type OutputSink,
  type PullOptions,
  type ResourceLimits,
  RuntimeError,
} from '../runtime.ts';
import { DockerClient } from './client.ts';
import { createBody, DEFAULT_LOG_FILES, type LogFiles, limits } from './create-body.ts';
import { pipeOutput } from './demux.ts';
import { DockerEvents } from './events.ts';
import { type ContainerDetails, type ContainerSummary, fromDetails, fromSummary } from './observation.ts';
import { OpenSessions } from './open-sessions.ts';
import { followPull, registryAuth, STALL_MS, splitReference, stalled } from './pull.ts';
import { RepeatFilter } from './repeat-filter.ts';
import { DockerSession } from './session.ts';

/** Marks what this agent made, so that it never touches anything else on the same engine. */
export const OWNER_LABEL = 'io.copepod.node';

const INSPECT_TIMEOUT_MS = 5_000;
/** The engine walks through the container's layer, on a slow card. */
const SIZE_TIMEOUT_MS = 60_000;
/** A start waits for the kernel, the card and, on a loaded board, for a minute and more. */
const START_TIMEOUT_MS = 120_000;
const EXEC_EXIT_DEADLINE_MS = 5_000;

/**
 * ContainerRuntime on the Docker Engine API (1.41 and newer, unversioned paths: the engine's own newest).
 *
 * Invariants:
 * - only containers with our owner label are listed, and their events heard;
 * - details (pid, times, exit code) are asked for once per container and state: an idle list is one call.
 */
export class DockerRuntime implements ContainerRuntime {
  private readonly clock: Clock;
  private readonly client: DockerClient;
  private readonly owner: string;
  private readonly onWarning: (spec: ContainerSpec, warning: string) => void;
  private readonly logFiles: LogFiles;
  private readonly events: DockerEvents;
  private readonly sessions: OpenSessions;
  private readonly listeners = new Set<(containerId: string | undefined, what?: string) => void>();
  /** By container id; valid while the list shows the same state and no event came. */
  private readonly details = new Map<string, ObservedContainer>();
  private dataDirectory: string | undefined;
  private apiVersion: string | undefined;

  constructor(options: {
    clock: Clock;
    socketPath: string;
    /** Names this agent among others on the same engine: the node's name. */
    owner: string;
    /** The engine took the container but will not honour something (no memory cgroup, for example). */
    onWarning?: (spec: ContainerSpec, warning: string) => void;
    /** Where containers' logs rotate. */
    logFiles?: LogFiles;
  }) {
    this.clock = options.clock;
    this.owner = options.owner;
    this.onWarning = options.onWarning ?? (() => {});
    this.logFiles = options.logFiles ?? DEFAULT_LOG_FILES;
    this.client = new DockerClient({ clock: options.clock, socketPath: options.socketPath });
    this.events = new DockerEvents({
      client: this.client,
      clock: options.clock,
      label: `${OWNER_LABEL}=${options.owner}`,
      onEvent: (id, what) => this.onEngineEvent(id, what),
    });
    this.sessions = new OpenSessions({
      clock: options.clock,
      isRunning: async (id) => (await this.inspect(id))?.state === 'running',
    });
  }

  /** Opens the event stream; calls work without it. (`start` and `stop` are a container's here.) */
  connect(): void {
    this.events.start();
  }

  disconnect(): void {
    this.events.stop();
    this.client.close();
  }

  async start(id: string): Promise<void> {
    await this.client.call({
      method: 'POST',
      path: `/containers/${id}/start`,
      accept: [304],
      timeoutMs: START_TIMEOUT_MS,
    });
    this.details.delete(id);
  }

  async stop(id: string, graceSeconds: number): Promise<void> {
    const seconds = Math.max(0, Math.ceil(graceSeconds));
    await missingIsFine(
      this.client.call({
        method: 'POST',
        path: `/containers/${id}/stop`,
        query: { t: seconds },
        accept: [304],
        timeoutMs: (seconds + 60) * 1000,
      }),
    );
    this.details.delete(id);
  }

  async list(): Promise<ObservedContainer[]> {
    const summaries = await this.client.call<ContainerSummary[]>({
      path: '/containers/json',
      query: { all: true, filters: { label: [`${OWNER_LABEL}=${this.owner}`] } },
    });
    const present = new Set(summaries.map((summary) => summary.Id));
    for (const id of this.details.keys()) if (!present.has(id)) this.details.delete(id);
    const observed = await Promise.all(summaries.map((summary) => this.detailsOf(summary)));
    return observed.filter((container) => container !== undefined);
  }

  async inspect(id: string): Promise<ObservedContainer | undefined> {
    try {
      const details = await this.client.call<ContainerDetails>({
        path: `/containers/${id}/json`,
        timeoutMs: INSPECT_TIMEOUT_MS,
      });
      const observed = fromDetails(details);
      if (observed.labels[OWNER_LABEL] !== this.owner) return undefined;
      this.details.set(id, observed);
      return observed;
    } catch (error) {
      if (error instanceof RuntimeError && error.code === 'NotFound') {
        this.details.delete(id);
        return undefined;
      }
      throw error;
    }
  }

  async create(spec: ContainerSpec): Promise<string> {
    const labelled = { ...spec, labels: { ...spec.labels, [OWNER_LABEL]: this.owner } };
    const answer = await this.client.call<{ Id: string; Warnings?: string[] | null }>({
      method: 'POST',
      path: '/containers/create',
      query: { name: spec.name },
      body: createBody(labelled, this.logFiles),
      timeoutMs: 60_000,
    });
    for (const warning of answer.Warnings ?? []) this.onWarning(spec, warning);
    return answer.Id;
  }

  async remove(id: string): Promise<void> {
    await missingIsFine(
      this.client
        .call({
          method: 'DELETE',
          path: `/containers/${id}`,
          query: { v: true, force: true },
          timeoutMs: 60_000,
        })
        .catch((error) => {
          // Another call removes it already: its end is seen as a destroy event.
          if (error instanceof RuntimeError && /already in progress/.test(error.message)) return;
          throw error;
        }),
    );
    this.details.delete(id);
  }

  async writableBytes(id: string): Promise<number> {
    const { SizeRw } = await this.client.call<{ SizeRw?: number }>({
      path: `/containers/${id}/json`,
      query: { size: true },
      timeoutMs: SIZE_TIMEOUT_MS,
    });
    return SizeRw ?? 0;
  }

  async update(id: string, resources: ResourceLimits): Promise<void> {
    await this.client.call({ method: 'POST', path: `/containers/${id}/update`, body: limits(resources) });
    this.details.delete(id);
  }

  async imageId(reference: string): Promise<string | undefined> {
    return (await this.inspectImage(reference))?.id;
  }

  async inspectImage(reference: string): Promise<ObservedImage | undefined> {
    try {
      const image = await this.client.call<{
        Id: string;
        RepoDigests?: string[] | null;
        Size: number;
        Architecture: string;
        Config?: { User?: string } | null;
      }>({ path: `/images/${encodeReference(reference)}/json`, timeoutMs: 15_000 });
      return {
        id: image.Id,
        repoDigests: image.RepoDigests ?? [],
        sizeBytes: image.Size,
        architecture: image.Architecture,
        user: image.Config?.User ?? '',
      };
    } catch (error) {
      if (error instanceof RuntimeError && (error.code === 'ImageNotFound' || error.code === 'NotFound')) {
        return undefined;
      }
      throw error;
    }
  }

  async pull(reference: string, options: PullOptions = {}): Promise<void> {
    const { name, tag } = splitReference(reference);
    const stream = await this.pullStream(name, tag, options);
    await followPull({ clock: this.clock, stream, reference, pull: options });
  }

  private async pullStream(
    name: string,
    tag: string,
    { auth, signal, stallMs = STALL_MS }: PullOptions,
  ): Promise<Readable> {
    const request = {
      method: 'POST' as const,
      path: '/images/create',
      query: { fromImage: name, tag },
      ...(auth ? { registryAuth: registryAuth(auth) } : {}),
      ...(signal ? { signal } : {}),
      // Docker answers when the registry has: name resolution and its retries come before.
      timeoutMs: stallMs,
    };
    try {
      return await this.client.stream(request);
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      if (error.code === 'Other') throw new RuntimeError('ImagePull', error.message);
      if (error.code === 'Timeout') throw stalled(name, stallMs);
      throw error;
    }
  }

  async importImage(tar: Buffer, reference: string, config: { entrypoint: string[] }): Promise<void> {
    const { name, tag } = splitReference(reference);
    await this.client.call({
      method: 'POST',
      path: '/images/create',
      query: {
        fromSrc: '-',
        repo: name,
        tag,
        changes: `ENTRYPOINT ${JSON.stringify(config.entrypoint)}`,
      },
      file: tar,
      timeoutMs: 120_000,
    });
  }

  onEvent(listener: (containerId: string | undefined, what?: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async logs(id: string, options: LogOptions, sink: OutputSink, signal: AbortSignal): Promise<void> {
    const { Config } = await this.client.call<{ Config: { Tty: boolean } }>({
      path: `/containers/${id}/json`,
      timeoutMs: INSPECT_TIMEOUT_MS,
    });
    // A terminal's output has no entries to tell apart.
    const filter =
      options.follow && !Config.Tty && (await this.repeatsLines())
        ? new RepeatFilter(sink, options.timestamps)
        : undefined;
    const stream = await this.client.stream({
      path: `/containers/${id}/logs`,
      query: {
        stdout: true,
        stderr: true,
        follow: options.follow,
        timestamps: options.timestamps || filter !== undefined,
        tail: options.tailLines === undefined ? 'all' : String(options.tailLines),
        // Docker takes seconds with a fraction.
        ...(options.since === undefined ? {} : { since: (options.since / 1000).toFixed(3) }),
      },
      signal,
    });
    const stop = (): void => void stream.destroy();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await pipeOutput(stream, filter ?? sink, Config.Tty);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      stream.destroy();
    }
  }

  async exec(id: string, options: ExecOptions): Promise<ExecSession> {
    const { Id: execId } = await this.client.call<{ Id: string }>({
      method: 'POST',
      path: `/containers/${id}/exec`,
      body: {
        Cmd: options.command,
        AttachStdin: options.stdin,
        AttachStdout: options.stdout,
        AttachStderr: options.stderr,
        Tty: options.tty,
        ...(options.user ? { User: options.user } : {}),
      },
    });
    const socket = await this.client.hijack({
      method: 'POST',
      path: `/exec/${execId}/start`,
      body: { Detach: false, Tty: options.tty },
    });
    const session = new DockerSession({
      socket,
      tty: options.tty,
      resize: (columns, rows) => this.resize(`/exec/${execId}/resize`, columns, rows),
      exitCode: () => this.execExitCode(execId),
      kill: () => this.killExec(execId),
    });
    this.sessions.add(id, session, session.exit);
    return session;
  }

  async attach(id: string, options: { stdin: boolean; tty: boolean }): Promise<ExecSession> {
    const socket = await this.client.hijack({
      method: 'POST',
      path: `/containers/${id}/attach`,
      query: { stream: true, stdin: options.stdin, stdout: true, stderr: true },
    });
    return new DockerSession({
      socket,
      tty: options.tty,
      resize: (columns, rows) => this.resize(`/containers/${id}/resize`, columns, rows),
      exitCode: async () => (await this.inspect(id))?.exitCode ?? 0,
      kill: async () => {},
    });
  }

  async version(): Promise<{ name: string; version: string; apiVersion: string; dataDirectory: string }> {
    const version = await this.client.call<{ Version: string; ApiVersion: string }>({
      path: '/version',
      timeoutMs: 10_000,
    });
    if (this.dataDirectory === undefined) {
      const info = await this.client.call<{ DockerRootDir: string }>({ path: '/info', timeoutMs: 15_000 });
      this.dataDirectory = info.DockerRootDir;
    }
    return {
      name: 'docker',
      version: version.Version,
      apiVersion: version.ApiVersion,
      dataDirectory: this.dataDirectory,
    };
  }

  /** How the engine makes control groups; undefined where it makes none (rootless without delegation). */
  async cgroups(): Promise<{ driver: 'cgroupfs' | 'systemd'; version: 1 | 2 } | undefined> {
    const info = await this.client.call<{ CgroupDriver?: string; CgroupVersion?: string }>({
      path: '/info',
      timeoutMs: 15_000,
    });
    const { CgroupDriver: driver, CgroupVersion: version } = info;
    if (driver !== 'cgroupfs' && driver !== 'systemd') return undefined;
    return { driver, version: version === '2' ? 2 : 1 };
  }

  /** Docker 23 and newer (API 1.42) follow a log through its rotation as they should. */
  private async repeatsLines(): Promise<boolean> {
    this.apiVersion ??= (await this.version()).apiVersion;
    const [major = 0, minor = 0] = this.apiVersion.split('.').map(Number);
    return major === 1 && minor < 42;
  }

  /** One container that the engine does not answer for must not hold up the others: the list's word is taken then. */
  private async detailsOf(summary: ContainerSummary): Promise<ObservedContainer | undefined> {
    const known = this.details.get(summary.Id);
    const rough = fromSummary(summary);
    if (known && known.state === rough.state) return known;
    try {
      return await this.inspect(summary.Id);
    } catch (error) {
      if (error instanceof RuntimeError && error.code === 'Unavailable') throw error;
      return { ...rough, ...(known?.startedAt ? { startedAt: known.startedAt } : {}) };
    }
  }

  private onEngineEvent(id: string | undefined, what?: string): void {
    if (id === undefined) this.details.clear();
    else this.details.delete(id);
    this.sessions.look(id);
    for (const listener of this.listeners) listener(id, what);
  }

  private async resize(path: string, columns: number, rows: number): Promise<void> {
    await this.client.call({ method: 'POST', path, query: { h: rows, w: columns } });
  }

  /** The connection may end a moment before the engine has noted the exit. */
  private async execExitCode(execId: string): Promise<number> {
    const deadline = this.clock.monotonic() + EXEC_EXIT_DEADLINE_MS;
    for (let wait = 5; ; wait = Math.min(wait * 2, 250)) {
      const state = await this.execState(execId);
      if (!state.Running) return state.ExitCode ?? 0;
      if (this.clock.monotonic() > deadline) {
        throw new RuntimeError('Timeout', 'the connection to the command ended while it was still running');
      }
      await sleep(this.clock, wait);
    }
  }

  private async killExec(execId: string): Promise<void> {
    // The engine answers the start before the process is there.
    const deadline = this.clock.monotonic() + EXEC_EXIT_DEADLINE_MS;
    for (let wait = 5; ; wait = Math.min(wait * 2, 250)) {
      const { Running, Pid } = await this.execState(execId);
      if (Pid > 0 && Running) {
        killProcess(Pid);
        return;
      }
      if (!Running || this.clock.monotonic() > deadline) return;
      await sleep(this.clock, wait);
    }
  }

  private execState(execId: string): Promise<{ Running: boolean; ExitCode: number | null; Pid: number }> {
    return this.client.call({ path: `/exec/${execId}/json`, timeoutMs: INSPECT_TIMEOUT_MS });
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Slashes and colons are part of the path here; everything else that a reference may hold is safe as it is. */
export function encodeReference(reference: string): string {
  return reference.split('/').map(encodeURIComponent).join('/');
}

async function missingIsFine(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'NotFound') return;
    throw error;
  }
}
