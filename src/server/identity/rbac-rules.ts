import type { LabelSelector } from '../../api/types/meta-v1.ts';
import type { ClusterRole, PolicyRule } from '../../api/types/rbac-v1.ts';

const ALL = '*';
const has = (list: readonly string[] | undefined, value: string): boolean =>
  list !== undefined && (list.includes(ALL) || list.includes(value));

/** What a rule is asked about: a resource with its group, or a path. */
export type RuleRequest =
  | { verb: string; group: string; resource: string; subresource: string; name: string }
  | { verb: string; path: string };

/** Does one rule allow the request? As VerbMatches, ResourceMatches etc. of Kubernetes' RBAC evaluation. */
export function ruleAllows(rule: PolicyRule, request: RuleRequest): boolean {
  if (!has(rule.verbs, request.verb)) return false;
  if ('path' in request) return (rule.nonResourceURLs ?? []).some((url) => urlMatches(url, request.path));
  if (!has(rule.apiGroups, request.group)) return false;
  if (!resourceMatches(rule.resources ?? [], request.resource, request.subresource)) return false;
  const names = rule.resourceNames ?? [];
  return names.length === 0 || names.includes(request.name);
}

/** `*` also covers subresources; `pods/log` one of them; `*` + `/scale` that subresource of every resource. */
function resourceMatches(resources: readonly string[], resource: string, subresource: string): boolean {
  const combined = subresource === '' ? resource : `${resource}/${subresource}`;
  return resources.some(
    (entry) =>
      entry === ALL || entry === combined || (subresource !== '' && entry === `${ALL}/${subresource}`),
  );
}

function urlMatches(pattern: string, path: string): boolean {
  if (pattern === ALL || pattern === path) return true;
  return pattern.endsWith(ALL) && path.startsWith(pattern.replace(/\*+$/, ''));
}

/** The rules of a ClusterRole: its own, or those of all roles that its aggregationRule selects, aggregates included. */
export function effectiveRules(role: ClusterRole, all: readonly ClusterRole[]): PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors;
  if (!role.aggregationRule) return role.rules ?? [];
  const sources = (selectors ?? []).length === 0 ? [] : all;
  const found: PolicyRule[] = [];
  const seen = new Set<string>();
  for (const source of sources) {
    if (source.metadata.name === role.metadata.name) continue;
    const matches = selectors?.some((selector) => labelsMatch(selector, source.metadata.labels ?? {}));
    if (!matches) continue;
    const rules = source.aggregationRule ? effectiveRules(source, without(all, role)) : (source.rules ?? []);
    for (const rule of rules) {
      const text = JSON.stringify(rule);
      if (seen.has(text)) continue;
      seen.add(text);
      found.push(rule);
    }
  }
  return found;
}

// Each level of aggregation drops the role it came from, so that a circle ends.
const without = (all: readonly ClusterRole[], role: ClusterRole): ClusterRole[] =>
  all.filter((other) => other.metadata.name !== role.metadata.name);

function labelsMatch(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  return (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && (values ?? []).includes(value);
      case 'NotIn':
        return value === undefined || !(values ?? []).includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return false;
    }
  });
}

/**
 * The parts of `wanted` that `held` does not cover; empty when everything is. A rule is broken down to single verbs,
 * groups, resources and names, as Kubernetes does to answer "may this user grant that".
 */
export function uncovered(held: readonly PolicyRule[], wanted: readonly PolicyRule[]): PolicyRule[] {
  return wanted.flatMap(breakDown).filter((part) => !held.some((rule) => covers(rule, part)));
}

function breakDown(rule: PolicyRule): PolicyRule[] {
  const parts: PolicyRule[] = [];
  for (const verb of rule.verbs ?? []) {
    for (const url of rule.nonResourceURLs ?? []) parts.push({ verbs: [verb], nonResourceURLs: [url] });
    for (const group of rule.apiGroups ?? []) {
      for (const resource of rule.resources ?? []) {
        const part = { verbs: [verb], apiGroups: [group], resources: [resource] };
        const names = rule.resourceNames ?? [];
        if (names.length === 0) parts.push(part);
        else for (const name of names) parts.push({ ...part, resourceNames: [name] });
      }
    }
  }
  return parts;
}

function covers(owner: PolicyRule, part: PolicyRule): boolean {
  const [verb = ''] = part.verbs ?? [];
  if (!has(owner.verbs, verb)) return false;
  const [url] = part.nonResourceURLs ?? [];
  if (url !== undefined) return (owner.nonResourceURLs ?? []).some((own) => urlMatches(own, url));
  const [group = ''] = part.apiGroups ?? [];
  const [resource = ''] = part.resources ?? [];
  if (!has(owner.apiGroups, group)) return false;
  const [main = '', sub = ''] = resource.split('/');
  if (!resourceMatches(owner.resources ?? [], main, sub)) return false;
  const [name] = part.resourceNames ?? [];
  const names = owner.resourceNames ?? [];
  return names.length === 0 || (name !== undefined && names.includes(name));
}

/** `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`, as error messages name a rule. */
export function writeRule(rule: PolicyRule): string {
  const parts: string[] = [];
  const add = (label: string, list: readonly string[] | undefined): void => {
    if (list && list.length > 0) parts.push(`${label}:${JSON.stringify(list).replaceAll(',', ', ')}`);
  };
  add('APIGroups', rule.apiGroups);
  add('Resources', rule.resources);
  add('NonResourceURLs', rule.nonResourceURLs);
  add('ResourceNames', rule.resourceNames);
  add('Verbs', rule.verbs);
  return `{${parts.join(', ')}}`;
}
