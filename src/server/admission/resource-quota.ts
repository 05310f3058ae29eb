// ResourceQuota: nothing is stored that would exceed what a namespace may use. It counts the newest staged objects, and is
// asked without a turn of the event loop before the commit: of two writers that race for the last place one is refused.
import type { JsonObject } from '../../api/object.ts';
import { type Amounts, addTo } from '../../api/pod-resources.ts';
import { compareQuantities, formatQuantity, quantityOf, subtractQuantities } from '../../api/quantity.ts';
import {
  only,
  type QuotaEvaluator,
  quotaEvaluator,
  quotaScopes,
  quotaUsage,
  UsageCache,
} from '../../api/quota.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from './port.ts';
import { refuse } from './refusal.ts';

export function resourceQuota(options: { store: Pick<Store, 'heads'>; clock: Clock }): AdmissionPlugin {
  const cache = new UsageCache();
  return {
    name: 'ResourceQuota',
    reserve: (request) => check({ ...options, cache }, request),
  };
}

function check(
  { store, clock, cache }: { store: Pick<Store, 'heads'>; clock: Clock; cache: UsageCache },
  request: AdmissionRequest,
): void {
  const { bucket, target, object } = request;
  const { namespace } = target;
  if (!namespace || !object) return;
  const evaluator = quotaEvaluator(bucket);
  if (!evaluator || !charges(evaluator, request)) return;
  const quotas = store.heads('resourcequotas', `${namespace}/`);
  if (quotas.length === 0) return;
  const now = clock.now();
  const requested = delta(evaluator, request, now);
  const objectsOf = (of: string): JsonObject[] =>
    store.heads(of, `${namespace}/`).map(({ object: head }) => head as unknown as JsonObject);
  for (const { object: stored } of quotas) {
    const quota = stored as unknown as JsonObject;
    const spec = objectAt(quota, 'spec');
    const hard = objectAt(spec, 'hard');
    const names = Object.keys(hard).filter((name) => evaluator.concerns(name));
    if (names.length === 0) continue;
    if (!quotaScopes(spec).every((scope) => evaluator.matches(scope, object))) continue;
    const quotaName = stringAt(objectAt(quota, 'metadata'), 'name');
    const problem = evaluator.problem?.(names, object);
    if (problem !== undefined) throw refuse(request, `failed quota: ${quotaName}: ${problem}`);
    const wanted = only(requested, names);
    if (wanted.size === 0) continue;
    const used = quotaUsage(spec, objectsOf, now, cache);
    const sum = new Map(only(used, [...wanted.keys()]));
    addTo(sum, wanted);
    const exceeded = [...wanted.keys()].filter((name) => {
      const total = sum.get(name);
      return total !== undefined && compareQuantities(total, quantityOf(hard[name])) > 0;
    });
    if (exceeded.length === 0) continue;
    const limits: Amounts = new Map(exceeded.map((name) => [name, quantityOf(hard[name])]));
    throw refuse(
      request,
      `exceeded quota: ${quotaName}, requested: ${written(only(wanted, exceeded))}, used: ${written(only(used, exceeded))}, limited: ${written(limits)}`,
    );
  }
}

function charges(evaluator: QuotaEvaluator, { operation, target, bucket }: AdmissionRequest): boolean {
  if (bucket === 'pods' && target.subresource === 'resize') return operation === 'UPDATE';
  if (target.subresource !== undefined) return false;
  return operation === 'CREATE' || (operation === 'UPDATE' && evaluator.chargesUpdates);
}

/** What is used more than before; what is used no more, or less, needs nobody's leave. */
function delta(evaluator: QuotaEvaluator, { object, old }: AdmissionRequest, now: number): Amounts {
  const usage = object ? evaluator.usage(object, now) : new Map();
  const before = old ? evaluator.usage(old, now) : new Map();
  const more: Amounts = new Map();
  for (const [name, quantity] of usage) {
    const was = before.get(name);
    const left = was ? subtractQuantities(quantity, was) : quantity;
    if (left.nano > 0n) more.set(name, left);
  }
  return more;
}

function written(amounts: Amounts): string {
  return [...amounts]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, quantity]) => `${name}=${formatQuantity(quantity)}`)
    .join(',');
}
