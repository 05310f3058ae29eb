import { claimsUsed } from '../../../api/pod-references.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import type { Informer } from '../../../client/informer.ts';

/** Index of pods by the claims that they use. */
export const CLAIM_USERS = 'storage/claim';

export const indexUsers = (pods: Informer<Pod>): Informer<Pod> => pods.addIndex(CLAIM_USERS, claimsUsed);
