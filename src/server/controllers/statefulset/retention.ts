import type { StatefulSet } from '../../../api/types/apps-v1.ts';
import type { PersistentVolumeClaim, Pod } from '../../../api/types/core-v1.ts';
import type { OwnerReference } from '../../../api/types/meta-v1.ts';

/** Who a claim made from one of the set's templates goes with, by persistentVolumeClaimRetentionPolicy. */
export function setReference(set: StatefulSet): OwnerReference {
  const { name = '', uid = '' } = set.metadata;
  return { apiVersion: set.apiVersion, kind: set.kind, name, uid, controller: true };
}

/**
 * The claim's owners as the policy wants them; undefined when they are so already, or when somebody else controls the
 * claim. With whenDeleted: Delete it goes with the set; with whenScaled: Delete it goes with a pod that is taken away for
 * good, which it is handed over to before. Pure.
 */
export function claimOwners(input: {
  set: StatefulSet;
  claim: PersistentVolumeClaim;
  /** The set's pod that uses it. */
  pod: Pod;
  /** The pod is beyond the size and is being taken away. */
  condemned: boolean;
}): OwnerReference[] | undefined {
  const { set, claim, pod, condemned } = input;
  const owners = claim.metadata.ownerReferences ?? [];
  const isSet = (owner: OwnerReference): boolean => owner.uid === set.metadata.uid;
  // Also a former pod of that name, which was taken away and came back with a larger size.
  const isPod = ({ kind, name }: OwnerReference): boolean => kind === 'Pod' && name === pod.metadata.name;
  if (owners.some((owner) => owner.controller && !isSet(owner) && !isPod(owner))) return undefined;
  const { whenDeleted, whenScaled } = set.spec?.persistentVolumeClaimRetentionPolicy ?? {};
  const withPod = whenScaled === 'Delete' && condemned;
  const withSet = whenDeleted === 'Delete' && !withPod;
  const wanted: OwnerReference[] = owners.filter((owner) => !isSet(owner) && !isPod(owner));
  if (withSet) wanted.push(owners.find(isSet) ?? setReference(set));
  if (withPod) {
    const { name = '', uid = '' } = pod.metadata;
    wanted.push({ apiVersion: 'v1', kind: 'Pod', name, uid });
  }
  const same =
    wanted.length === owners.length && wanted.every(({ uid }) => owners.some((one) => one.uid === uid));
  return same ? undefined : wanted;
}
