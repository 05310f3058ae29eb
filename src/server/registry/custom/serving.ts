// Everything about custom resources that a server without definitions does not load.
import type { ResourceInfo, SubresourceInfo } from '../../../api/catalogue.ts';
import type { FieldError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import type { StructNode } from '../../../api/schema.ts';
import { asObject, invalidValue, listAt, objectAt, stringAt, stringsAt } from '../../../api/validation.ts';
import { CelEngine, type RuleProblem } from './cel/rules.ts';
import { loadPatterns, type PatternEngine } from './patterns.ts';
import { validateSchema } from './schema-validation.ts';
import { compileStructural, enginesNeeded, type Structural } from './structural.ts';
import type { CustomType } from './types.ts';
import { CustomVersion } from './version.ts';

const VERBS = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];
const SUBRESOURCE_VERBS = ['get', 'patch', 'update'];

export class Serving {
  private readonly meta: StructNode;
  private patterns: PatternEngine | undefined;
  private rules: CelEngine | undefined;

  constructor(meta: StructNode) {
    this.meta = meta;
  }

  /** Loads the engines that the schemas of a definition need. */
  async prepare(definition: JsonObject): Promise<void> {
    const needed = enginesNeeded(definition);
    if (needed.patterns || needed.rules) this.patterns ??= await loadPatterns();
    if (needed.rules && this.patterns) this.rules ??= await CelEngine.load(this.patterns);
  }

  compile(definition: JsonObject, version: JsonObject): CustomType {
    return new CustomVersion({
      definition,
      version,
      meta: this.meta,
      patterns: this.patterns,
      rules: this.rules,
    });
  }

  /** The patterns and rules of a definition that do not compile, and the defaults that their own schema refuses. After `prepare`; schemas must have their right form. */
  problems(definition: JsonObject): FieldError[] {
    return listAt(objectAt(definition, 'spec'), 'versions').flatMap((version, index) => {
      const schema = asObject(objectAt(version, 'schema').openAPIV3Schema);
      if (!schema) return [];
      return this.problemsIn(schema, `spec.versions[${index}].schema.openAPIV3Schema`);
    });
  }

  private problemsIn(schema: JsonObject, path: string): FieldError[] {
    try {
      return this.problemsOf(schema, path);
    } catch {
      // A schema of the wrong form: its own rules have told.
      return [];
    }
  }

  private problemsOf(raw: JsonObject, path: string): FieldError[] {
    const errors: FieldError[] = [];
    const schema = compileStructural(raw);
    const places = new Map<Structural, string>();
    locate(schema, path, places);
    for (const [node, at] of places) {
      const pattern = node.checks?.pattern ?? '';
      const why = pattern === '' ? undefined : this.patternProblem(pattern);
      if (why !== undefined) errors.push(invalidValue(`${at}.pattern`, pattern, why));
      else if (node.default !== undefined) {
        const context = { patterns: this.patterns };
        errors.push(...validateSchema(node.default, undefined, node, context, `${at}.default`));
      }
    }
    if (!this.rules || !schema.has.rules) return errors;
    for (const problem of this.rules.compile(schema).problems) {
      errors.push(ruleError(problem, places.get(problem.schema) ?? path));
    }
    return errors;
  }

  private patternProblem(pattern: string): string | undefined {
    try {
      this.patterns?.compile(pattern);
      return undefined;
    } catch (error) {
      return `must be a valid regular expression, but isn't: ${(error as Error).message}`;
    }
  }
}

function ruleError({ schema, index, field, detail }: RuleProblem, path: string): FieldError {
  const rule = schema.rules[index];
  return invalidValue(
    `${path}.x-kubernetes-validations[${index}].${field}`,
    field === 'rule' ? rule?.rule : rule?.messageExpression,
    detail,
  );
}

function locate(schema: Structural, path: string, places: Map<Structural, string>): void {
  places.set(schema, path);
  for (const [name, property] of schema.properties ?? [])
    locate(property, `${path}.properties[${name}]`, places);
  if (schema.items) locate(schema.items, `${path}.items`, places);
  const { additional, checks } = schema;
  if (additional && additional !== true) locate(additional, `${path}.additionalProperties`, places);
  for (const list of ['allOf', 'anyOf', 'oneOf'] as const) {
    checks?.[list].forEach((part, index) => {
      locate(part, `${path}.${list}[${index}]`, places);
    });
  }
  if (checks?.not) locate(checks.not, `${path}.not`, places);
}

/** The entries of the catalogue that a definition stands for, one for each served version, with its version. */
export function entriesOf(definition: JsonObject): { info: ResourceInfo; version: JsonObject }[] {
  const spec = objectAt(definition, 'spec');
  const names = objectAt(objectAt(definition, 'status'), 'acceptedNames');
  const kind = stringAt(names, 'kind');
  return listAt(spec, 'versions')
    .filter((version) => version.served === true && isConvertible(spec, version))
    .map((version) => ({
      version,
      info: {
        group: stringAt(spec, 'group'),
        version: stringAt(version, 'name'),
        resource: stringAt(names, 'plural'),
        kind,
        listKind: stringAt(names, 'listKind') || `${kind}List`,
        singular: stringAt(names, 'singular'),
        namespaced: spec.scope === 'Namespaced',
        verbs: VERBS,
        shortNames: stringsAt(names, 'shortNames'),
        categories: stringsAt(names, 'categories'),
        subresources: subresourcesOf(version, kind),
        schema: undefined,
        custom: true,
      },
    }));
}

/** Webhooks are not called: where they convert, only the version that is stored can be shown truthfully. */
export function isConvertible(spec: JsonObject, version: JsonObject): boolean {
  return objectAt(spec, 'conversion').strategy !== 'Webhook' || version.storage === true;
}

function subresourcesOf(version: JsonObject, kind: string): SubresourceInfo[] {
  const subresources = objectAt(version, 'subresources');
  const list: SubresourceInfo[] = [];
  if (subresources.status !== undefined) list.push({ name: 'status', kind, verbs: SUBRESOURCE_VERBS });
  if (subresources.scale !== undefined) {
    list.push({
      name: 'scale',
      kind: 'Scale',
      group: 'autoscaling',
      version: 'v1',
      verbs: SUBRESOURCE_VERBS,
    });
  }
  return list;
}
