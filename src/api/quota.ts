// What objects use of a ResourceQuota, for those who admit them and for the controller that counts them again. Pure.
import type { JsonObject } from './object.ts';
import { type Amounts, addTo, podLimits, podRequests } from './pod-resources.ts';
import { parseQuantity, type Quantity, quantityOf, wholeUnits } from './quantity.ts';
import { listAt, numberAt, objectAt, stringAt, stringsAt } from './validation.ts';

/** A scope or an expression of a scopeSelector. */
export interface QuotaScope {
  scope: string;
  operator: string;
  values: readonly string[];
}

/** How objects of one resource type are charged. */
export interface QuotaEvaluator {
  /** Does this resource name of `spec.hard` concern objects of the type? */
  concerns(name: string): boolean;
  matches(scope: QuotaScope, object: JsonObject): boolean;
  /** `now`: milliseconds since 1970. */
  usage(object: JsonObject, now: number): Amounts;
  /** Why an object cannot be charged for these names at all; undefined when it can. */
  problem?(names: readonly string[], object: JsonObject): string | undefined;
  /** Do changes of the object itself change what it uses? */
  readonly chargesUpdates: boolean;
}

export const ONE: Quantity = parseQuantity('1');
const NOTHING: Quantity = parseQuantity('0');
const COUNT = 'count/';
/** Resource types that were counted by their bare name before there was `count/`. */
const BARE_NAMES = ['configmaps', 'replicationcontrollers', 'resourcequotas', 'secrets'];
/** Not counted: they come and go by the thousand, or are never stored. */
const UNCOUNTED = new Set(['events', 'events.events.k8s.io', 'bindings', 'componentstatuses']);

/** Of a bucket (`pods`, `deployments.apps`); undefined for what no quota can limit. */
export function quotaEvaluator(bucket: string): QuotaEvaluator | undefined {
  if (UNCOUNTED.has(bucket) || bucket.endsWith('.authorization.k8s.io')) return undefined;
  switch (bucket) {
    case 'pods':
      return pods;
    case 'services':
      return services;
    case 'persistentvolumeclaims':
      return claims;
    default:
      return counted(bucket);
  }
}

/** The buckets that may use something of what these names limit. */
export function quotaBuckets(names: Iterable<string>): Set<string> {
  const buckets = new Set<string>();
  for (const name of names) {
    if (name.startsWith(COUNT)) buckets.add(name.slice(COUNT.length));
    else if (BARE_NAMES.includes(name)) buckets.add(name);
    for (const [bucket, evaluator] of SPECIAL) if (evaluator.concerns(name)) buckets.add(bucket);
  }
  return buckets;
}

/** Scopes and scopeSelector of a quota: an object has to match all of them. */
export function quotaScopes(spec: JsonObject): QuotaScope[] {
  return [
    ...stringsAt(spec, 'scopes').map((scope) => ({ scope, operator: 'Exists', values: [] })),
    ...listAt(objectAt(spec, 'scopeSelector'), 'matchExpressions').map((expression) => ({
      scope: stringAt(expression, 'scopeName'),
      operator: stringAt(expression, 'operator'),
      values: stringsAt(expression, 'values'),
    })),
  ];
}

/** What objects use, remembered while they are: stored objects do not change. */
export class UsageCache {
  private readonly known = new WeakMap<JsonObject, Amounts>();

  of(evaluator: QuotaEvaluator, object: JsonObject, now: number): Amounts {
    // What is being deleted counts until a certain time.
    if (objectAt(object, 'metadata').deletionTimestamp !== undefined) return evaluator.usage(object, now);
    let usage = this.known.get(object);
    if (!usage) {
      usage = evaluator.usage(object, now);
      this.known.set(object, usage);
    }
    return usage;
  }
}

/** What is used of each name in `spec.hard`; names that nothing can use are left out, as Kubernetes does. */
export function quotaUsage(
  spec: JsonObject,
  objectsOf: (bucket: string) => Iterable<JsonObject> | undefined,
  now: number,
  cache: UsageCache,
): Amounts {
  const names = Object.keys(objectAt(spec, 'hard'));
  const scopes = quotaScopes(spec);
  const used: Amounts = new Map();
  for (const bucket of quotaBuckets(names)) {
    const evaluator = quotaEvaluator(bucket);
    const objects = objectsOf(bucket);
    if (!evaluator || !objects) continue;
    const own = names.filter((name) => evaluator.concerns(name));
    for (const name of own) if (!used.has(name)) used.set(name, NOTHING);
    for (const object of objects) {
      if (!scopes.every((scope) => evaluator.matches(scope, object))) continue;
      addTo(used, only(cache.of(evaluator, object, now), own));
    }
  }
  return used;
}

/** The amounts of these names. */
export function only(amounts: Amounts, names: readonly string[]): Amounts {
  return new Map([...amounts].filter(([name]) => names.includes(name)));
}

const countName = (bucket: string): string => `${COUNT}${bucket}`;

