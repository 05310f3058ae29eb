import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Service } from '../lib/service.ts';
import { BusDisconnected, type LastWill, type MessageBus } from '../wire/message-bus.ts';
import type { MeasureRequest, StreamRequest } from '../wire/messages.ts';
import { filters, topics } from '../wire/topics.ts';
import { encodeMessage, type MessageKind, type Messages, parseMessage } from '../wire/validate.ts';
import type { DesiredStore } from './desired.ts';
import type { HeartbeatSender } from './heartbeat.ts';
import type { NodeFacts } from './ports.ts';
import type { StatusReporter } from './reporter.ts';

const ANNOUNCE_RETRY_MS = 5_000;
/** Entries that the digest lists and that stay away so long were lost. */
const MISSING_AFTER_MS = 20_000;
/** QoS 1 may bring a stream request twice; remembered ids. */
const REMEMBERED_STREAMS = 256;

const NOTHING = (): void => {};

/**
 * The agent's side of the bus: takes in the desired state, acknowledgements and stream requests, and on every connect
 * tells that the node lives, what it is and how it does. The bus belongs to it: started and stopped here.
 */
export class AgentConnection implements Service {
  private readonly node: string;
  private readonly boot: string;
  private readonly bus: MessageBus;
  private readonly desired: DesiredStore;
  private readonly reporter: StatusReporter;
  private readonly heartbeat: HeartbeatSender;
  private readonly facts: () => Promise<NodeFacts>;
  private readonly onStream: (request: StreamRequest) => void;
  private readonly onMeasure: (request: MeasureRequest) => void;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly streams = new Set<string>();
  private server: string | undefined;
  private running = false;
  private announcing = false;
  private announceAgain = false;
  private retry: Timer | undefined;
  private missingCheck: Timer | undefined;

