// JSON Patch (RFC 6902).
import type { Json, JsonObject } from './object.ts';
import { cloneJson } from './object.ts';
import { setKey } from './schema-decode.ts';

/** The patch does not fit the document or is none; the message says which operation and why. */
export class PatchError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'PatchError';
  }
}

/** As many operations as Kubernetes accepts in one patch. */
export const MOST_OPERATIONS = 10_000;
/** Copies may not make the document larger than this many values: a chain of copies doubles it each time. */
const MOST_COPIED_VALUES = 100_000;

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: unknown;
}

/** The patched document; `document` itself is not changed. Throws PatchError. */
export function applyJsonPatch(document: Json, operations: readonly unknown[]): Json {
  let result = cloneJson(document);
  let copied = 0;
  for (const given of operations) {
    const operation = checked(given);
    if (operation.op === 'copy') {
      copied += countValues(read(result, pointer(operation.from ?? '')), MOST_COPIED_VALUES);
      if (copied > MOST_COPIED_VALUES) throw new PatchError('copy operations exceed the size limit');
    }
    result = apply(result, operation);
  }
  return result;
}

function checked(given: unknown): Operation {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new PatchError('an operation has to be an object');
  }
  const operation = given as Partial<Operation>;
  if (typeof operation.op !== 'string') throw new PatchError('missing operation');
  if (typeof operation.path !== 'string') throw new PatchError('missing path');
  const needsFrom = operation.op === 'move' || operation.op === 'copy';
  if (needsFrom && typeof operation.from !== 'string') throw new PatchError('missing from');
  const needsValue = operation.op === 'add' || operation.op === 'replace';
  if (needsValue && operation.value === undefined) throw new PatchError('missing value');
  return operation as Operation;
}

function apply(document: Json, operation: Operation): Json {
  const path = pointer(operation.path);
  switch (operation.op) {
    case 'add':
      return add(document, path, cloneJson(operation.value as Json));
    case 'remove':
      remove(document, path);
      return document;
    case 'replace': {
      if (path.length === 0) return cloneJson(operation.value as Json);
      read(document, path);
      remove(document, path);
      return add(document, path, cloneJson(operation.value as Json));
    }
    case 'move': {
      const value = read(document, pointer(operation.from as string));
      remove(document, pointer(operation.from as string));
      return add(document, path, value);
    }
    case 'copy':
      return add(document, path, cloneJson(read(document, pointer(operation.from as string))));
    case 'test': {
      const actual = readOptional(document, path);
      if (!jsonEqual(actual ?? null, (operation.value ?? null) as Json)) {
        throw new PatchError(`testing value ${operation.path} failed`);
      }
      return document;
    }
    default:
      throw new PatchError(`Unexpected kind: ${operation.op}`);
  }
}

function pointer(path: string): string[] {
  if (path === '') return [];
  if (!path.startsWith('/')) throw new PatchError(`path ${JSON.stringify(path)} has to begin with a slash`);
  return path
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function readOptional(document: Json, path: readonly string[]): Json | undefined {
  let value: Json | undefined = document;
  for (const part of path) {
    if (Array.isArray(value)) {
      value = value[arrayIndex(part, value.length - 1)];
    } else if (typeof value === 'object' && value !== null) {
      value = Object.hasOwn(value, part) ? (value as JsonObject)[part] : undefined;
    } else {
      return undefined;
    }
  }
  return value;
}

function read(document: Json, path: readonly string[]): Json {
  const value = readOptional(document, path);
  if (value === undefined) throw new PatchError(`nonexistent path ${written(path)}`);
  return value;
}

function add(document: Json, path: readonly string[], value: Json): Json {
  if (path.length === 0) return value;
  const key = path[path.length - 1] as string;
  const parent = read(document, path.slice(0, -1));
  if (Array.isArray(parent)) {
    parent.splice(key === '-' ? parent.length : arrayIndex(key, parent.length), 0, value);
  } else if (typeof parent === 'object' && parent !== null) {
    setKey(parent as Record<string, unknown>, key, value);
  } else {
    throw new PatchError(`nonexistent path ${written(path)}`);
  }
  return document;
}

function remove(document: Json, path: readonly string[]): void {
  read(document, path);
  const key = path[path.length - 1];
  if (key === undefined) throw new PatchError('the whole document cannot be removed');
  const parent = read(document, path.slice(0, -1));
  if (Array.isArray(parent)) parent.splice(arrayIndex(key, parent.length - 1), 1);
  else delete (parent as JsonObject)[key];
}

function arrayIndex(part: string, largest: number): number {
  const index = /^(0|-?[1-9]\d{0,8})$/.test(part) ? Number(part) : Number.NaN;
  // Negative indices count from the end, as the library that Kubernetes uses allows.
  const position = index < 0 ? largest + 1 + index : index;
  if (Number.isNaN(position) || position < 0 || position > largest) {
    throw new PatchError(`invalid array index ${JSON.stringify(part)}`);
  }
  return position;
}

const written = (path: readonly string[]): string =>
  JSON.stringify(`/${path.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/')}`);

function countValues(value: Json, limit: number): number {
  let count = 1;
  if (typeof value === 'object' && value !== null) {
    for (const item of Object.values(value)) {
      if (count > limit) break;
      if (item !== undefined) count += countValues(item, limit);
    }
  }
  return count;
}

/** Deep equality of JSON; the order of keys does not matter. */
export function jsonEqual(left: Json | undefined, right: Json | undefined): boolean {
  if (left === right) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (Array.isArray(left) || Array.isArray(right)) {
    if (!Array.isArray(left) || !Array.isArray(right) || left.length !== right.length) return false;
    for (let index = 0; index < left.length; index += 1) {
      if (!jsonEqual(left[index], right[index])) return false;
    }
    return true;
  }
  let count = 0;
  for (const key in left) {
    if (left[key] === undefined) continue;
    count += 1;
    if (!Object.hasOwn(right, key) || !jsonEqual(left[key], right[key])) return false;
  }
  for (const key in right) if (right[key] !== undefined) count -= 1;
  return count === 0;
}
