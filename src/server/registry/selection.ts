// Which objects a list, watch or deletecollection is about: namespace, labels and fields, compiled once per request.
import { badRequest } from '../../api/errors.ts';
import { type FieldRequirement, parseFieldSelector } from '../../api/field-selectors.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import {
  type LabelMatcher,
  matchEverything,
  parseLabelSelector,
  SelectorError,
} from '../../api/selectors.ts';
import { objectAt } from '../../api/validation.ts';
import type { Target } from './port.ts';
import type { Served } from './served.ts';

export interface Selection {
  /** `namespace/` or nothing. */
  readonly prefix: string;
  /** Set when the selection can hold only this object. */
  readonly key: string | undefined;
  /** Whether labels or fields narrow it: then a remaining count is not known. */
  readonly selective: boolean;
  matches(object: KubeObject): boolean;
}

/** Throws BadRequest for selectors that cannot be understood. */
export function selectionOf(
  served: Served,
  target: Target,
  options: { labelSelector?: string; fieldSelector?: string },
): Selection {
  try {
    const labels = options.labelSelector ? parseLabelSelector(options.labelSelector) : matchEverything;
    const fields = options.fieldSelector ? parseFieldSelector(options.fieldSelector) : [];
    return compile(served, target, labels, fields);
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(error.message);
    throw error;
  }
}

function compile(
  served: Served,
  target: Target,
  labels: LabelMatcher,
  fields: readonly FieldRequirement[],
): Selection {
  const tests: ((object: KubeObject) => boolean)[] = [];
  if (labels !== matchEverything) tests.push((object) => labels(object.metadata.labels));
  let name = target.name;
  for (const requirement of fields) {
    tests.push(fieldTest(served, requirement));
    if (requirement.field === 'metadata.name' && !requirement.negated) name = requirement.value;
  }
  if (target.name !== undefined) tests.push((object) => object.metadata.name === target.name);
  const namespace =
    target.namespace ??
    fields.find(({ field, negated }) => field === 'metadata.namespace' && !negated)?.value;
  const prefix = namespace ? `${namespace}/` : '';
  return {
    prefix,
    key: name !== undefined && (prefix !== '' || !served.info.namespaced) ? `${prefix}${name}` : undefined,
    selective: tests.length > 0,
    matches: (object) => {
      for (const test of tests) if (!test(object)) return false;
      return true;
    },
  };
}

function fieldTest(
  served: Served,
  { field, value, negated }: FieldRequirement,
): (object: KubeObject) => boolean {
  const read = fieldReader(served, field);
  return (object) => (read(object) === value) !== negated;
}

function fieldReader(served: Served, field: string): (object: KubeObject) => string {
  if (field === 'metadata.name') return (object) => object.metadata.name ?? '';
  const { selectableFields, fieldLabelError, fieldNames } = served.strategy;
  // Kinds without fields of their own take it in any case: what has no namespace is in none.
  if (field === 'metadata.namespace' && (served.info.namespaced || !fieldLabelError)) {
    return (object) => object.metadata.namespace ?? '';
  }
  const names = fieldNames?.[served.apiVersion];
  const own = names === undefined ? field : (Object.hasOwn(names, field) && names[field]) || undefined;
  const read =
    own !== undefined && selectableFields && Object.hasOwn(selectableFields, own)
      ? selectableFields[own]
      : undefined;
  if (read) return (object) => read(object as unknown as JsonObject);
  throw new SelectorError(
    fieldLabelError
      ? fieldLabelError(field)
      : `${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`,
  );
}

/** A reader of a dotted path, for selectableFields: absent is "", booleans are "true" and "false". */
export function fieldAt(path: string): (object: JsonObject) => string {
  const parts = path.split('.');
  const last = parts.pop() ?? '';
  return (object) => {
    let parent = object;
    for (const part of parts) parent = objectAt(parent, part);
    const value = parent[last];
    return typeof value === 'string' ? value : value === undefined || value === null ? '' : String(value);
  };
}

export const fieldsAt = (...paths: string[]): Record<string, (object: JsonObject) => string> =>
  Object.fromEntries(paths.map((path) => [path, fieldAt(path)]));

/** A boolean field whose absence is "false". */
export const flagAt =
  (path: string): ((object: JsonObject) => string) =>
  (object) =>
    fieldAt(path)(object) || 'false';
