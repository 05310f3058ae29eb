import type { Deployment } from '../../../api/types/apps-v1.ts';
import {
  annotatedDesired,
  annotatedMax,
  annotateSize,
  byCreation,
  type Draft,
  desiredReplicas,
  isRolling,
  maxSurge,
  maxUnavailable,
} from './replica-sets.ts';

// Each function changes the drafts' replicas and says whether it did. The names and the arithmetic are those of
// Kubernetes' deployment controller; its integers are rounded as there.

export const sumReplicas = (drafts: readonly Draft[]): number =>
  drafts.reduce((sum, draft) => sum + draft.replicas, 0);

const available = (draft: Draft): number => draft.source.status?.availableReplicas ?? 0;

function resize(draft: Draft, replicas: number, deployment: Deployment): boolean {
  annotateSize(draft, deployment);
  if (draft.replicas === replicas) return false;
  draft.replicas = replicas;
  return true;
}

/** How large the newest ReplicaSet may be now, given what the others still hold. */
export function currentSize(deployment: Deployment, current: number, total: number): number {
  const desired = desiredReplicas(deployment);
  if (!isRolling(deployment)) return desired;
  const room = desired + maxSurge(deployment) - total;
  if (room <= 0) return current;
  return current + Math.min(room, desired - current);
}

export function growCurrent(deployment: Deployment, current: Draft, all: readonly Draft[]): boolean {
  const desired = desiredReplicas(deployment);
  if (current.replicas === desired) return false;
  if (current.replicas > desired) return resize(current, desired, deployment);
  const size = currentSize(deployment, current.replicas, sumReplicas(all));
  return size === current.replicas ? false : resize(current, size, deployment);
}

/** Takes old pods away as far as availability allows: those that are not available first, they help nobody. */
export function shrinkOld(
  deployment: Deployment,
  current: Draft | undefined,
  old: readonly Draft[],
): boolean {
  if (sumReplicas(old) === 0) return false;
  const all = current ? [...old, current] : old;
  const minAvailable = desiredReplicas(deployment) - maxUnavailable(deployment);
  const currentUnavailable = current ? current.replicas - available(current) : 0;
  let allowance = sumReplicas(all) - minAvailable - currentUnavailable;
  if (allowance <= 0) return false;

  let changed = false;
  const oldestFirst = [...old].sort((a, b) => byCreation(a.source, b.source));
  for (const draft of oldestFirst) {
    if (allowance <= 0) break;
    const unhealthy = Math.min(allowance, draft.replicas - available(draft));
    if (draft.replicas === 0 || unhealthy <= 0) continue;
    changed = resize(draft, draft.replicas - unhealthy, deployment) || changed;
    allowance -= unhealthy;
  }

  let spare = all.reduce((sum, draft) => sum + available(draft), 0) - minAvailable;
  for (const draft of oldestFirst) {
    if (spare <= 0) break;
    const count = Math.min(draft.replicas, spare);
    if (count === 0) continue;
    changed = resize(draft, draft.replicas - count, deployment) || changed;
    spare -= count;
  }
  return changed;
}

export function shrinkAll(deployment: Deployment, old: readonly Draft[]): boolean {
  let changed = false;
  for (const draft of old) if (draft.replicas > 0) changed = resize(draft, 0, deployment) || changed;
  return changed;
}

/** Was the Deployment's size changed since its ReplicaSets were scaled? Then they are scaled before anything rolls. */
export function isScaling(deployment: Deployment, all: readonly Draft[]): boolean {
  return all.some((draft) => {
    const recorded = annotatedDesired(draft);
    return draft.replicas > 0 && recorded !== undefined && recorded !== desiredReplicas(deployment);
  });
}

/** Follows a changed size, or a paused rollout's: one active ReplicaSet takes it all, several share in proportion. */
export function scale(deployment: Deployment, current: Draft | undefined, old: readonly Draft[]): void {
  const desired = desiredReplicas(deployment);
  const only = activeOrLatest(current, old);
  if (only) {
    resize(only, desired, deployment);
    return;
  }
  if (current && isSaturated(deployment, current)) {
    shrinkAll(deployment, old);
    return;
  }
  if (!isRolling(deployment)) return;

  const active = [...old, ...(current ? [current] : [])].filter((draft) => draft.replicas > 0);
  const allowed = desired > 0 ? desired + maxSurge(deployment) : 0;
  const toAdd = allowed - sumReplicas(active);
  // The largest first; among equals the newer when growing and the older when shrinking.
  active.sort(
    (a, b) =>
      b.replicas - a.replicas ||
      (toAdd > 0 ? byCreation(b.source, a.source) : byCreation(a.source, b.source)),
  );
  let added = 0;
  const sizes = active.map((draft) => {
    const share = toAdd === 0 ? 0 : proportion(deployment, draft, toAdd, added);
    added += share;
    return draft.replicas + share;
  });
  active.forEach((draft, index) => {
    const leftover = index === 0 && toAdd !== 0 ? toAdd - added : 0;
    resize(draft, Math.max(0, (sizes[index] ?? 0) + leftover), deployment);
  });
}

function activeOrLatest(current: Draft | undefined, old: readonly Draft[]): Draft | undefined {
  const all = current ? [...old, current] : [...old];
  const active = all.filter((draft) => draft.replicas > 0);
  if (active.length > 1) return undefined;
  if (active.length === 1) return active[0];
  return current ?? [...old].sort((a, b) => byCreation(b.source, a.source))[0];
}

function isSaturated(deployment: Deployment, draft: Draft): boolean {
  const desired = desiredReplicas(deployment);
  return annotatedDesired(draft) === desired && draft.replicas === desired && available(draft) === desired;
}

function proportion(deployment: Deployment, draft: Draft, toAdd: number, added: number): number {
  if (draft.replicas === 0 || toAdd === added) return 0;
  const share = fraction(deployment, draft);
  const left = toAdd - added;
  return toAdd > 0 ? Math.min(share, left) : Math.max(share, left);
}

function fraction(deployment: Deployment, draft: Draft): number {
  if (desiredReplicas(deployment) === 0) return -draft.replicas;
  const before = annotatedMax(draft) || deployment.status?.replicas || 0;
  if (before === 0) return 0;
  const exact = (draft.replicas * (desiredReplicas(deployment) + maxSurge(deployment))) / before;
  return Math.round(exact) - draft.replicas;
}
