// From a patch and the current state to the state that is asked for, still undecoded.
import { badRequest, StatusError } from '../../api/errors.ts';
import type { Json, JsonObject } from '../../api/object.ts';
import { applyJsonPatch, MOST_OPERATIONS, PatchError } from '../../api/patch-json.ts';
import { applyMergePatch } from '../../api/patch-merge.ts';
import { applyStrategicPatch } from '../../api/patch-strategic.ts';
import type { StructNode } from '../../api/schema.ts';
import type { Patch } from '../../client/port.ts';

/** Deeper nesting is refused before anything recurses over the patch. */
const DEEPEST_PATCH = 500;

/** Server-side apply is something else: applying.ts. */
export type PlainPatch = Exclude<Patch, { type: 'apply' }>;

/** Throws StatusError: 400 for what is no patch, 413 for too large a one, 422 for one that does not fit. */
export function applyPatch(
  patch: PlainPatch,
  view: JsonObject,
  struct: StructNode,
  custom: boolean,
): JsonObject {
  switch (patch.type) {
    case 'json':
      return applyOperations(patch.operations, view);
    case 'merge':
      return mapOf(applyMergePatch(view, mapOf(patch.body)));
    case 'strategic':
      if (custom) throw unsupported();
      return strategic(view, mapOf(patch.body), struct);
  }
}

/** Does the patch speak of metadata.managedFields? Few do, and for the others the list need not be copied and read. */
export function patchesOwners(patch: PlainPatch): boolean {
  if (patch.type === 'json') {
    return (
      Array.isArray(patch.operations) &&
      patch.operations.some((operation: { path?: unknown; from?: unknown } | null) =>
        [operation?.path, operation?.from].some(reachesOwners),
      )
    );
  }
  const { metadata } = (patch.body ?? {}) as { metadata?: unknown };
  return typeof metadata === 'object' && metadata !== null && 'managedFields' in metadata;
}

function reachesOwners(pointer: unknown): boolean {
  if (typeof pointer !== 'string') return false;
  return pointer === '' || pointer === '/metadata' || pointer.startsWith('/metadata/managedFields');
}

function unsupported(): StatusError {
  return new StatusError(
    'UnsupportedMediaType',
    415,
    'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
  );
}

function applyOperations(operations: readonly object[], view: JsonObject): JsonObject {
  if (!Array.isArray(operations))
    throw badRequest('error decoding patch: a JSON patch is a list of operations');
  if (operations.length > MOST_OPERATIONS) {
    throw new StatusError(
      'RequestEntityTooLarge',
      413,
      `The allowed maximum operations in a JSON patch is ${MOST_OPERATIONS}, got ${operations.length}`,
    );
  }
  checkDepth(operations as unknown as Json);
  try {
    const result = applyJsonPatch(view, operations);
    if (typeof result === 'object' && result !== null && !Array.isArray(result)) return result;
    throw new PatchError('the patched document is no object');
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    // Kubernetes says no more than this; the reason would help, but clients compare the text.
    throw new StatusError(
      'Invalid',
      422,
      'the server rejected our request due to an error in our request',
      {},
    );
  }
}

function strategic(view: JsonObject, patch: JsonObject, struct: StructNode): JsonObject {
  try {
    return applyStrategicPatch(view, patch, struct);
  } catch (error) {
    if (error instanceof PatchError) throw badRequest(error.message);
    throw error;
  }
}

/** A patch that is a map, not too deep. Throws 400 otherwise. */
export function mapOf(body: unknown): JsonObject {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    const got = Array.isArray(body) ? 'array' : body === null ? 'null' : typeof body;
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${got} into Go value of type map[string]interface {}`,
    );
  }
  checkDepth(body as JsonObject);
  return body as JsonObject;
}

function checkDepth(value: Json): void {
  // Level by level, without recursion: the point is not to run out of stack.
  let level: Json[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST_PATCH) throw badRequest('error decoding patch: exceeded max depth');
    const next: Json[] = [];
    for (const item of level) {
      if (typeof item !== 'object' || item === null) continue;
      for (const child of Object.values(item))
        if (typeof child === 'object' && child !== null) next.push(child);
    }
    level = next;
  }
}
