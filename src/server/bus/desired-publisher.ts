import { CONFIG_MAPS, NODES, PODS, SECRETS } from '../../api/kinds.ts';
import type { ConfigMap, Pod, Secret } from '../../api/types/core-v1.ts';
import type { Informer, InformerSet } from '../../client/informer.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import { BusDisconnected, type MessageBus } from '../../wire/message-bus.ts';
import type { DesiredObject } from '../../wire/messages.ts';
import { filters, parseTopic, topics } from '../../wire/topics.ts';
import { encodeMessage } from '../../wire/validate.ts';
import { desiredConfig, desiredPod, sameForAgent } from './desired-objects.ts';
import type { IngressScope } from './ingress-scope.ts';
import { nodeObjection } from './node-objection.ts';
import { NodeVolumeObjects } from './node-volume-objects.ts';
import { type ConfigKey, configKey, referencedConfigs, splitConfigKey } from './referenced-configs.ts';

/** What a node was told last. */
interface Told {
  pods: Map<string, Pod>;
  /** Key -> resourceVersion. */
  configs: Map<ConfigKey, string>;
  digest: boolean;
}

/** What of a node's desired set has to be said, in the order of sending. */
export interface DesiredDiff {
  configs: { key: ConfigKey; object: DesiredObject }[];
  pods: Pod[];
  gonePods: string[];
  goneConfigs: ConfigKey[];
}

/** Pure: from what was told and what is, to what is to be said. Configs come before the pods that wait for them. */
export function diffDesired(
  told: { pods: ReadonlyMap<string, Pod>; configs: ReadonlyMap<ConfigKey, string> },
  pods: readonly Pod[],
  configs: ReadonlyMap<ConfigKey, DesiredObject>,
): DesiredDiff {
  const present = new Set<string>();
  const diff: DesiredDiff = { configs: [], pods: [], gonePods: [], goneConfigs: [] };
  for (const [key, object] of configs) {
    if (told.configs.get(key) !== object.metadata.resourceVersion) diff.configs.push({ key, object });
  }
  for (const pod of pods) {
    const uid = pod.metadata.uid ?? '';
    present.add(uid);
    const before = told.pods.get(uid);
    if (!before || !sameForAgent(before, pod)) diff.pods.push(pod);
  }
  for (const uid of told.pods.keys()) if (!present.has(uid)) diff.gonePods.push(uid);
  for (const key of told.configs.keys()) if (!configs.has(key)) diff.goneConfigs.push(key);
  return diff;
}

const BY_NODE = 'bus/nodeName';
const BY_CONFIG = 'bus/config';

/** Publishes to each node what it shall run, with the ConfigMaps and Secrets for it, retained; and a digest of it all. */
export class DesiredPublisher implements Service {
  private readonly bus: MessageBus;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly pods: Informer<Pod>;
  private readonly configMaps: Informer<ConfigMap>;
  private readonly secrets: Informer<Secret>;
  private readonly volumes: NodeVolumeObjects;
  private readonly ingress: IngressScope | undefined;
  private readonly informers: InformerSet;
  private readonly externalBroker: boolean;
  private readonly boot: string | undefined;
  private readonly queue: WorkQueue;
  private readonly told = new Map<string, Told>();
  /** Retained topics that an earlier server left at an external broker, by node. */
  private readonly stale = new Map<string, Set<string>>();
  private detach: (() => void)[] = [];

  constructor(options: {
    bus: MessageBus;
    informers: InformerSet;
    clock: Clock;
    logger: Logger;
    /** The broker outlives us (`--mqtt-url`): what it retains may be of another server process. */
    externalBroker?: boolean;
    /** Random id of this server process, which agents are told in the digest. */
    boot?: string;
    /** Whose certificates go to the nodes that serve them. */
    ingress?: IngressScope;
  }) {
    this.bus = options.bus;
    this.clock = options.clock;
    this.logger = options.logger;
    this.informers = options.informers;
    this.externalBroker = options.externalBroker ?? false;
    this.boot = options.boot;
    this.ingress = options.ingress;
    this.pods = options.informers.of(PODS);
    this.configMaps = options.informers.of(CONFIG_MAPS);
    this.secrets = options.informers.of(SECRETS);
    this.volumes = new NodeVolumeObjects(options.informers);
    this.queue = new WorkQueue({
      clock: this.clock,
      process: (node) => this.publish(node),
      onError: (node, error, retryInMs) => {
        // Without connection everything is published anew when it stands again.
        if (error instanceof BusDisconnected) return;
        this.logger.warn({ node, err: error, retryInMs }, 'desired state not published');
      },
      // A node whose connection is slow keeps one place only.
      concurrency: 32,
      maxDelayMs: 10_000,
    });
  }

