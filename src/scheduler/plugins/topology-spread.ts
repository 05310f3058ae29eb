import { matchesSelector } from '../../api/node-selector.ts';
import { untolerated } from '../../api/tolerations.ts';
import type { Domains, PodCounts } from '../pod-index.ts';
import type { PodInfo } from '../pod-info.ts';
import { controlledBy, type SpreadConstraint, spreadConstraints, staying } from '../pod-terms.ts';
import type { NodeInfo } from '../snapshot.ts';
import {
  type FilterPlugin,
  HIGHEST_SCORE,
  type NodeScore,
  never,
  notNow,
  type ScorePlugin,
  type Situation,
} from './plugin.ts';

const HOSTNAME = 'kubernetes.io/hostname';
const ZONE = 'topology.kubernetes.io/zone';
const DRIVING_AWAY = ['NoSchedule', 'NoExecute'] as const;

const missingLabel = never("node(s) didn't match pod topology spread constraints (missing required label)");
const skewed = notNow("node(s) didn't match pod topology spread constraints");

interface Counted {
  constraint: SpreadConstraint;
  domains: Domains;
}

export const topologySpread: FilterPlugin = {
  name: 'PodTopologySpread',
  helpedBy: ['node-added', 'node-labels', 'node-taints', 'pod-gone', 'pod-placed'],
  prepare(info, { snapshot }) {
    const constraints = spreadConstraints(info.pod, 'DoNotSchedule');
    if (constraints.length === 0) return undefined;
    const keys = constraints.map(({ topologyKey }) => topologyKey);
    const counted = constraints.map(
      (constraint): Counted => ({
        constraint,
        domains: domainsOf(info, constraint, keys, snapshot.index.of(constraint.pods)),
      }),
    );
    return (node) => {
      for (const { constraint, domains } of counted) {
        const value = node.labels[constraint.topologyKey];
        if (value === undefined) return missingLabel;
        // Fewer domains than minDomains: as if there were an empty one.
        const least = domains.size < constraint.minDomains ? 0 : domains.least;
        if (domains.of(value) + (constraint.self ? 1 : 0) - least > constraint.maxSkew) return skewed;
      }
      return undefined;
    };
  },
};

/** Counts over the nodes that have all the keys and that the constraint's policies include. */
function domainsOf(
  info: PodInfo,
  { topologyKey, honorAffinity, honorTaints }: SpreadConstraint,
  keys: readonly string[],
  counts: PodCounts,
): Domains {
  const { nodeSelector, affinity, tolerations = [] } = info.pod.spec ?? {};
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const selector = Object.entries(nodeSelector ?? {});
  const byAffinity = honorAffinity && (required !== undefined || selector.length > 0);
  const name = JSON.stringify([
    keys,
    byAffinity ? [selector, required] : [],
    honorTaints ? tolerations : undefined,
  ]);
  return counts.domains(topologyKey, name, (node) => {
    for (const key of keys) if (node.labels[key] === undefined) return false;
    if (byAffinity) {
      for (const [key, value] of selector) if (node.labels[key] !== value) return false;
      if (required && !matchesSelector(required, node)) return false;
    }
    return !honorTaints || untolerated(node.taints, tolerations, DRIVING_AWAY) === undefined;
  });
}

/** Fewer matching pods in a node's domains is better: constraints that need not be satisfied, and the defaults. */
export const spreadPreference: ScorePlugin = {
  name: 'PodTopologySpread',
  weight: 2,
  prepare(info, feasible, situation) {
    const own = info.pod.spec?.topologySpreadConstraints ?? [];
    const constraints =
      own.length > 0 ? spreadConstraints(info.pod, 'ScheduleAnyway') : defaults(info, situation);
    if (constraints.length === 0) return undefined;
    // By default a node without a zone is spread by its name alone.
    const needed = own.length > 0 ? constraints.map(({ topologyKey }) => topologyKey) : [];
    const qualified = (node: NodeInfo): boolean => needed.every((key) => node.labels[key] !== undefined);
    const counted = constraints.map((constraint) => {
      const counts = situation.snapshot.index.of(constraint.pods);
      const { topologyKey, maxSkew } = constraint;
      return {
        topologyKey,
        maxSkew,
        counts,
        // Of single nodes the counts are at hand.
        domains: topologyKey === HOSTNAME ? undefined : domainsOf(info, constraint, needed, counts),
        weight: Math.log(2 + domainCount(topologyKey, feasible, qualified)),
      };
    });
    return normalised(feasible, qualified, (node) => {
      let points = 0;
      for (const { topologyKey, maxSkew, counts, domains, weight } of counted) {
        const value = node.labels[topologyKey];
        if (value === undefined) continue;
        const count = domains ? domains.of(value) : counts.on(node);
        // Differences below maxSkew are watered down.
        points += count * weight + maxSkew - 1;
      }
      return Math.round(points);
    });
  },
};

/** The defaults of kube-scheduler, for pods that a controller or a Service groups. */
function defaults(info: PodInfo, { siblings }: Situation): SpreadConstraint[] {
  const pods = info.controller === undefined ? siblings(info) : controlledBy(info.controller);
  if (!pods) return [];
  const common = {
    pods: staying(pods),
    minDomains: 1,
    honorAffinity: true,
    honorTaints: false,
    self: true,
  };
  return [
    { ...common, topologyKey: ZONE, maxSkew: 3 },
    { ...common, topologyKey: HOSTNAME, maxSkew: 5 },
  ];
}

function domainCount(
  key: string,
  feasible: readonly NodeInfo[],
  qualified: (node: NodeInfo) => boolean,
): number {
  if (key === HOSTNAME) {
    let count = 0;
    for (const node of feasible) if (qualified(node)) count += 1;
    return count;
  }
  const values = new Set<string | undefined>();
  for (const node of feasible) if (qualified(node)) values.add(node.labels[key]);
  return values.size;
}

function normalised(
  feasible: readonly NodeInfo[],
  qualified: (node: NodeInfo) => boolean,
  raw: NodeScore,
): NodeScore | undefined {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  let all = true;
  for (const node of feasible) {
    if (!qualified(node)) {
      all = false;
      continue;
    }
    const points = raw(node);
    if (points < least) least = points;
    if (points > most) most = points;
  }
  // Everywhere the same: nothing to say.
  if (all && least === most) return undefined;
  return (node) => {
    if (!qualified(node)) return 0;
    return most === 0 ? HIGHEST_SCORE : Math.trunc((HIGHEST_SCORE * (most + least - raw(node))) / most);
  };
}
