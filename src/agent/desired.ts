import type { ConfigMap, PersistentVolume, Pod, Secret } from '../api/types/core-v1.ts';
import { sameJson } from '../lib/equal.ts';
import type { Logger } from '../lib/logger.ts';
import type {
  ClusterInfo,
  DesiredDigest,
  DesiredObject,
  NodeObjection,
  SharedDigest,
  SharedIngress,
  SharedIngressSet,
  SharedNode,
  SharedPolicy,
  SharedService,
} from '../wire/messages.ts';
import { parseDesired, parseShared } from '../wire/topics.ts';
import { type MessageKind, type Messages, parseMessage } from '../wire/validate.ts';
import type { Journal, JournalKind } from './journal.ts';
import type { DesiredChange, DesiredState } from './ports.ts';

const CLUSTER = 'cluster';
const COMPLETE = 'desiredComplete';
const INGRESS_SET = 'ingressSet';
const KINDS: Readonly<Record<string, string>> = {
  configmaps: 'ConfigMap',
  secrets: 'Secret',
  persistentvolumes: 'PersistentVolume',
};

/** What the desired state needs of a journal; the simulation gives it one in memory. */
export type DesiredJournal = Pick<Journal, 'take' | 'fact' | 'put' | 'delete'>;

/**
 * DesiredState from the retained messages of the server and, before any came, from the journal. A message that repeats
 * what is known (every reconnect brings the whole picture again) changes nothing, wakes nobody and is not written.
 */
export class DesiredStore implements DesiredState {
  private readonly node: string;
  private readonly journal: DesiredJournal;
  private readonly logger: Logger;
  private readonly podsByUid = new Map<string, Pod>();
  /** By digest key: `configmaps/<ns>/<name>`, `secrets/<ns>/<name>`, `persistentvolumes/<claim's ns>/<name>`. */
  private readonly configs = new Map<string, DesiredObject>();
  private readonly servicesByName = new Map<string, SharedService>();
  private readonly nodesByName = new Map<string, SharedNode>();
  private readonly policiesByName = new Map<string, SharedPolicy>();
  private readonly ingressesByName = new Map<string, SharedIngress>();
  private readonly objections = new Map<string, NodeObjection>();
  private readonly listeners: ((change: DesiredChange) => void)[] = [];
  private clusterInfo: ClusterInfo | undefined;
  private digest: DesiredDigest | undefined;
  private sharedDigest: SharedDigest | undefined;
  private ingressSet: SharedIngressSet | undefined;
  private known = false;
  private confirmed = false;

  constructor(options: { node: string; journal: DesiredJournal; logger: Logger }) {
    this.node = options.node;
    this.journal = options.journal;
    this.logger = options.logger;
  }

  /** Takes over what the journal holds; before messages are handled. */
  load(): void {
    fill(this.podsByUid, this.journal.take<Pod>('pod'));
    fill(this.configs, this.journal.take<ConfigMap | PersistentVolume>('config'));
    fill(this.configs, this.journal.take<Secret>('secret'));
    fill(this.servicesByName, this.journal.take<SharedService>('service'));
    fill(this.nodesByName, this.journal.take<SharedNode>('node'));
    fill(this.policiesByName, this.journal.take<SharedPolicy>('policy'));
    fill(this.ingressesByName, this.journal.take<SharedIngress>('ingress'));
    this.ingressSet = this.journal.fact<SharedIngressSet>(INGRESS_SET);
    this.clusterInfo = this.journal.fact<ClusterInfo>(CLUSTER);
    this.known = this.journal.fact<number>(COMPLETE) === 1;
  }

  pods(): readonly Pod[] {
    return [...this.podsByUid.values()];
  }

  pod(uid: string): Pod | undefined {
    return this.podsByUid.get(uid);
  }

  objection(uid: string): NodeObjection | undefined {
    return this.objections.get(uid);
  }

  configMap(namespace: string, name: string): ConfigMap | undefined {
    return this.configs.get(`configmaps/${namespace}/${name}`) as ConfigMap | undefined;
  }

  secret(namespace: string, name: string): Secret | undefined {
    return this.configs.get(`secrets/${namespace}/${name}`) as Secret | undefined;
  }

  volumes(): readonly PersistentVolume[] {
    return [...this.configs.values()].filter((object) => object.kind === 'PersistentVolume');
  }

  services(): readonly SharedService[] {
    return [...this.servicesByName.values()];
  }

  nodes(): readonly SharedNode[] {
    return [...this.nodesByName.values()];
  }

  policies(): readonly SharedPolicy[] {
    return [...this.policiesByName.values()];
  }

  /** What this node has to serve: nothing when other nodes do. */
  ingresses(): readonly SharedIngress[] {
    return this.ingressSet?.nodes.includes(this.node) ? [...this.ingressesByName.values()] : [];
  }

