import type { BoardMeasurements } from '../../api/board.ts';
import { matchesTerm } from '../../api/node-selector.ts';
import { tolerates } from '../../api/tolerations.ts';
import type { PodInfo } from '../pod-info.ts';
import type { NodeInfo } from '../snapshot.ts';
import { HIGHEST_SCORE, type NodeScore, type ScorePlugin } from './plugin.ts';

/** Degrees Celsius from which on a board loses points, and at which it has none left: where a Raspberry Pi throttles. */
const WARM = 65;
const HOT = 80;
/** What is left of a board's score while it throttles. */
const THROTTLED = 0.5;

/**
 * What the board itself measures: the share of CPU and of memory that is really free, less what recent placements will
 * take, lowered by heat. Boards without a fresh measurement are judged by their requests, so that they are neither
 * preferred nor shunned.
 */
export const measuredLoad: ScorePlugin = {
  name: 'MeasuredLoad',
  weight: 3,
  prepare(info, _feasible, { readings, now }) {
    return (node) => {
      const reading = readings.of(node.name);
      return reading ? measured(info, node, reading, now) : allocated(info, node);
    };
  },
};

function measured(info: PodInfo, node: NodeInfo, reading: BoardMeasurements, now: number): number {
  const settling = node.settling(now);
  const { cpu: cores, memory: bytes } = node.allocatable;
  const cpuTaken = cores > 0 ? (settling.cpu + info.nonZeroCpu) / cores : 0;
  const memoryTaken = settling.memory + info.nonZeroMemory;
  const cpu = 1 - reading.cpu - cpuTaken;
  const total = reading.memTotal > 0 ? reading.memTotal : bytes;
  const memory = total > 0 ? (reading.memAvailable - memoryTaken) / total : 0;
  const cooling = reading.temperature === undefined ? 1 : 1 - (reading.temperature - WARM) / (HOT - WARM);
  const heat = Math.max(0, Math.min(1, cooling)) * (reading.throttled ? THROTTLED : 1);
  return (HIGHEST_SCORE * heat * (clamp(cpu) + clamp(memory))) / 2;
}

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

/** Fewer pods of the same controller on the node is better: the simple form of topology spread. */
export const controllerSpread: ScorePlugin = {
  name: 'PodTopologySpread',
  weight: 2,
  prepare({ controller }, feasible) {
    if (controller === undefined) return undefined;
    let most = 0;
    for (const node of feasible) most = Math.max(most, node.controllers.get(controller) ?? 0);
    if (most === 0) return undefined;
    return (node) => (HIGHEST_SCORE * (most - (node.controllers.get(controller) ?? 0))) / most;
  },
};

/** Fewer untolerated PreferNoSchedule taints is better. */
export const taintPreference: ScorePlugin = {
  name: 'TaintToleration',
  weight: 3,
  prepare({ pod }, feasible) {
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
