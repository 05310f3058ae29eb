// Custom objects as CEL sees them: types declared from the schema, values converted by it. Fields with unknown content
// (x-kubernetes-preserve-unknown-fields without a type) are not visible to rules, as in Kubernetes.
import type { Environment } from '@marcbachmann/cel-js';
import type { Json, JsonObject } from '../../../../api/object.ts';
import type { Structural } from '../structural.ts';

/** The library's constructors that values are made with. */
export interface CelTypes {
  duration(text: string): unknown;
}

export type Converter = (value: Json) => unknown;

export interface Declared {
  /** The type's name in CEL; undefined where the schema says nothing that a rule could use. */
  readonly name: string;
  readonly convert: Converter;
}

const RESERVED = new Set([
  'true',
  'false',
  'null',
  'in',
  'as',
  'break',
  'const',
  'continue',
  'else',
  'for',
  'function',
  'if',
  'import',
  'let',
  'loop',
  'package',
  'namespace',
  'return',
  'var',
  'void',
  'while',
]);

/** A property's name as rules write it; undefined when no rule can. */
export function escapedName(name: string): string | undefined {
  if (RESERVED.has(name)) return `__${name}__`;
  if (!/^[A-Za-z_.\-/][A-Za-z0-9_.\-/]*$/.test(name)) return undefined;
  return name
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}

const OBJECT_META: Structural['properties'] = new Map(
  ['name', 'generateName'].map((name) => [name, plain('string')] as const),
);

function plain(type: string, properties?: Structural['properties']): Structural {
  return {
    type,
    format: '',
    properties,
    additional: undefined,
    items: undefined,
    default: undefined,
    nullable: false,
    intOrString: false,
    preserves: false,
    embedded: false,
    listType: 'atomic',
    mapKeys: [],
    atomicMap: false,
    checks: undefined,
    rules: [],
    has: { defaults: false, rules: false, lists: false, embedded: false },
  };
}

/** Declares the types of a schema in an environment, each node once. */
export class TypeDeclarations {
  private readonly environment: Environment;
  private readonly types: CelTypes;
  private readonly known = new Map<Structural, Declared | undefined>();
  private count = 0;

  constructor(environment: Environment, types: CelTypes) {
    this.environment = environment;
    this.types = types;
  }

  /** `root`: apiVersion, kind and metadata are there whatever the schema says. */
  declare(schema: Structural, root: boolean): Declared | undefined {
    if (this.known.has(schema)) return this.known.get(schema);
    const declared = this.make(schema, root || schema.embedded);
    this.known.set(schema, declared);
    return declared;
  }

  private make(schema: Structural, resource: boolean): Declared | undefined {
    if (schema.intOrString) return { name: 'dyn', convert: scalar };
    switch (schema.type) {
      case 'string':
        return this.text(schema.format);
      case 'integer':
        return {
          name: 'int',
          convert: (value) => (typeof value === 'number' ? BigInt(Math.trunc(value)) : value),
        };
      case 'number':
        return { name: 'double', convert: (value) => value };
      case 'boolean':
        return { name: 'bool', convert: (value) => value };
      case 'array': {
        const items = schema.items && this.declare(schema.items, false);
        if (!items) return undefined;
        return {
          name: `list<${items.name}>`,
          convert: (value) => (Array.isArray(value) ? value.map((item) => convertOne(items, item)) : value),
        };
      }
      case 'object':
        return this.object(schema, resource);
      default:
        return undefined;
    }
  }

  private text(format: string): Declared {
    switch (format) {
      case 'date':
      case 'date-time':
        return {
          name: 'google.protobuf.Timestamp',
          convert: (value) => (typeof value === 'string' ? new Date(value) : value),
        };
      case 'duration':
        return {
          name: 'google.protobuf.Duration',
          convert: (value) => (typeof value === 'string' ? this.types.duration(value) : value),
        };
      case 'byte':
        return {
          name: 'bytes',
          convert: (value) =>
            typeof value === 'string' ? new Uint8Array(Buffer.from(value, 'base64')) : value,
        };
      default:
        return { name: 'string', convert: (value) => value };
    }
  }

  private object(schema: Structural, resource: boolean): Declared | undefined {
    const { additional } = schema;
    if (additional && additional !== true) {
      const values = this.declare(additional, false);
      if (!values) return undefined;
      return { name: `map<string, ${values.name}>`, convert: (value) => mapOf(value, values) };
    }
    if (additional === true) return { name: 'map<string, dyn>', convert: (value) => mapOf(value, DYNAMIC) };
    return this.struct(schema, resource);
  }

  private struct(schema: Structural, resource: boolean): Declared {
    const properties = new Map<string, Structural>(schema.properties ?? []);
    if (resource) {
      properties.set('apiVersion', plain('string'));
      properties.set('kind', plain('string'));
      properties.set('metadata', plain('object', OBJECT_META));
    }
    const fields: Record<string, string> = Object.create(null);
    const parts: [name: string, escaped: string, type: Declared][] = [];
    for (const [name, property] of properties) {
      const escaped = escapedName(name);
      const type = escaped === undefined ? undefined : this.declare(property, false);
      if (escaped === undefined || !type) continue;
      fields[escaped] = type.name;
      parts.push([name, escaped, type]);
    }
    this.count += 1;
    const name = `Object${this.count}`;
    // One constructor for each type: the library tells values apart by it.
    const Value = class {};
    this.environment.registerType(name, { ctor: Value, fields } as never);
    // Objects are equal when their fields are.
    const equal = (left: object, right: object): boolean => sameValue(left, right);
    this.environment.registerOperator(`${name} == ${name}`, equal as never);
    return {
      name,
      convert: (value) => {
        if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
        const made = new Value() as Record<string, unknown>;
        for (const [own, escaped, type] of parts) {
          const given = Object.hasOwn(value, own) ? value[own] : undefined;
          if (given !== undefined) made[escaped] = convertOne(type, given);
        }
        return made;
      },
    };
  }
}

const DYNAMIC: Declared = { name: 'dyn', convert: dynamic };

function convertOne(type: Declared, value: Json): unknown {
  return value === null ? null : type.convert(value);
}

function scalar(value: Json): unknown {
  return typeof value === 'number' && Number.isInteger(value) ? BigInt(value) : value;
}

function dynamic(value: Json): unknown {
  if (Array.isArray(value)) return value.map(dynamic);
  if (typeof value === 'object' && value !== null) return mapOf(value, DYNAMIC);
  return scalar(value);
}

function mapOf(value: Json, values: Declared): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const map = new Map<string, unknown>();
  for (const key of Object.keys(value)) map.set(key, convertOne(values, (value as JsonObject)[key] as Json));
  return map;
}

function sameValue(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (left instanceof Date || right instanceof Date) return String(left) === String(right);
  if (left.constructor !== right.constructor) return false;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item, index) => sameValue(item, right[index]));
  }
  if (left instanceof Map && right instanceof Map) {
    if (left.size !== right.size) return false;
    for (const [key, value] of left) if (!right.has(key) || !sameValue(value, right.get(key))) return false;
    return true;
  }
  if (left instanceof Uint8Array) return Buffer.compare(left, right as Uint8Array) === 0;
  const keys = Object.keys(left);
  if (keys.length === 0 && 'seconds' in left) return String(left) === String(right);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) =>
      sameValue((left as Record<string, unknown>)[key], (right as Record<string, unknown>)[key]),
    )
  );
}