  async start(): Promise<void> {
    const nodes = this.informers.of(NODES);
    const { pods, configMaps, secrets, volumes, ingress } = this;
    const synced = [pods, configMaps, secrets, volumes, nodes].map((source) => source.synced);
    await Promise.all([...synced, ingress?.synced]);
    this.pods.addIndex(BY_NODE, (pod) => pod.spec?.nodeName);
    this.pods.addIndex(BY_CONFIG, (pod) => (pod.spec?.nodeName ? referencedConfigs(pod) : undefined));
    const touchServing = (): void => {
      for (const node of ingress?.servingNodes() ?? []) this.touch(node);
    };
    const touchAll = (): void => {
      for (const { metadata } of nodes.list()) this.touch(metadata.name);
    };
    const ofPod = (pod: Pod): void => this.touch(pod.spec?.nodeName);
    const ofConfig =
      (kind: 'configmaps' | 'secrets') =>
      (config: ConfigMap | Secret): void => {
        const key = configKey(kind, config.metadata.namespace ?? '', config.metadata.name ?? '');
        for (const pod of this.pods.byIndex(BY_CONFIG, key)) this.touch(pod.spec?.nodeName);
        if (kind === 'secrets' && ingress?.needs(key)) touchServing();
      };
    const handlers = <T>(action: (object: T) => void) => ({
      onAdd: action,
      onUpdate: action,
      onDelete: action,
    });
    if (this.externalBroker) this.findStale();
    this.bus.onConnect(() => this.publishEverything());
    this.queue.start();
    this.detach = [
      nodes.handle({
        onAdd: (node) => this.touch(node.metadata.name),
        onDelete: (node) => this.touch(node.metadata.name),
      }),
      this.pods.handle(handlers(ofPod)),
      this.configMaps.handle(handlers(ofConfig('configmaps'))),
      this.secrets.handle(handlers(ofConfig('secrets'))),
      ...this.volumes.start((node) => this.touch(node)),
      ...(ingress?.watch(touchServing, touchAll) ?? []),
    ];
  }

  async stop(): Promise<void> {
    for (const detach of this.detach) detach();
    this.detach = [];
    await this.queue.stop();
  }

  /** Nothing waits to be published. */
  get idle(): boolean {
    return this.queue.idle;
  }

  private touch(node: string | undefined): void {
    if (node) this.queue.add(node);
  }

  /** A new connection may be one to a broker that has forgotten everything. */
  private publishEverything(): void {
    const nodes = new Set([...this.told.keys(), ...this.stale.keys()]);
    this.told.clear();
    for (const node of this.informers.of(NODES).list()) nodes.add(node.metadata.name ?? '');
    for (const pod of this.pods.list()) nodes.add(pod.spec?.nodeName ?? '');
    for (const node of nodes) this.touch(node);
  }

  private findStale(): void {
    this.bus.subscribe(filters.allDesired(), (topic, payload, retained) => {
      if (!retained || payload === '') return;
      const node = parseTopic(topic)?.[1];
      if (node === undefined) return;
      let stale = this.stale.get(node);
      if (!stale) {
        stale = new Set();
        this.stale.set(node, stale);
      }
      stale.add(topic);
      this.touch(node);
    });
  }

