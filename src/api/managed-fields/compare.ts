// What differs between two states of an object, as sets of fields.
import type { Json, JsonObject } from '../object.ts';
import { jsonEqual } from '../patch-json.ts';
import type { ListNode, SchemaNode } from '../schema.ts';
import { type FieldSet, FieldSetBuilder, isEmpty } from './field-set.ts';
import { fieldElement, itemElement } from './path-element.ts';
import { asList, asMap, associative, childNode, isAtomic, isEmptyMap, own, shapeOf } from './shape.ts';

export interface Comparison {
  /** Set in the second and absent or different in the first. */
  readonly changed: FieldSet;
  /** Set in the first and absent in the second. */
  readonly removed: FieldSet;
}

/** Fields of the object itself that nobody owns. */
export const UNOWNED_FIELDS: ReadonlySet<string> = new Set(['apiVersion', 'kind']);
/** Fields of metadata that nobody owns: they are the server's, or say which object is meant. */
export const UNOWNED_METADATA: ReadonlySet<string> = new Set([
  'name',
  'namespace',
  'creationTimestamp',
  'selfLink',
  'uid',
  'clusterName',
  'generation',
  'managedFields',
  'resourceVersion',
]);

interface Walk {
  path: string[];
  changed: FieldSetBuilder;
  removed: FieldSetBuilder;
}

/** Parts that the two share are skipped, so that a change of the status costs nothing for the spec. */
export function compareObjects(node: SchemaNode, before: JsonObject, after: JsonObject): Comparison {
  const walk: Walk = { path: [], changed: new FieldSetBuilder(), removed: new FieldSetBuilder() };
  eachKey(before, after, (name) => {
    if (UNOWNED_FIELDS.has(name)) return;
    const child = childNode(node, name);
    walk.path.push(fieldElement(name));
    if (name === 'metadata') compareMetadata(child, own(before, name), own(after, name), walk);
    else compareValue(child, own(before, name), own(after, name), walk);
    walk.path.pop();
  });
  return { changed: walk.changed.done(), removed: walk.removed.done() };
}

export function isSame({ changed, removed }: Comparison): boolean {
  return isEmpty(changed) && isEmpty(removed);
}

function compareMetadata(
  node: SchemaNode,
  before: Json | undefined,
  after: Json | undefined,
  walk: Walk,
): void {
  const [left, right] = [asMap(before) ?? {}, asMap(after) ?? {}];
  eachKey(left, right, (name) => {
    if (!UNOWNED_METADATA.has(name)) compareField(node, name, own(left, name), own(right, name), walk);
  });
}

function compareField(
  node: SchemaNode,
  name: string,
  before: Json | undefined,
  after: Json | undefined,
  walk: Walk,
): void {
  if (before === after) return;
  walk.path.push(fieldElement(name));
  compareValue(childNode(node, name), before, after, walk);
  walk.path.pop();
}

/** At most one of the two is undefined. */
function compareValue(node: SchemaNode, before: Json | undefined, after: Json | undefined, walk: Walk): void {
  if (before === after) return;
  const [left, right] = [shapeOf(node, before), shapeOf(node, after)];
  let leaf: boolean;
  // Null takes the shape of what it is compared with.
  if (after === undefined || after === null) leaf = compareAs(left, node, before, after, walk);
  else if (before === undefined || before === null || left === right) {
    leaf = compareAs(right, node, before, after, walk);
  } else {
    compareAs(left, node, before, after, walk);
    leaf = compareAs(right, node, before, after, walk);
  }
  if (leaf) return;
  if (before === undefined) walk.changed.add(walk.path);
  else if (after === undefined) walk.removed.add(walk.path);
}

/** True: compared as one value. */
function compareAs(
  shape: 'scalar' | 'map' | 'list',
  node: SchemaNode,
  before: Json | undefined,
  after: Json | undefined,
  walk: Walk,
): boolean {
  if (shape === 'scalar' || isAtomic(node)) return compareLeaf(before, after, walk);
  if (shape === 'map') {
    const [left, right] = [asMap(before), asMap(after)];
    // Nothing and an empty map are told apart as values.
    if (isEmptyMap(left) && isEmptyMap(right)) return compareLeaf(before, after, walk);
    eachKey(left ?? {}, right ?? {}, (name) =>
      compareField(node, name, own(left, name), own(right, name), walk),
    );
    return false;
  }
  const list = associative(node);
  const [left, right] = [asList(before), asList(after)];
  if (!list || (!left?.length && !right?.length)) return compareLeaf(before, after, walk);
  compareItems(list, left ?? [], right ?? [], walk);
  return false;
}

function compareLeaf(before: Json | undefined, after: Json | undefined, walk: Walk): true {
  if (after === undefined) walk.removed.add(walk.path);
  else if (before === undefined || !jsonEqual(before, after)) walk.changed.add(walk.path);
  return true;
}

function compareItems(list: ListNode, before: Json[], after: Json[], walk: Walk): void {
  const left = byElement(list, before);
  const right = byElement(list, after);
  for (const element of new Set([...left.keys(), ...right.keys()])) {
    const [ours, theirs] = [left.get(element) ?? [], right.get(element) ?? []];
    walk.path.push(element);
    if (ours.length <= 1 && theirs.length <= 1) {
      compareValue(list.items, ours[0], theirs[0], walk);
    } else if (ours.length > 1 && theirs.length > 1) {
      if (!jsonEqual(ours, theirs)) walk.changed.add(walk.path);
    } else if (ours.length > 1) {
      if (theirs.length > 0) compareValue(list.items, undefined, theirs[0], walk);
      walk.removed.add(walk.path);
    } else {
      if (ours.length > 0) compareValue(list.items, ours[0], undefined, walk);
      walk.changed.add(walk.path);
    }
    walk.path.pop();
  }
}

function byElement(list: ListNode, items: readonly Json[]): Map<string, Json[]> {
  const found = new Map<string, Json[]>();
  for (const item of items) {
    const element = itemElement(list, item);
    if (element === undefined) continue;
    const known = found.get(element);
    if (known) known.push(item);
    else found.set(element, [item]);
  }
  return found;
}

function eachKey(left: JsonObject, right: JsonObject, visit: (name: string) => void): void {
  for (const name in left) {
    if (left[name] !== undefined) visit(name);
  }
  for (const name in right) {
    if (right[name] !== undefined && own(left, name) === undefined) visit(name);
  }
}
