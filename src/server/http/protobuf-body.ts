// Imported when a client sends Kubernetes' protobuf: typed Go clients do (kubectl create configmap, kubectl drain,
// controllers built on controller-runtime). Answers are JSON, which they all accept.
import { badRequest } from '../../api/errors.ts';
import { microTimestamp, timestamp } from '../../lib/clock.ts';
import type { RawSchema } from './openapi-documents.ts';

/**
 * Field numbers by schema: index 0 is field 1. A text is the field's name in JSON; an array is a message whose fields
 * belong to the surrounding object (Go's inlined structs); null is unused.
 */
type FieldTable = (string | FieldTable | null)[];

const MAGIC = Buffer.from('k8s\0', 'latin1');
const DEEPEST = 100;
const NANOS_PER_MILLI = 1_000_000;

export interface DecodedProtobuf {
  value: Record<string, unknown>;
  /** Fields that are newer than the table: dropped, and the client is to be warned. */
  unknown: string[];
}

/** `k8s\0`, then runtime.Unknown {typeMeta, raw}. Throws 400 for what is malformed or not in the table. */
export async function decodeProtobuf(
  body: Buffer,
  schemas: Readonly<Record<string, RawSchema>>,
): Promise<DecodedProtobuf> {
  const facts = (await import('./protobuf-fields.json', { with: { type: 'json' } })).default;
  if (!body.subarray(0, 4).equals(MAGIC))
    throw badRequest('the body does not begin as Kubernetes protobuf does');
  const types = facts.types as unknown as Readonly<Record<string, FieldTable>>;
  const decoder = new Decoder(types, schemas);
  try {
    let apiVersion = '';
    let kind = '';
    let raw: Buffer = Buffer.alloc(0);
    for (const field of readFields(body.subarray(4))) {
      if (field.number === 1) {
        for (const part of readFields(bytesOf(field))) {
          if (part.number === 1) apiVersion = textOf(part);
          else if (part.number === 2) kind = textOf(part);
        }
      } else if (field.number === 2) {
        raw = bytesOf(field);
      }
    }
    const name = schemaOf(schemas, apiVersion, kind);
    if (name === undefined || !types[name]) {
      throw new MalformedProtobuf(`${kind} of ${apiVersion} cannot be read as protobuf here; send JSON`);
    }
    const value = decoder.message(raw, name, 0);
    return { value: { apiVersion, kind, ...value }, unknown: [...decoder.unknown] };
  } catch (error) {
    if (error instanceof MalformedProtobuf) throw badRequest(error.message);
    throw error;
  }
}

class MalformedProtobuf extends Error {}

function schemaOf(
  schemas: Readonly<Record<string, RawSchema>>,
  apiVersion: string,
  kind: string,
): string | undefined {
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  const version = apiVersion.slice(slash + 1);
  for (const [name, schema] of Object.entries(schemas)) {
    const kinds = schema['x-kubernetes-group-version-kind'] as
      | { group: string; version: string; kind: string }[]
      | undefined;
    if (kinds?.some((known) => known.kind === kind && known.group === group && known.version === version))
      return name;
  }
  return undefined;
}

interface Field {
  number: number;
  /** A varint, or the bytes of a length-delimited or fixed field. */
  value: bigint | Buffer;
}

function* readFields(bytes: Buffer): Iterable<Field> {
  let position = 0;
  const varint = (): bigint => {
    let result = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[position];
      if (byte === undefined || shift > 63n) throw new MalformedProtobuf('the protobuf body is malformed');
      position += 1;
      result |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return result;
    }
  };
  const take = (length: number): Buffer => {
    if (length > bytes.length - position) throw new MalformedProtobuf('the protobuf body is malformed');
    position += length;
    return bytes.subarray(position - length, position);
  };
  while (position < bytes.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0:
        yield { number, value: varint() };
        break;
      case 1:
        yield { number, value: take(8) };
        break;
      case 2:
        yield { number, value: take(Number(varint())) };
        break;
      case 5:
        yield { number, value: take(4) };
        break;
      default:
        throw new MalformedProtobuf('the protobuf body is malformed');
    }
  }
}

function bytesOf({ value }: Field): Buffer {
  if (typeof value === 'bigint') throw new MalformedProtobuf('the protobuf body is malformed');
  return value;
}

function textOf(field: Field): string {
  const bytes = bytesOf(field);
  const text = bytes.toString('utf8');
  if (text.includes('\ufffd') && !Buffer.from(text).equals(bytes)) {
    throw new MalformedProtobuf('a text of the protobuf body is not valid UTF-8');
  }
  return text;
}

/** Signed: negative int32 and int64 are ten bytes of two's complement. */
function integerOf({ value }: Field): number {
  if (typeof value !== 'bigint') throw new MalformedProtobuf('the protobuf body is malformed');
  return Number(BigInt.asIntN(64, value));
}

type Schema = RawSchema & {
  $ref?: string;
  type?: string;
  format?: string;
  allOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
};

const SPECIAL: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': (bytes) => firstText(bytes) || '0',
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': intOrString,
  'io.k8s.apimachinery.pkg.apis.meta.v1.Time': (bytes) => time(bytes, timestamp),
  'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': (bytes) => time(bytes, microTimestamp),
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1': embeddedJson,
  'io.k8s.apimachinery.pkg.runtime.RawExtension': embeddedJson,
};

class Decoder {
  readonly unknown = new Set<string>();
  private readonly types: Readonly<Record<string, FieldTable>>;
  private readonly schemas: Readonly<Record<string, RawSchema>>;

