import type { LinuxContainerUser, PodStatus } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { ImageManager } from '../images/image-manager.ts';
import type { Limiter } from '../limiter.ts';
import type { DesiredState, PodNetwork, Reporter } from '../ports.ts';
import type { ContainerRuntime } from '../runtime.ts';
import type { PodVolumes } from '../volumes/port.ts';
import type { NodeFeatures } from './admission-features.ts';
import type { PodAllocations } from './allocations.ts';
import type { PodCgroups } from './cgroups.ts';
import type { ContainerView } from './container-view.ts';
import type { PodFiles } from './files.ts';
import type { Handlers } from './handlers.ts';
import type { PodEvents } from './pod-events.ts';

/** What this node is, as far as its pods' containers depend on it. */
export interface NodeContext {
  name: string;
  /** InternalIPs, the first is status.hostIP. */
  ips: readonly string[];
  memoryCapacityBytes: number;
  /** Quantities by resource name. */
  allocatable: Readonly<Record<string, string>>;
  /** No container can be given an oom_score_adj below this (see oom-floor.ts). */
  oomScoreFloor: number;
  /** What the node can enforce; absent: everything. */
  features?: NodeFeatures;
  /** How many processes a container may have; absent: no limit. */
  pidsLimit?: number;
  /** Its engine can make what is mounted below a read-only volume read-only too. */
  recursiveReadOnly?: boolean;
  /** Pressure conditions that are True. */
  pressures?: readonly string[];
}

/** The sandbox image: carried in the bundle, imported when the engine does not have it. */
export interface SandboxImage {
  readonly reference: string;
  ensure(): Promise<void>;
}

/** What all pod workers share. */
export interface PodServices {
  clock: Clock;
  logger: Logger;
  runtime: ContainerRuntime;
  view: ContainerView;
  network: PodNetwork;
  volumes: PodVolumes;
  files: PodFiles;
  images: ImageManager;
  handlers: Handlers;
  events: PodEvents;
  reporter: Reporter;
  /** The status reported last, also by the agent process before this one. */
  lastStatus: (podUid: string) => PodStatus | undefined;
  desired: DesiredState;
  sandboxImage: SandboxImage;
  node: () => NodeContext;
  clusterDomain: () => string;
  /** Creates and starts under way on this board at once. */
  startLimiter: Limiter;
  /** Removals under way at once: they are as much work for the engine. */
  removeLimiter: Limiter;
  /** What the pods have been given: resizes are judged by it. */
  allocations: PodAllocations;
  /** Control groups of pods; absent where the engine or the machine does not let them be. */
  cgroups?: PodCgroups;
  /** Bytes of memory that the group of a process uses. */
  memoryUse?: (pid: number) => Promise<number | undefined>;
  /** Whom a process runs as. */
  processUser?: (pid: number) => Promise<LinuxContainerUser | undefined>;
  /** Image id -> imageID as a status tells it. */
  imageNames: Map<string, string>;
}
