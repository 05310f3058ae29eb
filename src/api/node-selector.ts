import type { NodeSelector, NodeSelectorRequirement, NodeSelectorTerm } from './types/core-v1.ts';

export interface SelectableNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Terms are alternatives; a selector without usable terms matches nothing (nodeaffinity of component-helpers). */
export function matchesSelector(selector: NodeSelector, node: SelectableNode): boolean {
  return selector.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

/** All requirements of a term hold; an empty term matches no node. */
export function matchesTerm(term: NodeSelectorTerm, node: SelectableNode): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  return (
    matchExpressions.every((requirement) => matchesRequirement(requirement, node.labels[requirement.key])) &&
    matchFields.every(
      (requirement) => requirement.key === 'metadata.name' && matchesRequirement(requirement, node.name),
    )
  );
}

function matchesRequirement(
  { operator, values = [] }: NodeSelectorRequirement,
  value: string | undefined,
): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
    case 'Lt': {
      if (value === undefined || !isWhole(value) || !isWhole(values[0])) return false;
      return operator === 'Gt' ? Number(value) > Number(values[0]) : Number(value) < Number(values[0]);
    }
    default:
      return false;
  }
}

function isWhole(text: string | undefined): boolean {
  return text !== undefined && /^[+-]?\d{1,19}$/.test(text);
}

/**
 * The node names that a required node affinity allows by metadata.name alone, as DaemonSet pods have it; undefined when
 * some term leaves the name open.
 */
export function namedNodes(selector: NodeSelector | undefined): ReadonlySet<string> | undefined {
  if (!selector || selector.nodeSelectorTerms.length === 0) return undefined;
  const names = new Set<string>();
  for (const { matchFields = [] } of selector.nodeSelectorTerms) {
    const named = matchFields.find(({ key, operator }) => key === 'metadata.name' && operator === 'In');
    if (!named) return undefined;
    for (const name of named.values ?? []) names.add(name);
  }
  return names;
}
