import { Agent, type ClientRequest, type RequestOptions, request } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import type { Endpoint } from './backends.ts';
import { type ExternalNames, NoUsableAddress } from './external-names.ts';

/** Longer than a healthy endpoint needs, shorter than the kernel's search for a pod that is gone (3 s). */
const CONNECT_MS = 2_000;
/** Shorter than what servers commonly keep (Node and gunicorn: 5 s and 2 s; they tell when it is less). */
const IDLE_MS = 4_000;
const MOST_IDLE = 64;
const MOST_PER_ENDPOINT = 256;
const MOST_HEADER_BYTES = 64 * 1024;

/** An endpoint did not take the connection: nothing was sent. */
export class NotConnected extends Error {}

export interface UpstreamRequest {
  endpoint: Endpoint;
  method: string;
  target: string;
  headers: readonly string[];
  tls: boolean;
  /** The name that the client asked for. */
  serverName: string;
  /** A lost race with the endpoint's closing of an idle connection can be made good: the request may be sent again. */
  replayable: boolean;
  /** Of silence before the answer begins; 0: no limit. */
  timeoutMs: number;
}

/**
 * Connections to endpoints. They are kept and used again, but only for what may be sent twice: an endpoint may close an
 * idle connection at the very moment at which a request is written, and nobody could say whether it was read.
 */
export class Upstream {
  private readonly clock: Clock;
  private readonly kept: Agent;
  private readonly fresh: Agent;
  private readonly keptTls: TlsAgent;
  private readonly freshTls: TlsAgent;
  private readonly externalNames: ExternalNames;

  constructor(clock: Clock, externalNames: ExternalNames) {
    this.clock = clock;
    this.externalNames = externalNames;
    const kept = {
      keepAlive: true,
      timeout: IDLE_MS,
      maxFreeSockets: MOST_IDLE,
      maxSockets: MOST_PER_ENDPOINT,
    };
    const fresh = { keepAlive: false, maxSockets: MOST_PER_ENDPOINT };
    // Certificates of pods are nobody's that we know; the pod network is trusted as it is for plain HTTP.
    const unverified = { rejectUnauthorized: false };
    this.kept = new Agent(kept);
    this.fresh = new Agent(fresh);
    this.keptTls = new TlsAgent({ ...kept, ...unverified });
    this.freshTls = new TlsAgent({ ...fresh, ...unverified });
  }

  /** The request on its way; `error` with NotConnected means that the endpoint knows nothing of it. */
  open(wanted: UpstreamRequest): ClientRequest {
    const { endpoint, method, target, tls, replayable, timeoutMs } = wanted;
    const options: RequestOptions = {
      host: endpoint.host,
      port: endpoint.port,
      method,
      path: target,
      headers: wanted.headers as string[],
      agent: tls ? (replayable ? this.keptTls : this.freshTls) : replayable ? this.kept : this.fresh,
      timeout: timeoutMs,
      setHost: false,
      maxHeaderSize: MOST_HEADER_BYTES,
      ...(isIP(endpoint.host) ? {} : { lookup: this.externalNames.lookup }),
    };
    const call = tls
      ? tlsRequest({ ...options, servername: isIP(wanted.serverName) ? '' : wanted.serverName })
      : request(options);
    call.once('socket', (socket) => {
      if (!socket.connecting) return;
      const deadline = this.clock.after(CONNECT_MS, () =>
        call.destroy(new NotConnected('connect timed out')),
      );
      socket.once('connect', () => deadline.cancel());
      socket.once('close', () => deadline.cancel());
    });
    return call;
  }

  /** Closes idle connections to endpoints that are none any more. */
  retain(isEndpoint: (host: string, port: number) => boolean): void {
    for (const agent of [this.kept, this.keptTls]) {
      for (const sockets of Object.values(agent.freeSockets)) {
        for (const socket of (sockets as readonly Socket[] | undefined) ?? []) {
          if (!isEndpoint(socket.remoteAddress ?? '', socket.remotePort ?? 0)) socket.destroy();
        }
      }
    }
  }

  close(): void {
    for (const agent of [this.kept, this.fresh, this.keptTls, this.freshTls]) agent.destroy();
  }
}

/** Was it never sent? */
export function neverSent(error: Error): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return (
    error instanceof NotConnected ||
    error instanceof NoUsableAddress ||
    syscall === 'connect' ||
    syscall === 'getaddrinfo' ||
    code === 'ENOTFOUND'
  );
}
