import type { Duplex } from 'node:stream';
import type { MqttClient } from 'mqtt';
import { type Clock, type Timer, withTimeout } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import { backOff } from './back-off.ts';
import { BusDisconnected, type LastWill, type MessageBus } from './message-bus.ts';
import { Listeners, type MessageHandler, Subscriptions } from './subscriptions.ts';

export interface MqttClientBusOptions {
  clock: Clock;
  random: Random;
  logger: Logger;
  /** Unique at the broker; the embedded broker demands the node's name. */
  clientId: string;
  /** Makes the stream of one attempt; see dial.ts. May throw or reject: that is a failed attempt. */
  dial: () => Duplex | Promise<Duplex>;
  will?: LastWill;
  /** Each attempt that failed and each connection that ended, with the reason. */
  onFailure?: (error: unknown) => void;
  username?: string;
  password?: string;
  /** The broker takes the client for dead after 1.5 times this. */
  keepaliveSeconds?: number;
  /** From the dial to the broker's answer to our subscriptions. */
  connectTimeoutMs?: number;
  /** A QoS 1 publish that is not acknowledged by then is rejected (and may still arrive). */
  publishTimeoutMs?: number;
  backOff?: { baseMs: number; maxMs: number };
}

/** More unacknowledged publishes than this are refused: whoever owns the state has to wait. */
const MAX_OUTSTANDING = 1000;
const STOP_GRACE_MS = 2000;

/**
 * MessageBus over mqtt.js. mqtt.js is given one stream per attempt and never reconnects by itself: reconnecting,
 * renewing subscriptions and failing what is under way is done here, on our clock.
 */
export class MqttClientBus implements MessageBus {
  private readonly options: MqttClientBusOptions;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly subscriptions: Subscriptions;
  private readonly connectListeners: Listeners;
  private readonly disconnectListeners: Listeners;
  private readonly outstanding = new Set<(error: Error) => void>();

  private running = false;
  private client: MqttClient | undefined;
  private retry: Timer | undefined;
  private failures = 0;
  private ready = false;
  private generation = 0;
  private quietWaiters: (() => void)[] = [];

  constructor(options: MqttClientBusOptions) {
    this.options = options;
    this.clock = options.clock;
    this.logger = options.logger;
    this.subscriptions = new Subscriptions(options.logger);
    this.connectListeners = new Listeners(options.logger);
    this.disconnectListeners = new Listeners(options.logger);
  }

  get connected(): boolean {
    return this.ready;
  }

  async start(): Promise<void> {
    if (this.running) return;
    this.running = true;
    this.generation += 1;
    this.failures = 0;
    void this.attempt();
  }

  async stop(): Promise<void> {
    this.running = false;
    this.retry?.cancel();
    this.retry = undefined;
    const client = this.client;
    if (!client) return;
    if (this.ready && this.outstanding.size > 0) {
      const quiet = new Promise<void>((resolve) => this.quietWaiters.push(resolve));
      await withTimeout(this.clock, STOP_GRACE_MS, quiet, () => new BusDisconnected()).catch(() => {});
    }
    const ended = new Promise<void>((resolve) => client.end(false, () => resolve()));
    await withTimeout(this.clock, STOP_GRACE_MS, ended, () => new BusDisconnected()).catch(() => {
      client.end(true);
    });
    this.closed(client);
  }

  onConnect(listener: () => void): void {
    this.connectListeners.add(listener);
  }

  onDisconnect(listener: () => void): void {
    this.disconnectListeners.add(listener);
  }

  subscribe(filter: string, handler: MessageHandler): void {
    this.subscriptions.add(filter, handler);
    if (this.client && this.ready) this.renew(this.client, [filter]);
  }

  publish(topic: string, payload: string, options: { qos?: 0 | 1; retain?: boolean } = {}): Promise<void> {
    const client = this.client;
    if (!client || !this.ready) return Promise.reject(new BusDisconnected());
    if (this.outstanding.size >= MAX_OUTSTANDING) {
      return Promise.reject(new Error(`more than ${MAX_OUTSTANDING} messages wait for the MQTT broker`));
    }
    const taken = new Promise<void>((resolve, reject) => {
      const settle = (finish: () => void): void => {
        if (!this.outstanding.delete(reject)) return;
        finish();
        if (this.outstanding.size === 0) for (const quiet of this.quietWaiters.splice(0)) quiet();
      };
      this.outstanding.add(reject);
      client.publish(topic, payload, { qos: options.qos ?? 0, retain: options.retain ?? false }, (error) =>
        settle(() => (error ? reject(new BusDisconnected()) : resolve())),
      );
    });
    return withTimeout(
      this.clock,
      this.options.publishTimeoutMs ?? 20_000,
      taken,
      () => new Error('the MQTT broker did not acknowledge in time'),
    );
  }

