// x-kubernetes-validations: rules compiled by the schema they stand in, and run on objects.
import type { ASTNode, Environment, EvaluationError, Optional, ParseResult } from '@marcbachmann/cel-js';
import type { FieldError } from '../../../../api/errors.ts';
import type { Json } from '../../../../api/object.ts';
import { jsonEqual } from '../../../../api/patch-json.ts';
import { duplicate, forbiddenField, invalidValue, required } from '../../../../api/validation.ts';
import type { PatternEngine } from '../patterns.ts';
import { mapKeyOf, NO_PATH } from '../schema-validation.ts';
import type { Rule, Structural } from '../structural.ts';
import { Budget, meter } from './budget.ts';
import { registerLibrary, SAFE_MATCHES } from './library.ts';
import { type Declared, TypeDeclarations } from './values.ts';

/** Compiling takes the time that the server has for others; the largest definitions in use have a few hundred. */
const MOST_RULES = 2000;
const LONGEST_MESSAGE = 5 * 1024;
const LIMITS = {
  maxAstNodes: 10_000,
  maxDepth: 200,
  maxListElements: 1000,
  maxMapEntries: 1000,
  maxCallArguments: 32,
};

/** The CEL library, loaded with the first definition that has rules. */
export class CelEngine {
  private readonly base: Environment;
  private readonly optional: typeof Optional;

  private constructor(base: Environment, optional: typeof Optional) {
    this.base = base;
    this.optional = optional;
  }

  static async load(patterns: PatternEngine): Promise<CelEngine> {
    const library = await import('@marcbachmann/cel-js');
    const base = new library.Environment({
      enableOptionalTypes: true,
      homogeneousAggregateLiterals: false,
      limits: LIMITS,
    });
    registerLibrary(base, library.Optional, patterns);
    return new CelEngine(base, library.Optional);
  }

  /** Compiles every rule of a schema. Never throws: what is wrong is in `problems`. */
  compile(schema: Structural): SchemaRules {
    return new SchemaRules(schema, this.base.clone(), this.optional, (text) => this.duration(text));
  }

  private duration(text: string): unknown {
    return this.base.evaluate(`duration(${JSON.stringify(text)})`);
  }
}

/** A rule that does not compile. */
export interface RuleProblem {
  /** Where its schema stands: names of properties, `items`, `additionalProperties`. */
  readonly schema: Structural;
  readonly index: number;
  readonly field: 'rule' | 'messageExpression';
  readonly detail: string;
}

/** What the variables of a rule are called in the environment. */
interface Scope {
  readonly self: string;
  readonly oldSelf: string;
}

interface CompiledRule {
  readonly rule: Rule;
  readonly scope: Scope;
  readonly run: ParseResult | undefined;
  readonly message: ParseResult | undefined;
  readonly usesOldSelf: boolean;
}

interface Node {
  readonly schema: Structural;
  readonly declared: Declared;
  readonly rules: readonly CompiledRule[];
}

export class SchemaRules {
  readonly problems: RuleProblem[] = [];
  private readonly root: Structural;
  private readonly environment: Environment;
  private readonly optional: typeof Optional;
  private readonly types: TypeDeclarations;
  private readonly nodes = new Map<Structural, Node>();
  private budget = new Budget();
  private count = 0;

  constructor(
    root: Structural,
    environment: Environment,
    optional: typeof Optional,
    duration: (text: string) => unknown,
  ) {
    this.root = root;
    this.environment = environment;
    this.optional = optional;
    this.types = new TypeDeclarations(environment, { duration });
    // All types before any rule: an environment that was cloned takes no more.
    this.declareAll(root, true);
    this.compileAll(root, root, true, true);
    if (this.count > MOST_RULES) {
      const detail = `too many rules: at most ${MOST_RULES} are allowed`;
      this.problems.push({ schema: root, index: 0, field: 'rule', detail });
    }
  }

  /** Every rule that the object breaks; `old` for an update. */
  validate(object: Json, old: Json | undefined): FieldError[] {
    this.budget = new Budget();
    const errors: FieldError[] = [];
    this.walk(object, old, this.root, '', undefined, errors);
    return errors;
  }

  private declareAll(schema: Structural, root: boolean): void {
    if (!schema.has.rules) return;
    this.types.declare(schema, root);
    for (const child of below(schema)) this.declareAll(child, false);
  }

