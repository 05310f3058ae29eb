import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  NAMESPACES,
  NETWORK_POLICIES,
  NODES,
  PODS,
  SERVICES,
} from '../../api/kinds.ts';
import { keyOf, objectKey, splitKey } from '../../api/object.ts';
import type { ConfigMap, Service as KubeService, Namespace, Node, Pod } from '../../api/types/core-v1.ts';
import type { EndpointSlice } from '../../api/types/discovery-v1.ts';
import type { NetworkPolicy } from '../../api/types/networking-v1.ts';
import type { Informer, InformerSet } from '../../client/informer.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import { BusDisconnected, type MessageBus } from '../../wire/message-bus.ts';
import type { ClusterInfo } from '../../wire/messages.ts';
import { filters, parseShared, topics } from '../../wire/topics.ts';
import { encodeMessage } from '../../wire/validate.ts';
import { DNS_CONFIG, dnsRules } from './dns-config.ts';
import { isShared, sharedNode, sharedService } from './shared-objects.ts';
import { policyRelevant, sharedPolicy } from './shared-policies.ts';

const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const BY_SERVICE = 'bus/service';
/** Many services that come or go at once make one digest. */
const DIGEST_DELAY_MS = 200;
/** Many pods that change at once make one message of each policy. */
const POLICY_DELAY_MS = 100;

type Key = `service:${string}` | `node:${string}` | `policy:${string}` | 'cluster' | 'digest';

/** Publishes for all nodes: Services with their endpoints, nodes with their pod ranges, facts of the cluster. */
export class ServicesPublisher implements Service {
  private readonly bus: MessageBus;
  private readonly logger: Logger;
  private readonly cluster: ClusterInfo;
  private readonly externalBroker: boolean;
  private readonly services: Informer<KubeService>;
  private readonly slices: Informer<EndpointSlice>;
  private readonly nodes: Informer<Node>;
  private readonly configMaps: Informer<ConfigMap>;
  private readonly policies: Informer<NetworkPolicy>;
  private readonly pods: Informer<Pod>;
  private readonly namespaces: Informer<Namespace>;
  private readonly queue: WorkQueue<Key>;
  /** Topic -> what it retains. */
  private readonly told = new Map<string, string>();
  private detach: (() => void)[] = [];

  constructor(options: {
    bus: MessageBus;
    informers: InformerSet;
    clock: Clock;
    logger: Logger;
    cluster: Omit<ClusterInfo, 'v'>;
    externalBroker?: boolean;
  }) {
    this.bus = options.bus;
    this.logger = options.logger;
    this.cluster = { v: 1, ...options.cluster };
    this.externalBroker = options.externalBroker ?? false;
    this.services = options.informers.of(SERVICES);
    this.slices = options.informers.of(ENDPOINT_SLICES);
    this.nodes = options.informers.of(NODES);
    this.configMaps = options.informers.of(CONFIG_MAPS);
    this.policies = options.informers.of(NETWORK_POLICIES);
    this.pods = options.informers.of(PODS);
    this.namespaces = options.informers.of(NAMESPACES);
    this.queue = new WorkQueue<Key>({
      clock: options.clock,
      process: (key) => this.publish(key),
      onError: (key, error, retryInMs) => {
        if (error instanceof BusDisconnected) return;
        this.logger.warn({ key, err: error, retryInMs }, 'shared state not published');
      },
      concurrency: 8,
      maxDelayMs: 10_000,
    });
  }

  async start(): Promise<void> {
    const { services, slices, nodes, configMaps, policies, pods, namespaces } = this;
    const informers = [services, slices, nodes, configMaps, policies, pods, namespaces];
    await Promise.all(informers.map(({ synced }) => synced));
    this.slices.addIndex(BY_SERVICE, serviceOf);
    if (this.externalBroker) this.findStale();
    this.bus.onConnect(() => this.publishEverything());
    this.queue.start();
    this.queue.add('cluster');
    this.queue.add('digest');
    const ofService = (service: KubeService): void => this.queue.add(`service:${keyOf(service)}`);
    const ofSlice = (slice: EndpointSlice, old?: EndpointSlice): void => {
      for (const key of new Set([serviceOf(slice), old && serviceOf(old)])) {
        if (key) this.queue.add(`service:${key}`);
      }
    };
    const ofNode = (node: Node): void => this.queue.add(`node:${node.metadata.name ?? ''}`);
    const ofConfig = (config: ConfigMap): void => {
      if (keyOf(config) === DNS_CONFIG) this.queue.add('cluster');
    };
    const ofPolicy = (policy: NetworkPolicy): void => this.queue.add(`policy:${keyOf(policy)}`);
    const allPolicies = (): void => {
      for (const policy of policies.list()) this.queue.addAfter(`policy:${keyOf(policy)}`, POLICY_DELAY_MS);
    };
    const ofPod = (pod: Pod, old?: Pod): void => {
      if (policyRelevant(pod, old)) allPolicies();
    };
    this.detach = [
      policies.handle({ onAdd: ofPolicy, onUpdate: ofPolicy, onDelete: ofPolicy }),
      pods.handle({ onAdd: (pod) => ofPod(pod), onUpdate: ofPod, onDelete: (pod) => ofPod(pod) }),
      namespaces.handle({ onAdd: allPolicies, onUpdate: allPolicies, onDelete: allPolicies }),
      this.configMaps.handle({ onAdd: ofConfig, onUpdate: ofConfig, onDelete: ofConfig }),
      this.services.handle({ onAdd: ofService, onUpdate: ofService, onDelete: ofService }),
      this.slices.handle({
        onAdd: (slice) => ofSlice(slice),
        onUpdate: ofSlice,
        onDelete: (slice) => ofSlice(slice),
      }),
      this.nodes.handle({ onAdd: ofNode, onUpdate: ofNode, onDelete: ofNode }),
    ];
  }

