import type { IncomingMessage } from 'node:http';
import { connect as connectTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { Status } from '../api/types/meta-v1.ts';

/** PEM texts. Read again for each attempt, so that a renewed certificate is used from the next connection on. */
export interface TlsCredentials {
  /** Only this CA is trusted. */
  ca?: string;
  certificate?: string;
  key?: string;
}

/** The server answered the request for a WebSocket with something else. */
export class DialRefused extends Error {
  readonly status: number;
  /** `details.causes[0].reason` of the Status that came with it. */
  override readonly cause: string | undefined;

  constructor(status: number, message: string, cause: string | undefined) {
    super(`the server answered ${status}: ${message}`);
    this.name = 'DialRefused';
    this.status = status;
    this.cause = cause;
  }
}

/** A Status is smaller; of anything longer the rest is not read. */
const LONGEST_REFUSAL = 4096;
const CONNECT_TIMEOUT_MS = 10_000;
/** No smaller than the broker's largest packet. */
const MAX_WEBSOCKET_MESSAGE = 4 * 1024 * 1024;

const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'mqtt:': 1883,
  'mqtts:': 8883,
  'wss:': 443,
  'ws:': 80,
};

/**
 * How to reach a broker (MqttClientBus gives up on a stream that does not come to life in time): wss:// (subprotocol mqtt), mqtts://, mqtt:// or ws://. A URL that cannot be dialled throws
 * TypeError here, at start, and not at every attempt.
 */
export function dialer(url: string, credentials: () => TlsCredentials): () => Duplex | Promise<Duplex> {
  const target = new URL(url);
  const port = target.port === '' ? DEFAULT_PORTS[target.protocol] : Number(target.port);
  if (port === undefined) throw new TypeError(`${url}: expected mqtt://, mqtts://, ws:// or wss://`);
  // A WHATWG URL keeps the brackets of an IPv6 address.
  const host = target.hostname.replace(/^\[|\]$/g, '');
  const tlsOptions = () => {
    const { ca, certificate, key } = credentials();
    return {
      minVersion: 'TLSv1.2' as const,
      ...(ca === undefined ? {} : { ca }),
      ...(certificate === undefined ? {} : { cert: certificate }),
      ...(key === undefined ? {} : { key }),
    };
  };
  switch (target.protocol) {
    case 'mqtt:':
      return () => connectTcp({ host, port, noDelay: true });
    case 'mqtts:':
      return () => {
        const socket = connectTls({
          host,
          port,
          ...serverName(host),
          ALPNProtocols: ['mqtt'],
          ...tlsOptions(),
        });
        socket.setNoDelay(true);
        return socket;
      };
    default:
      return async () => {
        const { WebSocket, createWebSocketStream } = await import('ws');
        const socket = new WebSocket(target, 'mqtt', {
          ...tlsOptions(),
          ...serverName(host),
          handshakeTimeout: CONNECT_TIMEOUT_MS,
          maxPayload: MAX_WEBSOCKET_MESSAGE,
          perMessageDeflate: false,
          followRedirects: false,
        });
        await new Promise<void>((resolve, reject) => {
          socket.once('open', resolve);
          socket.on('error', reject);
          socket.once('unexpected-response', (_request, response) => {
            void refusal(response).then((error) => {
              reject(error);
              socket.terminate();
            });
          });
        });
        const stream = createWebSocketStream(socket);
        // By itself the stream stays open for writing when the other side has gone.
        socket.once('close', () => stream.destroy());
        return stream;
      };
  }
}

async function refusal(response: IncomingMessage): Promise<DialRefused> {
  let text = '';
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      text += chunk;
      if (text.length > LONGEST_REFUSAL) break;
    }
  } catch {
    // What came is all there is.
  }
  const status = response.statusCode ?? 0;
  try {
    const body = JSON.parse(text) as Partial<Status> | null;
    return new DialRefused(status, body?.message ?? '', body?.details?.causes?.[0]?.reason);
  } catch {
    return new DialRefused(status, response.statusMessage ?? '', undefined);
  }
}

/** SNI holds names only, never addresses (RFC 6066, section 3). */
function serverName(host: string): { servername?: string } {
  return /^[\d.]+$|:/.test(host) ? {} : { servername: host };
}
