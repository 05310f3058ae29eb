// The elements of field paths, as text: `f:<name>` a field, `k:{…}` an item of a list by its keys, `v:<json>` an item of
// a set by its value, `i:<n>` an item by its place.
import type { Json, JsonObject } from '../object.ts';
import type { ListNode } from '../schema.ts';

export const fieldElement = (name: string): string => `f:${name}`;

/** Undefined: the item has no such element (a key is missing, a set holds what is no scalar). */
export function itemElement(list: ListNode, item: Json | undefined): string | undefined {
  const element = itemElementOrWhy(list, item);
  return typeof element === 'string' ? element : undefined;
}

/** The item's element, or why it has none, in Kubernetes' words. */
export function itemElementOrWhy(list: ListNode, item: Json | undefined): string | { why: string } {
  if (list.listType === 'set' || list.mapKeys.length === 0) return setElement(item);
  if (item === null || item === undefined) {
    return { why: 'associative list with keys may not have a null element' };
  }
  if (typeof item !== 'object' || Array.isArray(item)) {
    return { why: 'associative list with keys may not have non-map elements' };
  }
  const keys = list.mapKeys.length > 1 ? [...list.mapKeys].sort(byText) : list.mapKeys;
  let text = '';
  for (const key of keys) {
    const value = keyOf(list, item, key);
    if (value === undefined) {
      return {
        why: `associative list with keys has an element that omits key field ${JSON.stringify(key)} (and doesn't have default value)`,
      };
    }
    text += `${text === '' ? '' : ','}${json(key)}:${json(value)}`;
  }
  return `k:{${text}}`;
}

function keyOf({ items }: ListNode, item: JsonObject, key: string): Json | undefined {
  if (Object.hasOwn(item, key) && item[key] !== undefined) return item[key];
  return items.kind === 'struct' ? (items.fields.get(key)?.default as Json | undefined) : undefined;
}

function setElement(item: Json | undefined): string | { why: string } {
  if (item === null || item === undefined) {
    return { why: "associative list without keys has an element that's an explicit null" };
  }
  if (Array.isArray(item)) return { why: 'not supported: associative list with lists as elements' };
  if (typeof item === 'object') {
    return { why: "associative list without keys has an element that's a map type" };
  }
  return `v:${json(item)}`;
}

/** JSON as Go writes it: what HTML gives a meaning to is escaped. */
function json(value: Json): string {
  const text = JSON.stringify(sortedKeys(value));
  if (!/[<>&\u2028\u2029]/.test(text)) return text;
  return text.replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function sortedKeys(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sortedKeys);
  return Object.fromEntries(
    Object.keys(value)
      .sort(byText)
      .map((key) => [key, sortedKeys(value[key] as Json)]),
  );
}

/** An element as someone else wrote it, in our writing; undefined when it is none. */
export function normalElement(text: string): string | undefined {
  const content = text.slice(2);
  switch (text.slice(0, 2)) {
    case 'f:':
      return text;
    case 'i:':
      return /^\d+$/.test(content) ? text : undefined;
    case 'v:': {
      const value = parse(content);
      return value === undefined ? undefined : `v:${json(value)}`;
    }
    case 'k:': {
      const value = parse(content);
      const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
      return isMap ? `k:${json(value)}` : undefined;
    }
    default:
      return undefined;
  }
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** `.spec.containers[name="c"].image`. */
export function writtenPath(path: readonly string[]): string {
  return path.map(writtenElement).join('');
}

export function writtenElement(element: string): string {
  const content = element.slice(2);
  switch (element.slice(0, 2)) {
    case 'k:':
      return `[${Object.entries(JSON.parse(content) as JsonObject)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(',')}]`;
    case 'v:':
      return `[=${JSON.stringify(JSON.parse(content))}]`;
    case 'i:':
      return `[${content}]`;
    default:
      return `.${content}`;
  }
}

const ORDER = 'fkvi';

/** Fields by name, then items by their keys, then by their value. */
export function compareElements(left: string, right: string): number {
  const kind = ORDER.indexOf(left.charAt(0)) - ORDER.indexOf(right.charAt(0));
  if (kind !== 0) return kind;
  const [a, b] = [left.slice(2), right.slice(2)];
  if (left.startsWith('f')) return byText(a, b);
  if (!left.startsWith('k')) return compareValues(JSON.parse(a), JSON.parse(b));
  const [ours, theirs] = [Object.entries(JSON.parse(a)), Object.entries(JSON.parse(b))];
  for (const [index, [key, value]] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) return 1;
    const order = byText(key, other[0]) || compareValues(value, other[1]);
    if (order !== 0) return order;
  }
  return ours.length - theirs.length;
}

function compareValues(left: unknown, right: unknown): number {
  if (typeof left === 'number' && typeof right === 'number') return left - right;
  if (typeof left !== typeof right) return byText(typeof left, typeof right);
  return byText(String(left), String(right));
}

function byText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
