// The schema of a custom resource as the nodes that patches and server-side apply walk.
import type { FieldNode, SchemaNode, StructNode } from '../../../api/schema.ts';
import type { Structural } from './structural.ts';

const ANY: SchemaNode = { kind: 'any' };

export function structOf(schema: Structural, kind: string, meta: SchemaNode): StructNode {
  const implicit: [string, SchemaNode][] = [
    ['apiVersion', { kind: 'string', format: undefined }],
    ['kind', { kind: 'string', format: undefined }],
    ['metadata', meta],
  ];
  const fields = new Map(fieldsOf(schema));
  for (const [name, node] of implicit) fields.set(name, field(name, node, undefined));
  return { kind: 'struct', goType: kind, atomic: false, fields, always: [], open: schema.preserves };
}

function fieldsOf(schema: Structural): [string, FieldNode][] {
  return [...(schema.properties ?? [])].map(([name, property]) => [
    name,
    field(name, nodeOf(property), property.default),
  ]);
}

function field(name: string, node: SchemaNode, preset: unknown): FieldNode {
  return {
    name,
    node,
    keepZero: true,
    zero: undefined,
    default: preset,
    patchStrategy: [],
    mergeKey: undefined,
  };
}

function nodeOf(schema: Structural): SchemaNode {
  if (schema.intOrString) return { kind: 'int-or-string' };
  switch (schema.type) {
    case 'string':
      return { kind: 'string', format: undefined };
    case 'integer':
      return { kind: 'integer', format: 'int64' };
    case 'number':
      return { kind: 'number' };
    case 'boolean':
      return { kind: 'boolean' };
    case 'array':
      return {
        kind: 'list',
        items: schema.items ? nodeOf(schema.items) : ANY,
        listType: schema.listType,
        mapKeys: schema.mapKeys,
      };
    case 'object': {
      const { additional, properties, atomicMap: atomic } = schema;
      if (properties) {
        const fields = new Map(fieldsOf(schema));
        return { kind: 'struct', goType: 'object', atomic, fields, always: [], open: schema.preserves };
      }
      if (additional) return { kind: 'map', values: additional === true ? ANY : nodeOf(additional), atomic };
      return atomic ? { kind: 'map', values: ANY, atomic } : ANY;
    }
    default:
      return ANY;
  }
}
