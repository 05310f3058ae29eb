import type { LinuxContainerUser } from '../../api/types/core-v1.ts';
import type { EndOrder } from '../eviction/port.ts';
import type { ResourceLimits } from '../runtime.ts';
import type { Backoff } from './backoff.ts';
import type { Failure, Step } from './steps.ts';

/** What probes have found out about one running instance. */
export interface ProbeResults {
  ready: boolean;
  started: boolean;
  /** The instance has to be restarted: which probe says so. */
  failed?: 'liveness' | 'startup';
}

/** How far the pod is with what was asked of it through pods/resize. */
export interface ResizeState {
  /** It cannot be given now. */
  pending?: { reason: 'Deferred' | 'Infeasible'; message: string; generation: number | undefined };
  /** It has been given and is being carried out. */
  inProgress?: { generation: number | undefined; error?: string };
}

/**
 * What a pod worker knows beside the engine's list. Everything here may be lost with the process: a restarted agent
 * builds it again from the engine, the pod's directory and the pod's last status.
 */
export interface PodFacts {
  /** Steps under way, by keyOf. */
  inFlight: Map<string, Step>;
  /** By keyOf(step): failed, and not to be tried again before retryAt. */
  failures: Map<string, Failure>;
  /** Crash-loop back-off by `name/hash`. */
  backoff: Map<string, Backoff>;
  /** Instance id -> monotonic time at which it ended, as far as known. */
  ended: Map<string, number>;
  /** Container name -> the image that its next instance will be made from. */
  images: Map<string, { attempt: number; imageId: string; user: string; engineName?: string }>;
  volumesReady: boolean;
  /** The network attachment that stands. */
  network: { sandboxId: string; ips: string[] } | undefined;
  /** Instance id -> results; absent while nothing is known. */
  probes: Map<string, ProbeResults>;
  /** Monotonic; set when the pod began to terminate. */
  terminatingSince: number | undefined;
  /** Monotonic; set when the node began to end it: deleted, killed or terminal. */
  endingSince: number | undefined;
  /** Ids of sidecars whose preStop hook has run. */
  preStopped: Set<string>;
  /** The pod is to be ended and stays Failed with this reason (deadline, eviction). */
  killed: EndOrder | undefined;
  /** `killed` before it began: the node does not take it. */
  rejected: boolean;
  /** Its work is done; containers stay, everything else is given back. */
  terminal: boolean;
  /** It is ended (deleted, killed, terminal) and nothing of it runs or is being started: only now may others hear so. */
  stopped: boolean;
  /** Nothing of the pod is left in the network and on disk. */
  networkReleased: boolean;
  volumesReleased: boolean;
  cgroupReleased: boolean;
  logsRemoved: boolean;
  /** Instance id -> whom its first process runs as. */
  users: Map<string, LinuxContainerUser>;
  /** Instance id -> the limits that it was updated to. */
  applied: Map<string, ResourceLimits>;
  /** Instances that are run again whatever their restart policy says: their image or their resources have changed. */
  mustRestart: Set<string>;
  resize: ResizeState;
  /** Container name -> the least number that its next instance may have, whatever the engine has forgotten. */
  restartCounts: Map<string, number>;
  /** See forgottenExits. */
  forgotten: ReadonlyMap<string, number>;
}

export function newFacts(): PodFacts {
  return {
    inFlight: new Map(),
    failures: new Map(),
    backoff: new Map(),
    ended: new Map(),
    images: new Map(),
    volumesReady: false,
    network: undefined,
    probes: new Map(),
    terminatingSince: undefined,
    endingSince: undefined,
    preStopped: new Set(),
    killed: undefined,
    rejected: false,
    terminal: false,
    stopped: false,
    networkReleased: false,
    volumesReleased: false,
    cgroupReleased: false,
    logsRemoved: false,
    users: new Map(),
    applied: new Map(),
    mustRestart: new Set(),
    resize: {},
    restartCounts: new Map(),
    forgotten: new Map(),
  };
}
