// JSON Merge Patch (RFC 7386).
import { cloneJson, type Json, type JsonObject } from './object.ts';
import { setKey } from './schema-decode.ts';

/** The patched document; neither argument is changed, what is untouched is shared with `document`. */
export function applyMergePatch(document: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return cloneJson(patch);
  const result: JsonObject = {};
  if (isObject(document)) for (const key in document) setKey(result, key, document[key]);
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === undefined) continue;
    if (value === null) delete result[key];
    else setKey(result, key, applyMergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value));
  }
  return result;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
