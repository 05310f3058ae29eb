/**
 * Every MQTT topic of copepod. Nobody else writes a topic string.
 *
 *   copepod/v1/nodes/<node>/desired/pods/<uid>               down, retained: DesiredPod; empty = deleted
 *   copepod/v1/nodes/<node>/desired/configmaps/<ns>/<name>   down, retained: DesiredConfig
 *   copepod/v1/nodes/<node>/desired/secrets/<ns>/<name>      down, retained: DesiredConfig
 *   copepod/v1/nodes/<node>/desired/persistentvolumes/<ns>/<name>   down, retained: DesiredConfig; <ns> is the claim's
 *   copepod/v1/nodes/<node>/desired/digest                   down, retained: DesiredDigest
 *   copepod/v1/nodes/<node>/acks                             down: StatusAck
 *   copepod/v1/nodes/<node>/streams                          down, QoS 1: StreamRequest
 *   copepod/v1/nodes/<node>/measure                          down, QoS 0: MeasureRequest
 *   copepod/v1/nodes/<node>/alive                            up, retained, last will: Alive
 *   copepod/v1/nodes/<node>/register                         up, retained: NodeRegistration
 *   copepod/v1/nodes/<node>/heartbeat                        up, QoS 0: Heartbeat
 *   copepod/v1/nodes/<node>/usage                            up, QoS 0: PodUsageReport
 *   copepod/v1/nodes/<node>/pods/<uid>/status                up, QoS 1: PodStatusReport
 *   copepod/v1/nodes/<node>/events                           up, QoS 1: EventReport
 *   copepod/v1/nodes/<node>/volumes                          up, QoS 1: VolumeReport
 *   copepod/v1/nodes/<node>/images                           up, retained: ImageReport
 *   copepod/v1/shared/cluster                                down, retained: ClusterInfo
 *   copepod/v1/shared/services/<ns>/<name>                   down, retained: SharedService
 *   copepod/v1/shared/nodes/<name>                           down, retained: SharedNode
 *   copepod/v1/shared/policies/<ns>/<name>                   down, retained: SharedPolicy
 *   copepod/v1/shared/ingresses/<ns>/<name>                  down, retained: SharedIngress
 *   copepod/v1/shared/ingress                                down, retained: SharedIngressSet
 *   copepod/v1/shared/digest                                 down, retained: SharedDigest
 */
const ROOT = 'copepod/v1';

/** What is sent to a node besides its pods. */
export type ConfigKind = 'configmaps' | 'secrets' | 'persistentvolumes';
const CONFIG_KINDS: readonly string[] = ['configmaps', 'secrets', 'persistentvolumes'];

export const topics = {
  desiredPod: (node: string, uid: string) => `${ROOT}/nodes/${node}/desired/pods/${uid}`,
  desiredConfig: (node: string, kind: ConfigKind, namespace: string, name: string) =>
    `${ROOT}/nodes/${node}/desired/${kind}/${namespace}/${name}`,
  desiredDigest: (node: string) => `${ROOT}/nodes/${node}/desired/digest`,
  acks: (node: string) => `${ROOT}/nodes/${node}/acks`,
  streams: (node: string) => `${ROOT}/nodes/${node}/streams`,
  measure: (node: string) => `${ROOT}/nodes/${node}/measure`,
  alive: (node: string) => `${ROOT}/nodes/${node}/alive`,
  register: (node: string) => `${ROOT}/nodes/${node}/register`,
  heartbeat: (node: string) => `${ROOT}/nodes/${node}/heartbeat`,
  usage: (node: string) => `${ROOT}/nodes/${node}/usage`,
  podStatus: (node: string, uid: string) => `${ROOT}/nodes/${node}/pods/${uid}/status`,
  events: (node: string) => `${ROOT}/nodes/${node}/events`,
  volumes: (node: string) => `${ROOT}/nodes/${node}/volumes`,
  images: (node: string) => `${ROOT}/nodes/${node}/images`,
  cluster: () => `${ROOT}/shared/cluster`,
  sharedService: (namespace: string, name: string) => `${ROOT}/shared/services/${namespace}/${name}`,
  sharedNode: (name: string) => `${ROOT}/shared/nodes/${name}`,
  sharedPolicy: (namespace: string, name: string) => `${ROOT}/shared/policies/${namespace}/${name}`,
  sharedIngress: (namespace: string, name: string) => `${ROOT}/shared/ingresses/${namespace}/${name}`,
  sharedIngressSet: () => `${ROOT}/shared/ingress`,
  sharedDigest: () => `${ROOT}/shared/digest`,
} as const;

