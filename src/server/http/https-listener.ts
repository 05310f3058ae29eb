import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type Clock, type Timer, withTimeout } from '../../lib/clock.ts';
import { listening } from '../../lib/listening.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Identity } from '../identity/identity.ts';
import { isSilence } from './incoming.ts';
import type { Upgrade } from './ports.ts';

const HEAD_TIMEOUT_MS = 20_000;
const STALL_MS = 60_000;
const REQUEST_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 120_000;
const DRAIN_MS = 10_000;
const FLUSH_MS = 1000;
const MOST_CONNECTIONS = 4096;

export interface HttpsListenerOptions {
  listen: { address: string; port: number };
  identity: Identity;
  clock: Clock;
  logger: Logger;
  /** See ServerLimits. */
  headMs?: number | undefined;
  stallMs?: number | undefined;
  /** Neither rejects: it has answered, whatever happened. */
  onRequest: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  onUpgrade: (upgrade: Upgrade) => Promise<void>;
}

/** The port itself: TLS, the bounds on clients that are slow, silent or hostile, and an end in order. */
export class HttpsListener {
  private readonly options: HttpsListenerOptions;
  private server: Server | undefined;
  /** Sockets that left HTTP: Node forgets them, stop() must not. */
  private readonly upgraded = new Set<Duplex>();
  /** With the bytes that each had taken when last looked at. */
  private readonly connections = new Map<TLSSocket, number>();
  private stalls: Timer | undefined;
  private readonly working = new Set<Promise<void>>();
  private ending = false;

  constructor(options: HttpsListenerOptions) {
    this.options = options;
  }

  /** The port that it listens on; 0 before start. */
  get port(): number {
    const address = this.server?.address() as AddressInfo | null | undefined;
    return address?.port ?? 0;
  }

  get stopping(): boolean {
    return this.ending;
  }

  /** The serving certificate is another one: for connections from now on. */
  certificateChanged(): void {
    this.server?.setSecureContext({ ...certificateOf(this.options.identity), minVersion: 'TLSv1.2' });
  }

  /** Rejects with the system's error (EADDRINUSE, EACCES) when it cannot listen. */
  async start(): Promise<void> {
    const { identity, listen, logger, headMs = HEAD_TIMEOUT_MS, onRequest } = this.options;
    const server = createServer(
      {
        ...certificateOf(identity),
        requestCert: true,
        // Who has no certificate may have a token; Access decides.
        rejectUnauthorized: false,
        minVersion: 'TLSv1.2',
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: headMs,
        headersTimeout: headMs,
        connectionsCheckingInterval: headMs / 2,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        noDelay: true,
      },
      (request, response) => this.track(onRequest(request, response)),
    );
    server.maxConnections = MOST_CONNECTIONS;
    server.on('upgrade', (request, socket, head) => this.upgrade({ request, socket, head }));
    server.on('secureConnection', (socket: TLSSocket) => {
      this.connections.set(socket, 0);
      socket.once('close', () => this.connections.delete(socket));
    });
    server.on('tlsClientError', (error, socket) => {
      logger.debug({ error: error.message }, 'TLS handshake failed');
      // Nothing can be said to it before the handshake, and it would be waited for.
      socket.destroy();
    });
    server.on('clientError', (error, socket) => {
      logger.debug({ error: error.message }, 'malformed request');
      if (socket.writable && !isSilence(error))
        socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
      else socket.destroy();
    });
    this.server = server;
    this.stalls = this.options.clock.every(this.options.stallMs ?? STALL_MS, () => this.cutStalled());
    await listening(
      server,
      (done) => server.listen(listen.port, listen.address, done),
      (error) => logger.error({ error: error.message }, 'HTTPS server'),
    );
  }

  /**
   * No new connections; `endStreams` ends what would go on for ever; requests under way get some seconds; then everything
   * is closed.
   */
  async stop(endStreams: () => void): Promise<void> {
    const { server } = this;
    if (!server) return;
    this.ending = true;
    this.stalls?.cancel();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    endStreams();
    const { clock, logger } = this.options;
    await withTimeout(clock, DRAIN_MS, Promise.allSettled(this.working), () => new Error('drain')).catch(() =>
      logger.warn({ requests: this.working.size }, 'requests cut off at the stop'),
    );
    // end() lets what is written still go out; destroying at once would lose the ends of watches. Node writes what was
    // corked only when this turn of the loop is over.
    await new Promise((resolve) => setImmediate(resolve));
    for (const socket of [...this.connections.keys(), ...this.upgraded]) socket.end();
    await withTimeout(clock, FLUSH_MS, closed, () => new Error('flush')).catch(() => {
      for (const socket of this.upgraded) socket.destroy();
      server.closeAllConnections();
    });
    await closed;
    this.server = undefined;
    this.ending = false;
  }

  private upgrade(upgrade: Upgrade): void {
    const { socket } = upgrade;
    this.upgraded.add(socket);
    socket.once('close', () => this.upgraded.delete(socket));
    socket.on('error', () => socket.destroy());
    this.track(this.options.onUpgrade(upgrade));
  }

  /** Clients that took nothing of what waits for them since the last look: dead, asleep, or hostile. */
  private cutStalled(): void {
    for (const [socket, before] of this.connections) {
      const taken = socket.bytesWritten - socket.writableLength;
      if (socket.writableLength > 0 && taken === before) socket.destroy();
      else this.connections.set(socket, taken);
    }
  }

  private track(work: Promise<void>): void {
    this.working.add(work);
    void work.finally(() => this.working.delete(work));
  }
}

function certificateOf({ serving, caPem }: Identity): { key: string; cert: string; ca: string } {
  return { key: serving.key, cert: serving.certificate, ca: caPem };
}
