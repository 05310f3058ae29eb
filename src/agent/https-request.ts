import type { IncomingMessage, RequestOptions } from 'node:http';
import type { Clock } from '../lib/clock.ts';

export interface HttpsAnswer {
  status: number;
  body: string;
}

const MAX_BODY_BYTES = 1024 * 1024;

export interface HttpsOptions {
  clock: Clock;
  method: string;
  headers?: Record<string, string>;
  body?: string;
  timeoutMs?: number;
  /** PEM; absent with `insecure` only. */
  ca?: string;
  certificate?: string;
  key?: string;
  /** Trust whatever answers: for the one request that fetches the CA, which the token's hash then proves. */
  insecure?: boolean;
}

/** One small HTTPS request on a connection of its own. Rejects on network errors, a deadline, or an answer above 1 MiB. */
export async function httpsRequest(url: URL, options: HttpsOptions): Promise<HttpsAnswer> {
  const { request } = await import('node:https');
  const timeoutMs = options.timeoutMs ?? 15_000;
  return await new Promise<HttpsAnswer>((resolve, reject) => {
    const settings: RequestOptions & Record<string, unknown> = {
      method: options.method,
      agent: false,
      headers: {
        accept: 'application/json',
        'user-agent': 'copepod-agent',
        ...(options.body === undefined
          ? {}
          : {
              'content-type': 'application/json',
              'content-length': String(Buffer.byteLength(options.body)),
            }),
        ...options.headers,
      },
      minVersion: 'TLSv1.2',
      ...(options.ca === undefined ? {} : { ca: options.ca }),
      ...(options.certificate === undefined ? {} : { cert: options.certificate }),
      ...(options.key === undefined ? {} : { key: options.key }),
      ...(options.insecure ? { rejectUnauthorized: false } : {}),
    };
    const call = request(url, settings, (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_BODY_BYTES) call.destroy(new Error(`the answer of ${url.pathname} is too large`));
        else chunks.push(chunk);
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
      );
      response.on('error', reject);
    });
    // Also bounds an answer that trickles.
    const deadline = options.clock.after(timeoutMs, () =>
      call.destroy(new Error(`no answer from ${url.host} within ${timeoutMs} ms`)),
    );
    call.on('error', reject);
    call.on('close', () => {
      deadline.cancel();
      // Settled already, unless the answer was cut off.
      reject(new Error(`${url.host} closed the connection`));
    });
    call.end(options.body);
  });
}
