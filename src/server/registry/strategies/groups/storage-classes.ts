// StorageClasses, VolumeAttributesClasses and CSIStorageCapacities.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsSubdomain, qualifiedName } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import { jsonEqual } from '../../../../api/patch-json.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
  tooLong,
} from '../../../../api/validation.ts';
import { checkImmutable } from '../../../../api/validation-meta.ts';
import type { Strategy } from '../../strategy.ts';
import { ageCell, nameCell } from '../cells.ts';
import { validateLabelSelector } from '../label-selector.ts';
import { RENAMED_LABELS } from '../pod-warnings.ts';
import { validateQuantity } from '../resources.ts';
import { row } from './rows.ts';

const RECLAIM_POLICIES = ['Delete', 'Retain'];
const BINDING_MODES = ['Immediate', 'WaitForFirstConsumer'];
const DEFAULT_MARKS = [
  'storageclass.kubernetes.io/is-default-class',
  'storageclass.beta.kubernetes.io/is-default-class',
];
const MOST_PARAMETERS = 512;
const MOST_PARAMETER_BYTES = 256 * 1024;

export const storageClassStrategy: Strategy = {
  returnsDeleted: true,
  applyDefaults: (object) => {
    if (isUnset(object.reclaimPolicy)) object.reclaimPolicy = 'Delete';
    if (isUnset(object.volumeBindingMode)) object.volumeBindingMode = 'Immediate';
  },
  validate: (object) => [
    ...validateProvisioner(stringAt(object, 'provisioner'), 'provisioner'),
    ...validateParameters(objectAt(object, 'parameters'), 'parameters', true),
    ...checkChoice('reclaimPolicy', object.reclaimPolicy, RECLAIM_POLICIES),
    ...checkChoice('volumeBindingMode', object.volumeBindingMode, BINDING_MODES),
    ...validateTopologies(listAt(object, 'allowedTopologies'), 'allowedTopologies'),
  ],
  validateUpdate: (object, old) => [
    ...fixed(object, old, ['parameters', 'provisioner', 'reclaimPolicy']),
    ...checkImmutable('volumeBindingMode', object.volumeBindingMode, old.volumeBindingMode),
  ],
  warnings: (object) =>
    listAt(object, 'allowedTopologies').flatMap((topology, index) =>
      listAt(topology, 'matchLabelExpressions').flatMap((expression, place) => {
        const renamed = RENAMED_LABELS[stringAt(expression, 'key')];
        const path = `allowedTopologies[${index}].matchLabelExpressions[${place}].key`;
        return renamed === undefined ? [] : [`${path}: ${renamed}`];
      }),
    ),
  cells: (object, now) => {
    const annotations = objectAt(objectAt(object, 'metadata'), 'annotations');
    const isDefault = DEFAULT_MARKS.some((mark) => annotations[mark] === 'true');
    return [
      isDefault ? `${nameCell(object)} (default)` : nameCell(object),
      stringAt(object, 'provisioner'),
      stringAt(object, 'reclaimPolicy') || 'Delete',
      stringAt(object, 'volumeBindingMode') || 'Immediate',
      object.allowVolumeExpansion === true,
      ageCell(object, now),
    ];
  },
};

function fixed(object: JsonObject, old: JsonObject, fields: readonly string[]): FieldError[] {
  return fields
    .filter((field) => !jsonEqual(object[field], old[field]))
    .map((field) => forbiddenField(field, `updates to ${field} are forbidden.`));
}

function validateProvisioner(name: string, field: string): FieldError[] {
  if (name === '') return [required(field)];
  return qualifiedName(name.toLowerCase()).map((why) => invalidValue(field, name.toLowerCase(), why));
}

function validateParameters(parameters: JsonObject, field: string, mayBeEmpty: boolean): FieldError[] {
  const names = Object.keys(parameters);
  if (names.length > MOST_PARAMETERS) return [tooLong(field, MOST_PARAMETERS)];
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const name of names) {
    if (name === '') errors.push(invalidValue(field, name, 'field can not be empty.'));
    bytes += Buffer.byteLength(name) + Buffer.byteLength(String(parameters[name]));
  }
  if (bytes > MOST_PARAMETER_BYTES) errors.push(tooLong(field, MOST_PARAMETER_BYTES));
  if (!mayBeEmpty && names.length === 0) {
    errors.push(required(field, 'must contain at least one key/value pair'));
  }
  return errors;
}

/** Terms are alternatives; a term that says the same as an earlier one is a mistake. */
function validateTopologies(terms: JsonObject[], field: string): FieldError[] {
  const seen: string[] = [];
  return terms.flatMap((term, index) => {
    const path = `${field}[${index}].matchLabelExpressions`;
    const keys = new Map<string, string[]>();
    const errors = listAt(term, 'matchLabelExpressions').flatMap((expression, at) => {
      const key = stringAt(expression, 'key');
      const values = stringsAt(expression, 'values');
      const known = keys.has(key);
      keys.set(key, [...values].sort());
      return [
        ...validateTopologyValues(values, `${path}[${at}].values`),
        ...checkName(`${path}[${at}].key`, key, qualifiedName),
        ...(known ? [duplicate(`${path}[${at}].key`, key)] : []),
      ];
    });
    const said = JSON.stringify([...keys].sort(([left], [right]) => (left < right ? -1 : 1)));
    if (seen.includes(said)) errors.push(duplicate(path, ''));
    seen.push(said);
    return errors;
  });
}

function validateTopologyValues(values: string[], field: string): FieldError[] {
  if (values.length === 0) return [required(field)];
  const seen = new Set<string>();
  return values.flatMap((value, index) => {
    const known = seen.has(value);
    seen.add(value);
    return known ? [duplicate(`${field}[${index}]`, value)] : [];
  });
}

export const volumeAttributesClassStrategy: Strategy = {
  returnsDeleted: true,
  validate: (object) => [
    ...validateProvisioner(stringAt(object, 'driverName'), 'driverName'),
    ...validateParameters(objectAt(object, 'parameters'), 'parameters', false),
  ],
  validateUpdate: (object, old) => fixed(object, old, ['driverName', 'parameters']),
  cells: row((object) => [stringAt(object, 'driverName')]),
};

export const csiStorageCapacityStrategy: Strategy = {
  returnsDeleted: true,
  requireResourceVersionOnUpdate: true,
  validate: (object) => {
    const errors = validateLabelSelector(asObject(object.nodeTopology), 'nodeTopology');
    errors.push(...checkName('storageClassName', stringAt(object, 'storageClassName'), dnsSubdomain));
    for (const field of ['capacity', 'maximumVolumeSize']) {
      if (object[field] !== undefined) errors.push(...validateQuantity(object[field], field));
    }
    return errors;
  },
  validateUpdate: (object, old) => [
    ...checkImmutable('nodeTopology', object.nodeTopology, old.nodeTopology),
    ...checkImmutable('storageClassName', object.storageClassName, old.storageClassName),
  ],
};
