import type { Pod } from '../../../api/types/core-v1.ts';
import type { Informer } from '../../../client/informer.ts';

/** Index of pods by the claims that they use. */
export const CLAIM_USERS = 'storage/claim';

export const indexUsers = (pods: Informer<Pod>): Informer<Pod> => pods.addIndex(CLAIM_USERS, claimsUsed);

/** `namespace/name` of every claim of the pod, those of its ephemeral volumes included. */
export function claimsUsed({ metadata, spec }: Pod): string[] {
  return (spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (persistentVolumeClaim) return [`${metadata.namespace}/${persistentVolumeClaim.claimName}`];
    return ephemeral ? [`${metadata.namespace}/${metadata.name}-${name}`] : [];
  });
}
