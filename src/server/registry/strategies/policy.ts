// Quotas and limits, pod templates and controller revisions.
import type { FieldError } from '../../../api/errors.ts';
import { qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { compareQuantities, quantityOf } from '../../../api/quantity.ts';
import {
  asObject,
  checkName,
  ensureObject,
  forbiddenField,
  invalidValue,
  listAt,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import type { Strategy } from '../strategy.ts';
import { ageOf } from './age.ts';
import { ageCell, mapCell, nameCell } from './cells.ts';
import { defaultTemplate, podSpecWarnings, validateTemplate } from './pod-spec.ts';
import {
  validateQuotaAmount,
  validateQuotaName,
  validateScopeSelector,
  validateScopes,
} from './quota-rules.ts';
import { isStandardResource } from './resources.ts';
import { containerCells } from './workloads.ts';

export const resourceQuotaStrategy: Strategy = {
  returnsDeleted: true,
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const hard = objectAt(spec, 'hard');
    const errors: FieldError[] = [];
    for (const name of Object.keys(hard)) {
      errors.push(...validateQuotaName(name, `spec.hard[${name}]`));
      errors.push(...validateQuotaAmount(name, hard[name], `spec.hard[${name}]`));
    }
    return [...errors, ...validateScopes(spec), ...validateScopeSelector(spec)];
  },
  validateUpdate: (object, old) => {
    const sorted = (value: JsonObject): string[] => [...stringsAt(objectAt(value, 'spec'), 'scopes')].sort();
    return jsonEqual(sorted(object), sorted(old))
      ? []
      : [invalidValue('spec.scopes', objectAt(object, 'spec').scopes ?? null, 'field is immutable')];
  },
  cells: (object, now) => {
    const status = objectAt(object, 'status');
    const hard = objectAt(status, 'hard');
    const used = objectAt(status, 'used');
    const shown = Object.keys(hard)
      .sort()
      .map((name) => ({
        limit: name.startsWith('limits.'),
        text: `${name}: ${used[name] ?? '0'}/${hard[name]}`,
      }));
    const text = (limit: boolean): string =>
      shown
        .filter((entry) => entry.limit === limit)
        .map((entry) => entry.text)
        .join(', ');
    return [nameCell(object), text(false), text(true), ageCell(object, now)];
  },
};

export const limitRangeStrategy: Strategy = {
  allowCreateOnUpdate: true,
  applyDefaults: (object) => {
    // A default limit follows from the maximum, a default request from the limit or the minimum.
    for (const limit of listAt(objectAt(object, 'spec'), 'limits')) {
      if (limit.type !== 'Container') continue;
      const fill = (target: string, source: string): void => {
        const from = objectAt(limit, source);
        if (Object.keys(from).length === 0) return;
        const to = ensureObject(limit, target);
        for (const name of Object.keys(from)) setDefault(to, name, from[name] ?? null);
      };
      fill('default', 'max');
      fill('defaultRequest', 'default');
      fill('defaultRequest', 'min');
    }
  },
  validate: (object) => {
    const types = new Set<string>();
    return listAt(objectAt(object, 'spec'), 'limits').flatMap((limit, index) => {
      const path = `spec.limits[${index}]`;
      const type = stringAt(limit, 'type');
      const errors: FieldError[] = [];
      errors.push(...validateLimitType(type, `${path}.type`));
      if (types.has(type)) {
        errors.push({
          reason: 'FieldValueDuplicate',
          field: `${path}.type`,
          message: `Duplicate value: ${JSON.stringify(type)}`,
        });
      }
      types.add(type);
      for (const field of ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio']) {
        for (const name of Object.keys(objectAt(limit, field))) {
          errors.push(...validateLimitedName(name, `${path}.${field}[${name}]`));
        }
      }
      return [...errors, ...validateLimitOrder(limit, path, type)];
    });
  },
  cells: (object) => [nameCell(object), stringAt(objectAt(object, 'metadata'), 'creationTimestamp')],
};

function validateLimitOrder(limit: JsonObject, path: string, type: string): FieldError[] {
  const errors: FieldError[] = [];
  const order = (low: string, high: string, text: string): void => {
    const lows = objectAt(limit, low);
    const highs = objectAt(limit, high);
    for (const name of Object.keys(lows)) {
      if (highs[name] === undefined) continue;
      if (compareQuantities(quantityOf(lows[name]), quantityOf(highs[name])) > 0) {
        errors.push(
          invalidValue(
            `${path}.${low}[${name}]`,
            lows[name],
            `${text} ${lows[name]} is greater than ${high} value ${highs[name]}`,
          ),
        );
      }
    }
  };
  if (type === 'Pod') {
    for (const field of ['default', 'defaultRequest']) {
      if (Object.keys(objectAt(limit, field)).length > 0) {
        errors.push(forbiddenField(`${path}.${field}`, "may not be specified when `type` is 'Pod'"));
      }
    }
  }
  order('min', 'max', 'min value');
  order('defaultRequest', 'max', 'default request value');
  order('default', 'max', 'default value');
  order('defaultRequest', 'default', 'default request value');
  if (type === 'PersistentVolumeClaim') {
    const bounded = ['min', 'max'].some((field) => objectAt(limit, field).storage !== undefined);
    if (!bounded) {
      errors.push(
        required(
          `${path}.limits`,
          'either minimum or maximum storage value is required, but neither was provided',
        ),
      );
    }
  }
  return [...errors, ...validateRatio(limit, path)];
}

const LIMIT_TYPES = ['Container', 'PersistentVolumeClaim', 'Pod'];

function validateLimitType(type: string, field: string): FieldError[] {
  if (type === '') return [required(field)];
  const errors = checkName(field, type, qualifiedName);
  if (errors.length === 0 && !type.includes('/') && !LIMIT_TYPES.includes(type)) {
    errors.push(invalidValue(field, type, 'must be a standard limit type or fully qualified'));
  }
  return errors;
}

function validateLimitedName(name: string, field: string): FieldError[] {
  const errors = checkName(field, name, qualifiedName);
  if (errors.length === 0 && !name.includes('/') && !isStandardResource(name)) {
    errors.push(invalidValue(field, name, 'must be a standard resource type or fully qualified'));
  }
  return errors;
}

/** How many times its request a container's limit may be. */
function validateRatio(limit: JsonObject, path: string): FieldError[] {
  const ratios = objectAt(limit, 'maxLimitRequestRatio');
  const errors: FieldError[] = [];
  for (const name of Object.keys(ratios)) {
    const field = `${path}.maxLimitRequestRatio[${name}]`;
    const ratio = quantityOf(ratios[name]).nano;
    if (ratio < 1_000_000_000n) {
      errors.push(invalidValue(field, ratios[name], `ratio ${ratios[name]} is less than 1`));
    }
    const [min, max] = [objectAt(limit, 'min')[name], objectAt(limit, 'max')[name]];
    if (min === undefined || max === undefined || quantityOf(min).nano <= 0n) continue;
    const widest = Number(quantityOf(max).nano) / Number(quantityOf(min).nano);
    if (Number(ratio) / 1e9 > widest) {
      const why = `ratio ${ratios[name]} is greater than max/min = ${widest.toFixed(6)}`;
      errors.push(invalidValue(field, ratios[name], why));
    }
  }
  return errors;
}

export const podTemplateStrategy: Strategy = {
  hasGeneration: true,
  returnsDeleted: true,
  allowCreateOnUpdate: true,
  applyDefaults: (object) => defaultTemplate(ensureObject(object, 'template')),
  validate: (object) => validateTemplate(objectAt(object, 'template'), 'template'),
  warnings: (object) => podSpecWarnings(objectAt(objectAt(object, 'template'), 'spec'), 'template.spec'),
  cells: (object) => [
    nameCell(object),
    ...containerCells(objectAt(object, 'template')),
    mapCell(asObject(objectAt(objectAt(object, 'template'), 'metadata').labels)),
  ],
};

export const controllerRevisionStrategy: Strategy = {
  validate: (object) => {
    const revision = numberAt(object, 'revision') ?? 0;
    const errors: FieldError[] = [];
    if (object.data === undefined) errors.push(required('data', 'data is mandatory'));
    if (revision < 0) {
      errors.push(invalidValue('revision', revision, 'must be greater than or equal to 0'));
    }
    return errors;
  },
  validateUpdate: (object, old) => checkImmutable('data', object.data, old.data),
  cells: (object, now) => {
    const owner = listAt(objectAt(object, 'metadata'), 'ownerReferences').find(
      ({ controller }) => controller === true,
    );
    return [
      nameCell(object),
      owner ? ownerCell(owner) : '<none>',
      numberAt(object, 'revision') ?? 0,
      ageOf(objectAt(object, 'metadata').creationTimestamp, now),
    ];
  },
};

function ownerCell(owner: JsonObject): string {
  const apiVersion = stringAt(owner, 'apiVersion');
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : `.${apiVersion.slice(0, slash)}`;
  return `${stringAt(owner, 'kind').toLowerCase()}${group}/${owner.name}`;
}
