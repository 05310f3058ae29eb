import type { ReplicaSetCondition, ReplicaSetStatus } from '../../../api/types/apps-v1.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { sameJson } from '../../../lib/equal.ts';
import { findCondition, withCondition, withoutCondition } from '../shared/conditions.ts';
import { isActive, isAvailable, isReady, isTerminating, rankForDeletion } from '../shared/pods.ts';

/** Never more pods at once, in either direction: the rest follows when these are seen. */
export const BURST_REPLICAS = 500;

export interface ReplicaPlan {
  create: number;
  remove: Pod[];
}

/** How many pods to make, or which to give up. `related` are active pods of the same owner's siblings (all ReplicaSets of a Deployment). */
export function planReplicas(input: {
  replicas: number;
  pods: readonly Pod[];
  related: readonly Pod[];
  now: number;
}): ReplicaPlan {
  const active = input.pods.filter(isActive);
  const missing = input.replicas - active.length;
  if (missing >= 0) return { create: Math.min(missing, BURST_REPLICAS), remove: [] };
  const count = Math.min(-missing, BURST_REPLICAS);
  if (count === active.length) return { create: 0, remove: active };
  const onNode = new Map<string, number>();
  for (const { spec } of input.related) {
    if (spec?.nodeName) onNode.set(spec.nodeName, (onNode.get(spec.nodeName) ?? 0) + 1);
  }
  const ranked = rankForDeletion(active, (pod) => onNode.get(pod.spec?.nodeName ?? '') ?? 0, input.now);
  return { create: 0, remove: ranked.slice(0, count) };
}

/** The status of a ReplicaSet or ReplicationController from its pods and what became of the plan. */
export function replicaStatus(input: {
  pods: readonly Pod[];
  templateLabels: Readonly<Record<string, string>>;
  minReadySeconds: number;
  generation: number | undefined;
  current: ReplicaSetStatus | undefined;
  /** The plan's failure: what was tried and what was answered. */
  failure: { reason: 'FailedCreate' | 'FailedDelete'; message: string } | undefined;
  countTerminating: boolean;
  now: number;
  timestamp: string;
}): ReplicaSetStatus {
  const active = input.pods.filter(isActive);
  const labels = Object.entries(input.templateLabels);
  let fullyLabeled = 0;
  let ready = 0;
  let available = 0;
  for (const pod of active) {
    if (labels.every(([key, value]) => pod.metadata.labels?.[key] === value)) fullyLabeled += 1;
    if (!isReady(pod)) continue;
    ready += 1;
    if (isAvailable(pod, input.minReadySeconds, input.now)) available += 1;
  }
  // The first failure's message stays: it may hold a generated name, and a status that changes with every attempt would
  // make its own next attempt at once.
  let conditions: ReplicaSetCondition[] = input.current?.conditions ?? [];
  if (!input.failure) conditions = withoutCondition(conditions, 'ReplicaFailure');
  else if (!findCondition(conditions, 'ReplicaFailure')) {
    const failed = { type: 'ReplicaFailure', status: 'True', ...input.failure };
    conditions = withCondition(conditions, failed, input.timestamp);
  }
  return {
    replicas: active.length,
    ...(fullyLabeled > 0 ? { fullyLabeledReplicas: fullyLabeled } : {}),
    ...(ready > 0 ? { readyReplicas: ready } : {}),
    ...(available > 0 ? { availableReplicas: available } : {}),
    ...(input.countTerminating ? { terminatingReplicas: input.pods.filter(isTerminating).length } : {}),
    ...(input.generation === undefined ? {} : { observedGeneration: input.generation }),
    ...(conditions.length > 0 ? { conditions } : {}),
  };
}

export function statusDiffers(a: ReplicaSetStatus | undefined, b: ReplicaSetStatus): boolean {
  return !sameJson(a, b);
}
