import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { badRequest } from '../../../api/errors.ts';
import { STREAM_MESSAGE_BYTES } from '../../../wire/channels.ts';
import type { Upgrade } from '../ports.ts';

export function isWebSocket(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === 'websocket';
}

/** The protocols that the client offers, in its order. */
export function offered(request: IncomingMessage, transport: 'websocket' | 'spdy'): string[] {
  const header = transport === 'websocket' ? 'sec-websocket-protocol' : 'x-stream-protocol-version';
  const value = request.headers[header];
  const text = Array.isArray(value) ? value.join(',') : (value ?? '');
  return text
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '');
}

/** Completes the WebSocket handshake with `protocol` (none when empty), which the client has offered. */
export function acceptWebSocket({ request, socket, head }: Upgrade, protocol: string): Promise<WebSocket> {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: STREAM_MESSAGE_BYTES,
  });
  // By hand: `SPDY/3.1+portforward.k8s.io` is no token (RFC 6455, 4.1; the slash), and the library refuses it.
  delete request.headers['sec-websocket-protocol'];
  if (protocol !== '') server.on('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  return new Promise((resolve, reject) => {
    const refused = (): void => reject(badRequest('the WebSocket handshake failed'));
    socket.once('close', refused);
    server.handleUpgrade(request, socket, head, (webSocket) => {
      socket.off('close', refused);
      resolve(webSocket);
    });
  });
}

/** Answers 101 for SPDY/3.1; the duplex carries frames from here on. Throws 400 for any other upgrade. */
export function acceptSpdy({ request, socket, head }: Upgrade, headers: Record<string, string>): Duplex {
  if (request.headers.upgrade?.toLowerCase() !== 'spdy/3.1') {
    throw badRequest(
      `unable to upgrade: expected WebSocket or SPDY/3.1, got "${request.headers.upgrade ?? ''}"`,
    );
  }
  const lines = Object.entries({ Connection: 'Upgrade', Upgrade: 'SPDY/3.1', ...headers });
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
  );
  if (head.length > 0) socket.unshift(head);
  return socket;
}
