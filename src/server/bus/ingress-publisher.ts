import { keyOf, objectKey, splitKey } from '../../api/object.ts';
import type { Ingress } from '../../api/types/networking-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import type { MessageBus } from '../../wire/message-bus.ts';
import { type SharedTopic, topics } from '../../wire/topics.ts';
import { encodeMessage } from '../../wire/validate.ts';
import type { IngressScope } from './ingress-scope.ts';
import { sharedIngress } from './shared-ingress.ts';
import { type Retained, SharedPublisher } from './shared-publisher.ts';

const SET = 'set';
/** Many Ingresses or nodes that come at once make one message of the set. */
const SET_DELAY_MS = 100;

type Key = `ingress:${string}` | typeof SET;

/** Publishes the Ingresses of our classes for all nodes, retained, and which nodes serve them. */
export class IngressPublisher implements Service {
  private readonly scope: IngressScope;
  private readonly publisher: SharedPublisher<Key>;

  constructor(options: {
    bus: MessageBus;
    scope: IngressScope;
    clock: Clock;
    logger: Logger;
    externalBroker?: boolean;
  }) {
    this.scope = options.scope;
    this.publisher = new SharedPublisher<Key>({
      ...options,
      keyOf: keyOfTopic,
      wanted: (key) => this.wanted(key),
    });
  }

  async start(): Promise<void> {
    await this.scope.synced;
    const changed = (ingress: Ingress): void => {
      this.publisher.add(`ingress:${keyOf(ingress)}`);
      this.publisher.addAfter(SET, SET_DELAY_MS);
    };
    const all = (): void => this.publishAll();
    this.publisher.start(all, () => this.scope.watch(changed, all));
    this.publishAll();
  }

  stop(): Promise<void> {
    return this.publisher.stop();
  }

  get idle(): boolean {
    return this.publisher.idle;
  }

  private publishAll(): void {
    for (const ingress of this.scope.ours()) this.publisher.add(`ingress:${keyOf(ingress)}`);
    this.publisher.addTold();
    this.publisher.addAfter(SET, SET_DELAY_MS);
  }

  private wanted(key: Key): Retained {
    if (key === SET) return this.wantedSet();
    const ingressKey = key.slice('ingress:'.length);
    const { namespace = '', name } = splitKey(ingressKey);
    const ingress = this.scope.ingress(ingressKey);
    return {
      topic: topics.sharedIngress(namespace, name),
      payload: ingress ? encodeMessage('SharedIngress', sharedIngress(ingress)) : '',
    };
  }

  /** Always there, also when it is empty: an agent that was away learns from it what is gone. */
  private wantedSet(): Retained {
    const payload = encodeMessage('SharedIngressSet', {
      v: 1,
      ingresses: this.scope.ours().map(keyOf).sort(),
      nodes: this.scope.servingNodes().sort(),
    });
    return { topic: topics.sharedIngressSet(), payload };
  }
}

/** All else that is shared is the services publisher's. */
function keyOfTopic(subject: SharedTopic): Key | undefined {
  if (subject.kind === 'ingress-set') return SET;
  return subject.kind === 'ingress' ? `ingress:${objectKey(subject.namespace, subject.name)}` : undefined;
}
