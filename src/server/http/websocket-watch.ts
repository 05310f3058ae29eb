// Imported when somebody watches over a WebSocket (browsers do).
import { type WebSocket, WebSocketServer } from 'ws';
import type { StatusError } from '../../api/errors.ts';
import type { Upgrade } from './ports.ts';
import type { WatchSink } from './watch.ts';

const LARGEST_MESSAGE = 1024;

/** Answers the upgrade; every event is a text message. The token's subprotocol is not echoed: it is a secret. */
export function acceptWatch({
  request,
  socket,
  head,
}: Upgrade): WatchSink & { fail(error: StatusError): void } {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: LARGEST_MESSAGE,
    handleProtocols: (protocols) =>
      [...protocols].find((protocol) => !protocol.startsWith('base64url.bearer.')) ?? false,
  });
  let client: WebSocket | undefined;
  server.handleUpgrade(request, socket, head, (accepted) => {
    client = accepted;
    accepted.on('error', () => accepted.terminate());
  });
  return {
    open: () => {},
    write: (line) => client?.send(line),
    get pendingBytes() {
      return client?.bufferedAmount ?? 0;
    },
    onDrain: (listener) => {
      if (socket.writableNeedDrain) socket.once('drain', listener);
      else setImmediate(listener);
    },
    end: () => client?.close(1000),
    destroy: () => client?.terminate(),
    onClose: (listener) => void (client ? client.once('close', listener) : queueMicrotask(listener)),
    fail: (error) => {
      client?.send(JSON.stringify({ type: 'ERROR', object: error.status }));
      client?.close(1000);
    },
  };
}
