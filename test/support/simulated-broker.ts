import type { Clock, Timer } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { Random } from '../../src/lib/random.ts';
import { backOff } from '../../src/wire/back-off.ts';
import { BusDisconnected, type LastWill, type MessageBus } from '../../src/wire/message-bus.ts';
import { Listeners, type MessageHandler, Subscriptions } from '../../src/wire/subscriptions.ts';
import { topicMatches } from '../../src/wire/topic-filter.ts';
import { nodeMayPublish, nodeMaySubscribe } from '../../src/wire/topics.ts';

/** What the link between one client and the broker does to messages. Chances are 0..1. */
export interface LinkFaults {
  /** QoS 0 messages that are lost. */
  drop: number;
  /** QoS 1 messages that arrive twice (the acknowledgement was lost and the sender repeated). */
  repeat: number;
  /** Each message waits between these; order on one link is kept, as TCP does. */
  delayMs: readonly [number, number];
}

const NO_FAULTS: LinkFaults = { drop: 0, repeat: 0, delayMs: [0, 0] };
const RECONNECT_MS = { baseMs: 500, maxMs: 20_000 };

interface Message {
  topic: string;
  payload: string;
  qos: 0 | 1;
  retained: boolean;
}

/** An MQTT broker at the level of messages, on a virtual clock: what the simulation runs the cluster over. */
export class SimulatedBroker {
  readonly clock: Clock;
  readonly random: Random;
  private readonly retained = new Map<string, string>();
  private readonly clients = new Map<string, SimulatedBus>();
  private up = true;

  constructor(options: { clock: Clock; random: Random }) {
    this.clock = options.clock;
    this.random = options.random;
  }

  /** A client. With `node` the broker applies that node's rights, else all topics are free (the server). */
  bus(options: {
    clientId: string;
    node?: string;
    will?: LastWill;
    faults?: Partial<LinkFaults>;
  }): SimulatedBus {
    return new SimulatedBus(this, options);
  }

  /** Breaks a client's connection without DISCONNECT: its will is published. It reconnects when the link allows. */
  cut(clientId: string): void {
    this.clients.get(clientId)?.broken();
  }

  /** The broker's process dies (connections break, retained messages are gone) until `restart`. Wills are lost too. */
  crash(): void {
    this.up = false;
    this.retained.clear();
    for (const client of [...this.clients.values()]) {
      this.clients.delete(client.clientId);
      client.lost();
    }
  }

  restart(): void {
    this.up = true;
  }

  get running(): boolean {
    return this.up;
  }

  retainedTopics(): string[] {
    return [...this.retained.keys()];
  }

  /** @internal */
  connect(client: SimulatedBus): void {
    // A second connection with the same id takes over; the first one's will is published [MQTT-3.1.4-2].
    const previous = this.clients.get(client.clientId);
    if (previous && previous !== client) previous.broken();
    this.clients.set(client.clientId, client);
  }

  /** @internal `graceful`: DISCONNECT was sent, so there is no will. */
  disconnect(client: SimulatedBus, graceful: boolean): void {
    if (this.clients.get(client.clientId) !== client) return;
    this.clients.delete(client.clientId);
    const { will } = client;
    if (!graceful && will && this.up && client.mayPublish(will.topic)) {
      this.receive({ topic: will.topic, payload: will.payload, qos: 1, retained: will.retain });
    }
  }

  /** @internal */
  receive(message: Message): void {
    if (message.retained) {
      if (message.payload === '') this.retained.delete(message.topic);
      else this.retained.set(message.topic, message.payload);
    }
    for (const client of this.clients.values()) client.deliver({ ...message, retained: false });
  }

  /** @internal */
  replay(client: SimulatedBus, filter: string): void {
    for (const [topic, payload] of this.retained) {
      if (topicMatches(filter, topic)) client.deliver({ topic, payload, qos: 1, retained: true });
    }
  }
}

export class SimulatedBus implements MessageBus {
  readonly clientId: string;
  readonly will: LastWill | undefined;
  faults: LinkFaults;
  private readonly broker: SimulatedBroker;
  private readonly node: string | undefined;
  private readonly subscriptions = new Subscriptions(silentLogger);
  private readonly connectListeners = new Listeners(silentLogger);
  private readonly disconnectListeners = new Listeners(silentLogger);
  private readonly timers = new Set<Timer>();
  private readonly outstanding = new Set<(error: Error) => void>();
  private running = false;
  private ready = false;
  private linkUp = true;
  private failures = 0;
  /** The time before which nothing later sent may arrive, each way: a link keeps its order. */
  private readonly busyUntil = { up: 0, down: 0 };
  private epoch = 0;
  /** What arrives while the link hangs, both ways in order; undefined: it does not hang. */
  private held: (() => void)[] | undefined;

  constructor(
    broker: SimulatedBroker,
    options: { clientId: string; node?: string; will?: LastWill; faults?: Partial<LinkFaults> },
  ) {
    this.broker = broker;
    this.clientId = options.clientId;
    this.node = options.node;
    this.will = options.will;
    this.faults = { ...NO_FAULTS, ...options.faults };
  }

  get connected(): boolean {
    return this.ready;
  }

