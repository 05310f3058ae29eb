// CustomResourceDefinitions.
import type { FieldError } from '../../../../api/errors.ts';
import { dns1035Label, dnsSubdomain } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  ensureObject,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../../api/validation.ts';
import { checkImmutable } from '../../../../api/validation-meta.ts';
import { timestamp } from '../../../../lib/clock.ts';
import type { Strategy } from '../../strategy.ts';
import { nameCell } from '../cells.ts';
import { validateSchema } from './structural-schema.ts';
import { validateClientConfig } from './webhooks.ts';

const COLUMN_TYPES = ['boolean', 'date', 'integer', 'number', 'string'];
const COLUMN_FORMATS = ['byte', 'date', 'date-time', 'double', 'float', 'int32', 'int64', 'password'];
const SIMPLE_PATH = /^(\.[A-Za-z_$][\w$-]*(\[[^\]]+\])*)+$/;

export const customResourceDefinitionStrategy: Strategy = {
  hasGeneration: true,
  requireResourceVersionOnUpdate: true,
  applyDefaults: (object) => {
    const spec = ensureObject(object, 'spec');
    const names = ensureObject(spec, 'names');
    const kind = stringAt(names, 'kind');
    if (isUnset(names.singular)) names.singular = kind.toLowerCase();
    if (isUnset(names.listKind) && kind !== '') names.listKind = `${kind}List`;
    setDefault(spec, 'conversion', { strategy: 'None' });
    const service = asObject(
      objectAt(objectAt(objectAt(spec, 'conversion'), 'webhook'), 'clientConfig').service,
    );
    if (service) setDefault(service, 'port', 443);
  },
  prepareForCreate: (object, now) => {
    const storage = listAt(objectAt(object, 'spec'), 'versions').find((version) => version.storage === true);
    object.status = {
      // Clients wait for Established: better to be told than to wait.
      conditions: [
        {
          type: 'Established',
          status: 'False',
          lastTransitionTime: timestamp(now),
          reason: 'NotServed',
          message: 'this server does not serve custom resources yet',
        },
      ],
      acceptedNames: { plural: '', kind: '' },
      storedVersions: storage ? [stringAt(storage, 'name')] : [],
    };
  },
  prepareForUpdate: (object) => {
    // The version that is stored from now on joins those that were stored before.
    const storage = listAt(objectAt(object, 'spec'), 'versions').find((version) => version.storage === true);
    const status = objectAt(object, 'status');
    const stored = stringsAt(status, 'storedVersions');
    const name = stringAt(storage, 'name');
    if (name !== '' && !stored.includes(name)) {
      object.status = { ...status, storedVersions: [...stored, name] };
    }
  },
  validate: validateDefinition,
  validateUpdate: (object, old) => {
    const spec = objectAt(object, 'spec');
    const before = objectAt(old, 'spec');
    const names = objectAt(spec, 'names');
    const oldNames = objectAt(before, 'names');
    const errors: FieldError[] = [];
    if (isEstablished(old)) {
      errors.push(
        ...checkImmutable('spec.scope', spec.scope, before.scope),
        ...checkImmutable('spec.names.kind', names.kind, oldNames.kind),
      );
    }
    errors.push(
      ...checkImmutable('spec.group', spec.group, before.group),
      ...checkImmutable('spec.names.plural', names.plural, oldNames.plural),
    );
    return [...errors, ...validateStoredVersions(object)];
  },
  validateStatusUpdate: validateStoredVersions,
  cells: (object) => [nameCell(object), stringAt(objectAt(object, 'metadata'), 'creationTimestamp')],
};

/** No version may go while objects may be stored in it: only a migration takes one off the list. */
function validateStoredVersions(object: JsonObject): FieldError[] {
  const field = 'status.storedVersions';
  const stored = stringsAt(objectAt(object, 'status'), 'storedVersions');
  if (stored.length === 0) return [invalidValue(field, stored, 'must have at least one stored version')];
  const versions = listAt(objectAt(object, 'spec'), 'versions');
  const errors: FieldError[] = [];
  for (const { name, storage } of versions) {
    if (storage !== true || stored.includes(String(name))) continue;
    errors.push(invalidValue(field, stored, `must have the storage version ${name}`));
  }
  stored.forEach((version, index) => {
    if (versions.some(({ name }) => name === version)) return;
    const why = `missing from spec.versions; ${version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${version} and removes ${version} from status.storedVersions`;
    errors.push(invalidValue(`${field}[${index}]`, version, why));
  });
  return errors;
}

