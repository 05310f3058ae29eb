import { createServer, type Server } from 'node:http';
import type { Http2Server } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { limitSilence } from '../../lib/silence.ts';
import type { Certificates } from './certificates.ts';
import type { Entrance } from './exchange.ts';
import type { IngressProxy } from './proxy.ts';

/** Of each port. An idle TLS connection costs some 60 KB, and a board has 1 GB. */
const MOST_CONNECTIONS = 512;
const MOST_HEADER_BYTES = 32 * 1024;
const HEADERS_MS = 30_000;
const HANDSHAKE_MS = 10_000;
const KEEP_ALIVE_MS = 75_000;
/** Silence on a connection in the middle of a request or an answer. */
const IDLE_MS = 600_000;
/** Of one HTTP/2 connection. */
const MOST_STREAMS = 100;

const OPTIONS = {
  noDelay: true,
  maxHeaderSize: MOST_HEADER_BYTES,
  headersTimeout: HEADERS_MS,
  // A large upload over a slow line takes as long as it takes; silence is bounded by the connection's timeout.
  requestTimeout: 0,
  keepAliveTimeout: KEEP_ALIVE_MS,
};

/** Where plain HTTP comes in. */
export function plainEntrance(proxy: IngressProxy, port: number): Server {
  const server = createServer(OPTIONS);
  serve(server, proxy, { protocol: 'http', port });
  return server;
}

/** Where TLS comes in: HTTP/2 for who offers it, HTTP/1.1 for the others. */
export class TlsEntrance {
  readonly server: ReturnType<typeof createTlsServer>;
  private readonly proxy: IngressProxy;
  private readonly entrance: Entrance;
  private http2: Promise<Http2Server> | undefined;

  constructor(proxy: IngressProxy, certificates: Certificates, port: number) {
    this.proxy = proxy;
    this.entrance = { protocol: 'https', port };
    const { certificate, key } = certificates.pairForAny;
    this.server = createTlsServer({
      ...OPTIONS,
      cert: certificate,
      key,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: HANDSHAKE_MS,
      SNICallback: (name, done) => {
        try {
          done(null, certificates.contextFor(name));
        } catch (error) {
          done(error as Error);
        }
      },
    });
    const [http1] = this.server.listeners('secureConnection') as ((socket: Socket) => void)[];
    this.server.removeAllListeners('secureConnection');
    this.server.on('secureConnection', (socket: TLSSocket) => {
      if (socket.alpnProtocol !== 'h2') http1?.call(this.server, socket);
      else this.serveHttp2(socket);
    });
    serve(this.server, proxy, this.entrance);
  }

  /** What clients get that ask for no name. */
  certificateChanged(certificates: Certificates): void {
    const { certificate, key } = certificates.pairForAny;
    this.server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.2' });
  }

  /** Node's HTTP/2 is loaded with the first client that speaks it. */
  private serveHttp2(socket: TLSSocket): void {
    socket.on('error', () => socket.destroy());
    this.http2 ??= import('node:http2').then(({ createServer: createHttp2 }) => {
      const server = createHttp2({
        settings: { maxConcurrentStreams: MOST_STREAMS, maxHeaderListSize: MOST_HEADER_BYTES },
      });
      server.on('request', (request, response) => this.proxy.handle(request, response, this.entrance));
      server.on('checkContinue', (request, response) =>
        this.proxy.handle(request, response, this.entrance, true),
      );
      server.on('sessionError', () => {});
      limitSilence(server, IDLE_MS);
      return server;
    });
    this.http2.then(
      (server) => server.emit('connection', socket),
      () => socket.destroy(),
    );
  }
}

function serve(server: Server, proxy: IngressProxy, entrance: Entrance): void {
  server.maxConnections = MOST_CONNECTIONS;
  limitSilence(server, IDLE_MS);
  server.on('request', (request, response) => proxy.handle(request, response, entrance));
  server.on('checkContinue', (request, response) => proxy.handle(request, response, entrance, true));
  server.on('upgrade', (request, socket, head) => proxy.upgrade(request, socket, head, entrance));
}
