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
import type { MessageBus } from '../../wire/message-bus.ts';
import type { ClusterInfo } from '../../wire/messages.ts';
import { type SharedTopic, topics } from '../../wire/topics.ts';
import { encodeMessage } from '../../wire/validate.ts';
import { DNS_CONFIG, dnsRules } from './dns-config.ts';
import { isShared, sharedNode, sharedService } from './shared-objects.ts';
import { policyRelevant, sharedPolicy } from './shared-policies.ts';
import { type Retained, SharedPublisher } from './shared-publisher.ts';

const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const BY_SERVICE = 'bus/service';
/** Many services that come or go at once make one digest. */
const DIGEST_DELAY_MS = 200;
/** Many pods that change at once make one message of each policy. */
const POLICY_DELAY_MS = 100;

type Key = `service:${string}` | `node:${string}` | `policy:${string}` | 'cluster' | 'digest';

/** Publishes for all nodes: Services with their endpoints, nodes with their pod ranges, facts of the cluster. */
export class ServicesPublisher implements Service {
  private readonly logger: Logger;
  private readonly cluster: ClusterInfo;
  private readonly services: Informer<KubeService>;
  private readonly slices: Informer<EndpointSlice>;
  private readonly nodes: Informer<Node>;
  private readonly configMaps: Informer<ConfigMap>;
  private readonly policies: Informer<NetworkPolicy>;
  private readonly pods: Informer<Pod>;
  private readonly namespaces: Informer<Namespace>;
  private readonly publisher: SharedPublisher<Key>;

  constructor(options: {
    bus: MessageBus;
    informers: InformerSet;
    clock: Clock;
    logger: Logger;
    cluster: Omit<ClusterInfo, 'v'>;
    externalBroker?: boolean;
  }) {
    this.logger = options.logger;
    this.cluster = { v: 1, ...options.cluster };
    this.services = options.informers.of(SERVICES);
    this.slices = options.informers.of(ENDPOINT_SLICES);
    this.nodes = options.informers.of(NODES);
    this.configMaps = options.informers.of(CONFIG_MAPS);
    this.policies = options.informers.of(NETWORK_POLICIES);
    this.pods = options.informers.of(PODS);
    this.namespaces = options.informers.of(NAMESPACES);
    this.publisher = new SharedPublisher<Key>({
      ...options,
      keyOf: keyOfTopic,
      wanted: (key) => this.wanted(key),
      setChanged: (key) => {
        if (key !== 'digest') this.publisher.addAfter('digest', DIGEST_DELAY_MS);
      },
      concurrency: 8,
    });
  }

  async start(): Promise<void> {
    const { services, slices, nodes, configMaps, policies, pods, namespaces } = this;
    const informers = [services, slices, nodes, configMaps, policies, pods, namespaces];
    await Promise.all(informers.map(({ synced }) => synced));
    this.slices.addIndex(BY_SERVICE, serviceOf);
    const ofService = (service: KubeService): void => this.publisher.add(`service:${keyOf(service)}`);
    const ofSlice = (slice: EndpointSlice, old?: EndpointSlice): void => {
      for (const key of new Set([serviceOf(slice), old && serviceOf(old)])) {
        if (key) this.publisher.add(`service:${key}`);
      }
    };
    const ofNode = (node: Node): void => this.publisher.add(`node:${node.metadata.name ?? ''}`);
    const ofConfig = (config: ConfigMap): void => {
      if (keyOf(config) === DNS_CONFIG) this.publisher.add('cluster');
    };
    const ofPolicy = (policy: NetworkPolicy): void => this.publisher.add(`policy:${keyOf(policy)}`);
    const allPolicies = (): void => {
      for (const policy of policies.list())
        this.publisher.addAfter(`policy:${keyOf(policy)}`, POLICY_DELAY_MS);
    };
    const ofPod = (pod: Pod, old?: Pod): void => {
      if (policyRelevant(pod, old)) allPolicies();
    };
    const follow = (): (() => void)[] => [
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
    this.publisher.start(
      () => this.publishAll(),
      () => {
        this.publisher.add('cluster');
        this.publisher.add('digest');
        return follow();
      },
    );
  }

  stop(): Promise<void> {
    return this.publisher.stop();
  }

  get idle(): boolean {
    return this.publisher.idle;
  }

  private publishAll(): void {
    this.publisher.add('cluster');
    this.publisher.add('digest');
    for (const service of this.services.list()) this.publisher.add(`service:${keyOf(service)}`);
    for (const node of this.nodes.list()) this.publisher.add(`node:${node.metadata.name ?? ''}`);
    for (const policy of this.policies.list()) this.publisher.add(`policy:${keyOf(policy)}`);
  }

  private wanted(key: Key): Retained {
    if (key === 'cluster') {
      const rules = dnsRules(this.configMaps.byKey(DNS_CONFIG), (problem) =>
        this.logger.warn({ configMap: DNS_CONFIG, problem }, 'a DNS setting is left out'),
      );
      return {
        topic: topics.cluster(),
        payload: encodeMessage('ClusterInfo', { ...this.cluster, ...rules }),
      };
    }
    if (key === 'digest') {
      const services = this.services.list().filter(isShared).map(keyOf).sort();
      const nodes = this.nodes.list().filter((node) => sharedNode(node) !== undefined);
      return {
        topic: topics.sharedDigest(),
        payload: encodeMessage('SharedDigest', {
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
      return {
        topic: topics.sharedNode(name),
        payload: shared ? encodeMessage('SharedNode', shared) : '',
      };
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
        payload: policy ? encodeMessage('SharedPolicy', sharedPolicy(policy, world)) : '',
      };
    }
    const serviceKey = key.slice('service:'.length);
    const { namespace = '', name } = splitKey(serviceKey);
    const service = this.services.byKey(serviceKey);
    const shared = service && sharedService(service, this.slices.byIndex(BY_SERVICE, serviceKey));
    return {
      topic: topics.sharedService(namespace, name),
      payload: shared ? encodeMessage('SharedService', shared) : '',
    };
  }
}

/** Ingresses are the ingress publisher's. */
function keyOfTopic(subject: SharedTopic): Key | undefined {
  switch (subject.kind) {
    case 'service':
    case 'policy':
      return `${subject.kind}:${objectKey(subject.namespace, subject.name)}`;
    case 'node':
      return `node:${subject.name}`;
    case 'cluster':
    case 'digest':
      return subject.kind;
    default:
      return undefined;
  }
}

function serviceOf(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  return name === undefined ? undefined : objectKey(slice.metadata.namespace, name);
}
