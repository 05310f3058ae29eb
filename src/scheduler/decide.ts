import type {
  FilterPlugin,
  NodeFilter,
  NodeScore,
  Rejection,
  ScorePlugin,
  Situation,
} from './plugins/plugin.ts';
import type { PodInfo } from './pod-info.ts';
import type { NodeInfo } from './snapshot.ts';

/** Below this number of nodes all are looked at; above, a share that shrinks as the cluster grows (kube-scheduler's). */
const LEAST_NODES = 100;

export interface Decision {
  /** The chosen node, or undefined with the reasons. */
  node: string | undefined;
  /** As kube-scheduler words it, for the event and the PodScheduled condition; empty when a node was found. */
  message: string;
  /** The plugins that refused nodes: their events wake the pod. */
  refusedBy: readonly string[];
  /** Nodes on which the removal of other pods could help. */
  resolvable: readonly string[];
  /** Where the next decision starts looking, so that large clusters are used evenly. */
  nextStart: number;
  /** Set when what boards measure decided: another node was better but for that. */
  insteadOf?: string;
}

/**
 * Where a pod goes. Pure: equal arguments give an equal decision; `random` breaks ties between equally good nodes.
 * Filters run in their order for each node and stop at the first that refuses; scores are weighted and added.
 */
export function decide(
  info: PodInfo,
  situation: Situation,
  options: {
    filters: readonly FilterPlugin[];
    scores: readonly ScorePlugin[];
    random: () => number;
    start?: number;
    /** Room was made for the pod on this node: taken without looking further if it fits there. */
    nominated?: string;
  },
): Decision {
  const nodes = situation.snapshot.nodes;
  if (nodes.length === 0) {
    return {
      node: undefined,
      message: 'no nodes available to schedule pods',
      refusedBy: [],
      resolvable: [],
      nextStart: 0,
    };
  }
  const prepared: { plugin: FilterPlugin; filter: NodeFilter }[] = [];
  for (const plugin of options.filters) {
    const filter = plugin.prepare(info, situation);
    if (filter === undefined) continue;
    if (typeof filter !== 'function') {
      return {
        node: undefined,
        message: `0/${nodes.length} nodes are available: ${filter.reason}.`,
        refusedBy: [plugin.name],
        resolvable: [],
        nextStart: options.start ?? 0,
      };
    }
    prepared.push({ plugin, filter });
  }
  const promised = options.nominated === undefined ? undefined : situation.snapshot.get(options.nominated);
  if (promised?.node && prepared.every(({ filter }) => !filter(promised))) {
    return {
      node: promised.name,
      message: '',
      refusedBy: [],
      resolvable: [],
      nextStart: options.start ?? 0,
    };
  }
  const enough = nodesToFind(nodes.length);
  const feasible: NodeInfo[] = [];
  const refusals: { node: string; rejection: Rejection }[] = [];
  const refusedBy = new Set<string>();
  const start = (options.start ?? 0) % nodes.length;
  let looked = 0;
  while (looked < nodes.length && feasible.length < enough) {
    const node = nodes[(start + looked) % nodes.length] as NodeInfo;
    looked += 1;
    let refused: Rejection | undefined;
    for (const { plugin, filter } of prepared) {
      refused = filter(node);
      if (refused) {
        refusedBy.add(plugin.name);
        break;
      }
    }
    if (refused) refusals.push({ node: node.name, rejection: refused });
    else feasible.push(node);
  }
  const nextStart = (start + looked) % nodes.length;
  if (feasible.length === 0) {
    return {
      node: undefined,
      message: unschedulableMessage(nodes.length, refusals),
      refusedBy: [...refusedBy],
      resolvable: refusals.filter(({ rejection }) => !rejection.unresolvable).map(({ node }) => node),
      nextStart,
    };
  }
  const { winner, insteadOf } = best(info, feasible, situation, options.scores, options.random);
  return {
    node: winner.name,
    message: '',
    refusedBy: [],
    resolvable: [],
    nextStart,
    ...(insteadOf === undefined ? {} : { insteadOf: insteadOf.name }),
  };
}

function best(
  info: PodInfo,
  feasible: readonly NodeInfo[],
  situation: Situation,
  scores: readonly ScorePlugin[],
  random: () => number,
): { winner: NodeInfo; insteadOf?: NodeInfo } {
  const first = feasible[0] as NodeInfo;
  if (feasible.length === 1) return { winner: first };
  const prepared: { weight: number; score: NodeScore; measures: boolean }[] = [];
  for (const { weight, prepare, measures } of scores) {
    const score = prepare(info, feasible, situation);
    if (score) prepared.push({ weight, score, measures: measures ?? false });
  }
  let highest = Number.NEGATIVE_INFINITY;
  const equals: NodeInfo[] = [];
  // The same without the measurements, to tell whether they decided.
  let unmeasured = first;
  let highestUnmeasured = Number.NEGATIVE_INFINITY;
  for (const node of feasible) {
    let total = 0;
    let measured = 0;
    for (const { weight, score, measures } of prepared) {
      const points = weight * score(node);
      total += points;
      if (measures) measured += points;
    }
    const rest = total - measured;
    if (rest > highestUnmeasured) {
      unmeasured = node;
      highestUnmeasured = rest;
    }
    if (total < highest) continue;
    if (total > highest) {
      highest = total;
      equals.length = 0;
    }
    equals.push(node);
  }
  // Randomness is dear: asked for once.
  const winner = equals[equals.length > 1 ? Math.floor(random() * equals.length) : 0] ?? first;
  let rest = 0;
  for (const { weight, score, measures } of prepared) if (!measures) rest += weight * score(winner);
  return rest < highestUnmeasured ? { winner, insteadOf: unmeasured } : { winner };
}

/** How many feasible nodes are enough to choose among: 50 % less one for every 125 nodes, at least 5 %. */
export function nodesToFind(nodes: number): number {
  if (nodes < LEAST_NODES) return nodes;
  const percent = Math.max(5, 50 - Math.floor(nodes / 125));
  return Math.max(LEAST_NODES, Math.floor((nodes * percent) / 100));
}

/** `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.` */
export function unschedulableMessage(nodes: number, refusals: readonly { rejection: Rejection }[]): string {
  const counts = new Map<string, number>();
  for (const { rejection } of refusals) {
    for (const reason of rejection.reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const reasons = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  const list = reasons.length === 0 ? '' : `: ${reasons.join(', ')}`;
  return `0/${nodes} nodes are available${list}.`;
}
