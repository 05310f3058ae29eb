// What field ownership has to know of each endpoint: which fields it writes, which versions there are beside its own.
import { below, differenceBelow, type FieldSet, fieldSet } from '../../api/managed-fields/field-set.ts';
import type { ObjectType } from '../../api/managed-fields/object-type.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import { groupResource, parseApiVersion } from '../../api/resource.ts';
import type { SchemaNode } from '../../api/schema.ts';
import type { Projection } from './pipeline.ts';
import { type Served, type ServedResources, statusIsApart, toVersion } from './served.ts';

export function objectTypeOf(
  resources: ServedResources,
  served: Served,
  subresource: string | undefined,
  { as }: Projection,
): ObjectType {
  const isScale = as.kind !== served.info.kind;
  const type = { apiVersion: as.apiVersion, kind: as.kind };
  return {
    ...type,
    subresource,
    node: as.struct,
    empty: served.custom && !isScale ? type : { ...emptyOf(as.struct), ...type },
    writable: isScale ? (set) => set : writableThrough(served, subresource),
    other: (apiVersion) => {
      if (isScale) return undefined;
      const { group, version } = parseApiVersion(apiVersion);
      const other = resources.find(group, version, served.info.resource);
      // The same name in another group need not be the same thing.
      if (!other || other.bucket !== served.bucket) return undefined;
      return {
        node: other.struct,
        convert: (object) => through(served, other, object),
        convertBack: (object) => through(other, served, object),
      };
    },
  };
}

function through(from: Served, to: Served, object: JsonObject): JsonObject {
  const stored = from.conversion ? from.conversion.toStorage(object) : object;
  return toVersion(to, stored as unknown as KubeObject) as unknown as JsonObject;
}

/** A value of Go's type of which nothing was set. */
function emptyOf(node: SchemaNode): JsonObject {
  const result: JsonObject = {};
  if (node.kind !== 'struct') return result;
  for (const { name, node: inner, zero } of node.always) {
    result[name] = zero === 'object' ? emptyOf(inner) : zero;
  }
  return result;
}

const STATUS = fieldSet(['f:status']);
const SPEC = fieldSet(['f:spec']);
const METADATA = fieldSet(['f:metadata'], ['f:spec']);

/** What is reset besides the spec when the status of these is written (GetResetFields of their strategies). */
const STATUS_RESETS: Readonly<Record<string, FieldSet>> = {
  'deployments.apps': fieldSet(['f:spec'], ['f:metadata', 'f:labels']),
  pods: fieldSet(['f:spec'], ['f:metadata', 'f:deletionTimestamp'], ['f:metadata', 'f:ownerReferences']),
  'customresourcedefinitions.apiextensions.k8s.io': METADATA,
  'apiservices.apiregistration.k8s.io': METADATA,
};

function writableThrough(served: Served, subresource: string | undefined): (set: FieldSet) => FieldSet {
  switch (subresource) {
    case undefined:
      return statusIsApart(served) ? (set) => differenceBelow(set, STATUS) : (set) => set;
    case 'status': {
      const reset = served.custom ? METADATA : (STATUS_RESETS[groupResource(served.stored)] ?? SPEC);
      return (set) => differenceBelow(set, reset);
    }
    case 'ephemeralcontainers':
      return only(['f:spec', 'f:ephemeralContainers']);
    case 'resize':
      return onlyResources;
    case 'approval':
      return only(['f:status', 'f:conditions']);
    case 'finalize':
      return only(['f:spec', 'f:finalizers']);
    default:
      return (set) => set;
  }
}

function only([outer, inner]: readonly [outer: string, inner: string]): (set: FieldSet) => FieldSet {
  return (set) => {
    const part = below(set, outer)[inner];
    return part === undefined ? fieldSet() : { [outer]: { [inner]: part } };
  };
}

/** Resources and resize policies of containers. */
function onlyResources(set: FieldSet): FieldSet {
  const kept: Record<string, FieldSet> = {};
  for (const list of ['f:containers', 'f:initContainers']) {
    const containers: Record<string, FieldSet> = {};
    for (const [element, container] of Object.entries(below(below(set, 'f:spec'), list))) {
      const fields: Record<string, FieldSet> = {};
      for (const field of ['f:resources', 'f:resizePolicy']) {
        if (container[field] !== undefined) fields[field] = container[field];
      }
      if (Object.keys(fields).length > 0) containers[element] = fields;
    }
    if (Object.keys(containers).length > 0) kept[list] = containers;
  }
  return Object.keys(kept).length === 0 ? fieldSet() : { 'f:spec': kept };
}
