// How a value is walked: as a scalar, as a map or as a list. The schema says so; where it says nothing (`any`), the value
// does.
import type { Json, JsonObject } from '../object.ts';
import type { ListNode, SchemaNode } from '../schema.ts';

export type Shape = 'scalar' | 'map' | 'list';

export function shapeOf(node: SchemaNode, value: Json | undefined): Shape {
  switch (node.kind) {
    case 'struct':
    case 'map':
      return 'map';
    case 'list':
      return 'list';
    case 'any':
      if (Array.isArray(value)) return 'list';
      return typeof value === 'object' && value !== null ? 'map' : 'scalar';
    default:
      return 'scalar';
  }
}

/** Owned and compared as one value. Lists of which nothing is known are. */
export function isAtomic(node: SchemaNode): boolean {
  switch (node.kind) {
    case 'struct':
    case 'map':
      return node.atomic;
    case 'list':
      return node.listType === 'atomic';
    default:
      return false;
  }
}

/** A list whose items have an identity; undefined for atomic ones. */
export function associative(node: SchemaNode): ListNode | undefined {
  return node.kind === 'list' && node.listType !== 'atomic' ? node : undefined;
}

const ANY: SchemaNode = { kind: 'any' };

/** The type of a field of a map or struct. */
export function childNode(node: SchemaNode, name: string): SchemaNode {
  if (node.kind === 'struct') return node.fields.get(name)?.node ?? ANY;
  return node.kind === 'map' ? node.values : ANY;
}

/** The schema names this field, rather than admitting any name. */
export function isNamed(node: SchemaNode, name: string): boolean {
  return node.kind === 'struct' && node.fields.has(name);
}

export function asMap(value: Json | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

export function asList(value: Json | undefined): Json[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

/** A field of a map whose keys are anybody's (`constructor` is a fine key of a ConfigMap). */
export function own(map: JsonObject | undefined, name: string): Json | undefined {
  return map !== undefined && Object.hasOwn(map, name) ? map[name] : undefined;
}

export function isEmptyMap(value: JsonObject | undefined): boolean {
  for (const key in value) if (value[key] !== undefined) return false;
  return true;
}
