// ValidatingAdmissionPolicies and MutatingAdmissionPolicies, each where a binding puts it to work.
import type { Catalogue } from '../../../api/catalogue.ts';
import { type FieldError, invalid, StatusError } from '../../../api/errors.ts';
import type { JsonObject } from '../../../api/object.ts';
import { asObject, invalidValue, listAt, objectAt, stringAt } from '../../../api/validation.ts';
import { Budget, ExpressionError, Expressions } from '../../cel/expressions.ts';
import type { Store } from '../../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../port.ts';
import { refuse } from '../refusal.ts';
import { type Ask, CompiledPolicy, evaluate, RequestValues } from './compiled.ts';
import { matchesRequest } from './matching.ts';
import { type Finish, mutate } from './mutating.ts';
import { ConfigurationError, paramsOf } from './params.ts';
import { auditValues, judge, STATUS_OF, type Verdict } from './validating.ts';

const GROUP = 'admissionregistration.k8s.io';
const VALIDATING = 'validatingadmissionpolicies';
const MUTATING = 'mutatingadmissionpolicies';
const OWN = [VALIDATING, MUTATING].flatMap((name) => [
  `${name}.${GROUP}`,
  `${name.replace('policies', 'policybindings')}.${GROUP}`,
]);
const FAILURE_ANNOTATION = 'validation.policy.admission.k8s.io/validation_failure';

export interface PoliciesOptions {
  store: Pick<Store, 'head' | 'heads'>;
  catalogue: Catalogue;
  /** Makes a mutated object one of its type again: unknown fields go, defaults come. */
  finish: Finish;
  /** `authorizer` in expressions. */
  ask?: Ask | undefined;
}

/** A policy that concerns a request, with one of its bindings. */
interface Assignment {
  policy: JsonObject;
  binding: JsonObject;
  policyName: string;
  bindingName: string;
}

export class AdmissionPolicies implements AdmissionPlugin {
  readonly name = 'AdmissionPolicies';
  private readonly options: PoliciesOptions;
  private readonly compiled = new WeakMap<JsonObject, CompiledPolicy>();
  private engine: Expressions | undefined;
  private loading: Promise<Expressions> | undefined;

  constructor(options: PoliciesOptions) {
    this.options = options;
  }

  /** Without policies that concern the request nothing is loaded, and nobody waits. */
  admit(request: AdmissionRequest): void | Promise<void> {
    // What is posted to a subresource (bindings, evictions) is not an object of the resource.
    if (!request.object || request.object.kind !== request.target.info.kind) return;
    const assignments = this.assignments(MUTATING, request);
    if (assignments.length === 0) return;
    return this.with((engine) => this.mutateAll(engine, assignments, request));
  }

  validate(request: AdmissionRequest): void | Promise<void> {
    if (OWN.includes(request.bucket)) {
      if (!request.object || request.target.subresource !== undefined) return;
      if (request.bucket !== `${VALIDATING}.${GROUP}` && request.bucket !== `${MUTATING}.${GROUP}`) return;
      const policy = request.object;
      return this.with((engine) => checkPolicy(engine, request, policy));
    }
    const assignments = this.assignments(VALIDATING, request);
    if (assignments.length === 0) return;
    return this.with((engine) => this.judgeAll(engine, assignments, request));
  }

  private with(work: (engine: Expressions) => void): void | Promise<void> {
    if (this.engine) return work(this.engine);
    this.loading ??= Expressions.load();
    return this.loading.then((engine) => {
      this.engine = engine;
      work(engine);
    });
  }

  private assignments(resource: string, request: AdmissionRequest): Assignment[] {
    const { store } = this.options;
    const bindings = store.heads(`${resource.replace('policies', 'policybindings')}.${GROUP}`);
    // Policies do not judge policies: nobody shall lock himself out.
    if (bindings.length === 0 || OWN.includes(request.bucket)) return [];
    const found: Assignment[] = [];
    for (const { object } of bindings) {
      const binding = object as unknown as JsonObject;
      const spec = objectAt(binding, 'spec');
      const policyName = stringAt(spec, 'policyName');
      const policy = store.head(`${resource}.${GROUP}`, policyName)?.object as unknown as
        | JsonObject
        | undefined;
      if (!policy || !matchesRequest(asObject(spec.matchResources), request, this.options)) continue;
      const constraints = asObject(objectAt(policy, 'spec').matchConstraints);
      if (!matchesRequest(constraints, request, this.options)) continue;
      found.push({ policy, binding, policyName, bindingName: object.metadata.name ?? '' });
    }
    const order = ({ policyName, bindingName }: Assignment): string => `${policyName}\n${bindingName}`;
    return found.sort((left, right) => (order(left) < order(right) ? -1 : 1));
  }

