// The kinds of resource.k8s.io: what devices there are, and who wants which.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsLabel, dnsSubdomain, qualifiedName } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  forbiddenField,
  invalidValue,
  listAt,
  numberAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
  tooLong,
  tooMany,
} from '../../../../api/validation.ts';
import { checkImmutable } from '../../../../api/validation-meta.ts';
import { fieldsAt } from '../../selection.ts';
import type { Strategy } from '../../strategy.ts';
import { validateNodeSelector } from '../label-selector.ts';
import { validateExpression } from './expressions.ts';
import { row } from './rows.ts';

const MOST_REQUESTS = 32;
const MOST_ALTERNATIVES = 8;
const MOST_SELECTORS = 32;
const MOST_CONSTRAINTS = 32;
const MOST_CONFIGS = 32;
const MOST_DEVICES = 128;
const MOST_ATTRIBUTES = 32;
const LONGEST_POOL_NAME = 253;
const LONGEST_DRIVER_NAME = 63;

function defaultDevices(devices: JsonObject): void {
  for (const request of listAt(devices, 'requests')) {
    const exactly = asObject(request.exactly);
    for (const one of [...(exactly ? [exactly] : []), ...listAt(request, 'firstAvailable')]) {
      if (stringAt(one, 'allocationMode') === '') one.allocationMode = 'ExactCount';
      if (one.allocationMode === 'ExactCount' && (numberAt(one, 'count') ?? 0) === 0) one.count = 1;
    }
  }
}

const claimSpec = (object: JsonObject): JsonObject => objectAt(object, 'spec');
const templateSpec = (object: JsonObject): JsonObject => objectAt(objectAt(object, 'spec'), 'spec');

export const resourceClaimStrategy: Strategy = {
  returnsDeleted: true,
  statusKeepsMetadata: true,
  validatesUpdates: false,
  applyDefaults: (object) => defaultDevices(objectAt(claimSpec(object), 'devices')),
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => validateClaim(objectAt(claimSpec(object), 'devices'), 'spec.devices'),
  validateUpdate: (object, old) => checkImmutable('spec', object.spec, old.spec),
  cells: row((object) => {
    const status = objectAt(object, 'status');
    const deleted = objectAt(object, 'metadata').deletionTimestamp !== undefined;
    const states = deleted ? ['deleted'] : [];
    if (status.allocation === undefined) {
      if (!deleted) states.push('pending');
    } else {
      states.push('allocated');
      if (listAt(status, 'reservedFor').length > 0) states.push('reserved');
    }
    return [states.join(',')];
  }),
};

export const resourceClaimTemplateStrategy: Strategy = {
  returnsDeleted: true,
  validatesUpdates: false,
  applyDefaults: (object) => defaultDevices(objectAt(templateSpec(object), 'devices')),
  validate: (object) => validateClaim(objectAt(templateSpec(object), 'devices'), 'spec.spec.devices'),
  validateUpdate: (object, old) => checkImmutable('spec', object.spec, old.spec),
  cells: row(() => []),
};

/** Names that constraints and configurations may refer to: `request` and `request/alternative`. */
function requestNames(devices: JsonObject): Set<string> {
  const names = new Set<string>();
  for (const request of listAt(devices, 'requests')) {
    const name = stringAt(request, 'name');
    names.add(name);
    for (const alternative of listAt(request, 'firstAvailable')) {
      names.add(`${name}/${stringAt(alternative, 'name')}`);
    }
  }
  return names;
}

/** The list has no more than `most` items; each is checked, with its path. */
function each(
  parent: JsonObject,
  list: string,
  path: string,
  most: number,
  check: (item: JsonObject, at: string) => FieldError[],
): FieldError[] {
  const items = listAt(parent, list);
  const errors = items.flatMap((item, index) => check(item, `${path}.${list}[${index}]`));
  if (items.length > most) errors.push(tooMany(`${path}.${list}`, items.length, most));
  return errors;
}

function uniqueNames(parent: JsonObject, list: string, path: string): FieldError[] {
  const seen = new Set<string>();
  return listAt(parent, list).flatMap((item, index) => {
    const name = stringAt(item, 'name');
    const known = seen.has(name);
    seen.add(name);
    return known ? [duplicate(`${path}.${list}[${index}]`, name)] : [];
  });
}

