import type { Logger } from '../lib/logger.ts';
import type { EmbeddedBroker } from './embedded-broker.ts';
import { BusDisconnected, type MessageBus } from './message-bus.ts';
import { Listeners, type MessageHandler, Subscriptions } from './subscriptions.ts';

/** The server's own place at its embedded broker: no socket, no serialisation of packets, all topics. */
export class LocalBus implements MessageBus {
  private readonly broker: EmbeddedBroker;
  private readonly subscriptions: Subscriptions;
  private readonly connectListeners: Listeners;
  private readonly disconnectListeners: Listeners;
  private readonly listeningTo = new Set<string>();
  private running = false;
  /** A listener of the broker outlives stop(): it belongs to the start that made it. */
  private generation = 0;

  constructor(options: { broker: EmbeddedBroker; logger: Logger }) {
    this.broker = options.broker;
    this.subscriptions = new Subscriptions(options.logger);
    this.connectListeners = new Listeners(options.logger);
    this.disconnectListeners = new Listeners(options.logger);
  }

  get connected(): boolean {
    return this.running && this.broker.running;
  }

  /** The broker must have been started. */
  async start(): Promise<void> {
    if (this.running) return;
    if (!this.broker.running) throw new Error('the embedded broker is not running');
    this.running = true;
    this.generation += 1;
    this.listeningTo.clear();
    for (const filter of this.subscriptions.filters()) this.listen(filter);
    setImmediate(() => {
      if (this.running) this.connectListeners.call();
    });
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    this.running = false;
    this.disconnectListeners.call();
  }

  onConnect(listener: () => void): void {
    this.connectListeners.add(listener);
  }

  onDisconnect(listener: () => void): void {
    this.disconnectListeners.add(listener);
  }

  async publish(
    topic: string,
    payload: string,
    options: { qos?: 0 | 1; retain?: boolean } = {},
  ): Promise<void> {
    if (!this.connected) throw new BusDisconnected();
    this.broker.publish(topic, payload, { qos: options.qos ?? 0, retain: options.retain ?? false });
  }

  subscribe(filter: string, handler: MessageHandler): void {
    this.subscriptions.add(filter, handler);
    if (this.connected) this.listen(filter);
  }

  private listen(filter: string): void {
    const { generation } = this;
    if (!this.listeningTo.has(filter)) {
      this.listeningTo.add(filter);
      this.broker.listen(filter, (topic, payload) => {
        if (this.running && generation === this.generation)
          this.subscriptions.deliverTo(filter, topic, payload, false);
      });
    }
    setImmediate(() => {
      if (!this.running || generation !== this.generation) return;
      for (const topic of this.broker.retained.topics(filter)) {
        const payload = this.broker.retained.get(topic);
        if (payload) this.subscriptions.deliverTo(filter, topic, payload.toString(), true);
      }
    });
  }
}
