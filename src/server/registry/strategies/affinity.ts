// Where pods may run: affinity, tolerations, topology spread.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, labelValue, qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { validateSpreadKeys, validateTermKeys } from './label-keys.ts';
import { validateLabelSelector, validateNodeSelector, validateNodeSelectorTerm } from './label-selector.ts';

const REQUIRED = 'requiredDuringSchedulingIgnoredDuringExecution';
const PREFERRED = 'preferredDuringSchedulingIgnoredDuringExecution';
const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

export function validateAffinity(affinity: JsonObject | undefined, path: string): FieldError[] {
  if (!affinity) return [];
  const errors: FieldError[] = [];
  const node = asObject(affinity.nodeAffinity);
  if (node) errors.push(...validateNodeAffinity(node, `${path}.nodeAffinity`));
  for (const kind of ['podAffinity', 'podAntiAffinity']) {
    const terms = objectAt(affinity, kind);
    listAt(terms, REQUIRED).forEach((term, index) => {
      errors.push(...validatePodTerm(term, `${path}.${kind}.${REQUIRED}[${index}]`));
    });
    listAt(terms, PREFERRED).forEach((weighted, index) => {
      const at = `${path}.${kind}.${PREFERRED}[${index}]`;
      errors.push(...validateWeight(weighted, at));
      errors.push(...validatePodTerm(objectAt(weighted, 'podAffinityTerm'), `${at}.podAffinityTerm`));
    });
  }
  return errors;
}

function validateNodeAffinity(affinity: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const selector = asObject(affinity[REQUIRED]);
  if (selector) errors.push(...validateNodeSelector(selector, `${path}.${REQUIRED}`));
  listAt(affinity, PREFERRED).forEach((weighted, index) => {
    const at = `${path}.${PREFERRED}[${index}]`;
    errors.push(...validateWeight(weighted, at));
    errors.push(...validateNodeSelectorTerm(objectAt(weighted, 'preference'), `${at}.preference`, true));
  });
  return errors;
}

function validateWeight(weighted: JsonObject, path: string): FieldError[] {
  const weight = numberAt(weighted, 'weight') ?? 0;
  return weight >= 1 && weight <= 100
    ? []
    : [invalidValue(`${path}.weight`, weight, 'must be in the range 1-100')];
}

function validatePodTerm(term: JsonObject, path: string): FieldError[] {
  const errors = validateLabelSelector(asObject(term.labelSelector), `${path}.labelSelector`);
  errors.push(...validateLabelSelector(asObject(term.namespaceSelector), `${path}.namespaceSelector`));
  for (const namespace of stringsAt(term, 'namespaces')) {
    errors.push(...checkName(`${path}.namespace`, namespace, dnsLabel));
  }
  errors.push(...validateTermKeys(term, path));
  const key = stringAt(term, 'topologyKey');
  if (key === '') errors.push(required(`${path}.topologyKey`, 'can not be empty'));
  return [...errors, ...checkName(`${path}.topologyKey`, key, qualifiedName)];
}

export function validateTolerations(tolerations: JsonObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  tolerations.forEach((toleration, index) => {
    const path = `${field}[${index}]`;
    const key = stringAt(toleration, 'key');
    const operator = stringAt(toleration, 'operator');
    const value = stringAt(toleration, 'value');
    if (key !== '') errors.push(...checkName(`${path}.key`, key, qualifiedName));
    else if (operator !== 'Exists') {
      errors.push(
        invalidValue(
          `${path}.operator`,
          operator,
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      );
    }
    if (toleration.tolerationSeconds !== undefined && toleration.effect !== 'NoExecute') {
      errors.push(
        invalidValue(
          `${path}.effect`,
          toleration.effect ?? '',
          "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
      );
    }
    if (operator === '' || operator === 'Equal') {
      const rules = labelValue(value);
      if (rules.length > 0) errors.push(invalidValue(`${path}.operator`, value, rules.join(';')));
    } else if (operator === 'Exists') {
      if (value !== '') {
        errors.push(
          invalidValue(`${path}.operator`, value, "value must be empty when `operator` is 'Exists'"),
        );
      }
    } else {
      errors.push(notSupported(`${path}.operator`, operator, ['Equal', 'Exists']));
    }
    errors.push(...checkChoice(`${path}.effect`, toleration.effect, EFFECTS));
  });
  return errors;
}

export function validateTaints(taints: JsonObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  taints.forEach((taint, index) => {
    const path = `${field}[${index}]`;
    errors.push(...checkName(`${path}.key`, stringAt(taint, 'key'), qualifiedName));
    errors.push(...checkName(`${path}.value`, stringAt(taint, 'value'), labelValue));
    if (isUnset(taint.effect)) errors.push(required(`${path}.effect`));
    else errors.push(...checkChoice(`${path}.effect`, taint.effect, EFFECTS));
    const key = `${taint.key}:${taint.effect}`;
    if (seen.has(key)) {
      errors.push({
        ...duplicate(path, taint),
        message: `Duplicate value: ${JSON.stringify(dumpTaint(taint))}: taints must be unique by key and effect pair`,
      });
    }
    seen.add(key);
  });
  return errors;
}

/** As Kubernetes prints one: it has no names of JSON within. */
const dumpTaint = (taint: JsonObject): JsonObject => ({
  Key: stringAt(taint, 'key'),
  Value: stringAt(taint, 'value'),
  Effect: stringAt(taint, 'effect'),
  TimeAdded: taint.timeAdded ?? null,
});

export function validateTopologySpread(constraints: JsonObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  constraints.forEach((constraint, index) => {
    const path = `${field}[${index}]`;
    const skew = numberAt(constraint, 'maxSkew') ?? 0;
    if (skew <= 0) errors.push(invalidValue(`${path}.maxSkew`, skew, 'must be greater than zero'));
    const key = stringAt(constraint, 'topologyKey');
    if (key === '') errors.push(required(`${path}.topologyKey`, 'can not be empty'));
    const policy = stringAt(constraint, 'whenUnsatisfiable');
    if (policy !== 'DoNotSchedule' && policy !== 'ScheduleAnyway') {
      errors.push(notSupported(`${path}.whenUnsatisfiable`, policy, ['DoNotSchedule', 'ScheduleAnyway']));
    }
    // Told of the first of two that say the same.
    const again = constraints
      .slice(index + 1)
      .some((other) => stringAt(other, 'topologyKey') === key && other.whenUnsatisfiable === policy);
    if (again) {
      errors.push(duplicate(`${path}.{topologyKey, whenUnsatisfiable}`, `{${key}, ${policy}}`));
    }
    const domains = numberAt(constraint, 'minDomains');
    if (domains !== undefined) {
      if (domains <= 0) errors.push(invalidValue(`${path}.minDomains`, domains, 'must be greater than zero'));
      if (policy !== 'DoNotSchedule') {
        errors.push(
          invalidValue(
            `${path}.minDomains`,
            domains,
            `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${policy}`,
          ),
        );
      }
    }
    for (const name of ['nodeAffinityPolicy', 'nodeTaintsPolicy']) {
      errors.push(...checkChoice(`${path}.${name}`, constraint[name], ['Honor', 'Ignore']));
    }
    errors.push(...validateSpreadKeys(constraint, path));
    errors.push(...validateLabelSelector(asObject(constraint.labelSelector), `${path}.labelSelector`));
  });
  return errors;
}
