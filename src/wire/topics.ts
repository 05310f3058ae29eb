/**
 * Every MQTT topic of copepod. Nobody else writes a topic string.
 *
 *   copepod/v1/nodes/<node>/desired/pods/<uid>               down, retained: DesiredPod; empty = deleted
 *   copepod/v1/nodes/<node>/desired/configmaps/<ns>/<name>   down, retained: DesiredConfig
 *   copepod/v1/nodes/<node>/desired/secrets/<ns>/<name>      down, retained: DesiredConfig
 *   copepod/v1/nodes/<node>/desired/digest                   down, retained: DesiredDigest
 *   copepod/v1/nodes/<node>/acks                             down: StatusAck
 *   copepod/v1/nodes/<node>/streams                          down, QoS 1: StreamRequest
 *   copepod/v1/nodes/<node>/alive                            up, retained, last will: Alive
 *   copepod/v1/nodes/<node>/register                         up, retained: NodeRegistration
 *   copepod/v1/nodes/<node>/heartbeat                        up, QoS 0: Heartbeat
 *   copepod/v1/nodes/<node>/pods/<uid>/status                up, QoS 1: PodStatusReport
 *   copepod/v1/nodes/<node>/events                           up, QoS 1: EventReport
 *   copepod/v1/shared/cluster                                down, retained: ClusterInfo
 *   copepod/v1/shared/services/<ns>/<name>                   down, retained: SharedService
 *   copepod/v1/shared/nodes/<name>                           down, retained: SharedNode
 */
const ROOT = 'copepod/v1';

export const topics = {
  desiredPod: (node: string, uid: string) => `${ROOT}/nodes/${node}/desired/pods/${uid}`,
  desiredConfig: (node: string, kind: 'configmaps' | 'secrets', namespace: string, name: string) =>
    `${ROOT}/nodes/${node}/desired/${kind}/${namespace}/${name}`,
  desiredDigest: (node: string) => `${ROOT}/nodes/${node}/desired/digest`,
  acks: (node: string) => `${ROOT}/nodes/${node}/acks`,
  streams: (node: string) => `${ROOT}/nodes/${node}/streams`,
  alive: (node: string) => `${ROOT}/nodes/${node}/alive`,
  register: (node: string) => `${ROOT}/nodes/${node}/register`,
  heartbeat: (node: string) => `${ROOT}/nodes/${node}/heartbeat`,
  podStatus: (node: string, uid: string) => `${ROOT}/nodes/${node}/pods/${uid}/status`,
  events: (node: string) => `${ROOT}/nodes/${node}/events`,
  cluster: () => `${ROOT}/shared/cluster`,
  sharedService: (namespace: string, name: string) => `${ROOT}/shared/services/${namespace}/${name}`,
  sharedNode: (name: string) => `${ROOT}/shared/nodes/${name}`,
} as const;

export const filters = {
  /** All that a node may subscribe to, besides `shared`. */
  ofNode: (node: string) => `${ROOT}/nodes/${node}/#`,
  desired: (node: string) => `${ROOT}/nodes/${node}/desired/#`,
  shared: () => `${ROOT}/shared/#`,
  allAlive: () => `${ROOT}/nodes/+/alive`,
  allRegister: () => `${ROOT}/nodes/+/register`,
  allHeartbeats: () => `${ROOT}/nodes/+/heartbeat`,
  allPodStatuses: () => `${ROOT}/nodes/+/pods/+/status`,
  allEvents: () => `${ROOT}/nodes/+/events`,
} as const;

const UPWARD = ['alive', 'register', 'heartbeat', 'events'];

/** The parts of a topic below the root, or undefined for a foreign topic. */
export function parseTopic(topic: string): string[] | undefined {
  return topic.startsWith(`${ROOT}/`) ? topic.slice(ROOT.length + 1).split('/') : undefined;
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
