import type { FilterPlugin, Rejection, Situation } from './plugins/plugin.ts';
import type { PodInfo } from './pod-info.ts';
import type { Snapshot } from './snapshot.ts';

/** What these find out may be better with more pods about, not only worse. */
const SWAYED = new Set(['InterPodAffinity', 'PodTopologySpread']);

/** Pods for which room was made, or promised by hand, and that have no node yet: by uid. */
export class Nominations {
  private readonly byUid = new Map<string, { info: PodInfo; node: string }>();
  private readonly snapshot: Snapshot;

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot;
  }

  nodeOf(uid: string): string | undefined {
    return this.byUid.get(uid)?.node;
  }

  set(info: PodInfo, node: string): void {
    this.byUid.set(info.uid, { info, node });
  }

  delete(uid: string): void {
    this.byUid.delete(uid);
  }

  nodeGone(name: string): void {
    for (const [uid, { node }] of this.byUid) if (node === name) this.byUid.delete(uid);
  }

  /** The less important pods that were promised this node lose the promise to `info`. */
  displace(info: PodInfo, node: string): PodInfo[] {
    const displaced: PodInfo[] = [];
    for (const [uid, other] of this.byUid) {
      if (uid === info.uid || other.node !== node || other.info.priority >= info.priority) continue;
      this.byUid.delete(uid);
      displaced.push(other.info);
    }
    return displaced;
  }

  /**
   * A decision about `info` with the others' promised room taken: it is not given to a less important pod. As a promised
   * pod may never come, no node may fit because of one either: what could be swayed by it has to pass without it, too.
   */
  beside<T>(
    info: PodInfo,
    situation: Situation,
    filters: readonly FilterPlugin[],
    work: (filters: readonly FilterPlugin[]) => T,
  ): T {
    const reserved: { other: PodInfo; node: string }[] = [];
    for (const [uid, { info: other, node }] of this.byUid) {
      if (uid === info.uid || other.priority < info.priority || this.snapshot.holds(uid)) continue;
      reserved.push({ other, node });
    }
    if (reserved.length === 0) return work(filters);
    const both = filters.map((plugin) =>
      SWAYED.has(plugin.name) ? inBoth(plugin, info, situation) : plugin,
    );
    for (const { other, node } of reserved) this.snapshot.get(node)?.putBack(other);
    try {
      return work(both);
    } finally {
      for (const { other, node } of reserved) this.snapshot.get(node)?.lift(other);
    }
  }
}

/** The plugin, refusing also what it refuses now. */
function inBoth(plugin: FilterPlugin, info: PodInfo, situation: Situation): FilterPlugin {
  const alone = plugin.prepare(info, situation);
  if (typeof alone !== 'function') return plugin;
  const refused = new Map<string, Rejection>();
  for (const node of situation.snapshot.nodes) {
    const rejection = alone(node);
    if (rejection) refused.set(node.name, rejection);
  }
  if (refused.size === 0) return plugin;
  return {
    ...plugin,
    prepare: (pod, then) => {
      const together = plugin.prepare(pod, then);
      if (together !== undefined && typeof together !== 'function') return together;
      return (node) => together?.(node) ?? refused.get(node.name);
    },
  };
}
