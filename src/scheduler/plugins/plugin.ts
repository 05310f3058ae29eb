import type { BoardReadings } from '../../client/boards.ts';
import type { ImageHints } from '../image-hints.ts';
import type { PodInfo } from '../pod-info.ts';
import type { PodPredicate } from '../pod-terms.ts';
import type { NodeInfo, Snapshot } from '../snapshot.ts';
import type { VolumeObjects } from '../volumes.ts';

/** What can happen in a cluster that lets a pod fit that did not fit before. */
export type ClusterEvent =
  | 'node-added'
  | 'node-allocatable'
  | 'node-labels'
  | 'node-taints'
  /** A pod that held a place is gone, or ended. */
  | 'pod-gone'
  /** A pod got its place, or its labels changed: affinity may be satisfied. */
  | 'pod-placed'
  /** A claim, volume, storage class or driver is there or changed. */
  | 'volume'
  /** The labels of a namespace changed: selectors of namespaces may match. */
  | 'namespace'
  /** It became known for which architectures an image is made. */
  | 'image'
  /** A board measures more free memory or disk than before, or has cooled down. */
  | 'board-relief';

/** Everything a decision may look at, besides the pod. */
export interface Situation {
  readonly snapshot: Snapshot;
  readonly readings: BoardReadings;
  readonly volumes: VolumeObjects;
  readonly images: ImageHints;
  /** The pods that Services select together with this one; undefined when none selects it. */
  readonly siblings: (pod: PodInfo) => PodPredicate | undefined;
  readonly now: number;
}

/** Why a node does not do. */
export interface Rejection {
  readonly reasons: readonly string[];
  /** No pod's going away would help (UnschedulableAndUnresolvable): preemption need not look. */
  readonly unresolvable: boolean;
}

/** `undefined` lets the node pass. Must not allocate for nodes that pass. */
export type NodeFilter = (node: NodeInfo) => Rejection | undefined;

/** No node would do, whichever: said once for the pod. */
export interface PodRejection {
  readonly reason: string;
}

export const never = (reason: string): Rejection => ({ reasons: [reason], unresolvable: true });
export const notNow = (reason: string): Rejection => ({ reasons: [reason], unresolvable: false });

export interface FilterPlugin {
  readonly name: string;
  /** Events after which a pod that this plugin refused may fit. */
  readonly helpedBy: readonly ClusterEvent[];
  /**
   * Prepared once for each pod; undefined when the plugin has nothing to say about it. The filter looks at the snapshot as
   * it is when asked: preemption thinks pods away between two calls.
   */
  prepare(pod: PodInfo, situation: Situation): NodeFilter | PodRejection | undefined;
}

/** 0..100, higher is better. */
export type NodeScore = (node: NodeInfo) => number;

export interface ScorePlugin {
  readonly name: string;
  readonly weight: number;
  /** Looks at what boards measure: the event of a placement tells when this decided. */
  readonly measures?: boolean;
  /**
   * `feasible` are the nodes that passed the filters. Undefined when the plugin has nothing to say. A plugin whose raw
   * scores have no fixed range spreads them over 0..100 itself.
   */
  prepare(pod: PodInfo, feasible: readonly NodeInfo[], situation: Situation): NodeScore | undefined;
}

export const HIGHEST_SCORE = 100;
