import { isNotFound } from '../../../api/errors.ts';
import type { KubeObject } from '../../../api/object.ts';
import type { ResourceType } from '../../../api/resource.ts';
import type { OwnerReference } from '../../../api/types/meta-v1.ts';
import type { Informer } from '../../../client/informer.ts';
import type { Client } from '../../../client/port.ts';
import type { KeyMapper } from '../../../client/reconcile.ts';

export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller === true);
}

/** The reference that a controller puts on what it makes. */
export function controllerRef(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name ?? '',
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

const CLAIM_INDEX = 'claim';

/** Finds the objects of a controller and those that nobody controls, without going through a whole namespace. */
export function indexClaims<T extends KubeObject>(informer: Informer<T>): Informer<T> {
  return informer.addIndex(CLAIM_INDEX, (object) => {
    const owner = controllerOf(object);
    return owner ? owner.uid : `none/${object.metadata.namespace ?? ''}`;
  });
}

/** Objects that carry the owner's uid as their controller (needs indexClaims). */
export function controlledBy<T extends KubeObject>(informer: Informer<T>, uid: string): T[] {
  return informer.byIndex(CLAIM_INDEX, uid);
}

/**
 * Which of `owners` a dependent concerns: the one that controls it, and, when nobody does, all that would adopt it.
 * A change of the controller concerns both.
 */
export function toController<O extends KubeObject, T extends KubeObject>(
  owners: Informer<O>,
  wouldAdopt: (owner: O, object: T) => boolean,
): KeyMapper<T> {
  const controlling = (object: T): string | undefined => {
    const owner = controllerOf(object);
    if (owner?.kind !== owners.type.kind) return undefined;
    const found = owners.get(object.metadata.namespace, owner.name);
    return found?.metadata.uid === owner.uid ? `${object.metadata.namespace}/${owner.name}` : undefined;
  };
  return (object, { old }) => {
    const keys: string[] = [];
    const before = old && controlling(old);
    if (before !== undefined) keys.push(before);
    const now = controlling(object);
    if (now !== undefined && now !== before) keys.push(now);
    if (!controllerOf(object)) {
      for (const owner of owners.list(object.metadata.namespace ?? '')) {
        if (wouldAdopt(owner, object)) keys.push(`${owner.metadata.namespace}/${owner.metadata.name}`);
      }
    }
    return keys;
  };
}

/**
 * The dependents that belong to `owner` after adoption and release, as Kubernetes' ControllerRefManager settles it:
 * own and matching stay, own and no longer matching are released, matching without a controller are adopted.
 * An owner that is being deleted neither adopts nor releases.
 */
export async function claim<O extends KubeObject, T extends KubeObject>(options: {
  client: Client;
  owner: O;
  ownerType: ResourceType<O>;
  informer: Informer<T>;
  matches: (object: T) => boolean;
  /** Finalizers added with the adoption (Jobs track their pods by one). */
  finalizers?: readonly string[];
}): Promise<T[]> {
  const { client, owner, informer, matches } = options;
  const uid = owner.metadata.uid ?? '';
  const leaving = owner.metadata.deletionTimestamp !== undefined;
  const claimed: T[] = [];
  for (const object of informer.byIndex(CLAIM_INDEX, uid)) {
    if (matches(object)) claimed.push(object);
    else if (!leaving) await release(client, informer.type, owner, object, options.finalizers);
  }
  if (leaving) return claimed;
  let checked = false;
  for (const object of informer.byIndex(CLAIM_INDEX, `none/${owner.metadata.namespace ?? ''}`)) {
    if (object.metadata.deletionTimestamp !== undefined || !matches(object)) continue;
    if (!checked) {
      if (!(await stillThere(client, options.ownerType, owner))) return claimed;
      checked = true;
    }
    const adopted = await adopt(client, informer.type, owner, object, options.finalizers);
    if (adopted) claimed.push(adopted);
  }
  return claimed;
}

/** The informer may be behind the owner's deletion; adopting for a dead owner would hand the object to the collector. */
async function stillThere<O extends KubeObject>(
  client: Client,
  type: ResourceType<O>,
  owner: O,
): Promise<boolean> {
  try {
    const live = await client.get(type, owner.metadata.namespace, owner.metadata.name ?? '');
    return live.metadata.uid === owner.metadata.uid && live.metadata.deletionTimestamp === undefined;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

async function adopt<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  owner: KubeObject,
  object: T,
  finalizers: readonly string[] = [],
): Promise<T | undefined> {
  const present = object.metadata.finalizers ?? [];
  return await patchMetadata(client, type, object, {
    ownerReferences: [...(object.metadata.ownerReferences ?? []), controllerRef(owner)],
    ...(finalizers.length === 0 ? {} : { finalizers: [...new Set([...present, ...finalizers])] }),
  });
}

/** Takes the owner's reference (and finalizers) off; an object that is gone is released already. */
export async function release<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  owner: KubeObject,
  object: T,
  finalizers: readonly string[] = [],
): Promise<void> {
  const left = (object.metadata.ownerReferences ?? []).filter((ref) => ref.uid !== owner.metadata.uid);
  await patchMetadata(client, type, object, {
    ownerReferences: left.length === 0 ? null : left,
    ...(finalizers.length === 0
      ? {}
      : { finalizers: (object.metadata.finalizers ?? []).filter((name) => !finalizers.includes(name)) }),
  });
}

/** Patches metadata of exactly this object in exactly this state; undefined when it is gone. */
export async function patchMetadata<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  object: T,
  metadata: object,
): Promise<T | undefined> {
  const { uid, resourceVersion, namespace, name } = object.metadata;
  try {
    return await client.patch(type, namespace, name ?? '', {
      type: 'merge',
      body: { metadata: { uid, resourceVersion, ...metadata } },
    });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
