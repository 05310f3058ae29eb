import {
  type LabelMatcher,
  matcherOf,
  matchNothing,
  type Requirement,
  selectorRequirements,
} from '../api/selectors.ts';
import type { Pod, PodAffinityTerm, TopologySpreadConstraint } from '../api/types/core-v1.ts';
import type { LabelSelector } from '../api/types/meta-v1.ts';
import type { PodInfo } from './pod-info.ts';

type Labels = Readonly<Record<string, string>> | undefined;

/** The labels of a namespace; undefined while it is not known. */
export type NamespaceLabels = (namespace: string) => Labels;

/** Which pods are meant. Equal keys have equal meanings: what was counted for one serves the other. */
export interface PodPredicate {
  readonly key: string;
  /** The only namespace that it can match in; undefined when there are several or a selector of them. */
  readonly namespace: string | undefined;
  matches(pod: PodInfo, namespaceLabels: NamespaceLabels): boolean;
}

/** A pod affinity or anti-affinity term. */
export interface PodTerm {
  readonly pods: PodPredicate;
  readonly topologyKey: string;
  /** 0 for required terms. */
  readonly weight: number;
}

export interface PodTerms {
  readonly required: readonly PodTerm[];
  readonly preferred: readonly PodTerm[];
}

const NO_TERMS: PodTerms = { required: [], preferred: [] };

export function affinityTerms(pod: Pod): { affinity: PodTerms; antiAffinity: PodTerms } {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  const read = (terms: typeof podAffinity): PodTerms =>
    terms === undefined
      ? NO_TERMS
      : {
          required: (terms.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) =>
            podTerm(pod, term, 0),
          ),
          preferred: (terms.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((one) =>
            podTerm(pod, one.podAffinityTerm, one.weight),
          ),
        };
  return { affinity: read(podAffinity), antiAffinity: read(podAntiAffinity) };
}

function podTerm(pod: Pod, term: PodAffinityTerm, weight: number): PodTerm {
  const own = pod.metadata.namespace ?? '';
  const { labelSelector, topologyKey, namespaceSelector } = term;
  const requirements = labelSelector && [
    ...selectorRequirements(labelSelector),
    // A selector that the API server has merged already holds them twice then, which means the same.
    ...keysOf(pod, term.matchLabelKeys ?? [], 'in'),
    ...keysOf(pod, term.mismatchLabelKeys ?? [], 'notin'),
  ];
  // Neither names nor a selector: the pod's own namespace.
  const names =
    (term.namespaces ?? []).length === 0 && namespaceSelector === undefined
      ? [own]
      : [...new Set(term.namespaces ?? [])].sort();
  return { pods: predicate(names, namespaceSelector, requirements), topologyKey, weight };
}

export interface SpreadConstraint {
  readonly pods: PodPredicate;
  readonly topologyKey: string;
  readonly maxSkew: number;
  readonly minDomains: number;
  readonly honorAffinity: boolean;
  readonly honorTaints: boolean;
  /** Whether the pod itself is one of those counted. */
  readonly self: boolean;
}

/** The constraints of one kind. Terminating pods are not counted (kubernetes/kubernetes#87621). */
export function spreadConstraints(
  pod: Pod,
  action: TopologySpreadConstraint['whenUnsatisfiable'],
): SpreadConstraint[] {
  const namespace = pod.metadata.namespace ?? '';
  return (pod.spec?.topologySpreadConstraints ?? [])
    .filter((constraint) => constraint.whenUnsatisfiable === action)
    .map((constraint) => {
      const { labelSelector } = constraint;
      const requirements = labelSelector && [
        ...selectorRequirements(labelSelector),
        ...keysOf(pod, constraint.matchLabelKeys ?? [], 'in'),
      ];
      return {
        pods: staying(predicate([namespace], undefined, requirements)),
        topologyKey: constraint.topologyKey,
        maxSkew: constraint.maxSkew,
        minDomains: constraint.minDomains ?? 1,
        honorAffinity: (constraint.nodeAffinityPolicy ?? 'Honor') === 'Honor',
        honorTaints: constraint.nodeTaintsPolicy === 'Honor',
        self: (requirements ? matcherOf(requirements) : matchNothing)(pod.metadata.labels),
      };
    });
}

/** Pods of the namespace that carry these labels. */
export function labelled(namespace: string, requirements: readonly Requirement[]): PodPredicate {
  return predicate([namespace], undefined, requirements);
}

/** Pods of one controller. */
export function controlledBy(controller: string): PodPredicate {
  return {
    key: `controller ${controller}`,
    namespace: undefined,
    matches: (pod) => pod.controller === controller,
  };
}

/** Without the pods that are being deleted. */
export function staying(inner: PodPredicate): PodPredicate {
  return {
    key: `${inner.key} staying`,
    namespace: inner.namespace,
    matches: (pod, namespaceLabels) =>
      pod.pod.metadata.deletionTimestamp === undefined && inner.matches(pod, namespaceLabels),
  };
}

/** All of the predicates at once: how several required affinity terms count an existing pod. */
export function allOf(predicates: readonly PodPredicate[]): PodPredicate {
  const [only] = predicates;
  if (predicates.length === 1 && only) return only;
  return {
    key: predicates.map(({ key }) => key).join(' and '),
    namespace: only?.namespace,
    matches: (pod, namespaceLabels) => predicates.every((one) => one.matches(pod, namespaceLabels)),
  };
}

/** Without requirements (no selector at all) nothing matches. */
function predicate(
  namespaces: readonly string[],
  namespaceSelector: LabelSelector | undefined,
  requirements: readonly Requirement[] | undefined,
): PodPredicate {
  const inNamespace = namespaceSelector && selectorRequirements(namespaceSelector);
  const key = JSON.stringify([namespaces, inNamespace, requirements]);
  // Compiled when first asked: most pods' terms are only compared by their key.
  let labels: LabelMatcher | undefined;
  let namespaceMatcher: LabelMatcher | undefined;
  const single = inNamespace === undefined && namespaces.length === 1 ? namespaces[0] : undefined;
  return {
    key,
    namespace: single,
    matches(pod, namespaceLabels) {
      const { namespace = '', labels: carried } = pod.pod.metadata;
      if (single !== undefined) {
        if (namespace !== single) return false;
      } else if (!namespaces.includes(namespace)) {
        if (inNamespace === undefined) return false;
        namespaceMatcher ??= matcherOf(inNamespace);
        if (!namespaceMatcher(namespaceLabels(namespace))) return false;
      }
      labels ??= requirements ? matcherOf(requirements) : matchNothing;
      return labels(carried);
    },
  };
}

/** Keys that the pod does not carry are left out, as the API has it. */
function keysOf(pod: Pod, keys: readonly string[], operator: 'in' | 'notin'): Requirement[] {
  return keys.flatMap((key) => {
    const value = pod.metadata.labels?.[key];
    return value === undefined ? [] : [{ key, operator, values: [value] }];
  });
}
