import type { PersistentVolume, PersistentVolumeClaim } from '../../../api/types/core-v1.ts';

// The annotations of pkg/controller/volume/persistentvolume and component-helpers/storage.
export const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
export const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller';
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
export const STORAGE_PROVISIONER = 'volume.kubernetes.io/storage-provisioner';
export const BETA_STORAGE_PROVISIONER = 'volume.beta.kubernetes.io/storage-provisioner';
const BETA_STORAGE_CLASS = 'volume.beta.kubernetes.io/storage-class';

export const CLAIM_FINALIZER = 'kubernetes.io/pvc-protection';
export const VOLUME_FINALIZER = 'kubernetes.io/pv-protection';
/** Keeps a volume object until what it stands for is deleted (HonorPVReclaimPolicy). */
export const PROVISIONER_FINALIZER = 'external-provisioner.volume.kubernetes.io/finalizer';

export const classOf = ({ metadata, spec }: PersistentVolumeClaim | PersistentVolume): string =>
  metadata.annotations?.[BETA_STORAGE_CLASS] ?? spec?.storageClassName ?? '';

export const claimKey = ({ metadata }: PersistentVolumeClaim): string =>
  `${metadata.namespace}/${metadata.name}`;

/** Is the volume's claimRef this claim? One without uid was put there by a user, before the claim. */
export function refersTo(volume: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const owner = volume.spec?.claimRef;
  if (!owner || owner.namespace !== metadata.namespace || owner.name !== metadata.name) return false;
  return !owner.uid || owner.uid === metadata.uid;
}
