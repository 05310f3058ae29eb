// Whose requests for what a FlowSchema is about.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsLabel, dnsSubdomain } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkName,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  required,
  stringAt,
  stringsAt,
} from '../../../../api/validation.ts';

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'proxy', 'update', 'watch'];
/** A subject's kind and the field that describes it. */
const SUBJECTS: Readonly<Record<string, string>> = {
  ServiceAccount: 'serviceAccount',
  User: 'user',
  Group: 'group',
};

export function validateFlowRule(rule: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const subjects = listAt(rule, 'subjects');
  if (subjects.length === 0) {
    errors.push(required(`${path}.subjects`, 'subjects must contain at least one value'));
  }
  subjects.forEach((subject, index) => {
    errors.push(...validateSubject(subject, `${path}.subjects[${index}]`));
  });
  const resourceRules = listAt(rule, 'resourceRules');
  const urlRules = listAt(rule, 'nonResourceRules');
  if (resourceRules.length === 0 && urlRules.length === 0) {
    errors.push(required(path, 'at least one of resourceRules and nonResourceRules has to be non-empty'));
  }
  resourceRules.forEach((one, index) => {
    errors.push(...validateResourceRule(one, `${path}.resourceRules[${index}]`));
  });
  urlRules.forEach((one, index) => {
    errors.push(...validateUrlRule(one, `${path}.nonResourceRules[${index}]`));
  });
  return errors;
}

function validateSubject(subject: JsonObject, path: string): FieldError[] {
  const kind = stringAt(subject, 'kind');
  const own = Object.hasOwn(SUBJECTS, kind) ? SUBJECTS[kind] : undefined;
  if (own === undefined) return [notSupported(`${path}.kind`, kind, ['Group', 'ServiceAccount', 'User'])];
  const errors: FieldError[] = [];
  const described = asObject(subject[own]);
  if (!described)
    errors.push(required(`${path}.${own}`, `${own} is required when subject kind is '${kind}'`));
  else {
    const name = stringAt(described, 'name');
    if (name === '') errors.push(required(`${path}.${own}.name`));
    if (kind === 'ServiceAccount') {
      if (name !== '' && name !== '*') errors.push(...checkName(`${path}.${own}.name`, name, dnsSubdomain));
      const namespace = stringAt(described, 'namespace');
      if (namespace !== '') errors.push(...checkName(`${path}.${own}.namespace`, namespace, dnsLabel));
      else {
        errors.push(required(`${path}.${own}.namespace`, 'must specify namespace for service account'));
      }
    }
  }
  for (const [other, field] of Object.entries(SUBJECTS)) {
    if (other === kind || subject[field] === undefined) continue;
    errors.push(
      forbiddenField(`${path}.${field}`, `${field} is forbidden when subject kind is not '${other}'`),
    );
  }
  return errors;
}

function validateVerbs(rule: JsonObject, path: string): FieldError[] {
  const verbs = stringsAt(rule, 'verbs');
  const field = `${path}.verbs`;
  if (verbs.length === 0) return [required(field, 'verbs must contain at least one value')];
  if (verbs.includes('*')) return checkAlone(verbs, field, 'verbs');
  return verbs.every((verb) => VERBS.includes(verb)) ? [] : [notSupported(field, verbs, VERBS)];
}

function checkAlone(values: string[], field: string, what: string): FieldError[] {
  return values.includes('*') && values.length > 1
    ? [invalidValue(field, values, `if '*' is present, must not specify other ${what}`)]
    : [];
}

function validateResourceRule(rule: JsonObject, path: string): FieldError[] {
  const errors = validateVerbs(rule, path);
  for (const [list, one, many] of [
    ['apiGroups', 'api group', 'api groups'],
    ['resources', 'resource', 'resources'],
  ] as const) {
    const values = stringsAt(rule, list);
    if (values.length === 0) {
      errors.push(required(`${path}.${list}`, `resource rules must supply at least one ${one}`));
    }
    errors.push(...checkAlone(values, `${path}.${list}`, many));
  }
  const namespaces = stringsAt(rule, 'namespaces');
  const field = `${path}.namespaces`;
  if (namespaces.length === 0 && rule.clusterScope !== true) {
    errors.push(
      required(field, 'resource rules that are not cluster scoped must supply at least one namespace'),
    );
  } else if (namespaces.includes('*')) {
    errors.push(...checkAlone(namespaces, field, 'namespaces'));
  } else {
    namespaces.forEach((namespace, index) => {
      for (const why of dnsLabel(namespace)) {
        errors.push(
          invalidValue(
            `${field}[${index}]`,
            namespace,
            `each member of this list must be '*' or a DNS-1123 label; ${why}`,
          ),
        );
      }
    });
  }
  return errors;
}

function validateUrlRule(rule: JsonObject, path: string): FieldError[] {
  const errors = validateVerbs(rule, path);
  const urls = stringsAt(rule, 'nonResourceURLs');
  const field = `${path}.nonResourceURLs`;
  if (urls.length === 0) {
    errors.push(required(field, 'nonResourceURLs must contain at least one value'));
  } else if (urls.includes('*')) {
    errors.push(...checkAlone(urls, field, 'non-resource URLs'));
  } else {
    urls.forEach((url, index) => {
      const why = urlProblem(url);
      if (why !== undefined) errors.push(invalidValue(`${field}[${index}]`, url, why));
    });
  }
  return errors;
}

function urlProblem(url: string): string | undefined {
  if (url === '') return 'must not be empty';
  if (url === '/') return undefined;
  if (!url.startsWith('/')) return 'must start with slash';
  if (url.includes(' ')) return 'must not contain white-space';
  if (url.includes('//')) return 'must not contain double slash';
  const star = url.indexOf('*');
  if (star >= 0 && (star !== url.length - 1 || !url.endsWith('/*'))) {
    return 'wildcard can only do suffix matching';
  }
  return undefined;
}
