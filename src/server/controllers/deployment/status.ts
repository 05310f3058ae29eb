import type { Deployment, DeploymentCondition, DeploymentStatus } from '../../../api/types/apps-v1.ts';
import { timestamp } from '../../../lib/clock.ts';
import { findCondition, withoutCondition } from '../shared/conditions.ts';
import { type Draft, desiredReplicas, maxUnavailable } from './replica-sets.ts';
import { sumReplicas } from './rolling.ts';

/** MaxInt32 means no deadline, as Kubernetes has it. */
export const hasDeadline = (deployment: Deployment): boolean =>
  (deployment.spec?.progressDeadlineSeconds ?? 600) !== 2147483647;

/** Sets a condition unless it says so already; the transition time moves only with the status. */
export function setCondition(
  conditions: readonly DeploymentCondition[],
  next: { type: string; status: string; reason: string; message: string },
  now: number,
): DeploymentCondition[] {
  const current = findCondition(conditions, next.type);
  if (current?.status === next.status && current.reason === next.reason) return [...conditions];
  const time = timestamp(now);
  const transition =
    current?.status === next.status && current.lastTransitionTime ? current.lastTransitionTime : time;
  return [
    ...withoutCondition(conditions, next.type),
    { ...next, lastUpdateTime: time, lastTransitionTime: transition },
  ];
}

/** Everything but the Progressing condition, from the ReplicaSets as they are reported. */
export function baseStatus(input: {
  deployment: Deployment;
  current: Draft | undefined;
  all: readonly Draft[];
  conditions: readonly DeploymentCondition[];
  now: number;
}): DeploymentStatus {
  const { deployment, current, all } = input;
  const count = (read: 'replicas' | 'readyReplicas' | 'availableReplicas' | 'terminatingReplicas'): number =>
    all.reduce((sum, { source }) => sum + (source.status?.[read] ?? 0), 0);
  const available = count('availableReplicas');
  const unavailable = Math.max(0, sumReplicas(all) - available);
  const enough = available >= desiredReplicas(deployment) - maxUnavailable(deployment);
  const conditions = setCondition(
    input.conditions,
    enough
      ? {
          type: 'Available',
          status: 'True',
          reason: 'MinimumReplicasAvailable',
          message: 'Deployment has minimum availability.',
        }
      : {
          type: 'Available',
          status: 'False',
          reason: 'MinimumReplicasUnavailable',
          message: 'Deployment does not have minimum availability.',
        },
    input.now,
  );
  const { collisionCount } = deployment.status ?? {};
  return prune({
    observedGeneration: deployment.metadata.generation,
    replicas: count('replicas'),
    updatedReplicas: current?.source.status?.replicas,
    readyReplicas: count('readyReplicas'),
    availableReplicas: available,
    unavailableReplicas: unavailable,
    terminatingReplicas: count('terminatingReplicas'),
    collisionCount,
    conditions,
  });
}

/** Zero counts are left out, as `omitempty` does; terminatingReplicas is a pointer there and stays. */
function prune(
  status: {
    [Field in keyof DeploymentStatus]: DeploymentStatus[Field] | undefined;
  },
): DeploymentStatus {
  return Object.fromEntries(
    Object.entries(status).filter(
      ([field, value]) => value !== undefined && (value !== 0 || field === 'terminatingReplicas'),
    ),
  ) as DeploymentStatus;
}

/** Adds what is known of the rollout's progress, and of ReplicaSets that cannot make their pods. */
export function rolloutStatus(input: {
  deployment: Deployment;
  current: Draft | undefined;
  all: readonly Draft[];
  conditions: readonly DeploymentCondition[];
  now: number;
}): DeploymentStatus {
  const { deployment, current, all, now } = input;
  const status = baseStatus(input);
  let conditions = status.conditions ?? [];
  const progressing = findCondition(conditions, 'Progressing');
  if (!hasDeadline(deployment)) {
    conditions = withoutCondition(conditions, 'Progressing');
  } else {
    const settled =
      (status.replicas ?? 0) === (status.updatedReplicas ?? 0) &&
      progressing?.reason === 'NewReplicaSetAvailable';
    if (!settled) conditions = withProgress(deployment, status, current, conditions, now);
  }
  const failure = replicaFailure(current, all);
  conditions = failure
    ? setCondition(conditions, failure, now)
    : withoutCondition(conditions, 'ReplicaFailure');
  return { ...status, conditions };
}

