// The schema of a custom resource compiled once into nodes that pruning, defaulting, validation, rules and patches walk.
import type { Json, JsonObject } from '../../../api/object.ts';
import { asObject, listAt, numberAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';

/** One `x-kubernetes-validations` entry as it was written. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly messageExpression: string;
  readonly reason: string;
  readonly fieldPath: string;
  readonly optionalOldSelf: boolean;
}

export interface Structural {
  /** '' where the schema names none (int-or-string, parts of anyOf). */
  readonly type: string;
  readonly format: string;
  readonly properties: ReadonlyMap<string, Structural> | undefined;
  /** `true`: any value. */
  readonly additional: Structural | true | undefined;
  readonly items: Structural | undefined;
  readonly default: Json | undefined;
  readonly nullable: boolean;
  readonly intOrString: boolean;
  /** x-kubernetes-preserve-unknown-fields */
  readonly preserves: boolean;
  /** x-kubernetes-embedded-resource */
  readonly embedded: boolean;
  readonly listType: 'atomic' | 'set' | 'map';
  readonly mapKeys: readonly string[];
  readonly atomicMap: boolean;
  readonly checks: Checks | undefined;
  readonly rules: readonly Rule[];
  /** Whether this node or one below it has … ; walks stop where there is nothing to find. */
  readonly has: {
    readonly defaults: boolean;
    readonly rules: boolean;
    readonly lists: boolean;
    readonly embedded: boolean;
  };
}

/** What constrains values without saying what they are. */
export interface Checks {
  readonly required: readonly string[];
  readonly enum: readonly Json[] | undefined;
  readonly pattern: string;
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
  readonly exclusiveMinimum: boolean;
  readonly exclusiveMaximum: boolean;
  readonly multipleOf: number | undefined;
  readonly minLength: number | undefined;
  readonly maxLength: number | undefined;
  readonly minItems: number | undefined;
  readonly maxItems: number | undefined;
  readonly minProperties: number | undefined;
  readonly maxProperties: number | undefined;
  readonly uniqueItems: boolean;
  readonly allOf: readonly Structural[];
  readonly anyOf: readonly Structural[];
  readonly oneOf: readonly Structural[];
  readonly not: Structural | undefined;
}

/** A schema nested deeper was refused when it was written; this only keeps a broken store from exhausting the stack. */
const DEEPEST = 200;

export function compileStructural(schema: JsonObject, depth = 0): Structural {
  if (depth > DEEPEST) throw new Error('the schema is nested too deep');
  const below = (child: JsonObject): Structural => compileStructural(child, depth + 1);
  const properties = asObject(schema.properties);
  const additional = schema.additionalProperties;
  const items = asObject(schema.items);
  const node = {
    type: stringAt(schema, 'type'),
    format: stringAt(schema, 'format'),
    properties: properties
      ? new Map(Object.keys(properties).map((name) => [name, below(objectAt(properties, name))]))
      : undefined,
    additional:
      additional === true
        ? (true as const)
        : asObject(additional)
          ? below(objectAt(schema, 'additionalProperties'))
          : undefined,
    items: items ? below(items) : undefined,
    default: schema.default as Json | undefined,
    nullable: schema.nullable === true,
    intOrString: schema['x-kubernetes-int-or-string'] === true,
    preserves: schema['x-kubernetes-preserve-unknown-fields'] === true,
    embedded: schema['x-kubernetes-embedded-resource'] === true,
    listType: listTypeOf(schema),
    mapKeys: stringsAt(schema, 'x-kubernetes-list-map-keys'),
    atomicMap: schema['x-kubernetes-map-type'] === 'atomic',
    checks: checksOf(schema, below),
    rules: listAt(schema, 'x-kubernetes-validations').map(ruleOf),
  };
  return { ...node, has: contents(node) };
}

function listTypeOf(schema: JsonObject): Structural['listType'] {
  const type = schema['x-kubernetes-list-type'];
  return type === 'set' || type === 'map' ? type : 'atomic';
}

function ruleOf(rule: JsonObject): Rule {
  return {
    rule: stringAt(rule, 'rule'),
    message: stringAt(rule, 'message'),
    messageExpression: stringAt(rule, 'messageExpression'),
    reason: stringAt(rule, 'reason'),
    fieldPath: stringAt(rule, 'fieldPath'),
    optionalOldSelf: rule.optionalOldSelf === true,
  };
}

const CHECKED = [
  'required',
  'enum',
  'pattern',
  'minimum',
  'maximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
  'uniqueItems',
  'allOf',
  'anyOf',
  'oneOf',
  'not',
];

function checksOf(schema: JsonObject, below: (child: JsonObject) => Structural): Checks | undefined {
  if (!CHECKED.some((name) => schema[name] !== undefined)) return undefined;
  const not = asObject(schema.not);
  return {
    required: stringsAt(schema, 'required'),
    enum: Array.isArray(schema.enum) && schema.enum.length > 0 ? schema.enum : undefined,
    pattern: stringAt(schema, 'pattern'),
    minimum: numberAt(schema, 'minimum'),
    maximum: numberAt(schema, 'maximum'),
    exclusiveMinimum: schema.exclusiveMinimum === true,
    exclusiveMaximum: schema.exclusiveMaximum === true,
    multipleOf: numberAt(schema, 'multipleOf'),
    minLength: numberAt(schema, 'minLength'),
    maxLength: numberAt(schema, 'maxLength'),
    minItems: numberAt(schema, 'minItems'),
    maxItems: numberAt(schema, 'maxItems'),
    minProperties: numberAt(schema, 'minProperties'),
    maxProperties: numberAt(schema, 'maxProperties'),
    uniqueItems: schema.uniqueItems === true,
    allOf: listAt(schema, 'allOf').map(below),
    anyOf: listAt(schema, 'anyOf').map(below),
    oneOf: listAt(schema, 'oneOf').map(below),
    not: not && below(not),
  };
}

function contents(node: Omit<Structural, 'has'>): Structural['has'] {
  const parts = [...(node.properties?.values() ?? [])];
  if (node.items) parts.push(node.items);
  if (node.additional && node.additional !== true) parts.push(node.additional);
  const within = [...parts, ...(node.checks?.allOf ?? [])];
  return {
    defaults: node.default !== undefined || parts.some(({ has }) => has.defaults),
    rules: node.rules.length > 0 || within.some(({ has }) => has.rules),
    lists: node.listType !== 'atomic' || parts.some(({ has }) => has.lists),
    embedded: node.embedded || parts.some(({ has }) => has.embedded),
  };
}

/** Which engines the schemas of a definition need: neither is loaded for a definition that has no use for it. */
export function enginesNeeded(definition: JsonObject): { patterns: boolean; rules: boolean } {
  const needed = { patterns: false, rules: false };
  for (const version of listAt(objectAt(definition, 'spec'), 'versions')) {
    look(objectAt(version, 'schema'), needed, 0);
  }
  return needed;
}

function look(value: Json, needed: { patterns: boolean; rules: boolean }, depth: number): void {
  if (typeof value !== 'object' || value === null || depth > 2 * DEEPEST) return;
  if (Array.isArray(value)) {
    for (const item of value) look(item, needed, depth + 1);
    return;
  }
  if (typeof value.pattern === 'string') needed.patterns = true;
  if (Array.isArray(value['x-kubernetes-validations'])) needed.rules = true;
  for (const child of Object.values(value)) if (child !== undefined) look(child, needed, depth + 1);
}
