import { keyOf, objectKey, splitKey } from '../../api/object.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import { BusDisconnected, type MessageBus } from '../../wire/message-bus.ts';
import { filters, parseShared, topics } from '../../wire/topics.ts';
import { encodeMessage } from '../../wire/validate.ts';
import type { IngressScope } from './ingress-scope.ts';
import { sharedIngress } from './shared-ingress.ts';

const SET = 'set';
/** Many Ingresses or nodes that come at once make one message of the set. */
const SET_DELAY_MS = 100;

type Key = `ingress:${string}` | typeof SET;

/** Publishes the Ingresses of our classes for all nodes, retained, and which nodes serve them. */
export class IngressPublisher implements Service {
  private readonly bus: MessageBus;
  private readonly scope: IngressScope;
  private readonly logger: Logger;
  private readonly externalBroker: boolean;
  private readonly queue: WorkQueue<Key>;
  /** Topic -> what it retains. */
  private readonly told = new Map<string, string>();
  private detach: (() => void)[] = [];

  constructor(options: {
    bus: MessageBus;
    scope: IngressScope;
    clock: Clock;
    logger: Logger;
    /** The broker outlives us: what it retains may be of another server process. */
    externalBroker?: boolean;
  }) {
    this.bus = options.bus;
    this.scope = options.scope;
    this.logger = options.logger;
    this.externalBroker = options.externalBroker ?? false;
    this.queue = new WorkQueue<Key>({
      clock: options.clock,
      process: (key) => this.publish(key),
      onError: (key, error, retryInMs) => {
        if (error instanceof BusDisconnected) return;
        this.logger.warn({ key, err: error, retryInMs }, 'Ingress not published');
      },
      maxDelayMs: 10_000,
    });
  }

  async start(): Promise<void> {
    await this.scope.synced;
    if (this.externalBroker) this.findStale();
    this.bus.onConnect(() => {
      this.told.clear();
      this.publishAll();
    });
    this.queue.start();
    this.detach = this.scope.watch(
      (ingress) => {
        this.queue.add(`ingress:${keyOf(ingress)}`);
        this.queue.addAfter(SET, SET_DELAY_MS);
      },
      () => this.publishAll(),
    );
    this.publishAll();
  }

  async stop(): Promise<void> {
    for (const detach of this.detach) detach();
    this.detach = [];
    await this.queue.stop();
  }

  get idle(): boolean {
    return this.queue.idle;
  }

  private publishAll(): void {
    for (const ingress of this.scope.ours()) this.queue.add(`ingress:${keyOf(ingress)}`);
    // What is ours no longer has to be taken back.
    for (const topic of this.told.keys()) this.addTopic(topic);
    this.queue.addAfter(SET, SET_DELAY_MS);
  }

  private addTopic(topic: string): void {
    const subject = parseShared(topic);
    if (subject?.kind === 'ingress') this.queue.add(`ingress:${objectKey(subject.namespace, subject.name)}`);
    else if (subject?.kind === 'ingress-set') this.queue.add(SET);
  }

  private findStale(): void {
    this.bus.subscribe(filters.shared(), (topic, payload, retained) => {
      const kind = retained && payload !== '' ? parseShared(topic)?.kind : undefined;
      if (kind !== 'ingress' && kind !== 'ingress-set') return;
      if (!this.told.has(topic)) this.told.set(topic, payload);
      this.addTopic(topic);
    });
  }

  private async publish(key: Key): Promise<void> {
    if (!this.bus.connected) return;
    const { topic, payload } = key === SET ? this.wantedSet() : this.wanted(key.slice('ingress:'.length));
    if ((this.told.get(topic) ?? '') === payload) return;
    await this.bus.publish(topic, payload, { qos: 1, retain: true });
    if (payload === '') this.told.delete(topic);
    else this.told.set(topic, payload);
  }

  private wanted(key: string): { topic: string; payload: string } {
    const { namespace = '', name } = splitKey(key);
    const topic = topics.sharedIngress(namespace, name);
    const ingress = this.scope.ingress(key);
    const payload = ingress && encodeMessage('SharedIngress', sharedIngress(ingress));
    if (ingress && payload === undefined)
      this.logger.error({ ingress: key }, 'Ingress is too large to be published');
    return { topic, payload: payload ?? '' };
  }

  /** Always there, also when it is empty: an agent that was away learns from it what is gone. */
  private wantedSet(): { topic: string; payload: string } {
    const payload = encodeMessage('SharedIngressSet', {
      v: 1,
      ingresses: this.scope.ours().map(keyOf).sort(),
      nodes: this.scope.servingNodes().sort(),
    });
    return { topic: topics.sharedIngressSet(), payload: payload ?? '' };
  }
}