function isEstablished(object: JsonObject): boolean {
  return listAt(objectAt(object, 'status'), 'conditions').some(
    ({ type, status }) => type === 'Established' && status === 'True',
  );
}

function validateDefinition(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const names = objectAt(spec, 'names');
  const group = stringAt(spec, 'group');
  const errors: FieldError[] = [];
  const name = nameCell(object);
  if (name !== `${stringAt(names, 'plural')}.${group}`) {
    errors.push(invalidValue('metadata.name', name, 'must be spec.names.plural+"."+spec.group'));
  }
  const groupRules = dnsSubdomain(group);
  if (group === '') errors.push(required('spec.group'));
  else if (groupRules.length > 0) errors.push(invalidValue('spec.group', group, groupRules.join(',')));
  else if (!group.includes('.')) {
    errors.push(invalidValue('spec.group', group, 'should be a domain with at least one dot'));
  }
  const scope = stringAt(spec, 'scope');
  if (scope === '') errors.push(required('spec.scope'));
  errors.push(...checkChoice('spec.scope', scope, ['Cluster', 'Namespaced']));
  errors.push(...validateVersions(spec));
  for (const field of ['plural', 'singular', 'kind', 'listKind']) {
    if (stringAt(names, field) === '') errors.push(required(`spec.names.${field}`));
  }
  errors.push(...validateNames(names, 'spec.names'));
  errors.push(...validateConversion(objectAt(spec, 'conversion'), 'spec.conversion'));
  if (spec.preserveUnknownFields === true) {
    errors.push(
      invalidValue(
        'spec.preserveUnknownFields',
        true,
        'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
      ),
    );
  }
  return errors;
}

function validateVersions(spec: JsonObject): FieldError[] {
  const versions = listAt(spec, 'versions');
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  let unique = true;
  versions.forEach((version, index) => {
    const name = stringAt(version, 'name');
    if (seen.has(name)) unique = false;
    seen.add(name);
    const rules = dns1035Label(name);
    if (rules.length > 0) errors.push(invalidValue(`spec.versions[${index}].name`, name, rules.join(',')));
    errors.push(...validateVersion(version, `spec.versions[${index}]`));
  });
  if (!unique) errors.push(invalidValue('spec.versions', versions, 'must contain unique version names'));
  if (versions.filter((version) => version.storage === true).length !== 1) {
    errors.push(
      invalidValue('spec.versions', versions, 'must have exactly one version marked as storage version'),
    );
  }
  return errors;
}

function validateVersion(version: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const warning = version.deprecationWarning;
  if (version.deprecated !== true && warning !== undefined) {
    errors.push(
      invalidValue(`${path}.deprecationWarning`, warning, 'can only be set for deprecated versions'),
    );
  }
  const schema = asObject(objectAt(version, 'schema').openAPIV3Schema);
  if (!schema) errors.push(required(`${path}.schema.openAPIV3Schema`, 'schemas are required'));
  else errors.push(...validateSchema(schema, `${path}.schema.openAPIV3Schema`));
  const scale = asObject(objectAt(version, 'subresources').scale);
  if (scale) errors.push(...validateScale(scale, `${path}.subresources.scale`));
  listAt(version, 'additionalPrinterColumns').forEach((column, index) => {
    errors.push(...validateColumn(column, `${path}.additionalPrinterColumns[${index}]`));
  });
  const fields = new Set<string>();
  listAt(version, 'selectableFields').forEach((selectable, index) => {
    const at = `${path}.selectableFields[${index}].jsonPath`;
    const jsonPath = stringAt(selectable, 'jsonPath');
    if (jsonPath === '') errors.push(required(at));
    else if (!SIMPLE_PATH.test(jsonPath)) errors.push(invalidValue(at, jsonPath, 'is an invalid path'));
    else if (fields.has(jsonPath)) {
      errors.push({
        reason: 'FieldValueDuplicate',
        field: at,
        message: `Duplicate value: ${JSON.stringify(jsonPath)}`,
      });
    }
    fields.add(jsonPath);
  });
  return errors;
}

