import type { Duplex } from 'node:stream';
import type { Aedes, Client as AedesClient, AedesOptions } from 'aedes';
import type { Logger } from '../lib/logger.ts';
import { FrameLimit } from './frame-limit.ts';
import { RetainedStore } from './retained-store.ts';
import { nodeMayPublish, nodeMaySubscribe } from './topics.ts';
import { MAX_PACKET_BYTES } from './validate.ts';

/** Who is at the other end of a stream, as its TLS certificate proved. */
export interface PeerIdentity {
  /** The node's name, without `system:node:`. */
  node: string;
}

export interface EmbeddedBrokerOptions {
  logger: Logger;
  /** A client that sends a larger packet is disconnected. */
  maxPacketBytes?: number;
  /** A client that lets more than this wait is disconnected; it reads the retained state again when it returns. */
  maxQueuedBytes?: number;
  /** More connections than this are refused. */
  maxConnections?: number;
}

interface Peer {
  identity: PeerIdentity;
  stream: Duplex;
}

/**
 * aedes with our rules: only clean sessions, client id = node name (so that no node can take over another's session),
 * per-node topics, bounds. Every stream comes with an identity that someone else has checked.
 */
export class EmbeddedBroker {
  readonly retained = new RetainedStore();
  private readonly logger: Logger;
  private readonly maxPacketBytes: number;
  private readonly maxQueuedBytes: number;
  private readonly maxConnections: number;
  private readonly peers = new WeakMap<object, Peer>();
  private readonly streams = new Set<Duplex>();
  private aedes: Aedes | undefined;

  constructor(options: EmbeddedBrokerOptions) {
    this.logger = options.logger;
    this.maxPacketBytes = options.maxPacketBytes ?? MAX_PACKET_BYTES;
    this.maxQueuedBytes = options.maxQueuedBytes ?? 16 * 1024 * 1024;
    this.maxConnections = options.maxConnections ?? 2000;
  }

  async start(): Promise<void> {
    if (this.aedes) return;
    const { Aedes } = await import('aedes');
    const aedes = await Aedes.createBroker(this.aedesOptions());
    aedes.on('clientError', (client, error) => {
      this.logger.warn({ node: client.id, err: error }, 'MQTT connection of a node broke');
    });
    aedes.on('connectionError', (_client, error) => {
      this.logger.warn({ err: error }, 'MQTT connection broke before it was established');
    });
    aedes.on('client', (client) => this.logger.info({ node: client.id }, 'MQTT client connected'));
    aedes.on('clientDisconnect', (client) =>
      this.logger.info({ node: client.id }, 'MQTT client disconnected'),
    );
    this.aedes = aedes;
  }

  async stop(): Promise<void> {
    const aedes = this.aedes;
    this.aedes = undefined;
    if (!aedes) return;
    await new Promise<void>((resolve) => aedes.close(() => resolve()));
    for (const stream of this.streams) stream.destroy();
    this.streams.clear();
    this.retained.clear();
  }

  get running(): boolean {
    return this.aedes !== undefined;
  }

  /** Speaks MQTT on `stream` (a TLS socket, a WebSocket's stream, memory) with the node that `identity` names. */
  handle(stream: Duplex, identity: PeerIdentity): void {
    const { aedes } = this;
    if (!aedes || this.streams.size >= this.maxConnections) {
      stream.destroy();
      return;
    }
    this.streams.add(stream);
    stream.once('close', () => this.streams.delete(stream));
    const limited = new FrameLimit(stream, this.maxPacketBytes);
    this.peers.set(limited, { identity, stream });
    aedes.handle(limited);
  }

  /**
   * For LocalBus: a publish by the server itself. When it returns, the message is stored if retained and given to every
   * subscriber; how fast they read it is not waited for. Throws when the broker is stopped.
   */
  publish(topic: string, payload: string, options: { qos: 0 | 1; retain: boolean }): void {
    const { aedes } = this;
    if (!aedes) throw new Error('the broker is not running');
    let problem: Error | undefined;
    aedes.publish(
      { cmd: 'publish', dup: false, topic, payload: Buffer.from(payload), ...options },
      (error) => {
        problem = error;
      },
    );
    // Only a topic that cannot be is refused, and that at once.
    if (problem) throw problem;
  }

  /** For LocalBus: live messages only; what is retained is in `retained`. */
  listen(filter: string, handler: (topic: string, payload: string) => void): void {
    this.aedes?.subscribe(
      filter,
      (packet, done) => {
        handler(packet.topic, packet.payload.toString());
        done();
      },
      () => {},
    );
  }

  private aedesOptions(): AedesOptions {
    return {
      persistence: this.retained,
      // Messages under way at once. aedes waits for a slow client's socket to drain before it counts one as done, so a
      // bound here would let one slow board hold up all others; what a board may let wait is bounded in forward().
      concurrency: 0,
      drainTimeout: 30_000,
      connectTimeout: 10_000,
      // Without a keepalive a board that lost its power would count as alive for ever.
      keepaliveLimit: 120,
      heartbeatInterval: 3_600_000,
      maxInflightInbound: 16,
      maxTopicLevels: 16,
      queueLimit: 256,
      preConnect: (client, packet, callback) => {
        const node = this.peerOf(client)?.identity.node;
        if (node === undefined || packet.clientId !== node) {
          callback(new Error(`client id must be the node's name`), false);
        } else if (!packet.clean) {
          callback(new Error('only clean sessions are served'), false);
        } else callback(null, true);
      },
      authenticate: (client, _user, _password, done) => done(null, this.peerOf(client) !== undefined),
      authorizePublish: (client, packet, callback) => {
        const node = client ? this.peerOf(client)?.identity.node : undefined;
        const allowed = node !== undefined && nodeMayPublish(node, packet.topic);
        callback(allowed ? null : new Error(`${node ?? 'a stranger'} may not publish to ${packet.topic}`));
      },
      authorizeSubscribe: (client, subscription, callback) => {
        const node = this.peerOf(client)?.identity.node;
        const allowed = node !== undefined && nodeMaySubscribe(node, subscription.topic);
        if (!allowed) this.logger.warn({ node, filter: subscription.topic }, 'refused a subscription');
        // null refuses this filter with 0x80 and keeps the connection [MQTT-3.9.3].
        callback(null, allowed ? subscription : null);
      },
      authorizeForward: (client, packet) => this.forward(client, packet),
    };
  }

  /** The last look at a message before it is written to a client. */
  private forward<P extends { topic: string; retain: boolean; payload: string | Buffer }>(
    client: AedesClient,
    packet: P,
  ): P | null {
    const peer = this.peerOf(client);
    if (!peer || !nodeMaySubscribe(peer.identity.node, packet.topic)) return null;
    const waiting = client.conn.writableLength + peer.stream.writableLength;
    if (waiting > this.maxQueuedBytes) {
      this.logger.warn({ node: peer.identity.node, waiting }, 'a node reads too slowly and is disconnected');
      client.conn.destroy();
      return null;
    }
    // `retain` is set only for the replay at a subscription. aedes reads it ahead of the writes: without this look a
    // state that changed meanwhile would be delivered after its successor.
    if (packet.retain) {
      const current = this.retained.get(packet.topic);
      if (current === undefined) return null;
      packet.payload = current;
    }
    return packet;
  }

  private peerOf(client: AedesClient): Peer | undefined {
    return this.peers.get(client.conn);
  }
}
