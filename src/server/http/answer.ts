import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { createGzip, gzip } from 'node:zlib';
import { StatusError } from '../../api/errors.ts';
import type { AuditedBodies } from './audit-event.ts';
import type { AnswerForm } from './negotiation.ts';

/** Below this, compressing costs more than it saves; as Kubernetes. */
const COMPRESS_FROM = 128 * 1024;
const PIECE = 256 * 1024;
/** Texts of this size are gone before the garbage collector has to move them: larger ones cost twice the time. */
const CHUNK = 16 * 1024;
const GZIP_LEVEL = 1;
/** RFC 7234 3.2: nobody between may keep what RBAC decided for one user. */
export const NOT_CACHED = 'no-cache, private';

export interface Answering {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly warnings: string[];
  /** Where the audit log wants to know of bodies. */
  bodies?: AuditedBodies | undefined;
}

/** Sends an object in the form that the client asked for. `json` is its text when it is already at hand. */
export async function sendObject(
  answering: Answering,
  code: number,
  object: unknown,
  form: Pick<AnswerForm, 'encoding'>,
  serialise: (object: object) => string = JSON.stringify,
): Promise<void> {
  const { response } = answering;
  answering.bodies?.keepResponse(object as object);
  if (form.encoding === 'yaml') {
    const { writeYaml } = await import('./yaml-text.ts');
    return sendText(answering, code, 'application/yaml', writeYaml(object));
  }
  const text = wantsPretty(answering)
    ? `${JSON.stringify(object, null, 2)}\n`
    : `${serialise(object as object)}\n`;
  if (response.destroyed) return;
  return sendText(answering, code, 'application/json', text);
}

export async function sendText(
  { request, response, warnings }: Pick<Answering, 'request' | 'response'> & { warnings?: string[] },
  code: number,
  contentType: string,
  text: string | Buffer,
  headers: Record<string, string> = {},
): Promise<void> {
  if (response.headersSent || response.destroyed) return;
  let body = typeof text === 'string' ? Buffer.from(text) : text;
  const all = commonHeaders(contentType, warnings, headers);
  if (body.length >= COMPRESS_FROM && acceptsGzip(request)) {
    body = await compress(body);
    all['content-encoding'] = 'gzip';
    all.vary = 'Accept-Encoding';
  }
  all['content-length'] = body.length;
  response.writeHead(code, all);
  if (request.method === 'HEAD') response.end();
  else await writeBody(response, body);
}

function commonHeaders(
  contentType: string,
  warnings: readonly string[] = [],
  headers: Record<string, string> = {},
): Record<string, string | string[] | number> {
  return {
    'cache-control': NOT_CACHED,
    'content-type': contentType,
    ...headers,
    ...(warnings.length > 0 ? { warning: warnings.map(warningHeader) } : {}),
  };
}

/**
 * Sends a text that is made while it is sent: a piece is asked for when the client has taken those before it, so that a
 * long answer costs little memory, and others get their turn of the event loop in between.
 */
export async function sendPieces(
  answering: Answering,
  contentType: string,
  pieces: Iterable<string>,
): Promise<void> {
  const { request, response, warnings } = answering;
  if (response.headersSent || response.destroyed) return;
  const chunks = chunksOf(pieces)[Symbol.iterator]();
  const begin: Buffer[] = [];
  let length = 0;
  let next = chunks.next();
  for (; !next.done && length < COMPRESS_FROM; next = chunks.next()) {
    begin.push(next.value);
    length += next.value.length;
  }
  if (next.done) return sendText(answering, 200, contentType, Buffer.concat(begin));
  const headers = commonHeaders(contentType, warnings);
  const zip = acceptsGzip(request);
  if (zip) Object.assign(headers, { 'content-encoding': 'gzip', vary: 'Accept-Encoding' });
  response.writeHead(200, headers);
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  const out = zip ? gzipInto(response) : response;
  for (const chunk of begin) out.write(chunk);
  for (; !next.done && !response.destroyed; next = chunks.next()) {
    out.write(next.value);
    if (out.writableLength >= PIECE) await drained(response, out);
  }
  if (!response.destroyed) out.end();
}

