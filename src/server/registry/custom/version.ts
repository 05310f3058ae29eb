// One served version of a definition: how its objects are decoded, converted, validated, scaled and printed.
import { type FieldError, StatusError } from '../../../api/errors.ts';
import { cloneJson, type Json, type JsonObject, type KubeObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import type { ResourceRef } from '../../../api/resource.ts';
import { apiVersionOf } from '../../../api/resource.ts';
import type { StructNode } from '../../../api/schema.ts';
import { type Decoded, decodeObject } from '../../../api/schema-decode.ts';
import {
  asObject,
  invalidValue,
  listAt,
  numberAt,
  objectAt,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import type { Conversion } from '../conversion.ts';
import { ageOf } from '../strategies/age.ts';
import type { Strategy } from '../strategy.ts';
import type { CelEngine, SchemaRules } from './cel/rules.ts';
import { dropNulls, isSettled, prune, setDefaults } from './coercion.ts';
import { isTrue } from './conditions.ts';
import { compileJsonPath, simplePath, valueAt } from './json-path.ts';
import { validateEmbedded, validateListTypes } from './list-types.ts';
import type { PatternEngine } from './patterns.ts';
import { structOf } from './schema-nodes.ts';
import { NO_PATH, validateSchema } from './schema-validation.ts';
import { compileStructural, type Structural } from './structural.ts';
import type { CustomColumn, CustomType, ScalePaths } from './types.ts';

export interface VersionOptions {
  /** The CustomResourceDefinition; shared with the store, read only. */
  definition: JsonObject;
  /** One of spec.versions. */
  version: JsonObject;
  /** Of metadata. */
  meta: StructNode;
  patterns: PatternEngine | undefined;
  rules: CelEngine | undefined;
}

const NO_MORE = 'create not allowed while custom resource definition is terminating';
const LARGEST_REPLICAS = 2147483647;

export class CustomVersion implements CustomType {
  readonly strategy: Strategy;
  readonly conversion: Conversion;
  readonly scale: ScalePaths | undefined;
  readonly columns: readonly CustomColumn[];
  private readonly version: JsonObject;
  private readonly meta: StructNode;
  private readonly kind: string;
  private readonly apiVersion: string;
  private readonly pruning: boolean;
  private readonly patterns: PatternEngine | undefined;
  private readonly engine: CelEngine | undefined;
  // Made when they are first asked for: a definition may have no objects, or none that anybody applies.
  private compiledSchema: Structural | undefined;
  private compiledRules: SchemaRules | undefined;
  private compiledStruct: StructNode | undefined;
  private readonly hasStatus: boolean;
  /** Its definition is being deleted. */
  private readonly ending: boolean;
  private readonly printers: readonly Printer[];
  /** Stored objects as this version shows them; good as long as the object's metadata is the very same. */
  private readonly views = new WeakMap<KubeObject, { view: KubeObject; metadata: object }>();

  constructor(options: VersionOptions) {
    const { definition, version, meta } = options;
    const spec = objectAt(definition, 'spec');
    const group = stringAt(spec, 'group');
    this.version = version;
    this.ending = isTrue(definition, 'Terminating');
    this.meta = meta;
    this.kind = stringAt(objectAt(spec, 'names'), 'kind');
    this.apiVersion = apiVersionOf({ group, version: stringAt(version, 'name') });
    this.pruning = spec.preserveUnknownFields !== true;
    this.patterns = options.patterns;
    this.engine = options.rules;
    const subresources = objectAt(version, 'subresources');
    this.hasStatus = subresources.status !== undefined;
    this.scale = scaleOf(asObject(subresources.scale));
    const storage = listAt(spec, 'versions').find((candidate) => candidate.storage === true);
    this.conversion = this.conversionTo({
      group,
      version: stringAt(storage, 'name'),
      resource: stringAt(objectAt(spec, 'names'), 'plural'),
    });
    this.printers = printersOf(version);
    this.columns = [
      { name: 'Name', type: 'string', format: 'name' },
      ...this.printers.map(({ column }) => column),
    ];
    this.strategy = this.strategyOf();
  }

  get struct(): StructNode {
    this.compiledStruct ??= structOf(this.schema, this.kind, this.meta);
    return this.compiledStruct;
  }

  private get schema(): Structural {
    this.compiledSchema ??= compileStructural(objectAt(objectAt(this.version, 'schema'), 'openAPIV3Schema'));
    return this.compiledSchema;
  }

  private get rules(): SchemaRules | undefined {
    if (!this.schema.has.rules) return undefined;
    this.compiledRules ??= this.engine?.compile(this.schema);
    return this.compiledRules;
  }

  decode(value: JsonObject, duplicateFields: readonly string[] | undefined): Decoded {
    const object = cloneJson(value);
    const strict = (duplicateFields ?? []).map((path) => `duplicate field "${path}"`);
    const { metadata: given } = object;
    const metadata = decodeObject(this.meta, given === undefined ? {} : given);
    delete object.metadata;
    for (const text of metadata.strict) strict.push(text.replace(/^(\w+ field ")/, '$1metadata.'));
    const unknown = this.pruning ? prune(object, this.schema) : [];
    for (const path of unknown) strict.push(`unknown field "${path}"`);
    dropNulls(object, this.schema);
    setDefaults(object, this.schema);
    object.metadata = metadata.object;
    return { object, strict };
  }

  cells(object: KubeObject, now: number): (string | number | boolean | null)[] {
    const plain = object as unknown as JsonObject;
    return [object.metadata.name ?? '', ...this.printers.map(({ print }) => print(plain, now))];
  }

  openApi(): JsonObject {
    const schema = objectAt(objectAt(this.version, 'schema'), 'openAPIV3Schema');
    const own = objectAt(schema, 'properties');
    const text = (description: string): JsonObject => ({ type: 'string', description });
    return {
      ...schema,
      type: 'object',
      properties: {
        ...own,
        apiVersion: text('The version of the schema that the object is written in, with its group.'),
        kind: text('The kind of the object.'),
        metadata: {
          description: "Standard object's metadata.",
          allOf: [{ $ref: 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' }],
        },
      },
    };
  }

  private conversionTo(storage: ResourceRef): Conversion {
    const stored = apiVersionOf(storage);
    return {
      storage,
      toStorage: (object) => ({ ...object, apiVersion: stored }),
      fromStorage: (object) => this.view(object),
    };
  }

  /** What was stored under another schema is pruned and defaulted on its way out; mostly there is nothing to do. */
  private view(stored: KubeObject): KubeObject {
    const ready = this.views.get(stored);
    if (ready && ready.metadata === stored.metadata) return ready.view;
    const plain = stored as unknown as JsonObject;
    let view = stored;
    if (!isSettled(plain, this.schema, true, this.pruning)) {
      const copy = cloneJson({ ...plain, metadata: null }) as JsonObject;
      delete copy.metadata;
      if (this.pruning) prune(copy, this.schema);
      dropNulls(copy, this.schema);
      setDefaults(copy, this.schema);
      view = { ...copy, apiVersion: this.apiVersion, metadata: stored.metadata } as unknown as KubeObject;
    } else if (stored.apiVersion !== this.apiVersion) view = { ...stored, apiVersion: this.apiVersion };
    this.views.set(stored, { view, metadata: stored.metadata });
    return view;
  }

  private strategyOf(): Strategy {
    const { hasStatus } = this;
    const fields = listAt(this.version, 'selectableFields').map((field) => stringAt(field, 'jsonPath'));
    const warning =
      this.version.deprecated === true
        ? stringAt(this.version, 'deprecationWarning') || `${this.apiVersion} ${this.kind} is deprecated`
        : undefined;
    return {
      hasGeneration: true,
      requireResourceVersionOnUpdate: true,
      validatesUpdates: false,
      anyFinalizer: true,
      warnings: finalizerWarnings,
      ...(warning === undefined ? {} : { deprecation: warning }),
      prepareForCreate: (object) => {
        if (this.ending) throw new StatusError('MethodNotAllowed', 405, NO_MORE, {});
        if (hasStatus) delete object.status;
      },
      prepareForUpdate: (object, old) => {
        // Without a status subresource the status is as good as any other field.
        if (hasStatus || jsonEqual(object.status, old.status)) return;
        const metadata = objectAt(object, 'metadata');
        const before = numberAt(objectAt(old, 'metadata'), 'generation') ?? 0;
        metadata.generation = before + 1;
      },
      validate: (object) => this.validate(object, undefined),
      validateUpdate: (object, old) => this.validate(object, old),
      validateStatusUpdate: (object, old) => this.validate(object, old),
      fieldLabelError: (field) => `field label not supported: ${field}`,
      selectableFields: Object.fromEntries(
        fields.map((path) => {
          const names = simplePath(path);
          return [names.join('.'), (object: JsonObject) => selectableText(valueAt(object, names))];
        }),
      ),
    };
  }

  /** Both are in stored form. */
  private validate(stored: JsonObject, storedBefore: JsonObject | undefined): FieldError[] {
    const object = this.shown(stored);
    const old = storedBefore && this.shown(storedBefore);
    const errors = validateSchema(object, old, this.schema, { patterns: this.patterns });
    errors.push(...this.validateScale(object), ...validateEmbedded(object, this.schema));
    // Items that were there twice before may stay so.
    const doubled = old ? validateListTypes(old, this.schema).length > 0 : false;
    if (!doubled) errors.push(...validateListTypes(object, this.schema));
    const { rules } = this;
    if (!rules) return errors;
    if (errors.some(({ reason }) => BLOCKING.has(reason))) errors.push(NOT_CHECKED);
    else errors.push(...rules.validate(object, old));
    return errors;
  }

  private shown(stored: JsonObject): JsonObject {
    const { metadata, ...rest } = stored;
    const { name, generateName } = objectAt({ metadata } as JsonObject, 'metadata');
    // Of metadata a schema may constrain these alone.
    return {
      ...rest,
      apiVersion: this.apiVersion,
      metadata: {
        ...(name === undefined ? {} : { name }),
        ...(generateName === undefined ? {} : { generateName }),
      },
    };
  }

  private validateScale(object: JsonObject): FieldError[] {
    if (!this.scale) return [];
    const errors: FieldError[] = [];
    for (const path of [this.scale.specReplicas, this.scale.statusReplicas]) {
      const field = `.${path.join('.')}`;
      const found = access(object, path, 'int64');
      if (found.problem !== undefined) errors.push(invalidValue(field, 0, found.problem));
      else if (typeof found.value === 'number') {
        if (found.value < 0)
          errors.push(invalidValue(field, found.value, 'should be a non-negative integer'));
        else if (found.value > LARGEST_REPLICAS) {
          errors.push(
            invalidValue(field, found.value, `should be less than or equal to ${LARGEST_REPLICAS}`),
          );
        }
      }
    }
    const { labelSelector } = this.scale;
    if (labelSelector) {
      const { problem } = access(object, labelSelector, 'string');
      if (problem !== undefined) errors.push(invalidValue(`.${labelSelector.join('.')}`, '', problem));
    }
    return errors;
  }
}

const STANDARD_FINALIZERS = new Set(['kubernetes', 'orphan', 'foregroundDeletion']);

function finalizerWarnings(object: JsonObject, old: JsonObject | undefined): string[] {
  const before = stringsAt(objectAt(old, 'metadata'), 'finalizers');
  return stringsAt(objectAt(object, 'metadata'), 'finalizers')
    .filter((name) => !name.includes('/') && !STANDARD_FINALIZERS.has(name) && !before.includes(name))
    .map(
      (name) =>
        `metadata.finalizers: ${JSON.stringify(name)}: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers`,
    );
}

const BLOCKING: ReadonlySet<string> = new Set([
  'FieldValueNotSupported',
  'FieldValueRequired',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueTypeInvalid',
]);
const NOT_CHECKED: FieldError = invalidValue(
  NO_PATH,
  'null',
  'some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
);

function selectableText(value: Json | undefined): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

function scaleOf(scale: JsonObject | undefined): ScalePaths | undefined {
  if (!scale) return undefined;
  const selector = stringAt(scale, 'labelSelectorPath');
  return {
    specReplicas: simplePath(stringAt(scale, 'specReplicasPath')),
    statusReplicas: simplePath(stringAt(scale, 'statusReplicasPath')),
    labelSelector: selector === '' ? undefined : simplePath(selector),
  };
}

/** As unstructured.NestedInt64 and NestedString find a value, with their complaints. */
function access(
  object: JsonObject,
  path: readonly string[],
  wanted: 'int64' | 'string',
): { value?: Json; problem?: string } {
  let value: Json = object;
  const field = `.${path.join('.')}`;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return { problem: `${field} accessor error: ${described(value)}, expected map[string]interface {}` };
    }
    const next: Json | undefined = Object.hasOwn(value, name) ? value[name] : undefined;
    if (next === undefined) return {};
    value = next;
  }
  const fits = wanted === 'string' ? typeof value === 'string' : Number.isInteger(value);
  return fits ? { value } : { problem: `${field} accessor error: ${described(value)}, expected ${wanted}` };
}

function described(value: Json): string {
  if (value === null) return '<nil> is of the type <nil>';
  if (Array.isArray(value)) return `${JSON.stringify(value)} is of the type []interface {}`;
  switch (typeof value) {
    case 'string':
      return `${value} is of the type string`;
    case 'number':
      return `${value} is of the type ${Number.isInteger(value) ? 'int64' : 'float64'}`;
    case 'boolean':
      return `${value} is of the type bool`;
    default:
      return `${JSON.stringify(value)} is of the type map[string]interface {}`;
  }
}

interface Printer {
  readonly column: CustomColumn;
  readonly print: (object: JsonObject, now: number) => string | number | boolean | null;
}

const AGE: Printer = {
  column: { name: 'Age', type: 'date' },
  print: (object, now) => ageOf(objectAt(object, 'metadata').creationTimestamp, now),
};

function printersOf(version: JsonObject): Printer[] {
  const columns = listAt(version, 'additionalPrinterColumns');
  return columns.length === 0 ? [AGE] : columns.map(printerOf);
}

function printerOf(column: JsonObject): Printer {
  const path = stringAt(column, 'jsonPath');
  const type = stringAt(column, 'type');
  const read = reader(path);
  return {
    column: {
      name: stringAt(column, 'name'),
      type,
      format: stringAt(column, 'format'),
      description:
        stringAt(column, 'description') || `Custom resource definition column (in JSONPath format): ${path}`,
      priority: numberAt(column, 'priority') ?? 0,
    },
    print: (object, now) => {
      const [value] = read(object);
      return value === undefined ? null : cell(type, value, now);
    },
  };
}

function reader(path: string): (object: JsonObject) => Json[] {
  try {
    return compileJsonPath(path);
  } catch {
    return () => [];
  }
}

function cell(type: string, value: Json, now: number): string | number | boolean | null {
  if (value === null) return null;
  switch (type) {
    case 'string':
      return typeof value === 'object' ? JSON.stringify(value) : String(value);
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null;
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'date': {
      if (typeof value !== 'string') return null;
      return Number.isNaN(Date.parse(value)) ? '<invalid>' : ageOf(value, now);
    }
    default:
      return null;
  }
}
