import type { BoardMeasurements } from '../api/board.ts';
import type { Component } from '../api/components.ts';
import type { IngressSettings } from '../api/ingress.ts';
import type { ConfigMap, Node, PersistentVolume, Pod, PodStatus, Secret } from '../api/types/core-v1.ts';
import type { LabelSelector } from '../api/types/meta-v1.ts';

export type { BoardMeasurements } from '../api/board.ts';

/** The version of these shapes; a receiver ignores (and logs) what it does not know. Raised when a shape breaks. */
export const WIRE_VERSION = 1;

/** A pod bound to the node, as stored. Desired until its tombstone comes; metadata.deletionTimestamp asks for termination. */
export interface DesiredPod {
  v: 1;
  pod: Pod;
  /** Of a pod that has not started: why its node may not run it, as far as the server can tell. */
  objection?: NodeObjection;
}

/** Reason and message as the kubelet's admission has them. */
export interface NodeObjection {
  reason: string;
  message: string;
}

/**
 * A ConfigMap or Secret that a pod of the node uses, or the PersistentVolume that is bound to a claim of one. Only then
 * does the node see it. A volume that is Released is one whose directory the node shall remove (see removalNode).
 */
export interface DesiredConfig {
  v: 1;
  object: DesiredObject;
}

export type DesiredObject = ConfigMap | Secret | PersistentVolume;

/**
 * The whole desired set by uid and revision, published after every change: an agent that misses an entry, or holds one
 * that is not listed, knows that a message was lost (a missing tombstone deletes, a missing entry waits for its message).
 */
export interface DesiredDigest {
  v: 1;
  /** Pod uid -> metadata.resourceVersion of the DesiredPod message. */
  pods: Record<string, string>;
  /** `configmaps/<ns>/<name>`, `secrets/<ns>/<name>` or `persistentvolumes/<claim's ns>/<name>` -> resourceVersion. */
  configs: Record<string, string>;
  /**
   * Random id of the server process. With a broker that outlives it agents do not notice a restart; statuses that the
   * old process had not flushed are lost then, so whoever sees another id reports everything again.
   */
  server?: string;
}

/** The agent's pod status. `sequence` rises with every report of this agent process; acknowledged by StatusAck. */
export interface PodStatusReport {
  v: 1;
  namespace: string;
  name: string;
  uid: string;
  sequence: number;
  status: PodStatus;
  /** The pod is terminated and cleaned up on the node: the server may remove the object (its grace period is over). */
  gone?: boolean;
}

export interface StatusAck {
  v: 1;
  uid: string;
  sequence: number;
}

/** Retained; the last will sets `alive: false`. `boot` is a random id of the agent process. */
export interface Alive {
  v: 1;
  alive: boolean;
  boot: string;
}

