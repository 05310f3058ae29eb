// What a MutatingAdmissionPolicy makes of an object, in place.
import { checkConfig, writtenErrors } from '../../../api/managed-fields/check-config.ts';
import { mergeObjects } from '../../../api/managed-fields/merge.ts';
import {
  asList,
  asMap,
  associative,
  childNode,
  isAtomic,
  shapeOf,
} from '../../../api/managed-fields/shape.ts';
import type { Json, JsonObject } from '../../../api/object.ts';
import { applyJsonPatch, jsonEqual, PatchError } from '../../../api/patch-json.ts';
import type { SchemaNode } from '../../../api/schema.ts';
import { asObject, listAt, objectAt, stringAt } from '../../../api/validation.ts';
import { type Budget, ExpressionError } from '../../cel/expressions.ts';
import { fromCel } from '../../cel/values.ts';
import type { AdmissionRequest } from '../port.ts';
import { type CompiledPolicy, evaluate, type RequestValues } from './compiled.ts';

/** The type of a request's objects: how configurations merge, and what becomes of a mutated object. */
export interface Finish {
  schema(request: AdmissionRequest): SchemaNode;
  /** Throws StatusError when it is no object of the type. */
  decode(request: AdmissionRequest, object: JsonObject): JsonObject;
}

/** A mutation may not change which object it is about. */
const IDENTITY = ['name', 'namespace', 'generateName', 'uid', 'resourceVersion', 'creationTimestamp'];

/** Whether the object was changed. Throws ExpressionError. */
export function mutate(options: {
  policy: JsonObject;
  compiled: CompiledPolicy;
  /** Of the object as it is now. */
  scope: () => object;
  budget: Budget;
  request: AdmissionRequest;
  finish: Finish;
  values: RequestValues;
}): boolean {
  const { policy, compiled, scope, budget, request, finish, values } = options;
  const { object } = request;
  if (!object) return false;
  let changed = false;
  for (const mutation of listAt(objectAt(policy, 'spec'), 'mutations')) {
    const next =
      mutation.patchType === 'JSONPatch'
        ? patched(evaluateAt(compiled, mutation, 'jsonPatch', scope(), budget), object)
        : applied(
            evaluateAt(compiled, mutation, 'applyConfiguration', scope(), budget),
            object,
            finish.schema(request),
          );
    const decoded = finish.decode(request, next);
    if (jsonEqual(decoded, object)) continue;
    replaceIn(object, decoded);
    values.renew();
    changed = true;
  }
  return changed;
}

function evaluateAt(
  compiled: CompiledPolicy,
  mutation: JsonObject,
  field: string,
  scope: object,
  budget: Budget,
): unknown {
  return evaluate(compiled.of(stringAt(objectAt(mutation, field), 'expression')), scope, budget);
}

function patched(result: unknown, object: JsonObject): JsonObject {
  if (!Array.isArray(result)) throw new ExpressionError('the expression has made no list of JSONPatch');
  const operations = result.map((operation) => asObject(fromCel(operation)) ?? {});
  // A test that fails says that there is nothing to do.
  try {
    const next = applyJsonPatch(object, operations);
    const made = asObject(next);
    if (!made) throw new ExpressionError('the patched document is no object');
    return made;
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    throw new ExpressionError(`JSON Patch: ${error.message}`);
  }
}

function applied(result: unknown, object: JsonObject, schema: SchemaNode): JsonObject {
  const configuration = asObject(fromCel(result));
  if (!configuration) throw new ExpressionError('the expression has made no Object');
  const metadata = objectAt(configuration, 'metadata');
  const own = IDENTITY.find((field) => metadata[field] !== undefined);
  if (own !== undefined || configuration.apiVersion !== undefined || configuration.kind !== undefined) {
    throw new ExpressionError(`invalid ApplyConfiguration: metadata.${own ?? 'name'} may not be set`);
  }
  const faults = checkConfig(schema, configuration);
  if (faults.length > 0) {
    throw new ExpressionError(`invalid ApplyConfiguration: ${writtenErrors(faults)}`);
  }
  const atomic = atomicIn(schema, configuration, '');
  if (atomic.length > 0) {
    throw new ExpressionError(
      `invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: ${atomic.join(', ')}`,
    );
  }
  return mergeObjects(schema, object, configuration);
}

/** What a configuration could only replace as a whole: that is left to JSON patches. */
function atomicIn(node: SchemaNode, value: Json | undefined, path: string): string[] {
  const shape = shapeOf(node, value);
  if (shape === 'scalar' || value === undefined || value === null) return [];
  if (isAtomic(node)) return [path];
  if (shape === 'map') {
    const map = asMap(value) ?? {};
    return Object.keys(map).flatMap((name) => atomicIn(childNode(node, name), map[name], `${path}.${name}`));
  }
  const list = associative(node);
  if (!list) return [path];
  return (asList(value) ?? []).flatMap((item) => atomicIn(list.items, item, `${path}[]`));
}

/** The pipeline holds on to the object and its metadata: they stay, their content is exchanged. */
function replaceIn(object: JsonObject, next: JsonObject): void {
  const metadata = objectAt(object, 'metadata');
  const given = objectAt(next, 'metadata');
  const kept = Object.fromEntries(
    IDENTITY.filter((field) => metadata[field] !== undefined).map((field) => [field, metadata[field]]),
  );
  for (const field of Object.keys(metadata)) delete metadata[field];
  Object.assign(metadata, given, kept);
  for (const field of Object.keys(object)) if (field !== 'metadata') delete object[field];
  const { metadata: _metadata, ...rest } = next;
  Object.assign(object, rest);
}