function* chunksOf(pieces: Iterable<string>): Iterable<Buffer> {
  let chunk: string[] = [];
  let length = 0;
  for (const piece of pieces) {
    chunk.push(piece);
    length += piece.length;
    if (length < CHUNK) continue;
    yield Buffer.from(chunk.join(''));
    chunk = [];
    length = 0;
  }
  if (length > 0) yield Buffer.from(chunk.join(''));
}

function gzipInto(response: ServerResponse): Writable {
  const zip = createGzip({ level: GZIP_LEVEL, chunkSize: 64 * 1024 });
  response.once('close', () => zip.destroy());
  zip.pipe(response);
  return zip;
}

/** In pieces, as the client takes them: TLS copies what it is given, and a client that stands still shows. */
async function writeBody(response: ServerResponse, body: Buffer): Promise<void> {
  let from = 0;
  for (; body.length - from > PIECE; from += PIECE) {
    if (response.destroyed) return;
    response.write(body.subarray(from, from + PIECE));
    await drained(response, response);
  }
  if (!response.destroyed) response.end(from === 0 ? body : body.subarray(from));
}

/** Resolves when `out`, which leads to the response, has passed on what it holds, or when the client is gone. */
function drained(response: ServerResponse, out: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed || !out.writableNeedDrain) {
      setImmediate(resolve);
      return;
    }
    const go = (): void => {
      out.off('drain', go);
      response.off('close', go);
      resolve();
    };
    out.on('drain', go);
    response.on('close', go);
  });
}

export function acceptsGzip(request: IncomingMessage): boolean {
  return /(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))|,|$)/i.test(
    String(request.headers['accept-encoding'] ?? ''),
  );
}

function compress(body: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    gzip(body, { level: GZIP_LEVEL }, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

/** People who look with curl or a browser get indented text, as from Kubernetes. */
export function wantsPretty({ request, query }: Pick<Answering, 'request' | 'query'>): boolean {
  const parameter = query.get('pretty');
  if (parameter !== null) return parameter === '' || parameter === 'true' || parameter === '1';
  return /^(?:curl|Wget|Mozilla)/.test(request.headers['user-agent'] ?? '');
}

const LONGEST_WARNING = 4096;

/** `299 - "text"` [RFC 7234 5.5], quoted; header values are Latin-1, so the rest is escaped. */
export function warningHeader(text: string): string {
  const clean = text
    .slice(0, LONGEST_WARNING)
    .replace(/[^\x20-\x7e]/gu, ' ')
    .replace(/["\\]/g, '\\$&');
  return `299 - "${clean}"`;
}

export function asStatusError(error: unknown): StatusError | undefined {
  return error instanceof StatusError ? error : undefined;
}

/** Any failure as the Status that the client gets. What is not a StatusError is a bug: its text stays in the log. */
export function toStatusError(error: unknown): StatusError {
  return (
    asStatusError(error) ??
    new StatusError('InternalError', 500, 'Internal error occurred: see the log of the server', {
      causes: [{ message: 'see the log of the server' }],
    })
  );
}

export async function sendStatus(answering: Answering, error: StatusError): Promise<void> {
  const retry = error.status.details?.retryAfterSeconds;
  const headers: Record<string, string> = retry === undefined ? {} : { 'retry-after': String(retry) };
  answering.bodies?.keepResponse(error.status);
  await sendText(answering, error.code, 'application/json', `${JSON.stringify(error.status)}\n`, headers);
}

/** A Status over a raw socket whose upgrade is refused. */
export function statusOverSocket(error: StatusError): string {
  const body = `${JSON.stringify(error.status)}\n`;
  return (
    `HTTP/1.1 ${error.code} ${error.reason || 'Error'}\r\n` +
    'content-type: application/json\r\n' +
    'connection: close\r\n' +
    `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}
