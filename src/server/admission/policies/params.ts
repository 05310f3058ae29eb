// The objects that a binding hands to its policy as `params`.
import type { Catalogue } from '../../../api/catalogue.ts';
import { type JsonObject, objectKey } from '../../../api/object.ts';
import { groupResource } from '../../../api/resource.ts';
import { selectorMatcher } from '../../../api/selectors.ts';
import type { LabelSelector } from '../../../api/types/meta-v1.ts';
import { asObject, objectAt, stringAt } from '../../../api/validation.ts';
import type { Store } from '../../store/port.ts';

/** The policy and its binding do not go together: a matter of the policy's failurePolicy. */
export class ConfigurationError extends Error {}

/**
 * One evaluation for each; `[null]` when the policy has no parameters, nothing when the binding allows that there are
 * none. Throws ConfigurationError.
 */
export function paramsOf(
  policy: JsonObject,
  binding: JsonObject,
  namespace: string | undefined,
  { store, catalogue }: { store: Pick<Store, 'head' | 'heads'>; catalogue: Catalogue },
): (JsonObject | null)[] {
  const kind = asObject(objectAt(policy, 'spec').paramKind);
  const reference = asObject(objectAt(binding, 'spec').paramRef);
  if (!kind || !reference) return [null];
  const info = catalogue.findKind(stringAt(kind, 'apiVersion'), stringAt(kind, 'kind'));
  if (!info) {
    throw new ConfigurationError(
      `failed to find resource referenced by paramKind: '${stringAt(kind, 'apiVersion')}, Kind=${stringAt(kind, 'kind')}'`,
    );
  }
  const own = stringAt(reference, 'namespace');
  if (!info.namespaced && own !== '') {
    throw new ConfigurationError('paramRef.namespace must not be provided for a cluster-scoped `paramKind`');
  }
  const place = info.namespaced ? own || namespace : undefined;
  if (info.namespaced && !place) {
    throw new ConfigurationError(
      'cannot use namespaced paramRef in policy binding that matches cluster-scoped resources',
    );
  }
  const bucket = groupResource(info);
  const name = stringAt(reference, 'name');
  let found: JsonObject[];
  if (name !== '') {
    const one = store.head(bucket, objectKey(place, name))?.object;
    found = one ? [one as unknown as JsonObject] : [];
  } else {
    const matches = selectorMatcher((asObject(reference.selector) ?? {}) as LabelSelector);
    found = store
      .heads(bucket, place ? `${place}/` : undefined)
      .filter(({ object }) => matches(object.metadata.labels))
      .map(({ object }) => object as unknown as JsonObject);
  }
  if (found.length === 0 && reference.parameterNotFoundAction === 'Deny') {
    throw new ConfigurationError('no params found for policy binding with `Deny` parameterNotFoundAction');
  }
  return found;
}