  /** `shape` says what the value is where `schema` (a part of an allOf) only constrains it. */
  private compileAll(schema: Structural, shape: Structural, root: boolean, correlated: boolean): void {
    if (!schema.has.rules) return;
    const declared = this.types.declare(shape, root);
    if (!declared) return;
    if (schema.rules.length > 0) {
      this.count += schema.rules.length;
      if (this.count > MOST_RULES) return;
      const rules = schema.rules.map((rule, index) =>
        this.compileRule(schema, rule, index, this.scopeOf(declared.name, rule.optionalOldSelf), correlated),
      );
      this.nodes.set(schema, { schema, declared, rules });
    }
    for (const part of schema.checks?.allOf ?? []) this.compileAll(part, shape, root, correlated);
    const { items, properties, additional } = schema;
    if (items) this.compileAll(items, shape.items ?? items, false, correlated && shape.listType === 'map');
    for (const [name, property] of properties ?? []) {
      this.compileAll(
        property,
        shape.properties?.get(name) ?? property,
        false,
        correlated && !shape.atomicMap,
      );
    }
    if (additional && additional !== true) {
      const own = shape.additional && shape.additional !== true ? shape.additional : additional;
      this.compileAll(additional, own, false, correlated && !shape.atomicMap);
    }
  }

  /**
   * All rules are compiled in one environment, in which `self` has another name for each of its types: an environment for
   * each would cost a large definition many megabytes.
   */
  private scopeOf(type: string, optional: boolean): Scope {
    const old = optional ? `optional<${type}>` : type;
    const scope = { self: `self#${type}`, oldSelf: `oldSelf#${old}` };
    if (!this.environment.hasVariable(scope.self)) this.environment.registerVariable(scope.self, type);
    if (!this.environment.hasVariable(scope.oldSelf)) this.environment.registerVariable(scope.oldSelf, old);
    return scope;
  }

  private compileRule(
    schema: Structural,
    rule: Rule,
    index: number,
    scope: Scope,
    correlated: boolean,
  ): CompiledRule {
    const run = this.expression(schema, rule.rule, index, 'rule', scope, 'bool');
    const message =
      rule.messageExpression.trim() === ''
        ? undefined
        : this.expression(schema, rule.messageExpression, index, 'messageExpression', scope, 'string');
    const usesOldSelf = run !== undefined && mentions(run.ast, scope.oldSelf);
    if (usesOldSelf && !correlated) {
      this.problems.push({
        schema,
        index,
        field: 'rule',
        detail: 'oldSelf cannot be used on the uncorrelatable portion of the schema',
      });
    }
    return { rule, scope, run, message, usesOldSelf };
  }

  private expression(
    schema: Structural,
    text: string,
    index: number,
    field: RuleProblem['field'],
    scope: Scope,
    wanted: 'bool' | 'string',
  ): ParseResult | undefined {
    const refuse = (detail: string): undefined => {
      this.problems.push({ schema, index, field, detail });
      return undefined;
    };
    if (text.trim() === '') return undefined;
    try {
      const parsed = this.environment.parse(text);
      rename(parsed.ast, scope);
      const { valid, type, error } = parsed.check();
      if (!valid) return refuse(`compilation failed: ${worded(error, text)}`);
      if (type !== wanted && type !== 'dyn') {
        return refuse(
          wanted === 'bool'
            ? 'cel expression must evaluate to a bool'
            : 'messageExpression must evaluate to a string',
        );
      }
      meter(parsed.ast, () => this.budget);
      return parsed;
    } catch (error) {
      return refuse(`compilation failed: ${worded(error, text)}`);
    }
  }

