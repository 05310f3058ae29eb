// Kinds that extend the API: CustomResourceDefinitions, APIServices, webhooks and admission policies.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  ensureObject,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { timestamp } from '../../../lib/clock.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageCell, nameCell } from './cells.ts';

const NOT_SERVED = 'this server does not serve custom resources yet';

export const customResourceDefinitionStrategy: Strategy = {
  hasGeneration: true,
  requireResourceVersionOnUpdate: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    const names = ensureObject(spec, 'names');
    if (isUnset(names.singular)) names.singular = stringAt(names, 'kind').toLowerCase();
    if (isUnset(names.listKind) && !isUnset(names.kind)) names.listKind = `${names.kind}List`;
    setDefault(spec, 'conversion', { strategy: 'None' });
  },
  prepareForCreate: (object, now) => {
    const spec = objectAt(object, 'spec');
    const storage = listAt(spec, 'versions').find((version) => version.storage === true);
    object.status = {
      conditions: [
        {
          type: 'Established',
          status: 'False',
          lastTransitionTime: timestamp(now),
          reason: 'NotServed',
          message: NOT_SERVED,
        },
      ],
      acceptedNames: { plural: '', kind: '' },
      storedVersions: storage ? [stringAt(storage, 'name')] : [],
    };
  },
  validate: validateDefinition,
  cells: (object) => [nameCell(object), stringAt(objectAt(object, 'metadata'), 'creationTimestamp')],
};

function validateDefinition(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const names = objectAt(spec, 'names');
  const group = stringAt(spec, 'group');
  const plural = stringAt(names, 'plural');
  const errors: FieldError[] = [];
  const expected = `${plural}.${group}`;
  if (nameCell(object) !== expected) {
    errors.push(invalidValue('metadata.name', nameCell(object), `must be spec.names.plural+"."+spec.group`));
  }
  if (group === '') errors.push(required('spec.group'));
  else {
    errors.push(...checkName('spec.group', group, dnsSubdomain));
    if (!group.includes('.')) {
      errors.push(invalidValue('spec.group', group, 'should be a domain with at least one dot'));
    }
  }
  const scope = stringAt(spec, 'scope');
  if (scope === '') errors.push(required('spec.scope'));
  else errors.push(...checkChoice('spec.scope', scope, ['Cluster', 'Namespaced']));
  const versions = listAt(spec, 'versions');
  if (versions.filter((version) => version.storage === true).length !== 1) {
    errors.push(
      invalidValue('spec.versions', versions, 'must have exactly one version marked as storage version'),
    );
  }
  versions.forEach((version, index) => {
    const path = `spec.versions[${index}]`;
    errors.push(...checkName(`${path}.name`, stringAt(version, 'name'), dnsLabel));
    if (!asObject(objectAt(version, 'schema').openAPIV3Schema)) {
      errors.push(required(`${path}.schema.openAPIV3Schema`, 'schemas are required'));
    }
  });
  for (const field of ['plural', 'singular', 'kind', 'listKind']) {
    const value = stringAt(names, field);
    if (value === '') errors.push(required(`spec.names.${field}`));
    else errors.push(...checkName(`spec.names.${field}`, value.toLowerCase(), dnsLabel));
  }
  return errors;
}

export const apiServiceStrategy: Strategy = {
  applyDefaults: (object) => {
    const service = asObject(objectAt(object, 'spec').service);
    if (service) setDefault(service, 'port', 443);
  },
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const version = stringAt(spec, 'version');
    const group = stringAt(spec, 'group');
    const expected = `${version}.${group}`;
    const errors: FieldError[] = [];
    if (nameCell(object) !== expected) {
      errors.push(
        invalidValue(
          'metadata.name',
          nameCell(object),
          `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(expected)}`,
        ),
      );
    }
    if (version === '') errors.push(required('spec.version'));
    const groupPriority = numberAt(spec, 'groupPriorityMinimum') ?? 0;
    if (groupPriority <= 0 || groupPriority > 20_000) {
      errors.push(
        invalidValue('spec.groupPriorityMinimum', groupPriority, 'must be positive and less than 20000'),
      );
    }
    const versionPriority = numberAt(spec, 'versionPriority') ?? 0;
    if (versionPriority <= 0 || versionPriority > 1000) {
      errors.push(
        invalidValue('spec.versionPriority', versionPriority, 'must be positive and less than 1000'),
      );
    }
    const service = asObject(spec.service);
    if (!service) {
      if (stringAt(spec, 'caBundle') !== '') {
        errors.push(invalidValue('spec.caBundle', '[]', 'local APIServices may not have a caBundle'));
      }
      if (spec.insecureSkipTLSVerify === true) {
        errors.push(
          invalidValue(
            'spec.insecureSkipTLSVerify',
            true,
            'local APIServices may not have insecureSkipTLSVerify',
          ),
        );
      }
      return errors;
    }
    for (const field of ['namespace', 'name']) {
      if (stringAt(service, field) === '') errors.push(required(`spec.service.${field}`));
    }
    if (spec.insecureSkipTLSVerify === true && stringAt(spec, 'caBundle') !== '') {
      errors.push(invalidValue('spec.insecureSkipTLSVerify', true, 'may not be true if caBundle is present'));
    }
    return errors;
  },
  selectableFields: fieldsAt('spec.service.name'),
  cells: (object, now) => {
    const service = asObject(objectAt(object, 'spec').service);
    const available = listAt(objectAt(object, 'status'), 'conditions').find(
      ({ type }) => type === 'Available',
    );
    const reason = stringAt(available, 'reason');
    return [
      nameCell(object),
      service ? `${stringAt(service, 'namespace')}/${stringAt(service, 'name')}` : 'Local',
      available
        ? `${available.status}${available.status === 'True' || reason === '' ? '' : ` (${reason})`}`
        : 'Unknown',
      ageCell(object, now),
    ];
  },
};

