// The schemas of data/schemas.json compiled into nodes that decoding, patching and pruning walk. A node is made when
// it is first asked for, so that a server pays for the kinds it uses.
import { ALWAYS_WRITTEN, KEPT_WHEN_ZERO, SHED_WHEN_ZERO } from './schema-shape.ts';

/** An OpenAPI schema as the data file (or a CRD) states it; the parts that are read here. */
export interface SchemaFact {
  $ref?: string;
  type?: string;
  format?: string;
  required?: string[];
  properties?: Record<string, SchemaFact>;
  additionalProperties?: SchemaFact | boolean;
  items?: SchemaFact;
  allOf?: SchemaFact[];
  enum?: unknown[];
  default?: unknown;
  'x-kubernetes-patch-strategy'?: string;
  'x-kubernetes-patch-merge-key'?: string;
  'x-kubernetes-list-type'?: string;
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: string;
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[];
}

export interface SchemaFile {
  schemas: Record<string, SchemaFact>;
}

/** What goes over the wire for a Go zero value: an absent required field of this type is written as this. */
export type Zero = '' | 0 | false | null | 'object';

export type SchemaNode =
  | { readonly kind: 'string'; readonly format: 'byte' | 'date-time' | 'micro-time' | undefined }
  | { readonly kind: 'integer'; readonly format: 'int32' | 'int64' }
  | { readonly kind: 'number' }
  | { readonly kind: 'boolean' }
  | { readonly kind: 'quantity' }
  | { readonly kind: 'int-or-string' }
  /** Any JSON, kept as it is. */
  | { readonly kind: 'any' }
  | { readonly kind: 'map'; readonly values: SchemaNode; readonly atomic: boolean }
  | ListNode
  | StructNode;

export interface ListNode {
  readonly kind: 'list';
  readonly items: SchemaNode;
  readonly listType: 'atomic' | 'set' | 'map';
  readonly mapKeys: readonly string[];
}

export interface StructNode {
  readonly kind: 'struct';
  /** The type's name in Go, with the package: `v1.Container`. */
  readonly goType: string;
  readonly atomic: boolean;
  readonly fields: ReadonlyMap<string, FieldNode>;
  /** Fields that have to be written even if they were not given: required ones and Go's non-pointer structs. */
  readonly always: readonly FieldNode[];
  /** Fields that are not named hold any JSON (x-kubernetes-preserve-unknown-fields); absent: there are no others. */
  readonly open?: boolean;
}

export interface FieldNode {
  readonly name: string;
  readonly node: SchemaNode;
  /** A zero value ("" or 0 or false) that was given is written again. */
  readonly keepZero: boolean;
  /** What an absent field is written as; undefined: not at all. */
  readonly zero: Zero | undefined;
  readonly default: unknown;
  readonly patchStrategy: readonly string[];
  readonly mergeKey: string | undefined;
}

const SPECIAL: Readonly<Record<string, SchemaNode>> = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': { kind: 'quantity' },
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': { kind: 'int-or-string' },
  'io.k8s.apimachinery.pkg.apis.meta.v1.Time': { kind: 'string', format: 'date-time' },
  'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': { kind: 'string', format: 'micro-time' },
};

const PACKAGE_PREFIX =
  /^io\.k8s\.(?:api|apimachinery\.pkg\.apis|kube-aggregator\.pkg\.apis|apiextensions-apiserver\.pkg\.apis)\./;

/** All schemas by name (`io.k8s.api.core.v1.Pod`). */
export class Schemas {
  private readonly facts: Readonly<Record<string, SchemaFact>>;
  private readonly compiled = new Map<string, SchemaNode>();

  constructor(file: SchemaFile) {
    this.facts = file.schemas;
  }

  fact(name: string): SchemaFact | undefined {
    return Object.hasOwn(this.facts, name) ? this.facts[name] : undefined;
  }

  names(): string[] {
    return Object.keys(this.facts);
  }

  /** Undefined when there is no such schema. */
  node(name: string): SchemaNode | undefined {
    const ready = this.compiled.get(name);
    if (ready) return ready;
    const fact = this.fact(name);
    if (!fact) return undefined;
    const node = SPECIAL[name] ?? this.named(name, fact);
    this.compiled.set(name, node);
    return node;
  }

  /** The struct of a kind; throws when the schema is missing or is none. */
  struct(name: string): StructNode {
    const node = this.node(name);
    if (node?.kind !== 'struct') throw new Error(`no schema for ${name}`);
    return node;
  }

