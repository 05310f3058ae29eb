import { unschedulableMessage } from './decide.ts';
import type { FilterPlugin, NodeFilter, Situation } from './plugins/plugin.ts';
import type { PodInfo } from './pod-info.ts';
import type { NodeInfo } from './snapshot.ts';

export interface Preemption {
  /** The node to free, with the pods that have to go; undefined when that helps nowhere. */
  node: string | undefined;
  victims: readonly PodInfo[];
  /** Why it helps nowhere, appended to the scheduling message: `… preemption: 0/3 nodes are available: …`. */
  message: string;
}

/** No preemption, and why, in kube-scheduler's words: since v1.34 it says first that no resource claim could be freed. */
export function refused(reason: string, node?: string): Preemption {
  return { node, victims: [], message: `no new claims to deallocate, preemption: ${reason}` };
}

/** Of these pods, most important first: those whose eviction, after that of those before them, violates a budget. */
export type Protected = (pods: readonly PodInfo[]) => ReadonlySet<PodInfo>;

/** Enough candidates to choose among: a tenth of the nodes, but a hundred (kube-scheduler's). */
const LEAST_CANDIDATES = 100;
const CANDIDATE_SHARE = 0.1;

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
    protectedOf: Protected;
    /** Where to begin looking, so that large clusters are used evenly. */
    start?: number;
  },
): Preemption {
  const { nodes } = situation.snapshot;
  if (info.pod.spec?.preemptionPolicy === 'Never') {
    return refused('not eligible due to preemptionPolicy=Never.');
  }
  const refusals: { rejection: { reasons: string[]; unresolvable: boolean } }[] = [];
  const refuse = (reason: string): void => {
    refusals.push({ rejection: { reasons: [reason], unresolvable: true } });
  };
  const prepared: NodeFilter[] = [];
  for (const plugin of options.filters) {
    const filter = plugin.prepare(info, situation);
    // What keeps the pod from every node is no matter of other pods: no node is resolvable then.
    if (typeof filter === 'function') prepared.push(filter);
  }
  const fits = (node: NodeInfo): boolean => {
    for (const filter of prepared) if (filter(node)) return false;
    return true;
  };
  const helpful = new Set(options.resolvable);
  const enough = Math.max(LEAST_CANDIDATES, Math.floor(nodes.length * CANDIDATE_SHARE));
  let candidates = 0;
  let best: Candidate | undefined;
  for (let looked = 0; looked < nodes.length; looked += 1) {
    const node = nodes[((options.start ?? 0) + looked) % nodes.length] as NodeInfo;
    if (!helpful.has(node.name)) {
      refuse('Preemption is not helpful for scheduling');
      continue;
    }
    const candidate = victimsOn(node, info, fits, options.protectedOf);
    if (!candidate) {
      refuse('No preemption victims found for incoming pod');
      continue;
    }
    candidates += 1;
    if (!best || better(candidate, best)) best = candidate;
    if (candidates >= enough && best.violations === 0) break;
  }
  if (best) return { node: best.node, victims: best.victims, message: '' };
  return refused(unschedulableMessage(nodes.length, refusals));
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
  protectedOf: Protected,
): Candidate | undefined {
  // Pods that are ending already count too: their room may be promised to a less important pod.
  const lower = [...node.pods.values()].filter((pod) => pod.priority < info.priority);
  if (lower.length === 0) return undefined;
  for (const pod of lower) node.lift(pod);
  const victims: PodInfo[] = [];
  let violations = 0;
  let possible = false;
  try {
    possible = fits(node);
    if (possible) {
      const byImportance = [...lower].sort(moreImportant);
      const guarded = protectedOf(byImportance);
      const order = [
        ...byImportance.filter((pod) => guarded.has(pod)),
        ...byImportance.filter((pod) => !guarded.has(pod)),
      ];
      for (const pod of order) {
        node.putBack(pod);
        if (fits(node)) continue;
        node.lift(pod);
        victims.push(pod);
        if (guarded.has(pod)) violations += 1;
      }
    }
  } finally {
    // The snapshot is as it was, whatever happened.
    for (const pod of lower) node.putBack(pod);
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
