// Quotas and limits, pod templates and controller revisions.
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  asObject,
  ensureObject,
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
import { validateLimits } from './limit-rules.ts';
import { defaultTemplate, validateTemplate } from './pod-spec.ts';
import { podWarnings } from './pod-warnings.ts';
import {
  validateQuotaAmount,
  validateQuotaName,
  validateScopeSelector,
  validateScopes,
} from './quota-rules.ts';
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
  validate: (object) => validateLimits(objectAt(object, 'spec')),
  cells: (object) => [nameCell(object), stringAt(objectAt(object, 'metadata'), 'creationTimestamp')],
};

export const podTemplateStrategy: Strategy = {
  hasGeneration: true,
  returnsDeleted: true,
  allowCreateOnUpdate: true,
  applyDefaults: (object) => defaultTemplate(ensureObject(object, 'template')),
  validate: (object) => validateTemplate(objectAt(object, 'template'), 'template'),
  warnings: (object) => podWarnings(objectAt(object, 'template'), 'template'),
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
