// Requests, limits and the names of resources.
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { compareQuantities, quantityOf } from '../../../api/quantity.ts';
import {
  checkName,
  duplicate,
  fieldNotFound,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';

const STANDARD = new Set(['cpu', 'memory', 'ephemeral-storage']);

const isHugePages = (name: string): boolean => name.startsWith('hugepages-');
const COUNTED = new Set([
  'pods',
  'services',
  'services.loadbalancers',
  'services.nodeports',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'configmaps',
  'persistentvolumeclaims',
]);
const PREFIXED = /^(?:requests|limits)\.(?:cpu|memory|ephemeral-storage|storage|hugepages-.+)$/;

/** Has a name without a domain a meaning in Kubernetes, anywhere? */
export function isStandardResource(name: string): boolean {
  return (
    STANDARD.has(name) || COUNTED.has(name) || name === 'storage' || isHugePages(name) || PREFIXED.test(name)
  );
}

/** Can a quota limit it? Objects of any kind are counted as `count/<resource>.<group>`. */
export function isQuotaResource(name: string): boolean {
  const requested = /^requests\.(.+)$/.exec(name)?.[1] ?? '';
  return (
    name === 'cpu' ||
    name === 'memory' ||
    name === 'ephemeral-storage' ||
    COUNTED.has(name) ||
    isHugePages(name) ||
    (PREFIXED.test(name) && name !== 'limits.storage') ||
    requested.includes('/')
  );
}

const isNative = (name: string): boolean => !name.includes('/') || name.includes('kubernetes.io/');
/** What may be given out more than once; huge pages and devices may not. */
export const mayOvercommit = (name: string): boolean => isNative(name) && !isHugePages(name);

/** `known`: the names of the pod's resourceClaims. */
export function validateContainerResources(
  resources: JsonObject,
  field: string,
  known: readonly string[] = [],
): FieldError[] {
  const errors: FieldError[] = [];
  const limits = objectAt(resources, 'limits');
  const requests = objectAt(resources, 'requests');
  for (const name of Object.keys(limits)) {
    errors.push(...validateResource(name, limits[name], `${field}.limits[${name}]`));
  }
  for (const name of Object.keys(requests)) {
    const value = requests[name];
    errors.push(...validateResource(name, value, `${field}.requests[${name}]`));
    if (Object.hasOwn(limits, name)) {
      const order = compareQuantities(quantityOf(value), quantityOf(limits[name]));
      if (order !== 0 && !mayOvercommit(name)) {
        errors.push(
          invalidValue(`${field}.requests`, value, `must be equal to ${name} limit of ${limits[name]}`),
        );
      } else if (order > 0) {
        errors.push(
          invalidValue(
            `${field}.requests`,
            value,
            `must be less than or equal to ${name} limit of ${limits[name]}`,
          ),
        );
      }
    } else if (!mayOvercommit(name)) {
      errors.push(required(`${field}.limits`, 'Limit must be set for non overcommitable resources'));
    }
  }
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some(isHugePages) && !names.includes('cpu') && !names.includes('memory')) {
    errors.push(forbiddenField(field, 'HugePages require cpu or memory'));
  }
  const claims = new Set<string>();
  listAt(resources, 'claims').forEach((claim, index) => {
    const name = stringAt(claim, 'name');
    const at = `${field}.claims[${index}]`;
    if (name === '') errors.push(required(at));
    else if (claims.has(name)) errors.push(duplicate(at, name));
    else if (!known.includes(name)) {
      const choices = known.length === 0 ? ' which is empty' : `: ${[...known].sort().join(', ')}`;
      const missing = fieldNotFound(at, name);
      errors.push({
        ...missing,
        message: `${missing.message}: must be one of the names in pod.spec.resourceClaims${choices}`,
      });
    }
    claims.add(name);
  });
  return errors;
}

export function validateResourceName(name: string, field: string): FieldError[] {
  const errors = checkName(field, name, qualifiedName);
  if (errors.length === 0 && !name.includes('/') && !isStandardResource(name)) {
    errors.push(invalidValue(field, name, 'must be a standard resource type or fully qualified'));
  }
  return errors;
}

export function validateContainerResourceName(name: string, field: string): FieldError[] {
  const errors = validateResourceName(name, field);
  if (!name.includes('/') && !STANDARD.has(name) && !isHugePages(name)) {
    errors.push(invalidValue(field, name, 'must be a standard resource for containers'));
  } else if (name.startsWith('requests.')) {
    errors.push(invalidValue(field, name, "doesn't follow extended resource name standard"));
  }
  return errors;
}

function validateResource(name: string, value: unknown, field: string): FieldError[] {
  const errors = [...validateContainerResourceName(name, field), ...validateQuantity(value, field)];
  if (isHugePages(name) && !isWholePages(name, value)) {
    errors.push(invalidValue(field, value, `${value} is not positive integer multiple of ${name}`));
  }
  if (!isNative(name) && quantityOf(value).nano % 1_000_000_000n !== 0n) {
    errors.push(invalidValue(field, value, 'must be an integer'));
  }
  return errors;
}

/** An amount of something, wherever it is counted: of pods, claims and devices there are no halves. */
export function validateAmount(name: string, value: unknown, field: string): FieldError[] {
  const errors = validateQuantity(value, field);
  const whole = !isNative(name) || COUNTED.has(name);
  if (whole && quantityOf(value).nano % 1_000_000_000n !== 0n) {
    errors.push(invalidValue(field, value, 'must be an integer'));
  }
  return errors;
}

function isWholePages(name: string, value: unknown): boolean {
  try {
    const page = quantityOf(name.slice('hugepages-'.length)).nano;
    return page > 0n && quantityOf(value).nano % page === 0n;
  } catch {
    return false;
  }
}

export function validateQuantity(value: unknown, field: string): FieldError[] {
  return quantityOf(value).nano < 0n
    ? [invalidValue(field, value, 'must be greater than or equal to 0')]
    : [];
}
