import { SignalReader } from '../../health/signals.ts';
import { type Signal, type Threshold, thresholdsOf } from '../../health/thresholds.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { AgentCore } from '../agent-core.ts';
import type { ContainerRuntime } from '../runtime.ts';
import { EvictionManager, type ReclaimImages } from './manager.ts';

/** The flags of eviction, as `copepod agent --help` explains them. */
export interface EvictionOptions {
  evictionHard: readonly { signal: Signal; amount: string }[];
  evictionSoft: readonly { signal: Signal; amount: string }[];
  evictionSoftGracePeriod: readonly { signal: Signal; milliseconds: number }[];
  evictionMinimumReclaim: readonly { signal: Signal; amount: string }[];
  /** Seconds. */
  evictionMaxPodGracePeriod: number;
  /** Milliseconds. */
  evictionPressureTransitionPeriod: number;
  /** Milliseconds; 0: local storage is not measured. */
  volumeStatsAggPeriod: number;
}

export function evictionThresholds(options: EvictionOptions): Threshold[] {
  return thresholdsOf({
    hard: options.evictionHard,
    soft: options.evictionSoft,
    softGrace: options.evictionSoftGracePeriod,
    reclaim: options.evictionMinimumReclaim,
  });
}

/** The eviction manager on this machine. */
export function createEviction(options: {
  node: string;
  flags: EvictionOptions;
  thresholds: readonly Threshold[];
  clock: Clock;
  logger: Logger;
  core: AgentCore;
  runtime: Pick<ContainerRuntime, 'writableBytes'>;
  /** Where pods' volumes are. */
  podsDirectory: string;
  /** Docker's data directory, once it is known. */
  engineDirectory: () => string | undefined;
  reclaimImages: ReclaimImages;
}): EvictionManager {
  const { node, flags, clock, logger, core, runtime, podsDirectory, engineDirectory } = options;
  return new EvictionManager({
    clock,
    logger,
    thresholds: options.thresholds,
    transitionMs: flags.evictionPressureTransitionPeriod,
    storageMs: flags.volumeStatsAggPeriod,
    maxPodGraceSeconds: flags.evictionMaxPodGracePeriod,
    signals: new SignalReader({ nodeDirectory: podsDirectory, imageDirectory: engineDirectory }),
    pods: core.manager,
    meter: async () => {
      const { PodUseMeter } = await import('./pod-use.ts');
      return new PodUseMeter({ runtime, podsDirectory, engineDirectory });
    },
    reclaimImages: options.reclaimImages,
    onConditions: () => void core.heartbeat.now(),
    onStarved: (resource) =>
      core.reporter.event({
        namespace: '',
        name: node,
        uid: node,
        kind: 'Node',
        type: 'Warning',
        reason: 'EvictionThresholdMet',
        message: `Attempting to reclaim ${resource}`,
      }),
    onEvicted: (pod, message) => core.events.pod(pod, 'Warning', 'Evicted', message),
  });
}