  private async publish(node: string): Promise<void> {
    if (!this.bus.connected) return;
    const known = this.informers.of(NODES).get(undefined, node) !== undefined;
    const pods = this.pods.byIndex(BY_NODE, node);
    const configs = this.configsOf(node, pods);
    let told = this.told.get(node);
    if (!told) {
      told = { pods: new Map(), configs: new Map(), digest: false };
      this.told.set(node, told);
    }
    const diff = diffDesired(told, pods, configs);
    for (const { key, object } of diff.configs) await this.sayConfig(node, told, key, object);
    for (const pod of diff.pods) await this.sayPod(node, told, pod);
    for (const uid of diff.gonePods) {
      await this.say(topics.desiredPod(node, uid), '');
      told.pods.delete(uid);
    }
    for (const key of diff.goneConfigs) {
      const { kind, namespace, name } = splitConfigKey(key);
      await this.say(topics.desiredConfig(node, kind, namespace, name), '');
      told.configs.delete(key);
    }
    // Unchanged pods: hold the store's newest object, with the revision that was told, instead of an old copy.
    for (const pod of pods) {
      const before = told.pods.get(pod.metadata.uid ?? '');
      if (before && before.spec !== pod.spec) {
        told.pods.set(pod.metadata.uid ?? '', {
          ...pod,
          metadata: { ...pod.metadata, resourceVersion: before.metadata.resourceVersion ?? '' },
        });
      }
    }
    await this.clearStale(node, told, known);
    const changed =
      diff.configs.length + diff.pods.length + diff.gonePods.length + diff.goneConfigs.length > 0;
    if (!known && told.pods.size === 0) {
      if (told.digest || changed) await this.say(topics.desiredDigest(node), '');
      this.told.delete(node);
    } else if (changed || !told.digest) {
      await this.sayDigest(node, told);
      told.digest = true;
    }
  }

  private configsOf(node: string, pods: readonly Pod[]): Map<ConfigKey, DesiredObject> {
    const configs = new Map<ConfigKey, DesiredObject>(this.volumes.of(node, pods));
    for (const pod of pods) {
      for (const key of referencedConfigs(pod)) {
        const { kind, namespace, name } = splitConfigKey(key);
        const object = (kind === 'configmaps' ? this.configMaps : this.secrets).get(namespace, name);
        if (object) configs.set(key, object);
      }
    }
    for (const key of this.ingress?.secretsOf(node) ?? []) {
      const { namespace, name } = splitConfigKey(key);
      const secret = this.secrets.get(namespace, name);
      if (secret) configs.set(key, secret);
    }
    return configs;
  }

  private async sayPod(node: string, told: Told, pod: Pod): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    const objection = nodeObjection(pod, this.informers.of(NODES).get(undefined, node));
    const payload = encodeMessage('DesiredPod', {
      v: 1,
      pod: desiredPod(pod),
      ...(objection ? { objection } : {}),
    });
    if (payload === undefined) {
      this.logger.error({ node, pod: pod.metadata.name }, 'pod is too large to be sent to its node');
      return;
    }
    await this.say(topics.desiredPod(node, uid), payload);
    told.pods.set(uid, pod);
  }

  private async sayConfig(node: string, told: Told, key: ConfigKey, object: DesiredObject): Promise<void> {
    const { kind, namespace, name } = splitConfigKey(key);
    const payload = encodeMessage('DesiredConfig', { v: 1, object: desiredConfig(object) });
    if (payload === undefined) {
      this.logger.error({ node, config: key }, 'object is too large to be sent to a node');
      return;
    }
    await this.say(topics.desiredConfig(node, kind, namespace, name), payload);
    told.configs.set(key, object.metadata.resourceVersion ?? '');
  }

  private async sayDigest(node: string, told: Told): Promise<void> {
    const pods: Record<string, string> = {};
    for (const [uid, pod] of told.pods) pods[uid] = pod.metadata.resourceVersion ?? '';
    const payload = encodeMessage('DesiredDigest', {
      v: 1,
      pods,
      configs: Object.fromEntries(told.configs),
      ...(this.boot === undefined ? {} : { server: this.boot }),
    });
    if (payload !== undefined) await this.say(topics.desiredDigest(node), payload);
  }

  /** What an earlier server retained at the broker and we did not say: away with it. */
  private async clearStale(node: string, told: Told, known: boolean): Promise<void> {
    const stale = this.stale.get(node);
    if (!stale) return;
    this.stale.delete(node);
    for (const uid of told.pods.keys()) stale.delete(topics.desiredPod(node, uid));
    for (const key of told.configs.keys()) {
      const { kind, namespace, name } = splitConfigKey(key);
      stale.delete(topics.desiredConfig(node, kind, namespace, name));
    }
    if (known || told.pods.size > 0) stale.delete(topics.desiredDigest(node));
    for (const topic of stale) await this.say(topic, '');
  }

  private say(topic: string, payload: string): Promise<void> {
    return this.bus.publish(topic, payload, { qos: 1, retain: true });
  }
}