function withProgress(
  deployment: Deployment,
  status: DeploymentStatus,
  current: Draft | undefined,
  conditions: readonly DeploymentCondition[],
  now: number,
): DeploymentCondition[] {
  const subject = current
    ? `ReplicaSet "${current.source.metadata.name}"`
    : `Deployment "${deployment.metadata.name}"`;
  const before = findCondition(conditions, 'Progressing');
  if (isComplete(deployment, status)) {
    const message = `${subject} has successfully progressed.`;
    return setCondition(
      conditions,
      { type: 'Progressing', status: 'True', reason: 'NewReplicaSetAvailable', message },
      now,
    );
  }
  if (hasProgressed(deployment, status)) {
    const next = {
      type: 'Progressing',
      status: 'True',
      reason: 'ReplicaSetUpdated',
      message: `${subject} is progressing.`,
    };
    // Replaced even when it reads the same: lastUpdateTime is what the deadline counts from.
    const transition =
      before?.status === 'True' && before.lastTransitionTime ? before.lastTransitionTime : timestamp(now);
    return [
      ...withoutCondition(conditions, 'Progressing'),
      { ...next, lastUpdateTime: timestamp(now), lastTransitionTime: transition },
    ];
  }
  if (hasTimedOut(deployment, before, now)) {
    const message = `${subject} has timed out progressing.`;
    return setCondition(
      conditions,
      { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message },
      now,
    );
  }
  return [...conditions];
}

/** All replicas are of the newest template, available, and nothing old is left. */
export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const desired = desiredReplicas(deployment);
  return (
    (status.updatedReplicas ?? 0) === desired &&
    (status.replicas ?? 0) === desired &&
    (status.availableReplicas ?? 0) === desired &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

function hasProgressed(deployment: Deployment, next: DeploymentStatus): boolean {
  const last = deployment.status ?? {};
  const old = (status: DeploymentStatus): number => (status.replicas ?? 0) - (status.updatedReplicas ?? 0);
  return (
    (next.updatedReplicas ?? 0) > (last.updatedReplicas ?? 0) ||
    old(next) < old(last) ||
    (next.readyReplicas ?? 0) > (last.readyReplicas ?? 0) ||
    (next.availableReplicas ?? 0) > (last.availableReplicas ?? 0)
  );
}

function hasTimedOut(
  deployment: Deployment,
  progressing: DeploymentCondition | undefined,
  now: number,
): boolean {
  if (!progressing || progressing.reason === 'NewReplicaSetAvailable') return false;
  if (progressing.reason === 'ProgressDeadlineExceeded') return true;
  return deadlineOf(deployment, progressing) < now;
}

function deadlineOf(deployment: Deployment, progressing: DeploymentCondition): number {
  const from = Date.parse(progressing.lastUpdateTime ?? progressing.lastTransitionTime ?? '');
  return from + (deployment.spec?.progressDeadlineSeconds ?? 600) * 1000;
}

/** When to look again at a rollout that does not move, in ms from now; undefined when nothing is under way. */
export function untilDeadline(
  deployment: Deployment,
  status: DeploymentStatus,
  now: number,
): number | undefined {
  const progressing = findCondition(status.conditions, 'Progressing');
  if (!hasDeadline(deployment) || !progressing || isComplete(deployment, status)) return undefined;
  if (progressing.reason === 'ProgressDeadlineExceeded' || deployment.spec?.paused) return undefined;
  return Math.max(0, deadlineOf(deployment, progressing) - now) + 1000;
}

/** The failure of the newest ReplicaSet, else of an old one. */
function replicaFailure(
  current: Draft | undefined,
  all: readonly Draft[],
): { type: string; status: string; reason: string; message: string } | undefined {
  const order = current ? [current, ...all.filter((draft) => draft !== current)] : all;
  for (const { source } of order) {
    const found = findCondition(source.status?.conditions, 'ReplicaFailure');
    if (found) {
      const { type, status, reason = '', message = '' } = found;
      return { type, status, reason, message };
    }
  }
  return undefined;
}
