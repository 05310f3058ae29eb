// An object without a set of fields.
import type { Json, JsonObject } from '../object.ts';
import type { SchemaNode } from '../schema.ts';
import { setKey } from '../schema-decode.ts';
import { below, type FieldSet, has, isEmpty, mapMembers } from './field-set.ts';
import { fieldElement, itemElement } from './path-element.ts';
import { asList, asMap, associative, childNode, isAtomic, isNamed, shapeOf } from './shape.ts';

/** The result shares parts with `object`. */
export function removeFields(node: SchemaNode, object: JsonObject, set: FieldSet): JsonObject {
  if (isEmpty(set)) return object;
  return (removeFrom(node, object, set) ?? {}) as JsonObject;
}

function removeFrom(node: SchemaNode, value: Json | undefined, set: FieldSet): Json | undefined {
  const shape = shapeOf(node, value);
  if (shape === 'scalar') return value;
  if (isAtomic(node)) return undefined;
  return shape === 'map' ? removeFromMap(node, asMap(value), set) : removeFromList(node, asList(value), set);
}

function removeFromMap(node: SchemaNode, map: JsonObject | undefined, set: FieldSet): JsonObject | undefined {
  const result: JsonObject = {};
  let count = 0;
  for (const name in map) {
    const value = map[name];
    if (value === undefined) continue;
    const element = fieldElement(name);
    if (has(set, [element])) continue;
    const inner = below(set, element);
    // What has become empty is null until the object is decoded, which knows whether to write it.
    const kept = isEmpty(inner) ? value : (removeFrom(childNode(node, name), value, inner) ?? null);
    setKey(result, name, kept);
    count += 1;
  }
  return count === 0 ? undefined : result;
}

function removeFromList(node: SchemaNode, items: Json[] | undefined, set: FieldSet): Json[] | undefined {
  const list = associative(node);
  if (!list || !items) return undefined;
  const result: Json[] = [];
  for (const item of items) {
    const element = itemElement(list, item);
    if (element === undefined) {
      result.push(item);
      continue;
    }
    if (has(set, [element])) continue;
    const inner = below(set, element);
    const kept = isEmpty(inner) ? item : removeFrom(list.items, item, inner);
    if (kept !== undefined) result.push(kept);
  }
  return result.length === 0 ? undefined : result;
}

/** The set with the structs on the way to its members, which have no owner of their own but go when all of them goes. */
export function withNamedFields(node: SchemaNode, set: FieldSet): FieldSet {
  return mapMembers(set, (element, path) => {
    if (!element.startsWith('f:')) return false;
    let at: SchemaNode = node;
    for (const step of path) at = step.startsWith('f:') ? childNode(at, step.slice(2)) : itemNode(at);
    return isNamed(at, element.slice(2));
  });
}

function itemNode(node: SchemaNode): SchemaNode {
  return node.kind === 'list' ? node.items : { kind: 'any' };
}
