import type { Deployment, ReplicaSet } from '../../../api/types/apps-v1.ts';
import type { PodTemplateSpec } from '../../../api/types/core-v1.ts';
import type { NewObject } from '../../../client/port.ts';
import { sameJson } from '../../../lib/equal.ts';
import { safeHash } from '../shared/hash.ts';
import { rollingLimits } from '../shared/int-or-percent.ts';
import { controllerRef } from '../shared/ownership.ts';
import { createdAt } from '../shared/pods.ts';

export const TEMPLATE_HASH = 'pod-template-hash';
export const REVISION = 'deployment.kubernetes.io/revision';
const REVISION_HISTORY = 'deployment.kubernetes.io/revision-history';
const DESIRED_REPLICAS = 'deployment.kubernetes.io/desired-replicas';
const MAX_REPLICAS = 'deployment.kubernetes.io/max-replicas';
/** Annotations of the Deployment that its ReplicaSets do not inherit. */
const NOT_COPIED = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  REVISION,
  REVISION_HISTORY,
  DESIRED_REPLICAS,
  MAX_REPLICAS,
  'deprecated.deployment.rollback.to',
]);

/** A ReplicaSet with the changes that are planned for it; written once, at the end of a pass. */
export interface Draft {
  readonly source: ReplicaSet;
  replicas: number;
  annotations: Record<string, string>;
  minReadySeconds: number;
}

export const draftOf = (source: ReplicaSet): Draft => ({
  source,
  replicas: source.spec?.replicas ?? 1,
  annotations: { ...source.metadata.annotations },
  minReadySeconds: source.spec?.minReadySeconds ?? 0,
});

export function draftChanged({ source, replicas, annotations, minReadySeconds }: Draft): boolean {
  return (
    replicas !== (source.spec?.replicas ?? 1) ||
    minReadySeconds !== (source.spec?.minReadySeconds ?? 0) ||
    !sameJson(annotations, source.metadata.annotations ?? {})
  );
}

export function draftResult({ source, replicas, annotations, minReadySeconds }: Draft): ReplicaSet {
  return {
    ...source,
    metadata: { ...source.metadata, annotations },
    spec: { ...source.spec, selector: source.spec?.selector ?? {}, replicas, minReadySeconds },
  };
}

export const desiredReplicas = (deployment: Deployment): number => deployment.spec?.replicas ?? 1;
export const isRolling = (deployment: Deployment): boolean =>
  (deployment.spec?.strategy?.type ?? 'RollingUpdate') === 'RollingUpdate';

export function maxSurge(deployment: Deployment): number {
  if (!isRolling(deployment)) return 0;
  return rollingLimits(deployment.spec?.strategy?.rollingUpdate, desiredReplicas(deployment)).surge;
}

export function maxUnavailable(deployment: Deployment): number {
  const replicas = desiredReplicas(deployment);
  if (!isRolling(deployment) || replicas === 0) return 0;
  return Math.min(replicas, rollingLimits(deployment.spec?.strategy?.rollingUpdate, replicas).unavailable);
}

export const revisionOf = (annotations: Readonly<Record<string, string>> | undefined): number =>
  Number(annotations?.[REVISION] ?? 0) || 0;

/** The annotated number, or undefined when there is none (or nonsense). */
function annotatedNumber(annotations: Readonly<Record<string, string>>, key: string): number | undefined {
  const text = annotations[key];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
export const annotatedDesired = (draft: Draft): number | undefined =>
  annotatedNumber(draft.annotations, DESIRED_REPLICAS);
export const annotatedMax = (draft: Draft): number | undefined =>
  annotatedNumber(draft.annotations, MAX_REPLICAS);

/** Records for which size of the Deployment this ReplicaSet was scaled: proportional scaling counts from there. */
export function annotateSize(draft: Draft, deployment: Deployment): void {
  draft.annotations[DESIRED_REPLICAS] = String(desiredReplicas(deployment));
  draft.annotations[MAX_REPLICAS] = String(desiredReplicas(deployment) + maxSurge(deployment));
}

/** The ReplicaSet whose template is the Deployment's own, and all others, oldest first. */
export function splitReplicaSets(
  deployment: Deployment,
  replicaSets: readonly ReplicaSet[],
): { current: ReplicaSet | undefined; old: ReplicaSet[] } {
  const sorted = [...replicaSets].sort(byCreation);
  const current = sorted.find((set) => sameTemplate(set.spec?.template, deployment.spec?.template));
  return { current, old: sorted.filter((set) => set !== current) };
}

export function byCreation(a: ReplicaSet, b: ReplicaSet): number {
  return createdAt(a) - createdAt(b) || ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1);
}

export function sameTemplate(a: PodTemplateSpec | undefined, b: PodTemplateSpec | undefined): boolean {
  return sameJson(withoutHash(a), withoutHash(b));
}

function withoutHash(template: PodTemplateSpec | undefined): PodTemplateSpec {
  const { [TEMPLATE_HASH]: _hash, ...labels } = template?.metadata?.labels ?? {};
  const { creationTimestamp: _none, ...metadata } = template?.metadata ?? {};
  return { ...template, metadata: { ...metadata, labels } };
}

/** Brings an existing newest ReplicaSet in line: the Deployment's annotations, its revision and minReadySeconds. */
export function refreshCurrent(draft: Draft, deployment: Deployment, revision: number): void {
  copyAnnotations(draft.annotations, deployment);
  const before = draft.annotations[REVISION];
  if (revisionOf(draft.annotations) < revision) {
    draft.annotations[REVISION] = String(revision);
    if (before !== undefined) {
      const history = draft.annotations[REVISION_HISTORY];
      draft.annotations[REVISION_HISTORY] = history ? `${history},${before}` : before;
    }
  }
  draft.minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
}

function copyAnnotations(target: Record<string, string>, deployment: Deployment): void {
  for (const [key, value] of Object.entries(deployment.metadata.annotations ?? {})) {
    if (!NOT_COPIED.has(key)) target[key] = value;
  }
}

/** The ReplicaSet for the Deployment's present template. */
export function newReplicaSet(
  deployment: Deployment,
  revision: number,
  replicas: number,
): NewObject<ReplicaSet> & { metadata: { name: string } } {
  const template = deployment.spec?.template ?? {};
  const hash = safeHash(template, deployment.status?.collisionCount);
  const annotations: Record<string, string> = {};
  copyAnnotations(annotations, deployment);
  annotations[REVISION] = String(revision);
  annotations[DESIRED_REPLICAS] = String(desiredReplicas(deployment));
  annotations[MAX_REPLICAS] = String(desiredReplicas(deployment) + maxSurge(deployment));
  const labels = { ...template.metadata?.labels, [TEMPLATE_HASH]: hash };
  const selector = deployment.spec?.selector ?? {};
  return {
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace ?? '',
      labels,
      annotations,
      ownerReferences: [controllerRef(deployment)],
    },
    spec: {
      replicas,
      minReadySeconds: deployment.spec?.minReadySeconds ?? 0,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [TEMPLATE_HASH]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
}
