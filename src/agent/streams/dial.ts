import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../lib/clock.ts';
import { CHANNEL } from '../../wire/channels.ts';
import { type StreamContext, SUCCESS } from './context.ts';
import { StreamRefusal } from './target.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/** A TCP connection; rejects with the system's error, ETIMEDOUT when nothing answers in time. */
export function connectTcp(host: string, port: number, clock: Clock): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const fail = (error: Error): void => {
      timer.cancel();
      socket.destroy();
      reject(error);
    };
    const timer = clock.after(CONNECT_TIMEOUT_MS, () =>
      fail(Object.assign(new Error('i/o timeout'), { code: 'ETIMEDOUT' })),
    );
    socket.once('error', fail);
    socket.once('connect', () => {
      timer.cancel();
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ETIMEDOUT: 'i/o timeout',
};

/** Connects, or refuses in the words that clients of the API's proxy know: Go's. */
export async function dialDirect(host: string, port: number, clock: Clock): Promise<Socket> {
  try {
    return await connectTcp(host, port, clock);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    throw new StreamRefusal('InternalError', `dial tcp ${address}: ${REASONS[code] ?? message}`);
  }
}

/** Accepts the stream and carries it to the connection and back, until both sides have ended. */
export async function carry(
  connection: Duplex,
  { peer, signal, accept }: StreamContext,
  asRefusal: (error: Error) => StreamRefusal,
): Promise<void> {
  accept();
  peer.onMessage = (channel, data) => {
    if (channel === CHANNEL.STDIN && !connection.write(data)) peer.pause();
  };
  peer.onChannelEnd = (channel) => {
    if (channel === CHANNEL.STDIN) connection.end();
  };
  peer.onDrain = () => connection.resume();
  connection.on('drain', () => peer.resume());
  connection.on('data', (chunk: Buffer) => {
    if (!peer.send(CHANNEL.STDOUT, chunk)) connection.pause();
  });
  // The pod has said all: its client must not wait for the rest, even if it keeps its own side open.
  connection.on('end', () => peer.endChannel(CHANNEL.STDOUT));
  signal.addEventListener('abort', () => connection.destroy(), { once: true });
  if (signal.aborted) connection.destroy();
  await new Promise<void>((resolve, reject) => {
    connection.on('error', (error) => reject(asRefusal(error)));
    connection.on('close', resolve);
  });
  peer.send(CHANNEL.STATUS, SUCCESS);
}
