import { matchesSelector } from '../api/node-selector.ts';
import { compareQuantities, parseQuantity } from '../api/quantity.ts';
import { selectorMatcher } from '../api/selectors.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../api/types/core-v1.ts';
import type { CSINode, StorageClass } from '../api/types/storage-v1.ts';
import type { PodInfo } from './pod-info.ts';
import type { NodeInfo } from './snapshot.ts';

export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
export const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
export const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller';
const BETA_STORAGE_CLASS = 'volume.beta.kubernetes.io/storage-class';
const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

/** What the scheduler has to know of storage; objects as last published. */
export interface VolumeObjects {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  volumesOfClass(name: string): readonly PersistentVolume[];
  storageClass(name: string): StorageClass | undefined;
  csiNode(name: string): CSINode | undefined;
  /** The claim (`namespace/name`) that a volume was promised to by a decision that is not published yet. */
  promisedTo(volume: string): string | undefined;
}

/** Where nobody has any storage object. */
export const NO_VOLUMES: VolumeObjects = {
  claim: () => undefined,
  volume: () => undefined,
  volumesOfClass: () => [],
  storageClass: () => undefined,
  csiNode: () => undefined,
  promisedTo: () => undefined,
};

/** The claims of a pod by what has to be done for them. */
export interface PodVolumes {
  bound: readonly PersistentVolumeClaim[];
  /** To be bound when a node is chosen (WaitForFirstConsumer). */
  waiting: readonly PersistentVolumeClaim[];
}

/** What is done for a pod's claims once its node is chosen. */
export interface VolumePlan {
  bind: readonly { claim: PersistentVolumeClaim; volume: PersistentVolume }[];
  provision: readonly PersistentVolumeClaim[];
}

/** Sorts a pod's claims; a text when the pod cannot be placed anywhere as they are (the words of kube-scheduler). */
export function volumesOf(info: PodInfo, objects: VolumeObjects): PodVolumes | string {
  const { namespace = '', uid } = info.pod.metadata;
  const bound: PersistentVolumeClaim[] = [];
  const waiting: PersistentVolumeClaim[] = [];
  let unbound = false;
  for (const { name, ephemeral } of info.claims) {
    const claim = objects.claim(namespace, name);
    if (!claim) {
      return ephemeral
        ? `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`
        : `persistentvolumeclaim "${name}" not found`;
    }
    if (claim.status?.phase === 'Lost') {
      return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec?.volumeName ?? ''}"`;
    }
    if (claim.metadata.deletionTimestamp !== undefined)
      return `persistentvolumeclaim "${name}" is being deleted`;
    if (
      ephemeral &&
      !claim.metadata.ownerReferences?.some((owner) => owner.controller && owner.uid === uid)
    ) {
      return `PVC ${namespace}/${name} was not created for pod ${namespace}/${info.pod.metadata.name} (pod is not owner)`;
    }
    if (isBound(claim)) bound.push(claim);
    else if (!claim.spec?.volumeName && waitsForConsumer(claim, objects)) waiting.push(claim);
    else unbound = true;
  }
  return unbound ? 'pod has unbound immediate PersistentVolumeClaims' : { bound, waiting };
}

export function isBound({ metadata, spec, status }: PersistentVolumeClaim): boolean {
  return (
    (spec?.volumeName ?? '') !== '' &&
    (metadata.annotations?.[BIND_COMPLETED] !== undefined || status?.phase === 'Bound')
  );
}

export function classOf(claim: PersistentVolumeClaim): string {
  return claim.metadata.annotations?.[BETA_STORAGE_CLASS] ?? claim.spec?.storageClassName ?? '';
}

function waitsForConsumer(claim: PersistentVolumeClaim, objects: VolumeObjects): boolean {
  const name = classOf(claim);
  return name !== '' && objects.storageClass(name)?.volumeBindingMode === 'WaitForFirstConsumer';
}

const BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind";
const NODE_CONFLICT = 'node(s) had volume node affinity conflict';
const NO_VOLUME = 'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)';

