import type { WebSocket } from 'ws';
import { StatusError } from '../../../api/errors.ts';
import type { Status } from '../../../api/types/meta-v1.ts';
import type { Clock, Timer } from '../../../lib/clock.ts';
import type { Random } from '../../../lib/random.ts';
import { type ChannelPeer, ChannelSocket } from '../../../wire/channel-socket.ts';
import { CHANNEL } from '../../../wire/channels.ts';
import { STREAMS_PATH } from '../../../wire/join.ts';
import type { MessageBus } from '../../../wire/message-bus.ts';
import type { StreamKind, StreamRequest } from '../../../wire/messages.ts';
import { topics } from '../../../wire/topics.ts';

/** From the request over MQTT until the agent's WebSocket stands and has accepted. */
const DIAL_TIMEOUT_MS = 10_000;
/** Keeps NAT entries alive and finds dead connections. */
const PING_INTERVAL_MS = 30_000;
const MAX_STREAMS_PER_NODE = 500;

interface Waiting {
  node: string;
  settle: (socket: WebSocket) => void;
}

/**
 * Streams to agents, which have no open port: the server asks over MQTT, the agent dials a WebSocket back, its first
 * message says whether it can do what was asked.
 */
export class AgentStreams {
  private readonly bus: MessageBus;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly connected: (node: string) => boolean;
  private readonly waiting = new Map<string, Waiting>();
  private readonly open = new Map<string, number>();
  private readonly sockets = new Set<WebSocket>();

  constructor(options: {
    bus: MessageBus;
    clock: Clock;
    random: Random;
    /** Does the node's connection to the broker stand? Nobody shall wait for one that cannot answer. */
    connected: (node: string) => boolean;
  }) {
    this.bus = options.bus;
    this.clock = options.clock;
    this.random = options.random;
    this.connected = options.connected;
  }

  /** Ends every stream. */
  stop(): void {
    for (const socket of this.sockets) socket.terminate();
  }

  /**
   * A stream that the agent has accepted. Throws the agent's own StatusError when it refuses, and 500 with
   * Kubernetes' `error dialing backend` when it cannot be reached.
   */
  async dial(node: string, request: StreamKind): Promise<ChannelPeer> {
    if (!this.connected(node)) throw dialError(node, 'it is not connected');
    const count = this.open.get(node) ?? 0;
    if (count >= MAX_STREAMS_PER_NODE) {
      throw new StatusError('TooManyRequests', 429, `node ${node} already serves ${count} streams`);
    }
    this.open.set(node, count + 1);
    let socket: WebSocket;
    try {
      socket = await this.rendezvous(node, request);
    } catch (error) {
      this.release(node);
      throw error;
    }
    socket.once('close', () => this.release(node));
    return this.accepted(socket, node);
  }

  /** The agent dialled in for stream `id`, authenticated as `node`. False: nobody waits for that (any more). */
  claim(id: string, node: string): ((socket: WebSocket) => void) | undefined {
    const waiting = this.waiting.get(id);
    return waiting?.node === node ? waiting.settle : undefined;
  }

  private rendezvous(node: string, request: StreamKind): Promise<WebSocket> {
    const id = this.random.bytes(16).toString('hex');
    const message: StreamRequest = {
      v: 1,
      id,
      path: `${STREAMS_PATH}${id}`,
      timeoutMs: DIAL_TIMEOUT_MS,
      request,
    };
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        timer.cancel();
        this.waiting.delete(id);
        reject(dialError(node, why));
      };
      const timer = this.clock.after(DIAL_TIMEOUT_MS, () => fail('the node does not answer'));
      this.waiting.set(id, {
        node,
        settle: (socket) => {
          timer.cancel();
          this.waiting.delete(id);
          this.watch(socket);
          resolve(socket);
        },
      });
      this.bus
        .publish(topics.streams(node), JSON.stringify(message), { qos: 1 })
        .catch((error: Error) => fail(error.message));
    });
  }

  private accepted(socket: WebSocket, node: string): Promise<ChannelPeer> {
    const peer = new ChannelSocket(socket);
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(DIAL_TIMEOUT_MS, () => {
        peer.close();
        reject(dialError(node, 'the node does not say whether it can serve the stream'));
      });
      peer.onClose = () => {
        timer.cancel();
        reject(dialError(node, 'the node closed the stream'));
      };
      peer.onMessage = (channel, data) => {
        if (channel !== CHANNEL.STATUS) return;
        timer.cancel();
        peer.onClose = () => {};
        const status = parseStatus(data);
        if (status.status === 'Success') {
          // Nothing may be lost between now and the handlers that the caller sets.
          peer.pause();
          return resolve(peer);
        }
        peer.close();
        reject(asError(status, node));
      };
    });
  }

  private watch(socket: WebSocket): void {
    this.sockets.add(socket);
    let answered = true;
    const timer: Timer = this.clock.every(PING_INTERVAL_MS, () => {
      if (!answered) return socket.terminate();
      answered = false;
      socket.ping();
    });
    socket.on('pong', () => {
      answered = true;
    });
    socket.on('close', () => {
      timer.cancel();
      this.sockets.delete(socket);
    });
  }

  private release(node: string): void {
    const count = (this.open.get(node) ?? 1) - 1;
    if (count > 0) this.open.set(node, count);
    else this.open.delete(node);
  }
}

/** What a STATUS message says; only what is needed of metav1.Status. */
export type StreamStatus = Pick<Status, 'status' | 'reason' | 'message' | 'code' | 'details'>;

export function parseStatus(data: Buffer): StreamStatus {
  try {
    return JSON.parse(data.toString('utf8')) as StreamStatus;
  } catch {
    return { status: 'Failure', message: 'the node sent a status that is not JSON', code: 500 };
  }
}

function dialError(node: string, why: string): StatusError {
  return new StatusError('InternalError', 500, `error dialing backend: node ${node}: ${why}`);
}

function asError(status: StreamStatus, node: string): StatusError {
  if (!status.message) return dialError(node, 'the stream was refused');
  return new StatusError(
    status.reason as 'InternalError',
    status.code ?? 500,
    status.message,
    status.details,
  );
}