function validateScale(scale: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const check = (field: string, roots: string[]): void => {
    const value = stringAt(scale, field);
    const at = `${path}.${field}`;
    if (value === '') {
      if (field !== 'labelSelectorPath') errors.push(required(at));
    } else if (!SIMPLE_PATH.test(value)) {
      errors.push(invalidValue(at, value, 'should be a json path without array notation'));
    } else if (!roots.some((root) => value.startsWith(`${root}.`))) {
      errors.push(invalidValue(at, value, `should be a json path under ${roots.join(' or ')}`));
    }
  };
  check('specReplicasPath', ['.spec']);
  check('statusReplicasPath', ['.status']);
  check('labelSelectorPath', ['.spec', '.status']);
  return errors;
}

function validateColumn(column: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(column, 'name') === '') errors.push(required(`${path}.name`));
  const type = stringAt(column, 'type');
  const types = `must be one of ${COLUMN_TYPES.join(',')}`;
  if (type === '') errors.push(required(`${path}.type`, types));
  else if (!COLUMN_TYPES.includes(type)) errors.push(invalidValue(`${path}.type`, type, types));
  const format = stringAt(column, 'format');
  if (format !== '' && !COLUMN_FORMATS.includes(format)) {
    errors.push(invalidValue(`${path}.format`, format, `must be one of ${COLUMN_FORMATS.join(',')}`));
  }
  if (stringAt(column, 'jsonPath') === '') errors.push(required(`${path}.jsonPath`));
  return errors;
}

/** Of spec.names and of status.acceptedNames. */
function validateNames(names: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const check = (field: string, value: string, mixedCase: boolean): void => {
    const rules = value === '' ? [] : dns1035Label(mixedCase ? value.toLowerCase() : value);
    if (rules.length === 0) return;
    const why = `${mixedCase ? 'may have mixed case, but should otherwise match: ' : ''}${rules.join(',')}`;
    errors.push(invalidValue(`${path}.${field}`, value, why));
  };
  check('plural', stringAt(names, 'plural'), false);
  check('singular', stringAt(names, 'singular'), false);
  check('kind', stringAt(names, 'kind'), true);
  check('listKind', stringAt(names, 'listKind'), true);
  stringsAt(names, 'shortNames').forEach((name, index) => {
    check(`shortNames[${index}]`, name, false);
  });
  if (stringAt(names, 'kind') !== '' && names.kind === names.listKind) {
    errors.push(invalidValue(`${path}.listKind`, names.listKind, 'kind and listKind may not be the same'));
  }
  stringsAt(names, 'categories').forEach((name, index) => {
    check(`categories[${index}]`, name, false);
  });
  return errors;
}

function validateConversion(conversion: JsonObject, path: string): FieldError[] {
  const strategy = stringAt(conversion, 'strategy');
  const webhook = asObject(conversion.webhook);
  if (strategy === '') return [required(`${path}.strategy`)];
  if (strategy !== 'None' && strategy !== 'Webhook') {
    return [notSupported(`${path}.strategy`, strategy, ['None', 'Webhook'])];
  }
  if (strategy === 'None') {
    return webhook
      ? [
          {
            reason: 'FieldValueForbidden',
            field: `${path}.webhook`,
            message: 'Forbidden: should not be set when strategy is not set to Webhook',
          },
        ]
      : [];
  }
  if (!webhook) return [required(`${path}.webhook`, 'required when strategy is set to Webhook')];
  const errors: FieldError[] = [];
  const config = asObject(webhook.clientConfig);
  if (!config) {
    errors.push(required(`${path}.webhook.clientConfig`, 'required when strategy is set to Webhook'));
  } else errors.push(...validateClientConfig(config, `${path}.webhook.clientConfig`));
  const versions = stringsAt(webhook, 'conversionReviewVersions');
  if (versions.length === 0) errors.push(required(`${path}.webhook.conversionReviewVersions`));
  else if (!versions.some((version) => version === 'v1' || version === 'v1beta1')) {
    errors.push(
      invalidValue(
        `${path}.webhook.conversionReviewVersions`,
        versions,
        'must include at least one of v1, v1beta1',
      ),
    );
  }
  return errors;
}
