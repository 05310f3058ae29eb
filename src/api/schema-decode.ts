// From what a client sent to the normal form in which objects are held: types checked, unknown fields dropped and
// named, quantities canonical, defaults of the schema set, zero values as Kubernetes writes them.
import type { Json, JsonObject } from './object.ts';
import { canonicalQuantity } from './quantity.ts';
import type { FieldNode, SchemaNode, StructNode } from './schema.ts';

export interface Decoded {
  object: JsonObject;
  /** `unknown field "spec.foo"`, `duplicate field "data.a"`, in the order of the document. */
  strict: string[];
}

/** A value of the wrong type; the message is that of Go's JSON decoder. */
export class DecodeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DecodeError';
  }
}

/** Free-form values (CRD defaults, raw extensions) may not nest deeper: every later walk over them recurses. */
const DEEPEST_FREE_VALUE = 200;
const MOST_STRICT_ERRORS = 100;

interface State {
  path: (string | number)[];
  strict: string[];
  duplicates: ReadonlySet<string> | undefined;
  /** The first wrong type; decoding goes on, as in Go, so that unknown fields are found as well. */
  failure: string | undefined;
  struct: StructNode | undefined;
}

/** Throws DecodeError for the first value of a wrong type. */
export function decodeObject(node: StructNode, value: unknown, duplicateFields?: readonly string[]): Decoded {
  const state: State = {
    path: [],
    strict: [],
    duplicates: duplicateFields?.length ? new Set(duplicateFields) : undefined,
    failure: undefined,
    struct: undefined,
  };
  const object = decodeStruct(node, value, state);
  if (state.failure !== undefined) throw new DecodeError(state.failure);
  return { object, strict: state.strict };
}

/** Sets a key that may be called `__proto__`. */
export function setKey(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__') {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    object[key] = value;
  }
}

function decodeStruct(node: StructNode, value: unknown, state: State): JsonObject {
  const result: JsonObject = {};
  const outer = state.struct;
  if (value !== undefined && value !== null) {
    if (typeof value !== 'object' || Array.isArray(value)) {
      wrongType(value, node, state);
    } else {
      state.struct = node;
      for (const key of Object.keys(value)) {
        const given = (value as Record<string, unknown>)[key];
        state.path.push(key);
        const field = node.fields.get(key);
        if (field === undefined) note(state, 'unknown');
        else decodeField(field, given, result, state);
        if (state.duplicates?.has(written(state.path))) note(state, 'duplicate');
        state.path.pop();
      }
    }
  }
  state.struct = node;
  for (const field of node.always) {
    if (result[field.name] === undefined) setZero(field, result, state);
  }
  for (const field of node.fields.values()) {
    if (field.default !== undefined && result[field.name] === undefined) {
      result[field.name] = field.default as Json;
    }
  }
  state.struct = outer;
  return result;
}

function decodeField(field: FieldNode, given: unknown, result: JsonObject, state: State): void {
  if (given === null || given === undefined) return;
  const decoded = decodeValue(field.node, given, state);
  if (decoded === undefined) return;
  if (!field.keepZero && (decoded === '' || decoded === 0 || decoded === false)) return;
  // Go leaves out empty lists and maps, but writes an empty struct behind a pointer.
  if (isEmptyCollection(field.node, decoded)) {
    if (field.zero === undefined) return;
  }
  result[field.name] = decoded;
}

function isEmptyCollection(node: SchemaNode, value: Json): boolean {
  if (node.kind === 'list') return (value as Json[]).length === 0;
  if (node.kind === 'map') {
    for (const _ in value as object) return false;
    return true;
  }
  return false;
}

function setZero(field: FieldNode, result: JsonObject, state: State): void {
  if (field.zero === 'object') {
    if (field.node.kind !== 'struct') return;
    state.path.push(field.name);
    result[field.name] = decodeStruct(field.node, undefined, state);
    state.path.pop();
  } else if (field.default === undefined) {
    result[field.name] = field.zero;
  }
}

function decodeValue(node: SchemaNode, value: unknown, state: State): Json | undefined {
  switch (node.kind) {
    case 'string':
      return decodeString(node, value, state);
    case 'integer':
      if (typeof value === 'number' && Number.isInteger(value)) {
        if (node.format === 'int32' && (value > 2147483647 || value < -2147483648)) {
          return wrongType(value, node, state);
        }
        return value;
      }
      return wrongType(value, node, state);
    case 'number':
      return typeof value === 'number' ? value : wrongType(value, node, state);
    case 'boolean':
      return typeof value === 'boolean' ? value : wrongType(value, node, state);
    case 'quantity':
      return decodeQuantity(value, state);
    case 'int-or-string':
      if (typeof value === 'string') return value;
      return typeof value === 'number' && Number.isInteger(value) ? value : wrongType(value, node, state);
    case 'any':
      return copyFree(value, state);
    case 'map':
      return decodeMap(node.values, value, node, state);
    case 'list': {
      if (!Array.isArray(value)) return wrongType(value, node, state);
      const list: Json[] = new Array(value.length);
      for (let index = 0; index < value.length; index += 1) {
        state.path.push(index);
        list[index] = decodeItem(node.items, value[index], state);
        state.path.pop();
      }
      return list;
    }
    case 'struct':
      return decodeStruct(node, value, state);
  }
}

/** An item of a list or map: null is the zero value of its type. */
function decodeItem(node: SchemaNode, value: unknown, state: State): Json {
  if (value !== null && value !== undefined) return decodeValue(node, value, state) ?? null;
  switch (node.kind) {
    case 'string':
      return '';
    case 'integer':
    case 'number':
    case 'int-or-string':
      return 0;
    case 'boolean':
      return false;
    case 'quantity':
      return '0';
    case 'struct':
      return decodeStruct(node, undefined, state);
    default:
      return null;
  }
}