  private policy(engine: Expressions, policy: JsonObject): CompiledPolicy {
    let known = this.compiled.get(policy);
    if (!known) {
      known = new CompiledPolicy(engine, policy);
      this.compiled.set(policy, known);
    }
    return known;
  }

  private values(request: AdmissionRequest): RequestValues {
    const { store, ask } = this.options;
    const namespace = store.head('namespaces', request.target.namespace ?? '')?.object;
    return new RequestValues(request, namespace as unknown as JsonObject | undefined, ask);
  }

  private mutateAll(
    engine: Expressions,
    assignments: readonly Assignment[],
    request: AdmissionRequest,
  ): void {
    const values = this.values(request);
    const budget = new Budget();
    const run = (assignment: Assignment): boolean => {
      const { policy, binding, policyName, bindingName } = assignment;
      try {
        const compiled = this.policy(engine, policy);
        let changed = false;
        for (const params of paramsOf(policy, binding, request.target.namespace, this.options)) {
          const scope = () => values.scope(compiled, params, budget);
          if (!meets(compiled, scope(), budget)) continue;
          const mutated = mutate({
            policy,
            compiled,
            scope,
            budget,
            request,
            finish: this.options.finish,
            values,
          });
          changed ||= mutated;
        }
        return changed;
      } catch (error) {
        if (!isFailure(error)) throw error;
        if (objectAt(policy, 'spec').failurePolicy === 'Ignore') return false;
        throw denied(
          request,
          `policy '${policyName}' with binding '${bindingName}' denied request: ${error.message}`,
          'Invalid',
        );
      }
    };
    // Who asks for it is run once more when somebody after him has changed the object.
    const again: Assignment[] = [];
    let waiting: Assignment[] = [];
    for (const assignment of assignments) {
      if (run(assignment)) {
        again.push(...waiting);
        waiting = [];
      }
      if (objectAt(assignment.policy, 'spec').reinvocationPolicy === 'IfNeeded') waiting.push(assignment);
    }
    for (const assignment of again) run(assignment);
  }

  private judgeAll(engine: Expressions, assignments: readonly Assignment[], request: AdmissionRequest): void {
    const values = this.values(request);
    const budget = new Budget();
    const audited: JsonObject[] = [];
    const annotations = new Map<string, string[]>();
    let denial: StatusError | undefined;
    for (const { policy, binding, policyName, bindingName } of assignments) {
      const compiled = this.policy(engine, policy);
      const actions = new Set(objectAt(binding, 'spec').validationActions as string[] | undefined);
      const verdicts: Verdict[] = [];
      try {
        for (const params of paramsOf(policy, binding, request.target.namespace, this.options)) {
          const scope = values.scope(compiled, params, budget);
          const conditions = conditionsHold(policy, compiled, scope, budget);
          if (conditions !== true) {
            if (conditions) verdicts.push(conditions);
            continue;
          }
          verdicts.push(...judge(policy, compiled, scope, budget));
          for (const { key, value } of auditValues(policy, compiled, scope, budget)) {
            const name = `${policyName}/${key}`;
            const known = annotations.get(name) ?? [];
            if (!known.includes(value)) annotations.set(name, [...known, value]);
          }
        }
      } catch (error) {
        if (!isFailure(error)) throw error;
        if (objectAt(policy, 'spec').failurePolicy === 'Ignore') continue;
        const prefix = error instanceof ConfigurationError ? 'failed to configure binding: ' : '';
        // What cannot be evaluated is refused whatever the binding would do about a violation.
        denial ??= denied(
          request,
          `ValidatingAdmissionPolicy '${policyName}' with binding '${bindingName}' denied request: ${prefix}${error.message}`,
          'Invalid',
        );
        continue;
      }
      for (const { message, reason, index } of verdicts) {
        if (actions.has('Deny')) {
          denial ??= denied(
            request,
            `ValidatingAdmissionPolicy '${policyName}' with binding '${bindingName}' denied request: ${message}`,
            reason,
          );
        }
        if (actions.has('Warn')) {
          request.context.warn(
            `Validation failed for ValidatingAdmissionPolicy '${policyName}' with binding '${bindingName}': ${message}`,
          );
        }
        if (actions.has('Audit')) {
          audited.push({
            message,
            policy: policyName,
            binding: bindingName,
            expressionIndex: index,
            validationActions: [...actions],
          });
        }
      }
    }
    if (audited.length > 0) request.context.annotate?.(FAILURE_ANNOTATION, JSON.stringify(audited));
    for (const [key, list] of annotations) request.context.annotate?.(key, list.join(', '));
    if (denial) throw denial;
  }
}

