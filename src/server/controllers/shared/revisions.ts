import { isAlreadyExists } from '../../../api/errors.ts';
import { CONTROLLER_REVISIONS } from '../../../api/kinds.ts';
import type { KubeObject } from '../../../api/object.ts';
import type { ControllerRevision } from '../../../api/types/apps-v1.ts';
import type { PodTemplateSpec } from '../../../api/types/core-v1.ts';
import type { Client, NewObject } from '../../../client/port.ts';
import { sameJson } from '../../../lib/equal.ts';
import { safeHash } from './hash.ts';
import { controllerOf, controllerRef } from './ownership.ts';

export const REVISION_HASH = 'controller-revision-hash';

/** What a revision holds: a patch that puts the template back, as kubectl rollout undo applies it. */
function revisionData(template: PodTemplateSpec | undefined): Record<string, unknown> {
  return { spec: { template: { ...template, $patch: 'replace' } } };
}

/** The template that a revision holds. */
export function templateOf(revision: ControllerRevision): PodTemplateSpec {
  const { $patch: _patch, ...template } = ((revision.data?.spec as { template?: object })?.template ??
    {}) as PodTemplateSpec & { $patch?: string };
  return template;
}

export const byRevision = (a: ControllerRevision, b: ControllerRevision): number =>
  a.revision - b.revision || ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1);

export const hashOf = (revision: ControllerRevision): string =>
  revision.metadata.labels?.[REVISION_HASH] ?? revision.metadata.name ?? '';

export type RevisionStep =
  | { do: 'nothing'; current: ControllerRevision }
  /** The template was there before: its revision becomes the newest. */
  | { do: 'renumber'; current: ControllerRevision; revision: number }
  | { do: 'create'; revision: NewObject<ControllerRevision> & { metadata: { name: string } } };

/** What makes the newest revision say what the owner's template is. */
export function decideRevision(
  owner: KubeObject,
  template: PodTemplateSpec | undefined,
  revisions: readonly ControllerRevision[],
  collisionCount: number | undefined,
  hashLabel = REVISION_HASH,
): RevisionStep {
  const sorted = [...revisions].sort(byRevision);
  const newest = sorted.at(-1);
  const data = revisionData(template);
  const next = (newest?.revision ?? 0) + 1;
  const equal = sorted.filter((one) => sameJson(one.data, data)).at(-1);
  if (equal && equal === newest) return { do: 'nothing', current: equal };
  if (equal) return { do: 'renumber', current: equal, revision: next };
  const hash = safeHash(template, collisionCount);
  return {
    do: 'create',
    revision: {
      metadata: {
        name: `${owner.metadata.name}-${hash}`,
        namespace: owner.metadata.namespace ?? '',
        labels: { ...template?.metadata?.labels, [hashLabel]: hash },
        ownerReferences: [controllerRef(owner)],
      },
      data,
      revision: next,
    },
  };
}

/** Carries the step out. Undefined when the name belongs to other data: the caller raises its collision count. */
export async function executeRevision(
  client: Client,
  owner: KubeObject,
  step: RevisionStep,
): Promise<ControllerRevision | undefined> {
  const namespace = owner.metadata.namespace;
  if (step.do === 'nothing') return step.current;
  if (step.do === 'renumber') {
    return await client.update(CONTROLLER_REVISIONS, { ...step.current, revision: step.revision });
  }
  try {
    return await client.create(CONTROLLER_REVISIONS, namespace, step.revision);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    const existing = await client.get(CONTROLLER_REVISIONS, namespace, step.revision.metadata.name);
    const ours = controllerOf(existing)?.uid === owner.metadata.uid;
    return ours && sameJson(existing.data, step.revision.data) ? existing : undefined;
  }
}

/** Revisions beyond the limit that nothing runs any more, the oldest first. */
export function surplusRevisions(
  revisions: readonly ControllerRevision[],
  live: ReadonlySet<string>,
  limit: number,
  idOf: (revision: ControllerRevision) => string = hashOf,
): ControllerRevision[] {
  const unused = [...revisions].sort(byRevision).filter((revision) => !live.has(idOf(revision)));
  return unused.slice(0, Math.max(0, unused.length - limit));
}
