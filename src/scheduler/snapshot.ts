import type { Node, Pod } from '../api/types/core-v1.ts';
import { sameJson } from '../lib/equal.ts';
import { NodeInfo } from './node-info.ts';
import { PodIndex } from './pod-index.ts';
import { type PodInfo, podInfo } from './pod-info.ts';

export { NodeInfo } from './node-info.ts';

const ZONE = 'topology.kubernetes.io/zone';

/**
 * The cluster as the scheduler sees it: published state and its own decisions that are on their way. Every change is
 * entered once; nothing is copied for a decision. Times are monotonic milliseconds.
 */
export class Snapshot {
  readonly index: PodIndex;
  private readonly infos = new Map<string, NodeInfo>();
  private readonly whereIs = new Map<string, NodeInfo>();
  private readonly namespaces = new Map<string, Readonly<Record<string, string>>>();
  /** On how many nodes an image is. */
  private readonly images = new Map<string, number>();
  private ordered: NodeInfo[] | undefined;

  constructor() {
    this.index = new PodIndex({
      namespaceLabels: (name) => this.namespaces.get(name),
      nodes: () => this.infos.values(),
    });
  }

  /**
   * Nodes that exist, in a stable order (equal input gives equal decisions): one of each zone in turn, so that a sample
   * of them holds all zones.
   */
  get nodes(): readonly NodeInfo[] {
    this.ordered ??= inTurn([...this.infos.values()].filter((info) => info.node !== undefined));
    return this.ordered;
  }

  get(name: string): NodeInfo | undefined {
    return this.infos.get(name);
  }

  setNode(node: Node): void {
    const info = this.infoOf(node.metadata.name ?? '');
    const before = info.node;
    if (before?.status?.images !== node.status?.images) this.countImages(before, node);
    info.setNode(node);
    const labels = !before || !sameJson(before.metadata.labels, node.metadata.labels);
    if (labels) this.ordered = undefined;
    if (labels || !sameJson(before.spec?.taints, node.spec?.taints)) this.index.nodesChanged();
  }

  removeNode(name: string): void {
    const info = this.infos.get(name);
    if (!info) return;
    this.countImages(info.node, undefined);
    info.setNode(undefined);
    this.ordered = undefined;
    this.index.nodesChanged();
    if (info.pods.size === 0) this.infos.delete(name);
  }

  setNamespace(name: string, labels: Readonly<Record<string, string>> | undefined): void {
    if (labels && sameJson(this.namespaces.get(name), labels)) return;
    if (labels) this.namespaces.set(name, labels);
    else this.namespaces.delete(name);
    this.index.namespacesChanged();
  }

  /** The share of all nodes that hold this image. */
  imageSpread(image: string): number {
    return (this.images.get(image) ?? 0) / Math.max(1, this.nodes.length);
  }

  /** Enters a pod on its node, or moves or refreshes it. Pods that ended or have no node leave. */
  setPod(pod: Pod, now: number): void {
    const uid = pod.metadata.uid ?? '';
    const node = pod.spec?.nodeName;
    const ended = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (!node || ended) {
      this.removePod(uid, now);
      return;
    }
    const current = this.whereIs.get(uid);
    const known = current?.pods.get(uid);
    // A new status changes nothing that is counted here, unless the pod is being resized.
    if (current?.name === node && known && sameForScheduling(known.pod, pod)) {
      current.refresh({ ...known, pod }, now);
      return;
    }
    this.removePod(uid, now);
    this.enter(podInfo(pod), node, now);
  }

  holds(uid: string): boolean {
    return this.whereIs.has(uid);
  }

  nodeOf(uid: string): NodeInfo | undefined {
    return this.whereIs.get(uid);
  }

  /** The scheduler's own decision, before it is published. */
  assume(info: PodInfo, node: string, now: number): void {
    this.removePod(info.uid, now);
    this.enter(info, node, now);
  }

  removePod(uid: string, now: number): void {
    const info = this.whereIs.get(uid);
    if (!info) return;
    this.whereIs.delete(uid);
    info.remove(uid, now);
    if (info.node === undefined && info.pods.size === 0) this.infos.delete(info.name);
  }

  private enter(info: PodInfo, node: string, now: number): void {
    const target = this.infoOf(node);
    target.add(info, now);
    this.whereIs.set(info.uid, target);
  }

  private infoOf(name: string): NodeInfo {
    let info = this.infos.get(name);
    if (!info) {
      info = new NodeInfo(name, this.index);
      this.infos.set(name, info);
    }
    return info;
  }

  private countImages(before: Node | undefined, after: Node | undefined): void {
    for (const [node, by] of [
      [before, -1],
      [after, 1],
    ] as const) {
      for (const { names = [] } of node?.status?.images ?? []) {
        for (const name of names) {
          const count = (this.images.get(name) ?? 0) + by;
          if (count > 0) this.images.set(name, count);
          else this.images.delete(name);
        }
      }
    }
  }
}

function sameForScheduling(a: Pod, b: Pod): boolean {
  return (
    (a.spec === b.spec || sameJson(a.spec, b.spec)) &&
    (a.metadata.labels === b.metadata.labels || sameJson(a.metadata.labels, b.metadata.labels)) &&
    (a.metadata.deletionTimestamp === undefined) === (b.metadata.deletionTimestamp === undefined) &&
    sameJson(heldOf(a), heldOf(b))
  );
}

/** What a resize that is under way changes in the status: see podInfo. */
function heldOf({ status }: Pod): unknown[] {
  const held: unknown[] = [status?.allocatedResources, status?.resources];
  for (const { allocatedResources, resources } of [
    ...(status?.containerStatuses ?? []),
    ...(status?.initContainerStatuses ?? []),
  ]) {
    if (allocatedResources) held.push(allocatedResources, resources?.requests);
  }
  const pending = status?.conditions?.find(({ type }) => type === 'PodResizePending');
  if (pending) held.push(pending.reason);
  return held;
}

function inTurn(nodes: NodeInfo[]): NodeInfo[] {
  nodes.sort((a, b) => (a.name < b.name ? -1 : 1));
  const zones = new Map<string, NodeInfo[]>();
  for (const node of nodes) {
    const zone = node.labels[ZONE] ?? '';
    const members = zones.get(zone);
    if (members) members.push(node);
    else zones.set(zone, [node]);
  }
  if (zones.size <= 1) return nodes;
  const lists = [...zones.values()];
  const ordered: NodeInfo[] = [];
  for (let round = 0; ordered.length < nodes.length; round += 1) {
    for (const list of lists) {
      const node = list[round];
      if (node) ordered.push(node);
    }
  }
  return ordered;
}