function counted(bucket: string): QuotaEvaluator {
  const names = [countName(bucket), ...(BARE_NAMES.includes(bucket) ? [bucket] : [])];
  return {
    concerns: (name) => names.includes(name),
    matches: () => false,
    usage: () => new Map(names.map((name) => [name, ONE])),
    chargesUpdates: false,
  };
}

const COMPUTE = ['cpu', 'memory', 'ephemeral-storage'];
/** These have to be given by every container once they are limited; a mistake that Kubernetes does not repeat. */
const DEMANDED = ['cpu', 'limits.cpu', 'limits.memory', 'memory', 'requests.cpu', 'requests.memory'];
const HUGE_PAGES = 'hugepages-';

function isExtended(resource: string): boolean {
  return resource.includes('/') && !resource.startsWith('requests.') && !isNative(resource);
}

function isNative(resource: string): boolean {
  const domain = resource.split('/')[0] ?? '';
  return !resource.includes('/') || domain === 'kubernetes.io' || domain.endsWith('.kubernetes.io');
}

const pods: QuotaEvaluator = {
  concerns: (name) =>
    name === 'pods' ||
    name === countName('pods') ||
    COMPUTE.some((one) => name === one || name === `requests.${one}` || name === `limits.${one}`) ||
    name.startsWith(HUGE_PAGES) ||
    name.startsWith(`requests.${HUGE_PAGES}`) ||
    (name.startsWith('requests.') && isExtended(name.slice('requests.'.length))),
  matches: podMatches,
  usage: (pod, now) => {
    const used: Amounts = new Map([[countName('pods'), ONE]]);
    // `count/pods` counts what is stored, all else ends with the pod's life.
    if (!isAlive(pod, now)) return used;
    const spec = objectAt(pod, 'spec');
    addTo(used, computeUsage(podRequests(spec), podLimits(spec)));
    return used;
  },
  problem: (names, pod) => {
    const demanded = names.filter((name) => DEMANDED.includes(name)).sort();
    const spec = objectAt(pod, 'spec');
    const missing = new Map<string, Set<string>>();
    for (const container of [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')]) {
      const resources = objectAt(container, 'resources');
      const given = computeUsage(namesOf(resources, 'requests'), namesOf(resources, 'limits'));
      for (const name of demanded) {
        if (given.has(name)) continue;
        missing.set(name, (missing.get(name) ?? new Set()).add(stringAt(container, 'name')));
      }
    }
    if (missing.size === 0) return undefined;
    const list = [...missing].map(([name, containers]) => `${name} for: ${[...containers].sort().join(',')}`);
    return `must specify ${list.sort().join('; ')}`;
  },
  chargesUpdates: false,
};

const namesOf = (resources: JsonObject, field: string): Amounts =>
  new Map(Object.keys(objectAt(resources, field)).map((name) => [name, ONE]));

function computeUsage(requests: Amounts, limits: Amounts): Amounts {
  const used: Amounts = new Map([['pods', ONE]]);
  for (const [name, quantity] of requests) {
    if (COMPUTE.includes(name) || name.startsWith(HUGE_PAGES)) used.set(name, quantity);
    if (COMPUTE.includes(name) || name.startsWith(HUGE_PAGES) || isExtended(name)) {
      used.set(`requests.${name}`, quantity);
    }
  }
  for (const [name, quantity] of limits) {
    if (COMPUTE.includes(name)) used.set(`limits.${name}`, quantity);
  }
  return used;
}

/** Not ended, and not past the grace period of its deletion. */
function isAlive(pod: JsonObject, now: number): boolean {
  const phase = stringAt(objectAt(pod, 'status'), 'phase');
  if (phase === 'Failed' || phase === 'Succeeded') return false;
  const metadata = objectAt(pod, 'metadata');
  const deleted = stringAt(metadata, 'deletionTimestamp');
  const grace = numberAt(metadata, 'deletionGracePeriodSeconds');
  // deletionTimestamp already includes the grace period; Kubernetes waits it once more.
  return deleted === '' || grace === undefined || now <= Date.parse(deleted) + grace * 1000;
}

function podMatches({ scope, operator, values }: QuotaScope, pod: JsonObject): boolean {
  const spec = objectAt(pod, 'spec');
  switch (scope) {
    case 'Terminating':
      return (numberAt(spec, 'activeDeadlineSeconds') ?? -1) >= 0;
    case 'NotTerminating':
      return (numberAt(spec, 'activeDeadlineSeconds') ?? -1) < 0;
    case 'BestEffort':
      return isBestEffort(pod);
    case 'NotBestEffort':
      return !isBestEffort(pod);
    case 'PriorityClass': {
      const name = stringAt(spec, 'priorityClassName');
      return oneMatches(operator, values, name === '' ? [] : [name]);
    }
    case 'CrossNamespacePodAffinity':
      return crossesNamespaces(objectAt(spec, 'affinity'));
    default:
      return false;
  }
}

/** As a label selector on a label that has one of these values, or is absent. */
function oneMatches(operator: string, values: readonly string[], present: readonly string[]): boolean {
  switch (operator) {
    case 'Exists':
      return present.length > 0;
    case 'DoesNotExist':
      return present.length === 0;
    case 'In':
      return present.some((value) => values.includes(value));
    case 'NotIn':
      return present.length === 0 || present.some((value) => !values.includes(value));
    default:
      return false;
  }
}

function isBestEffort(pod: JsonObject): boolean {
  const known = stringAt(objectAt(pod, 'status'), 'qosClass');
  if (known !== '') return known === 'BestEffort';
  const spec = objectAt(pod, 'spec');
  const asking = [
    objectAt(spec, 'resources'),
    ...[...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')].map((container) =>
      objectAt(container, 'resources'),
    ),
  ];
  return !asking.some((resources) =>
    ['requests', 'limits'].some((field) =>
      ['cpu', 'memory'].some((name) => {
        const value = objectAt(resources, field)[name];
        return value !== undefined && quantityOf(value).nano > 0n;
      }),
    ),
  );
}

function crossesNamespaces(affinity: JsonObject): boolean {
  return ['podAffinity', 'podAntiAffinity'].some((kind) => {
    const rules = objectAt(affinity, kind);
    const terms = [
      ...listAt(rules, 'requiredDuringSchedulingIgnoredDuringExecution'),
      ...listAt(rules, 'preferredDuringSchedulingIgnoredDuringExecution').map((weighted) =>
        objectAt(weighted, 'podAffinityTerm'),
      ),
    ];
    return terms.some(
      (term) => stringsAt(term, 'namespaces').length > 0 || term.namespaceSelector !== undefined,
    );
  });
}

const number = (value: number): Quantity => parseQuantity(String(value));

const services: QuotaEvaluator = {
  concerns: (name) =>
    [countName('services'), 'services', 'services.nodeports', 'services.loadbalancers'].includes(name),
  matches: () => false,
  usage: (service) => {
    const spec = objectAt(service, 'spec');
    const ports = listAt(spec, 'ports');
    const balanced = spec.type === 'LoadBalancer';
    // Without allocation only the node ports that were asked for count.
    const open =
      balanced && spec.allocateLoadBalancerNodePorts === false
        ? ports.filter((port) => (numberAt(port, 'nodePort') ?? 0) !== 0)
        : ports;
    return new Map([
      [countName('services'), ONE],
      ['services', ONE],
      ['services.loadbalancers', balanced ? ONE : NOTHING],
      ['services.nodeports', balanced || spec.type === 'NodePort' ? number(open.length) : NOTHING],
    ]);
  },
  chargesUpdates: true,
};

const CLAIM_NAMES = ['persistentvolumeclaims', 'requests.storage'];
const BY_CLASS = '.storageclass.storage.k8s.io/';
const CLASS_ANNOTATION = 'volume.beta.kubernetes.io/storage-class';

const claims: QuotaEvaluator = {
  concerns: (name) =>
    name === countName('persistentvolumeclaims') ||
    CLAIM_NAMES.some((own) => name === own || name.endsWith(`${BY_CLASS}${own}`)),
  matches: ({ scope, operator, values }, claim) => {
    if (scope !== 'VolumeAttributesClass') return false;
    const status = objectAt(claim, 'status');
    const names = [
      stringAt(objectAt(claim, 'spec'), 'volumeAttributesClassName'),
      stringAt(status, 'currentVolumeAttributesClassName'),
      stringAt(objectAt(status, 'modifyVolumeStatus'), 'targetVolumeAttributesClassName'),
    ].filter((name) => name !== '');
    return oneMatches(operator, values, names);
  },
  usage: (claim) => {
    const used: Amounts = new Map([
      [countName('persistentvolumeclaims'), ONE],
      ['persistentvolumeclaims', ONE],
    ]);
    const spec = objectAt(claim, 'spec');
    const annotation = objectAt(objectAt(claim, 'metadata'), 'annotations')[CLASS_ANNOTATION];
    const storageClass = typeof annotation === 'string' ? annotation : stringAt(spec, 'storageClassName');
    if (storageClass !== '') used.set(`${storageClass}${BY_CLASS}persistentvolumeclaims`, ONE);
    const storage = storageOf(claim);
    if (storage) {
      used.set('requests.storage', storage);
      if (storageClass !== '') used.set(`${storageClass}${BY_CLASS}requests.storage`, storage);
    }
    return used;
  },
  chargesUpdates: true,
};

/** Whole bytes; what is already allocated counts when it is more than what is asked for now. */
function storageOf(claim: JsonObject): Quantity | undefined {
  const asked = objectAt(objectAt(objectAt(claim, 'spec'), 'resources'), 'requests').storage;
  if (asked === undefined) return undefined;
  const held = objectAt(objectAt(claim, 'status'), 'allocatedResources').storage;
  const wanted = quantityOf(asked);
  const allocated = held === undefined ? wanted : quantityOf(held);
  const larger = allocated.nano > wanted.nano ? allocated : wanted;
  return { nano: BigInt(wholeUnits(larger)) * 1_000_000_000n, format: larger.format };
}

const SPECIAL: readonly [string, QuotaEvaluator][] = [
  ['pods', pods],
  ['services', services],
  ['persistentvolumeclaims', claims],
];
