// Strategic merge patch: merge patch that knows from the schema which lists are keyed, plus its directives
// ($patch, $retainKeys, $deleteFromPrimitiveList/…, $setElementOrder/…). The rules are those of
// apimachinery's strategicpatch package; `kubectl apply` depends on every one of them.
import { cloneJson, type Json, type JsonObject } from './object.ts';
import { jsonEqual, PatchError } from './patch-json.ts';
import type { FieldNode, SchemaNode } from './schema.ts';
import { setKey } from './schema-decode.ts';

const DIRECTIVE = '$patch';
const RETAIN_KEYS = '$retainKeys';
const DELETE_PRIMITIVES = '$deleteFromPrimitiveList/';
const ELEMENT_ORDER = '$setElementOrder/';

/** The patched object; neither argument is changed, what is untouched is shared with `original`. Throws PatchError. */
export function applyStrategicPatch(original: JsonObject, patch: JsonObject, schema: SchemaNode): JsonObject {
  return mergeMap(original, patch, schema);
}

function mergeMap(original: JsonObject, patch: JsonObject, schema: SchemaNode | undefined): JsonObject {
  const directive = own(patch, DIRECTIVE);
  if (directive !== undefined) {
    if (directive === 'replace') {
      return withoutDirectives(omit(patch, DIRECTIVE)) as JsonObject;
    }
    if (directive === 'delete') return {};
    throw new PatchError(`unknown patch type: ${text(directive)} in map: ${goMap(patch)}`);
  }
  const result: JsonObject = {};
  for (const key in original) setKey(result, key, original[key]);
  retainKeys(result, patch);
  const ordered = new Set<string>();
  for (const key of Object.keys(patch)) {
    if (key.startsWith(ELEMENT_ORDER)) {
      const field = key.slice(ELEMENT_ORDER.length);
      ordered.add(field);
      mergeOrdered(result, patch, field, schema);
    }
  }
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === undefined || key === RETAIN_KEYS || key.startsWith(ELEMENT_ORDER) || ordered.has(key)) {
      continue;
    }
    if (key.startsWith(DELETE_PRIMITIVES)) {
      deletePrimitives(result, key.slice(DELETE_PRIMITIVES.length), value);
    } else {
      mergeField(result, key, value, schema);
    }
  }
  return result;
}

function mergeField(result: JsonObject, key: string, value: Json, schema: SchemaNode | undefined): void {
  if (value === null) {
    delete result[key];
    return;
  }
  const { node, field } = lookup(schema, key);
  const before = own(result, key);
  if (isObject(value)) {
    if (field !== undefined && strategyOf(field) === 'replace' && value[DIRECTIVE] === undefined) {
      setKey(result, key, withoutDirectives(value) as Json);
      return;
    }
    if (isObject(before)) {
      setKey(result, key, mergeMap(before, value, node));
      return;
    }
  } else if (Array.isArray(value) && Array.isArray(before)) {
    setKey(result, key, mergeList(before, value, field, node));
    return;
  }
  const added = withoutDirectives(value);
  if (added !== undefined) setKey(result, key, added);
}

function mergeList(
  original: Json[],
  patch: Json[],
  field: FieldNode | undefined,
  node: SchemaNode | undefined,
): Json[] {
  if (field === undefined || strategyOf(field) !== 'merge') return cloneJson(patch);
  const items = node?.kind === 'list' ? node.items : undefined;
  if (items?.kind !== 'struct' && items?.kind !== 'map' && items?.kind !== 'any') {
    const merged = unique([...original, ...patch]);
    const wanted = (value: Json): boolean => patch.includes(value);
    return inOrder(
      merged.filter(wanted),
      merged.filter((value) => !wanted(value)),
      patch,
      original,
      undefined,
    );
  }
  const key = field.mergeKey;
  if (key === undefined) throw new PatchError(`cannot merge lists without merge key for ${field.name}`);
  return mergeKeyed(original, patch, key, items);
}

