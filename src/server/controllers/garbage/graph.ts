import type { ResourceInfo } from '../../../api/catalogue.ts';
import type { KubeObject } from '../../../api/object.ts';
import type { OwnerReference } from '../../../api/types/meta-v1.ts';

/** Where an object is, and that it is this one and not a later one of the same name. */
export interface Item {
  readonly type: ResourceInfo;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly uid: string;
}

interface Dependent extends Item {
  owners: readonly OwnerReference[];
}

/**
 * Who depends on whom. Holds only objects that have owners: that an owner is there is asked of the API when it matters,
 * so that the many objects without owners cost nothing.
 */
export class OwnerGraph {
  private readonly dependents = new Map<string, Dependent>();
  private readonly byOwner = new Map<string, Map<string, Dependent>>();

  /** Enters the object's present owners. True when they differ from before. */
  set(type: ResourceInfo, object: KubeObject): boolean {
    const { metadata } = object;
    const uid = metadata.uid ?? '';
    const owners = metadata.ownerReferences ?? [];
    const known = this.dependents.get(uid);
    if (known?.owners === owners || (!known && owners.length === 0)) return false;
    const same =
      known !== undefined &&
      known.owners.length === owners.length &&
      known.owners.every(
        (owner, index) =>
          owner.uid === owners[index]?.uid && owner.blockOwnerDeletion === owners[index]?.blockOwnerDeletion,
      );
    if (same) return false;
    this.remove(uid);
    if (owners.length === 0) return true;
    const entry: Dependent = { type, namespace: metadata.namespace, name: metadata.name ?? '', uid, owners };
    this.dependents.set(uid, entry);
    for (const owner of owners) {
      let group = this.byOwner.get(owner.uid);
      if (!group) {
        group = new Map();
        this.byOwner.set(owner.uid, group);
      }
      group.set(uid, entry);
    }
    return true;
  }

  /** The owners that the object had. */
  remove(uid: string): readonly OwnerReference[] {
    const entry = this.dependents.get(uid);
    if (!entry) return [];
    this.dependents.delete(uid);
    for (const owner of entry.owners) {
      const group = this.byOwner.get(owner.uid);
      group?.delete(uid);
      if (group?.size === 0) this.byOwner.delete(owner.uid);
    }
    return entry.owners;
  }

  dependentsOf(uid: string): Item[] {
    return [...(this.byOwner.get(uid)?.values() ?? [])];
  }

  hasDependents(uid: string): boolean {
    return this.byOwner.has(uid);
  }

  /** Dependents that keep a foreground deletion of their owner waiting. */
  blockersOf(uid: string): Item[] {
    return [...(this.byOwner.get(uid)?.values() ?? [])].filter(({ owners }) =>
      owners.some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true),
    );
  }

  get size(): number {
    return this.dependents.size;
  }
}
