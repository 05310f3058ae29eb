// What a ResourceQuota may limit, and which of its scopes go together.
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { quantityOf } from '../../../api/quantity.ts';
import {
  asObject,
  checkName,
  invalidValue,
  listAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { isQuotaResource, isStandardResource, validateQuantity } from './resources.ts';

const SCOPES = new Set([
  'BestEffort',
  'CrossNamespacePodAffinity',
  'NotBestEffort',
  'NotTerminating',
  'PriorityClass',
  'Terminating',
  'VolumeAttributesClass',
]);
/** Scopes that say it all: only their existence can be asked for. */
const PLAIN_SCOPES = [
  'BestEffort',
  'NotBestEffort',
  'Terminating',
  'NotTerminating',
  'CrossNamespacePodAffinity',
];
const COMPUTE = /^(?:(?:requests|limits)\.)?(?:cpu|memory|ephemeral-storage)$/;
const WHOLE_NUMBERS =
  /^(?:pods|services(?:\..+)?|replicationcontrollers|resourcequotas|secrets|configmaps|persistentvolumeclaims|count\/.+)$/;

export function validateQuotaName(name: string, field: string): FieldError[] {
  const errors = checkName(field, name, qualifiedName);
  if (name.includes('/')) return errors;
  if (errors.length === 0 && !isStandardResource(name)) {
    errors.push(invalidValue(field, name, 'must be a standard resource type or fully qualified'));
  }
  if (!isQuotaResource(name)) {
    errors.push(invalidValue(field, name, 'must be a standard resource for quota'));
  }
  return errors;
}

export function validateQuotaAmount(name: string, value: unknown, field: string): FieldError[] {
  const errors = validateQuantity(value, field);
  if (WHOLE_NUMBERS.test(name) && quantityOf(value).nano % 1_000_000_000n !== 0n) {
    errors.push(invalidValue(field, value, 'must be an integer'));
  }
  return errors;
}

/** Can pods in this scope use up this resource? */
function fits(scope: string, resource: string): boolean {
  switch (scope) {
    case 'Terminating':
    case 'NotTerminating':
    case 'NotBestEffort':
    case 'PriorityClass':
    case 'CrossNamespacePodAffinity':
      return resource === 'pods' || COMPUTE.test(resource);
    case 'BestEffort':
      return resource === 'pods';
    default:
      return true;
  }
}

const RIVALS: readonly (readonly [string, string])[] = [
  ['BestEffort', 'NotBestEffort'],
  ['Terminating', 'NotTerminating'],
];

export function validateScopes(spec: JsonObject): FieldError[] {
  const scopes = stringsAt(spec, 'scopes');
  const field = 'spec.scopes';
  const errors = validateScopeList(scopes, spec, field, scopes);
  for (const pair of RIVALS) {
    if (pair.every((scope) => scopes.includes(scope))) {
      errors.push(invalidValue(field, scopes, 'conflicting scopes'));
    }
  }
  return errors;
}

function validateScopeList(
  scopes: readonly string[],
  spec: JsonObject,
  field: string,
  shown: unknown,
): FieldError[] {
  const limited = Object.keys(objectAt(spec, 'hard')).sort();
  return scopes.flatMap((scope) => {
    const errors: FieldError[] = [];
    if (!SCOPES.has(scope)) errors.push(invalidValue(field, shown, 'unsupported scope'));
    for (const name of limited) {
      if (isQuotaResource(name) && !fits(scope, name)) {
        errors.push(invalidValue(field, shown, 'unsupported scope applied to resource'));
      }
    }
    return errors;
  });
}

export function validateScopeSelector(spec: JsonObject): FieldError[] {
  const selector = asObject(spec.scopeSelector);
  if (!selector) return [];
  const field = 'spec.scopeSelector.matchExpressions';
  const errors: FieldError[] = [];
  const names: string[] = [];
  for (const expression of listAt(selector, 'matchExpressions')) {
    const scope = stringAt(expression, 'scopeName');
    const operator = stringAt(expression, 'operator');
    const values = stringsAt(expression, 'values');
    names.push(scope);
    if (!SCOPES.has(scope)) {
      errors.push(invalidValue(`${field}.scopeName`, scope, 'unsupported scope'));
    }
    for (const name of Object.keys(objectAt(spec, 'hard')).sort()) {
      if (isQuotaResource(name) && !fits(scope, name)) {
        errors.push(invalidValue(field, selector, 'unsupported scope applied to resource'));
      }
    }
    if (PLAIN_SCOPES.includes(scope) && operator !== 'Exists') {
      errors.push(
        invalidValue(
          `${field}.operator`,
          operator,
          `must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity`,
        ),
      );
    }
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) {
        errors.push(
          required(
            `${field}.values`,
            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
          ),
        );
      }
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) {
        errors.push(
          invalidValue(
            `${field}.values`,
            values,
            "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
          ),
        );
      }
    } else {
      errors.push(invalidValue(`${field}.operator`, operator, 'not a valid selector operator'));
    }
  }
  for (const pair of RIVALS) {
    if (pair.every((scope) => names.includes(scope))) {
      errors.push(invalidValue('spec.scopeSelector', names, 'conflicting scopes'));
    }
  }
  return errors;
}
