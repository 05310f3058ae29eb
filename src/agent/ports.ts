import type { ConfigMap, PersistentVolume, Pod, PodStatus, Secret } from '../api/types/core-v1.ts';
import type {
  ClusterInfo,
  EventReport,
  NodeObjection,
  NodeRegistration,
  SharedNode,
  SharedService,
} from '../wire/messages.ts';

/** What shall run here, as last seen from the server or read from the journal on a cold boot. */
export interface DesiredState {
  pods(): readonly Pod[];
  pod(uid: string): Pod | undefined;
  /** What the server has against this node running it; only of pods that are new. */
  objection(uid: string): NodeObjection | undefined;
  configMap(namespace: string, name: string): ConfigMap | undefined;
  secret(namespace: string, name: string): Secret | undefined;
  /** Those bound to claims of this node's pods, and released ones whose directories have to go. */
  volumes(): readonly PersistentVolume[];
  services(): readonly SharedService[];
  nodes(): readonly SharedNode[];
  cluster(): ClusterInfo | undefined;
  /** False until there is a whole picture: of the journal, or of the server's first digest. */
  readonly complete: boolean;
  /**
   * The server has said, to this process, that the pod is not this node's. The journal alone is no ground to end
   * anything: what came in the last moments of an agent that was killed is not in it.
   */
  disowned(uid: string): boolean;
  /**
   * `pod` · `config`: a ConfigMap, Secret or volume changed · `network`: services, nodes, cluster · `ingress`: what to
   * serve as Ingresses · `whole`: the first whole picture of the server came.
   */
  onChange(listener: (change: DesiredChange) => void): void;
}

export type DesiredChange =
  | { kind: 'pod'; uid: string }
  | { kind: 'config'; namespace: string; name: string }
  | { kind: 'network' }
  | { kind: 'ingress' }
  | { kind: 'whole' };

/** Where the pod workers report to. Never blocks and never fails: what cannot be sent now is kept (newest per pod) and resent. */
export interface Reporter {
  podStatus(pod: Pod, status: PodStatus): void;
  /** Terminated and cleaned up; the server removes the object. */
  podGone(pod: Pod, status: PodStatus): void;
  event(event: Omit<EventReport, 'v' | 'time'>): void;
}

/** What the node tells of itself at registration. */
export type NodeFacts = Omit<NodeRegistration, 'v'>;

/** The pod network of this board: `cpod0`, the veth pairs, addresses, hostPorts. */
export interface PodNetwork {
  start(): Promise<void>;
  stop(): Promise<void>;
  /**
   * Gives the network namespace of process `pid` its interface and address, and opens the pod's hostPorts. Idempotent:
   * a pod that has its address keeps it. Throws NetworkError with a message fit for a pod event.
   */
  attach(pod: Pod, pid: number): Promise<{ ips: string[] }>;
  /** Returns address and hostPorts; the namespace may already be gone. Idempotent. */
  detach(podUid: string): Promise<void>;
  /**
   * After a restart: pods that live on with their addresses; everything else is returned. `former` are the addresses, by
   * uid, of pods that do not live on and are to be started again: while the server is away, everybody knows them by these.
   */
  adopt(
    pods: readonly { uid: string; ips: string[]; hostPorts: readonly HostPort[] }[],
    former?: ReadonlyMap<string, string>,
  ): Promise<void>;
  /**
   * The nodes and the cluster as they are now: this node's pod CIDR (until it is known `attach` waits) and the routes to
   * the others. Level-triggered; returns at once.
   */
  update?(nodes: readonly SharedNode[], cluster: ClusterInfo | undefined): void;
}

export interface HostPort {
  hostIP?: string;
  hostPort: number;
  containerPort: number;
  protocol: 'TCP' | 'UDP' | 'SCTP';
}

/** Serves Services on this board. Level-triggered: always given everything. */
export interface ServiceProxy {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Returns at once. */
  apply(services: readonly SharedService[]): void;
}

/** Bound service account tokens for pods, from the server; cached and renewed by the implementation. */
export interface TokenSource {
  token(request: {
    namespace: string;
    serviceAccount: string;
    podName: string;
    podUid: string;
    audiences: readonly string[];
    expirationSeconds: number;
  }): Promise<string>;
  /** The cluster's CA, PEM. */
  readonly ca: string;
}
