import type { Backoff } from './backoff.ts';
import type { Failure, Step } from './steps.ts';

/** What probes have found out about one running instance. */
export interface ProbeResults {
  ready: boolean;
  started: boolean;
  /** The instance has to be restarted: which probe says so. */
  failed?: 'liveness' | 'startup';
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
  images: Map<string, { attempt: number; imageId: string; user: string }>;
  volumesReady: boolean;
  /** The network attachment that stands. */
  network: { sandboxId: string; ips: string[] } | undefined;
  /** Instance id -> results; absent while nothing is known. */
  probes: Map<string, ProbeResults>;
  /** Monotonic; set when the pod began to terminate. */
  terminatingSince: number | undefined;
  /** The pod is to be ended and stays Failed with this reason (deadline, eviction). */
  killed: { reason: string; message: string } | undefined;
  /** Reached a final phase; containers stay, everything else is given back. */
  terminal: boolean;
  /** Nothing of the pod is left in the network and on disk. */
  networkReleased: boolean;
  volumesReleased: boolean;
  /** Container name -> restart count that the pod's status told when the engine had no instance. */
  restartCounts: Map<string, number>;
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
    killed: undefined,
    terminal: false,
    networkReleased: false,
    volumesReleased: false,
    restartCounts: new Map(),
  };
}
