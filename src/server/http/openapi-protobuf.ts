// Imported when a client asks for /openapi/v2 as protobuf: kubectl before 1.27 (Debian 12 has 1.20) takes nothing else,
// and validates, explains and diffs by it. The messages are those of gnostic's openapiv2/OpenAPIv2.proto.
import type { RawSchema } from './openapi-documents.ts';

interface Document {
  info: { title: string; version: string };
  paths: Record<string, Record<string, unknown>>;
  definitions: Record<string, RawSchema>;
}

interface Operation {
  operationId: string;
  parameters: { name: string; in: string; type?: string }[];
  [extension: string]: unknown;
}

/** gnostic's Document of what `openApiV2` made. Of paths it has what clients read: operations, their kinds and queries. */
export function openApiV2Protobuf(document: object): Buffer {
  const { info, paths, definitions } = document as Document;
  return message([
    text(1, '2.0'),
    nested(2, [text(1, info.title), text(2, info.version)]),
    nested(
      8,
      Object.entries(paths).map(([path, item]) => nested(2, [text(1, path), nested(2, pathItem(item))])),
    ),
    nested(
      9,
      Object.entries(definitions).map(([name, schema]) =>
        nested(1, [text(1, name), nested(2, schemaFields(schema))]),
      ),
    ),
  ]);
}

const METHODS: Readonly<Record<string, number>> = { get: 2, put: 3, post: 4, delete: 5, patch: 8 };

function pathItem(item: Record<string, unknown>): Buffer[] {
  return Object.entries(METHODS).flatMap(([method, number]) => {
    const operation = item[method] as Operation | undefined;
    return operation ? [nested(number, operationFields(operation))] : [];
  });
}

/** Parameter {NonBodyParameter = 2 {QueryParameterSubSchema = 3}}, inside ParametersItem {Parameter = 1}. */
function operationFields(operation: Operation): Buffer[] {
  const queries = operation.parameters.filter((parameter) => parameter.in === 'query');
  return [
    text(5, operation.operationId),
    ...queries.map(({ name, type = 'string' }) =>
      nested(8, [nested(1, [nested(2, [nested(3, [text(2, 'query'), text(4, name), text(6, type)])])])]),
    ),
    ...extensions(13, operation),
  ];
}

const STRINGS: Readonly<Record<string, number>> = { format: 2, title: 3, description: 4, pattern: 13 };
const INTEGERS: Readonly<Record<string, number>> = {
  maxLength: 11,
  minLength: 12,
  maxItems: 14,
  minItems: 15,
  maxProperties: 17,
  minProperties: 18,
};
const DOUBLES: Readonly<Record<string, number>> = { multipleOf: 6, maximum: 7, minimum: 9 };

function schemaFields(schema: RawSchema): Buffer[] {
  const fields: Buffer[] = [];
  for (const [key, value] of Object.entries(schema)) {
    const string = STRINGS[key];
    const integer = INTEGERS[key];
    const double = DOUBLES[key];
    if (string !== undefined && typeof value === 'string') fields.push(text(string, value));
    else if (integer !== undefined && typeof value === 'number') fields.push(varintField(integer, value));
    else if (double !== undefined && typeof value === 'number') fields.push(doubleField(double, value));
    else fields.push(...schemaField(key, value));
  }
  fields.push(...extensions(31, schema));
  return fields;
}

function schemaField(key: string, value: unknown): Buffer[] {
  switch (key) {
    case '$ref':
      return [text(1, String(value))];
    case 'default':
      return [nested(5, any(value))];
    case 'required':
      return (value as string[]).map((name) => text(19, name));
    case 'enum':
      return (value as unknown[]).map((item) => nested(20, any(item)));
    case 'additionalProperties':
      return typeof value === 'boolean'
        ? [nested(21, [varintField(2, value ? 1 : 0)])]
        : [nested(21, [nested(1, schemaFields(value as RawSchema))])];
    case 'type':
      return [nested(22, [text(1, String(value))])];
    case 'items':
      return [nested(23, [nested(1, schemaFields(value as RawSchema))])];
    case 'properties':
      return [
        nested(
          25,
          Object.entries(value as Record<string, RawSchema>).map(([name, child]) =>
            nested(1, [text(1, name), nested(2, schemaFields(child))]),
          ),
        ),
      ];
    default:
      return [];
  }
}

/** NamedAny {name = 1, Any value = 2}. */
function extensions(number: number, owner: Record<string, unknown>): Buffer[] {
  return Object.entries(owner)
    .filter(([key]) => key.startsWith('x-'))
    .map(([key, value]) => nested(number, [text(1, key), nested(2, any(value))]));
}

/** Any {yaml = 2}; JSON is YAML. */
const any = (value: unknown): Buffer[] => [text(2, `${JSON.stringify(value)}\n`)];

const LENGTH_DELIMITED = 2;
const FIXED_64 = 1;

const message = (fields: readonly Buffer[]): Buffer => Buffer.concat(fields);

function nested(number: number, fields: readonly Buffer[]): Buffer {
  const length = fields.reduce((sum, field) => sum + field.length, 0);
  return Buffer.concat([varint(number * 8 + LENGTH_DELIMITED), varint(length), ...fields]);
}

function text(number: number, value: string): Buffer {
  return nested(number, [Buffer.from(value)]);
}

function varintField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

function doubleField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint(number * 8 + FIXED_64), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  while (left >= 0x80) {
    bytes.push((left % 0x80) + 0x80);
    left = Math.floor(left / 0x80);
  }
  bytes.push(left);
  return Buffer.from(bytes);
}
