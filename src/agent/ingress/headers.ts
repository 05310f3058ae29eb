// Pure: which headers pass. Header lists are flat, as Node's rawHeaders: name, value, name, value.

/** Of one connection only [RFC 9110 7.6.1]; `Expect` is answered by whoever holds the connection. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  // CGI would make HTTP_PROXY of it, and libraries would believe that (CVE-2016-5385).
  'proxy',
  'content-length',
]);

/**
 * What only we may say. An underscore is compared as a hyphen: CGI and WSGI make the same variable of both, and a client
 * could speak in our name.
 */
const OURS = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-forwarded-server',
  'x-forwarded-ssl',
  'x-real-ip',
]);

export type Body =
  | { kind: 'none' }
  | { kind: 'empty' }
  | { kind: 'chunked' }
  | { kind: 'length'; length: string };

export interface ClientFacts {
  /** As the client wrote it. */
  host: string;
  address: string;
  protocol: 'http' | 'https';
  /** The port that the client came to. */
  port: number;
}

/** The headers of the request to the endpoint. `upgrade` is the protocol asked for, if any. */
export function requestHeaders(
  raw: readonly string[],
  client: ClientFacts,
  body: Body,
  upgrade?: string,
): string[] {
  const headers = ['Host', client.host];
  const named = namedByConnection(raw);
  const cookies: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string;
    const value = raw[index + 1] as string;
    const lower = name.toLowerCase();
    if (lower === 'host' || lower.startsWith(':') || HOP_BY_HOP.has(lower) || named.has(lower)) continue;
    if (OURS.has(lower.replaceAll('_', '-'))) continue;
    // HTTP/2 may divide it [RFC 9113 8.2.3]; HTTP/1.1 has one.
    if (lower === 'cookie') cookies.push(value);
    else headers.push(name, value);
  }
  if (cookies.length > 0) headers.push('Cookie', cookies.join('; '));
  headers.push(
    'X-Forwarded-For',
    client.address,
    'X-Forwarded-Host',
    client.host,
    'X-Forwarded-Port',
    String(client.port),
    'X-Forwarded-Proto',
    client.protocol,
    'X-Real-IP',
    client.address,
  );
  // The one hop-by-hop header whose meaning we hand on: that trailers are welcome.
  if (/(?:^|,)\s*trailers\s*(?:,|$)/i.test(firstOf(raw, 'te') ?? '')) headers.push('TE', 'trailers');
  if (upgrade !== undefined) headers.push('Connection', 'Upgrade', 'Upgrade', upgrade);
  else if (body.kind === 'chunked') headers.push('Transfer-Encoding', 'chunked');
  else if (body.kind === 'length') headers.push('Content-Length', body.length);
  else if (body.kind === 'empty') headers.push('Content-Length', '0');
  return headers;
}

/** The headers of an answer, but for those of its connection. Its length stays: the body passes as it is. */
export function responseHeaders(raw: readonly string[]): string[] {
  const named = namedByConnection(raw);
  const headers: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string;
    const lower = name.toLowerCase();
    if (lower !== 'content-length' && (HOP_BY_HOP.has(lower) || named.has(lower))) continue;
    headers.push(name, raw[index + 1] as string);
  }
  return headers;
}

/** For HTTP/2, which has names in lower case and repeated ones as arrays. */
export function headerObject(flat: readonly string[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null);
  for (let index = 0; index < flat.length; index += 2) {
    const name = (flat[index] as string).toLowerCase();
    const value = flat[index + 1] as string;
    const before = headers[name];
    headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  return headers;
}

export function headerPairs(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let index = 0; index < flat.length; index += 2)
    pairs.push([flat[index] as string, flat[index + 1] as string]);
  return pairs;
}

export function valuesOf(raw: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    if ((raw[index] as string).toLowerCase() === name) values.push(raw[index + 1] as string);
  }
  return values;
}

function firstOf(raw: readonly string[], name: string): string | undefined {
  return valuesOf(raw, name)[0];
}

function namedByConnection(raw: readonly string[]): ReadonlySet<string> {
  const named = new Set<string>();
  for (const value of valuesOf(raw, 'connection')) {
    for (const name of value.split(',')) named.add(name.trim().toLowerCase());
  }
  return named;
}
