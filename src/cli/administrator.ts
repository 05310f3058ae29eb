import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { Refusal } from './explain.ts';

/** One request to the API. Throws Refusal with the server's message. */
export type ApiCall = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) => Promise<unknown>;

const TIMEOUT_MS = 15_000;
const LONGEST_ANSWER = 16 * 1024 * 1024;

/** As the administrator whose kubeconfig the server of this machine keeps for itself. */
export function connectAsAdministrator(dataDir: string): ApiCall {
  const path = join(dataDir, 'server', 'admin.kubeconfig');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Refusal(
      code === 'EACCES'
        ? `no permission for ${path}: run as the user that the server runs as (sudo)`
        : `there is no ${path}: run this where the server runs, or name its data directory with --data-dir`,
    );
  }
  // Our own file, of which we know the form.
  const value = (key: string): string => new RegExp(`^\\s*${key}: (\\S+)$`, 'm').exec(text)?.[1] ?? '';
  const decoded = (key: string): string => Buffer.from(value(key), 'base64').toString();
  const server = new URL(value('server'));
  return (method, target, body) =>
    new Promise((resolve, reject) => {
      const content = body === undefined ? undefined : JSON.stringify(body);
      const sent = request(
        {
          host: server.hostname.replace(/^\[|\]$/g, ''),
          port: server.port,
          method,
          path: target,
          ca: decoded('certificate-authority-data'),
          cert: decoded('client-certificate-data'),
          key: decoded('client-key-data'),
          timeout: TIMEOUT_MS,
          headers: {
            accept: 'application/json',
            ...(content === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
          },
        },
        (response) => {
          let answer = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            answer += chunk;
            if (answer.length > LONGEST_ANSWER)
              sent.destroy(new Refusal('the answer of the server is too long'));
          });
          response.on('error', reject);
          response.on('end', () => {
            const parsed = parse(answer);
            if ((response.statusCode ?? 500) < 400) resolve(parsed);
            else reject(new Refusal(messageOf(parsed) ?? `the server answered with ${response.statusCode}`));
          });
        },
      );
      sent.on('timeout', () => sent.destroy(new Refusal(`the server at ${server.host} does not answer`)));
      sent.on('error', (error: NodeJS.ErrnoException) => {
        const down = error.code === 'ECONNREFUSED';
        reject(down ? new Refusal(`the server at ${server.host} is not running: start it first`) : error);
      });
      sent.end(content);
    });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function messageOf(answer: unknown): string | undefined {
  const message = (answer as { message?: unknown } | undefined)?.message;
  return typeof message === 'string' ? message : undefined;
}
