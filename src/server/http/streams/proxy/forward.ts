import type { ServerResponse } from 'node:http';
import { type ClientRequest, request as httpRequest, type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, pipeline, type Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { createDeflateRaw, createGunzip, createGzip, createInflateRaw } from 'node:zlib';
import { StatusError } from '../../../../api/errors.ts';
import { ChannelDuplex } from '../../../../wire/channel-duplex.ts';
import type { ChannelPeer } from '../../../../wire/channel-socket.ts';
import { CHANNEL } from '../../../../wire/channels.ts';
import { NOT_CACHED } from '../../answer.ts';
import { hasBody } from '../../incoming.ts';
import type { Upgrade } from '../../ports.ts';
import { parseStatus } from '../agent-streams.ts';
import { headersFor, passedOn } from './headers.ts';
import type { Location } from './location.ts';
import { LinkRewriter, type Mount, rewriteUrl } from './rewrite.ts';

const MAX_HEAD_BYTES = 256 * 1024;

/** One proxied request, its stream to the agent open. */
export interface Exchange {
  request: IncomingMessage;
  peer: ChannelPeer;
  location: Location;
  /** With the query: /metrics?x=1 */
  path: string;
  mount: Mount;
  signal: AbortSignal;
}

/** Sends the request on and the answer back. Throws 503 while nothing of an answer has come. */
export async function forward(exchange: Exchange, response: ServerResponse): Promise<void> {
  const { request, signal } = exchange;
  const upstream = ask(exchange, headersFor(request, { upgrade: false, mount: exchange.mount }));
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    upstream.once('response', resolve);
    upstream.once('error', (error) => reject(unreachable(error)));
    // An answer that nobody asked for: 101 without an upgrade.
    upstream.once('upgrade', (_head, socket) => {
      socket.destroy();
      reject(unreachable(new Error('unexpected switch of protocols')));
    });
    signal.addEventListener('abort', () => upstream.destroy(), { once: true });
    // Undefined of a failure of the client: its going away is `signal`.
    if (hasBody(request)) pipeline(request, upstream, () => {});
    else upstream.end();
  });
  // What still goes wrong with the request is no longer the question.
  upstream.on('error', () => {});
  const links = sendHead(exchange, answer, response);
  await new Promise<void>((resolve) => {
    pipeline([answer, ...links, response] as unknown as [Readable, ServerResponse], () => resolve());
  });
}

/** Joins the client's connection with that of the server behind, if that one agrees to switch protocols. */
export async function forwardUpgrade(exchange: Exchange, { socket, head }: Upgrade): Promise<void> {
  const upstream = ask(exchange, headersFor(exchange.request, { upgrade: true, mount: exchange.mount }));
  await new Promise<void>((resolve, reject) => {
    upstream.once('error', (error) => reject(new StatusError('', 500, messageOf(error))));
    upstream.once('upgrade', (answer, tunnel, first) => {
      socket.write(`${headLines(answer, answer.rawHeaders)}\r\n`);
      if (first.length > 0) socket.write(first);
      if (head.length > 0) tunnel.write(head);
      // Whichever side ends ends both, as the API server does.
      const end = (): void => {
        socket.destroy();
        tunnel.destroy();
      };
      tunnel.pipe(socket);
      socket.pipe(tunnel);
      for (const side of [tunnel, socket]) side.once('finish', end).once('close', end).once('error', end);
      resolve();
    });
    upstream.once('response', (answer) => {
      const { statusCode = 0 } = answer;
      if (statusCode < 400) {
        upstream.destroy();
        return reject(new StatusError('', 500, `invalid upgrade response: status code ${statusCode}`));
      }
      const headers = [...passedOn(answer)].flatMap(([name, values]) =>
        values.flatMap((value) => [name, value]),
      );
      socket.write(`${headLines(answer, headers)}Connection: close\r\n\r\n`);
      pipeline(answer, socket, () => resolve());
    });
    upstream.end();
  });
}

function ask({ request, peer, location, path, signal }: Exchange, headers: Headers): ClientRequest {
  const tunnel = new ChannelDuplex(peer, {
    sends: CHANNEL.STDIN,
    receives: CHANNEL.STDOUT,
    outcome: (data) => {
      const { status, message } = parseStatus(data);
      return status === 'Success' ? undefined : new Error(message ?? 'the connection failed');
    },
  });
  if (signal.aborted) tunnel.destroy();
  // Node's types want a Socket of TCP; any Duplex serves.
  const socket = tunnel as Duplex as Socket;
  return httpRequest({
    method: request.method ?? 'GET',
    path,
    headers,
    maxHeaderSize: MAX_HEAD_BYTES,
    // With this, no agent of Node is asked for a connection. Nobody vouches for the certificate of an address of a pod; the API server does not ask either.
    createConnection: () =>
      location.scheme === 'http' ? socket : connectTls({ socket, rejectUnauthorized: false }),
  });
}

type Headers = ReturnType<typeof headersFor>;

/** Writes status and headers; returns what the body has to flow through. */
function sendHead({ mount }: Exchange, answer: IncomingMessage, response: ServerResponse) {
  const headers = passedOn(answer);
  const cache = headers.get('cache-control') ?? [];
  headers.set('cache-control', [NOT_CACHED, ...cache]);
  const location = answer.headers.location;
  if (location !== undefined) headers.set('location', [rewriteUrl(location, mount)]);
  const links = location === undefined ? rewriting(answer, mount) : [];
  if (links.length > 0) headers.delete('content-length');
  for (const [name, values] of headers) {
    response.setHeader(name, values.length === 1 ? (values[0] as string) : values);
  }
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage);
  // What streams (server-sent events) has to be seen at once.
  response.flushHeaders();
  return links;
}

/** A page's links are moved below the proxy; of an encoding that is not understood it is left as it is. */
function rewriting(answer: IncomingMessage, mount: Mount) {
  const type = (answer.headers['content-type'] ?? '').split(';')[0]?.trim();
  if (type !== 'text/html' || answer.headers['content-length'] === '0') return [];
  const links = new LinkRewriter(mount);
  switch (answer.headers['content-encoding'] ?? '') {
    case '':
      return [links];
    case 'gzip':
      return [createGunzip(), links, createGzip()];
    case 'deflate':
      return [createInflateRaw(), links, createDeflateRaw()];
    default:
      return [];
  }
}

function headLines({ statusCode = 502, statusMessage }: IncomingMessage, headers: readonly string[]): string {
  let text = `HTTP/1.1 ${statusCode} ${statusMessage || (STATUS_CODES[statusCode] ?? '')}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2) {
    text += `${headers[index]}: ${headers[index + 1]}\r\n`;
  }
  return text;
}

export function unreachable(error: Error): StatusError {
  return new StatusError('ServiceUnavailable', 503, `error trying to reach service: ${messageOf(error)}`);
}

/** Go's words for what Node's client says. */
function messageOf(error: Error): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET') return 'EOF';
  if (code === 'EPROTO' || code === 'ERR_SSL_WRONG_VERSION_NUMBER') {
    return /wrong version number/i.test(message)
      ? 'http: server gave HTTP response to HTTPS client'
      : `tls: ${message}`;
  }
  if (code?.startsWith('HPE_')) return `net/http: HTTP/1.x transport connection broken: ${message}`;
  return message;
}
