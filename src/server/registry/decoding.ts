// A request's body to an object of the served version: kind and version checked, decoded by the schema, unknown and
// duplicate fields refused, warned about or ignored, and defaults set.
import type { Catalogue } from '../../api/catalogue.ts';
import { badRequest, invalid, type StatusError } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import { parseApiVersion } from '../../api/resource.ts';
import type { StructNode } from '../../api/schema.ts';
import { type Decoded, DecodeError, decodeObject } from '../../api/schema-decode.ts';
import { invalidValue } from '../../api/validation.ts';
import type { RequestContext, WriteOptions } from './port.ts';

export interface DecodeAs {
  kind: string;
  apiVersion: string;
  struct: StructNode;
  /** Custom resources are decoded by their own schema. */
  decode?: ((body: JsonObject, duplicateFields?: readonly string[]) => Decoded) | undefined;
}

/** A body as POST and PUT send it; apiVersion and kind may be absent. Throws BadRequest. */
export function decodeBody(
  catalogue: Catalogue,
  as: DecodeAs,
  body: unknown,
  options: WriteOptions,
  context: RequestContext,
): JsonObject {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw badRequest(
      `the object provided is unrecognized (must be of type ${as.kind}): couldn't get version/kind; json parse error: json: cannot unmarshal ${body === null ? 'null' : Array.isArray(body) ? 'array' : typeof body} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`,
    );
  }
  const given = body as { apiVersion?: unknown; kind?: unknown };
  const problem = as.decode ? checkCustomKind(as, body as JsonObject) : checkKind(catalogue, as, given);
  if (problem !== undefined) throw problem;
  let decoded: Decoded;
  try {
    decoded = decodeAs(as, body as JsonObject, options.duplicateFields);
  } catch (error) {
    if (error instanceof DecodeError) throw cannotBeHandled(as, error.message);
    throw error;
  }
  report(decoded.strict, options, context, (list) => cannotBeHandled(as, `strict decoding error: ${list}`));
  return identified(decoded.object, as);
}

/** What a patch made of an object. Failures are 422 about `patch`, as Kubernetes has it. */
export function decodePatched(
  catalogue: Catalogue,
  as: DecodeAs,
  body: JsonObject,
  options: WriteOptions,
  context: RequestContext,
): JsonObject {
  const { apiVersion, kind } = body;
  if (kind !== as.kind || apiVersion !== as.apiVersion) {
    const other = catalogue.findKind(String(apiVersion), String(kind));
    if (!other) throw invalidPatch(body, unrecognisedKind(kind, apiVersion));
    throw invalidPatch(body, unknownConversion(as, String(apiVersion), String(kind)));
  }
  let decoded: Decoded;
  try {
    decoded = decodeAs(as, body);
  } catch (error) {
    if (error instanceof DecodeError) throw invalidPatch(body, error.message);
    throw error;
  }
  report(decoded.strict, options, context, (list) => invalidPatch(body, `strict decoding error: ${list}`));
  return identified(decoded.object, as);
}

function decodeAs(as: DecodeAs, body: JsonObject, duplicateFields?: readonly string[]): Decoded {
  return as.decode ? as.decode(body, duplicateFields) : decodeObject(as.struct, body, duplicateFields);
}

/** Bodies of custom resources have to name their kind and version, being of no Go type. */
function checkCustomKind(as: DecodeAs, body: JsonObject): StatusError | undefined {
  const { kind, apiVersion } = body;
  for (const [field, value] of Object.entries({ kind, apiVersion })) {
    if (value === undefined || value === null || typeof value === 'string') continue;
    return badRequest(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} into Go struct field .${field} of type string`,
    );
  }
  if (!kind) {
    const text = JSON.stringify(body);
    const summary = text.length > 30 ? `${text.slice(0, 30)} ...` : text;
    return badRequest(
      `the object provided is unrecognized (must be of type ${as.kind}): Object 'Kind' is missing in '${text.slice(0, 1024)}' (${summary})`,
    );
  }
  if ((apiVersion ?? '') !== as.apiVersion) {
    return badRequest(
      `the API version in the data (${apiVersion ?? ''}) does not match the expected API version (${as.apiVersion})`,
    );
  }
  if (kind === as.kind) return undefined;
  const { group } = parseApiVersion(as.apiVersion);
  const name = (body.metadata as { name?: unknown } | null | undefined)?.name;
  return invalid({ group, kind: String(kind) }, typeof name === 'string' ? name : '', [
    invalidValue('kind', kind, `must be ${as.kind}`),
  ]);
}

function identified(object: JsonObject, as: DecodeAs): JsonObject {
  const { metadata, ...rest } = object;
  // The order in which kubectl prints: kind, apiVersion, metadata, then the rest as the schema has it.
  return { kind: as.kind, apiVersion: as.apiVersion, metadata: metadata ?? {}, ...without(rest) };
}

function without({ kind: _kind, apiVersion: _apiVersion, ...rest }: JsonObject): JsonObject {
  return rest;
}

function checkKind(
  catalogue: Catalogue,
  as: DecodeAs,
  given: { apiVersion?: unknown; kind?: unknown },
): StatusError | undefined {
  for (const field of ['apiVersion', 'kind'] as const) {
    const value = given[field];
    if (value !== undefined && value !== null && typeof value !== 'string') {
      return badRequest(
        `couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} into Go struct field .${field} of type string`,
      );
    }
  }
  const apiVersion = (given.apiVersion as string | undefined) || as.apiVersion;
  const kind = (given.kind as string | undefined) || as.kind;
  if (apiVersion === as.apiVersion && kind === as.kind) return undefined;
  if (!catalogue.findKind(apiVersion, kind)) {
    const { version } = parseApiVersion(apiVersion);
    return badRequest(
      `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${as.kind}: no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)} in scheme "pkg/api/legacyscheme/scheme.go:30"`,
    );
  }
  if (kind === as.kind && parseApiVersion(apiVersion).group === parseApiVersion(as.apiVersion).group) {
    return badRequest(
      `the API version in the data (${apiVersion}) does not match the expected API version (${as.apiVersion})`,
    );
  }
  const { version } = parseApiVersion(apiVersion);
  return badRequest(
    `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${as.kind}: ${unknownConversion(as, apiVersion, kind)}`,
  );
}

const unrecognisedKind = (kind: unknown, apiVersion: unknown): string =>
  `no kind ${JSON.stringify(kind ?? '')} is registered for version ${JSON.stringify(apiVersion ?? '')} in scheme "pkg/api/legacyscheme/scheme.go:30"`;

function unknownConversion(as: DecodeAs, apiVersion: string, kind: string): string {
  const { version } = parseApiVersion(apiVersion);
  const group = parseApiVersion(as.apiVersion).group.split('.')[0] || 'core';
  return `converting (${version}.${kind}) to (${group}.${as.kind}): unknown conversion`;
}

function cannotBeHandled(as: DecodeAs, why: string): StatusError {
  const { version } = parseApiVersion(as.apiVersion);
  return badRequest(
    `${as.kind} in version ${JSON.stringify(version)} cannot be handled as a ${as.kind}: ${why}`,
  );
}

export function invalidPatch(body: unknown, why: string): StatusError {
  return invalid({ group: '', kind: '' }, '', [invalidValue('patch', JSON.stringify(body), why)]);
}

function report(
  strict: readonly string[],
  options: WriteOptions,
  context: RequestContext,
  refuse: (list: string) => StatusError,
): void {
  if (strict.length === 0 || options.fieldValidation === 'Ignore') return;
  if (options.fieldValidation === 'Strict') throw refuse(strict.join(', '));
  for (const text of strict) context.warn(text);
}
