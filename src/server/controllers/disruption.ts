import {
  DEPLOYMENTS,
  POD_DISRUPTION_BUDGETS,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  STATEFUL_SETS,
} from '../../api/kinds.ts';
import { splitKey } from '../../api/object.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import type { Condition } from '../../api/types/meta-v1.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '../../api/types/policy-v1.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import { selectorCache } from '../../client/selector-cache.ts';
import { timestamp } from '../../lib/clock.ts';
import { sameJson } from '../../lib/equal.ts';
import type { ControllerContext } from './context.ts';
import { withCondition } from './shared/conditions.ts';
import { scaledValue } from './shared/int-or-percent.ts';
import { controllerOf } from './shared/ownership.ts';
import { isReady } from './shared/pods.ts';

const NAME = 'disruption-controller';
/** An eviction that was granted and whose pod is still there after this was forgotten by whoever asked. */
const GRANT_LIFETIME_MS = 120_000;

/** The scale of a pod's controller; `unmanaged` when it has none, undefined when its controller has no scale. */
export type ScaleOf = (pod: Pod) => { owner: string; replicas: number } | 'unmanaged' | undefined;

/** The status of a budget from the pods that it selects: what eviction counts down from. Pure. */
export function budgetStatus(input: {
  budget: PodDisruptionBudget;
  pods: readonly Pod[];
  scaleOf: ScaleOf;
  now: number;
}): {
  status: PodDisruptionBudgetStatus;
  unmanaged: readonly Pod[];
  /** Granted evictions whose pods are still there: they are not waited for any more. */
  forgotten: readonly Pod[];
  /** Why nothing can be said about the budget; nothing is allowed then. */
  failure?: string;
  again: number | undefined;
} {
  const { budget, pods, now } = input;
  const { spec } = budget;
  const relative = spec?.maxUnavailable !== undefined || typeof spec?.minAvailable === 'string';
  const scales = new Map<string, number>();
  const unmanaged: Pod[] = [];
  for (const pod of pods) {
    const scale = input.scaleOf(pod);
    if (scale === 'unmanaged') unmanaged.push(pod);
    else if (scale) scales.set(scale.owner, scale.replicas);
    else if (relative) return failSafe(budget, `found no controllers for pod "${pod.metadata.name}"`, now);
  }
  const scaled = [...scales.values()].reduce((sum, replicas) => sum + replicas, 0);
  let expected = pods.length;
  let desired = 0;
  if (spec?.maxUnavailable !== undefined) {
    expected = scaled;
    desired = Math.max(0, expected - scaledValue(spec.maxUnavailable, expected, 'up'));
  } else if (typeof spec?.minAvailable === 'string') {
    expected = scaled;
    desired = scaledValue(spec.minAvailable, expected, 'up');
  } else {
    desired = spec?.minAvailable ?? 1;
  }

  let again: number | undefined;
  const disrupted: Record<string, string> = {};
  const forgotten: Pod[] = [];
  for (const pod of pods) {
    const granted = budget.status?.disruptedPods?.[pod.metadata.name ?? ''];
    if (granted === undefined || pod.metadata.deletionTimestamp !== undefined) continue;
    const left = Date.parse(granted) + GRANT_LIFETIME_MS - now;
    if (left <= 0) {
      forgotten.push(pod);
      continue;
    }
    disrupted[pod.metadata.name ?? ''] = granted;
    again = Math.min(again ?? left, left);
  }
  const healthy = pods.filter(
    (pod) =>
      isReady(pod) &&
      pod.metadata.deletionTimestamp === undefined &&
      disrupted[pod.metadata.name ?? ''] === undefined,
  ).length;
  const allowed = expected > 0 ? Math.max(0, healthy - desired) : 0;
  const conditions = allowance(budget, now, {
    status: allowed > 0 ? 'True' : 'False',
    reason: allowed > 0 ? 'SufficientPods' : 'InsufficientPods',
    message: '',
  });
  return {
    status: {
      currentHealthy: healthy,
      desiredHealthy: desired,
      expectedPods: expected,
      disruptionsAllowed: allowed,
      ...(Object.keys(disrupted).length > 0 ? { disruptedPods: disrupted } : {}),
      ...(budget.metadata.generation === undefined ? {} : { observedGeneration: budget.metadata.generation }),
      conditions,
    },
    unmanaged: relative ? unmanaged : [],
    forgotten,
    again,
  };
}

