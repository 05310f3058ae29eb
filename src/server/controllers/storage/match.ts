import { compareQuantities, parseQuantity, type Quantity } from '../../../api/quantity.ts';
import { selectorMatcher } from '../../../api/selectors.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../api/types/core-v1.ts';
import { classOf, refersTo } from './names.ts';

export const requested = ({ spec }: PersistentVolumeClaim): Quantity =>
  parseQuantity(String(spec?.resources?.requests?.storage ?? '0'));
export const capacityOf = ({ spec }: PersistentVolume): Quantity =>
  parseQuantity(String(spec?.capacity?.storage ?? '0'));
const modeOf = ({ spec }: PersistentVolume | PersistentVolumeClaim): string =>
  spec?.volumeMode ?? 'Filesystem';

/** Why the volume cannot serve the claim that names it, in the words of the volume controller. */
export function unsatisfied(volume: PersistentVolume, claim: PersistentVolumeClaim): string | undefined {
  if (volume.metadata.deletionTimestamp !== undefined) return 'the volume is marked for deletion';
  if (compareQuantities(capacityOf(volume), requested(claim)) < 0) return 'requested PV is too small';
  if (classOf(volume) !== classOf(claim)) return 'storageClassName does not match';
  if ((volume.spec?.volumeAttributesClassName ?? '') !== (claim.spec?.volumeAttributesClassName ?? ''))
    return 'volumeAttributesClassName does not match';
  if (modeOf(volume) !== modeOf(claim)) return 'incompatible volumeMode';
  if (!offersModes(volume, claim)) return 'incompatible accessMode';
  return undefined;
}

function offersModes(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  return (claim.spec?.accessModes ?? []).every((mode) => volume.spec?.accessModes?.includes(mode));
}

/**
 * The volume for a claim that names none: one that was reserved for it, or the smallest that is large enough. With
 * `reservedOnly` (its class waits for the first consumer) the choice among the others is the scheduler's.
 */
export function bestMatch(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  reservedOnly: boolean,
): PersistentVolume | undefined {
  const selects = claim.spec?.selector ? selectorMatcher(claim.spec.selector) : undefined;
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    if (unsatisfied(volume, claim) !== undefined) continue;
    if (volume.spec?.claimRef) {
      if (refersTo(volume, claim)) return volume;
      continue;
    }
    if (reservedOnly || volume.status?.phase !== 'Available') continue;
    if (selects && !selects(volume.metadata.labels)) continue;
    if (best && compareQuantities(capacityOf(best), capacityOf(volume)) <= 0) continue;
    best = volume;
  }
  return best;
}
