import { join } from 'node:path';
import type { JsonObject } from '../../api/object.ts';
import { podLimits, podRequests } from '../../api/pod-resources.ts';
import { milliUnits, parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import { type QosClass, qosClass } from './qos.ts';

/**
 * Control groups between the machine's and the containers': one for all pods, one for each QoS class but Guaranteed, one
 * for each pod. Where the machine or the engine does not let them be, `parent` gives undefined and the rest does nothing.
 */
export interface PodCgroups {
  /** Makes the pod's group with its limits. Returns Docker's CgroupParent for the pod's containers. */
  prepare(pod: Pod): Promise<string | undefined>;
  /** The same group's name, without touching it. */
  parent(pod: Pod): Promise<string | undefined>;
  /** The pod lives on from an earlier agent: its group stands as it is. */
  adopt(pod: Pod): void;
  /** Raises limits that are below the pod's now, lowers none: before its containers grow. */
  grow(pod: Pod): Promise<void>;
  /** Sets the limits to the pod's as they are now. */
  apply(pod: Pod): Promise<void>;
  /** Takes the group away when the pod's containers are gone. Idempotent. */
  remove(podUid: string): Promise<void>;
}

export type CgroupDriver = 'cgroupfs' | 'systemd';
export type CgroupVersion = 1 | 2;

const ROOT = 'kubepods';
const PERIOD_US = 100_000;
const LEAST_QUOTA_US = 1_000;
const LEAST_SHARES = 2;
const MOST_SHARES = 262_144;

/** A group by its names from the top: `['kubepods', 'burstable', 'pod<uid>']`. */
export type CgroupPath = readonly string[];

export const ALL_PODS: CgroupPath = [ROOT];

/** The group of a QoS class; Guaranteed pods stand beside the groups of the other classes. */
export function qosCgroup(qos: QosClass): CgroupPath {
  return qos === 'Guaranteed' ? ALL_PODS : [ROOT, qos.toLowerCase()];
}

export function podCgroup(uid: string, qos: QosClass): CgroupPath {
  return [...qosCgroup(qos), `pod${uid}`];
}

/** As Docker takes it: a path for cgroupfs, the name of a slice for systemd, in which dashes separate levels. */
export function cgroupParent(path: CgroupPath, driver: CgroupDriver): string {
  if (driver === 'cgroupfs') return `/${path.join('/')}`;
  return `${path.map((name) => name.replaceAll('-', '_')).join('-')}.slice`;
}

/** Its directory below the root of a hierarchy. */
export function cgroupDirectory(path: CgroupPath, driver: CgroupDriver): string {
  if (driver === 'cgroupfs') return join(...path);
  return join(...path.map((_, index) => cgroupParent(path.slice(0, index + 1), 'systemd')));
}

export interface CgroupLimits {
  cpuShares: number;
  /** Microseconds per 100 ms; absent: not limited. */
  cpuQuotaUs?: number;
  memoryBytes?: number;
}

export function qosOf(pod: Pod): QosClass {
  return pod.status?.qosClass ?? qosClass(pod);
}

/** A pod is limited as a whole where it says so, or where every container of it is limited. */
export function limitsWhole(spec: Pod['spec'], name: 'cpu' | 'memory'): boolean {
  const containers = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
  return (
    spec?.resources?.limits?.[name] !== undefined ||
    containers.every(({ resources }) => {
      const limit = resources?.limits?.[name];
      return limit !== undefined && parseQuantity(limit).nano > 0n;
    })
  );
}

export function podCgroupLimits(pod: Pod): CgroupLimits {
  const spec = (pod.spec ?? { containers: [] }) as unknown as JsonObject;
  if (qosOf(pod) === 'BestEffort') return { cpuShares: LEAST_SHARES };
  const requests = podRequests(spec);
  const limits = podLimits(spec);
  const cpu = limits.get('cpu');
  const memory = limits.get('memory');
  const cpuRequest = requests.get('cpu');
  return {
    cpuShares: sharesOf(cpuRequest ? milliUnits(cpuRequest) : 0),
    ...(cpu && limitsWhole(pod.spec, 'cpu')
      ? { cpuQuotaUs: Math.max((milliUnits(cpu) * PERIOD_US) / 1000, LEAST_QUOTA_US) }
      : {}),
    ...(memory && limitsWhole(pod.spec, 'memory') ? { memoryBytes: wholeUnits(memory) } : {}),
  };
}

export function sharesOf(milli: number): number {
  return Math.min(Math.max(Math.floor((milli * 1024) / 1000), LEAST_SHARES), MOST_SHARES);
}

/** A file of a group and what belongs into it. In version 1 each controller has a hierarchy of its own. */
export interface CgroupFile {
  controller: 'cpu' | 'memory';
  name: string;
  value: string;
}

export function limitFiles(limits: CgroupLimits, version: CgroupVersion): CgroupFile[] {
  const { cpuShares, cpuQuotaUs, memoryBytes } = limits;
  if (version === 1) {
    return [
      { controller: 'cpu', name: 'cpu.shares', value: String(cpuShares) },
      { controller: 'cpu', name: 'cpu.cfs_period_us', value: String(PERIOD_US) },
      { controller: 'cpu', name: 'cpu.cfs_quota_us', value: String(cpuQuotaUs ?? -1) },
      { controller: 'memory', name: 'memory.limit_in_bytes', value: String(memoryBytes ?? -1) },
    ];
  }
  return [
    { controller: 'cpu', name: 'cpu.weight', value: String(weightOf(cpuShares)) },
    { controller: 'cpu', name: 'cpu.max', value: `${cpuQuotaUs ?? 'max'} ${PERIOD_US}` },
    { controller: 'memory', name: 'memory.max', value: String(memoryBytes ?? 'max') },
  ];
}

/** Properties of a slice, for `systemctl set-property`. */
export function sliceProperties(limits: CgroupLimits, version: CgroupVersion): string[] {
  const { cpuShares, cpuQuotaUs, memoryBytes } = limits;
  const quota = cpuQuotaUs === undefined ? '' : `${(cpuQuotaUs * 100) / PERIOD_US}%`;
  return [
    version === 1 ? `CPUShares=${cpuShares}` : `CPUWeight=${weightOf(cpuShares)}`,
    `CPUQuota=${quota}`,
    `${version === 1 ? 'MemoryLimit' : 'MemoryMax'}=${memoryBytes ?? 'infinity'}`,
  ];
}

/** The larger of each: no limit is more than any. */
export function largerLimits(left: CgroupLimits, right: CgroupLimits): CgroupLimits {
  const { cpuQuotaUs, memoryBytes } = left;
  return {
    cpuShares: Math.max(left.cpuShares, right.cpuShares),
    ...(cpuQuotaUs !== undefined && right.cpuQuotaUs !== undefined
      ? { cpuQuotaUs: Math.max(cpuQuotaUs, right.cpuQuotaUs) }
      : {}),
    ...(memoryBytes !== undefined && right.memoryBytes !== undefined
      ? { memoryBytes: Math.max(memoryBytes, right.memoryBytes) }
      : {}),
  };
}

/** Shares of version 1 on the scale of version 2, as runc converts them. */
function weightOf(shares: number): number {
  return 1 + Math.floor(((shares - 2) * 9999) / 262_142);
}

/** A uid becomes part of a path: what is no name of a directory is refused. */
export function isCgroupName(uid: string): boolean {
  return /^[0-9A-Za-z-]+$/.test(uid);
}