export const filters = {
  /** All that a node may subscribe to, besides `shared`. */
  ofNode: (node: string) => `${ROOT}/nodes/${node}/#`,
  desired: (node: string) => `${ROOT}/nodes/${node}/desired/#`,
  shared: () => `${ROOT}/shared/#`,
  allAlive: () => `${ROOT}/nodes/+/alive`,
  allRegister: () => `${ROOT}/nodes/+/register`,
  allHeartbeats: () => `${ROOT}/nodes/+/heartbeat`,
  allUsages: () => `${ROOT}/nodes/+/usage`,
  allPodStatuses: () => `${ROOT}/nodes/+/pods/+/status`,
  allEvents: () => `${ROOT}/nodes/+/events`,
  allVolumes: () => `${ROOT}/nodes/+/volumes`,
  allImages: () => `${ROOT}/nodes/+/images`,
  /** What servers publish and brokers keep: to find what an earlier server left behind at an external broker. */
  allDesired: () => `${ROOT}/nodes/+/desired/#`,
} as const;

const UPWARD = ['alive', 'register', 'heartbeat', 'events', 'usage', 'volumes', 'images'];

/** The parts of a topic below the root, or undefined for a foreign topic. */
export function parseTopic(topic: string): string[] | undefined {
  return topic.startsWith(`${ROOT}/`) ? topic.slice(ROOT.length + 1).split('/') : undefined;
}

export type UpwardKind =
  | 'alive'
  | 'register'
  | 'heartbeat'
  | 'events'
  | 'usage'
  | 'volumes'
  | 'images'
  | 'status';

/** The node that an upward message came from and what it is; `uid` is set for a pod's status. */
export function parseUpward(topic: string): { node: string; kind: UpwardKind; uid?: string } | undefined {
  const [branch, node, ...rest] = parseTopic(topic) ?? [];
  if (branch !== 'nodes' || node === undefined) return undefined;
  if (rest.length === 1 && UPWARD.includes(rest[0] ?? '')) return { node, kind: rest[0] as UpwardKind };
  if (rest.length === 3 && rest[0] === 'pods' && rest[2] === 'status') {
    return { node, kind: 'status', uid: rest[1] ?? '' };
  }
  return undefined;
}

export type DesiredTopic =
  | { kind: 'pod'; uid: string }
  | { kind: ConfigKind; namespace: string; name: string }
  | { kind: 'digest' };

/** What a topic below `desired/` of this node is about. */
export function parseDesired(node: string, topic: string): DesiredTopic | undefined {
  const [branch, name, desired, kind, ...rest] = parseTopic(topic) ?? [];
  if (branch !== 'nodes' || name !== node || desired !== 'desired') return undefined;
  if (kind === 'digest' && rest.length === 0) return { kind };
  if (kind === 'pods' && rest.length === 1) return { kind: 'pod', uid: rest[0] as string };
  if (kind !== undefined && CONFIG_KINDS.includes(kind) && rest.length === 2) {
    return { kind: kind as ConfigKind, namespace: rest[0] as string, name: rest[1] as string };
  }
  return undefined;
}

export type SharedTopic =
  | { kind: 'cluster' }
  | { kind: 'digest' }
  | { kind: 'ingress-set' }
  | { kind: 'service' | 'policy' | 'ingress'; namespace: string; name: string }
  | { kind: 'node'; name: string };

/** What a topic of the shared branch is about. */
export function parseShared(topic: string): SharedTopic | undefined {
  const [branch, kind, ...rest] = parseTopic(topic) ?? [];
  if (branch !== 'shared') return undefined;
  if ((kind === 'cluster' || kind === 'digest') && rest.length === 0) return { kind };
  if (kind === 'services' && rest.length === 2) {
    return { kind: 'service', namespace: rest[0] as string, name: rest[1] as string };
  }
  if (kind === 'policies' && rest.length === 2) {
    return { kind: 'policy', namespace: rest[0] as string, name: rest[1] as string };
  }
  if (kind === 'nodes' && rest.length === 1) return { kind: 'node', name: rest[0] as string };
  if (kind === 'ingress' && rest.length === 0) return { kind: 'ingress-set' };
  if (kind === 'ingresses' && rest.length === 2) {
    return { kind: 'ingress', namespace: rest[0] as string, name: rest[1] as string };
  }
  return undefined;
}

/** May this node publish there? Only its own upward topics. */
export function nodeMayPublish(node: string, topic: string): boolean {
  const [branch, name, ...rest] = parseTopic(topic) ?? [];
  if (branch !== 'nodes' || name !== node) return false;
  if (rest.length === 1) return UPWARD.includes(rest[0] ?? '');
  return rest.length === 3 && rest[0] === 'pods' && rest[2] === 'status';
}

/** May this node subscribe to that filter? Only below its own name and the shared branch. */
export function nodeMaySubscribe(node: string, filter: string): boolean {
  const [branch, name] = parseTopic(filter) ?? [];
  return branch === 'shared' || (branch === 'nodes' && name === node);
}
