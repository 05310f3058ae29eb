// JSON as CEL sees it where no schema says more, and back.
import type { Json, JsonObject } from '../../api/object.ts';

/** Maps (so that no key is special), whole numbers as int. */
export function toCel(value: Json | undefined): unknown {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(toCel);
  if (typeof value !== 'object') return value;
  const map = new Map<string, unknown>();
  for (const key of Object.keys(value)) {
    const given = value[key];
    if (given !== undefined) map.set(key, toCel(given));
  }
  return map;
}

/** Throws for what JSON has no form of. */
export function fromCel(value: unknown): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(fromCel);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Map) return objectOf(value);
  if (typeof value === 'object') {
    const prototype = Object.getPrototypeOf(value);
    if (prototype === null || prototype === Object.prototype) return objectOf(Object.entries(value));
    const number = Number(value.valueOf());
    if (Number.isFinite(number)) return number;
  }
  throw new Error('the value has no JSON form');
}

function objectOf(entries: Iterable<[unknown, unknown]>): JsonObject {
  const object: JsonObject = {};
  for (const [key, value] of entries) {
    Object.defineProperty(object, String(key), {
      value: fromCel(value),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return object;
}
