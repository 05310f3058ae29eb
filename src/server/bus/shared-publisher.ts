import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import { BusDisconnected, type MessageBus } from '../../wire/message-bus.ts';
import { filters, parseShared, type SharedTopic } from '../../wire/topics.ts';

/** What a topic shall retain. */
export interface Retained {
  topic: string;
  /** As of encodeMessage; '' is nothing, undefined a message that is too large, which is logged. */
  payload: string | undefined;
}

/** Publishes retained messages for all nodes, key by key: each when it has changed, and all of them to a new connection. */
export class SharedPublisher<Key extends string> {
  private readonly bus: MessageBus;
  private readonly logger: Logger;
  private readonly externalBroker: boolean;
  private readonly keyOf: (subject: SharedTopic) => Key | undefined;
  private readonly wanted: (key: Key) => Retained;
  private readonly setChanged: (key: Key) => void;
  private readonly queue: WorkQueue<Key>;
  /** Topic -> what it retains. */
  private readonly told = new Map<string, string>();
  private detach: (() => void)[] = [];

  constructor(options: {
    bus: MessageBus;
    clock: Clock;
    logger: Logger;
    /** The broker outlives us: what it retains may be of another server process. */
    externalBroker?: boolean | undefined;
    /** The key of what such a process has retained; undefined: somebody else's. */
    keyOf: (subject: SharedTopic) => Key | undefined;
    /** What the key's topic shall retain, as of now. */
    wanted: (key: Key) => Retained;
    /** A topic has come or gone, not only changed. */
    setChanged?: (key: Key) => void;
    concurrency?: number;
  }) {
    this.bus = options.bus;
    this.logger = options.logger;
    this.externalBroker = options.externalBroker ?? false;
    this.keyOf = options.keyOf;
    this.wanted = options.wanted;
    this.setChanged = options.setChanged ?? (() => {});
    this.queue = new WorkQueue<Key>({
      clock: options.clock,
      process: (key) => this.publish(key),
      onError: (key, error, retryInMs) => {
        // Without connection everything is published anew when it stands again.
        if (error instanceof BusDisconnected) return;
        this.logger.warn({ key, err: error, retryInMs }, 'shared state not published');
      },
      ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
      maxDelayMs: 10_000,
    });
  }

  /**
   * `addAll` adds every key; it is called on every new connection, whose broker may have forgotten everything. `follow`
   * adds keys from now on, until what it returns is called.
   */
  start(addAll: () => void, follow: () => (() => void)[]): void {
    if (this.externalBroker) this.findStale();
    this.bus.onConnect(() => {
      this.told.clear();
      addAll();
    });
    this.queue.start();
    this.detach = follow();
  }

  async stop(): Promise<void> {
    for (const detach of this.detach) detach();
    this.detach = [];
    await this.queue.stop();
  }

  get idle(): boolean {
    return this.queue.idle;
  }

  add(key: Key): void {
    this.queue.add(key);
  }

  addAfter(key: Key, delayMs: number): void {
    this.queue.addAfter(key, delayMs);
  }

  /** The keys of all that is retained: what is wanted no longer is taken back. */
  addTold(): void {
    for (const topic of this.told.keys()) this.addTopic(topic);
  }

  /** What another server process retained counts as told: if it is stale, it is cleared. */
  private findStale(): void {
    this.bus.subscribe(filters.shared(), (topic, payload, retained) => {
      const subject = retained && payload !== '' ? parseShared(topic) : undefined;
      if (!subject || this.keyOf(subject) === undefined) return;
      if (!this.told.has(topic)) this.told.set(topic, payload);
      this.addTopic(topic);
    });
  }

  private addTopic(topic: string): void {
    const subject = parseShared(topic);
    const key = subject && this.keyOf(subject);
    if (key !== undefined) this.queue.add(key);
  }

  private async publish(key: Key): Promise<void> {
    if (!this.bus.connected) return;
    const wanted = this.wanted(key);
    if (wanted.payload === undefined) this.logger.error({ key }, 'shared state is too large to be published');
    const { topic, payload = '' } = wanted;
    if ((this.told.get(topic) ?? '') === payload) return;
    const setChanged = (payload === '') === this.told.has(topic);
    await this.bus.publish(topic, payload, { qos: 1, retain: true });
    if (payload === '') this.told.delete(topic);
    else this.told.set(topic, payload);
    if (setChanged) this.setChanged(key);
  }
}
