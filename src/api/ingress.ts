// What the server and the boards agree on about Ingresses.
import type { Node } from './types/core-v1.ts';
import type { Ingress, IngressClass } from './types/networking-v1.ts';

/** `spec.controller` of the IngressClasses that boards serve. */
export const INGRESS_CONTROLLER = 'copepod.io/ingress';
/** The class that a first start makes, as the default. */
export const INGRESS_CLASS = 'copepod';
/** Node label: `false` keeps a node from serving; where any node has `true`, only those that have it serve. */
export const SERVES_INGRESS = 'ingress.copepod.io/enabled';
/** Node condition: this board cannot serve them now, its message says why. Absent or False: it can. */
export const INGRESS_UNAVAILABLE = 'IngressUnavailable';
const NO_BALANCER = 'node.kubernetes.io/exclude-from-external-load-balancers';

const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';
const IS_DEFAULT = 'ingressclass.kubernetes.io/is-default-class';

/** Annotations of an Ingress. */
const SSL_REDIRECT = 'copepod.io/ssl-redirect';
const BACKEND_PROTOCOL = 'copepod.io/backend-protocol';
const PROXY_TIMEOUT = 'copepod.io/proxy-timeout';
/** A day: who wants more wants no limit, which is 0. */
const LONGEST_TIMEOUT_SECONDS = 86_400;

export interface IngressSettings {
  /** Answer plain HTTP with a redirect. */
  sslRedirect?: true;
  /** Speak TLS to the endpoints. */
  backendTls?: true;
  /** Seconds that an endpoint has to begin its answer; 0: no limit. */
  timeoutSeconds?: number;
}

/**
 * Is it for boards to serve? The deprecated annotation comes before the field, as the API's own documentation has it; an
 * Ingress that names no class (older than the default class) is of the default one.
 */
export function isOurIngress({ metadata, spec }: Ingress, classes: readonly IngressClass[]): boolean {
  const named = metadata.annotations?.[CLASS_ANNOTATION] ?? spec?.ingressClassName;
  return classes.some(
    (candidate) =>
      candidate.spec?.controller === INGRESS_CONTROLLER &&
      (named === undefined
        ? candidate.metadata.annotations?.[IS_DEFAULT] === 'true'
        : candidate.metadata.name === named),
  );
}

/** The nodes that serve Ingresses, by their labels alone. */
export function ingressNodes(nodes: readonly Node[]): Node[] {
  const usable = nodes.filter(
    ({ metadata: { labels = {}, deletionTimestamp } }) =>
      deletionTimestamp === undefined &&
      labels[SERVES_INGRESS] !== 'false' &&
      labels[NO_BALANCER] === undefined,
  );
  const chosen = usable.filter(({ metadata }) => metadata.labels?.[SERVES_INGRESS] === 'true');
  return chosen.length > 0 ? chosen : usable;
}

/** The labels that decide it, to be compared. */
export function ingressLabels({ metadata: { labels = {} } }: Node): string {
  return `${labels[SERVES_INGRESS]}/${labels[NO_BALANCER] !== undefined}`;
}

/** Names of the Secrets that its TLS entries want, once each. */
export function tlsSecrets({ spec }: Ingress): string[] {
  return [...new Set((spec?.tls ?? []).flatMap(({ secretName }) => secretName || []))];
}

/** Where two Ingresses say the same, the older one is right; the name decides among twins. */
export function olderFirst(
  a: { created: string; namespace: string; name: string },
  b: { created: string; namespace: string; name: string },
): number {
  const order = (x: string, y: string): number => (x < y ? -1 : x > y ? 1 : 0);
  return order(a.created, b.created) || order(a.namespace, b.namespace) || order(a.name, b.name);
}

/** What our annotations ask for, and those whose values say nothing. */
export function ingressSettings(annotations: Readonly<Record<string, string>>): {
  settings: IngressSettings;
  problems: string[];
} {
  const problems: string[] = [];
  const read = <T>(
    name: string,
    expected: string,
    parse: (value: string) => T | undefined,
  ): T | undefined => {
    const value = annotations[name];
    const parsed = value === undefined ? undefined : parse(value);
    if (value !== undefined && parsed === undefined)
      problems.push(`annotation ${name} is ignored: expected ${expected}, not ${JSON.stringify(value)}`);
    return parsed;
  };
  const redirect = read(SSL_REDIRECT, '"true" or "false"', (value) =>
    value === 'true' ? true : value === 'false' ? false : undefined,
  );
  const tls = read(BACKEND_PROTOCOL, 'HTTP or HTTPS', (value) =>
    value === 'HTTPS' ? true : value === 'HTTP' ? false : undefined,
  );
  const timeoutSeconds = read(PROXY_TIMEOUT, `seconds, 0 to ${LONGEST_TIMEOUT_SECONDS}`, (value) => {
    const seconds = /^\d{1,5}$/.test(value) ? Number(value) : undefined;
    return seconds !== undefined && seconds <= LONGEST_TIMEOUT_SECONDS ? seconds : undefined;
  });
  return {
    settings: {
      ...(redirect ? { sslRedirect: true } : {}),
      ...(tls ? { backendTls: true } : {}),
      ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
    },
    problems,
  };
}
