// The live object with a configuration laid over it. Nothing is removed by this.
import type { Json, JsonObject } from '../object.ts';
import type { ListNode, SchemaNode } from '../schema.ts';
import { setKey } from '../schema-decode.ts';
import { itemElement } from './path-element.ts';
import { asList, asMap, associative, childNode, isAtomic, isEmptyMap, own, shapeOf } from './shape.ts';

/** The result shares parts with both. `config` has passed `checkConfig`. */
export function mergeObjects(node: SchemaNode, live: JsonObject, config: JsonObject): JsonObject {
  return (mergeValue(node, live, config) ?? {}) as JsonObject;
}

function mergeValue(node: SchemaNode, live: Json | undefined, config: Json | undefined): Json | undefined {
  if (config === undefined) return live;
  // Null takes the shape of what it is laid over.
  const shape = shapeOf(node, config ?? live);
  if (shape === 'scalar' || isAtomic(node)) return config;
  if (shape === 'map') return mergeMap(node, live, config);
  const list = associative(node);
  return list ? mergeList(list, live, config) : config;
}

function mergeMap(node: SchemaNode, live: Json | undefined, config: Json): Json | undefined {
  const [left, right] = [asMap(live), asMap(config)];
  if (isEmptyMap(left) && isEmptyMap(right)) return config;
  const result: JsonObject = {};
  for (const name in left) {
    const merged = mergeValue(childNode(node, name), left[name], own(right, name));
    if (merged !== undefined) setKey(result, name, merged);
  }
  for (const name in right) {
    if (own(left, name) === undefined && right[name] !== undefined) setKey(result, name, right[name]);
  }
  return result;
}

function mergeList(list: ListNode, live: Json | undefined, config: Json): Json | undefined {
  const [left, right] = [asList(live) ?? [], asList(config) ?? []];
  if (left.length === 0 && right.length === 0) return config;
  return mergeItems(list, left, right);
}

interface Item {
  element: string;
  value: Json;
}

/**
 * Items of both stand in the order of the configuration; what only the live list has keeps its place between them. Live
 * items that occur twice are replaced, not merged.
 */
function mergeItems(list: ListNode, live: readonly Json[], config: readonly Json[]): Json[] {
  const left = itemsOf(list, live);
  const right = itemsOf(list, config);
  const ours = new Map<string, Json | undefined>();
  for (const { element, value } of left) ours.set(element, ours.has(element) ? undefined : value);
  const theirs = new Set(right.map(({ element }) => element));
  const shared = right.map(({ element }) => element).filter((element) => ours.has(element));
  const merged = new Set<string>();
  const result: Json[] = [];
  const take = ({ element, value }: Item): void => {
    merged.add(element);
    const item = mergeValue(list.items, ours.get(element), value);
    if (item !== undefined) result.push(item);
  };
  let next = shared.shift();
  let l = 0;
  let r = 0;
  while (l < left.length || r < right.length) {
    const here = left[l];
    const there = right[r];
    if (here && there) {
      if (here.element === there.element) {
        take(there);
        l += 1;
        r += 1;
        next = shared.shift();
        continue;
      }
      if (theirs.has(here.element) && next !== undefined && next !== here.element) {
        l += 1;
        continue;
      }
    }
    if (here) {
      if (!theirs.has(here.element)) {
        result.push(here.value);
        l += 1;
        continue;
      }
      if (merged.has(here.element)) l += 1;
    }
    if (there) {
      take(there);
      r += 1;
      if (next === there.element) next = shared.shift();
    }
  }
  return result;
}

function itemsOf(list: ListNode, items: readonly Json[]): Item[] {
  const found: Item[] = [];
  for (const value of items) {
    const element = itemElement(list, value);
    if (element !== undefined) found.push({ element, value });
  }
  return found;
}
