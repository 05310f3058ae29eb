// What admission webhooks and admission policies share: which requests they are about.
import type { FieldError } from '../../../../api/errors.ts';
import { pathSegment, qualifiedName } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  required,
  setDefault,
  stringAt,
  stringsAt,
  tooMany,
} from '../../../../api/validation.ts';
import { validateLabelSelector } from '../label-selector.ts';
import { validateExpression } from './expressions.ts';

export const FAILURE_POLICIES = ['Fail', 'Ignore'];
const MATCH_POLICIES = ['Equivalent', 'Exact'];
const OPERATIONS = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE'];
const SCOPES = ['*', 'Cluster', 'Namespaced'];
const MOST_CONDITIONS = 64;

/** Of a webhook or of matchConstraints, which have these three by the same names. */
export function defaultMatching(parent: JsonObject): void {
  if (isUnset(parent.matchPolicy)) parent.matchPolicy = 'Equivalent';
  setDefault(parent, 'namespaceSelector', {});
  setDefault(parent, 'objectSelector', {});
}

export function defaultScopes(rules: JsonObject[]): void {
  for (const rule of rules) if (isUnset(rule.scope)) rule.scope = '*';
}

export function defaultMatchResources(match: JsonObject | undefined): void {
  if (!match) return;
  defaultMatching(match);
  defaultScopes(listAt(match, 'resourceRules'));
  defaultScopes(listAt(match, 'excludeResourceRules'));
}

export function checkFailurePolicy(parent: JsonObject, path: string): FieldError[] {
  return checkChoice(`${path}.failurePolicy`, parent.failurePolicy, FAILURE_POLICIES);
}

export function checkMatchPolicy(parent: JsonObject, path: string): FieldError[] {
  return checkChoice(`${path}.matchPolicy`, parent.matchPolicy, MATCH_POLICIES);
}

export function validateSelectors(parent: JsonObject, path: string): FieldError[] {
  return ['namespaceSelector', 'objectSelector'].flatMap((field) =>
    validateLabelSelector(asObject(parent[field]), `${path}.${field}`),
  );
}

export function validateMatchResources(match: JsonObject | undefined, path: string): FieldError[] {
  if (!match) return [];
  const errors = [...checkMatchPolicy(match, path), ...validateSelectors(match, path)];
  for (const list of ['resourceRules', 'excludeResourceRules']) {
    listAt(match, list).forEach((rule, index) => {
      const at = `${path}.${list}[${index}]`;
      const seen = new Set<string>();
      stringsAt(rule, 'resourceNames').forEach((name, which) => {
        const field = `${at}.resourceNames[${which}]`;
        errors.push(...checkName(field, name, pathSegment));
        if (seen.has(name)) errors.push(duplicate(field, name));
        seen.add(name);
      });
      errors.push(...validateRule(rule, at));
    });
  }
  return errors;
}

export function validateRule(rule: JsonObject, path: string): FieldError[] {
  const errors = validateList(rule, path, 'operations', 'operations');
  stringsAt(rule, 'operations').forEach((operation, index) => {
    if (!OPERATIONS.includes(operation)) {
      errors.push(notSupported(`${path}.operations[${index}]`, operation, OPERATIONS));
    }
  });
  errors.push(...validateList(rule, path, 'apiGroups', 'API groups'));
  errors.push(...validateList(rule, path, 'apiVersions', 'API versions'));
  stringsAt(rule, 'apiVersions').forEach((version, index) => {
    if (version === '') errors.push(required(`${path}.apiVersions[${index}]`));
  });
  errors.push(...validateResources(stringsAt(rule, 'resources'), `${path}.resources`));
  errors.push(...checkChoice(`${path}.scope`, rule.scope, SCOPES));
  return errors;
}

function validateList(rule: JsonObject, path: string, list: string, what: string): FieldError[] {
  const values = stringsAt(rule, list);
  if (values.length === 0) return [required(`${path}.${list}`)];
  return values.length > 1 && values.includes('*')
    ? [invalidValue(`${path}.${list}`, values, `if '*' is present, must not specify other ${what}`)]
    : [];
}

// `pods`, `pods/log`, with `*` for either part: a wildcard makes what it covers superfluous.
function validateResources(resources: string[], path: string): FieldError[] {
  if (resources.length === 0) return [required(path)];
  const errors: FieldError[] = [];
  const wholeResources = new Set<string>();
  const wholeSubresources = new Set<string>();
  let hasPlain = false;
  resources.forEach((entry, index) => {
    if (entry === '') {
      errors.push(required(`${path}[${index}]`));
      return;
    }
    const slash = entry.indexOf('/');
    if (slash < 0) {
      hasPlain = entry !== '*';
      return;
    }
    const resource = entry.slice(0, slash);
    const subresource = entry.slice(slash + 1);
    for (const [covering, covered] of [
      [`${resource}/*`, wholeResources.has(resource)],
      [`*/${subresource}`, wholeSubresources.has(subresource)],
    ] as const) {
      if (!covered) continue;
      errors.push(
        invalidValue(`${path}[${index}]`, entry, `if '${covering}' is present, must not specify ${entry}`),
      );
    }
    if (subresource === '*') wholeResources.add(resource);
    if (resource === '*') wholeSubresources.add(subresource);
  });
  if (resources.length > 1 && resources.includes('*/*')) {
    errors.push(invalidValue(path, resources, "if '*/*' is present, must not specify other resources"));
  }
  if (resources.includes('*') && hasPlain) {
    errors.push(
      invalidValue(
        path,
        resources,
        "if '*' is present, must not specify other resources without subresources",
      ),
    );
  }
  return errors;
}

export function validateMatchConditions(conditions: JsonObject[], path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (conditions.length > MOST_CONDITIONS) {
    errors.push(tooMany(path, conditions.length, MOST_CONDITIONS));
  }
  const seen = new Set<string>();
  conditions.forEach((condition, index) => {
    const at = `${path}[${index}]`;
    errors.push(...validateExpression(stringAt(condition, 'expression').trim(), `${at}.expression`));
    const name = stringAt(condition, 'name');
    if (name === '') errors.push(required(`${at}.name`));
    else {
      errors.push(...checkName(`${at}.name`, name, qualifiedName));
      if (seen.has(name)) errors.push(duplicate(`${at}.name`, name));
      seen.add(name);
    }
  });
  return errors;
}
