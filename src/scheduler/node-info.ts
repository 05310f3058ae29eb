import { parseQuantity, wholeUnits } from '../api/quantity.ts';
import type { Node, Taint } from '../api/types/core-v1.ts';
import type { PodIndex } from './pod-index.ts';
import { type PodInfo, type Resources, resourcesFrom } from './pod-info.ts';
import { Settling } from './settling.ts';

const NO_LABELS: Readonly<Record<string, string>> = {};

/** A node with the sum of what is on it, kept up to date pod by pod. */
export class NodeInfo {
  readonly name: string;
  /** Undefined for a node that pods are bound to but that is not (or no longer) there. */
  node: Node | undefined;
  allocatable: Resources = { cpu: 0, memory: 0, ephemeral: 0, others: undefined };
  allowedPods = 0;
  taints: readonly Taint[] = [];
  unschedulable = false;
  labels: Readonly<Record<string, string>> = NO_LABELS;
  annotations: Readonly<Record<string, string>> = NO_LABELS;
  /** Bytes of the images that are on the node, by each of their names. */
  images: ReadonlyMap<string, number> | undefined;

  readonly pods = new Map<string, PodInfo>();
  cpu = 0;
  memory = 0;
  ephemeral = 0;
  nonZeroCpu = 0;
  nonZeroMemory = 0;
  readonly others = new Map<string, number>();
  /** `protocol/port` to the addresses in use. */
  readonly ports = new Map<string, string[]>();
  /** Namespace and name of claims in use, to the number of pods. */
  readonly claims = new Map<string, number>();
  /** What the measurements do not show yet. */
  readonly settling = new Settling();
  private readonly index: PodIndex;

  constructor(name: string, index: PodIndex) {
    this.name = name;
    this.index = index;
  }

  setNode(node: Node | undefined): void {
    const before = this.node;
    this.node = node;
    const allocatable = node?.status?.allocatable;
    if (!before || before.status?.allocatable !== allocatable) {
      this.allocatable = resourcesFrom(allocatable);
      this.allowedPods = allocatable?.pods === undefined ? 0 : wholeUnits(parseQuantity(allocatable.pods));
    }
    this.taints = node?.spec?.taints ?? [];
    this.unschedulable = node?.spec?.unschedulable ?? false;
    this.labels = node?.metadata.labels ?? NO_LABELS;
    this.annotations = node?.metadata.annotations ?? NO_LABELS;
    if (before?.status?.images !== node?.status?.images) {
      const images = node?.status?.images ?? [];
      this.images =
        images.length === 0
          ? undefined
          : new Map(
              images.flatMap(({ names = [], sizeBytes = 0 }) =>
                names.map((name): [string, number] => [name, Number(sizeBytes)]),
              ),
            );
    }
  }

  add(info: PodInfo, now: number): void {
    if (this.pods.has(info.uid)) return;
    this.enter(info);
    this.settling.came(info, now);
  }

  remove(uid: string, now: number): void {
    const info = this.pods.get(uid);
    if (!info) return;
    this.leave(info);
    this.settling.went(info, now);
  }

  /** A new status of a pod that is here. */
  refresh(info: PodInfo, now: number): void {
    this.pods.set(info.uid, info);
    this.settling.changed(info, now);
  }

  /** Thinks a pod away, for a question only; `putBack` ends it. */
  lift(info: PodInfo): void {
    if (!this.pods.has(info.uid)) return;
    this.leave(info);
    this.settling.supposed(info, -1);
  }

  /** Thinks a pod here, or takes back a `lift`. */
  putBack(info: PodInfo): void {
    if (this.pods.has(info.uid)) return;
    this.enter(info);
    this.settling.supposed(info, 1);
  }

  private enter(info: PodInfo): void {
    this.pods.set(info.uid, info);
    this.count(info, 1);
    for (const { protocol, port, ip } of info.hostPorts) {
      const key = `${protocol}/${port}`;
      this.ports.set(key, [...(this.ports.get(key) ?? []), ip]);
    }
    this.index.entered(this, info);
  }

  private leave(info: PodInfo): void {
    this.pods.delete(info.uid);
    this.count(info, -1);
    for (const { protocol, port, ip } of info.hostPorts) {
      const key = `${protocol}/${port}`;
      const left = [...(this.ports.get(key) ?? [])];
      left.splice(left.indexOf(ip), 1);
      if (left.length === 0) this.ports.delete(key);
      else this.ports.set(key, left);
    }
    this.index.left(this, info);
  }

  private count(info: PodInfo, sign: 1 | -1): void {
    const { requests } = info;
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
    for (const { name } of info.claims) {
      const key = `${info.pod.metadata.namespace}/${name}`;
      const left = (this.claims.get(key) ?? 0) + sign;
      if (left > 0) this.claims.set(key, left);
      else this.claims.delete(key);
    }
  }
}