  async stop(): Promise<void> {
    for (const detach of this.detach) detach();
    this.detach = [];
    await this.queue.stop();
  }

  get idle(): boolean {
    return this.queue.idle;
  }

  private publishEverything(): void {
    this.told.clear();
    this.queue.add('cluster');
    this.queue.add('digest');
    for (const service of this.services.list()) this.queue.add(`service:${keyOf(service)}`);
    for (const node of this.nodes.list()) this.queue.add(`node:${node.metadata.name ?? ''}`);
    for (const policy of this.policies.list()) this.queue.add(`policy:${keyOf(policy)}`);
  }

  /** What another server process retained at an external broker counts as told: if it is stale, it is cleared. */
  private findStale(): void {
    this.bus.subscribe(filters.shared(), (topic, payload, retained) => {
      const subject = retained && payload !== '' ? parseShared(topic) : undefined;
      // Ingresses are the ingress publisher's.
      if (!subject || subject.kind === 'ingress' || subject.kind === 'ingress-set') return;
      if (!this.told.has(topic)) this.told.set(topic, payload);
      if (subject.kind === 'service' || subject.kind === 'policy')
        this.queue.add(`${subject.kind}:${objectKey(subject.namespace, subject.name)}`);
      else if (subject.kind === 'node') this.queue.add(`node:${subject.name}`);
      else this.queue.add(subject.kind);
    });
  }

  private async publish(key: Key): Promise<void> {
    if (!this.bus.connected) return;
    const { topic, payload } = this.wanted(key);
    if ((this.told.get(topic) ?? '') === payload) return;
    const setChanged = (payload === '') === this.told.has(topic);
    await this.bus.publish(topic, payload, { qos: 1, retain: true });
    if (payload === '') this.told.delete(topic);
    else this.told.set(topic, payload);
    if (setChanged && key !== 'digest') this.queue.addAfter('digest', DIGEST_DELAY_MS);
  }

  private wanted(key: Key): { topic: string; payload: string } {
    if (key === 'cluster') {
      const rules = dnsRules(this.configMaps.byKey(DNS_CONFIG), (problem) =>
        this.logger.warn({ configMap: DNS_CONFIG, problem }, 'a DNS setting is left out'),
      );
      return {
        topic: topics.cluster(),
        payload: this.encode('ClusterInfo', { ...this.cluster, ...rules }),
      };
    }
    if (key === 'digest') {
      const services = this.services.list().filter(isShared).map(keyOf).sort();
      const nodes = this.nodes.list().filter((node) => sharedNode(node) !== undefined);
      return {
        topic: topics.sharedDigest(),
        payload: this.encode('SharedDigest', {
          v: 1,
          services,
          nodes: nodes.map(({ metadata }) => metadata.name ?? '').sort(),
          policies: this.policies.list().map(keyOf).sort(),
        }),
      };
    }
    if (key.startsWith('node:')) {
      const name = key.slice('node:'.length);
      const node = this.nodes.get(undefined, name);
      const shared = node && sharedNode(node);
      return { topic: topics.sharedNode(name), payload: shared ? this.encode('SharedNode', shared) : '' };
    }
    if (key.startsWith('policy:')) {
      const policyKey = key.slice('policy:'.length);
      const { namespace = '', name } = splitKey(policyKey);
      const policy = this.policies.byKey(policyKey);
      const world = {
        namespaces: this.namespaces.list(),
        podsOf: (of: string): readonly Pod[] => this.pods.list(of),
      };
      return {
        topic: topics.sharedPolicy(namespace, name),
        payload: policy ? this.encode('SharedPolicy', sharedPolicy(policy, world)) : '',
      };
    }
    const serviceKey = key.slice('service:'.length);
    const { namespace = '', name } = splitKey(serviceKey);
    const service = this.services.byKey(serviceKey);
    const shared = service && sharedService(service, this.slices.byIndex(BY_SERVICE, serviceKey));
    return {
      topic: topics.sharedService(namespace, name),
      payload: shared ? this.encode('SharedService', shared) : '',
    };
  }

  private encode<K extends 'ClusterInfo' | 'SharedDigest' | 'SharedNode' | 'SharedPolicy' | 'SharedService'>(
    kind: K,
    message: Parameters<typeof encodeMessage<K>>[1],
  ): string {
    const payload = encodeMessage(kind, message);
    if (payload === undefined) this.logger.error({ kind }, 'shared state is too large to be published');
    return payload ?? '';
  }
}

function serviceOf(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  return name === undefined ? undefined : objectKey(slice.metadata.namespace, name);
}
