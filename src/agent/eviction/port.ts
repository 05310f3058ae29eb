import type { Pod } from '../../api/types/core-v1.ts';

/** A pod that something runs of. */
export interface ActivePod {
  pod: Pod;
  /** The newest instance of each container. */
  containers: readonly ActiveContainer[];
}

export interface ActiveContainer {
  id: string;
  name: string;
  /** Of the main process, while it runs. */
  pid?: number;
}

/** Why and how a pod is ended for good by this node. */
export interface EndOrder {
  reason: string;
  message: string;
  /** How long its containers get; the pod's own period when absent. */
  graceSeconds?: number;
  /** Tell it in the pod's DisruptionTarget condition too. */
  disruption?: boolean;
}

/** What eviction needs of the pods of this board. */
export interface EvictablePods {
  active(): ActivePod[];
  /** Ends it: phase Failed with the order's reason. */
  end(podUid: string, order: EndOrder): void;
  /** Does nothing of it run any more? */
  ended(podUid: string): boolean;
  /** Removes ended containers that nothing needs. Returns how many. */
  removeDead(): Promise<number>;
}

/** What a container uses; what could not be measured is absent. */
export interface ContainerUse {
  /** Working set, bytes. */
  memory?: number;
  /** Processes and threads. */
  pids?: number;
  /** Bytes of the writable layer. */
  writable?: number;
  /** Bytes of the logs. */
  logs?: number;
}

export interface PodUse {
  containers: ReadonlyMap<string, ContainerUse>;
  /** emptyDir volumes on disk: bytes and inodes by name. */
  volumes: ReadonlyMap<string, { bytes: number; inodes: number }>;
}