  constructor(types: Readonly<Record<string, FieldTable>>, schemas: Readonly<Record<string, RawSchema>>) {
    this.types = types;
    this.schemas = schemas;
  }

  message(bytes: Buffer, name: string, depth: number): Record<string, unknown> {
    const table = this.types[name];
    if (!table) throw new MalformedProtobuf(`${name} cannot be read as protobuf here; send JSON`);
    const into: Record<string, unknown> = {};
    const properties = (this.schemas[name] as Schema | undefined)?.properties ?? {};
    this.fill(into, bytes, { table, properties, name }, depth);
    return into;
  }

  private fill(
    into: Record<string, unknown>,
    bytes: Buffer,
    type: { table: FieldTable; properties: Record<string, Schema>; name: string },
    depth: number,
  ): void {
    if (depth > DEEPEST) throw new MalformedProtobuf('the protobuf body is nested too deeply');
    for (const field of readFields(bytes)) {
      const entry = type.table[field.number - 1];
      if (entry === undefined || entry === null) {
        this.unknown.add(`${type.name.split('.').at(-1)}#${field.number}`);
      } else if (Array.isArray(entry)) {
        this.fill(into, bytesOf(field), { ...type, table: entry }, depth + 1);
      } else {
        const schema = type.properties[entry];
        if (!schema) throw new MalformedProtobuf(`${type.name} has no field ${entry}`);
        this.put(into, entry, field, schema, depth + 1);
      }
    }
  }

  private put(into: Record<string, unknown>, name: string, field: Field, given: Schema, depth: number): void {
    const schema = this.resolve(given);
    if (schema.type === 'array' && schema.items) {
      const list = (into[name] as unknown[] | undefined) ?? [];
      list.push(this.value(field, schema.items, depth));
      into[name] = list;
    } else if (schema.additionalProperties) {
      const map = (into[name] as Record<string, unknown> | undefined) ?? {};
      this.entry(map, bytesOf(field), schema.additionalProperties, depth);
      into[name] = map;
    } else {
      into[name] = this.value(field, given, depth);
    }
  }

  private entry(map: Record<string, unknown>, bytes: Buffer, values: Schema, depth: number): void {
    let key = '';
    let value: unknown;
    for (const field of readFields(bytes)) {
      if (field.number === 1) key = textOf(field);
      else if (field.number === 2) value = this.value(field, values, depth);
    }
    if (key === '__proto__') throw new MalformedProtobuf('the field name "__proto__" is not allowed');
    map[key] = value ?? this.zero(values);
  }

  /** An absent map value is its type's zero. */
  private zero(schema: Schema): unknown {
    const { type } = this.resolve(schema);
    return type === 'string' ? '' : type === 'array' ? [] : type === 'integer' ? 0 : {};
  }

  private value(field: Field, given: Schema, depth: number): unknown {
    const name = referenceOf(given);
    const special = name === undefined ? undefined : SPECIAL[name];
    if (special) return special(bytesOf(field));
    const schema = this.resolve(given);
    switch (schema.type) {
      case 'string':
        return schema.format === 'byte' ? bytesOf(field).toString('base64') : textOf(field);
      case 'integer':
        return integerOf(field);
      case 'boolean':
        return field.value !== 0n;
      case 'number':
        return bytesOf(field).readDoubleLE(0);
      case 'array': {
        // A list inside a list or map is wrapped in a message {items = 1}.
        const list: unknown[] = [];
        for (const item of readFields(bytesOf(field))) {
          if (schema.items) list.push(this.value(item, schema.items, depth + 1));
        }
        return list;
      }
      default: {
        if (name !== undefined && this.types[name]) return this.message(bytesOf(field), name, depth);
        throw new MalformedProtobuf(`${name ?? 'a field'} cannot be read as protobuf here; send JSON`);
      }
    }
  }

  private resolve(schema: Schema): Schema {
    const name = referenceOf(schema);
    if (name === undefined || SPECIAL[name]) return schema;
    return (this.schemas[name] as Schema | undefined) ?? schema;
  }
}

function referenceOf(schema: Schema): string | undefined {
  return schema.$ref ?? schema.allOf?.[0]?.$ref;
}

function firstText(bytes: Buffer): string {
  for (const field of readFields(bytes)) if (field.number === 1) return textOf(field);
  return '';
}

function intOrString(bytes: Buffer): string | number {
  let isText = false;
  let number = 0;
  let text = '';
  for (const field of readFields(bytes)) {
    if (field.number === 1) isText = field.value === 1n;
    else if (field.number === 2) number = integerOf(field);
    else if (field.number === 3) text = textOf(field);
  }
  return isText ? text : number;
}

/** {seconds = 1, nanos = 2}; an empty message is Go's zero time, which JSON writes as null. */
function time(bytes: Buffer, write: (milliseconds: number) => string): string | null {
  if (bytes.length === 0) return null;
  let seconds = 0;
  let nanos = 0;
  for (const field of readFields(bytes)) {
    if (field.number === 1) seconds = integerOf(field);
    else if (field.number === 2) nanos = integerOf(field);
  }
  return write(seconds * 1000 + nanos / NANOS_PER_MILLI);
}

function embeddedJson(bytes: Buffer): unknown {
  for (const field of readFields(bytes)) {
    if (field.number !== 1) continue;
    try {
      return JSON.parse(textOf(field));
    } catch {
      throw new MalformedProtobuf('an embedded object is not JSON');
    }
  }
  return null;
}
