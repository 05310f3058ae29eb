import { formatQuantity, milliUnits, parseQuantity, wholeUnits } from '../api/quantity.ts';
import { type Threshold, unitsOf } from '../health/thresholds.ts';

/** What the board has: cores, bytes, pods. */
export interface BoardCapacity {
  cores: number;
  memory: number;
  storage: number;
  pods: number;
}

export interface Reservation {
  resource: string;
  quantity: string;
}

const MIB = 1024 * 1024;
/**
 * What the system gets when nobody has said otherwise: a tenth of the memory. The kernel, Docker and sshd of a board
 * with 1 GB take about that; without it its pods are promised what is not there.
 */
const SYSTEM_SHARE = 0.1;
const LEAST_SYSTEM = 64 * MIB;
const MOST_SYSTEM = 256 * MIB;

/**
 * Capacity and allocatable as a Node tells them. As the kubelet computes it, pods get what is left of the capacity after
 * the reservations and after what the hard thresholds keep free: it would be taken from them again. Pure.
 */
export function nodeResources(
  capacity: BoardCapacity,
  reserved: { kube: readonly Reservation[]; system: readonly Reservation[] },
  thresholds: readonly Threshold[],
): { capacity: Record<string, string>; allocatable: Record<string, string> } {
  const system = reserved.system.length > 0 ? reserved.system : defaultSystem(capacity.memory);
  const taken = (resource: string, unit: typeof wholeUnits): number =>
    [...reserved.kube, ...system]
      .filter((each) => each.resource === resource)
      .reduce((sum, { quantity }) => sum + unit(parseQuantity(quantity)), 0);
  const kept = (signal: Threshold['signal'], whole: number): number => {
    const hard = thresholds.find((each) => each.signal === signal && each.graceMs === undefined);
    return hard ? unitsOf(hard.least, whole) : 0;
  };
  const { cores, memory, storage, pods } = capacity;
  return {
    capacity: amounts(cores * 1000, memory, storage, pods),
    allocatable: amounts(
      Math.max(0, cores * 1000 - taken('cpu', milliUnits)),
      Math.max(0, memory - taken('memory', wholeUnits) - kept('memory.available', memory)),
      Math.max(0, storage - taken('ephemeral-storage', wholeUnits) - kept('nodefs.available', storage)),
      pods,
    ),
  };
}

function defaultSystem(memory: number): readonly Reservation[] {
  const bytes = Math.min(MOST_SYSTEM, Math.max(LEAST_SYSTEM, Math.floor(memory * SYSTEM_SHARE)));
  return [{ resource: 'memory', quantity: String(bytes) }];
}

function amounts(milliCores: number, memory: number, storage: number, pods: number): Record<string, string> {
  return {
    cpu: formatQuantity({ nano: BigInt(milliCores) * 1_000_000n, format: 'DecimalSI' }),
    'ephemeral-storage': `${Math.floor(storage / 1024)}Ki`,
    memory: `${Math.floor(memory / 1024)}Ki`,
    pods: String(pods),
  };
}
