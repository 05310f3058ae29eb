import type { PodDisruptionBudget } from '../api/types/policy-v1.ts';
import type { MatchSelector } from '../client/selector-cache.ts';
import type { PodInfo } from './pod-info.ts';

/**
 * Of these pods, in their order, those whose eviction would violate a disruption budget: each takes from what a budget
 * still allows. A budget without a selector, or with an empty one, protects nobody here (kube-scheduler's rule), and a pod
 * that is already being disrupted was counted before.
 */
export function protectedBy(
  pods: readonly PodInfo[],
  budgets: (namespace: string) => readonly PodDisruptionBudget[],
  selects: MatchSelector,
): Set<PodInfo> {
  const allowed = new Map<PodDisruptionBudget, number>();
  const guarded = new Set<PodInfo>();
  for (const info of pods) {
    const { namespace = '', name = '', labels } = info.pod.metadata;
    for (const budget of budgets(namespace)) {
      const { selector } = budget.spec ?? {};
      const empty =
        (selector?.matchExpressions ?? []).length === 0 &&
        Object.keys(selector?.matchLabels ?? {}).length === 0;
      if (empty || !selects(selector, labels)) continue;
      if (budget.status?.disruptedPods?.[name] !== undefined) continue;
      const left = (allowed.get(budget) ?? budget.status?.disruptionsAllowed ?? 0) - 1;
      allowed.set(budget, left);
      if (left < 0) guarded.add(info);
    }
  }
  return guarded;
}
