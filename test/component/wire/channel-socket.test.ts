import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { ChannelSocket } from '../../../src/wire/channel-socket.ts';
import { CHANNEL } from '../../../src/wire/channels.ts';

let server: WebSocketServer;
beforeAll(async () => {
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
});
afterAll(() => server.close());

async function pair(): Promise<[ChannelSocket, ChannelSocket]> {
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const dialled = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const [[other]] = await Promise.all([accepted, once(dialled, 'open')]);
  return [new ChannelSocket(dialled), new ChannelSocket(other)];
}

const closed = (peer: ChannelSocket): Promise<void> =>
  new Promise((resolve) => {
    peer.onClose = resolve;
  });

it('closes at once though it was not reading, and hears nothing more', async () => {
  const [reader, writer] = await pair();
  const heard: number[] = [];
  reader.onMessage = (_channel, data) => {
    heard.push(data.length);
    reader.pause();
  };
  const both = Promise.all([closed(reader), closed(writer)]);
  const first = new Promise<void>((resolve) => {
    const { onMessage } = reader;
    reader.onMessage = (channel, data) => {
      onMessage(channel, data);
      resolve();
    };
  });
  // More than what lies between the two.
  for (let count = 0; count < 200; count += 1) writer.send(CHANNEL.STDOUT, Buffer.alloc(100_000));
  await first;
  reader.close();
  await both;
  expect(heard).toEqual([100_000]);
}, 10_000);
