// Ownership seen through the scale subresource: of all fields only the number of replicas.
import { type Owner, type Owners, ownerKey, sortOwners, withFields } from './entries.ts';
import { difference, fieldSet, has, isEmpty } from './field-set.ts';

export const SCALE_VERSION = 'autoscaling/v1';
const IN_SCALE = ['f:spec', 'f:replicas'];

/**
 * The path of the number of replicas in a version of the scaled object; undefined when the version is not known, null
 * when it has no scale.
 */
export type ReplicasPath = (apiVersion: string) => readonly string[] | null | undefined;

/** The owners of the replicas, as owners of a Scale. */
export function ownersOfScale(owners: Owners, replicas: ReplicasPath): Owners {
  const found: Owner[] = [];
  for (const owner of owners) {
    const path = replicas(owner.apiVersion);
    if (!path || !has(owner.fieldsV1, path)) continue;
    found.push({ ...owner, apiVersion: SCALE_VERSION, fieldsV1: fieldSet(IN_SCALE) });
  }
  return sortOwners(found);
}

/** The object's owners after its Scale was written. */
export function ownersAfterScale(
  owners: Owners,
  scaleOwners: Owners,
  replicas: ReplicasPath,
  apiVersion: string,
): Owners {
  // Of an updater the version is part of who it is: to the Scale it appears as it does in the object's entry.
  const scaled = new Map(scaleOwners.map((owner) => [scaleKey(owner), owner]));
  const result = new Map<string, Owner>();
  for (const owner of owners) {
    const path = replicas(owner.apiVersion);
    if (path === undefined) continue;
    if (path === null || !has(owner.fieldsV1, path)) {
      result.set(ownerKey(owner), owner);
    } else if (scaled.delete(scaleKey(owner))) {
      result.set(ownerKey(owner), owner);
    } else {
      const rest = withFields(owner, difference(owner.fieldsV1, fieldSet(path)));
      if (!isEmpty(rest.fieldsV1)) result.set(ownerKey(owner), rest);
    }
  }
  const path = replicas(apiVersion);
  for (const owner of scaled.values()) {
    if (!path || !has(owner.fieldsV1, IN_SCALE)) continue;
    // The time of a change through the Scale is not kept, as in Kubernetes; that of the object's own entry is.
    const { time: _time, ...untimed } = owner;
    const moved: Owner = { ...untimed, apiVersion, fieldsV1: fieldSet(path) };
    const known = result.get(ownerKey(moved));
    result.set(ownerKey(moved), known?.time === undefined ? moved : { ...moved, time: known.time });
  }
  return sortOwners([...result.values()]);
}

function scaleKey({ manager, operation, subresource }: Owner): string {
  return ownerKey({
    manager,
    operation,
    apiVersion: SCALE_VERSION,
    ...(subresource === undefined ? {} : { subresource }),
  });
}
