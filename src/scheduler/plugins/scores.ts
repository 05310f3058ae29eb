import { matchesTerm } from '../../api/node-selector.ts';
import { tolerates } from '../../api/tolerations.ts';
import type { PodInfo } from '../pod-info.ts';
import type { NodeInfo } from '../snapshot.ts';
import { HIGHEST_SCORE, type NodeScore, type ScorePlugin } from './plugin.ts';

const clamp = (fraction: number): number => Math.max(0, Math.min(1, fraction));

/** Share of CPU and memory that is not requested, with the pod in place (LeastAllocated). */
function allocated(info: PodInfo, node: NodeInfo): number {
  const { cpu, memory } = node.allocatable;
  const freeCpu = cpu > 0 ? clamp(1 - (node.nonZeroCpu + info.nonZeroCpu) / cpu) : 0;
  const freeMemory = memory > 0 ? clamp(1 - (node.nonZeroMemory + info.nonZeroMemory) / memory) : 0;
  return (HIGHEST_SCORE * (freeCpu + freeMemory)) / 2;
}

export const leastAllocated: ScorePlugin = {
  name: 'NodeResourcesFit',
  weight: 1,
  prepare: (info) => (node) => allocated(info, node),
};

/** Prefers nodes on which CPU and memory are used alike. */
export const balancedAllocation: ScorePlugin = {
  name: 'NodeResourcesBalancedAllocation',
  weight: 1,
  prepare: (info) => (node) => {
    const { cpu, memory } = node.allocatable;
    if (cpu === 0 || memory === 0) return 0;
    const usedCpu = Math.min(1, (node.cpu + info.requests.cpu) / cpu);
    const usedMemory = Math.min(1, (node.memory + info.requests.memory) / memory);
    return HIGHEST_SCORE * (1 - Math.abs(usedCpu - usedMemory) / 2);
  },
};

/** Fewer untolerated PreferNoSchedule taints is better. */
export const taintPreference: ScorePlugin = {
  name: 'TaintToleration',
  weight: 3,
  prepare({ pod }, feasible) {
    if (!feasible.some(({ taints }) => taints.length > 0)) return undefined;
    const tolerations = (pod.spec?.tolerations ?? []).filter(
      ({ effect }) => !effect || effect === 'PreferNoSchedule',
    );
    const count = (node: NodeInfo): number => {
      let untolerated = 0;
      for (const taint of node.taints) {
        if (taint.effect !== 'PreferNoSchedule') continue;
        if (!tolerations.some((toleration) => tolerates(toleration, taint))) untolerated += 1;
      }
      return untolerated;
    };
    return spreadOut(feasible, count, true);
  },
};

/** The sum of the weights of preferred node affinity terms that match. */
export const nodeAffinityPreference: ScorePlugin = {
  name: 'NodeAffinity',
  weight: 2,
  prepare({ pod }, feasible) {
    const terms = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution;
    if (!terms?.length) return undefined;
    const sum = (node: NodeInfo): number => {
      let weights = 0;
      for (const { preference, weight } of terms) {
        if (matchesTerm(preference, node)) weights += weight;
      }
      return weights;
    };
    return spreadOut(feasible, sum, false);
  },
};

/** Spreads raw scores over 0..100 by the highest one (DefaultNormalizeScore). */
function spreadOut(
  feasible: readonly NodeInfo[],
  raw: (node: NodeInfo) => number,
  reverse: boolean,
): NodeScore | undefined {
  let highest = 0;
  for (const node of feasible) highest = Math.max(highest, raw(node));
  if (highest === 0) return undefined;
  return (node) => {
    const score = (HIGHEST_SCORE * raw(node)) / highest;
    return reverse ? HIGHEST_SCORE - score : score;
  };
}
