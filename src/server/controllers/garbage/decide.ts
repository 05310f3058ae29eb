import type { ObjectMeta, OwnerReference } from '../../../api/types/meta-v1.ts';

export const FOREGROUND = 'foregroundDeletion';
export const ORPHAN = 'orphan';

/**
 * What an owner reference points to: an owner that is there, one that is gone (or another of the same name), or one that
 * waits in foreground deletion for its dependents to go first.
 */
export type OwnerState = 'present' | 'absent' | 'waiting';

export const isDeletingDependents = ({ deletionTimestamp, finalizers }: ObjectMeta): boolean =>
  deletionTimestamp !== undefined && (finalizers ?? []).includes(FOREGROUND);
export const isOrphaning = ({ deletionTimestamp, finalizers }: ObjectMeta): boolean =>
  deletionTimestamp !== undefined && (finalizers ?? []).includes(ORPHAN);

export type GarbageAction =
  | { do: 'nothing' }
  /** Some owners are left: only the references to the others go. */
  | { do: 'unreference'; ownerReferences: OwnerReference[] }
  | { do: 'delete'; propagationPolicy: 'Foreground' | 'Background' | 'Orphan' };

/** What becomes of an object with owners, as Kubernetes' garbage collector decides it (attemptToDeleteItem). */
export function decideGarbage(
  metadata: ObjectMeta,
  stateOf: (owner: OwnerReference) => OwnerState,
  hasDependents: boolean,
): GarbageAction {
  const owners = metadata.ownerReferences ?? [];
  if (owners.length === 0 || metadata.deletionTimestamp !== undefined) return { do: 'nothing' };
  const states = owners.map(stateOf);
  const present = owners.filter((_, index) => states[index] === 'present');
  if (present.length === owners.length) return { do: 'nothing' };
  if (present.length > 0) return { do: 'unreference', ownerReferences: present };
  // The owner waits for us: our own dependents go first as well.
  if (states.includes('waiting') && hasDependents) return { do: 'delete', propagationPolicy: 'Foreground' };
  const finalizers = metadata.finalizers ?? [];
  if (finalizers.includes(ORPHAN)) return { do: 'delete', propagationPolicy: 'Orphan' };
  if (finalizers.includes(FOREGROUND)) return { do: 'delete', propagationPolicy: 'Foreground' };
  return { do: 'delete', propagationPolicy: 'Background' };
}
