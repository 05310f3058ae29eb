import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { GRPCAction, HTTPGetAction, TCPSocketAction } from '../api/types/core-v1.ts';
import type { Clock } from '../lib/clock.ts';
import type { ProbeOutcome } from './probes.ts';

const USER_AGENT = 'kube-probe/1.36';
const MOST_REDIRECTS = 10;

export interface ProbeTarget {
  clock: Clock;
  /** The pod's address. */
  host: string;
  timeoutMs: number;
  /** A named port's number. Throws when the container has no such port. */
  port: (port: number | string) => number;
}

/** 200 to 399 is success. Redirects on the same host are followed, others are a success with a warning. */
export async function httpProbe(action: HTTPGetAction, target: ProbeTarget): Promise<ProbeOutcome> {
  const scheme = (action.scheme ?? 'HTTP').toLowerCase();
  const host = action.host || target.host;
  const path = action.path ?? '/';
  let url: URL;
  try {
    url = new URL(
      `${scheme}://${bracketed(host)}:${target.port(action.port)}${path.startsWith('/') ? '' : '/'}${path}`,
    );
  } catch (error) {
    return failure((error as Error).message);
  }
  const deadline = target.clock.monotonic() + target.timeoutMs;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects += 1) {
    const left = deadline - target.clock.monotonic();
    const answer = await get(url, action, target.clock, Math.max(1, left));
    if ('error' in answer) return failure(`Get "${url.href}": ${answer.error}`);
    const { status, location } = answer;
    if (status >= 300 && status < 400 && location) {
      const next = new URL(location, url);
      if (next.hostname !== url.hostname) {
        return { result: 'success', output: '', warning: `Probe terminated redirects at ${next.href}` };
      }
      url = next;
      continue;
    }
    if (status >= 200 && status < 400) return { result: 'success', output: '' };
    return failure(`HTTP probe failed with statuscode: ${status}`);
  }
  return failure(`Get "${url.href}": stopped after ${MOST_REDIRECTS} redirects`);
}

async function get(
  url: URL,
  action: HTTPGetAction,
  clock: Clock,
  timeoutMs: number,
): Promise<{ status: number; location?: string } | { error: string }> {
  const headers: Record<string, string> = { 'User-Agent': USER_AGENT, Accept: '*/*', Connection: 'close' };
  for (const { name, value } of action.httpHeaders ?? []) {
    const known = Object.keys(headers).find((key) => key.toLowerCase() === name.toLowerCase());
    headers[known ?? name] = value;
  }
  // A container's certificate is nobody's business here: the kubelet does not check it either.
  const options = { headers, agent: false as const, rejectUnauthorized: false };
  const { request } = url.protocol === 'https:' ? await import('node:https') : await import('node:http');
  return await new Promise((resolve) => {
    const timer = clock.after(timeoutMs, () => {
      resolve({ error: 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)' });
      outgoing.destroy();
    });
    const outgoing = request(url, options, (response: IncomingMessage) => {
      timer.cancel();
      const { location } = response.headers;
      resolve({ status: response.statusCode ?? 0, ...(location ? { location } : {}) });
      // The body is not wanted: a probe must not read what may never end.
      response.destroy();
    });
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      timer.cancel();
      resolve({ error: goDialError(error, url.hostname, url.port) });
    });
    outgoing.end();
  });
}

/** Success is a connection. */
export function tcpProbe(action: TCPSocketAction, target: ProbeTarget): Promise<ProbeOutcome> {
  const host = action.host || target.host;
  return new Promise((resolve) => {
    let port: number;
    try {
      port = target.port(action.port);
    } catch (error) {
      resolve(failure((error as Error).message));
      return;
    }
    const socket = connect({ host, port });
    const timer = target.clock.after(target.timeoutMs, () => {
      socket.destroy();
      resolve(failure(`dial tcp ${bracketed(host)}:${port}: i/o timeout`));
    });
    socket.once('connect', () => {
      timer.cancel();
      socket.destroy();
      resolve({ result: 'success', output: '' });
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      timer.cancel();
      resolve(failure(goDialError(error, host, String(port))));
    });
  });
}

/** grpc.health.v1.Health/Check, without TLS; SERVING is success. */
export async function grpcProbe(action: GRPCAction, target: ProbeTarget): Promise<ProbeOutcome> {
  const { connect: connectHttp2 } = await import('node:http2');
  const authority = `${bracketed(target.host)}:${action.port}`;
  return await new Promise((resolve) => {
    const session = connectHttp2(`http://${authority}`);
    const finish = (outcome: ProbeOutcome): void => {
      timer.cancel();
      session.destroy();
      resolve(outcome);
    };
    const timer = target.clock.after(target.timeoutMs, () =>
      finish(
        failure(
          `timeout: failed to connect service "${authority}" within ${target.timeoutMs}ms: context deadline exceeded`,
        ),
      ),
    );
    session.once('error', (error: Error) =>
      finish(failure(`error: failed to connect service at "${authority}": ${error.message}`)),
    );
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': USER_AGENT,
    });
    const chunks: Buffer[] = [];
    let status: string | undefined;
    const take = (headers: Record<string, unknown>): void => {
      if (headers['grpc-status'] !== undefined) status = String(headers['grpc-status']);
    };
    stream.on('response', take);
    stream.on('trailers', take);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('error', (error: Error) => finish(failure(error.message)));
    stream.once('end', () => {
      if (status === '12')
        finish(
          failure('error: this server does not implement the grpc health protocol (grpc.health.v1.Health)'),
        );
      else if (status !== undefined && status !== '0')
        finish(failure(`error: health rpc probe failed with status ${status}`));
      else finish(servingStatus(Buffer.concat(chunks)));
    });
    stream.end(healthRequest(action.service ?? ''));
  });
}

/** A gRPC frame (no compression, length) around HealthCheckRequest { string service = 1 }. */
function healthRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message =
    name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/** HealthCheckResponse { ServingStatus status = 1 }, behind the frame's five bytes. */
function servingStatus(frame: Buffer): ProbeOutcome {
  const value = frame.length >= 7 && frame[5] === 0x08 ? frame[6] : 0;
  if (value === 1) return { result: 'success', output: 'service healthy' };
  const name = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'][value ?? 0] ?? String(value);
  return failure(`service unhealthy (responded with "${name}")`);
}

function failure(output: string): ProbeOutcome {
  return { result: 'failure', output };
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}

/** As Go's net package words it, which is what people search for. */
function goDialError(error: NodeJS.ErrnoException, host: string, port: string): string {
  const where = `dial tcp ${bracketed(host)}:${port}`;
  if (error.code === 'ECONNREFUSED') return `${where}: connect: connection refused`;
  if (error.code === 'EHOSTUNREACH') return `${where}: connect: no route to host`;
  if (error.code === 'ENETUNREACH') return `${where}: connect: network is unreachable`;
  if (error.code === 'ECONNRESET') return 'read: connection reset by peer';
  return error.message;
}