function mergeKeyed(original: Json[], patch: Json[], key: string, items: SchemaNode): Json[] {
  const plain: JsonObject[] = [];
  let current = original;
  let replaced = false;
  for (const item of patch) {
    if (!isObject(item)) throw new PatchError(`expected a map in a list keyed by ${key}`);
    const directive = own(item, DIRECTIVE);
    if (directive === undefined) {
      plain.push(item);
    } else if (directive === 'delete') {
      const value = own(item, key);
      if (value === undefined) throw noMergeKey(item, key);
      current = current.filter((existing) => !sameKey(existing, value, key));
    } else if (directive === 'replace') {
      replaced = true;
    } else {
      throw new PatchError(`unknown patch type: ${text(directive)} in map: ${goMap(item)}`);
    }
  }
  if (replaced) return plain.map((item) => withoutDirectives(item) as Json);
  const merged = [...current];
  for (const item of plain) {
    const value = own(item, key);
    if (value === undefined) throw noMergeKey(item, key);
    const at = merged.findIndex((existing) => sameKey(existing, value, key));
    if (at < 0) merged.push(withoutDirectives(item) as Json);
    else merged[at] = mergeMap(merged[at] as JsonObject, item, items);
  }
  const inPatch = (item: Json): boolean =>
    plain.some((wanted) => sameKey(item, own(wanted, key) as Json, key));
  return inOrder(
    merged.filter(inPatch),
    merged.filter((item) => !inPatch(item)),
    plain,
    original,
    key,
  );
}

/** `$setElementOrder/field`: merges the field's own patch first, then puts the listed elements into the given order. */
function mergeOrdered(
  result: JsonObject,
  patch: JsonObject,
  name: string,
  schema: SchemaNode | undefined,
): void {
  const order = patch[`${ELEMENT_ORDER}${name}`];
  if (!Array.isArray(order)) throw new PatchError(`${ELEMENT_ORDER}${name} has to be a list`);
  const { node, field } = lookup(schema, name);
  const before = own(result, name);
  const given = own(patch, name);
  const drop = own(patch, `${DELETE_PRIMITIVES}${name}`);
  if (given === null) {
    delete result[name];
    return;
  }
  const key = field?.mergeKey;
  if (Array.isArray(given)) checkOrder(given, order, key);
  let merged: Json[];
  if (Array.isArray(before) && Array.isArray(given)) merged = mergeList(before, given, field, node);
  else if (Array.isArray(given)) merged = (withoutDirectives(given) as Json[]) ?? [];
  else if (Array.isArray(before)) merged = before;
  else return;
  if (Array.isArray(drop)) merged = merged.filter((value) => !drop.includes(value));
  const listed = (item: Json): boolean =>
    order.some((wanted) =>
      key === undefined
        ? wanted === item
        : isObject(wanted) && sameKey(item, (own(wanted, key) ?? null) as Json, key),
    );
  const original = Array.isArray(before) ? before : [];
  setKey(
    result,
    name,
    inOrder(
      merged.filter(listed),
      merged.filter((item) => !listed(item)),
      order,
      original,
      key,
    ),
  );
}

/** Every element of the patch has to be in the order list, in that order. */
function checkOrder(given: Json[], order: Json[], key: string | undefined): void {
  let position = 0;
  for (const item of given) {
    if (isObject(item) && own(item, DIRECTIVE) !== undefined) continue;
    while (position < order.length && !sameElement(order[position] as Json, item, key)) position += 1;
    if (position === order.length) {
      throw new PatchError(
        `The order in patch list:\n${goValue(given)}\n doesn't match ${ELEMENT_ORDER} list:\n${goValue(order)}\n`,
      );
    }
  }
}

/** Patch items in the patch's order and the server's own in theirs, woven together as they stood on the server. */
function inOrder(
  patched: Json[],
  serverOnly: Json[],
  patchOrder: Json[],
  serverOrder: Json[],
  key: string | undefined,
): Json[] {
  const rank = (list: Json[], item: Json): number =>
    list.findIndex((candidate) => sameElement(candidate, item, key));
  const sortBy = (items: Json[], list: Json[]): Json[] =>
    items
      .map((item, index) => ({ item, at: rank(list, item), index }))
      .sort((left, right) => left.at - right.at || left.index - right.index)
      .map(({ item }) => item);
  const left = sortBy(serverOnly, serverOrder);
  const right = sortBy(patched, patchOrder);
  const woven: Json[] = [];
  let l = 0;
  let r = 0;
  while (l < left.length || r < right.length) {
    if (l >= left.length) {
      woven.push(right[r++] as Json);
    } else if (r >= right.length) {
      woven.push(left[l++] as Json);
    } else {
      const leftRank = rank(serverOrder, left[l] as Json);
      const rightRank = rank(serverOrder, right[r] as Json);
      if (leftRank >= 0 && rightRank >= 0 && leftRank < rightRank) woven.push(left[l++] as Json);
      else woven.push(right[r++] as Json);
    }
  }
  return woven;
}

