// The expressions of one policy, compiled, and what they may name while one request is judged.
import type { ResourceInfo } from '../../../api/catalogue.ts';
import type { JsonObject } from '../../../api/object.ts';
import { listAt, objectAt, stringAt } from '../../../api/validation.ts';
import {
  AuthorizerValue,
  type Budget,
  type Expression,
  ExpressionError,
  type Expressions,
} from '../../cel/expressions.ts';
import { toCel } from '../../cel/values.ts';
import type { AdmissionRequest } from '../port.ts';

/** An expression, or why there is none: that is found out when the policy is written, and once more when it is used. */
export type Compiled = Expression | ExpressionError;

export interface Named {
  readonly name: string;
  readonly expression: Compiled;
}

export class CompiledPolicy {
  readonly matchConditions: readonly Named[];
  readonly variables: readonly Named[];
  private readonly engine: Expressions;
  private readonly others = new Map<string, Compiled>();

  constructor(engine: Expressions, policy: JsonObject) {
    this.engine = engine;
    const spec = objectAt(policy, 'spec');
    const named = (field: string): Named[] =>
      listAt(spec, field).map((one) => ({
        name: stringAt(one, 'name'),
        expression: this.of(stringAt(one, 'expression')),
      }));
    this.matchConditions = named('matchConditions');
    this.variables = named('variables');
  }

  of(source: string): Compiled {
    let compiled = this.others.get(source);
    if (!compiled) {
      compiled = compileOrNot(this.engine, source);
      this.others.set(source, compiled);
    }
    return compiled;
  }
}

function compileOrNot(engine: Expressions, source: string): Compiled {
  try {
    return engine.compile(source);
  } catch (error) {
    if (error instanceof ExpressionError) return error;
    throw error;
  }
}

/** Throws ExpressionError. */
export function evaluate(compiled: Compiled, scope: object, budget: Budget): unknown {
  if (compiled instanceof ExpressionError)
    throw new ExpressionError(`compilation error: ${compiled.message}`);
  try {
    return compiled.evaluate(scope, budget);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    throw new ExpressionError(`expression '${compiled.source}' resulted in error: ${error.message}`);
  }
}

export type Ask = (
  request: AdmissionRequest,
  attributes: Readonly<Record<string, string>>,
) => { allowed: boolean; reason: string };

/** What of a request is the same for all policies. */
export class RequestValues {
  readonly oldObject: unknown;
  readonly request: unknown;
  readonly namespaceObject: unknown;
  readonly authorizer: AuthorizerValue | undefined;
  private readonly admission: AdmissionRequest;
  private object: unknown;

  constructor(request: AdmissionRequest, namespace: JsonObject | undefined, ask: Ask | undefined) {
    this.admission = request;
    this.object = toCel(request.object);
    this.oldObject = toCel(request.old);
    this.namespaceObject = toCel(namespace);
    this.request = toCel(requestOf(request));
    this.authorizer = ask && new AuthorizerValue({}, (attributes) => ask(request, attributes));
  }

  /** The object was changed by a mutation. */
  renew(): void {
    this.object = toCel(this.admission.object);
  }

  /** Variables are worked out when an expression asks for them, once. */
  scope(policy: CompiledPolicy, params: JsonObject | null, budget: Budget): object {
    const scope = {
      object: this.object,
      oldObject: this.oldObject,
      request: this.request,
      namespaceObject: this.namespaceObject,
      params: toCel(params),
      variables: {},
      ...(this.authorizer ? { authorizer: this.authorizer } : {}),
    };
    for (const { name, expression } of policy.variables) {
      let known: { value: unknown } | undefined;
      Object.defineProperty(scope.variables, name, {
        enumerable: true,
        get: () => {
          known ??= { value: variable(name, () => evaluate(expression, scope, budget)) };
          return known.value;
        },
      });
    }
    return scope;
  }
}

function variable(name: string, evaluated: () => unknown): unknown {
  try {
    return evaluated();
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    throw new ExpressionError(
      `composited variable ${JSON.stringify(name)} fails to evaluate: ${error.message}`,
    );
  }
}

/** AdmissionRequest of admission.k8s.io/v1, as far as expressions see it. */
function requestOf({ operation, target, context, dryRun, object }: AdmissionRequest): JsonObject {
  const { group, version, resource } = target.info;
  const { name, uid, groups, extra } = context.user;
  const subresource = target.subresource ?? '';
  const gvk = kindOf(target.info, subresource === '' ? undefined : object);
  const gvr = { group, version, resource };
  const metadata = objectAt(object, 'metadata');
  return {
    kind: gvk,
    resource: gvr,
    subResource: subresource,
    requestKind: { ...gvk },
    requestResource: { ...gvr },
    requestSubResource: subresource,
    name: target.name ?? stringAt(metadata, 'name'),
    namespace: target.namespace ?? '',
    operation,
    userInfo: {
      username: name,
      uid: uid ?? '',
      groups: [...groups],
      extra: Object.fromEntries(Object.entries(extra ?? {}).map(([key, values]) => [key, [...values]])),
    },
    dryRun,
  };
}

/** What is sent to a subresource (an Eviction, PodExecOptions) is of a kind of its own. */
function kindOf(info: ResourceInfo, sent: JsonObject | undefined): JsonObject {
  const { group, version, kind } = info;
  const apiVersion = stringAt(sent, 'apiVersion');
  if (!sent || apiVersion === '') return { group, version, kind };
  const slash = apiVersion.indexOf('/');
  return {
    group: apiVersion.slice(0, Math.max(slash, 0)),
    version: apiVersion.slice(slash + 1),
    kind: stringAt(sent, 'kind'),
  };
}
