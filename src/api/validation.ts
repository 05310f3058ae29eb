// Building blocks of validation: field errors in apimachinery's words, and the checks that many kinds share.
import type { FieldError } from './errors.ts';
import type { NameCheck } from './names.ts';
import type { Json, JsonObject } from './object.ts';

/** A value as Go's field errors print it: strings quoted, everything else as JSON. */
function printed(value: unknown): string {
  return value === undefined ? 'null' : JSON.stringify(value);
}

export function required(field: string, detail = ''): FieldError {
  return {
    reason: 'FieldValueRequired',
    field,
    message: detail === '' ? 'Required value' : `Required value: ${detail}`,
  };
}

export function invalidValue(field: string, value: unknown, detail: string): FieldError {
  return {
    reason: 'FieldValueInvalid',
    field,
    message: `Invalid value: ${printed(value)}${detail === '' ? '' : `: ${detail}`}`,
  };
}

export function notSupported(field: string, value: unknown, supported: readonly string[]): FieldError {
  const values = supported.map((choice) => JSON.stringify(choice)).join(', ');
  return {
    reason: 'FieldValueNotSupported',
    field,
    message: `Unsupported value: ${printed(value)}: supported values: ${values}`,
  };
}

export function forbiddenField(field: string, detail: string): FieldError {
  return { reason: 'FieldValueForbidden', field, message: `Forbidden: ${detail}` };
}

export function duplicate(field: string, value: unknown): FieldError {
  return { reason: 'FieldValueDuplicate', field, message: `Duplicate value: ${printed(value)}` };
}

export function fieldNotFound(field: string, value: unknown): FieldError {
  return { reason: 'FieldValueNotFound', field, message: `Not found: ${printed(value)}` };
}

export function tooLong(field: string, bytes: number): FieldError {
  return { reason: 'FieldValueTooLong', field, message: `Too long: may not be more than ${bytes} bytes` };
}

export function tooMany(field: string, actual: number, most: number): FieldError {
  return {
    reason: 'FieldValueTooMany',
    field,
    message: `Too many: ${actual}: must have at most ${most} items`,
  };
}

/** One error for each rule of `check` that `value` violates. */
export function checkName(field: string, value: string, check: NameCheck): FieldError[] {
  return check(value).map((rule) => invalidValue(field, value, rule));
}

/** Absent and "" are the same to Kubernetes' non-pointer strings. */
export function isUnset(value: Json | undefined): value is undefined | null | '' {
  return value === undefined || value === null || value === '';
}

/** The given choice has to be one of `supported`; unset passes. */
export function checkChoice(
  field: string,
  value: Json | undefined,
  supported: readonly string[],
): FieldError[] {
  return isUnset(value) || supported.includes(value as string) ? [] : [notSupported(field, value, supported)];
}

export function checkNonNegative(field: string, value: Json | undefined): FieldError[] {
  return typeof value === 'number' && value < 0
    ? [invalidValue(field, value, 'must be greater than or equal to 0')]
    : [];
}

export function checkPositive(field: string, value: Json | undefined): FieldError[] {
  return typeof value === 'number' && value <= 0
    ? [invalidValue(field, value, 'must be greater than 0')]
    : [];
}

/** A count or a percentage ("25%"), not negative. */
export function checkIntOrPercent(field: string, value: Json | undefined): FieldError[] {
  if (value === undefined || value === null) return [];
  if (typeof value === 'number') return checkNonNegative(field, value);
  if (typeof value === 'string' && /^[0-9]+%$/.test(value)) return [];
  return [
    invalidValue(
      field,
      value,
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    ),
  ];
}

/** Percentages above 100 make no sense for this field. */
export function checkNotMoreThanHundred(field: string, value: Json | undefined): FieldError[] {
  return typeof value === 'string' && /^[0-9]+%$/.test(value) && Number(value.slice(0, -1)) > 100
    ? [invalidValue(field, value, 'must not be greater than 100%')]
    : [];
}

export function asObject(value: Json | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

/** The field's object, or an empty one (which is not attached). */
export function objectAt(parent: JsonObject | undefined, field: string): JsonObject {
  return asObject(parent?.[field]) ?? {};
}

/** The field's list of objects; absent and null are empty. */
export function listAt(parent: JsonObject | undefined, field: string): JsonObject[] {
  const value = parent?.[field];
  return Array.isArray(value) ? (value as JsonObject[]) : [];
}

export function stringsAt(parent: JsonObject | undefined, field: string): string[] {
  const value = parent?.[field];
  return Array.isArray(value) ? (value as string[]) : [];
}

export function stringAt(parent: JsonObject | undefined, field: string): string {
  const value = parent?.[field];
  return typeof value === 'string' ? value : '';
}

export function numberAt(parent: JsonObject | undefined, field: string): number | undefined {
  const value = parent?.[field];
  return typeof value === 'number' ? value : undefined;
}

/** The field's object, made and attached when it is not there. */
export function ensureObject(parent: JsonObject, field: string): JsonObject {
  const existing = asObject(parent[field]);
  if (existing) return existing;
  const made: JsonObject = {};
  parent[field] = made;
  return made;
}

/** Sets the field unless it has a value; null counts as none. */
export function setDefault(parent: JsonObject, field: string, value: Json): void {
  if (parent[field] === undefined || parent[field] === null) parent[field] = value;
}
