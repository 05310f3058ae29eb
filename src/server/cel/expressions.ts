// CEL expressions on objects of any shape, as admission policies have them. The library is loaded with the first one, and
// every evaluation is charged to a budget.
import type { Environment, EvaluationError, ParseResult } from '@marcbachmann/cel-js';
import { Budget, meter } from '../registry/custom/cel/budget.ts';
import { registerLibrary } from '../registry/custom/cel/library.ts';
import { renameMatches, worded } from '../registry/custom/cel/rules.ts';
import { loadPatterns } from '../registry/custom/patterns.ts';
import { OPTIONAL, rewriteMessages } from './messages.ts';

export { Budget } from '../registry/custom/cel/budget.ts';

const LIMITS = {
  maxAstNodes: 10_000,
  maxDepth: 200,
  maxListElements: 1000,
  maxMapEntries: 1000,
  maxCallArguments: 32,
};

/** What an expression may name; `authorizer` is one of these where there is somebody to ask. */
const VARIABLES = ['object', 'oldObject', 'request', 'params', 'namespaceObject', 'variables'];

/** It does not compile, or its evaluation failed; the message is worded as cel-go does. */
export class ExpressionError extends Error {}

export interface Expression {
  readonly source: string;
  /** `bool`, `string`, `list`, `dyn`, … as the library names types. */
  readonly type: string;
  /** Throws ExpressionError. */
  evaluate(variables: object, budget: Budget): unknown;
}

class JsonPatchNamespace {}

/** Asks whether somebody may do something; `authorizer` in expressions. */
export class AuthorizerValue {
  readonly attributes: Readonly<Record<string, string>>;
  readonly ask: (attributes: Readonly<Record<string, string>>) => { allowed: boolean; reason: string };

  constructor(attributes: AuthorizerValue['attributes'], ask: AuthorizerValue['ask']) {
    this.attributes = attributes;
    this.ask = ask;
  }

  with(more: Record<string, string>): AuthorizerValue {
    return new AuthorizerValue({ ...this.attributes, ...more }, this.ask);
  }
}

class AuthorizerDecision {
  readonly allowed: boolean;
  readonly reason: string;
  constructor({ allowed, reason }: { allowed: boolean; reason: string }) {
    this.allowed = allowed;
    this.reason = reason;
  }
}

export class Expressions {
  private readonly environment: Environment;
  /** Charged while an expression runs; they run one at a time, to the end. */
  private budget = new Budget();

  private constructor(environment: Environment) {
    this.environment = environment;
  }

  static async load(): Promise<Expressions> {
    const [library, patterns] = await Promise.all([import('@marcbachmann/cel-js'), loadPatterns()]);
    const environment = new library.Environment({
      enableOptionalTypes: true,
      homogeneousAggregateLiterals: false,
      limits: LIMITS,
    });
    registerLibrary(environment, library.Optional, patterns);
    for (const name of VARIABLES) environment.registerVariable(name, 'dyn');
    environment.registerFunction('message(string, map): dyn', ((_type: string, fields: object) =>
      withoutNone(fields)) as never);
    environment.registerType('kubernetes.JSONPatch', JsonPatchNamespace as never);
    environment.registerConstant('jsonpatch', 'kubernetes.JSONPatch', new JsonPatchNamespace());
    environment.registerFunction('kubernetes.JSONPatch.escapeKey(string): string', ((
      _: unknown,
      key: string,
    ) => key.replaceAll('~', '~0').replaceAll('/', '~1')) as never);
    registerAuthorizer(environment);
    return new Expressions(environment);
  }

  /** Throws ExpressionError. */
  compile(source: string): Expression {
    const text = rewriteMessages(source);
    let parsed: ParseResult;
    try {
      parsed = this.environment.parse(text);
    } catch (error) {
      throw new ExpressionError(worded(error, source));
    }
    renameMatches(parsed.ast);
    const { valid, type = 'dyn', error } = parsed.check();
    if (!valid) throw new ExpressionError(worded(error, source));
    meter(parsed.ast, () => this.budget);
    return {
      source,
      type,
      evaluate: (variables, budget) => this.evaluate(parsed, variables, budget),
    };
  }

  private evaluate(parsed: ParseResult, variables: object, budget: Budget): unknown {
    const outer = this.budget;
    this.budget = budget;
    // What a variable costs is charged to the expression that asks for it first.
    if (outer !== budget) budget.begin();
    try {
      return parsed(variables as Record<string, unknown>);
    } catch (error) {
      if (budget.spent || budget.callExceeded) {
        throw new ExpressionError('operation cancelled: actual cost limit exceeded');
      }
      throw new ExpressionError(failure(error));
    } finally {
      this.budget = outer;
    }
  }
}

function registerAuthorizer(environment: Environment): void {
  const A = 'kubernetes.authorization.Authorizer';
  const D = 'kubernetes.authorization.Decision';
  environment.registerType(A, AuthorizerValue as never);
  environment.registerType(D, AuthorizerDecision as never);
  environment.registerVariable('authorizer', A);
  for (const field of ['group', 'resource', 'subresource', 'namespace', 'name', 'path']) {
    environment.registerFunction(`${A}.${field}(string): ${A}`, ((value: AuthorizerValue, text: string) =>
      value.with({ [field]: text })) as never);
  }
  environment.registerFunction(`${A}.serviceAccount(string, string): ${A}`, ((
    value: AuthorizerValue,
    namespace: string,
    name: string,
  ) => value.with({ user: `system:serviceaccount:${namespace}:${name}` })) as never);
  environment.registerFunction(
    `${A}.check(string): ${D}`,
    ((value: AuthorizerValue, verb: string) =>
      new AuthorizerDecision(value.ask({ ...value.attributes, verb }))) as never,
  );
  environment.registerFunction(`${D}.allowed(): bool`, ((one: AuthorizerDecision) => one.allowed) as never);
  environment.registerFunction(`${D}.reason(): string`, ((one: AuthorizerDecision) => one.reason) as never);
  environment.registerFunction(`${D}.errored(): bool`, (() => false) as never);
  environment.registerFunction(`${D}.error(): string`, (() => '') as never);
}

/** A message's fields; of the optional ones those that have a value. */
function withoutNone(fields: object): Map<string, unknown> {
  const entries: Iterable<[string, unknown]> =
    fields instanceof Map ? (fields as Map<string, unknown>) : Object.entries(fields);
  const kept = new Map<string, unknown>();
  for (const [name, value] of entries) {
    if (!name.startsWith(OPTIONAL)) {
      kept.set(name, value);
      continue;
    }
    const optional = value as { hasValue(): boolean; value(): unknown };
    if (optional.hasValue()) kept.set(name.slice(OPTIONAL.length), optional.value());
  }
  return kept;
}

function failure(error: unknown): string {
  if (error instanceof ExpressionError) return error.message;
  const { code, summary, message } = error as Partial<EvaluationError> & Error;
  const text = summary ?? message;
  switch (code) {
    case 'no_such_overload':
    case 'no_matching_overload':
      return 'no such overload';
    case 'no_such_key':
      return text.replace(/^No such key/, 'no such key');
    case 'index_out_of_bounds':
      return `index out of bounds: ${/index (\d+)/.exec(text)?.[1] ?? ''}`;
    case 'numeric_overflow':
      return 'integer overflow';
    case 'modulo_by_zero':
      return 'modulus by zero';
    default:
      return text;
  }
}
