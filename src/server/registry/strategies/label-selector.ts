// Label selectors in specs, and selectors of nodes.
import type { FieldError } from '../../../api/errors.ts';
import { dnsSubdomain, labelValue, qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { type LabelMatcher, selectorMatcher } from '../../../api/selectors.ts';
import type { LabelSelector } from '../../../api/types/meta-v1.ts';
import {
  checkName,
  forbiddenField,
  invalidValue,
  listAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { validateLabels } from '../../../api/validation-meta.ts';

export function validateLabelSelector(selector: JsonObject | undefined, path: string): FieldError[] {
  if (!selector) return [];
  const errors = validateLabels(objectAt(selector, 'matchLabels'), `${path}.matchLabels`);
  listAt(selector, 'matchExpressions').forEach((expression, index) => {
    const at = `${path}.matchExpressions[${index}]`;
    const values = stringsAt(expression, 'values');
    switch (expression.operator) {
      case 'In':
      case 'NotIn':
        if (values.length === 0) {
          errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        break;
      case 'Exists':
      case 'DoesNotExist':
        if (values.length > 0) {
          errors.push(
            forbiddenField(
              `${at}.values`,
              "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
          );
        }
        break;
      default:
        errors.push(
          invalidValue(`${at}.operator`, expression.operator ?? '', 'not a valid selector operator'),
        );
    }
    errors.push(...checkName(`${at}.key`, stringAt(expression, 'key'), qualifiedName));
    values.forEach((value, at2) => {
      errors.push(...checkName(`${at}.values[${at2}]`, value, labelValue));
    });
  });
  return errors;
}

export function isEmptySelector(selector: JsonObject): boolean {
  return (
    Object.keys(objectAt(selector, 'matchLabels')).length === 0 &&
    listAt(selector, 'matchExpressions').length === 0
  );
}

/** The matcher of a selector that may yet be wrong: validation reports that elsewhere. */
export function safeMatcher(selector: JsonObject): LabelMatcher | undefined {
  try {
    return selectorMatcher(selector as unknown as LabelSelector);
  } catch {
    return undefined;
  }
}

/** `lenient`: values that no label can have pass, as in preferences, which may go unmet. */
export function validateNodeSelectorTerm(term: JsonObject, path: string, lenient = false): FieldError[] {
  const errors: FieldError[] = [];
  listAt(term, 'matchExpressions').forEach((expression, index) => {
    errors.push(...validateNodeRequirement(expression, `${path}.matchExpressions[${index}]`, lenient));
  });
  listAt(term, 'matchFields').forEach((expression, index) => {
    const at = `${path}.matchFields[${index}]`;
    const values = stringsAt(expression, 'values');
    if (expression.operator !== 'In' && expression.operator !== 'NotIn') {
      errors.push(invalidValue(`${at}.operator`, expression.operator ?? '', 'not a valid selector operator'));
    } else if (values.length !== 1) {
      errors.push(
        required(
          `${at}.values`,
          "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
      );
    }
    if (expression.key !== 'metadata.name') {
      errors.push(invalidValue(`${at}.key`, expression.key ?? '', 'not a valid field selector key'));
      return;
    }
    values.forEach((value, place) => {
      errors.push(...checkName(`${at}.values[${place}]`, value, dnsSubdomain));
    });
  });
  return errors;
}

function validateNodeRequirement(expression: JsonObject, path: string, lenient: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const values = stringsAt(expression, 'values');
  switch (expression.operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0) {
        errors.push(required(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0) {
        errors.push(
          forbiddenField(
            `${path}.values`,
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
          ),
        );
      }
      break;
    case 'Gt':
    case 'Lt':
      if (values.length !== 1) {
        errors.push(
          required(`${path}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'"),
        );
      }
      break;
    default:
      errors.push(
        invalidValue(`${path}.operator`, expression.operator ?? '', 'not a valid selector operator'),
      );
  }
  errors.push(...checkName(`${path}.key`, stringAt(expression, 'key'), qualifiedName));
  if (lenient) return errors;
  values.forEach((value, place) => {
    errors.push(...checkName(`${path}.values[${place}]`, value, labelValue));
  });
  return errors;
}

export function validateNodeSelector(selector: JsonObject, path: string): FieldError[] {
  const terms = listAt(selector, 'nodeSelectorTerms');
  if (terms.length === 0) {
    return [required(`${path}.nodeSelectorTerms`, 'must have at least one node selector term')];
  }
  return terms.flatMap((term, index) =>
    validateNodeSelectorTerm(term, `${path}.nodeSelectorTerms[${index}]`),
  );
}