function validateClaim(devices: JsonObject, path: string): FieldError[] {
  const names = requestNames(devices);
  const known = (parent: JsonObject, at: string): FieldError[] =>
    stringsAt(parent, 'requests').flatMap((name, index) =>
      names.has(name)
        ? []
        : [
            invalidValue(
              `${at}.requests[${index}]`,
              name,
              "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            ),
          ],
    );
  return [
    ...each(devices, 'requests', path, MOST_REQUESTS, validateRequest),
    ...uniqueNames(devices, 'requests', path),
    ...each(devices, 'constraints', path, MOST_CONSTRAINTS, (constraint, at) => {
      const errors = known(constraint, at);
      if (constraint.matchAttribute === undefined && constraint.distinctAttribute === undefined) {
        errors.push(required(at, 'one of `matchAttribute`, `distinctAttribute` is required'));
      }
      return errors;
    }),
    ...each(devices, 'config', path, MOST_CONFIGS, (config, at) => [
      ...known(config, at),
      ...validateConfig(config, at),
    ]),
  ];
}

function validateConfig(config: JsonObject, path: string): FieldError[] {
  const opaque = asObject(config.opaque);
  if (!opaque) return [required(`${path}.opaque`)];
  const errors = validateDriver(stringAt(opaque, 'driver'), `${path}.opaque.driver`);
  if (opaque.parameters === undefined) errors.push(required(`${path}.opaque.parameters`));
  return errors;
}

function validateRequest(request: JsonObject, path: string): FieldError[] {
  const errors = checkName(`${path}.name`, stringAt(request, 'name'), dnsLabel);
  const exactly = asObject(request.exactly);
  const alternatives = listAt(request, 'firstAvailable');
  const only = 'exactly one of `exactly` or `firstAvailable` is required';
  if (!exactly && alternatives.length === 0) errors.push(required(path, only));
  else if (exactly && alternatives.length > 0) {
    errors.push(invalidValue(path, null, `${only}, but multiple fields are set`));
  } else if (exactly) errors.push(...validateWish(exactly, `${path}.exactly`));
  else {
    errors.push(
      ...each(request, 'firstAvailable', path, MOST_ALTERNATIVES, (alternative, at) => [
        ...checkName(`${at}.name`, stringAt(alternative, 'name'), dnsLabel),
        ...validateWish(alternative, at),
      ]),
      ...uniqueNames(request, 'firstAvailable', path),
    );
  }
  return errors;
}

function validateWish(wish: JsonObject, path: string): FieldError[] {
  const className = stringAt(wish, 'deviceClassName');
  const field = `${path}.deviceClassName`;
  const errors = className === '' ? [required(field)] : checkName(field, className, dnsSubdomain);
  errors.push(...validateSelectors(wish, path));
  const count = numberAt(wish, 'count') ?? 0;
  if (wish.allocationMode === 'All' && count !== 0) {
    errors.push(invalidValue(`${path}.count`, count, "must not be specified when allocationMode is 'All'"));
  }
  if (wish.allocationMode === 'ExactCount' && count <= 0) {
    errors.push(invalidValue(`${path}.count`, count, 'must be greater than zero'));
  }
  errors.push(...checkChoice(`${path}.allocationMode`, wish.allocationMode, ['All', 'ExactCount']));
  listAt(wish, 'tolerations').forEach((toleration, index) => {
    errors.push(...validateToleration(toleration, `${path}.tolerations[${index}]`));
  });
  return errors;
}

function validateToleration(toleration: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const key = stringAt(toleration, 'key');
  if (key !== '') errors.push(...checkName(`${path}.key`, key, qualifiedName));
  if (toleration.operator === 'Exists' && stringAt(toleration, 'value') !== '') {
    errors.push(invalidValue(`${path}.value`, toleration.value, 'must be empty for operator `Exists`'));
  }
  if (toleration.operator === 'Equal' && key === '') {
    errors.push(required(`${path}.key`));
  }
  errors.push(...checkChoice(`${path}.operator`, toleration.operator, ['Equal', 'Exists']));
  return [
    ...errors,
    ...checkChoice(`${path}.effect`, toleration.effect, ['NoExecute', 'NoSchedule', 'None']),
  ];
}

function validateSelectors(parent: JsonObject, path: string): FieldError[] {
  return each(parent, 'selectors', path, MOST_SELECTORS, (selector, at) => {
    const cel = asObject(selector.cel);
    return cel
      ? validateExpression(stringAt(cel, 'expression'), `${at}.cel.expression`)
      : [required(`${at}.cel`)];
  });
}

function validateDriver(name: string, field: string): FieldError[] {
  if (name === '') return [required(field)];
  const errors = name.length > LONGEST_DRIVER_NAME ? [tooLong(field, LONGEST_DRIVER_NAME)] : [];
  return [...errors, ...checkName(field, name.toLowerCase(), dnsSubdomain)];
}

export const deviceClassStrategy: Strategy = {
  hasGeneration: true,
  returnsDeleted: true,
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    return [
      ...validateSelectors(spec, 'spec'),
      ...each(spec, 'config', 'spec', MOST_CONFIGS, validateConfig),
    ];
  },
  cells: row(() => []),
};

