// What happens to a custom object on its way in and out: fields that the schema does not know are pruned, nulls that
// mean nothing dropped, defaults set. All of these change the object they are given.

import { cloneJson, type Json, type JsonObject } from '../../../api/object.ts';
import { setKey } from '../../../api/schema-decode.ts';
import type { Structural } from './structural.ts';

/** The fields of every object, whatever its schema says. */
const IMPLICIT = ['apiVersion', 'kind', 'metadata'];
const MOST_UNKNOWN = 100;

/** Removes unknown fields; returns their paths, sorted, for fieldValidation. */
export function prune(object: JsonObject, schema: Structural): string[] {
  const unknown: string[] = [];
  pruneObject(object, schema, '', true, unknown);
  return unknown.sort();
}

function pruneValue(value: Json, schema: Structural, path: string, unknown: string[]): void {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) {
    pruneObject(value, schema, path, schema.embedded, unknown);
  } else if (schema.items) {
    for (let index = 0; index < value.length; index += 1) {
      pruneValue(value[index] as Json, schema.items, `${path}[${index}]`, unknown);
    }
  }
}

function pruneObject(
  object: JsonObject,
  schema: Structural,
  path: string,
  isResource: boolean,
  unknown: string[],
): void {
  for (const key of Object.keys(object)) {
    if (isResource && IMPLICIT.includes(key)) continue;
    const at = path === '' ? key : `${path}.${key}`;
    const known = schema.properties?.get(key) ?? schema.additional;
    if (known === true) continue;
    if (known) pruneValue(object[key] as Json, known, at, unknown);
    else if (!schema.preserves) {
      delete object[key];
      if (unknown.length < MOST_UNKNOWN) unknown.push(at);
    }
  }
}

/** A null for a field that may not be null and has no default is as good as none. */
export function dropNulls(value: Json, schema: Structural): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    if (schema.items) for (const item of value) dropNulls(item, schema.items);
    return;
  }
  for (const key of Object.keys(value)) {
    const known = schema.properties?.get(key) ?? (schema.additional === true ? undefined : schema.additional);
    if (!known) continue;
    const given = value[key] as Json;
    if (given !== null) dropNulls(given, known);
    else if (!known.nullable && known.default === undefined && !known.preserves) delete value[key];
  }
}

/** Sets defaults, parents first, so that a defaulted object gets the defaults of its fields. */
export function setDefaults(value: Json, schema: Structural): void {
  if (!schema.has.defaults || typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    const { items } = schema;
    if (!items) return;
    for (let index = 0; index < value.length; index += 1) {
      if (value[index] === null && !items.nullable && items.default !== undefined) {
        value[index] = cloneJson(items.default);
      }
      setDefaults(value[index] as Json, items);
    }
    return;
  }
  for (const [key, property] of schema.properties ?? []) {
    if (property.default !== undefined) {
      const given = Object.hasOwn(value, key) ? value[key] : undefined;
      if (given === undefined || (given === null && !property.nullable)) {
        setKey(value, key, cloneJson(property.default));
      }
    }
    if (Object.hasOwn(value, key)) setDefaults(value[key] as Json, property);
  }
  const { additional } = schema;
  if (!additional || additional === true) return;
  for (const key of Object.keys(value)) {
    if (schema.properties?.has(key)) continue;
    if (value[key] === null && !additional.nullable && additional.default !== undefined) {
      setKey(value, key, cloneJson(additional.default));
    }
    setDefaults(value[key] as Json, additional);
  }
}

/** Whether prune, dropNulls or setDefaults would change anything: then a stored object has to be copied before. */
export function isSettled(value: Json, schema: Structural, isResource: boolean, pruning: boolean): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) {
    const { items } = schema;
    if (!items) return true;
    return value.every(
      (item) =>
        !(item === null && !items.nullable && items.default !== undefined) &&
        isSettled(item, items, items.embedded, pruning),
    );
  }
  for (const [key, property] of schema.properties ?? []) {
    if (property.default !== undefined && !Object.hasOwn(value, key)) return false;
  }
  for (const key of Object.keys(value)) {
    if (isResource && IMPLICIT.includes(key)) continue;
    const known = schema.properties?.get(key) ?? schema.additional;
    if (known === true) continue;
    if (!known) {
      if (schema.preserves || !pruning) continue;
      return false;
    }
    const given = value[key] as Json;
    if (
      given === null ? !known.nullable && !known.preserves : !isSettled(given, known, known.embedded, pruning)
    )
      return false;
  }
  return true;
}
