import { type Agent, request } from 'node:https';
import { SystemClock } from '../../../src/lib/clock.ts';
import type { FuzzRequest } from './mutate.ts';

export interface Reply {
  /** 0: the server closed the connection without an answer. */
  status: number;
  /** The answer, or its head when it is a stream. */
  text: string;
}

/** Sends over a kept connection; a stream (watch, log) counts as answered with its head and is left then. */
export function send(
  { method, path, headers, body }: FuzzRequest,
  { port, agent, deadlineMs }: { port: number; agent: Agent; deadlineMs: number },
): Promise<Reply | 'late'> {
  return new Promise((resolve) => {
    const content = body ?? Buffer.alloc(0);
    const sent = request({
      host: '127.0.0.1',
      port,
      agent,
      method,
      path,
      headers: { ...headers, ...(body ? { 'content-length': content.length } : {}) },
    });
    const timer = new SystemClock().after(deadlineMs, () => finish('late'));
    const finish = (reply: Reply | 'late'): void => {
      timer.cancel();
      resolve(reply);
      if (reply === 'late') sent.destroy();
    };
    sent.on('response', (response) => {
      const status = response.statusCode ?? 0;
      const streams =
        method !== 'HEAD' &&
        response.headers['content-length'] === undefined &&
        status !== 204 &&
        status !== 304;
      if (streams) {
        finish({ status, text: '' });
        sent.destroy();
        return;
      }
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => finish({ status, text: '' }));
      response.on('end', () => finish({ status, text: Buffer.concat(chunks).toString() }));
    });
    sent.on('error', () => finish({ status: 0, text: '' }));
    sent.on('upgrade', () => finish({ status: 101, text: '' }));
    sent.end(body ? content : undefined);
  });
}