function retainKeys(result: JsonObject, patch: JsonObject): void {
  const keep = own(patch, RETAIN_KEYS);
  if (keep === undefined) return;
  if (!Array.isArray(keep)) throw new PatchError('$retainKeys has to be a list');
  for (const key of Object.keys(patch)) {
    if (!key.startsWith('$') && patch[key] !== null && !keep.includes(key)) {
      throw new PatchError(
        'The set of keys present in the patch must be a subset of the keys of $retainKeys',
      );
    }
  }
  for (const key of Object.keys(result)) if (!keep.includes(key)) delete result[key];
}

function deletePrimitives(result: JsonObject, name: string, values: Json): void {
  if (!Array.isArray(values)) throw new PatchError(`${DELETE_PRIMITIVES}${name} has to be a list`);
  const before = own(result, name);
  if (Array.isArray(before)) result[name] = before.filter((value) => !values.includes(value));
}

function lookup(
  schema: SchemaNode | undefined,
  key: string,
): { node: SchemaNode | undefined; field: FieldNode | undefined } {
  if (schema?.kind === 'struct') {
    const field = schema.fields.get(key);
    return { node: field?.node, field };
  }
  return { node: schema?.kind === 'map' ? schema.values : undefined, field: undefined };
}

function strategyOf(field: FieldNode): 'merge' | 'replace' | undefined {
  if (field.patchStrategy.includes('replace')) return 'replace';
  return field.patchStrategy.includes('merge') ? 'merge' : undefined;
}

/** What is added new must not carry directives: a map with $patch is left out, as apimachinery does. */
function withoutDirectives(value: Json): Json | undefined {
  if (Array.isArray(value)) {
    return value.map(withoutDirectives).filter((item): item is Json => item !== undefined);
  }
  if (!isObject(value)) return value;
  if (own(value, DIRECTIVE) !== undefined) return undefined;
  const result: JsonObject = {};
  for (const key of Object.keys(value)) {
    const item = value[key];
    if (item === undefined || item === null) continue;
    if (key === RETAIN_KEYS) continue;
    if (key.startsWith(DELETE_PRIMITIVES) || key.startsWith(ELEMENT_ORDER)) continue;
    const kept = withoutDirectives(item);
    if (kept !== undefined) setKey(result, key, kept);
  }
  return result;
}

function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function omit(object: JsonObject, key: string): JsonObject {
  const copy: JsonObject = {};
  for (const name of Object.keys(object)) if (name !== key) setKey(copy, name, object[name]);
  return copy;
}

function sameKey(item: Json, value: Json, key: string): boolean {
  return isObject(item) && jsonEqual(own(item, key), value);
}

function sameElement(left: Json, right: Json, key: string | undefined): boolean {
  if (key === undefined) return left === right;
  return isObject(left) && isObject(right) && jsonEqual(own(left, key), own(right, key));
}

function unique(values: Json[]): Json[] {
  return [...new Set(values)];
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function noMergeKey(item: JsonObject, key: string): PatchError {
  return new PatchError(`map: ${goMap(item)} does not contain declared merge key: ${key}`);
}

const text = (value: Json): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** A map as Go prints it: `map[a:1 b:2]`, keys sorted. */
function goMap(map: JsonObject): string {
  const parts = Object.keys(map)
    .sort()
    .map((key) => `${key}:${goValue(map[key] ?? null)}`);
  return `map[${parts.join(' ')}]`;
}

function goValue(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(goValue).join(' ')}]`;
  if (isObject(value)) return goMap(value);
  return value === null ? '<nil>' : String(value);
}
