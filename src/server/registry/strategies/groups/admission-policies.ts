// ValidatingAdmissionPolicies, MutatingAdmissionPolicies and their bindings.
import type { FieldError } from '../../../../api/errors.ts';
import { dns1035Label, dnsSubdomain, pathSegment, qualifiedName } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  ensureObject,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../../api/validation.ts';
import type { Strategy } from '../../strategy.ts';
import { nameCell } from '../cells.ts';
import { validateLabelSelector } from '../label-selector.ts';
import { validateExpression } from './expressions.ts';
import {
  checkFailurePolicy,
  defaultMatchResources,
  validateMatchConditions,
  validateMatchResources,
} from './match-rules.ts';
import { row } from './rows.ts';

const REASONS = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'];
const ACTIONS = ['Audit', 'Deny', 'Warn'];
const MOST_ANNOTATIONS = 20;
const CEL_NAME = /^[_a-zA-Z][_a-zA-Z0-9]*$/;
const CEL_WORDS = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
);

type Rules = (spec: JsonObject, object: JsonObject) => FieldError[];

function policy(list: string, rules: Rules): Strategy {
  return {
    hasGeneration: true,
    requireResourceVersionOnUpdate: true,
    statusKeepsMetadata: true,
    applyDefaults: (object) => {
      const spec = ensureObject(object, 'spec');
      if (isUnset(spec.failurePolicy)) spec.failurePolicy = 'Fail';
      defaultMatchResources(asObject(spec.matchConstraints));
    },
    prepareForCreate: (object) => {
      if (list === 'validations') object.status = {};
    },
    validate: (object) => {
      const spec = objectAt(object, 'spec');
      return [...validatePolicy(spec), ...rules(spec, object)];
    },
    cells: row((object) => {
      const spec = objectAt(object, 'spec');
      const kind = asObject(spec.paramKind);
      return [
        listAt(spec, list).length,
        kind ? `${stringAt(kind, 'apiVersion')}/${stringAt(kind, 'kind')}` : '<unset>',
      ];
    }),
  };
}

export const validatingPolicyStrategy = policy('validations', validateValidations);
export const mutatingPolicyStrategy = policy('mutations', validateMutations);

function validatePolicy(spec: JsonObject): FieldError[] {
  const errors = checkFailurePolicy(spec, 'spec');
  const kind = asObject(spec.paramKind);
  if (kind) errors.push(...validateParamKind(kind, 'spec.paramKind'));
  const constraints = asObject(spec.matchConstraints);
  if (!constraints) errors.push(required('spec.matchConstraints'));
  else {
    errors.push(...validateMatchResources(constraints, 'spec.matchConstraints'));
    // Without one there would be no telling what type `object` has.
    if (listAt(constraints, 'resourceRules').length === 0) {
      errors.push(required('spec.matchConstraints.resourceRules'));
    }
  }
  errors.push(...validateMatchConditions(listAt(spec, 'matchConditions'), 'spec.matchConditions'));
  listAt(spec, 'variables').forEach((variable, index) => {
    errors.push(...validateVariable(variable, `spec.variables[${index}]`));
  });
  return errors;
}

function validateParamKind(kind: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const apiVersion = stringAt(kind, 'apiVersion');
  const field = `${path}.apiVersion`;
  const parts = apiVersion.split('/');
  const [group, version] = parts.length === 1 ? ['', apiVersion] : [parts[0] ?? '', parts[1] ?? ''];
  if (apiVersion === '') errors.push(required(field));
  else if (parts.length > 2) {
    errors.push(invalidValue(field, apiVersion, `unexpected GroupVersion string: ${apiVersion}`));
  } else {
    const groupRules = group === '' ? [] : dnsSubdomain(group);
    if (groupRules.length > 0) errors.push(invalidValue(field, group, groupRules.join(',')));
    const versionRules = dns1035Label(version);
    if (version === '') errors.push(invalidValue(field, apiVersion, 'version must be specified'));
    else if (versionRules.length > 0) errors.push(invalidValue(field, version, versionRules.join(',')));
  }
  const name = stringAt(kind, 'kind');
  const rules = dns1035Label(name.toLowerCase());
  if (name === '') errors.push(required(`${path}.kind`));
  else if (rules.length > 0) {
    const why = `may have mixed case, but should otherwise match: ${rules.join(',')}`;
    errors.push(invalidValue(`${path}.kind`, name, why));
  }
  return errors;
}