const PLACES = ['nodeName', 'nodeSelector', 'allNodes', 'perDeviceNodeSelection'];

export const resourceSliceStrategy: Strategy = {
  hasGeneration: true,
  returnsDeleted: true,
  validate: validateSlice,
  validateUpdate: (object, old) => {
    const spec = objectAt(object, 'spec');
    const before = objectAt(old, 'spec');
    return [
      ...checkImmutable('spec.driver', spec.driver, before.driver),
      ...checkImmutable('spec.nodeName', spec.nodeName, before.nodeName),
      ...checkImmutable('spec.pool.name', objectAt(spec, 'pool').name, objectAt(before, 'pool').name),
    ];
  },
  fieldLabelError: (field) =>
    `field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: ${field}`,
  selectableFields: fieldsAt('spec.nodeName', 'spec.driver'),
  cells: row((object) => {
    const spec = objectAt(object, 'spec');
    return [stringAt(spec, 'nodeName'), stringAt(spec, 'driver'), stringAt(objectAt(spec, 'pool'), 'name')];
  }),
};

function validateSlice(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const pool = objectAt(spec, 'pool');
  const errors = validateDriver(stringAt(spec, 'driver'), 'spec.driver');
  const poolName = stringAt(pool, 'name');
  if (poolName === '') errors.push(required('spec.pool.name'));
  else {
    if (poolName.length > LONGEST_POOL_NAME) errors.push(tooLong('spec.pool.name', LONGEST_POOL_NAME));
    for (const part of poolName.split('/')) errors.push(...checkName('spec.pool.name', part, dnsSubdomain));
  }
  const slices = numberAt(pool, 'resourceSliceCount') ?? 0;
  if (slices <= 0) {
    errors.push(invalidValue('spec.pool.resourceSliceCount', slices, 'must be greater than zero'));
  }
  const generation = numberAt(pool, 'generation') ?? 0;
  if (generation < 0) {
    errors.push(invalidValue('spec.pool.generation', generation, 'must be greater than or equal to zero'));
  }
  errors.push(...validatePlace(spec));
  errors.push(...each(spec, 'devices', 'spec', MOST_DEVICES, validateDevice));
  return [...errors, ...uniqueNames(spec, 'devices', 'spec')];
}

function validatePlace(spec: JsonObject): FieldError[] {
  const given = PLACES.filter((field) => ![undefined, false, ''].includes(spec[field] as never));
  const errors: FieldError[] = [];
  const only = `exactly one of ${PLACES.map((field) => `\`${field}\``).join(', ')} is required`;
  if (given.length === 0) errors.push(required('spec', only));
  else if (given.length > 1) {
    const fields = given.map((field) => `\`${field}\``).join(', ');
    errors.push(invalidValue('spec', `{${fields}}`, only));
  }
  const selector = asObject(spec.nodeSelector);
  if (selector) errors.push(...validateNodeSelector(selector, 'spec.nodeSelector'));
  if (spec.allNodes === false) {
    errors.push(forbiddenField('spec.allNodes', 'must be either unset or set to true'));
  }
  return errors;
}

/** `bools` and the like hold several values of one kind. */
const VALUE_KINDS = ['bool', 'bools', 'int', 'ints', 'string', 'strings', 'version', 'versions'];

function validateDevice(device: JsonObject, path: string): FieldError[] {
  const errors = checkName(`${path}.name`, stringAt(device, 'name'), dnsLabel);
  const attributes = objectAt(device, 'attributes');
  const capacity = objectAt(device, 'capacity');
  const count = Object.keys(attributes).length + Object.keys(capacity).length;
  if (count > MOST_ATTRIBUTES) {
    errors.push(
      invalidValue(
        path,
        count,
        `the total number of attributes and capacities must not exceed ${MOST_ATTRIBUTES}`,
      ),
    );
  }
  for (const name of Object.keys(attributes).sort()) {
    const at = `${path}.attributes[${name}]`;
    const value = objectAt(attributes, name);
    const given = VALUE_KINDS.filter((kind) => value[kind] !== undefined);
    if (given.length === 0) errors.push(required(at, 'exactly one value must be specified'));
    if (given.length > 1) errors.push(invalidValue(at, value, 'exactly one value must be specified'));
  }
  listAt(device, 'taints').forEach((taint, index) => {
    const at = `${path}.taints[${index}]`;
    errors.push(...checkName(`${at}.key`, stringAt(taint, 'key'), qualifiedName));
    if (stringAt(taint, 'effect') === '') errors.push(required(`${at}.effect`));
    errors.push(...checkChoice(`${at}.effect`, taint.effect, ['NoExecute', 'NoSchedule', 'None']));
  });
  return errors;
}
