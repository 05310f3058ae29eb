import type { HeldTerm, Neighbours } from '../pod-index.ts';
import type { PodInfo } from '../pod-info.ts';
import { allOf, type PodTerm } from '../pod-terms.ts';
import type { NodeInfo } from '../snapshot.ts';
import {
  type FilterPlugin,
  HIGHEST_SCORE,
  never,
  notNow,
  type ScorePlugin,
  type Situation,
} from './plugin.ts';

/** What a placed pod's required affinity is worth as a preference of the new pod (hardPodAffinityWeight's default). */
const REQUIRED_AFFINITY_WEIGHT = 1;

const noAffinity = never("node(s) didn't match pod affinity rules");
const antiAffinity = notNow("node(s) didn't match pod anti-affinity rules");
const existingAntiAffinity = notNow("node(s) didn't satisfy existing pods anti-affinity rules");

export const interPodAffinity: FilterPlugin = {
  name: 'InterPodAffinity',
  helpedBy: ['node-added', 'node-labels', 'pod-gone', 'pod-placed', 'namespace'],
  prepare(info, { snapshot: { index } }) {
    const existing = index.heldAgainst('required anti-affinity', info);
    if (!info.hasTerms && existing.length === 0) return undefined;
    const { required: wanted } = info.affinity;
    // An existing pod counts when it matches all required terms, and then for each of their topologies.
    const together = wanted.length > 0 ? index.of(allOf(wanted.map(({ pods }) => pods))) : undefined;
    const near = together ? wanted.map(({ topologyKey }) => together.neighbours(topologyKey)) : [];
    const away = info.antiAffinity.required.map(({ pods, topologyKey }) =>
      index.of(pods).neighbours(topologyKey),
    );
    if (near.length === 0 && away.length === 0 && existing.length === 0) return undefined;
    const matchesItself = together?.pods.matches(info, index.namespaceLabels) ?? false;
    return (node) => {
      if (near.length > 0 && !isNear(node, near, matchesItself)) return noAffinity;
      for (const neighbours of away) if ((neighbours.around(node) ?? 0) > 0) return antiAffinity;
      for (const held of existing) if (held.around(node) > 0) return existingAntiAffinity;
      return undefined;
    };
  },
};

function isNear(node: NodeInfo, near: readonly Neighbours[], matchesItself: boolean): boolean {
  let satisfied = true;
  for (const neighbours of near) {
    const count = neighbours.around(node);
    if (count === undefined) return false;
    if (count === 0) satisfied = false;
  }
  // The first of a group that wants to be together: there is nobody to be near to.
  return satisfied || (matchesItself && near.every(({ none }) => none));
}

/** Preferred terms of the pod, and those of placed pods that mean it. */
export const podAffinityPreference: ScorePlugin = {
  name: 'InterPodAffinity',
  weight: 2,
  prepare(info, feasible, situation) {
    const parts = scored(info, situation);
    if (parts.own.length === 0 && parts.held.length === 0) return undefined;
    let lowest = 0;
    let highest = 0;
    for (const node of feasible) {
      const points = sum(node, parts);
      if (points < lowest) lowest = points;
      if (points > highest) highest = points;
    }
    const range = highest - lowest;
    if (range === 0) return undefined;
    return (node) => Math.trunc((HIGHEST_SCORE * (sum(node, parts) - lowest)) / range);
  },
};

interface Scored {
  own: { neighbours: Neighbours; weight: number }[];
  held: { term: HeldTerm; weight: number }[];
}

function scored(info: PodInfo, { snapshot: { index } }: Situation): Scored {
  const own = (terms: readonly PodTerm[], sign: 1 | -1): Scored['own'] =>
    terms.map(({ pods, topologyKey, weight }) => ({
      neighbours: index.of(pods).neighbours(topologyKey),
      weight: sign * weight,
    }));
  return {
    own: [...own(info.affinity.preferred, 1), ...own(info.antiAffinity.preferred, -1)],
    held: [
      ...index
        .heldAgainst('required affinity', info)
        .map((term) => ({ term, weight: REQUIRED_AFFINITY_WEIGHT })),
      ...index.heldAgainst('preferred affinity', info).map((term) => ({ term, weight: term.term.weight })),
      ...index
        .heldAgainst('preferred anti-affinity', info)
        .map((term) => ({ term, weight: -term.term.weight })),
    ],
  };
}

function sum(node: NodeInfo, { own, held }: Scored): number {
  let points = 0;
  for (const { neighbours, weight } of own) points += weight * (neighbours.around(node) ?? 0);
  for (const { term, weight } of held) points += weight * term.around(node);
  return points;
}
