import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { limitSilence } from '../../lib/silence.ts';

/** A WebSocket that is silent for so long, without a ping, has nobody at its other end. */
const IDLE_MS = 3_600_000;

/** The 101 with its headers as they came: they belong to the upgrade. */
export function upgradeHead(answer: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}`];
  for (let index = 0; index < answer.rawHeaders.length; index += 2) {
    lines.push(`${answer.rawHeaders[index]}: ${answer.rawHeaders[index + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Bytes both ways until both sides have ended, or one has failed. `done` is called once. */
export function joinSockets(one: Duplex, other: Duplex, done: () => void): void {
  let open = true;
  const end = (): void => {
    one.destroy();
    other.destroy();
    if (open) done();
    open = false;
  };
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', end);
    from.on('close', end);
    from.pipe(to);
    if (from instanceof Socket) {
      limitSilence(from, IDLE_MS, end);
      from.setKeepAlive(true, 60_000);
    }
  }
}
