// Structural validation of custom objects, in the words and the order of kube-openapi's validator.
import type { FieldError } from '../../../api/errors.ts';
import type { Json, JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import { invalidValue, notSupported, required, tooLong, tooMany } from '../../../api/validation.ts';
import { hasFormat } from './formats.ts';
import type { PatternEngine } from './patterns.ts';
import type { Checks, Structural } from './structural.ts';

/** One large hostile object must not answer with a book. */
const MOST_ERRORS = 200;
/** Where an error has no field of its own, Go prints its nil path. */
export const NO_PATH = '<nil>';

interface Result {
  errors: FieldError[];
  /** How much of a schema applied: of several alternatives the one that fits best tells what is wrong. */
  matches: number;
}

export interface ValidationContext {
  patterns: PatternEngine | undefined;
}

/**
 * Every violation. What is the same as in `old`, the correlated part of the object before, is not judged again
 * (validation ratcheting): an object that a new schema would refuse can still be changed elsewhere.
 */
export function validateSchema(
  value: Json,
  old: Json | undefined,
  schema: Structural,
  context: ValidationContext,
  path = '',
): FieldError[] {
  return new SchemaValidator(context).validate(value, old, schema, path).errors.slice(0, MOST_ERRORS);
}

class SchemaValidator {
  private readonly context: ValidationContext;

  constructor(context: ValidationContext) {
    this.context = context;
  }

  validate(value: Json, old: Json | undefined, schema: Structural, path: string): Result {
    const result: Result = { errors: [], matches: 0 };
    if (old !== undefined && path !== '' && jsonEqual(value, old)) return result;
    this.type(value, schema, path, result);
    const { checks } = schema;
    if (value === null) {
      if (checks) common(value, checks, path, result);
      return result;
    }
    if (checks) this.alternatives(value, checks, path, result);
    if (typeof value === 'string') this.string(value, schema, path, result);
    else if (typeof value === 'number') number(value, schema, path, result);
    else if (Array.isArray(value)) this.list(value, old, schema, path, result);
    if (checks) common(value, checks, path, result);
    if (typeof value === 'object' && !Array.isArray(value)) this.object(value, old, schema, path, result);
    return result;
  }

  private type(value: Json, schema: Structural, path: string, result: Result): void {
    const { type, format } = schema;
    if (schema.intOrString) {
      const fits = typeof value === 'string' || (typeof value === 'number' && Number.isInteger(value));
      if (fits || (value === null && schema.nullable)) result.matches += 1;
      else result.errors.push(wrongType(path, 'integer,string', typeName(value)));
      return;
    }
    if (type === '') return;
    const actual = typeName(value);
    if (value === null) {
      if (!schema.nullable) result.errors.push(wrongType(path, type, 'null'));
      return;
    }
    // A format of texts and lists is another check's affair.
    const leaves = format !== '' && type !== 'number' && type !== 'integer';
    if (leaves && (actual === 'string' || actual === 'array') && (type === 'string' || type === 'array')) {
      if (actual === type) return;
    }
    const fits = actual === type || (type === 'number' && actual === 'integer');
    if (fits) result.matches += 1;
    else result.errors.push(wrongType(path, type, actual));
  }

  private alternatives(value: Json, checks: Checks, path: string, result: Result): void {
    const quoted = JSON.stringify(path);
    if (checks.anyOf.length > 0) {
      let best: Result | undefined;
      for (const alternative of checks.anyOf) {
        const outcome = this.validate(value, undefined, alternative, path);
        if (outcome.errors.length === 0) {
          best = outcome;
          break;
        }
        if (!best || outcome.matches > best.matches) best = outcome;
      }
      if (best && best.errors.length > 0) {
        result.errors.push(whole(`${quoted} must validate at least one schema (anyOf)`));
      }
      merge(result, best);
    }
    if (checks.oneOf.length > 0) this.exactlyOne(value, checks, path, result);
    if (checks.allOf.length > 0) {
      let valid = 0;
      for (const part of checks.allOf) {
        const outcome = this.validate(value, undefined, part, path);
        if (outcome.errors.length === 0) valid += 1;
        merge(result, outcome);
      }
      if (valid !== checks.allOf.length) {
        const rest = valid === 0 ? '. None validated' : '';
        result.errors.push(whole(`${quoted} must validate all the schemas (allOf)${rest}`));
      }
    }
    if (checks.not && this.validate(value, undefined, checks.not, path).errors.length === 0) {
      result.errors.push(whole(`${quoted} must not validate the schema (not)`));
    }
    result.matches += 1;
  }

  private exactlyOne(value: Json, checks: Checks, path: string, result: Result): void {
    let best: Result | undefined;
    let first: Result | undefined;
    let valid = 0;
    for (const alternative of checks.oneOf) {
      const outcome = this.validate(value, undefined, alternative, path);
      if (outcome.errors.length === 0) {
        valid += 1;
        first ??= outcome;
      } else if (!best || outcome.matches > best.matches) best = outcome;
    }
    if (valid === 1) {
      merge(result, first);
      return;
    }
    const found = valid === 0 ? 'Found none valid' : `Found ${valid} valid alternatives`;
    result.errors.push(
      whole(`${JSON.stringify(path)} must validate one and only one schema (oneOf). ${found}`),
    );
    if (valid === 0) merge(result, best);
  }

  private string(value: string, schema: Structural, path: string, result: Result): void {
    const { checks, format } = schema;
    result.matches += 1;
    if (checks?.maxLength !== undefined && characters(value) > checks.maxLength) {
      result.errors.push(tooLong(path, checks.maxLength));
      return;
    }
    if (checks?.minLength !== undefined && characters(value) < checks.minLength) {
      result.errors.push(
        invalidValue(path, value, `${path} in body should be at least ${checks.minLength} chars long`),
      );
      return;
    }
    if (checks && checks.pattern !== '' && !this.fits(checks.pattern, value)) {
      result.errors.push(invalidValue(path, value, `${path} in body should match '${checks.pattern}'`));
      return;
    }
    if (format !== '' && !hasFormat(format, value)) {
      const detail = `${path} in body must be of type ${format}: ${JSON.stringify(value)}`;
      result.errors.push({ ...invalidValue(path, value, detail), reason: 'FieldValueTypeInvalid' });
    }
  }

  private fits(pattern: string, value: string): boolean {
    try {
      return this.context.patterns?.compile(pattern)(value) ?? false;
    } catch {
      // An older server may have stored a pattern that is none: nothing fits it.
      return false;
    }
  }

  private list(value: Json[], old: Json | undefined, schema: Structural, path: string, result: Result): void {
    const { checks, items } = schema;
    result.matches += 1;
    if (items) {
      const before = correlated(old, schema);
      for (let index = 0; index < value.length && result.errors.length < MOST_ERRORS; index += 1) {
        const item = value[index] as Json;
        merge(result, this.validate(item, before(item), items, `${path}[${index}]`));
      }
    }
    if (checks?.minItems !== undefined && value.length < checks.minItems) {
      result.errors.push(
        invalidValue(path, value.length, `${path} in body should have at least ${checks.minItems} items`),
      );
    }
    if (checks?.maxItems !== undefined && value.length > checks.maxItems) {
      result.errors.push(tooMany(path, value.length, checks.maxItems));
    }
  }

  private object(
    value: JsonObject,
    old: Json | undefined,
    schema: Structural,
    path: string,
    result: Result,
  ): void {
    const { checks, properties, additional } = schema;
    const keys = Object.keys(value);
    if (checks?.minProperties !== undefined && keys.length < checks.minProperties) {
      const detail = `${path} in body should have at least ${checks.minProperties} properties`;
      result.errors.push(invalidValue(path, keys.length, detail));
      return;
    }
    if (checks?.maxProperties !== undefined && keys.length > checks.maxProperties) {
      result.errors.push(tooMany(path, keys.length, checks.maxProperties));
      return;
    }
    result.matches += 1;
    const before = typeof old === 'object' && old !== null && !Array.isArray(old) ? old : undefined;
    for (const key of keys.sort()) {
      const known = properties?.get(key) ?? additional;
      if (!known || known === true || result.errors.length >= MOST_ERRORS) continue;
      const previous = before && Object.hasOwn(before, key) ? before[key] : undefined;
      merge(result, this.validate(value[key] as Json, previous, known, path === '' ? key : `${path}.${key}`));
    }
    for (const key of checks?.required ?? []) {
      if (!Object.hasOwn(value, key)) result.errors.push(required(path === '' ? key : `${path}.${key}`));
    }
  }
}

/** The item before that an item now corresponds to: only lists that are maps have such. */
function correlated(old: Json | undefined, schema: Structural): (item: Json) => Json | undefined {
  if (!Array.isArray(old) || schema.listType !== 'map') return () => undefined;
  const byKey = new Map<string, Json>();
  for (const item of old) byKey.set(mapKeyOf(item, schema), item);
  return (item) => byKey.get(mapKeyOf(item, schema));
}

/** The key of an item of a list that is a map, as text. */
export function mapKeyOf(item: Json, schema: Structural): string {
  const object = typeof item === 'object' && item !== null && !Array.isArray(item) ? item : {};
  return JSON.stringify(schema.mapKeys.map((key) => object[key] ?? null));
}

function merge(into: Result, from: Result | undefined): void {
  if (!from) return;
  into.errors.push(...from.errors.slice(0, MOST_ERRORS));
  into.matches += from.matches;
}

/** An error about several fields at once has no path. */
function whole(text: string): FieldError {
  return invalidValue(NO_PATH, '', text);
}

function wrongType(path: string, wanted: string, actual: string): FieldError {
  const detail = `${path} in body must be of type ${wanted}: ${JSON.stringify(actual)}`;
  return { ...invalidValue(path === '' ? NO_PATH : path, actual, detail), reason: 'FieldValueTypeInvalid' };
}

function typeName(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

/** Go counts code points. */
function characters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
  float: [-3.4028234663852886e38, 3.4028234663852886e38],
};

function number(value: number, schema: Structural, path: string, result: Result): void {
  const { checks, format } = schema;
  result.matches += 1;
  const range = Object.hasOwn(RANGES, format) ? RANGES[format] : undefined;
  if (range && (value < range[0] || value > range[1])) {
    const type = schema.type === '' ? 'number' : schema.type;
    result.errors.push(whole(`Checked value must be of type ${type} with format ${format} (in ${path})`));
  }
  if (!checks) return;
  const refuse = (detail: string): void => {
    result.errors.push(invalidValue(path, value, `${path} in body should be ${detail}`));
  };
  const bound = (limit: number): string =>
    Number.isInteger(value) ? String(Math.trunc(limit)) : goFloat(limit);
  const { minimum, maximum, multipleOf } = checks;
  if (multipleOf !== undefined && multipleOf > 0) {
    const quotient = value / multipleOf;
    if (Math.abs(quotient - Math.round(quotient)) > 1e-9) refuse(`a multiple of ${bound(multipleOf)}`);
  }
  if (maximum !== undefined) {
    if (checks.exclusiveMaximum ? value >= maximum : value > maximum) {
      refuse(`less than ${checks.exclusiveMaximum ? '' : 'or equal to '}${bound(maximum)}`);
    }
  }
  if (minimum !== undefined) {
    if (checks.exclusiveMinimum ? value <= minimum : value < minimum) {
      refuse(`greater than ${checks.exclusiveMinimum ? '' : 'or equal to '}${bound(minimum)}`);
    }
  }
}

/** A float as Go's %v writes it: with an exponent from 1e+06 on and below 1e-04. */
function goFloat(value: number): string {
  const power = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  if (power >= -4 && power < 6) return String(value);
  const [digits, exponent = '0'] = value.toExponential().split('e');
  const sign = exponent.startsWith('-') ? '-' : '+';
  return `${digits}e${sign}${exponent.replace(/^[+-]/, '').padStart(2, '0')}`;
}

function common(value: Json, checks: Checks, path: string, result: Result): void {
  const choices = checks.enum;
  if (!choices) return;
  if (choices.some((choice) => jsonEqual(choice, value))) {
    result.matches += 1;
    return;
  }
  const supported = choices.map((choice) => (typeof choice === 'string' ? choice : JSON.stringify(choice)));
  result.errors.push(notSupported(path, value, supported));
}
