/**
 * Shapes of JSON as data, and one checker for them. Unknown fields are let through (a newer sender may add some);
 * a field whose name ends in `?` may be absent.
 */
export type Shape =
  | { readonly is: 'string'; readonly max?: number }
  | { readonly is: 'number'; readonly integer?: boolean; readonly min?: number }
  | { readonly is: 'boolean' }
  | { readonly is: 'const'; readonly value: string | number | boolean }
  | { readonly is: 'oneOf'; readonly values: readonly string[] }
  | { readonly is: 'array'; readonly of: Shape; readonly max: number }
  | { readonly is: 'map'; readonly of: Shape; readonly max: number }
  | { readonly is: 'object'; readonly fields: Readonly<Record<string, Shape>> }
  /** The value of field `tag` chooses the shape. */
  | { readonly is: 'tagged'; readonly tag: string; readonly variants: Readonly<Record<string, Shape>> }
  | { readonly is: 'any' };

export const text = (max = 1024): Shape => ({ is: 'string', max });
export const integer = (min?: number): Shape => ({
  is: 'number',
  integer: true,
  ...(min === undefined ? {} : { min }),
});
export const number = (min?: number): Shape => ({ is: 'number', ...(min === undefined ? {} : { min }) });
export const boolean: Shape = { is: 'boolean' };
export const anything: Shape = { is: 'any' };
export const constant = (value: string | number | boolean): Shape => ({ is: 'const', value });
export const oneOf = (...values: string[]): Shape => ({ is: 'oneOf', values });
export const array = (of: Shape, max = 10_000): Shape => ({ is: 'array', of, max });
export const map = (of: Shape, max = 10_000): Shape => ({ is: 'map', of, max });
export const object = (fields: Record<string, Shape>): Shape => ({ is: 'object', fields });
export const tagged = (tag: string, variants: Record<string, Shape>): Shape => ({
  is: 'tagged',
  tag,
  variants,
});

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is wrong, with the path to it, or undefined when `value` has the shape. */
export function mismatch(shape: Shape, value: unknown, path = ''): string | undefined {
  const wrong = (wanted: string): string => `${path === '' ? 'message' : path}: expected ${wanted}`;
  switch (shape.is) {
    case 'any':
      return undefined;
    case 'string':
      if (typeof value !== 'string') return wrong('a string');
      return shape.max !== undefined && value.length > shape.max
        ? wrong(`at most ${shape.max} characters`)
        : undefined;
    case 'number':
      if (typeof value !== 'number' || !Number.isFinite(value)) return wrong('a number');
      if (shape.integer && !Number.isSafeInteger(value)) return wrong('an integer');
      return shape.min !== undefined && value < shape.min ? wrong(`at least ${shape.min}`) : undefined;
    case 'boolean':
      return typeof value === 'boolean' ? undefined : wrong('a boolean');
    case 'const':
      return value === shape.value ? undefined : wrong(JSON.stringify(shape.value));
    case 'oneOf':
      return typeof value === 'string' && shape.values.includes(value)
        ? undefined
        : wrong(`one of ${shape.values.join(', ')}`);
    case 'array':
      if (!Array.isArray(value)) return wrong('an array');
      if (value.length > shape.max) return wrong(`at most ${shape.max} elements`);
      for (const [index, element] of value.entries()) {
        const found = mismatch(shape.of, element, `${path}[${index}]`);
        if (found) return found;
      }
      return undefined;
    case 'map': {
      if (!isPlainObject(value)) return wrong('an object');
      const entries = Object.entries(value);
      if (entries.length > shape.max) return wrong(`at most ${shape.max} entries`);
      for (const [key, element] of entries) {
        const found = mismatch(shape.of, element, `${path}[${JSON.stringify(key.slice(0, 80))}]`);
        if (found) return found;
      }
      return undefined;
    }
    case 'object':
      if (!isPlainObject(value)) return wrong('an object');
      for (const [field, fieldShape] of Object.entries(shape.fields)) {
        const optional = field.endsWith('?');
        const name = optional ? field.slice(0, -1) : field;
        const element = value[name];
        if (element === undefined && optional) continue;
        const found = mismatch(fieldShape, element, path === '' ? name : `${path}.${name}`);
        if (found) return found;
      }
      return undefined;
    case 'tagged': {
      if (!isPlainObject(value)) return wrong('an object');
      const tag = value[shape.tag];
      const variant =
        typeof tag === 'string' && Object.hasOwn(shape.variants, tag) ? shape.variants[tag] : undefined;
      return variant
        ? mismatch(variant, value, path)
        : `${path === '' ? '' : `${path}.`}${shape.tag}: expected one of ${Object.keys(shape.variants).join(', ')}`;
    }
  }
}