function validateVariable(variable: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const name = stringAt(variable, 'name');
  if (name.trim() === '') errors.push(required(`${path}.name`, 'name is not specified'));
  else if (!CEL_NAME.test(name) || CEL_WORDS.has(name)) {
    errors.push(invalidValue(`${path}.name`, name, 'name is not a valid CEL identifier'));
  }
  const expression = stringAt(variable, 'expression');
  return [...errors, ...validateExpression(expression, `${path}.expression`, 'expression is not specified')];
}

function validateValidations(spec: JsonObject, object: JsonObject): FieldError[] {
  const validations = listAt(spec, 'validations');
  const annotations = listAt(spec, 'auditAnnotations');
  if (validations.length === 0 && annotations.length === 0) {
    const why = 'validations or auditAnnotations must contain at least one item';
    return [required('spec.validations', why), required('spec.auditAnnotations', why)];
  }
  const errors = validations.flatMap((validation, index) =>
    validateValidation(validation, `spec.validations[${index}]`),
  );
  if (annotations.length > MOST_ANNOTATIONS) {
    const why = `must not have more than ${MOST_ANNOTATIONS} auditAnnotations`;
    errors.push(invalidValue('spec.auditAnnotations', annotations, why));
  }
  const keys = new Set<string>();
  annotations.forEach((annotation, index) => {
    const path = `spec.auditAnnotations[${index}]`;
    const key = stringAt(annotation, 'key');
    errors.push(...checkName(`${path}.key`, `${nameCell(object)}/${key}`, qualifiedName));
    errors.push(
      ...validateExpression(
        stringAt(annotation, 'valueExpression'),
        `${path}.valueExpression`,
        'valueExpression is not specified',
      ),
    );
    if (keys.has(key)) errors.push(duplicate(`${path}.key`, key));
    keys.add(key);
  });
  return errors;
}

function validateValidation(validation: JsonObject, path: string): FieldError[] {
  const errors = validateExpression(
    stringAt(validation, 'expression'),
    `${path}.expression`,
    'expression is not specified',
  );
  const messageExpression = stringAt(validation, 'messageExpression');
  if (messageExpression !== '' && messageExpression.trim() === '') {
    errors.push(
      invalidValue(`${path}.messageExpression`, messageExpression, 'must be non-empty if specified'),
    );
  } else if (messageExpression !== '') {
    errors.push(...validateExpression(messageExpression, `${path}.messageExpression`));
  }
  const message = stringAt(validation, 'message');
  if (message !== '' && message.trim() === '') {
    errors.push(invalidValue(`${path}.message`, message, 'message must be non-empty if specified'));
  } else if (/[\r\n]/.test(message.trim())) {
    errors.push(invalidValue(`${path}.message`, message, 'message must not contain line breaks'));
  }
  return [...errors, ...checkChoice(`${path}.reason`, validation.reason, REASONS)];
}

const PATCHES: Readonly<Record<string, string>> = {
  ApplyConfiguration: 'applyConfiguration',
  JSONPatch: 'jsonPatch',
};