  private async attempt(): Promise<void> {
    this.retry = undefined;
    const { generation } = this;
    let stream: Duplex;
    let Client: typeof MqttClient;
    try {
      Client = await loadMqttClient();
      stream = await this.options.dial();
    } catch (error) {
      if (generation === this.generation) this.failed(error);
      return;
    }
    // Stopped meanwhile, and perhaps started again with an attempt of its own.
    if (!this.running || generation !== this.generation) {
      stream.destroy();
      return;
    }
    const { will } = this.options;
    const connectTimeoutMs = this.options.connectTimeoutMs ?? 15_000;
    const client = new Client(() => stream as never, {
      clientId: this.options.clientId,
      protocolVersion: 4,
      clean: true,
      keepalive: this.options.keepaliveSeconds ?? 12,
      reschedulePings: true,
      timerVariant: 'native',
      // Reconnecting is ours.
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      connectTimeout: connectTimeoutMs,
      // The cache is 65,536 ready-made buffers: megabytes, for nothing at our rates.
      writeCache: false,
      ...(this.options.username === undefined ? {} : { username: this.options.username }),
      ...(this.options.password === undefined ? {} : { password: this.options.password }),
      ...(will
        ? { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: will.retain } }
        : {}),
    });
    this.client = client;
    let problem: unknown;
    // mqtt.js keeps errors without a code to itself, a refused WebSocket among them.
    stream.once('error', (error) => {
      problem ??= error;
    });
    const deadline = this.clock.after(connectTimeoutMs, () => {
      problem = new Error('the MQTT broker did not answer in time');
      client.end(true);
      this.closed(client, problem);
    });
    client.on('error', (error: Error) => {
      problem = error;
      // A refused CONNECT leaves the stream open on our side.
      if (!this.ready) client.end(true);
    });
    client.on('message', (topic: string, payload: Buffer, packet: { retain?: boolean }) => {
      this.subscriptions.deliver(topic, payload.toString('utf8'), packet.retain === true);
    });
    client.on('connect', () => {
      const filters = this.subscriptions.filters();
      const begin = (): void => {
        deadline.cancel();
        if (this.client !== client || !this.running) return;
        this.ready = true;
        this.failures = 0;
        this.logger.info({ clientId: this.options.clientId }, 'connected to the MQTT broker');
        this.connectListeners.call();
      };
      if (filters.length === 0) begin();
      else this.renew(client, filters, begin);
    });
    client.on('close', () => {
      deadline.cancel();
      this.closed(client, problem);
    });
  }

  private renew(client: MqttClient, filters: string[], then: () => void = () => {}): void {
    client.subscribe(filters, { qos: 1 }, (error, granted) => {
      if (error || granted?.some(({ qos }) => qos === 128)) {
        // A refused filter is a lasting fault (authorisation): say so, and serve what was granted.
        this.logger.error({ err: error, filters }, 'the MQTT broker refused a subscription');
        if (error && !client.connected) return;
      }
      then();
    });
  }

  /** The client's connection is over, whoever ended it. Runs once for each client. */
  private closed(client: MqttClient, problem?: unknown): void {
    if (this.client !== client) return;
    this.client = undefined;
    const wasReady = this.ready;
    this.ready = false;
    for (const reject of [...this.outstanding]) {
      this.outstanding.delete(reject);
      reject(new BusDisconnected());
    }
    for (const quiet of this.quietWaiters.splice(0)) quiet();
    if (wasReady) this.disconnectListeners.call();
    if (this.running) this.failed(problem ?? new Error('connection closed'));
  }

  private failed(error: unknown): void {
    if (!this.running) return;
    const delay = backOff(this.failures, this.options.random, this.options.backOff);
    this.failures += 1;
    this.options.onFailure?.(error);
    const fields = { err: error, retryInMs: Math.round(delay), attempt: this.failures };
    // The first failures matter; a server that stays away for days must not fill the log on flash.
    if (this.failures <= 3 || this.failures % 100 === 0)
      this.logger.warn(fields, 'no connection to the MQTT broker');
    else this.logger.debug(fields, 'no connection to the MQTT broker');
    this.retry?.cancel();
    this.retry = this.clock.after(delay, () => void this.attempt());
  }
}

/**
 * Only the client proper, without mqtt.js' own ways to connect, and only when a connection is wanted. It is CommonJS with
 * an ES default: depending on the loader the class is one or two defaults deep.
 */
async function loadMqttClient(): Promise<typeof MqttClient> {
  const module: { default: unknown } = await import('mqtt/lib/client');
  const exported = module.default as { default?: unknown };
  return (exported.default ?? exported) as typeof MqttClient;
}
