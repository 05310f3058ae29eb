import { selectorMatcher } from '../../src/api/selectors.ts';
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from '../../src/api/types/apps-v1.ts';
import type { Job } from '../../src/api/types/batch-v1.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import type { PodDisruptionBudget } from '../../src/api/types/policy-v1.ts';
import type { Cluster } from './cluster.ts';

export function deploymentProblems({ metadata, spec, status }: Deployment): string[] {
  const title = `deployment ${metadata.namespace}/${metadata.name}`;
  if (metadata.deletionTimestamp !== undefined) return [`${title} is still being deleted`];
  const wanted = spec?.replicas ?? 1;
  const counts = {
    replicas: status?.replicas ?? 0,
    updated: status?.updatedReplicas ?? 0,
    ready: status?.readyReplicas ?? 0,
    available: status?.availableReplicas ?? 0,
  };
  const wrong = Object.entries(counts).filter(([, count]) => count !== wanted);
  if (wrong.length > 0) return [`${title} wants ${wanted} and has ${JSON.stringify(counts)}`];
  if (status?.observedGeneration !== metadata.generation) return [`${title} is not observed`];
  return [];
}

export function daemonSetProblems({ metadata, status }: DaemonSet, boards: number): string[] {
  const title = `daemonset ${metadata.name}`;
  if (metadata.deletionTimestamp !== undefined) return [`${title} is still being deleted`];
  const { desiredNumberScheduled, numberReady, updatedNumberScheduled, numberAvailable } = status ?? {};
  const right = [desiredNumberScheduled, numberReady, updatedNumberScheduled, numberAvailable].every(
    (count) => count === boards,
  );
  return right ? [] : [`${title}: ${JSON.stringify(status)}`];
}

export function statefulSetProblems({ metadata, spec, status }: StatefulSet): string[] {
  const title = `statefulset ${metadata.name}`;
  if (metadata.deletionTimestamp !== undefined) return [`${title} is still being deleted`];
  const wanted = spec?.replicas ?? 1;
  const { replicas = 0, readyReplicas = 0, updatedReplicas = 0 } = status ?? {};
  return replicas === wanted && readyReplicas === wanted && updatedReplicas === wanted
    ? []
    : [`${title} wants ${wanted}: ${JSON.stringify(status)}`];
}

export function jobProblems({ metadata, spec, status }: Job, cluster: Cluster): string[] {
  const title = `job ${metadata.namespace}/${metadata.name}`;
  if (metadata.deletionTimestamp !== undefined) return [`${title} is still being deleted`];
  const is = (type: string): boolean =>
    status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') ?? false;
  const fails = spec?.template?.spec?.containers[0]?.image?.includes('fail') ?? false;
  if (!is('Complete') && !is('Failed')) return [`${title} has not finished: ${JSON.stringify(status)}`];
  const found: string[] = [];
  if ((status?.active ?? 0) > 0) found.push(`${title} has finished and has active pods`);
  if ((status?.uncountedTerminatedPods?.succeeded?.length ?? 0) > 0)
    found.push(`${title} has uncounted pods`);
  if (fails) {
    if (!is('Failed')) found.push(`${title} cannot succeed and is complete`);
    return found;
  }
  if (!is('Complete')) return [...found, `${title} failed: ${JSON.stringify(status)}`];
  const completions = spec?.completions ?? 1;
  const seen = cluster.mirror.succeeded.get(metadata.uid ?? '')?.size ?? 0;
  const completed = cluster.mirror.completed.get(metadata.uid ?? '')?.size ?? 0;
  if (completed > completions)
    found.push(`${title} asks for ${completions} and was completed ${completed} times`);
  if (status?.succeeded !== completions) found.push(`${title} counts ${status?.succeeded} of ${completions}`);
  if (seen < completions) found.push(`${title} is complete, but only ${seen} of its pods have succeeded`);
  return found;
}

export function replicaSetProblems({ metadata, spec, status }: ReplicaSet, pods: readonly Pod[]): string[] {
  const title = `replicaset ${metadata.namespace}/${metadata.name}`;
  if (metadata.deletionTimestamp !== undefined) return [`${title} is still being deleted`];
  const wanted = spec?.replicas ?? 1;
  const mine = pods.filter(
    (pod) =>
      pod.metadata.ownerReferences?.some(({ uid, controller }) => controller && uid === metadata.uid) &&
      pod.status?.phase !== 'Succeeded' &&
      pod.status?.phase !== 'Failed',
  );
  if (mine.length !== wanted || (status?.replicas ?? 0) !== wanted)
    return [`${title} wants ${wanted}, has ${mine.length} and counts ${status?.replicas}`];
  return [];
}

export function budgetProblems(
  { metadata, spec, status }: PodDisruptionBudget,
  pods: readonly Pod[],
): string[] {
  const title = `budget ${metadata.namespace}/${metadata.name}`;
  const matches = selectorMatcher(spec?.selector);
  const healthy = pods.filter(
    (pod) =>
      pod.metadata.namespace === metadata.namespace &&
      matches(pod.metadata.labels) &&
      pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True'),
  ).length;
  const found: string[] = [];
  if (status?.currentHealthy !== healthy)
    found.push(`${title} counts ${status?.currentHealthy} healthy pods of ${healthy}`);
  if (Object.keys(status?.disruptedPods ?? {}).length > 0)
    found.push(`${title} waits for evicted pods: ${JSON.stringify(status?.disruptedPods)}`);
  if (status?.observedGeneration !== metadata.generation) found.push(`${title} is not observed`);
  return found;
}
