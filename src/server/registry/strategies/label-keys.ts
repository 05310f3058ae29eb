// matchLabelKeys and mismatchLabelKeys: "pods that have the same value of this label as the new pod has".
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkName,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  stringsAt,
} from '../../../api/validation.ts';

/**
 * Writes the values of the pod's labels into the selectors of its affinity terms and spread constraints, so that whoever
 * reads the pod, the scheduler first, need not look at its labels as well. `spec` is private to the caller.
 */
export function mergeLabelKeys(spec: JsonObject, labels: JsonObject): void {
  for (const constraint of listAt(spec, 'topologySpreadConstraints')) {
    addRequirements(constraint, 'matchLabelKeys', 'In', labels);
  }
  const affinity = objectAt(spec, 'affinity');
  for (const sort of ['podAffinity', 'podAntiAffinity']) {
    for (const term of affinityTerms(objectAt(affinity, sort))) {
      addRequirements(term, 'matchLabelKeys', 'In', labels);
      addRequirements(term, 'mismatchLabelKeys', 'NotIn', labels);
    }
  }
}

function affinityTerms(affinity: JsonObject): JsonObject[] {
  return [
    ...listAt(affinity, 'requiredDuringSchedulingIgnoredDuringExecution'),
    ...listAt(affinity, 'preferredDuringSchedulingIgnoredDuringExecution').map((weighted) =>
      objectAt(weighted, 'podAffinityTerm'),
    ),
  ];
}

function addRequirements(term: JsonObject, keysField: string, operator: string, labels: JsonObject): void {
  const keys = stringsAt(term, keysField).filter((key) => typeof labels[key] === 'string');
  const selector = asObject(term.labelSelector);
  // A selector that is not there matches no pod, whatever the keys.
  if (keys.length === 0 || !selector) return;
  selector.matchExpressions = [
    ...listAt(selector, 'matchExpressions'),
    ...keys.map((key) => ({ key, operator, values: [labels[key] as string] })),
  ];
}

export function validateSpreadKeys(constraint: JsonObject, path: string): FieldError[] {
  const keys = stringsAt(constraint, 'matchLabelKeys');
  const field = `${path}.matchLabelKeys`;
  const errors = validateKeys(keys, field, constraint.labelSelector !== undefined);
  const selector = objectAt(constraint, 'labelSelector');
  keys.forEach((key, index) => {
    // The pod's own value may stand there: it is merged in when the pod is made.
    const merged = listAt(selector, 'matchExpressions').filter((expression) => expression.key === key);
    const foreign = merged.some(
      ({ operator, values }) => operator !== 'In' || !Array.isArray(values) || values.length !== 1,
    );
    if (objectAt(selector, 'matchLabels')[key] !== undefined || foreign || merged.length > 1) {
      errors.push(invalidValue(`${field}[${index}]`, key, 'exists in both matchLabelKeys and labelSelector'));
    }
  });
  return errors;
}

export function validateTermKeys(term: JsonObject, path: string): FieldError[] {
  const same = stringsAt(term, 'matchLabelKeys');
  const other = new Set(stringsAt(term, 'mismatchLabelKeys'));
  const hasSelector = term.labelSelector !== undefined;
  const errors = [
    ...validateKeys(same, `${path}.matchLabelKeys`, hasSelector),
    ...validateKeys([...other], `${path}.mismatchLabelKeys`, hasSelector),
  ];
  same.forEach((key, index) => {
    if (other.has(key)) {
      errors.push(
        invalidValue(
          `${path}.matchLabelKeys[${index}]`,
          key,
          'exists in both matchLabelKeys and mismatchLabelKeys',
        ),
      );
    }
  });
  return errors;
}

function validateKeys(keys: readonly string[], field: string, hasSelector: boolean): FieldError[] {
  if (keys.length === 0) return [];
  const errors = hasSelector
    ? []
    : [forbiddenField(field, 'must not be specified when labelSelector is not set')];
  keys.forEach((key, index) => {
    errors.push(...checkName(`${field}[${index}]`, key, qualifiedName));
  });
  return errors;
}