function defaultRule(rule: JsonObject): void {
  setDefault(rule, 'scope', '*');
}

export const webhookStrategy: Strategy = {
  hasGeneration: true,
  requireResourceVersionOnUpdate: true,
  applyDefaults: (object) => {
    const mutating = object.kind === 'MutatingWebhookConfiguration';
    for (const webhook of listAt(object, 'webhooks')) {
      setDefault(webhook, 'failurePolicy', 'Fail');
      setDefault(webhook, 'matchPolicy', 'Equivalent');
      setDefault(webhook, 'namespaceSelector', {});
      setDefault(webhook, 'objectSelector', {});
      setDefault(webhook, 'timeoutSeconds', 10);
      if (mutating) setDefault(webhook, 'reinvocationPolicy', 'Never');
      const service = asObject(objectAt(webhook, 'clientConfig').service);
      if (service) setDefault(service, 'port', 443);
      for (const rule of listAt(webhook, 'rules')) defaultRule(rule);
    }
  },
  validate: (object) => {
    const names = new Set<string>();
    return listAt(object, 'webhooks').flatMap((webhook, index) => {
      const path = `webhooks[${index}]`;
      const name = stringAt(webhook, 'name');
      const errors = validateWebhook(webhook, path);
      if (names.has(name)) {
        errors.push({
          reason: 'FieldValueDuplicate',
          field: `${path}.name`,
          message: `Duplicate value: ${JSON.stringify(name)}`,
        });
      }
      names.add(name);
      return errors;
    });
  },
  cells: (object, now) => [nameCell(object), listAt(object, 'webhooks').length, ageCell(object, now)],
};

function validateWebhook(webhook: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const name = stringAt(webhook, 'name');
  if (name === '') errors.push(required(`${path}.name`));
  else {
    errors.push(...checkName(`${path}.name`, name, dnsSubdomain));
    if (name.split('.').length < 3) {
      errors.push(
        invalidValue(
          `${path}.name`,
          name,
          'should be a domain with at least three segments separated by dots',
        ),
      );
    }
  }
  const versions = stringsAt(webhook, 'admissionReviewVersions');
  if (versions.length === 0) {
    errors.push(required(`${path}.admissionReviewVersions`, 'must specify one of v1, v1beta1'));
  } else if (!versions.includes('v1') && !versions.includes('v1beta1')) {
    errors.push(
      invalidValue(`${path}.admissionReviewVersions`, versions, 'must include at least one of v1, v1beta1'),
    );
  }
  listAt(webhook, 'rules').forEach((rule, index) => {
    errors.push(...validateRule(rule, `${path}.rules[${index}]`));
  });
  errors.push(
    ...checkChoice(`${path}.failurePolicy`, webhook.failurePolicy, ['Fail', 'Ignore']),
    ...checkChoice(`${path}.matchPolicy`, webhook.matchPolicy, ['Equivalent', 'Exact']),
  );
  const effects = stringAt(webhook, 'sideEffects');
  if (effects === '') errors.push(required(`${path}.sideEffects`, 'must specify one of None, NoneOnDryRun'));
  else if (effects !== 'None' && effects !== 'NoneOnDryRun') {
    errors.push(notSupported(`${path}.sideEffects`, effects, ['None', 'NoneOnDryRun']));
  }
  const seconds = numberAt(webhook, 'timeoutSeconds');
  if (seconds !== undefined && (seconds < 1 || seconds > 30)) {
    errors.push(
      invalidValue(`${path}.timeoutSeconds`, seconds, 'the timeout value must be between 1 and 30 seconds'),
    );
  }
  const config = objectAt(webhook, 'clientConfig');
  if ((config.url === undefined) === (config.service === undefined)) {
    errors.push(required(`${path}.clientConfig`, 'exactly one of url or service is required'));
  }
  return errors;
}

