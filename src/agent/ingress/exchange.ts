// One request of a client as the proxy sees it, whichever protocol it came over.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { type Body, type ClientFacts, headerObject, headerPairs, valuesOf } from './headers.ts';
import { hostName } from './host-name.ts';
import { matchPath } from './match-path.ts';

export type ClientRequest = IncomingMessage | Http2ServerRequest;
export type ClientResponse = ServerResponse | Http2ServerResponse;

/** Where the client came in. */
export interface Entrance {
  protocol: 'http' | 'https';
  port: number;
}

export interface Asked {
  /** As `findRoute` wants it. */
  host: string;
  /** The same for the path. */
  path: string;
  /** What is sent on: origin form, or `*`. */
  target: string;
  body: Body;
  client: ClientFacts;
}

/** What is asked for, or the status that refuses it. */
export function readRequest(request: ClientRequest, entrance: Entrance): Asked | { refused: number } {
  const raw = request.rawHeaders;
  const hosts = valuesOf(raw, 'host');
  const [authority] = valuesOf(raw, ':authority');
  if (hosts.length > 1) return { refused: 400 };
  let given = authority ?? hosts[0] ?? '';
  let target = request.url ?? '/';
  // The absolute form, as proxies are asked: its authority is the host [RFC 9112 3.2.2].
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target);
  if (absolute) {
    given = absolute[1] ?? '';
    target = absolute[2]?.startsWith('/') ? absolute[2] : `/${absolute[2] ?? ''}`;
  }
  if (target === '*' && request.method !== 'OPTIONS') return { refused: 400 };
  if (target !== '*' && !target.startsWith('/')) return { refused: 400 };
  // HTTP/1.0 need not name a host; everybody else does (Node refuses who does not).
  const host = given === '' && request.httpVersion === '1.0' ? '' : hostName(given);
  const path = target === '*' ? '/' : matchPath(target);
  if (host === undefined || path === undefined) return { refused: 400 };
  const body = bodyOf(request);
  if (!body) return { refused: 501 };
  const address = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  return { host, path, target, body, client: { host: given, address, ...entrance } };
}

/** How the body is delimited; undefined for a coding that we would not undo. */
function bodyOf(request: ClientRequest): Body | undefined {
  const coding = valuesOf(request.rawHeaders, 'transfer-encoding');
  const [length] = valuesOf(request.rawHeaders, 'content-length');
  if (coding.length > 0) {
    return coding.join(',').trim().toLowerCase() === 'chunked' ? { kind: 'chunked' } : undefined;
  }
  if (length !== undefined) return length === '0' ? { kind: 'empty' } : { kind: 'length', length };
  if (isHttp2(request) && !request.stream.endAfterHeaders) return { kind: 'chunked' };
  // Some servers want a length where a body would make sense.
  return ['POST', 'PUT', 'PATCH'].includes(request.method ?? '') ? { kind: 'empty' } : { kind: 'none' };
}

export function isHttp2(
  message: ClientRequest | ClientResponse,
): message is Http2ServerRequest | Http2ServerResponse {
  return 'stream' in message && message.stream !== undefined;
}

/** Status and headers, in the shape that the client's protocol wants. */
export function beginAnswer(
  response: ClientResponse,
  status: number,
  reason: string | undefined,
  headers: readonly string[],
): void {
  if (isHttp2Response(response)) response.writeHead(status, headerObject(headers));
  else if (reason !== undefined && /^[\t\x20-\x7e]*$/.test(reason))
    response.writeHead(status, reason, [...headers]);
  else response.writeHead(status, [...headers]);
}

export function addTrailers(response: ClientResponse, flat: readonly string[]): void {
  if (isHttp2Response(response)) response.addTrailers(headerObject(flat) as Record<string, string>);
  else response.addTrailers(headerPairs(flat));
}

const isHttp2Response = (response: ClientResponse): response is Http2ServerResponse => isHttp2(response);

const PAGES: Readonly<Record<number, string>> = {
  400: 'bad request',
  404: 'page not found',
  501: 'not implemented',
  502: 'bad gateway',
  503: 'no endpoint is ready',
  504: 'gateway timeout',
};

/** An answer of our own. */
export function answerWith(response: ClientResponse, status: number, extra: readonly string[] = []): void {
  const text = `${status} ${PAGES[status] ?? ''}\n`;
  const headers = ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(text.length)];
  beginAnswer(response, status, undefined, [...headers, 'X-Content-Type-Options', 'nosniff', ...extra]);
  response.end(text);
}

/** Permanent, and the method stays. */
export function redirectToTls(response: ClientResponse, asked: Asked, port: number): void {
  const location = `https://${asked.host}${port === 443 ? '' : `:${port}`}${asked.target === '*' ? '/' : asked.target}`;
  beginAnswer(response, 308, undefined, ['Location', location, 'Content-Length', '0']);
  response.end();
}