  cluster(): ClusterInfo | undefined {
    return this.clusterInfo;
  }

  get complete(): boolean {
    return this.known;
  }

  disowned(uid: string): boolean {
    if (!this.confirmed || this.podsByUid.has(uid)) return false;
    return !Object.hasOwn(this.digest?.pods ?? {}, uid);
  }

  onChange(listener: (change: DesiredChange) => void): void {
    this.listeners.push(listener);
  }

  /** Id of the server process that sent the last digest. */
  get server(): string | undefined {
    return this.digest?.server;
  }

  /** What the last digests list and has not come: if it stays so, a message was lost, and all is to be asked for again. */
  missing(): string[] {
    const missing: string[] = [];
    for (const uid of Object.keys(this.digest?.pods ?? {}))
      if (!this.podsByUid.has(uid)) missing.push(`pods/${uid}`);
    for (const key of Object.keys(this.digest?.configs ?? {})) if (!this.configs.has(key)) missing.push(key);
    for (const key of this.sharedDigest?.services ?? []) {
      if (!this.servicesByName.has(key)) missing.push(`services/${key}`);
    }
    for (const name of this.sharedDigest?.nodes ?? [])
      if (!this.nodesByName.has(name)) missing.push(`nodes/${name}`);
    for (const key of this.sharedDigest?.policies ?? [])
      if (!this.policiesByName.has(key)) missing.push(`policies/${key}`);
    for (const key of this.ingressSet?.ingresses ?? [])
      if (!this.ingressesByName.has(key)) missing.push(`ingresses/${key}`);
    return missing;
  }

  /** A message below `desired/`. */
  handleDesired(topic: string, payload: string): void {
    const subject = parseDesired(this.node, topic);
    if (!subject) return;
    if (subject.kind === 'digest') {
      const message = payload === '' ? undefined : this.parse('DesiredDigest', topic, payload);
      if (message) this.applyDigest(message);
    } else if (subject.kind === 'pod') {
      if (payload === '') {
        if (this.digest) delete this.digest.pods[subject.uid];
        this.deletePod(subject.uid);
      } else {
        const message = this.parse('DesiredPod', topic, payload);
        if (message) {
          if (message.objection) this.objections.set(subject.uid, message.objection);
          else this.objections.delete(subject.uid);
          this.putPod(subject.uid, message.pod);
        }
      }
    } else {
      const key = `${subject.kind}/${subject.namespace}/${subject.name}`;
      if (payload === '') this.deleteConfig(key);
      else {
        const message = this.parse('DesiredConfig', topic, payload);
        if (message) this.putConfig(key, message.object);
      }
    }
  }

  /** A message of the shared branch. */
  handleShared(topic: string, payload: string): void {
    const subject = parseShared(topic);
    if (!subject) return;
    switch (subject.kind) {
      case 'cluster': {
        const message = payload === '' ? undefined : this.parse('ClusterInfo', topic, payload);
        if (!message || sameJson(message, this.clusterInfo)) return;
        this.clusterInfo = message;
        this.journal.put('fact', CLUSTER, message);
        this.changed({ kind: 'network' });
        return;
      }
      case 'service': {
        const key = `${subject.namespace}/${subject.name}`;
        const message = payload === '' ? undefined : this.parse('SharedService', topic, payload);
        if (payload === '' || message) this.network(this.servicesByName, 'service', key, message);
        return;
      }
      case 'policy': {
        const key = `${subject.namespace}/${subject.name}`;
        const message = payload === '' ? undefined : this.parse('SharedPolicy', topic, payload);
        if (payload === '' || message) this.network(this.policiesByName, 'policy', key, message);
        return;
      }
      case 'ingress': {
        const key = `${subject.namespace}/${subject.name}`;
        const message = payload === '' ? undefined : this.parse('SharedIngress', topic, payload);
        if (payload === '' || message) this.network(this.ingressesByName, 'ingress', key, message);
        return;
      }
      case 'ingress-set': {
        const message = payload === '' ? undefined : this.parse('SharedIngressSet', topic, payload);
        if (message) this.applyIngressSet(message);
        return;
      }
      case 'node': {
        const message = payload === '' ? undefined : this.parse('SharedNode', topic, payload);
        if (payload === '' || message) this.network(this.nodesByName, 'node', subject.name, message);
        return;
      }
      case 'digest': {
        const message = payload === '' ? undefined : this.parse('SharedDigest', topic, payload);
        if (message) this.applySharedDigest(message);
        return;
      }
    }
  }

  /** This board is no node of the cluster any more: nothing is wanted here. */
  removed(): void {
    const { server } = this;
    this.applyDigest({ v: 1, pods: {}, configs: {}, ...(server === undefined ? {} : { server }) });
  }