  private named(name: string, fact: SchemaFact): SchemaNode {
    if (fact.properties === undefined) return this.compile(fact, name);
    const parts = name.split('.');
    const fields = new Map<string, FieldNode>();
    const always: FieldNode[] = [];
    const struct: StructNode = {
      kind: 'struct',
      goType: parts.slice(-2).join('.'),
      atomic: fact['x-kubernetes-map-type'] === 'atomic',
      fields,
      always,
    };
    // Before the fields: types refer to themselves (JSONSchemaProps).
    this.compiled.set(name, struct);
    const short = name.replace(PACKAGE_PREFIX, '');
    const required = new Set(fact.required);
    for (const [fieldName, fieldFact] of Object.entries(fact.properties)) {
      const field = this.field(short, fieldName, fieldFact, required.has(fieldName));
      fields.set(fieldName, field);
      if (field.zero !== undefined) always.push(field);
    }
    return struct;
  }

  private field(type: string, name: string, fact: SchemaFact, required: boolean): FieldNode {
    const node = this.compile(fact, undefined);
    const table = `${type}.${name}`;
    const forced = ALWAYS_WRITTEN[table];
    const topLevel = name === 'apiVersion' || name === 'kind' || name === 'metadata';
    const writeZero = forced !== undefined || (required && !topLevel && !SHED_WHEN_ZERO.has(table));
    const zero = forced !== undefined ? forced : writeZero ? zeroOf(node) : undefined;
    return {
      name,
      node,
      keepZero: writeZero || keepsZero(table, name, node),
      zero,
      default: fact.default,
      patchStrategy: (fact['x-kubernetes-patch-strategy'] ?? '').split(',').filter((word) => word !== ''),
      mergeKey: fact['x-kubernetes-patch-merge-key'],
    };
  }

  private compile(fact: SchemaFact, name: string | undefined): SchemaNode {
    const ref = fact.$ref ?? fact.allOf?.[0]?.$ref;
    if (ref !== undefined && ref !== name) {
      const referred = this.node(ref) ?? { kind: 'any' };
      const mapType = fact['x-kubernetes-map-type'];
      // A field may narrow the type it refers to (nodeAffinity terms and selectors are atomic).
      return mapType !== undefined && referred.kind === 'struct'
        ? { ...referred, atomic: mapType === 'atomic' }
        : referred;
    }
    switch (fact.type) {
      case 'string':
        return {
          kind: 'string',
          format: fact.format === 'byte' || fact.format === 'date-time' ? fact.format : undefined,
        };
      case 'integer':
        return { kind: 'integer', format: fact.format === 'int32' ? 'int32' : 'int64' };
      case 'number':
        return { kind: 'number' };
      case 'boolean':
        return { kind: 'boolean' };
      case 'array':
        return {
          kind: 'list',
          items: this.compile(fact.items ?? {}, undefined),
          listType: listType(fact),
          mapKeys: fact['x-kubernetes-list-map-keys'] ?? [],
        };
      case 'object':
        if (typeof fact.additionalProperties === 'object') {
          return {
            kind: 'map',
            values: this.compile(fact.additionalProperties, undefined),
            atomic: fact['x-kubernetes-map-type'] === 'atomic',
          };
        }
        return { kind: 'any' };
      default:
        return { kind: 'any' };
    }
  }
}

function listType(fact: SchemaFact): ListNode['listType'] {
  const type = fact['x-kubernetes-list-type'];
  return type === 'set' || type === 'map' ? type : 'atomic';
}

function zeroOf(node: SchemaNode): Zero | undefined {
  switch (node.kind) {
    case 'string':
      return node.format === undefined ? '' : null;
    case 'integer':
    case 'number':
    case 'int-or-string':
      return 0;
    case 'boolean':
      return false;
    case 'quantity':
      return undefined;
    case 'struct':
      return 'object';
    case 'list':
    case 'map':
      return null;
    default:
      return undefined;
  }
}

/** Whether an optional field is a pointer in Go: then its zero value is something that was said. */
function keepsZero(table: string, name: string, node: SchemaNode): boolean {
  switch (node.kind) {
    case 'string':
      return KEPT_WHEN_ZERO.has(table) || KEPT_WHEN_ZERO.has(name);
    case 'integer':
    case 'boolean':
      return !(SHED_WHEN_ZERO.has(table) || SHED_WHEN_ZERO.has(name));
    default:
      return true;
  }
}
