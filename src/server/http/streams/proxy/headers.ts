import type { IncomingMessage } from 'node:http';
import type { Mount } from './rewrite.ts';

/** They concern one connection and not the message (RFC 9110, 7.6.1). */
const HOP_BY_HOP = [
  'connection',
  'proxy-connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
/** Who asks is the API's business: what proved it must not reach a pod. */
const CREDENTIALS = /^(?:authorization|impersonate-.*|x-remote-(?:user|uid|group|extra-.*))$/;
const BEARER_PROTOCOL = /^base64url\.bearer\.authorization\.k8s\.io\./;

/** The headers with which a client's request goes on. The Host stays the client's, as with the API server. */
export function headersFor(
  request: IncomingMessage,
  { upgrade, mount }: { upgrade: boolean; mount: Mount },
): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, values] of upgrade ? grouped(request.rawHeaders) : passedOn(request)) {
    if (!CREDENTIALS.test(name)) headers[name] = values.length === 1 ? (values[0] as string) : values;
  }
  const protocols = headers['sec-websocket-protocol'];
  if (protocols !== undefined) {
    const kept = [protocols]
      .flat()
      .join(',')
      .split(',')
      .map((protocol) => protocol.trim())
      .filter((protocol) => !BEARER_PROTOCOL.test(protocol));
    if (kept.length > 0) headers['sec-websocket-protocol'] = kept.join(', ');
    else delete headers['sec-websocket-protocol'];
  }
  const before = headers['x-forwarded-for'];
  headers['x-forwarded-for'] = [before ?? [], request.socket.remoteAddress ?? ''].flat().join(', ');
  if (upgrade) return headers;
  headers['x-forwarded-uri'] = (request.url ?? mount.prefix).split('?')[0] ?? mount.prefix;
  if (request.headers['transfer-encoding'] !== undefined) headers['transfer-encoding'] = 'chunked';
  headers.connection = 'close';
  return headers;
}

/** A message's own headers by lower-case name, without those of its connection. */
export function passedOn(message: IncomingMessage): Map<string, string[]> {
  const headers = grouped(message.rawHeaders);
  const named = (headers.get('connection') ?? [])
    .join(',')
    .split(',')
    .map((name) => name.trim().toLowerCase());
  for (const name of [...named, ...HOP_BY_HOP]) headers.delete(name);
  return headers;
}

function grouped(raw: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = (raw[index] as string).toLowerCase();
    const values = headers.get(name);
    if (values) values.push(raw[index + 1] as string);
    else headers.set(name, [raw[index + 1] as string]);
  }
  return headers;
}