/** What cannot be counted allows nothing. */
function failSafe(
  budget: PodDisruptionBudget,
  failure: string,
  now: number,
): ReturnType<typeof budgetStatus> {
  const { generation } = budget.metadata;
  const none = { currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  const conditions = allowance(budget, now, { status: 'False', reason: 'SyncFailed', message: failure });
  return {
    status: {
      ...none,
      ...budget.status,
      disruptionsAllowed: 0,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      conditions,
    },
    unmanaged: [],
    forgotten: [],
    failure,
    again: undefined,
  };
}

function allowance(
  { metadata: { generation }, status }: PodDisruptionBudget,
  now: number,
  condition: { status: 'True' | 'False'; reason: string; message: string },
): Condition[] {
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  const lastTransitionTime = timestamp(now);
  const next = { type: 'DisruptionAllowed', ...condition, ...observed, lastTransitionTime };
  return withCondition(status?.conditions, next, lastTransitionTime);
}

/** Keeps the status of PodDisruptionBudgets; the eviction subresource takes from it. */
export function disruptionController(context: ControllerContext): Controller {
  const { client, clock, informers } = context;
  const recorder = context.events.of(NAME);
  const budgets = informers.of(POD_DISRUPTION_BUDGETS);
  const pods = informers.of(PODS);
  const deployments = informers.of(DEPLOYMENTS);
  const replicaSets = informers.of(REPLICA_SETS);
  const replicationControllers = informers.of(REPLICATION_CONTROLLERS);
  const statefulSets = informers.of(STATEFUL_SETS);
  const selects = selectorCache();
  const matches = ({ spec }: PodDisruptionBudget, pod: Pod): boolean =>
    selects(spec?.selector, pod.metadata.labels);

  const scaleOf: ScaleOf = (pod) => {
    const { namespace } = pod.metadata;
    const owner = controllerOf(pod);
    if (!owner) return 'unmanaged';
    if (owner.kind === 'ReplicaSet') {
      const set = replicaSets.get(namespace, owner.name);
      if (set?.metadata.uid !== owner.uid) return undefined;
      const above = controllerOf(set);
      const deployment = above?.kind === 'Deployment' ? deployments.get(namespace, above.name) : undefined;
      return {
        owner: deployment?.metadata.uid ?? owner.uid,
        replicas: (deployment ?? set).spec?.replicas ?? 1,
      };
    }
    const found =
      owner.kind === 'StatefulSet'
        ? statefulSets.get(namespace, owner.name)
        : owner.kind === 'ReplicationController'
          ? replicationControllers.get(namespace, owner.name)
          : undefined;
    return found?.metadata.uid === owner.uid
      ? { owner: owner.uid, replicas: found.spec?.replicas ?? 1 }
      : undefined;
  };

  /** All budgets of a namespace: after a change of some controller's scale. */
  const inNamespace = (namespace: string | undefined): string[] =>
    budgets.list(namespace ?? '').map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
  const scaled = <T extends { metadata: { namespace?: string }; spec?: { replicas?: number } }>(
    object: T,
    { old }: { old?: T },
  ): string[] | undefined =>
    old && old.spec?.replicas === object.spec?.replicas ? undefined : inNamespace(object.metadata.namespace);

  return new Controller({
    name: NAME,
    clock,
    logger: context.logger,
    watches: [
      watch(budgets),
      watch(pods, (pod, { old }) =>
        budgets
          .list(pod.metadata.namespace ?? '')
          .filter((budget) => matches(budget, pod) || (old !== undefined && matches(budget, old)))
          .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
      ),
      watch(deployments, scaled),
      watch(replicaSets, scaled),
      watch(replicationControllers, scaled),
      watch(statefulSets, scaled),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const budget = budgets.get(namespace, name);
      if (!budget || budget.metadata.deletionTimestamp !== undefined) return undefined;
      const selected = pods.list(namespace ?? '').filter((pod) => matches(budget, pod));
      const { status, unmanaged, forgotten, failure, again } = budgetStatus({
        budget,
        pods: selected,
        scaleOf,
        now: clock.now(),
      });
      if (failure !== undefined) {
        const message = `Failed to calculate the number of expected pods: ${failure}`;
        recorder.record(budget, 'Warning', 'CalculateExpectedPodCountFailed', message);
      }
      for (const pod of forgotten) {
        const message = `Pod was expected by PDB ${key} to be deleted but it wasn't`;
        recorder.record(pod, 'Warning', 'NotDeleted', message);
      }
      if (unmanaged.length > 0) {
        const names = unmanaged.map(({ metadata }) => metadata.name).join(' ');
        recorder.record(
          budget,
          'Warning',
          'UnmanagedPods',
          `Pods selected by this PodDisruptionBudget (selector: ${JSON.stringify(budget.spec?.selector ?? {})}) were found to be unmanaged: [${names}]. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior.`,
        );
      }
      if (!sameJson(status, budget.status)) {
        await client.updateStatus(POD_DISRUPTION_BUDGETS, { ...budget, status });
      }
      return again;
    },
  });
}
