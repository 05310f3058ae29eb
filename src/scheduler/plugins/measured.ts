// What boards measure of themselves. docs/scheduling.md states the formulas; change both.
import type { BoardMeasurements } from '../../api/board.ts';
import { DISK_FLOOR_SHARE, diskFull, memoryFloor, tooHot } from '../../api/board-limits.ts';
import type { PodInfo } from '../pod-info.ts';
import type { NodeInfo } from '../snapshot.ts';
import { type FilterPlugin, HIGHEST_SCORE, never, notNow, type ScorePlugin } from './plugin.ts';

/** Degrees Celsius from which on a board counts as smaller, and where nothing of it is left: a Raspberry Pi throttles. */
const WARM = 65;
const HOT = 80;
/** What is left of a board's CPU while it throttles or lacks voltage. */
const THROTTLED = 0.25;
/** Share of the disk from which on a board counts for less. */
const DISK_TIGHT = 0.2;

type Reading = BoardMeasurements & { readonly at: number };

/** Bytes that a pod would find on the board above what stays free; recent placements are taken off. */
export function freeMemory(node: NodeInfo, reading: Reading, now: number): number {
  return (
    reading.memAvailable - node.settling.memory(now, reading.at) - memoryFloor(reading, node.annotations)
  );
}

/** Keeps pods off boards that are about to run out of memory or disk, or to switch themselves off. */
export const measuredDanger: FilterPlugin = {
  name: 'MeasuredDanger',
  helpedBy: ['node-added', 'pod-gone', 'board-relief'],
  prepare(info, { readings, now }) {
    // A pod that tolerates pressure (a DaemonSet's) is to run whatever the board's state.
    const tolerated = (key: string): boolean =>
      info.pod.spec?.tolerations?.some(
        (one) =>
          (one.operator === 'Exists' && (!one.key || one.key === key)) ||
          (one.key === key && (one.operator ?? 'Equal') === 'Equal' && !one.value),
      ) ?? false;
    const byMemory = !tolerated('node.kubernetes.io/memory-pressure');
    const byDisk = !tolerated('node.kubernetes.io/disk-pressure');
    const hot = never('node(s) measured too high a temperature');
    const memory = notNow('node(s) measured too little available memory');
    const disk = never('node(s) measured too little available disk space');
    return (node) => {
      const reading = readings.of(node.name);
      if (!reading) return undefined;
      if (tooHot(reading, node.annotations)) return hot;
      if (byDisk && diskFull(reading)) return disk;
      if (byMemory && reading.memTotal > 0 && freeMemory(node, reading, now) < info.expectedMemory)
        return memory;
      return undefined;
    };
  },
};

/**
 * Fills what is really free on all boards to the same share, so that each receives pods in proportion to it. Boards
 * without a fresh measurement are judged by requests, by the same rule, so that they are neither preferred nor shunned.
 */
export const measuredLoad: ScorePlugin = {
  name: 'MeasuredLoad',
  weight: 3,
  measures: true,
  prepare(info, _feasible, { readings, now }) {
    return (node) => {
      const reading = readings.of(node.name);
      return reading ? measured(info, node, reading, now) : requested(info, node);
    };
  },
};

function measured(info: PodInfo, node: NodeInfo, reading: Reading, now: number): number {
  const { settling } = node;
  const cpu = node.allocatable.cpu * (1 - reading.cpu) * coolness(reading);
  const memory = reading.memAvailable - memoryFloor(reading, node.annotations);
  const share = Math.max(
    filled(settling.cpu(now, reading.at) + info.nonZeroCpu, cpu),
    reading.memTotal > 0 ? filled(settling.memory(now, reading.at) + info.expectedMemory, memory) : 0,
  );
  return HIGHEST_SCORE * (1 - share) * roominess(reading);
}

function requested(info: PodInfo, { allocatable, nonZeroCpu, nonZeroMemory }: NodeInfo): number {
  const share = Math.max(
    filled(info.nonZeroCpu, allocatable.cpu - nonZeroCpu),
    filled(info.nonZeroMemory, allocatable.memory - nonZeroMemory),
  );
  return HIGHEST_SCORE * (1 - share);
}

function filled(taken: number, free: number): number {
  if (taken <= 0) return 0;
  return free <= taken ? 1 : taken / free;
}

/** 1 for a cool board, 0 for one at the point of throttling. */
function coolness({ temperature, throttled }: Reading): number {
  const cool = temperature === undefined ? 1 : clamp((HOT - temperature) / (HOT - WARM));
  return throttled ? cool * THROTTLED : cool;
}

function roominess({ diskTotal, diskAvailable }: Reading): number {
  if (diskTotal <= 0) return 1;
  return clamp((diskAvailable / diskTotal - DISK_FLOOR_SHARE) / (DISK_TIGHT - DISK_FLOOR_SHARE));
}

const clamp = (fraction: number): number => Math.max(0, Math.min(1, fraction));
