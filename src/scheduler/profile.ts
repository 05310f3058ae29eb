import {
  nodeAffinity,
  nodeName,
  nodePorts,
  nodeResourcesFit,
  nodeUnschedulable,
  taintToleration,
} from './plugins/filters.ts';
import { imageArchitecture, imageLocality } from './plugins/images.ts';
import { interPodAffinity, podAffinityPreference } from './plugins/inter-pod-affinity.ts';
import { measuredDanger, measuredLoad } from './plugins/measured.ts';
import type { FilterPlugin, ScorePlugin } from './plugins/plugin.ts';
import {
  balancedAllocation,
  leastAllocated,
  nodeAffinityPreference,
  taintPreference,
} from './plugins/scores.ts';
import { spreadPreference, topologySpread } from './plugins/topology-spread.ts';
import { nodeVolumeLimits, volumeBinding, volumeRestrictions, volumeZone } from './plugins/volumes.ts';

/** `off`: by requests alone; `scores`: measurements prefer; `full`: they also keep pods off boards in danger. */
export type Measured = 'off' | 'scores' | 'full';

export interface Profile {
  readonly filters: readonly FilterPlugin[];
  readonly scores: readonly ScorePlugin[];
}

/** The filters of kube-scheduler in its order, then ours. */
const FILTERS: readonly FilterPlugin[] = [
  nodeUnschedulable,
  nodeName,
  taintToleration,
  nodeAffinity,
  nodePorts,
  nodeResourcesFit,
  volumeRestrictions,
  nodeVolumeLimits,
  volumeBinding,
  volumeZone,
  topologySpread,
  interPodAffinity,
  imageArchitecture,
];

const SCORES: readonly ScorePlugin[] = [
  leastAllocated,
  balancedAllocation,
  spreadPreference,
  podAffinityPreference,
  taintPreference,
  nodeAffinityPreference,
  imageLocality,
];

/** The plugins of the default scheduler. */
export function profileOf(measured: Measured): Profile {
  return {
    filters: measured === 'full' ? [...FILTERS, measuredDanger] : FILTERS,
    scores: measured === 'off' ? SCORES : [measuredLoad, ...SCORES],
  };
}
