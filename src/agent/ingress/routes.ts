// Pure: from the Ingresses to a table, and from a request to its backend, as the Ingress specification has it.
import { type IngressSettings, olderFirst } from '../../api/ingress.ts';
import type { SharedIngress, SharedIngressBackend } from '../../wire/messages.ts';
import { parentName } from './host-name.ts';
import { matchPath } from './match-path.ts';

/** Where a request goes. */
export interface Route extends SharedIngressBackend {
  namespace: string;
  ingress: string;
  settings: IngressSettings;
}

/** The rules of one host. */
interface HostRules {
  exact: Map<string, Route>;
  /** Without trailing slashes, the root being the empty string; the most elements first. */
  prefixes: { path: string; elements: number; route: Route }[];
  /** The default backend of the oldest Ingress that has a rule for the host. */
  fallback?: Route;
}

export interface RouteTable {
  exact: ReadonlyMap<string, HostRules>;
  /** By what follows `*.`. */
  wildcards: ReadonlyMap<string, HostRules>;
  any: HostRules;
}

export function buildRoutes(ingresses: readonly SharedIngress[]): RouteTable {
  const exact = new Map<string, HostRules>();
  const wildcards = new Map<string, HostRules>();
  const any: HostRules = { exact: new Map(), prefixes: [] };
  const rulesFor = (host: string | undefined): HostRules => {
    if (host === undefined) return any;
    const [map, name] = host.startsWith('*.') ? [wildcards, host.slice(2)] : [exact, host];
    const rules = map.get(name) ?? { exact: new Map(), prefixes: [] };
    map.set(name, rules);
    return rules;
  };
  const ordered = [...ingresses].sort(olderFirst);
  for (const ingress of ordered) {
    for (const { host, paths } of ingress.rules) {
      const rules = rulesFor(host);
      for (const { path, type, backend } of paths) addPath(rules, path, type, routeOf(ingress, backend));
      if (ingress.defaultBackend) rules.fallback ??= routeOf(ingress, ingress.defaultBackend);
    }
  }
  // Whoever says nothing but a default backend means everything that is left; after them the others may have it.
  const meansAll = ({ rules }: SharedIngress): boolean => rules.every(({ host }) => host === undefined);
  for (const ingress of [...ordered.filter(meansAll), ...ordered]) {
    if (ingress.defaultBackend) any.fallback ??= routeOf(ingress, ingress.defaultBackend);
  }
  for (const { prefixes } of [...exact.values(), ...wildcards.values(), any]) {
    prefixes.sort((a, b) => b.elements - a.elements);
  }
  return { exact, wildcards, any };
}

/** The older Ingress comes first, and keeps what it has. */
function addPath(rules: HostRules, given: string, type: 'Exact' | 'Prefix', route: Route): void {
  const path = matchPath(given);
  if (path === undefined) return;
  if (type === 'Exact') {
    if (!rules.exact.has(path)) rules.exact.set(path, route);
    return;
  }
  const prefix = path.replace(/\/+$/, '');
  if (rules.prefixes.some((known) => known.path === prefix)) return;
  rules.prefixes.push({ path: prefix, elements: prefix.split('/').length, route });
}

function routeOf(ingress: SharedIngress, backend: SharedIngressBackend): Route {
  const { namespace, name, sslRedirect, backendTls, timeoutSeconds } = ingress;
  const settings: IngressSettings = {
    ...(sslRedirect ? { sslRedirect } : {}),
    ...(backendTls ? { backendTls } : {}),
    ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
  };
  return { ...backend, namespace, ingress: `${namespace}/${name}`, settings };
}

/**
 * The host's own rules come before those of a wildcard, these before those without host; among the paths of one host the
 * longest wins, and Exact before Prefix. Only what no rule matches goes to a default backend, in the same order.
 * @param host of `hostName`
 * @param path of `matchPath`
 */
export function findRoute(table: RouteTable, host: string, path: string): Route | undefined {
  const parent = parentName(host);
  const candidates = [
    table.exact.get(host),
    parent === undefined ? undefined : table.wildcards.get(parent),
    table.any,
  ];
  for (const rules of candidates) {
    const route = rules && ofPath(rules, path);
    if (route) return route;
  }
  for (const rules of candidates) if (rules?.fallback) return rules.fallback;
  return undefined;
}

function ofPath({ exact, prefixes }: HostRules, path: string): Route | undefined {
  return (
    exact.get(path) ??
    prefixes.find(
      (prefix) =>
        path.startsWith(prefix.path) &&
        (path.length === prefix.path.length || path.charCodeAt(prefix.path.length) === SLASH),
    )?.route
  );
}

const SLASH = 0x2f;