  async start(): Promise<void> {
    if (this.running) return;
    this.running = true;
    this.schedule(0, () => this.attempt());
  }

  async stop(): Promise<void> {
    this.running = false;
    const wasReady = this.ready;
    this.broker.disconnect(this, true);
    this.lost();
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
    if (wasReady) this.ready = false;
  }

  /** The process dies: nothing more is sent or heard, the broker publishes the will. */
  kill(): void {
    this.running = false;
    this.broker.disconnect(this, false);
    this.lost();
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
  }

  /** The cable: while down, the connection breaks and no attempt succeeds. */
  setLink(up: boolean): void {
    this.linkUp = up;
    if (!up) this.broken();
  }

  /** The link hangs: nothing arrives, and neither side notices. TCP sends it all again on `thaw`, in order. */
  freeze(): void {
    this.held ??= [];
  }

  thaw(): void {
    const arrivals = this.held ?? [];
    this.held = undefined;
    for (const arrive of arrivals) arrive();
  }

  onConnect(listener: () => void): void {
    this.connectListeners.add(listener);
  }

  onDisconnect(listener: () => void): void {
    this.disconnectListeners.add(listener);
  }

  subscribe(filter: string, handler: MessageHandler): void {
    this.subscriptions.add(filter, handler);
    if (this.ready && this.maySubscribe(filter)) this.broker.replay(this, filter);
  }

  publish(topic: string, payload: string, options: { qos?: 0 | 1; retain?: boolean } = {}): Promise<void> {
    if (!this.ready) return Promise.reject(new BusDisconnected());
    const qos = options.qos ?? 0;
    const message: Message = { topic, payload, qos, retained: options.retain ?? false };
    if (!this.mayPublish(topic)) {
      // aedes answers a forbidden publish by closing the connection.
      this.broken();
      return Promise.reject(new BusDisconnected());
    }
    if (qos === 0) {
      if (this.broker.random.number() >= this.faults.drop)
        this.travel('up', () => this.broker.receive(message));
      return Promise.resolve();
    }
    return new Promise<void>((resolve, reject) => {
      this.outstanding.add(reject);
      const arrive = (): void => {
        this.broker.receive(message);
        if (this.broker.random.number() < this.faults.repeat)
          this.travel('up', () => this.broker.receive(message));
        this.travel('down', () => {
          if (this.outstanding.delete(reject)) resolve();
        });
      };
      this.travel('up', arrive);
    });
  }

  /** @internal */
  deliver(message: Message): void {
    const filters = this.subscriptions.filters().filter((filter) => this.maySubscribe(filter));
    if (!filters.some((filter) => topicMatches(filter, message.topic))) return;
    if (message.qos === 0 && this.broker.random.number() < this.faults.drop) return;
    const times = message.qos === 1 && this.broker.random.number() < this.faults.repeat ? 2 : 1;
    for (let time = 0; time < times; time += 1) {
      this.travel('down', () => this.subscriptions.deliver(message.topic, message.payload, message.retained));
    }
  }

  /** @internal The connection broke; the broker notices and publishes the will. */
  broken(): void {
    this.broker.disconnect(this, false);
    this.lost();
  }

  /** @internal The client notices that its connection is gone. */
  lost(): void {
    if (!this.ready) return;
    this.ready = false;
    this.epoch += 1;
    if (this.held) this.held = [];
    for (const reject of this.outstanding) reject(new BusDisconnected());
    this.outstanding.clear();
    this.disconnectListeners.call();
    if (this.running) this.retry();
  }

  mayPublish(topic: string): boolean {
    return this.node === undefined || nodeMayPublish(this.node, topic);
  }

  private maySubscribe(filter: string): boolean {
    return this.node === undefined || nodeMaySubscribe(this.node, filter);
  }

  private attempt(): void {
    if (!this.running || this.ready) return;
    if (!this.linkUp || this.held || !this.broker.running) {
      this.retry();
      return;
    }
    this.broker.connect(this);
    this.ready = true;
    this.failures = 0;
    this.busyUntil.up = 0;
    this.busyUntil.down = 0;
    for (const filter of this.subscriptions.filters()) {
      if (this.maySubscribe(filter)) this.broker.replay(this, filter);
    }
    this.connectListeners.call();
  }

  private retry(): void {
    this.failures += 1;
    this.schedule(backOff(this.failures - 1, this.broker.random, RECONNECT_MS), () => this.attempt());
  }

  private schedule(delayMs: number, action: () => void): void {
    const timer = this.broker.clock.after(delayMs, () => {
      this.timers.delete(timer);
      action();
    });
    this.timers.add(timer);
  }

  /** What is on a link when it breaks is gone. */
  private travel(direction: 'up' | 'down', arrive: () => void): void {
    const [least, most] = this.faults.delayMs;
    const { clock } = this.broker;
    const due = Math.max(
      clock.monotonic() + least + this.broker.random.number() * (most - least),
      this.busyUntil[direction],
    );
    this.busyUntil[direction] = due;
    const { epoch } = this;
    const timer = clock.after(due - clock.monotonic(), () => {
      this.timers.delete(timer);
      if (epoch !== this.epoch) return;
      if (this.held) this.held.push(arrive);
      else arrive();
    });
    this.timers.add(timer);
  }
}