function decodeMap(values: SchemaNode, value: unknown, node: SchemaNode, state: State): Json | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return wrongType(value, node, state);
  }
  const map: JsonObject = {};
  for (const key of Object.keys(value)) {
    state.path.push(key);
    setKey(map, key, decodeItem(values, (value as Record<string, unknown>)[key], state));
    if (state.duplicates?.has(written(state.path))) note(state, 'duplicate');
    state.path.pop();
  }
  return map;
}

function decodeString(
  node: SchemaNode & { kind: 'string' },
  value: unknown,
  state: State,
): string | undefined {
  if (typeof value !== 'string') return wrongType(value, node, state);
  if (node.format === 'byte') {
    const bad = firstBadBase64(value);
    if (bad >= 0) fail(state, `illegal base64 data at input byte ${bad}`);
    return value.replaceAll(/[\r\n]/g, '');
  }
  if (node.format !== undefined) return decodeTime(node.format, value, state);
  return value;
}

const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})$/;

function decodeTime(
  format: 'date-time' | 'micro-time' | 'byte',
  value: string,
  state: State,
): string | undefined {
  const match = RFC3339.exec(value);
  const time = match ? Date.parse(`${value.slice(0, 19)}${match[8]}`) : Number.NaN;
  if (!match || Number.isNaN(time)) {
    const layout = format === 'micro-time' ? '2006-01-02T15:04:05.000000Z07:00' : '2006-01-02T15:04:05Z07:00';
    fail(
      state,
      `parsing time ${JSON.stringify(value)} as "${layout}": cannot parse ${JSON.stringify(value)} as "2006"`,
    );
    return undefined;
  }
  const seconds = new Date(time).toISOString().slice(0, 19);
  if (format !== 'micro-time') return `${seconds}Z`;
  return `${seconds}.${(match[7] ?? '').slice(0, 6).padEnd(6, '0')}Z`;
}

function decodeQuantity(value: unknown, state: State): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') {
    fail(
      state,
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
    return undefined;
  }
  try {
    return canonicalQuantity(String(value));
  } catch (error) {
    fail(state, (error as Error).message);
    return undefined;
  }
}

/** The offset of the first character that is not standard padded base64; -1 when it is well-formed. */
export function firstBadBase64(text: string): number {
  const body = /^[A-Za-z0-9+/\r\n]*/.exec(text)?.[0] ?? '';
  const rest = text.slice(body.length);
  if (!/^=*[\r\n]*$/.test(rest)) return body.length + (/^=*[\r\n]*/.exec(rest)?.[0].length ?? 0);
  const digits = body.replaceAll(/[\r\n]/g, '').length;
  const padding = rest.replaceAll(/[\r\n]/g, '').length;
  if (digits % 4 === 1 || padding > 2) return body.length;
  const needed = (4 - (digits % 4)) % 4;
  return padding === needed ? -1 : text.length - (text.length % 4 === 0 ? 4 : text.length % 4);
}

/** Copies free-form JSON without sharing, within the depth that later walks can bear. */
function copyFree(value: unknown, state: State, depth = 0): Json {
  if (typeof value !== 'object' || value === null) return value as Json;
  if (depth > DEEPEST_FREE_VALUE) {
    fail(state, 'exceeded max depth');
    return null;
  }
  if (Array.isArray(value)) return value.map((item) => copyFree(item, state, depth + 1));
  const copy: JsonObject = {};
  for (const key of Object.keys(value)) {
    setKey(copy, key, copyFree((value as Record<string, unknown>)[key], state, depth + 1));
  }
  return copy;
}

function note(state: State, what: 'unknown' | 'duplicate'): void {
  if (state.strict.length >= MOST_STRICT_ERRORS) return;
  state.strict.push(`${what} field "${written(state.path)}"`);
}

/** `spec.containers[0].name`. */
function written(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

function fail(state: State, message: string): undefined {
  state.failure ??= message;
  return undefined;
}

function wrongType(value: unknown, node: SchemaNode, state: State): undefined {
  const names = state.path.filter((part) => typeof part === 'string');
  const struct = state.struct?.goType.split('.').pop() ?? '';
  // Go names maps by the field that holds them, not by their keys.
  const field = mapPath(names, state);
  const got = typeof value === 'number' && node.kind === 'integer' ? `number ${value}` : jsonType(value);
  return fail(
    state,
    state.struct === undefined
      ? `json: cannot unmarshal ${got} into Go value of type ${goType(node)}`
      : `json: cannot unmarshal ${got} into Go struct field ${struct}.${field} of type ${goType(node)}`,
  );
}

function mapPath(names: string[], state: State): string {
  const last = names[names.length - 1];
  return last !== undefined && state.struct !== undefined && !state.struct.fields.has(last)
    ? names.slice(0, -1).join('.')
    : names.join('.');
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  return typeof value;
}

function goType(node: SchemaNode): string {
  switch (node.kind) {
    case 'string':
      return node.format === 'byte' ? '[]uint8' : 'string';
    case 'integer':
      return node.format;
    case 'number':
      return 'float64';
    case 'boolean':
      return 'bool';
    case 'int-or-string':
      return 'int32';
    case 'struct':
      return node.goType;
    case 'list':
      return `[]${goType(node.items)}`;
    case 'map':
      return `map[string]${goType(node.values)}`;
    case 'quantity':
      return 'resource.Quantity';
    case 'any':
      return 'runtime.RawExtension';
  }
}