  constructor(options: {
    node: string;
    /** Random id of this agent process; the same as in the bus's last will. */
    boot: string;
    bus: MessageBus;
    desired: DesiredStore;
    reporter: StatusReporter;
    heartbeat: HeartbeatSender;
    facts: () => Promise<NodeFacts>;
    onStream: (request: StreamRequest) => void;
    onMeasure?: (request: MeasureRequest) => void;
    clock: Clock;
    logger: Logger;
  }) {
    this.node = options.node;
    this.boot = options.boot;
    this.bus = options.bus;
    this.desired = options.desired;
    this.reporter = options.reporter;
    this.heartbeat = options.heartbeat;
    this.facts = options.facts;
    this.onStream = options.onStream;
    this.onMeasure = options.onMeasure ?? NOTHING;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  /** The will that the bus has to be made with. */
  static lastWill(node: string, boot: string): LastWill {
    return { topic: topics.alive(node), payload: JSON.stringify({ v: 1, alive: false, boot }), retain: true };
  }

  /** Resolves at once; the connection comes when it can. */
  async start(): Promise<void> {
    if (this.running) return;
    this.running = true;
    // First of all listeners: a server that hears statuses has to know the boot that they belong to.
    this.bus.onConnect(() => void this.announce());
    await this.reporter.start();
    this.subscribe();
    await this.heartbeat.start();
    await this.bus.start();
  }

  /** Leaves without last will: a restart of the agent is not the death of the board. */
  async stop(): Promise<void> {
    this.running = false;
    this.retry?.cancel();
    this.missingCheck?.cancel();
    await this.heartbeat.stop();
    await this.reporter.stop();
    await this.bus.stop();
  }

  get connected(): boolean {
    return this.bus.connected;
  }

  /** Facts of the node changed (addresses, capacity, labels): tell the server. */
  registrationChanged(): void {
    if (this.bus.connected) void this.announce();
  }

  private subscribe(): void {
    this.bus.subscribe(filters.desired(this.node), (topic, payload) => {
      this.desired.handleDesired(topic, payload);
      this.watchServer();
      this.watchMissing();
    });
    this.bus.subscribe(filters.shared(), (topic, payload) => {
      this.desired.handleShared(topic, payload);
      this.watchMissing();
    });
    this.bus.subscribe(topics.acks(this.node), (topic, payload) => {
      const ack = this.parse('StatusAck', topic, payload);
      if (ack) this.reporter.acknowledged(ack);
    });
    this.bus.subscribe(topics.measure(this.node), (topic, payload) => {
      const request = this.parse('MeasureRequest', topic, payload);
      if (request) this.onMeasure(request);
    });
    this.bus.subscribe(topics.streams(this.node), (topic, payload) => {
      const request = this.parse('StreamRequest', topic, payload);
      if (!request || this.streams.has(request.id)) return;
      this.streams.add(request.id);
      if (this.streams.size > REMEMBERED_STREAMS) {
        const oldest = this.streams.values().next();
        if (!oldest.done) this.streams.delete(oldest.value);
      }
      this.onStream(request);
    });
  }

  private async announce(): Promise<void> {
    if (this.announcing) {
      this.announceAgain = true;
      return;
    }
    this.announcing = true;
    this.retry?.cancel();
    try {
      do {
        this.announceAgain = false;
        const alive = this.bus.publish(
          topics.alive(this.node),
          JSON.stringify({ v: 1, alive: true, boot: this.boot } satisfies Messages['Alive']),
          { qos: 1, retain: true },
        );
        // Not awaited before the facts are ready: a rejection in between has a handler.
        alive.catch(() => {});
        const facts = await this.facts();
        const payload = encodeMessage('NodeRegistration', { v: 1, ...facts });
        if (payload === undefined) throw new Error('the registration of the node is too large');
        await alive;
        await this.bus.publish(topics.register(this.node), payload, { qos: 1, retain: true });
        await this.heartbeat.now();
      } while (this.announceAgain && this.running);
    } catch (error) {
      // A lost connection announces again when it is back.
      if (!(error instanceof BusDisconnected) && this.running) {
        this.logger.warn({ err: error, retryInMs: ANNOUNCE_RETRY_MS }, 'the node could not register');
        this.retry = this.clock.after(ANNOUNCE_RETRY_MS, () => {
          if (this.bus.connected) void this.announce();
        });
      } else if (this.announceAgain && this.bus.connected && this.running) {
        this.retry = this.clock.after(0, () => void this.announce());
      }
    } finally {
      this.announcing = false;
    }
  }

  /** Another server process behind the same broker: what the old one had not written is gone. */
  private watchServer(): void {
    const { server } = this.desired;
    if (server === undefined || server === this.server) return;
    // The first one of this connection was told everything on connect.
    if (this.server !== undefined) this.reporter.resendAll();
    this.server = server;
  }

  /** A subscription made again brings all retained messages again [MQTT-3.8.4-3]. */
  private watchMissing(): void {
    if (this.missingCheck) return;
    const before = new Set(this.desired.missing());
    if (before.size === 0) return;
    this.missingCheck = this.clock.after(MISSING_AFTER_MS, () => {
      this.missingCheck = undefined;
      const now = this.desired.missing();
      // What is missing only now may be on its way: a digest follows the changes that it tells of.
      const missing = now.filter((key) => before.has(key));
      if (missing.length > 0 && this.running && this.bus.connected) {
        this.logger.warn(
          { missing: missing.slice(0, 10), count: missing.length },
          'messages of the server were lost',
        );
        this.bus.subscribe(filters.desired(this.node), NOTHING);
        this.bus.subscribe(filters.shared(), NOTHING);
      }
      if (this.running && this.bus.connected) this.watchMissing();
    });
  }

  private parse<K extends MessageKind>(kind: K, topic: string, payload: string): Messages[K] | undefined {
    const parsed = parseMessage(kind, payload);
    if (parsed.ok) return parsed.message;
    this.logger.warn(
      { topic, problem: parsed.problem, detail: parsed.detail },
      'message of the server ignored',
    );
    return undefined;
  }
}
