// Lists that are sets or maps have no item twice; objects inside of objects have an apiVersion and a kind.
import type { FieldError } from '../../../api/errors.ts';
import type { Json, JsonObject } from '../../../api/object.ts';
import { duplicate, required } from '../../../api/validation.ts';
import type { Structural } from './structural.ts';

export function validateListTypes(value: Json, schema: Structural, path = ''): FieldError[] {
  if (!schema.has.lists || typeof value !== 'object' || value === null) return [];
  const errors: FieldError[] = [];
  if (Array.isArray(value)) {
    if (schema.listType !== 'atomic') errors.push(...repeated(value, schema, path));
    const { items } = schema;
    if (items?.has.lists) {
      value.forEach((item, index) => {
        errors.push(...validateListTypes(item, items, `${path}[${index}]`));
      });
    }
    return errors;
  }
  for (const key of Object.keys(value).sort()) {
    const property = schema.properties?.get(key);
    const known = property ?? schema.additional;
    if (!known || known === true) continue;
    const at = property ? child(path, key) : `${path}[${key}]`;
    errors.push(...validateListTypes(value[key] as Json, known, at));
  }
  return errors;
}

const child = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

function repeated(list: Json[], schema: Structural, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  list.forEach((item, index) => {
    const key = schema.listType === 'set' ? item : keysOf(item, schema);
    const text = canonical(key);
    if (seen.has(text)) errors.push(duplicate(`${path}[${index}]`, key));
    seen.add(text);
  });
  return errors;
}

function keysOf(item: Json, schema: Structural): JsonObject {
  const keys: JsonObject = {};
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return keys;
  for (const key of [...schema.mapKeys].sort()) if (item[key] !== undefined) keys[key] = item[key];
  return keys;
}

/** Equal values have equal texts. */
function canonical(value: Json | undefined): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value ?? null);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)
    .join(',')}}`;
}

export function validateEmbedded(value: Json, schema: Structural, path = '', root = true): FieldError[] {
  if (!schema.has.embedded || typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) {
    const { items } = schema;
    return items
      ? value.flatMap((item, index) => validateEmbedded(item, items, `${path}[${index}]`, false))
      : [];
  }
  const errors: FieldError[] = [];
  if (schema.embedded && !root) {
    for (const field of ['apiVersion', 'kind']) {
      const given = value[field];
      if (typeof given !== 'string' || given === '') {
        errors.push(required(`${path}.${field}`, 'must not be empty'));
      }
    }
  }
  for (const key of Object.keys(value).sort()) {
    const property = schema.properties?.get(key);
    const known = property ?? schema.additional;
    if (!known || known === true) continue;
    errors.push(
      ...validateEmbedded(value[key] as Json, known, property ? child(path, key) : `${path}[${key}]`, false),
    );
  }
  return errors;
}
