import { parseQuantity, wholeUnits } from '../api/quantity.ts';
import type { Node, Pod, Taint } from '../api/types/core-v1.ts';
import { sameJson } from '../lib/equal.ts';
import { type PodInfo, podInfo, type Resources, resourcesFrom } from './pod-info.ts';

/** A placement counts against the measurements for this long: until its load shows in them. */
const SETTLING_MS = 60_000;
/** More than these are not remembered per node. */
const MOST_RECENT = 64;

interface Placement {
  at: number;
  cpu: number;
  memory: number;
}

/** A node with the sum of what is on it, kept up to date pod by pod. */
export class NodeInfo {
  readonly name: string;
  /** Undefined for a node that pods are bound to but that is not (or no longer) there. */
  node: Node | undefined;
  allocatable: Resources = { cpu: 0, memory: 0, ephemeral: 0, others: undefined };
  allowedPods = 0;
  taints: readonly Taint[] = [];
  unschedulable = false;
  labels: Readonly<Record<string, string>> = {};

  readonly pods = new Map<string, PodInfo>();
  cpu = 0;
  memory = 0;
  ephemeral = 0;
  nonZeroCpu = 0;
  nonZeroMemory = 0;
  readonly others = new Map<string, number>();
  /** `protocol/port` to the addresses in use. */
  readonly ports = new Map<string, string[]>();
  readonly controllers = new Map<string, number>();
  private recent: Placement[] = [];

  constructor(name: string) {
    this.name = name;
  }

  setNode(node: Node | undefined): void {
    this.node = node;
    const allocatable = node?.status?.allocatable;
    this.allocatable = resourcesFrom(allocatable);
    this.allowedPods = allocatable?.pods === undefined ? 0 : wholeUnits(parseQuantity(allocatable.pods));
    this.taints = node?.spec?.taints ?? [];
    this.unschedulable = node?.spec?.unschedulable ?? false;
    this.labels = node?.metadata.labels ?? {};
  }

  add(info: PodInfo): void {
    if (this.pods.has(info.uid)) return;
    this.pods.set(info.uid, info);
    this.count(info, 1);
    for (const { protocol, port, ip } of info.hostPorts) {
      const key = `${protocol}/${port}`;
      this.ports.set(key, [...(this.ports.get(key) ?? []), ip]);
    }
  }

  remove(uid: string): void {
    const info = this.pods.get(uid);
    if (!info) return;
    this.pods.delete(uid);
    this.count(info, -1);
    for (const { protocol, port, ip } of info.hostPorts) {
      const key = `${protocol}/${port}`;
      const left = [...(this.ports.get(key) ?? [])];
      left.splice(left.indexOf(ip), 1);
      if (left.length === 0) this.ports.delete(key);
      else this.ports.set(key, left);
    }
  }

  /** The scheduler placed a pod here just now; its load does not show in the measurements yet. */
  placed(info: PodInfo, now: number): void {
    this.recent.push({ at: now, cpu: info.nonZeroCpu, memory: info.nonZeroMemory });
    if (this.recent.length > MOST_RECENT) this.recent.shift();
  }

  /** CPU (thousandths) and memory that recent placements will take. */
  settling(now: number): { cpu: number; memory: number } {
    const sum = { cpu: 0, memory: 0 };
    if (this.recent.length === 0) return sum;
    this.recent = this.recent.filter(({ at }) => now - at < SETTLING_MS);
    for (const { cpu, memory } of this.recent) {
      sum.cpu += cpu;
      sum.memory += memory;
    }
    return sum;
  }

  private count(info: PodInfo, sign: 1 | -1): void {
    const { requests, controller } = info;
    this.cpu += sign * requests.cpu;
    this.memory += sign * requests.memory;
    this.ephemeral += sign * requests.ephemeral;
    this.nonZeroCpu += sign * info.nonZeroCpu;
    this.nonZeroMemory += sign * info.nonZeroMemory;
    if (requests.others) {
      for (const [name, value] of requests.others) {
        this.others.set(name, (this.others.get(name) ?? 0) + sign * value);
      }
    }
    if (controller === undefined) return;
    const left = (this.controllers.get(controller) ?? 0) + sign;
    if (left > 0) this.controllers.set(controller, left);
    else this.controllers.delete(controller);
  }
}

/** The cluster as the scheduler sees it: published state and its own decisions that are on their way. */
export class Snapshot {
  private readonly infos = new Map<string, NodeInfo>();
  private readonly whereIs = new Map<string, NodeInfo>();
  private sorted: NodeInfo[] | undefined;

  /** Nodes that exist, by name; a stable order, so that equal input gives equal decisions. */
  get nodes(): readonly NodeInfo[] {
    this.sorted ??= [...this.infos.values()]
      .filter((info) => info.node !== undefined)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return this.sorted;
  }

  get(name: string): NodeInfo | undefined {
    return this.infos.get(name);
  }

  setNode(node: Node): void {
    const name = node.metadata.name ?? '';
    const info = this.infoOf(name);
    if (info.node === undefined) this.sorted = undefined;
    info.setNode(node);
  }

  removeNode(name: string): void {
    const info = this.infos.get(name);
    if (!info) return;
    info.setNode(undefined);
    this.sorted = undefined;
    if (info.pods.size === 0) this.infos.delete(name);
  }

  /** Enters a pod on its node, or moves or refreshes it. Pods that ended or have no node leave. */
  setPod(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    const node = pod.spec?.nodeName;
    const ended = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (!node || ended) {
      this.removePod(uid);
      return;
    }
    const current = this.whereIs.get(uid);
    const known = current?.pods.get(uid);
    // A new status changes nothing that is counted here.
    if (current?.name === node && known && sameForScheduling(known.pod, pod)) {
      current.pods.set(uid, { ...known, pod });
      return;
    }
    this.removePod(uid);
    this.enter(podInfo(pod), node);
  }

  holds(uid: string): boolean {
    return this.whereIs.has(uid);
  }

  /** The scheduler's own decision, before it is published. */
  assume(info: PodInfo, node: string, now: number): void {
    this.removePod(info.uid);
    this.enter(info, node);
    this.infoOf(node).placed(info, now);
  }

  removePod(uid: string): void {
    const info = this.whereIs.get(uid);
    if (!info) return;
    this.whereIs.delete(uid);
    info.remove(uid);
    if (info.node === undefined && info.pods.size === 0) this.infos.delete(info.name);
  }

  private enter(info: PodInfo, node: string): void {
    const target = this.infoOf(node);
    target.add(info);
    this.whereIs.set(info.uid, target);
  }

  private infoOf(name: string): NodeInfo {
    let info = this.infos.get(name);
    if (!info) {
      info = new NodeInfo(name);
      this.infos.set(name, info);
    }
    return info;
  }
}

function sameForScheduling(a: Pod, b: Pod): boolean {
  return sameJson(a.spec, b.spec) && sameJson(a.metadata.labels, b.metadata.labels);
}