/** Sent on every connect and when something of it changes (labels of the board, capacity, addresses). */
export interface NodeRegistration {
  v: 1;
  labels: Record<string, string>;
  taints: { key: string; value?: string; effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute' }[];
  addresses: { type: string; address: string }[];
  capacity: Record<string, string>;
  allocatable: Record<string, string>;
  nodeInfo: NonNullable<NonNullable<Node['status']>['nodeInfo']>;
}

/** Every 10 s, at most 600 bytes. Short keys on purpose. */
export interface Heartbeat {
  v: 1;
  /** Rises by one with each heartbeat of this boot. */
  n: number;
  m: BoardMeasurements;
  /** Node conditions that are not in their good state, e.g. `{"MemoryPressure":"reason"}`; Ready is false when `Ready` is listed. */
  c?: Record<string, string>;
}

/**
 * Somebody wants to know what pods use: tell it for so long. Sent again while that lasts, so that a lost one costs a minute.
 */
export interface MeasureRequest {
  v: 1;
  forMs: number;
}

/** While asked for, every 15 s: the use of each container by pod uid and name, [CPU in cores, working set in bytes]. */
export interface PodUsageReport {
  v: 1;
  /** Milliseconds over which the CPU was measured. */
  windowMs: number;
  pods: Record<string, Record<string, [number, number]>>;
}

/** The directory of a released volume is gone, or could not be removed. Repeated until the volume is desired no more. */
export interface VolumeReport {
  v: 1;
  name: string;
  uid: string;
  /** Absent: it is gone. */
  error?: string;
}

/** What a node has of images. Retained: sent when something of it changed, and on every connect. */
export interface ImageReport {
  v: 1;
  /** As in node.status.images: the largest first, not all of many. */
  images: { names: string[]; sizeBytes: number }[];
  /** The node's GOARCH, and the images that certainly have nothing for it. */
  architecture: string;
  lacking: string[];
}

export interface EventReport {
  v: 1;
  namespace: string;
  name: string;
  uid: string;
  /** `spec.containers{web}` for a container's event. */
  fieldPath?: string;
  /** Pod unless it is about the node itself. */
  kind: 'Pod' | 'Node';
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
  /** RFC 3339, the agent's clock. */
  time: string;
  /** kubelet, as kubectl describe shows it, unless said otherwise. */
  component?: string;
}

/** The server asks the agent to dial a WebSocket at `path` (below its server URL) and serve this there. */
export interface StreamRequest {
  v: 1;
  id: string;
  path: string;
  /** Absolute wall time is not trusted: the agent gives up this many ms after receipt when the dial fails. */
  timeoutMs: number;
  request: StreamKind;
}

export type StreamKind =
  | {
      type: 'logs';
      podUid: string;
      container: string;
      follow: boolean;
      previous: boolean;
      timestamps: boolean;
      tailLines?: number;
      sinceSeconds?: number;
      sinceTime?: string;
      limitBytes?: number;
    }
  | {
      type: 'exec';
      podUid: string;
      container: string;
      command: string[];
      stdin: boolean;
      stdout: boolean;
      stderr: boolean;
      tty: boolean;
    }
  | {
      type: 'attach';
      podUid: string;
      container: string;
      stdin: boolean;
      stdout: boolean;
      stderr: boolean;
      tty: boolean;
    }
  /** `direct`: the pod's address only, not what listens on its loopback (the API's proxy). */
  | { type: 'portforward'; podUid: string; port: number; direct?: boolean }
  /** HTTP/1.1 with the agent itself, as with a kubelet; or a TCP connection to a port of the board. */
  | { type: 'node'; dial?: { address: string; port: number } };

export interface ClusterInfo {
  v: 1;
  serviceCidr: string;
  clusterCidr: string;
  clusterDns: string;
  clusterDomain: string;
  /** From the ConfigMap kube-system/kube-dns: domain -> its name servers, `address` or `address:port`. */
  stubDomains?: Record<string, string[]>;
  /** From the same: in place of the board's own. */
  upstreamNameservers?: string[];
  /** What the cluster does without (`--disable`). */
  disabled?: Component[];
}

/** One Service with its endpoints: all a node needs to program it and to answer for its name. */
export interface SharedService {
  v: 1;
  namespace: string;
  name: string;
  type: string;
  /** Empty: headless, or of type ExternalName. */
  clusterIPs: string[];
  headless?: true;
  externalName?: string;
  /** Of a headless Service: ready endpoints that none of the ports lists. */
  hosts?: { ip: string; hostname?: string }[];
  externalIPs?: string[];
  /** Addresses of load balancers that reach the Service without leaving the cluster. */
  balancerIPs?: string[];
  /** Who may use those: CIDRs. Absent: everyone. */
  sourceRanges?: string[];
  /** A board answers there whether it has a ready endpoint of its own. */
  healthCheckNodePort?: number;
  sessionAffinitySeconds?: number;
  externalTrafficPolicy?: 'Cluster' | 'Local';
  internalTrafficPolicy?: 'Cluster' | 'Local';
  ports: SharedServicePort[];
}

export interface SharedServicePort {
  name: string;
  protocol: 'TCP' | 'UDP' | 'SCTP';
  port: number;
  nodePort?: number;
  endpoints: SharedEndpoint[];
}

export interface SharedEndpoint {
  ip: string;
  port: number;
  /** '' when it is none of a node's. */
  node: string;
  /** It has a name of its own below the Service's. */
  hostname?: string;
  /** It terminates and still serves: for whoever has no ready one (KEP-1669). */
  leaving?: true;
  /** The zones and the nodes that it is meant for. */
  zones?: string[];
  nodes?: string[];
}

/** A NetworkPolicy with its peers looked up by the server. Selectors are for the board's own pods. */
export interface SharedPolicy {
  v: 1;
  namespace: string;
  name: string;
  podSelector: LabelSelector;
  /** Absent: the policy does not isolate in this direction. */
  ingress?: SharedPolicyRule[];
  egress?: SharedPolicyRule[];
}

export interface SharedPolicyRule {
  /** Absent: anyone. */
  peers?: SharedPolicyPeer[];
  /** Absent: all. A name is that of the receiving pod's container port. */
  ports?: { protocol: 'TCP' | 'UDP' | 'SCTP'; port?: number | string; endPort?: number }[];
}

export type SharedPolicyPeer =
  | { cidr: string; except?: string[] }
  | {
      namespaces: string[];
      podSelector: LabelSelector;
      /** `ports`: the named ones, where the rule has names. */
      pods: {
        ip: string;
        node: string;
        ports?: { name: string; protocol: 'TCP' | 'UDP' | 'SCTP'; port: number }[];
      }[];
    };

export interface SharedNode {
  v: 1;
  name: string;
  internalIP: string;
  podCIDR: string;
  /** Label topology.kubernetes.io/zone. */
  zone?: string;
  /** It is being removed: balancers shall send it nothing new. */
  leaving?: true;
}

/** An Ingress of a class of ours. Its certificates come to the serving nodes as Secrets, over their own branches. */
export interface SharedIngress extends IngressSettings {
  v: 1;
  namespace: string;
  name: string;
  /** metadata.creationTimestamp: of two that say the same, the older is right. */
  created: string;
  defaultBackend?: SharedIngressBackend;
  rules: SharedIngressRule[];
  /** `secret` is absent where the board's own certificate shall do. */
  tls: { hosts: string[]; secret?: string }[];
}

export interface SharedIngressRule {
  /** Absent: any. `*.example.com` is exactly one label more. */
  host?: string;
  paths: { path: string; type: 'Exact' | 'Prefix'; backend: SharedIngressBackend }[];
}

/** A Service of the Ingress' namespace and the number or name of its port; without: a backend that nobody here can serve. */
export interface SharedIngressBackend {
  service?: string;
  port?: number | string;
}

/** Which Ingresses there are and which nodes serve them; published after every change of either. */
export interface SharedIngressSet {
  v: 1;
  /** `namespace/name`. */
  ingresses: string[];
  nodes: string[];
}

/**
 * What of the shared branch exists, published after every change of the set: an agent that was away while a Service or
 * node was deleted learns here that there will be no tombstone.
 */
export interface SharedDigest {
  v: 1;
  /** `namespace/name`. */
  services: string[];
  nodes: string[];
  /** `namespace/name`. */
  policies?: string[];
}
