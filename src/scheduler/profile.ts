import {
  nodeAffinity,
  nodeName,
  nodePorts,
  nodeResourcesFit,
  nodeUnschedulable,
  taintToleration,
} from './plugins/filters.ts';
import type { FilterPlugin, ScorePlugin } from './plugins/plugin.ts';
import {
  balancedAllocation,
  controllerSpread,
  leastAllocated,
  measuredLoad,
  nodeAffinityPreference,
  taintPreference,
} from './plugins/scores.ts';

/** The plugins of the default scheduler; filters run in this order, which is kube-scheduler's. */
export const DEFAULT_FILTERS: readonly FilterPlugin[] = [
  nodeUnschedulable,
  nodeName,
  taintToleration,
  nodeAffinity,
  nodePorts,
  nodeResourcesFit,
];

export const DEFAULT_SCORES: readonly ScorePlugin[] = [
  measuredLoad,
  leastAllocated,
  balancedAllocation,
  controllerSpread,
  taintPreference,
  nodeAffinityPreference,
];
