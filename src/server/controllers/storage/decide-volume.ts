// What has to happen for a volume: syncVolume of pkg/controller/volume/persistentvolume, as data.
import { PROVISIONED_BY } from '../../../api/local-path.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../api/types/core-v1.ts';
import type { Happening } from './decide-claim.ts';
import { BOUND_BY_CONTROLLER } from './names.ts';

type Phase = NonNullable<NonNullable<PersistentVolume['status']>['phase']>;

export interface VolumeDecision {
  /** Taken back from a claim that is bound elsewhere. */
  unbind?: true;
  /** Absent: it stays as it is. */
  phase?: Phase;
  message?: string;
  event?: Happening;
}

/** `claim` is the one that claimRef names, whatever its uid. */
export function decideVolume(
  volume: PersistentVolume,
  claim: PersistentVolumeClaim | undefined,
): VolumeDecision {
  const owner = volume.spec?.claimRef;
  if (!owner?.uid) return { phase: 'Available' };
  if (!claim || claim.metadata.uid !== owner.uid) return released(volume);
  const named = claim.spec?.volumeName ?? '';
  if (named === '') {
    const wanted = claim.spec?.volumeMode ?? 'Filesystem';
    if ((volume.spec?.volumeMode ?? 'Filesystem') === wanted) return {};
    return {
      event: {
        type: 'Warning',
        reason: 'VolumeMismatch',
        message: `Cannot bind PersistentVolume to requested PersistentVolumeClaim "${owner.name}" due to incompatible volumeMode.`,
      },
    };
  }
  if (named === volume.metadata.name) return { phase: 'Bound' };
  const { annotations = {} } = volume.metadata;
  if (annotations[PROVISIONED_BY] && volume.spec?.persistentVolumeReclaimPolicy === 'Delete')
    return released(volume);
  return { unbind: true, phase: 'Available' };
}

function released(volume: PersistentVolume): VolumeDecision {
  if (volume.status?.phase === 'Failed') return {};
  const policy = volume.spec?.persistentVolumeReclaimPolicy ?? 'Retain';
  const failed = (reason: string, message: string): VolumeDecision => ({
    phase: 'Failed',
    message,
    event: { type: 'Warning', reason, message },
  });
  if (policy === 'Recycle') {
    return failed('VolumeFailedRecycle', 'No recycler plugin found for the volume!');
  }
  // What a provisioner made it also deletes.
  if (policy === 'Delete' && !volume.metadata.annotations?.[PROVISIONED_BY]) {
    return failed(
      'VolumeFailedDelete',
      `error getting deleter volume plugin for volume "${volume.metadata.name}": no deletable volume plugin matched`,
    );
  }
  return { phase: 'Released' };
}

/** Without its claim; one that a user reserved stays reserved for the name. */
export function unboundVolume(volume: PersistentVolume): PersistentVolume {
  const { [BOUND_BY_CONTROLLER]: byController, ...annotations } = volume.metadata.annotations ?? {};
  const { claimRef, ...spec } = volume.spec ?? {};
  if (byController === undefined) {
    const { uid: _uid, resourceVersion: _revision, ...reserved } = claimRef ?? {};
    return { ...volume, spec: { ...spec, claimRef: reserved } };
  }
  return { ...volume, metadata: { ...volume.metadata, annotations }, spec };
}
