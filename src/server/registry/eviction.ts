// pods/eviction: a delete that respects disruption budgets.
import { internalError, notFound, StatusError } from '../../api/errors.ts';
import { type JsonObject, type KubeObject, objectKey } from '../../api/object.ts';
import { selectorMatcher } from '../../api/selectors.ts';
import type { LabelSelector } from '../../api/types/meta-v1.ts';
import { asObject, listAt, numberAt, objectAt, stringAt } from '../../api/validation.ts';
import { timestamp } from '../../lib/clock.ts';
import { RevisionConflict, type Store, type Stored } from '../store/port.ts';

const BUDGETS = 'poddisruptionbudgets.policy';
/** An eviction that the pod's node has not seen after so many disrupted pods: the budget's controller is behind. */
const MOST_DISRUPTED_PODS = 2000;

/**
 * Takes one disruption from the budget of the pod, if it has one. Throws 404 for an absent pod and 429 with cause
 * DisruptionBudget when the budget has none left.
 */
export async function takeDisruption(
  store: Store,
  options: { namespace: string; name: string; now: number; dryRun: boolean },
): Promise<void> {
  for (;;) {
    const pod = store.head('pods', objectKey(options.namespace, options.name))?.object;
    if (!pod) throw notFound({ group: '', resource: 'pods' }, options.name);
    if (needsNoBudget(pod)) return;
    const budgets = budgetsOf(store, pod);
    if (budgets.length > 1) {
      throw internalError(
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
      );
    }
    const [budget] = budgets;
    if (!budget || mayIgnore(pod, budget.object)) return;
    const next = decremented(budget.object, options.name, options.now);
    if (options.dryRun) return;
    try {
      await store.commit([
        {
          bucket: BUDGETS,
          key: objectKey(options.namespace, budget.object.metadata.name ?? ''),
          object: next,
          expected: budget.revision,
          durability: 'coalesced',
        },
      ]);
      return;
    } catch (error) {
      if (!(error instanceof RevisionConflict)) throw error;
    }
  }
}

/** Says on the pod why it goes; Jobs count such a pod apart. Nothing to do for a pod that is gone. */
export async function markEvicted(
  store: Store,
  options: { namespace: string; name: string; now: number },
): Promise<void> {
  const key = objectKey(options.namespace, options.name);
  for (;;) {
    const head = store.head('pods', key);
    if (!head || head.object.metadata.deletionTimestamp !== undefined) return;
    const pod = head.object as unknown as JsonObject;
    const status = objectAt(pod, 'status');
    const conditions = listAt(status, 'conditions').filter(({ type }) => type !== 'DisruptionTarget');
    conditions.push({
      type: 'DisruptionTarget',
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime: timestamp(options.now),
      reason: 'EvictionByEvictionAPI',
      message: 'Eviction API: evicting',
    });
    const object = { ...pod, status: { ...status, conditions } } as unknown as KubeObject;
    try {
      await store.commit([{ bucket: 'pods', key, object, expected: head.revision, durability: 'coalesced' }]);
      return;
    } catch (error) {
      if (!(error instanceof RevisionConflict)) throw error;
    }
  }
}

function needsNoBudget(pod: KubeObject): boolean {
  const phase = stringAt(objectAt(pod as unknown as JsonObject, 'status'), 'phase');
  return pod.metadata.deletionTimestamp !== undefined || ['Succeeded', 'Failed', 'Pending'].includes(phase);
}

function budgetsOf(store: Store, pod: KubeObject): Stored[] {
  return store.heads(BUDGETS, `${pod.metadata.namespace}/`).filter(({ object }) => {
    const selector = asObject(objectAt(object as unknown as JsonObject, 'spec').selector);
    return selectorMatcher(selector as LabelSelector | undefined)(pod.metadata.labels);
  });
}

/** A pod that is not ready does not count for the budget; the policy says whether it may always go. */
function mayIgnore(pod: KubeObject, budget: KubeObject): boolean {
  const conditions = listAt(objectAt(pod as unknown as JsonObject, 'status'), 'conditions');
  if (conditions.some(({ type, status }) => type === 'Ready' && status === 'True')) return false;
  const { spec, status } = budget as unknown as { spec: JsonObject; status: JsonObject };
  if (stringAt(spec, 'unhealthyPodEvictionPolicy') === 'AlwaysAllow') return true;
  const desired = numberAt(status, 'desiredHealthy') ?? 0;
  return desired > 0 && (numberAt(status, 'currentHealthy') ?? 0) >= desired;
}

function decremented(budget: KubeObject, podName: string, now: number): KubeObject {
  const name = budget.metadata.name ?? '';
  const status = objectAt(budget as unknown as JsonObject, 'status');
  if ((numberAt(status, 'observedGeneration') ?? 0) < (budget.metadata.generation ?? 0)) {
    throw refuse(`The disruption budget ${name} is still being processed by the server.`, 10);
  }
  const disrupted = objectAt(status, 'disruptedPods');
  if (Object.keys(disrupted).length > MOST_DISRUPTED_PODS) {
    throw refuse(`The disruption budget ${name} has too many disrupted pods that are not yet gone.`, 10);
  }
  const allowed = numberAt(status, 'disruptionsAllowed') ?? 0;
  if (allowed <= 0) {
    throw refuse(
      `The disruption budget ${name} needs ${numberAt(status, 'desiredHealthy') ?? 0} healthy pods and has ${numberAt(status, 'currentHealthy') ?? 0} currently`,
    );
  }
  return {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: allowed - 1,
      disruptedPods: { ...disrupted, [podName]: timestamp(now) },
    },
  } as unknown as KubeObject;
}

function refuse(message: string, retryAfterSeconds?: number): StatusError {
  return new StatusError(
    'TooManyRequests',
    429,
    "Cannot evict pod as it would violate the pod's disruption budget.",
    {
      causes: [{ reason: 'DisruptionBudget', message }],
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    },
  );
}
