// What has to happen for a claim: syncClaim of pkg/controller/volume/persistentvolume, as data.
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../../../api/types/core-v1.ts';
import type { StorageClass } from '../../../api/types/storage-v1.ts';
import { bestMatch, unsatisfied } from './match.ts';
import { BIND_COMPLETED, BOUND_BY_CONTROLLER, claimKey, classOf, refersTo, SELECTED_NODE } from './names.ts';

export interface Happening {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

export type ClaimDecision =
  | { do: 'bind'; volume: PersistentVolume }
  | { do: 'wait'; event?: Happening }
  /** Someone else makes volumes for the class: tell him by the annotation. */
  | { do: 'provision'; provisioner: string; event: Happening }
  | { do: 'lost'; event: Happening };

export interface ClaimFacts {
  /** The volume that the claim names. */
  named: PersistentVolume | undefined;
  /** All volumes of the claim's class. */
  volumes: readonly PersistentVolume[];
  storageClass: StorageClass | undefined;
  /** Pods that use the claim. */
  pods: readonly Pod[];
}

const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

export function decideClaim(claim: PersistentVolumeClaim, facts: ClaimFacts): ClaimDecision {
  if (claim.metadata.annotations?.[BIND_COMPLETED] !== undefined) return decideBound(claim, facts.named);
  if (claim.spec?.volumeName) return decideNamed(claim, facts.named);
  const annotations = claim.metadata.annotations ?? {};
  const delayed = facts.storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
  const volume = bestMatch(claim, facts.volumes, delayed);
  if (volume) return { do: 'bind', volume };
  if (delayed && !annotations[SELECTED_NODE]) return { do: 'wait', event: waitsForPod(facts.pods) };
  const wanted = classOf(claim);
  if (wanted === '') {
    return {
      do: 'wait',
      event: {
        type: 'Normal',
        reason: 'FailedBinding',
        message: 'no persistent volumes available for this claim and no storage class is set',
      },
    };
  }
  const failed = (message: string): ClaimDecision => ({
    do: 'wait',
    event: { type: 'Warning', reason: 'ProvisioningFailed', message },
  });
  if (!facts.storageClass) return failed(`storageclass.storage.k8s.io "${wanted}" not found`);
  const { provisioner } = facts.storageClass;
  if (provisioner === NO_PROVISIONER) return failed(`no volume plugin matched name: ${NO_PROVISIONER}`);
  return {
    do: 'provision',
    provisioner,
    event: {
      type: 'Normal',
      reason: 'ExternalProvisioning',
      message: `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`,
    },
  };
}

function waitsForPod(pods: readonly Pod[]): Happening {
  const names = pods.map(({ metadata }) => metadata.name ?? '').sort();
  if (names.length === 0) {
    return {
      type: 'Normal',
      reason: 'WaitForFirstConsumer',
      message: 'waiting for first consumer to be created before binding',
    };
  }
  const what = names.length === 1 ? 'pod' : 'pods';
  return {
    type: 'Normal',
    reason: 'WaitForPodScheduled',
    message: `waiting for ${what} ${names.join(',')} to be scheduled`,
  };
}

function decideNamed(claim: PersistentVolumeClaim, volume: PersistentVolume | undefined): ClaimDecision {
  if (!volume) return { do: 'wait' };
  if (!volume.spec?.claimRef) {
    const problem = unsatisfied(volume, claim);
    if (problem === undefined) return { do: 'bind', volume };
    const message = `Cannot bind to requested volume "${volume.metadata.name}": ${problem}`;
    return { do: 'wait', event: { type: 'Warning', reason: 'VolumeMismatch', message } };
  }
  if (refersTo(volume, claim)) return { do: 'bind', volume };
  const message = `volume "${volume.metadata.name}" already bound to a different claim.`;
  return { do: 'wait', event: { type: 'Warning', reason: 'FailedBinding', message } };
}

function decideBound(claim: PersistentVolumeClaim, volume: PersistentVolume | undefined): ClaimDecision {
  const lost = (reason: string, message: string): ClaimDecision => ({
    do: 'lost',
    event: { type: 'Warning', reason, message },
  });
  if (!claim.spec?.volumeName) {
    return lost(
      'ClaimLost',
      'Bound claim has lost reference to PersistentVolume. Data on the volume is lost!',
    );
  }
  if (!volume) {
    return lost('ClaimLost', 'Bound claim has lost its PersistentVolume. Data on the volume is lost!');
  }
  if (!volume.spec?.claimRef || refersTo(volume, claim)) return { do: 'bind', volume };
  return lost('ClaimMisbound', 'Two claims are bound to the same volume, this one is bound incorrectly');
}

/** The claim with its volume, to be written when it differs. */
export function boundClaim(claim: PersistentVolumeClaim, volume: PersistentVolume): PersistentVolumeClaim {
  const { annotations = {} } = claim.metadata;
  const chosen = claim.spec?.volumeName !== volume.metadata.name;
  if (!chosen && annotations[BIND_COMPLETED] !== undefined) return claim;
  return {
    ...claim,
    metadata: {
      ...claim.metadata,
      annotations: {
        ...annotations,
        [BIND_COMPLETED]: 'yes',
        ...(chosen ? { [BOUND_BY_CONTROLLER]: 'yes' } : {}),
      },
    },
    spec: { ...claim.spec, volumeName: volume.metadata.name ?? '' },
  };
}

/** Capacity is taken over once: growing it afterwards is the expansion's. */
export function boundStatus(
  claim: PersistentVolumeClaim,
  volume: PersistentVolume,
): NonNullable<PersistentVolumeClaim['status']> {
  const { status } = claim;
  const keeps = status?.phase === 'Bound' && status.capacity?.storage !== undefined;
  return {
    ...status,
    phase: 'Bound',
    accessModes: volume.spec?.accessModes ?? [],
    capacity: keeps ? (status.capacity ?? {}) : { ...status?.capacity, ...volume.spec?.capacity },
  };
}

/** The volume with its claim. */
export function claimedVolume(volume: PersistentVolume, claim: PersistentVolumeClaim): PersistentVolume {
  const owner = volume.spec?.claimRef;
  if (owner && owner.uid === claim.metadata.uid && refersTo(volume, claim)) return volume;
  const [namespace = '', name = ''] = claimKey(claim).split('/');
  return {
    ...volume,
    metadata: {
      ...volume.metadata,
      ...(owner ? {} : { annotations: { ...volume.metadata.annotations, [BOUND_BY_CONTROLLER]: 'yes' } }),
    },
    spec: {
      ...volume.spec,
      claimRef: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        namespace,
        name,
        uid: claim.metadata.uid ?? '',
        resourceVersion: claim.metadata.resourceVersion ?? '',
      },
    },
  };
}
