import { Agent } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import type { Clock } from '../../lib/clock.ts';
import { RuntimeError } from '../runtime.ts';
import { toRuntimeError } from './errors.ts';

/**
 * The only file that imports dockerode. One keep-alive agent carries the plain calls over the unix socket; streams
 * (events, logs, pulls, hijacked sessions) have connections of their own, so that none of them holds up a call.
 */
export class DockerClient {
  private readonly clock: Clock;
  private readonly calls: Docker;
  private readonly streams: Docker;
  private readonly callAgent: Agent;
  private readonly streamAgent: Agent;

  constructor(options: { clock: Clock; socketPath: string }) {
    this.clock = options.clock;
    // Connections are not counted out: a stop lasts as long as its grace period, and a bound would let twenty of them
    // block everything else. The pod workers bound what is under way.
    this.callAgent = new TerseAgent({ keepAlive: true, maxFreeSockets: 4, timeout: 0 });
    this.streamAgent = new TerseAgent({ keepAlive: false });
    this.calls = connect(options.socketPath, this.callAgent);
    this.streams = connect(options.socketPath, this.streamAgent);
  }

  /** One request and its answer. Throws RuntimeError; `Timeout` when the engine does not answer in time. */
  async call<T>(request: DockerRequest): Promise<T> {
    const timeoutMs = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const abort = new AbortController();
    const timer = this.clock.after(timeoutMs, () =>
      abort.abort(
        new RuntimeError('Timeout', `Docker did not answer ${describe(request)} within ${timeoutMs} ms`),
      ),
    );
    try {
      return (await this.retried(request, abort.signal)) as T;
    } catch (error) {
      if (abort.signal.aborted) throw abort.signal.reason;
      throw toRuntimeError(error);
    } finally {
      timer.cancel();
    }
  }

  /** A response that is read as it comes. The caller destroys it; `timeoutMs` covers the wait for its beginning. */
  async stream(request: DockerRequest & { signal?: AbortSignal; headers?: never }): Promise<Readable> {
    return (await this.open(request, { isStream: true })) as Readable;
  }

  /** A connection that was upgraded to a raw two-way socket (exec, attach). */
  async hijack(request: DockerRequest): Promise<Socket> {
    return (await this.open(request, { isStream: true, hijack: true })) as Socket;
  }

  close(): void {
    this.callAgent.destroy();
    this.streamAgent.destroy();
  }

  /**
   * A kept-alive connection may have been closed by the engine just as it was taken out again. Reading twice is
   * harmless; a write is left to the pod worker, which looks before it acts again.
   */
  private async retried(request: DockerRequest, signal: AbortSignal): Promise<unknown> {
    try {
      return await dial(this.calls, request, { abortSignal: signal });
    } catch (error) {
      const code = (error as { code?: string }).code;
      const stale = code === 'ECONNRESET' || code === 'EPIPE';
      if (!stale || signal.aborted || (request.method ?? 'GET') !== 'GET') throw error;
      return await dial(this.calls, request, { abortSignal: signal });
    }
  }

  private async open(
    request: DockerRequest & { signal?: AbortSignal },
    extra: { isStream: true; hijack?: true },
  ): Promise<unknown> {
    const timeoutMs = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const abort = new AbortController();
    const onAbort = (): void => abort.abort(request.signal?.reason);
    if (request.signal?.aborted) throw request.signal.reason;
    request.signal?.addEventListener('abort', onAbort, { once: true });
    const timer = this.clock.after(timeoutMs, () =>
      abort.abort(
        new RuntimeError('Timeout', `Docker did not answer ${describe(request)} within ${timeoutMs} ms`),
      ),
    );
    try {
      return await dial(this.streams, request, { ...extra, abortSignal: abort.signal });
    } catch (error) {
      if (abort.signal.aborted) throw abort.signal.reason;
      throw toRuntimeError(error);
    } finally {
      timer.cancel();
    }
  }
}

/**
 * docker-modem prints every request, its agent included, into a debug line that nobody asked for: all sockets with all
 * they hold. That was three quarters of the CPU that twenty starting pods took. An agent that has little to say costs
 * nothing.
 */
class TerseAgent extends Agent {
  [inspect.custom](): string {
    return 'Agent';
  }
}

export interface DockerRequest {
  method?: 'GET' | 'POST' | 'DELETE';
  path: string;
  query?: Record<string, string | number | boolean | string[] | object | undefined>;
  body?: object;
  /** A tar. */
  file?: Buffer | Readable;
  registryAuth?: DockerAuth;
  /** Statuses that are not errors besides 200, 201, 204 and 101. */
  accept?: number[];
  timeoutMs?: number;
}

export type DockerAuth =
  | { username: string; password: string; serveraddress: string }
  | { identitytoken: string; serveraddress: string };

const DEFAULT_TIMEOUT_MS = 30_000;

function connect(socketPath: string, agent: Agent): Docker {
  // `host: ''` keeps docker-modem from reading DOCKER_HOST of the environment: the option decides.
  const options: Docker.DockerOptions & { agent: Agent } = { socketPath, host: '', agent };
  return new Docker(options);
}

function describe(request: DockerRequest): string {
  return `${request.method ?? 'GET'} ${request.path}`;
}

function dial(
  docker: Docker,
  request: DockerRequest,
  extra: { isStream?: true; hijack?: true; abortSignal: AbortSignal },
): Promise<unknown> {
  const statusCodes: Record<number, true> = { 101: true, 200: true, 201: true, 204: true };
  for (const status of request.accept ?? []) statusCodes[status] = true;
  const query: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) query[key] = value;
  }
  const hasQuery = Object.keys(query).length > 0;
  return new Promise((resolve, reject) => {
    docker.modem.dial(
      {
        path: hasQuery ? `${request.path}?` : request.path,
        method: request.method ?? 'GET',
        options: { _query: query, _body: request.body ?? {} },
        statusCodes,
        ...(request.file ? { file: request.file } : {}),
        ...(request.registryAuth ? { authconfig: { ...request.registryAuth } } : {}),
        ...(extra.hijack ? { openStdin: false } : {}),
        ...extra,
      },
      (error: Error | null, result: unknown) => (error ? reject(error) : resolve(result)),
    );
  });
}