function validateMutations(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const mutations = listAt(spec, 'mutations');
  if (mutations.length === 0) {
    errors.push(required('spec.mutations', 'mutations must contain at least one item'));
  }
  mutations.forEach((mutation, index) => {
    const path = `spec.mutations[${index}]`;
    const type = stringAt(mutation, 'patchType');
    const own = Object.hasOwn(PATCHES, type) ? PATCHES[type] : undefined;
    if (type === '') errors.push(required(`${path}.patchType`));
    else if (own === undefined) {
      errors.push(notSupported(`${path}.patchType`, type, Object.keys(PATCHES)));
    }
    for (const field of Object.values(PATCHES)) {
      const given = asObject(mutation[field]);
      if (field === own) {
        if (!given) errors.push(required(`${path}.${field}`, `must be specified when patchType is ${type}`));
        else {
          errors.push(
            ...validateExpression(
              stringAt(given, 'expression'),
              `${path}.${field}.expression`,
              'expression is not specified',
            ),
          );
        }
      } else if (given && own !== undefined) {
        errors.push(forbiddenField(`${path}.${field}`, `must not be specified when patchType is ${type}`));
      }
    }
  });
  if (isUnset(spec.reinvocationPolicy)) errors.push(required('spec.reinvocationPolicy'));
  return [
    ...errors,
    ...checkChoice('spec.reinvocationPolicy', spec.reinvocationPolicy, ['IfNeeded', 'Never']),
  ];
}

function binding(validating: boolean): Strategy {
  return {
    hasGeneration: true,
    requireResourceVersionOnUpdate: true,
    applyDefaults: (object) => defaultMatchResources(asObject(objectAt(object, 'spec').matchResources)),
    validate: (object) => {
      const spec = objectAt(object, 'spec');
      const name = stringAt(spec, 'policyName');
      const errors =
        name === '' ? [required('spec.policyName')] : checkName('spec.policyName', name, dnsSubdomain);
      errors.push(...validateParamRef(asObject(spec.paramRef), 'spec.paramRef'));
      // The path is misspelt in Kubernetes.
      errors.push(...validateMatchResources(asObject(spec.matchResources), 'spec.matchResouces'));
      if (validating) {
        errors.push(...validateActions(stringsAt(spec, 'validationActions'), 'spec.validationActions'));
      }
      return errors;
    },
    cells: row((object) => {
      const spec = objectAt(object, 'spec');
      const reference = asObject(spec.paramRef);
      return [stringAt(spec, 'policyName') || '<unset>', reference ? paramRefCell(reference) : '<unset>'];
    }),
  };
}

export const validatingPolicyBindingStrategy = binding(true);
export const mutatingPolicyBindingStrategy = binding(false);

function paramRefCell(reference: JsonObject): string {
  const namespace = stringAt(reference, 'namespace');
  return `${namespace === '' ? '' : `${namespace}/`}${stringAt(reference, 'name')}`;
}

function validateParamRef(reference: JsonObject | undefined, path: string): FieldError[] {
  if (!reference) return [];
  const errors: FieldError[] = [];
  const name = stringAt(reference, 'name');
  const selector = asObject(reference.selector);
  const exclusive = 'name and selector are mutually exclusive';
  if (name !== '') {
    errors.push(...checkName(`${path}.name`, name, pathSegment));
    if (selector) errors.push(forbiddenField(`${path}.name`, exclusive));
  }
  if (selector) {
    errors.push(...validateLabelSelector(selector, `${path}.selector`));
    if (name !== '') errors.push(forbiddenField(`${path}.selector`, exclusive));
  }
  if (name === '' && !selector) {
    errors.push(required(path, 'one of name or selector must be specified'));
  }
  const action = reference.parameterNotFoundAction;
  if (isUnset(action)) errors.push(required(`${path}.parameterNotFoundAction`));
  return [...errors, ...checkChoice(`${path}.parameterNotFoundAction`, action, ['Deny', 'Allow'])];
}

function validateActions(actions: string[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  actions.forEach((action, index) => {
    errors.push(...checkChoice(`${field}[${index}]`, action, ACTIONS));
    if (seen.has(action)) errors.push(duplicate(`${field}[${index}]`, action));
    seen.add(action);
  });
  if (seen.has('Deny') && seen.has('Warn')) {
    errors.push(
      invalidValue(
        field,
        actions,
        'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
      ),
    );
  }
  if (seen.size === 0) errors.push(required(field, 'at least one validation action is required'));
  return errors;
}
