// The way from kubectl's client-side apply, which remembers in an annotation what it applied, to server-side apply.
import type { JsonObject } from '../object.ts';
import { compareObjects } from './compare.ts';
import { difference, type FieldSet } from './field-set.ts';
import { fieldsOf } from './fields-of.ts';
import type { ObjectType } from './object-type.ts';
import { asMap } from './shape.ts';

export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
/** Of all annotations of an object together, as validation has it. */
const LARGEST_ANNOTATIONS = 256 * 1024;

/** What client-side apply set and nobody changed since: fields that may be taken without force. */
export function allowedByLastApplied(type: ObjectType, live: JsonObject): FieldSet | undefined {
  const text = annotationsOf(live)?.[LAST_APPLIED];
  if (typeof text !== 'string' || text === '') return undefined;
  let last: JsonObject | undefined;
  try {
    last = asMap(JSON.parse(text));
  } catch {
    return undefined;
  }
  if (!last || last.apiVersion !== type.apiVersion) return undefined;
  const { changed, removed } = compareObjects(type.node, last, live);
  return difference(difference(fieldsOf(type.node, last), changed), removed);
}

/** Keeps the annotation true, where there is one, for those who go back to client-side apply. */
export function renewLastApplied(object: JsonObject, config: JsonObject): JsonObject {
  const annotations = annotationsOf(object);
  if (!annotations?.[LAST_APPLIED]) return object;
  const renewed: JsonObject = { ...annotations, [LAST_APPLIED]: written(config) };
  let size = 0;
  for (const [key, value] of Object.entries(renewed)) {
    size += Buffer.byteLength(key) + Buffer.byteLength(String(value));
  }
  if (size > LARGEST_ANNOTATIONS) delete renewed[LAST_APPLIED];
  return { ...object, metadata: { ...asMap(object.metadata), annotations: renewed } };
}

/** As Go's encoder writes it: keys in order, a line's end, what HTML gives a meaning to escaped. */
function written(config: JsonObject): string {
  const metadata = { ...asMap(config.metadata) };
  const annotations = { ...asMap(metadata.annotations) };
  delete annotations[LAST_APPLIED];
  if (metadata.annotations !== undefined) metadata.annotations = annotations;
  const text = JSON.stringify(inOrder({ ...config, metadata }));
  return `${text.replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )}\n`;
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, inOrder(inner)]));
}

function annotationsOf(object: JsonObject): JsonObject | undefined {
  return asMap(asMap(object.metadata)?.annotations);
}
