// The two shapes of an OpenAPI document; pure functions over operations and schemas.
import type { Operation, QueryParameter } from './openapi-operations.ts';

/** A schema as data/schemas.json has it: `$ref` holds the bare name of another. */
export type RawSchema = { [key: string]: unknown };

const INT_OR_STRING = 'io.k8s.apimachinery.pkg.util.intstr.IntOrString';

/** Names of all schemas that these reach, themselves included. */
export function closure(
  names: Iterable<string>,
  schema: (name: string) => RawSchema | undefined,
): Map<string, RawSchema> {
  const found = new Map<string, RawSchema>();
  const waiting = [...names];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (found.has(name)) continue;
    const raw = schema(name);
    if (!raw) continue;
    found.set(name, raw);
    collectRefs(raw, waiting);
  }
  return found;
}

function collectRefs(value: unknown, into: string[]): void {
  if (Array.isArray(value)) for (const item of value) collectRefs(item, into);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, child] of Object.entries(value)) {
      if (key === '$ref' && typeof child === 'string') into.push(child);
      else collectRefs(child, into);
    }
  }
}

function withRefs(value: unknown, prefix: string): unknown {
  if (Array.isArray(value)) return value.map((item) => withRefs(item, prefix));
  if (typeof value !== 'object' || value === null) return value;
  const result: RawSchema = {};
  for (const [key, child] of Object.entries(value)) {
    result[key] = key === '$ref' && typeof child === 'string' ? `${prefix}${child}` : withRefs(child, prefix);
  }
  return result;
}

export interface DocumentInput {
  /** v1.36.0 */
  version: string;
  operations: readonly Operation[];
  schemas: ReadonlyMap<string, RawSchema>;
}

const CONTENT = ['application/json', 'application/yaml'];
const PATCHES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];
const CUSTOM_PATCHES = PATCHES.filter((type) => type !== 'application/strategic-merge-patch+json');

function consumed({ patch, custom }: Operation): readonly string[] {
  if (!patch) return ['*/*'];
  return custom ? CUSTOM_PATCHES : PATCHES;
}

function kubernetesExtensions({ action, gvk }: Operation): object {
  return { 'x-kubernetes-action': action, 'x-kubernetes-group-version-kind': gvk };
}

export function openApiV3({ version, operations, schemas }: DocumentInput): object {
  const prefix = '#/components/schemas/';
  const reference = (name: string | undefined): object =>
    name !== undefined && schemas.has(name) ? { $ref: `${prefix}${name}` } : { type: 'object' };
  const parameter = ({ name, type }: QueryParameter): object => ({
    name,
    in: 'query',
    schema: { type, uniqueItems: true },
  });
  const paths = byPath(operations, (operation) => ({
    operationId: operation.id,
    parameters: operation.queryParameters.map(parameter),
    ...(operation.body === undefined
      ? {}
      : {
          requestBody: {
            content: contents(consumed(operation), reference(operation.body)),
            ...(operation.method === 'delete' ? {} : { required: true }),
          },
        }),
    responses: {
      [operation.method === 'post' ? '201' : '200']: {
        description: operation.method === 'post' ? 'Created' : 'OK',
        content: contents(CONTENT, reference(operation.answer)),
      },
    },
    ...kubernetesExtensions(operation),
  }));
  for (const [path, item] of Object.entries(paths)) {
    item.parameters = pathParameters(path).map((name) => ({
      name,
      in: 'path',
      required: true,
      schema: { type: 'string', uniqueItems: true },
    }));
  }
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version },
    paths,
    components: {
      schemas: Object.fromEntries([...schemas].map(([name, raw]) => [name, withRefs(raw, prefix)])),
    },
  };
}

export function openApiV2({ version, operations, schemas }: DocumentInput): object {
  const prefix = '#/definitions/';
  const reference = (name: string | undefined): object =>
    name !== undefined && schemas.has(name) ? { $ref: `${prefix}${name}` } : { type: 'object' };
  const paths = byPath(operations, (operation) => ({
    operationId: operation.id,
    consumes: consumed(operation),
    produces: CONTENT,
    schemes: ['https'],
    parameters: [
      ...(operation.body === undefined
        ? []
        : [
            {
              name: 'body',
              in: 'body',
              ...(operation.method === 'delete' ? {} : { required: true }),
              schema: reference(operation.body),
            },
          ]),
      ...operation.queryParameters.map(({ name, type }) => ({ name, in: 'query', type, uniqueItems: true })),
    ],
    responses: {
      [operation.method === 'post' ? '201' : '200']: {
        description: operation.method === 'post' ? 'Created' : 'OK',
        schema: reference(operation.answer),
      },
    },
    ...kubernetesExtensions(operation),
  }));
  for (const [path, item] of Object.entries(paths)) {
    item.parameters = pathParameters(path).map((name) => ({
      name,
      in: 'path',
      required: true,
      type: 'string',
      uniqueItems: true,
    }));
  }
  return {
    swagger: '2.0',
    info: { title: 'Kubernetes', version },
    paths,
    definitions: Object.fromEntries(
      [...schemas].map(([name, raw]) => [
        name,
        name === INT_OR_STRING ? V2_INT_OR_STRING : forV2(withRefs(raw, prefix)),
      ]),
    ),
  };
}

/** Swagger 2.0 has neither oneOf nor nullable. */
const V2_INT_OR_STRING = { type: 'string', format: 'int-or-string' };
const V3_ONLY = new Set(['oneOf', 'anyOf', 'nullable', 'allOf']);

function forV2(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(forV2);
  if (typeof value !== 'object' || value === null) return value;
  const result: RawSchema = {};
  for (const [key, child] of Object.entries(value)) {
    if (key === 'allOf' && Array.isArray(child) && child.length === 1) Object.assign(result, forV2(child[0]));
    else if (!V3_ONLY.has(key)) result[key] = forV2(child);
  }
  return result;
}

function byPath(
  operations: readonly Operation[],
  write: (operation: Operation) => object,
): Record<string, Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const item = paths[operation.path] ?? {};
    item[operation.method] = write(operation);
    paths[operation.path] = item;
  }
  return paths;
}

const pathParameters = (path: string): string[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string);

const contents = (types: readonly string[], schema: object): object =>
  Object.fromEntries(types.map((type) => [type, { schema }]));