/** What to do for the claims on this node, or why it does not do. */
export function planVolumes(
  { bound, waiting }: PodVolumes,
  node: NodeInfo,
  objects: VolumeObjects,
): VolumePlan | string[] {
  const reasons: string[] = [];
  for (const claim of bound) {
    const volume = objects.volume(claim.spec?.volumeName ?? '');
    if (!volume) return [NO_VOLUME];
    if (!reaches(volume, node)) {
      reasons.push(NODE_CONFLICT);
      break;
    }
  }
  const bind: { claim: PersistentVolumeClaim; volume: PersistentVolume }[] = [];
  const provision: PersistentVolumeClaim[] = [];
  const taken = new Set<string>();
  // The largest first: a small claim must not take the only volume that a large one fits into.
  for (const claim of [...waiting].sort((a, b) => compareQuantities(sizeOf(b), sizeOf(a)))) {
    const selected = claim.metadata.annotations?.[SELECTED_NODE];
    if (selected !== undefined) {
      if (selected !== node.name) return [...reasons, BIND_CONFLICT];
      provision.push(claim);
      continue;
    }
    const volume = matching(claim, node, objects, taken);
    if (volume) {
      taken.add(volume.metadata.name ?? '');
      bind.push({ claim, volume });
    } else if (canProvision(claim, node, objects)) provision.push(claim);
    else return [...reasons, BIND_CONFLICT];
  }
  return reasons.length > 0 ? reasons : { bind, provision };
}

function sizeOf({ spec }: PersistentVolumeClaim): ReturnType<typeof parseQuantity> {
  return parseQuantity(String(spec?.resources?.requests?.storage ?? '0'));
}

export function reaches({ spec }: PersistentVolume, node: NodeInfo): boolean {
  const required = spec?.nodeAffinity?.required;
  return !required || matchesSelector(required, node);
}

/** The smallest volume that satisfies the claim; one that was made for it before all others. */
function matching(
  claim: PersistentVolumeClaim,
  node: NodeInfo,
  objects: VolumeObjects,
  taken: ReadonlySet<string>,
): PersistentVolume | undefined {
  const { namespace, name, uid } = claim.metadata;
  const wanted = sizeOf(claim);
  const selects = claim.spec?.selector ? selectorMatcher(claim.spec.selector) : undefined;
  const key = `${namespace}/${name}`;
  let best: PersistentVolume | undefined;
  for (const volume of objects.volumesOfClass(classOf(claim))) {
    const { spec, status, metadata } = volume;
    if (taken.has(metadata.name ?? '') || metadata.deletionTimestamp !== undefined) continue;
    const promised = objects.promisedTo(metadata.name ?? '');
    if (promised !== undefined && promised !== key) continue;
    const owner = spec?.claimRef;
    const mine =
      owner !== undefined &&
      owner.namespace === namespace &&
      owner.name === name &&
      (!owner.uid || owner.uid === uid);
    if (owner ? !mine : status?.phase !== 'Available') continue;
    if ((spec?.volumeMode ?? 'Filesystem') !== (claim.spec?.volumeMode ?? 'Filesystem')) continue;
    if ((spec?.volumeAttributesClassName ?? '') !== (claim.spec?.volumeAttributesClassName ?? '')) continue;
    if (!(claim.spec?.accessModes ?? []).every((mode) => spec?.accessModes?.includes(mode))) continue;
    const size = parseQuantity(spec?.capacity?.storage ?? '0');
    if (compareQuantities(size, wanted) < 0 || !reaches(volume, node)) continue;
    if (mine) return volume;
    if (selects && !selects(metadata.labels)) continue;
    if (best && compareQuantities(parseQuantity(best.spec?.capacity?.storage ?? '0'), size) <= 0) continue;
    best = volume;
  }
  return best;
}

function canProvision(claim: PersistentVolumeClaim, node: NodeInfo, objects: VolumeObjects): boolean {
  const storageClass = objects.storageClass(classOf(claim));
  if (!storageClass || storageClass.provisioner === '' || storageClass.provisioner === NO_PROVISIONER)
    return false;
  const topologies = storageClass.allowedTopologies ?? [];
  return (
    topologies.length === 0 ||
    topologies.some(({ matchLabelExpressions = [] }) =>
      matchLabelExpressions.every(({ key, values }) => {
        const value = node.labels[key];
        return value !== undefined && values.includes(value);
      }),
    )
  );
}