  private applyDigest(digest: DesiredDigest): void {
    this.digest = digest;
    for (const uid of [...this.podsByUid.keys()]) if (!Object.hasOwn(digest.pods, uid)) this.deletePod(uid);
    for (const key of [...this.configs.keys()])
      if (!Object.hasOwn(digest.configs, key)) this.deleteConfig(key);
    if (!this.known) this.journal.put('fact', COMPLETE, 1);
    this.known = true;
    if (this.confirmed) return;
    this.confirmed = true;
    this.changed({ kind: 'whole' });
  }

  private applySharedDigest(digest: SharedDigest): void {
    this.sharedDigest = digest;
    const services = new Set(digest.services);
    const nodes = new Set(digest.nodes);
    for (const key of [...this.servicesByName.keys()]) {
      if (!services.has(key)) this.network(this.servicesByName, 'service', key, undefined);
    }
    for (const name of [...this.nodesByName.keys()]) {
      if (!nodes.has(name)) this.network(this.nodesByName, 'node', name, undefined);
    }
    const policies = new Set(digest.policies ?? []);
    for (const key of [...this.policiesByName.keys()]) {
      if (!policies.has(key)) this.network(this.policiesByName, 'policy', key, undefined);
    }
  }

  private applyIngressSet(set: SharedIngressSet): void {
    if (sameJson(set, this.ingressSet)) return;
    this.ingressSet = set;
    this.journal.put('fact', INGRESS_SET, set);
    const names = new Set(set.ingresses);
    for (const key of [...this.ingressesByName.keys()]) {
      if (!names.has(key)) this.network(this.ingressesByName, 'ingress', key, undefined);
    }
    this.changed({ kind: 'ingress' });
  }

  private putPod(uid: string, pod: Pod): void {
    if (pod.metadata.uid !== uid) {
      this.logger.warn({ uid, pod: pod.metadata.name }, 'a pod came under another uid and is ignored');
      return;
    }
    const held = this.podsByUid.get(uid);
    if (held && sameJson(held, pod)) return;
    this.podsByUid.set(uid, pod);
    this.journal.put('pod', uid, pod);
    this.changed({ kind: 'pod', uid });
  }

  private deletePod(uid: string): void {
    this.objections.delete(uid);
    if (!this.podsByUid.delete(uid)) return;
    this.journal.delete('pod', uid);
    this.changed({ kind: 'pod', uid });
  }

  private putConfig(key: string, object: DesiredObject): void {
    const [kind, namespace, name] = key.split('/') as [string, string, string];
    // A volume has no namespace: it comes under that of its claim.
    const place =
      object.kind === 'PersistentVolume'
        ? (object as PersistentVolume).spec?.claimRef?.namespace
        : object.metadata.namespace;
    if (object.kind !== KINDS[kind] || place !== namespace || object.metadata.name !== name) {
      this.logger.warn(
        { key, kind: object.kind, name: object.metadata.name },
        'an object came under another name',
      );
      return;
    }
    const held = this.configs.get(key);
    if (held && sameJson(held, object)) return;
    this.configs.set(key, object);
    this.journal.put(journalKindOf(key), key, object);
    this.changed({ kind: 'config', namespace, name });
  }

  private deleteConfig(key: string): void {
    if (!this.configs.delete(key)) return;
    this.journal.delete(journalKindOf(key), key);
    const [, namespace, name] = key.split('/') as [string, string, string];
    this.changed({ kind: 'config', namespace, name });
  }

  private network<T extends object>(
    held: Map<string, T>,
    kind: 'service' | 'node' | 'policy' | 'ingress',
    key: string,
    value: T | undefined,
  ): void {
    if (value === undefined) {
      if (!held.delete(key)) return;
      this.journal.delete(kind, key);
    } else {
      if (sameJson(held.get(key), value)) return;
      held.set(key, value);
      this.journal.put(kind, key, value);
    }
    this.changed({ kind: kind === 'ingress' ? 'ingress' : 'network' });
  }

  private parse<K extends MessageKind>(kind: K, topic: string, payload: string): Messages[K] | undefined {
    const parsed = parseMessage(kind, payload);
    if (parsed.ok) return parsed.message;
    this.logger.warn(
      { topic, problem: parsed.problem, detail: parsed.detail },
      'message of the server ignored (is the agent older than the server?)',
    );
    return undefined;
  }

  private changed(change: DesiredChange): void {
    for (const listener of this.listeners) {
      try {
        listener(change);
      } catch (error) {
        this.logger.error({ err: error, change }, 'a listener of the desired state failed');
      }
    }
  }
}

function journalKindOf(configKey: string): JournalKind {
  return configKey.startsWith('secrets/') ? 'secret' : 'config';
}

function fill<T>(target: Map<string, T>, source: ReadonlyMap<string, T>): void {
  for (const [key, value] of source) target.set(key, value);
}