  private walk(
    value: Json,
    old: Json | undefined,
    schema: Structural,
    path: string,
    unchanged: boolean | undefined,
    errors: FieldError[],
  ): void {
    if (!schema.has.rules || value === null || this.budget.spent) return;
    const same = unchanged ?? (old !== undefined && path !== '' && jsonEqual(value, old));
    // What is below an unchanged part is unchanged as well.
    const inherited = same ? true : undefined;
    this.evaluate(value, old, schema, path, same, errors);
    for (const part of schema.checks?.allOf ?? []) this.walk(value, old, part, path, inherited, errors);
    if (Array.isArray(value)) {
      const { items } = schema;
      if (!items?.has.rules) return;
      const before = new Map<string, Json>();
      if (schema.listType === 'map' && Array.isArray(old)) {
        for (const item of old) before.set(mapKeyOf(item, schema), item);
      }
      value.forEach((item, index) => {
        const previous = before.size > 0 ? before.get(mapKeyOf(item, schema)) : undefined;
        this.walk(item, previous, items, `${path}[${index}]`, inherited, errors);
      });
      return;
    }
    if (typeof value !== 'object') return;
    const previous = isMap(old) && !schema.atomicMap ? old : undefined;
    for (const key of Object.keys(value).sort()) {
      const property = schema.properties?.get(key);
      const known = property ?? schema.additional;
      if (!known || known === true) continue;
      const at = property ? (path === '' ? key : `${path}.${key}`) : `${path}[${key}]`;
      const earlier = previous && Object.hasOwn(previous, key) ? previous[key] : undefined;
      this.walk(value[key] as Json, earlier, known, at, inherited, errors);
    }
  }

  private evaluate(
    value: Json,
    old: Json | undefined,
    schema: Structural,
    path: string,
    unchanged: boolean,
    errors: FieldError[],
  ): void {
    const node = this.nodes.get(schema);
    if (!node) return;
    const at = path === '' ? NO_PATH : path;
    const refuse = (detail: string): void => {
      errors.push(invalidValue(at, schema.type, detail));
    };
    let self: unknown;
    let oldSelf: unknown;
    for (const { rule, scope, run, message, usesOldSelf } of node.rules) {
      if (this.budget.spent) return;
      if (!run || (usesOldSelf && old === undefined && !rule.optionalOldSelf)) continue;
      // Ratcheting: a rule about the state alone does not judge again what was there before.
      if (unchanged && !usesOldSelf) continue;
      self ??= node.declared.convert(value);
      if (usesOldSelf && old !== undefined && old !== null) oldSelf ??= node.declared.convert(old);
      const optional = oldSelf === undefined ? this.optional.none() : this.optional.of(oldSelf);
      const context = { [scope.self]: self, [scope.oldSelf]: rule.optionalOldSelf ? optional : oldSelf };
      const text = rule.message.trim() || rule.rule.trim();
      this.budget.begin();
      let result: unknown;
      try {
        result = run(context);
      } catch (error) {
        if (!this.budget.callExceeded && !this.budget.spent) {
          refuse(runtimeError(error, text));
          continue;
        }
      }
      if (this.budget.callExceeded) {
        this.budget.left = 0;
        refuse(
          `'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: ${text}`,
        );
        return;
      }
      if (this.budget.spent) {
        refuse(
          'validation failed due to running out of cost budget, no further validation rules will be run',
        );
        return;
      }
      if (result === true) continue;
      const detail =
        this.messageOf(message, context) ?? (rule.message.trim() || `failed rule: ${rule.rule.trim()}`);
      errors.push(
        byReason(rule, `${path}${fieldPath(rule.fieldPath, path === '')}` || NO_PATH, schema.type, detail),
      );
    }
  }

  /** Undefined when the expression fails or its result is no message: then the rule's own one is used. */
  private messageOf(message: ParseResult | undefined, context: object): string | undefined {
    if (!message) return undefined;
    this.budget.begin();
    try {
      const result: unknown = message(context);
      const text = typeof result === 'string' ? result.trim() : '';
      return text === '' || text.length > LONGEST_MESSAGE || text.includes('\n') ? undefined : text;
    } catch {
      return undefined;
    }
  }
}

function below(schema: Structural): Structural[] {
  const parts = [...(schema.properties?.values() ?? []), ...(schema.checks?.allOf ?? [])];
  if (schema.items) parts.push(schema.items);
  if (schema.additional && schema.additional !== true) parts.push(schema.additional);
  return parts;
}

function isMap(value: Json | undefined): value is { [key: string]: Json | undefined } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `.spec.a['b c']` after the path of the object it is relative to. */
function fieldPath(text: string, atRoot: boolean): string {
  const path = text.replaceAll(
    /\['((?:[^'\\]|\\.)*)'\]/g,
    (_, name: string) => `.${name.replaceAll(/\\(.)/g, '$1')}`,
  );
  return atRoot ? path.replace(/^\./, '') : path;
}

function byReason(rule: Rule, field: string, value: string, detail: string): FieldError {
  switch (rule.reason) {
    case 'FieldValueForbidden':
      return forbiddenField(field, detail);
    case 'FieldValueRequired':
      return required(field, detail);
    case 'FieldValueDuplicate':
      return duplicate(field, value);
    default:
      return invalidValue(field, value, detail);
  }
}

