// What a LimitRange may ask for: names of resources, and the order of its bounds.
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { compareQuantities, quantityOf } from '../../../api/quantity.ts';
import {
  checkName,
  duplicate,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';
import { mayOvercommit, validateContainerResourceName, validateResourceName } from './resources.ts';

const LIMIT_TYPES = ['Container', 'PersistentVolumeClaim', 'Pod'];
const BOUNDS = ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'] as const;

export function validateLimits(spec: JsonObject): FieldError[] {
  const types = new Set<string>();
  return listAt(spec, 'limits').flatMap((limit, index) => {
    const path = `spec.limits[${index}]`;
    const type = stringAt(limit, 'type');
    const errors = validateLimitType(type, `${path}.type`);
    if (types.has(type)) errors.push(duplicate(`${path}.type`, type));
    types.add(type);
    errors.push(...validateNames(limit, type, path));
    const names = new Set(BOUNDS.flatMap((bound) => Object.keys(objectAt(limit, bound))));
    for (const name of names) errors.push(...validateBounds(limit, name, path));
    return errors;
  });
}

function validateLimitType(type: string, field: string): FieldError[] {
  const errors = checkName(field, type, qualifiedName);
  if (errors.length === 0 && !type.includes('/') && !LIMIT_TYPES.includes(type)) {
    errors.push(invalidValue(field, type, 'must be a standard limit type or fully qualified'));
  }
  return errors;
}

function validateNames(limit: JsonObject, type: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const rule = type === 'Pod' || type === 'Container' ? validateContainerResourceName : validateResourceName;
  for (const bound of BOUNDS) {
    if (bound === 'maxLimitRequestRatio' && type === 'PersistentVolumeClaim') {
      const bounded = ['min', 'max'].some((field) => objectAt(limit, field).storage !== undefined);
      const why = 'either minimum or maximum storage value is required, but neither was provided';
      if (!bounded) errors.push(required(`${path}.limits`, why));
    }
    const names = Object.keys(objectAt(limit, bound));
    if (type === 'Pod' && (bound === 'default' || bound === 'defaultRequest')) {
      if (names.length > 0) {
        errors.push(forbiddenField(`${path}.${bound}`, "may not be specified when `type` is 'Pod'"));
      }
      continue;
    }
    for (const name of names) errors.push(...rule(name, `${path}.${bound}[${name}]`));
  }
  return errors;
}

const TITLES = { max: 'max', min: 'min', default: 'default', defaultRequest: 'default request' } as const;
type Bound = keyof typeof TITLES;

/** Which bound may not exceed which; the third is the one the error names, the fourth the value it shows. */
const ORDERS: readonly (readonly [Bound, Bound, Bound, Bound])[] = [
  ['min', 'max', 'min', 'min'],
  ['min', 'defaultRequest', 'defaultRequest', 'defaultRequest'],
  ['defaultRequest', 'max', 'defaultRequest', 'defaultRequest'],
  ['defaultRequest', 'default', 'defaultRequest', 'defaultRequest'],
  // Kubernetes shows the other's value here.
  ['min', 'default', 'default', 'min'],
  ['default', 'max', 'default', 'max'],
];

function validateBounds(limit: JsonObject, name: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const at = (bound: string): unknown => objectAt(limit, bound)[name];
  for (const [low, high, named, shown] of ORDERS) {
    const [least, most] = [at(low), at(high)];
    if (least === undefined || most === undefined) continue;
    if (compareQuantities(quantityOf(least), quantityOf(most)) <= 0) continue;
    const why = `${TITLES[low]} value ${least} is greater than ${TITLES[high]} value ${most}`;
    errors.push(invalidValue(`${path}.${named}[${name}]`, at(shown), why));
  }
  errors.push(...validateRatio(limit, name, `${path}.maxLimitRequestRatio[${name}]`));
  const [given, requested] = [at('default'), at('defaultRequest')];
  if (!mayOvercommit(name) && given !== undefined && requested !== undefined) {
    if (compareQuantities(quantityOf(given), quantityOf(requested)) !== 0) {
      const why = `default value ${given} must equal to defaultRequest value ${requested} in ${name}`;
      errors.push(invalidValue(`${path}.defaultRequest[${name}]`, requested, why));
    }
  }
  return errors;
}

/** How many times its request a container's limit may be. */
function validateRatio(limit: JsonObject, name: string, field: string): FieldError[] {
  const shown = objectAt(limit, 'maxLimitRequestRatio')[name];
  if (shown === undefined) return [];
  const errors: FieldError[] = [];
  const ratio = quantityOf(shown).nano;
  if (ratio < 1_000_000_000n) errors.push(invalidValue(field, shown, `ratio ${shown} is less than 1`));
  const [min, max] = [objectAt(limit, 'min')[name], objectAt(limit, 'max')[name]];
  if (min === undefined || max === undefined || quantityOf(min).nano <= 0n) return errors;
  const widest = Number(quantityOf(max).nano) / Number(quantityOf(min).nano);
  if (Number(ratio) / 1e9 > widest) {
    const why = `ratio ${shown} is greater than max/min = ${widest.toFixed(6)}`;
    errors.push(invalidValue(field, shown, why));
  }
  return errors;
}
