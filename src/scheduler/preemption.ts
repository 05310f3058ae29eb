import { unschedulableMessage } from './decide.ts';
import type { FilterPlugin, Situation } from './plugins/plugin.ts';
import type { PodInfo } from './pod-info.ts';
import type { NodeInfo } from './snapshot.ts';

export interface Preemption {
  /** The node to free, with the pods that have to go; undefined when that helps nowhere. */
  node: string | undefined;
  victims: readonly PodInfo[];
  /** `preemption: 0/3 nodes are available: …`, appended to the scheduling message. */
  message: string;
}

/** Would evicting a pod violate a disruption budget? Answered for one pod at a time. */
export type IsProtected = (pod: PodInfo) => boolean;

/**
 * Looks for a node that would take the pod if pods of lower priority went, and for the fewest of those. Pure. On every
 * candidate all lower ones are thought away, then brought back, protected and important ones first, as long as the pod
 * still fits. The choice follows kube-scheduler: fewest protected victims, lowest highest priority, lowest sum of
 * priorities, fewest victims, youngest.
 */
export function preempt(
  info: PodInfo,
  situation: Situation,
  options: {
    filters: readonly FilterPlugin[];
    /** From the decision: nodes where a removal can help at all. */
    resolvable: readonly string[];
    isProtected: IsProtected;
  },
): Preemption {
  const { nodes } = situation.snapshot;
  if (info.pod.spec?.preemptionPolicy === 'Never') {
    return {
      node: undefined,
      victims: [],
      message: 'preemption: not eligible due to preemptionPolicy=Never.',
    };
  }
  const refusals: { rejection: { reasons: string[]; unresolvable: boolean } }[] = [];
  const refuse = (reason: string): void => {
    refusals.push({ rejection: { reasons: [reason], unresolvable: true } });
  };
  const prepared = options.filters.flatMap((plugin) => plugin.prepare(info, situation) ?? []);
  const helpful = new Set(options.resolvable);
  let best: Candidate | undefined;
  for (const node of nodes) {
    if (!helpful.has(node.name)) {
      refuse('Preemption is not helpful for scheduling');
      continue;
    }
    const candidate = victimsOn(
      node,
      info,
      (target) => prepared.every((filter) => !filter(target)),
      options.isProtected,
    );
    if (!candidate) refuse('No preemption victims found for incoming pod');
    else if (!best || better(candidate, best)) best = candidate;
  }
  if (best) return { node: best.node, victims: best.victims, message: '' };
  return {
    node: undefined,
    victims: [],
    message: `preemption: ${unschedulableMessage(nodes.length, refusals)}`,
  };
}

interface Candidate {
  node: string;
  victims: PodInfo[];
  violations: number;
}

function victimsOn(
  node: NodeInfo,
  info: PodInfo,
  fits: (node: NodeInfo) => boolean,
  isProtected: IsProtected,
): Candidate | undefined {
  const lower = [...node.pods.values()].filter(
    (pod) => pod.priority < info.priority && pod.pod.metadata.deletionTimestamp === undefined,
  );
  if (lower.length === 0) return undefined;
  for (const pod of lower) node.remove(pod.uid);
  const victims: PodInfo[] = [];
  let violations = 0;
  let possible = false;
  try {
    possible = fits(node);
    if (possible) {
      const order = lower
        .map((pod) => ({ pod, guarded: isProtected(pod) }))
        .sort((a, b) => Number(b.guarded) - Number(a.guarded) || moreImportant(a.pod, b.pod));
      for (const { pod, guarded } of order) {
        node.add(pod);
        if (fits(node)) continue;
        node.remove(pod.uid);
        victims.push(pod);
        if (guarded) violations += 1;
      }
    }
  } finally {
    // The snapshot is as it was, whatever happened.
    for (const pod of lower) node.add(pod);
  }
  return possible && victims.length > 0 ? { node: node.name, victims, violations } : undefined;
}

function moreImportant(a: PodInfo, b: PodInfo): number {
  return b.priority - a.priority || startOf(a) - startOf(b);
}

function startOf({ pod }: PodInfo): number {
  return Date.parse(pod.status?.startTime ?? pod.metadata.creationTimestamp ?? '') || 0;
}

function better(a: Candidate, b: Candidate): boolean {
  const highest = (candidate: Candidate): number => Math.max(...candidate.victims.map((pod) => pod.priority));
  const sum = (candidate: Candidate): number =>
    // Shifted, so that many negative priorities do not look like little.
    candidate.victims.reduce((total, pod) => total + pod.priority + 2 ** 31, 0);
  const earliest = (candidate: Candidate): number =>
    Math.min(...candidate.victims.filter((pod) => pod.priority === highest(candidate)).map(startOf));
  const order =
    a.violations - b.violations ||
    highest(a) - highest(b) ||
    sum(a) - sum(b) ||
    a.victims.length - b.victims.length ||
    earliest(b) - earliest(a);
  return order < 0;
}
