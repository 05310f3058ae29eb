import type { Owners } from '../../../../src/api/managed-fields/entries.ts';
import { differenceBelow, type FieldSet, fieldSet } from '../../../../src/api/managed-fields/field-set.ts';
import type { ObjectType } from '../../../../src/api/managed-fields/object-type.ts';
import type { JsonObject } from '../../../../src/api/object.ts';
import type { FieldNode, SchemaNode, StructNode } from '../../../../src/api/schema.ts';

const STRING: SchemaNode = { kind: 'string', format: undefined };
const NUMBER: SchemaNode = { kind: 'integer', format: 'int64' };

export function struct(
  fields: Record<string, SchemaNode>,
  more: { atomic?: boolean; open?: boolean; defaults?: Record<string, unknown> } = {},
): StructNode {
  const made = Object.entries(fields).map(([name, node]): [string, FieldNode] => [
    name,
    {
      name,
      node,
      keepZero: true,
      zero: undefined,
      default: more.defaults?.[name],
      patchStrategy: [],
      mergeKey: undefined,
    },
  ]);
  return {
    kind: 'struct',
    goType: 'v1.Thing',
    atomic: more.atomic ?? false,
    fields: new Map(made),
    always: [],
    ...(more.open === undefined ? {} : { open: more.open }),
  };
}

const map = (values: SchemaNode, atomic = false): SchemaNode => ({ kind: 'map', values, atomic });
const list = (listType: 'atomic' | 'set' | 'map', items: SchemaNode, ...mapKeys: string[]): SchemaNode => ({
  kind: 'list',
  listType,
  items,
  mapKeys,
});

/** One of every way in which a field can be owned. */
export const THING = struct({
  apiVersion: STRING,
  kind: STRING,
  metadata: struct({
    name: STRING,
    resourceVersion: STRING,
    labels: map(STRING),
    annotations: map(STRING),
    finalizers: list('set', STRING),
  }),
  spec: struct({
    size: STRING,
    replicas: NUMBER,
    paused: { kind: 'boolean' },
    selector: map(STRING, true),
    args: list('atomic', STRING),
    tags: list('set', STRING),
    ports: list(
      'map',
      struct({ port: NUMBER, protocol: STRING, name: STRING }, { defaults: { protocol: 'TCP' } }),
      'port',
      'protocol',
    ),
    parts: list('map', struct({ name: STRING, image: STRING, env: map(STRING) }), 'name'),
    free: { kind: 'any' },
    whole: struct({ a: STRING, b: STRING }, { atomic: true }),
    open: struct({ a: STRING }, { open: true }),
  }),
  status: struct({ phase: STRING }),
});

const TYPE = { apiVersion: 'v1', kind: 'Thing' };

export const thingType: ObjectType = {
  ...TYPE,
  subresource: undefined,
  node: THING,
  empty: TYPE,
  writable: (set) => differenceBelow(set, fieldSet(['f:status'])),
  other: () => undefined,
};

export function thing(rest: JsonObject): JsonObject {
  return { ...TYPE, ...rest };
}

/** `{ data: { a: {} } }` as FieldsV1: names are fields, unless they begin with an element's letter and a colon. */
export function fields(tree: JsonObject): FieldSet {
  return Object.fromEntries(
    Object.entries(tree).map(([name, inner]) => [
      name === '.' || /^[kvif]:/.test(name) ? name : `f:${name}`,
      fields(inner as JsonObject),
    ]),
  );
}

export function owned(owners: Owners): Record<string, FieldSet> {
  return Object.fromEntries(owners.map(({ manager, fieldsV1 }) => [manager, fieldsV1]));
}
