// LimitRanger: a namespace's defaults for what containers request and may use, and its bounds for containers, pods and
// claims.
import type { JsonObject } from '../../api/object.ts';
import { type Amounts, amountsOf, podLimits, podRequests } from '../../api/pod-resources.ts';
import { formatQuantity, milliUnits, type Quantity, wholeUnits } from '../../api/quantity.ts';
import { ensureObject, listAt, objectAt, stringAt } from '../../api/validation.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from './port.ts';
import { listed, refuse } from './refusal.ts';

const ANNOTATION = 'kubernetes.io/limit-ranger';
/** Larger values are compared, and divided, in whole units. */
const MOST_MILLI = (2n ** 63n - 1n) / 1000n;

export function limitRanger(store: Pick<Store, 'heads'>): AdmissionPlugin {
  const rangesFor = (request: AdmissionRequest): JsonObject[] =>
    concerns(request)
      ? store
          .heads('limitranges', `${request.target.namespace}/`)
          .map(({ object }) => object as unknown as JsonObject)
      : [];
  return {
    name: 'LimitRanger',
    admit: (request) => {
      if (request.bucket !== 'pods' || request.operation !== 'CREATE' || !request.object) return;
      for (const range of rangesFor(request)) fillPod(request.object, limitsOf(range));
    },
    validate: (request) => {
      for (const range of rangesFor(request)) {
        const problems = violations(request, limitsOf(range));
        if (problems.length > 0) throw refuse(request, listed(problems));
      }
    },
  };
}

/** New pods and those that are resized (containers cannot change otherwise), and claims. */
function concerns({ bucket, operation, target, object, old }: AdmissionRequest): boolean {
  if (!object || !target.namespace) return false;
  if (old && objectAt(old, 'metadata').deletionTimestamp !== undefined) return false;
  if (bucket === 'pods') {
    if (target.subresource === 'resize') return operation === 'UPDATE';
    return target.subresource === undefined && operation === 'CREATE';
  }
  if (bucket !== 'persistentvolumeclaims' || target.subresource !== undefined) return false;
  return operation === 'CREATE' || operation === 'UPDATE';
}

const limitsOf = (range: JsonObject): JsonObject[] => listAt(objectAt(range, 'spec'), 'limits');

/** Sets what containers do not say, and tells so in an annotation. */
export function fillPod(pod: JsonObject, limits: readonly JsonObject[]): void {
  const defaults: Record<'requests' | 'limits', JsonObject> = { requests: {}, limits: {} };
  for (const limit of limits) {
    if (limit.type !== 'Container') continue;
    Object.assign(defaults.requests, objectAt(limit, 'defaultRequest'));
    Object.assign(defaults.limits, objectAt(limit, 'default'));
  }
  const spec = objectAt(pod, 'spec');
  const told: string[] = [];
  for (const [field, what] of [
    ['containers', 'container'],
    ['initContainers', 'init container'],
  ] as const) {
    for (const container of listAt(spec, field)) {
      for (const kind of ['requests', 'limits'] as const) {
        const set = fill(container, kind, defaults[kind]);
        if (set.length === 0) continue;
        const word = kind === 'requests' ? 'request' : 'limit';
        told.push(`${set.sort().join(', ')} ${word} for ${what} ${stringAt(container, 'name')}`);
      }
    }
  }
  if (told.length === 0) return;
  const metadata = ensureObject(pod, 'metadata');
  metadata.annotations = {
    ...objectAt(metadata, 'annotations'),
    [ANNOTATION]: `LimitRanger plugin set: ${told.join('; ')}`,
  };
}

function fill(container: JsonObject, kind: 'requests' | 'limits', defaults: JsonObject): string[] {
  const given = objectAt(objectAt(container, 'resources'), kind);
  const missing = Object.keys(defaults).filter((name) => given[name] === undefined);
  if (missing.length === 0) return [];
  const filled: JsonObject = { ...given };
  for (const name of missing) filled[name] = defaults[name];
  container.resources = { ...objectAt(container, 'resources'), [kind]: filled };
  return missing;
}