function validateRule(rule: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['operations', 'apiGroups', 'apiVersions', 'resources']) {
    if (stringsAt(rule, field).length === 0) errors.push(required(`${path}.${field}`));
  }
  const operations = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE'];
  stringsAt(rule, 'operations').forEach((operation, index) => {
    if (!operations.includes(operation)) {
      errors.push(notSupported(`${path}.operations[${index}]`, operation, operations));
    }
  });
  return [...errors, ...checkChoice(`${path}.scope`, rule.scope, ['*', 'Cluster', 'Namespaced'])];
}

export const admissionPolicyStrategy: Strategy = {
  hasGeneration: true,
  requireResourceVersionOnUpdate: false,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'failurePolicy', 'Fail');
    const constraints = asObject(spec.matchConstraints);
    if (constraints) {
      setDefault(constraints, 'namespaceSelector', {});
      setDefault(constraints, 'objectSelector', {});
      setDefault(constraints, 'matchPolicy', 'Equivalent');
      for (const rule of listAt(constraints, 'resourceRules')) defaultRule(rule);
    }
    if (object.kind === 'ValidatingAdmissionPolicy') ensureObject(object, 'status');
  },
  prepareForCreate: (object) => {
    if (object.kind === 'ValidatingAdmissionPolicy') object.status = {};
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const constraints = asObject(spec.matchConstraints);
    const errors: FieldError[] = [];
    if (!constraints) errors.push(required('spec.matchConstraints'));
    else if (listAt(constraints, 'resourceRules').length === 0) {
      errors.push(required('spec.matchConstraints.resourceRules'));
    }
    const list = object.kind === 'ValidatingAdmissionPolicy' ? 'validations' : 'mutations';
    if (listAt(spec, list).length === 0 && listAt(spec, 'auditAnnotations').length === 0) {
      errors.push(required(`spec.${list}`, `${list} or auditAnnotations must contain at least one item`));
    }
    listAt(spec, 'validations').forEach((validation, index) => {
      if (stringAt(validation, 'expression').trim() === '') {
        errors.push(required(`spec.validations[${index}].expression`, 'expression is not specified'));
      }
    });
    return errors;
  },
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const kind = asObject(spec.paramKind);
    const list = object.kind === 'ValidatingAdmissionPolicy' ? 'validations' : 'mutations';
    return [
      nameCell(object),
      listAt(spec, list).length,
      kind ? `${kind.apiVersion}/${kind.kind}` : '<unset>',
      ageCell(object, now),
    ];
  },
};

export const admissionPolicyBindingStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    const resources = asObject(spec.matchResources);
    if (!resources) return;
    setDefault(resources, 'namespaceSelector', {});
    setDefault(resources, 'objectSelector', {});
    setDefault(resources, 'matchPolicy', 'Equivalent');
    for (const rule of listAt(resources, 'resourceRules')) defaultRule(rule);
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const errors: FieldError[] = [];
    if (stringAt(spec, 'policyName') === '') errors.push(required('spec.policyName'));
    if (object.kind !== 'ValidatingAdmissionPolicyBinding') return errors;
    const actions = stringsAt(spec, 'validationActions');
    if (actions.length === 0)
      errors.push(required('spec.validationActions', 'at least one validation action is required'));
    actions.forEach((action, index) => {
      if (!['Audit', 'Deny', 'Warn'].includes(action)) {
        errors.push(notSupported(`spec.validationActions[${index}]`, action, ['Audit', 'Deny', 'Warn']));
      }
    });
    if (actions.includes('Deny') && actions.includes('Warn')) {
      errors.push(
        forbiddenField(
          'spec.validationActions',
          'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
        ),
      );
    }
    return errors;
  },
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const reference = asObject(spec.paramRef);
    return [
      nameCell(object),
      stringAt(spec, 'policyName'),
      reference
        ? `${stringAt(reference, 'namespace') || '*'}/${stringAt(reference, 'name') || '*'}`
        : '<unset>',
      ageCell(object, now),
    ];
  },
};