function runtimeError(error: unknown, rule: string): string {
  const { code, summary, message } = error as Partial<EvaluationError> & Error;
  const text = summary ?? message;
  switch (code) {
    case 'no_such_overload':
    case 'no_matching_overload':
      return `'no such overload': call arguments did not match a supported operator, function or macro signature for rule: ${rule}`;
    case 'no_such_key':
      return `${text.replace(/^No such key/, 'no such key')} evaluating rule: ${rule}`;
    case 'index_out_of_bounds':
      return `index out of bounds: ${/index (\d+)/.exec(text)?.[1] ?? ''} evaluating rule: ${rule}`;
    case 'numeric_overflow':
      return `integer overflow evaluating rule: ${rule}`;
    case 'modulo_by_zero':
      return `modulus by zero evaluating rule: ${rule}`;
    default:
      return `${text} evaluating rule: ${rule}`;
  }
}

/** The library's complaint in cel-go's form. */
export function worded(error: unknown, source: string): string {
  const { code, summary, message, range } = error as Partial<EvaluationError> & Error;
  const text = summary ?? message;
  const offset = Math.min(range?.start ?? 0, source.length);
  const before = source.slice(0, offset).split('\n');
  const column = before.at(-1)?.length ?? 0;
  const line = source.split('\n')[before.length - 1] ?? '';
  return `ERROR: <input>:${before.length}:${column + 1}: ${phrase(code, text)}\n | ${line}\n | ${'.'.repeat(column)}^`;
}

function phrase(code: string | undefined, text: string): string {
  switch (code) {
    case 'unknown_variable':
      return `undeclared reference to '${text.replace(/^Unknown variable: /, '')}' (in container '')`;
    case 'no_such_key':
      return `undefined field '${text.replace(/^No such key: /, '')}'`;
    case 'no_such_overload': {
      const binary = /^no such overload: (.+) (\S+) (.+)$/.exec(text);
      return binary
        ? `found no matching overload for '_${binary[2]}_' applied to '(${binary[1]}, ${binary[3]})'`
        : text;
    }
    case 'no_matching_overload': {
      const call = /^found no matching overload for '(?:(.+)\.)?(\w+)\((.*)\)'$/.exec(text);
      if (!call) return text;
      const [, receiver, name = '', values] = call;
      const shown = name === SAFE_MATCHES ? 'matches' : name;
      return `found no matching overload for '${shown}' applied to '${receiver === undefined ? '' : `${receiver}.`}(${values})'`;
    }
    default:
      return code?.startsWith('unexpected') ? `Syntax error: ${text}` : text;
  }
}

interface AnyNode {
  op: string;
  args: unknown;
  meta?: { alternate?: unknown; macro?: object };
}

/** Visits all nodes, through macros and what they stand for. */
function everyNode(ast: ASTNode, visit: (node: AnyNode) => void): void {
  const seen = new Set<object>();
  const waiting: unknown[] = [ast];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== 'object' || value === null || seen.has(value)) continue;
    seen.add(value);
    if (Array.isArray(value)) waiting.push(...value);
    else if ('op' in value && 'args' in value) {
      const node = value as AnyNode;
      visit(node);
      waiting.push(node.args, node.meta?.alternate, node.meta?.macro);
    } else if (Object.getPrototypeOf(value) === Object.prototype) waiting.push(...Object.values(value));
  }
}

function mentions(ast: ASTNode, name: string): boolean {
  let found = false;
  everyNode(ast, (node) => {
    if (node.op === 'id' && node.args === name) found = true;
  });
  return found;
}

export function rename(ast: ASTNode, scope: Scope): void {
  renameMatches(ast);
  everyNode(ast, (node) => {
    if (node.op === 'id' && (node.args === 'self' || node.args === 'oldSelf')) node.args = scope[node.args];
  });
}

/** Before an expression is checked: its `matches` run on the engine that no pattern stalls. */
export function renameMatches(ast: ASTNode): void {
  everyNode(ast, (node) => {
    if (
      (node.op === 'call' || node.op === 'rcall') &&
      Array.isArray(node.args) &&
      node.args[0] === 'matches'
    ) {
      node.args[0] = SAFE_MATCHES;
    }
  });
}