function violations({ bucket, object }: AdmissionRequest, limits: readonly JsonObject[]): string[] {
  const spec = objectAt(object, 'spec');
  return limits.flatMap((limit) => {
    const type = stringAt(limit, 'type');
    if (bucket === 'persistentvolumeclaims') {
      if (type !== 'PersistentVolumeClaim') return [];
      return claimBounds(limit, type, amountsOf(objectAt(objectAt(spec, 'resources'), 'requests')));
    }
    if (type === 'Pod') return bounds(limit, type, podRequests(spec), podLimits(spec));
    if (type !== 'Container') return [];
    return [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')].flatMap((container) => {
      const resources = objectAt(container, 'resources');
      return bounds(
        limit,
        type,
        amountsOf(objectAt(resources, 'requests')),
        amountsOf(objectAt(resources, 'limits')),
      );
    });
  });
}

/** Kubernetes' order within a limit is that of a map, so any; here it is the alphabet's. */
function sorted(limit: JsonObject, field: string): [string, Quantity][] {
  return [...amountsOf(objectAt(limit, field))].sort(([left], [right]) => (left < right ? -1 : 1));
}

function bounds(limit: JsonObject, type: string, requests: Amounts, limits: Amounts): string[] {
  return [
    ...sorted(limit, 'min').map(([name, least]) =>
      below(`minimum ${name} usage per ${type} is ${formatQuantity(least)}`, least, {
        request: requests.get(name),
        limit: limits.get(name),
      }),
    ),
    ...sorted(limit, 'max').map(([name, most]) =>
      above(`maximum ${name} usage per ${type} is ${formatQuantity(most)}`, most, {
        request: requests.get(name),
        limit: limits.get(name),
      }),
    ),
    ...sorted(limit, 'maxLimitRequestRatio').map(([name, most]) =>
      ratio(`${name} max limit to request ratio per ${type} is ${formatQuantity(most)}`, most, {
        request: requests.get(name),
        limit: limits.get(name),
      }),
    ),
  ].filter((text) => text !== undefined);
}

function claimBounds(limit: JsonObject, type: string, requests: Amounts): string[] {
  return [
    ...sorted(limit, 'min').map(([name, least]) =>
      below(`minimum ${name} usage per ${type} is ${formatQuantity(least)}`, least, {
        request: requests.get(name),
        limit: undefined,
      }),
    ),
    ...sorted(limit, 'max').map(([name, most]) => {
      const rule = `maximum ${name} usage per ${type} is ${formatQuantity(most)}`;
      const request = requests.get(name);
      if (!request) return `${rule}.  No request is specified`;
      return request.nano > most.nano ? `${rule}, but request is ${formatQuantity(request)}` : undefined;
    }),
  ].filter((text) => text !== undefined);
}

interface Given {
  request: Quantity | undefined;
  limit: Quantity | undefined;
}

function below(rule: string, least: Quantity, { request, limit }: Given): string | undefined {
  if (!request) return `${rule}.  No request is specified`;
  if (request.nano < least.nano) return `${rule}, but request is ${formatQuantity(request)}`;
  return limit && limit.nano < least.nano ? `${rule}, but limit is ${formatQuantity(limit)}` : undefined;
}

function above(rule: string, most: Quantity, { request, limit }: Given): string | undefined {
  if (!limit) return `${rule}.  No limit is specified`;
  if (limit.nano > most.nano) return `${rule}, but limit is ${formatQuantity(limit)}`;
  return request && request.nano > most.nano
    ? `${rule}, but request is ${formatQuantity(request)}`
    : undefined;
}

function ratio(rule: string, most: Quantity, { request, limit }: Given): string | undefined {
  if (!request || request.nano === 0n) return `${rule}, but no request is specified or request is 0`;
  if (!limit || limit.nano === 0n) return `${rule}, but no limit is specified or limit is 0`;
  const fine = [request, limit, most].every(({ nano }) => nano / 1_000_000_000n <= MOST_MILLI);
  const units = fine ? milliUnits : wholeUnits;
  const observed = units(limit) / units(request);
  return observed * 1000 > milliUnits(most)
    ? `${rule}, but provided ratio is ${observed.toFixed(6)}`
    : undefined;
}
