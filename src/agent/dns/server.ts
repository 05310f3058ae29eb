import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { listening } from '../../lib/listening.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import type { Service } from '../../lib/service.ts';
import type { ClusterInfo, SharedService } from '../../wire/messages.ts';
import { Forwarder } from './forwarder.ts';
import { EDNS_SIZE, PLAIN_UDP_SIZE, type Query } from './message.ts';
import { answerTo, type ResolverOptions } from './resolver.ts';
import { ClusterZone } from './zone.ts';

const HOST = '127.0.0.1';
/** Not 53: that may be a name server's of the board. The packets for the cluster's DNS address are led here by nftables. */
const USUAL_PORT = 10_053;
const MOST_CONNECTIONS = 128;
const IDLE_MS = 10_000;
const LARGEST_MESSAGE = 65_535;

/**
 * The cluster's DNS on this board: answers names of the cluster from what the board was told (also by its journal, so
 * that it works while cut off), and all others through the board's own resolvers. Listens on the loopback only.
 */
export class DnsServer implements Service {
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly usualPort: number;
  private readonly forwarder: Forwarder;
  private readonly options: ResolverOptions;
  /** Brought to `known` with the first question after a change: changes come in hundreds at a start. */
  private zone: ClusterZone | undefined;
  private stale = false;
  private known: { cluster: ClusterInfo; services: readonly SharedService[]; serial: number } | undefined;
  private udp: UdpSocket | undefined;
  private tcp: Server | undefined;
  private readonly connections = new Set<Socket>();

  constructor(options: {
    clock: Clock;
    random: Random;
    logger: Logger;
    /** /etc/resolv.conf of the board. */
    resolvConf: string;
    complete: () => boolean;
    /** 0: any. */
    port?: number;
  }) {
    this.clock = options.clock;
    this.logger = options.logger.child({ part: 'dns' });
    this.usualPort = options.port ?? USUAL_PORT;
    const { clock, random, logger, resolvConf } = options;
    this.forwarder = new Forwarder({ clock, random, logger: logger.child({ part: 'dns' }), resolvConf });
    this.options = {
      zone: () => this.currentZone(),
      complete: options.complete,
      random: () => random.number(),
      forward: (query) => this.forwarder.resolve(query),
    };
  }

  /** Where it listens on 127.0.0.1, UDP and TCP; undefined before `start`. */
  get port(): number | undefined {
    const address = this.tcp?.address();
    return typeof address === 'object' && address ? address.port : undefined;
  }

  async start(): Promise<void> {
    try {
      await this.listen(this.usualPort);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      await this.listen(0);
    }
    this.logger.debug({ port: this.port }, 'the cluster DNS of this board listens');
  }

  async stop(): Promise<void> {
    const { udp, tcp } = this;
    this.udp = undefined;
    this.tcp = undefined;
    for (const connection of this.connections) connection.destroy();
    await Promise.all([
      udp && new Promise<void>((resolve) => udp.close(() => resolve())),
      tcp && new Promise<void>((resolve) => tcp.close(() => resolve())),
    ]);
  }

  /** Level-triggered: always everything. Without a cluster there is nothing to answer from. */
  update(cluster: ClusterInfo | undefined, services: readonly SharedService[]): void {
    if (!cluster) return;
    if (cluster !== this.known?.cluster) {
      const { stubDomains, upstreamNameservers } = cluster;
      this.forwarder.configure(cluster.clusterDns, {
        ...(stubDomains === undefined ? {} : { stubDomains }),
        ...(upstreamNameservers === undefined ? {} : { upstreamNameservers }),
      });
    }
    if (cluster !== this.known?.cluster) this.zone = undefined;
    this.known = { cluster, services, serial: Math.floor(this.clock.now() / 1000) };
    this.stale = true;
  }

  private currentZone(): ClusterZone | undefined {
    if (!this.known || (this.zone && !this.stale)) return this.zone;
    if (this.zone) this.zone.update(this.known.services, this.known.serial);
    else this.zone = new ClusterZone(this.known);
    this.stale = false;
    return this.zone;
  }

  /** Both protocols on one port, because one rule leads to it. */
  private async listen(wanted: number): Promise<void> {
    const tcp = createServer({ allowHalfOpen: true }, (connection) => this.connected(connection));
    tcp.maxConnections = MOST_CONNECTIONS;
    const failed = (side: string) => (error: Error) =>
      this.logger.warn({ err: error }, `the ${side} side of the cluster DNS failed`);
    await listening(tcp, (done) => tcp.listen(wanted, HOST, done), failed('TCP'));
    const address = tcp.address();
    const port = typeof address === 'object' && address ? address.port : wanted;
    const udp = createSocket('udp4');
    try {
      await listening(udp, (done) => udp.bind(port, HOST, done), failed('UDP'));
    } catch (error) {
      tcp.close();
      throw error;
    }
    udp.on('message', (message, peer) => {
      void this.reply(message, udpLimit).then((reply) => {
        if (reply && this.udp === udp) udp.send(reply, peer.port, peer.address, () => {});
      });
    });
    this.tcp = tcp;
    this.udp = udp;
  }

  private async reply(message: Buffer, limitOf: (query: Query) => number): Promise<Buffer | undefined> {
    try {
      return await answerTo(message, this.options, limitOf);
    } catch (error) {
      this.logger.error({ err: error }, 'a DNS query could not be answered');
      return undefined;
    }
  }

  /** One query after the other, each with its length before it (RFC 7766); while one is answered none is read. */
  private connected(connection: Socket): void {
    this.connections.add(connection);
    let timer = this.clock.after(IDLE_MS, () => connection.destroy());
    let received = Buffer.alloc(0);
    let busy = false;
    let ended = false;
    const next = (): void => {
      if (busy) return;
      const length = received.length < 2 ? Number.POSITIVE_INFINITY : received.readUInt16BE(0);
      if (received.length < length + 2) {
        if (ended) connection.end();
        else connection.resume();
        return;
      }
      busy = true;
      connection.pause();
      const message = received.subarray(2, length + 2);
      received = received.subarray(length + 2);
      void this.reply(message, () => LARGEST_MESSAGE).then((reply) => {
        busy = false;
        if (!reply) {
          connection.destroy();
          return;
        }
        const prefix = Buffer.alloc(2);
        prefix.writeUInt16BE(reply.length, 0);
        connection.write(Buffer.concat([prefix, reply]));
        next();
      });
    };
    connection.on('data', (chunk: Buffer) => {
      timer.cancel();
      timer = this.clock.after(IDLE_MS, () => connection.destroy());
      received = Buffer.concat([received, chunk]);
      next();
    });
    connection.on('end', () => {
      ended = true;
      next();
    });
    connection.on('error', () => connection.destroy());
    connection.on('close', () => {
      timer.cancel();
      this.connections.delete(connection);
    });
  }
}

function udpLimit({ edns }: Query): number {
  return edns ? Math.min(edns.udpSize, EDNS_SIZE) : PLAIN_UDP_SIZE;
}
