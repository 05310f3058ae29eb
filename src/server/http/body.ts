import type { IncomingMessage } from 'node:http';
import { badRequest, StatusError } from '../../api/errors.ts';
import { JsonSyntaxError, type ParsedJson, parseJson } from '../../api/json-text.ts';
import type { Clock } from '../../lib/clock.ts';
import { mediaType } from './negotiation.ts';
import type { RawSchema } from './openapi-documents.ts';

/** As Kubernetes: three mebibytes, of which etcd would take half. */
export const LARGEST_BODY = 3 * 1024 * 1024;
/** A client that needs longer for its body is taken for a slow-loris. */
export const BODY_TIMEOUT_MS = 30_000;

/** Reads the whole body. Throws 413, 408 (as a Status) or 400. */
export function readBody(request: IncomingMessage, clock: Clock, limit = LARGEST_BODY): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0);
  if (declared > limit) return Promise.reject(tooLarge(limit));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const done = (act: () => void): void => {
      timer.cancel();
      request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      act();
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > limit) {
        request.pause();
        done(() => reject(tooLarge(limit)));
      } else {
        chunks.push(chunk);
      }
    };
    const onEnd = (): void =>
      done(() => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)));
    const onError = (error: Error): void =>
      done(() => reject(badRequest(`reading the body failed: ${error.message}`)));
    const onClose = (): void =>
      done(() => reject(badRequest('the client closed the connection inside the body')));
    const timer = clock.after(BODY_TIMEOUT_MS, () =>
      done(() => reject(new StatusError('Timeout', 408, 'the request body did not arrive in time'))),
    );
    request.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}

const tooLarge = (limit: number): StatusError =>
  new StatusError('RequestEntityTooLarge', 413, `Request entity too large: limit is ${limit}`);

export function decodeText(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(body);
  } catch {
    throw badRequest('the body is not valid UTF-8');
  }
}

export interface DecodedBody extends ParsedJson {
  /** What the client is to be told. */
  warnings: string[];
}

export interface DecodeOptions {
  /** The kind that the URL asks for, for the error's text; undefined for DeleteOptions, which Kubernetes does not name. */
  kind: string | undefined;
  /** Protobuf is read by the schemas. */
  loadSchemas: () => Promise<Readonly<Record<string, RawSchema>>>;
  /** See YamlBodies. */
  parseYaml: (text: string) => Promise<ParsedJson>;
}

/** The object in a POST, PUT or DELETE: JSON (also when no type is given), YAML or protobuf; throws 415 for another. */
export async function decodeObject(
  body: Buffer,
  contentType: string | undefined,
  options: DecodeOptions,
): Promise<DecodedBody> {
  const type = mediaType(contentType);
  if (type === 'application/vnd.kubernetes.protobuf') {
    const { decodeProtobuf } = await import('./protobuf-body.ts');
    const { value, unknown } = await decodeProtobuf(body, await options.loadSchemas());
    const warnings = unknown.map(
      (field) => `protobuf field ${field} is not known to this server and was dropped`,
    );
    return { value, duplicates: [], warnings };
  }
  const unrecognized = (why: string): StatusError => {
    const text = `couldn't get version/kind; json parse error: ${why}`;
    return badRequest(
      options.kind === undefined
        ? text
        : `the object provided is unrecognized (must be of type ${options.kind}): ${text} (${summary(body)})`,
    );
  };
  let parsed: ParsedJson;
  try {
    parsed = await parseByType(decodeText(body), type, options.parseYaml);
  } catch (error) {
    if (error instanceof JsonSyntaxError) throw unrecognized(error.message);
    throw error;
  }
  const { value } = parsed;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unrecognized(`json: cannot unmarshal ${goTypeOf(value)} into Go value of type ${TYPE_META}`);
  }
  return { ...parsed, warnings: [] };
}

const TYPE_META =
  'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }';
const BODY_TYPES = 'application/json, application/yaml, application/vnd.kubernetes.protobuf';

async function parseByType(
  text: string,
  type: string,
  parseYaml: DecodeOptions['parseYaml'],
): Promise<ParsedJson> {
  switch (type) {
    case '':
    case 'application/json':
    case '*/*':
      return parseJson(text);
    case 'application/yaml':
    case 'application/x-yaml':
    case 'text/yaml':
      return parseYaml(text);
    default:
      throw new StatusError(
        'UnsupportedMediaType',
        415,
        `the body of the request was in an unknown format - accepted media types include: ${BODY_TYPES}`,
      );
  }
}

function goTypeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

/** As Kubernetes shows the start of a body that it could not read: text for an object, hexadecimal for the rest. */
function summary(body: Buffer): string {
  if (body.length === 0) return '<empty>';
  const start = body.subarray(0, 30);
  const text = body[0] === 0x7b ? start.toString() : start.toString('hex');
  return body.length > 30 ? `${text} ...` : text;
}
