// Roles, ClusterRoles and their bindings.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsSubdomain, pathSegment } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import { jsonEqual } from '../../../../api/patch-json.ts';
import {
  asObject,
  checkName,
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
import { ageCell, nameCell } from '../cells.ts';
import { validateLabelSelector } from '../label-selector.ts';

const RBAC = 'rbac.authorization.k8s.io';

function validateRules(role: JsonObject, namespaced: boolean): FieldError[] {
  return listAt(role, 'rules').flatMap((rule, index) => {
    const path = `rules[${index}]`;
    const errors: FieldError[] = [];
    if (stringsAt(rule, 'verbs').length === 0) {
      errors.push(required(`${path}.verbs`, 'verbs must contain at least one value'));
    }
    const urls = stringsAt(rule, 'nonResourceURLs');
    if (urls.length > 0) {
      if (namespaced) {
        errors.push(
          invalidValue(`${path}.nonResourceURLs`, urls, 'namespaced rules cannot apply to non-resource URLs'),
        );
      }
      const others = ['apiGroups', 'resources', 'resourceNames'];
      if (others.some((field) => stringsAt(rule, field).length > 0)) {
        errors.push(
          invalidValue(
            `${path}.nonResourceURLs`,
            urls,
            'rules cannot apply to both regular resources and non-resource URLs',
          ),
        );
      }
      return errors;
    }
    if (stringsAt(rule, 'apiGroups').length === 0) {
      errors.push(required(`${path}.apiGroups`, 'resource rules must supply at least one api group'));
    }
    if (stringsAt(rule, 'resources').length === 0) {
      errors.push(required(`${path}.resources`, 'resource rules must supply at least one resource'));
    }
    return errors;
  });
}

function role(namespaced: boolean): Strategy {
  return {
    nameRule: 'path-segment',
    allowCreateOnUpdate: true,
    validate: (object) => {
      const errors = validateRules(object, namespaced);
      const aggregation = asObject(object.aggregationRule);
      if (!aggregation) return errors;
      const field = 'aggregationRule.clusterRoleSelectors';
      const selectors = listAt(aggregation, 'clusterRoleSelectors');
      if (selectors.length === 0) {
        errors.push(
          required(field, 'at least one clusterRoleSelector required if aggregationRule is non-nil'),
        );
      }
      selectors.forEach((selector, index) => {
        errors.push(...validateLabelSelector(selector, `${field}[${index}]`));
      });
      return errors;
    },
    cells: (object) => [nameCell(object), stringAt(objectAt(object, 'metadata'), 'creationTimestamp')],
  };
}

export const roleStrategy = role(true);
export const clusterRoleStrategy = role(false);

function binding(namespaced: boolean): Strategy {
  return {
    nameRule: 'path-segment',
    allowCreateOnUpdate: true,
    applyDefaults: (object) => {
      const reference = objectAt(object, 'roleRef');
      if (isUnset(reference.apiGroup)) reference.apiGroup = RBAC;
      for (const subject of listAt(object, 'subjects')) {
        if (!isUnset(subject.apiGroup)) continue;
        if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup = RBAC;
      }
    },
    validate: (object) => validateBinding(object, namespaced),
    validateUpdate: (object, old) => {
      if (jsonEqual(object.roleRef, old.roleRef)) return [];
      const { apiGroup, kind, name } = objectAt(object, 'roleRef');
      return [
        invalidValue('roleRef', { APIGroup: apiGroup, Kind: kind, Name: name }, 'cannot change roleRef'),
      ];
    },
    cells: (object, now) => {
      const reference = objectAt(object, 'roleRef');
      const subjects = listAt(object, 'subjects');
      const of = (kind: string, text: (subject: JsonObject) => string): string =>
        subjects
          .filter((subject) => subject.kind === kind)
          .map(text)
          .join(', ');
      const name = (subject: JsonObject): string => stringAt(subject, 'name');
      return [
        nameCell(object),
        `${reference.kind}/${reference.name}`,
        ageCell(object, now),
        of('User', name),
        of('Group', name),
        of('ServiceAccount', (subject) =>
          stringAt(subject, 'namespace') === '' ? name(subject) : `${subject.namespace}/${subject.name}`,
        ),
      ];
    },
  };
}

export const roleBindingStrategy = binding(true);
export const clusterRoleBindingStrategy = binding(false);

function validateBinding(object: JsonObject, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const reference = objectAt(object, 'roleRef');
  if (reference.apiGroup !== RBAC) {
    errors.push(notSupported('roleRef.apiGroup', reference.apiGroup ?? '', [RBAC]));
  }
  const kinds = namespaced ? ['Role', 'ClusterRole'] : ['ClusterRole'];
  if (!kinds.includes(stringAt(reference, 'kind'))) {
    errors.push(notSupported('roleRef.kind', reference.kind ?? '', kinds));
  }
  const name = stringAt(reference, 'name');
  if (name === '') errors.push(required('roleRef.name'));
  else errors.push(...checkName('roleRef.name', name, pathSegment));
  listAt(object, 'subjects').forEach((subject, index) => {
    errors.push(...validateSubject(subject, `subjects[${index}]`, namespaced));
  });
  return errors;
}

function validateSubject(subject: JsonObject, path: string, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const name = stringAt(subject, 'name');
  if (name === '') errors.push(required(`${path}.name`));
  switch (subject.kind) {
    case 'ServiceAccount':
      if (name !== '') errors.push(...checkName(`${path}.name`, name, dnsSubdomain));
      if (stringAt(subject, 'apiGroup') !== '') {
        errors.push(notSupported(`${path}.apiGroup`, subject.apiGroup, ['']));
      }
      if (!namespaced && stringAt(subject, 'namespace') === '') errors.push(required(`${path}.namespace`));
      break;
    case 'User':
    case 'Group':
      if (name === '') {
        const who = subject.kind === 'User' ? 'user' : 'group';
        errors.push(invalidValue(`${path}.name`, '', `${who} name cannot be empty`));
      }
      if (subject.apiGroup !== RBAC) {
        errors.push(notSupported(`${path}.apiGroup`, subject.apiGroup ?? '', [RBAC]));
      }
      break;
    default:
      errors.push(notSupported(`${path}.kind`, subject.kind ?? '', ['ServiceAccount', 'User', 'Group']));
  }
  return errors;
}
