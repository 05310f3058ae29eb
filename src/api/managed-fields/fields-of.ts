// Which fields an object or a configuration speaks of.
import type { Json, JsonObject } from '../object.ts';
import type { ListNode, SchemaNode } from '../schema.ts';
import { type FieldSet, FieldSetBuilder } from './field-set.ts';
import { fieldElement, itemElement } from './path-element.ts';
import { asList, asMap, associative, childNode, isAtomic, isEmptyMap, isNamed, shapeOf } from './shape.ts';

/** Leaves, items of lists, entries of maps; not the structs on the way. */
export function fieldsOf(node: SchemaNode, value: JsonObject): FieldSet {
  const builder = new FieldSetBuilder();
  visit(node, value, [], builder);
  return builder.done();
}

function visit(node: SchemaNode, value: Json | undefined, path: string[], into: FieldSetBuilder): void {
  const shape = shapeOf(node, value);
  if (shape === 'scalar' || isAtomic(node)) into.add(path);
  else if (shape === 'map') visitMap(node, asMap(value), path, into);
  else visitList(associative(node), value, path, into);
}

function visitMap(
  node: SchemaNode,
  map: JsonObject | undefined,
  path: string[],
  into: FieldSetBuilder,
): void {
  for (const name in map) {
    const value = map[name];
    if (value === undefined) continue;
    path.push(fieldElement(name));
    visit(childNode(node, name), value, path, into);
    const inner = asMap(value);
    if (value === null || (inner && isEmptyMap(inner)) || !isNamed(node, name)) into.add(path);
    path.pop();
  }
}

function visitList(
  list: ListNode | undefined,
  value: Json | undefined,
  path: string[],
  into: FieldSetBuilder,
): void {
  // A list of unknown type is one value.
  if (!list) return into.add(path);
  const items = asList(value) ?? [];
  const elements = items.map((item) => itemElement(list, item));
  for (const [index, element] of elements.entries()) {
    if (element === undefined) continue;
    path.push(element);
    // Items that occur twice cannot be told apart: who has them has them as a whole.
    const isTwice = elements.indexOf(element) !== elements.lastIndexOf(element);
    if (!isTwice) visit(list.items, items[index], path, into);
    into.add(path);
    path.pop();
  }
}
