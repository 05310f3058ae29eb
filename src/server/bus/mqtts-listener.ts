import type { Server, TLSSocket } from 'node:tls';
import { listening } from '../../lib/listening.ts';
import type { Logger } from '../../lib/logger.ts';
import type { EmbeddedBroker } from '../../wire/embedded-broker.ts';
import { NODES_GROUP, nodeNameOf } from '../../wire/join.ts';
import { fingerprintOf } from '../identity/node-certificates.ts';

export interface ServerTls {
  /** PEM. */
  ca: string;
  certificate: string;
  key: string;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;

/** MQTT over TLS on a port of its own (8883) for nodes that cannot use WebSocket. Client certificates are demanded. */
export class MqttsListener {
  private readonly options: {
    broker: EmbeddedBroker;
    tls: ServerTls;
    host?: string;
    port: number;
    /** Is the certificate of this fingerprint (SHA-256, hex) still good for the node? */
    admits: (node: string, fingerprint: string) => boolean;
    logger: Logger;
  };
  private readonly connections = new Map<TLSSocket, { node: string; fingerprint: string }>();
  private server: Server | undefined;

  constructor(options: MqttsListener['options']) {
    this.options = options;
  }

  /** Rejects with the system's error (EADDRINUSE, EACCES) when it cannot listen. */
  async start(): Promise<void> {
    const { createServer } = await import('node:tls');
    const { tls, broker, logger, port, host } = this.options;
    const server = createServer({
      ca: tls.ca,
      cert: tls.certificate,
      key: tls.key,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      ALPNProtocols: ['mqtt'],
    });
    server.on('secureConnection', (socket) => {
      const peer = nodeOfCertificate(socket);
      if (!peer || !this.options.admits(peer.node, peer.fingerprint)) {
        logger.warn(
          { remote: socket.remoteAddress, node: peer?.node },
          peer
            ? 'the node of the certificate on the MQTT port was removed'
            : 'the client certificate on the MQTT port is not a node’s',
        );
        socket.destroy();
        return;
      }
      const { node } = peer;
      this.connections.set(socket, peer);
      socket.once('close', () => this.connections.delete(socket));
      socket.setNoDelay(true);
      broker.handle(socket, { node });
    });
    server.on('tlsClientError', (error, socket) => {
      logger.debug({ err: error, remote: socket.remoteAddress }, 'TLS handshake failed on the MQTT port');
    });
    await listening(
      server,
      (done) => server.listen({ port, ...(host === undefined ? {} : { host }) }, done),
      (error) => logger.error({ err: error }, 'the MQTT port failed'),
    );
    this.server = server;
  }

  /** For connections from now on. */
  useCertificate({ ca, certificate, key }: ServerTls): void {
    this.server?.setSecureContext({ ca, cert: certificate, key, minVersion: 'TLSv1.2' });
  }

  /** Ends the node's connections unless the certificate that they came with is still good. */
  recheckNode(name: string): void {
    for (const [socket, { node, fingerprint }] of this.connections) {
      if (node === name && !this.options.admits(node, fingerprint)) socket.destroy();
    }
  }

  /** The port in use; differs from the wanted one when that was 0. */
  get port(): number {
    const address = this.server?.address();
    return typeof address === 'object' && address !== null ? address.port : this.options.port;
  }

  /** Open connections end when the broker stops, which is to be before this. */
  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}

/** `CN=system:node:<name>, O=system:nodes`, as the server's CA signs for nodes. */
function nodeOfCertificate(socket: TLSSocket): { node: string; fingerprint: string } | undefined {
  if (!socket.authorized) return undefined;
  const certificate = socket.getPeerCertificate();
  const subject = certificate.subject as { CN?: string | string[]; O?: string | string[] } | undefined;
  const groups = [subject?.O ?? []].flat();
  const names = [subject?.CN ?? []].flat();
  const node =
    groups.includes(NODES_GROUP) && names.length === 1 ? nodeNameOf(names[0] as string) : undefined;
  return node === undefined ? undefined : { node, fingerprint: fingerprintOf(certificate) };
}
