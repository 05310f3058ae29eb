// Which requests an admission policy is about: rules on resources and operations, selectors on objects and namespaces.
import type { Catalogue } from '../../../api/catalogue.ts';
import type { JsonObject } from '../../../api/object.ts';
import { groupResource } from '../../../api/resource.ts';
import { selectorMatcher } from '../../../api/selectors.ts';
import type { LabelSelector } from '../../../api/types/meta-v1.ts';
import { asObject, listAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';
import type { Store } from '../../store/port.ts';
import type { AdmissionRequest } from '../port.ts';

/** `matchConstraints` of a policy or `matchResources` of a binding; absent ones match everything. */
export function matchesRequest(
  constraints: JsonObject | undefined,
  request: AdmissionRequest,
  { store, catalogue }: { store: Pick<Store, 'head'>; catalogue: Catalogue },
): boolean {
  if (!constraints) return true;
  if (!selectsNamespace(asObject(constraints.namespaceSelector), request, store)) return false;
  if (!selectsObject(asObject(constraints.objectSelector), request)) return false;
  const exact = constraints.matchPolicy === 'Exact';
  const excluded = listAt(constraints, 'excludeResourceRules');
  if (excluded.some((rule) => ruleMatches(rule, request, exact, catalogue))) return false;
  const rules = listAt(constraints, 'resourceRules');
  return rules.length === 0 || rules.some((rule) => ruleMatches(rule, request, exact, catalogue));
}

function ruleMatches(
  rule: JsonObject,
  request: AdmissionRequest,
  exact: boolean,
  catalogue: Catalogue,
): boolean {
  const { operation, target } = request;
  const has = (field: string, value: string): boolean => {
    const list = stringsAt(rule, field);
    return list.includes('*') || list.includes(value);
  };
  if (!has('operations', operation)) return false;
  const scope = stringAt(rule, 'scope') || '*';
  if (
    scope !== '*' &&
    (scope === 'Namespaced') !== (Boolean(target.namespace) && request.bucket !== 'namespaces')
  ) {
    return false;
  }
  const { group, version, resource } = target.info;
  const matchesType = (of: { group: string; version: string; resource: string }): boolean =>
    has('apiGroups', of.group) &&
    has('apiVersions', of.version) &&
    matchesResource(rule, of.resource, target.subresource);
  const matched =
    matchesType({ group, version, resource }) ||
    // Equivalent: a rule about another version of the same objects counts.
    (!exact &&
      catalogue
        .all()
        .some((info) => groupResource(info) === groupResource(target.info) && matchesType(info)));
  if (!matched) return false;
  const names = stringsAt(rule, 'resourceNames');
  if (names.length === 0) return true;
  return names.includes(target.name ?? stringAt(objectAt(request.object, 'metadata'), 'name'));
}

/** `pods`, `pods/exec`, `pods/*`, `*`, `*` + `/scale`, `*` + `/*`. */
function matchesResource(rule: JsonObject, resource: string, subresource: string | undefined): boolean {
  return stringsAt(rule, 'resources').some((text) => {
    const [name = '', sub] = text.split('/');
    if (name !== '*' && name !== resource) return false;
    return sub === '*' ? true : (sub ?? '') === (subresource ?? '');
  });
}

function selectsObject(selector: JsonObject | undefined, { object, old }: AdmissionRequest): boolean {
  if (isEverything(selector)) return true;
  const matches = selectorMatcher(selector as LabelSelector);
  return [object, old].some((one) => {
    const metadata = one && asObject(one.metadata);
    return metadata !== undefined && matches(labelsOf(one));
  });
}

function selectsNamespace(
  selector: JsonObject | undefined,
  { bucket, target, object, old }: AdmissionRequest,
  store: Pick<Store, 'head'>,
): boolean {
  if (isEverything(selector)) return true;
  const matches = selectorMatcher(selector as LabelSelector);
  if (bucket === 'namespaces') return matches(labelsOf(object ?? old));
  // Of what has no namespace there is nothing to select.
  if (!target.namespace) return true;
  const namespace = store.head('namespaces', target.namespace)?.object;
  return matches(labelsOf(namespace as unknown as JsonObject | undefined));
}

function isEverything(selector: JsonObject | undefined): selector is undefined {
  return !selector || Object.keys(selector).length === 0;
}

const labelsOf = (object: JsonObject | undefined): Record<string, string> =>
  objectAt(objectAt(object, 'metadata'), 'labels') as Record<string, string>;