/** False: the policy does not apply. A condition that fails counts as a validation that does. */
function conditionsHold(
  policy: JsonObject,
  compiled: CompiledPolicy,
  scope: object,
  budget: Budget,
): boolean | Verdict {
  try {
    return meets(compiled, scope, budget);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    if (objectAt(policy, 'spec').failurePolicy === 'Ignore') return false;
    return { message: error.message, reason: 'Invalid', index: 0 };
  }
}

function isFailure(error: unknown): error is Error {
  return error instanceof ExpressionError || error instanceof ConfigurationError;
}

/** Match conditions: all true, or the policy does not apply. One that is false outweighs one that fails. */
function meets(compiled: CompiledPolicy, scope: object, budget: Budget): boolean {
  let failed: unknown;
  for (const { expression } of compiled.matchConditions) {
    try {
      if (evaluate(expression, scope, budget) !== true) return false;
    } catch (error) {
      failed ??= error;
    }
  }
  if (failed !== undefined) throw failed;
  return true;
}

function denied(request: AdmissionRequest, message: string, reason: string): StatusError {
  const refusal = refuse(request, message);
  const status = STATUS_OF[reason] ?? STATUS_OF.Invalid;
  return new StatusError(status?.reason ?? 'Invalid', status?.code ?? 422, refusal.status.message, {
    ...refusal.status.details,
    causes: [{ message }],
  });
}

/** A policy whose expressions name what does not exist is refused when it is written. */
function checkPolicy(engine: Expressions, { target }: AdmissionRequest, policy: JsonObject): void {
  const spec = objectAt(policy, 'spec');
  const errors: FieldError[] = [];
  const check = (source: string, field: string, types: readonly string[], why: string): void => {
    if (source === '') return;
    try {
      const { type } = engine.compile(source);
      if (
        types.length > 0 &&
        type !== 'dyn' &&
        !types.some((one) => type === one || type.startsWith(`${one}<`))
      ) {
        errors.push(invalidValue(field, source, why));
      }
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      errors.push(invalidValue(field, source, `compilation failed: ${error.message}`));
    }
  };
  const each = (list: string, run: (one: JsonObject, path: string) => void): void =>
    listAt(spec, list).forEach((one, index) => {
      run(one, `spec.${list}[${index}]`);
    });
  each('matchConditions', (one, path) =>
    check(stringAt(one, 'expression'), `${path}.expression`, ['bool'], 'must evaluate to bool'),
  );
  each('variables', (one, path) => check(stringAt(one, 'expression'), `${path}.expression`, [], ''));
  each('validations', (one, path) => {
    check(stringAt(one, 'expression'), `${path}.expression`, ['bool'], 'must evaluate to bool');
    check(
      stringAt(one, 'messageExpression'),
      `${path}.messageExpression`,
      ['string'],
      'must evaluate to string',
    );
  });
  each('auditAnnotations', (one, path) =>
    check(
      stringAt(one, 'valueExpression'),
      `${path}.valueExpression`,
      ['string', 'null'],
      'must evaluate to one of [string null_type]',
    ),
  );
  each('mutations', (one, path) => {
    const applied = stringAt(objectAt(one, 'applyConfiguration'), 'expression');
    check(applied, `${path}.applyConfiguration.expression`, ['map'], 'must evaluate to Object');
    const patched = stringAt(objectAt(one, 'jsonPatch'), 'expression');
    check(patched, `${path}.jsonPatch.expression`, ['list'], 'must evaluate to list(JSONPatch)');
  });
  if (errors.length > 0) throw invalid(target.info, stringAt(objectAt(policy, 'metadata'), 'name'), errors);
}
