import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS } from '../../../api/kinds.ts';
import { type KubeObject, splitKey } from '../../../api/object.ts';
import { claimsUsed } from '../../../api/pod-references.ts';
import type { ResourceType } from '../../../api/resource.ts';
import type { Client } from '../../../client/port.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';
import { CLAIM_FINALIZER, VOLUME_FINALIZER } from './names.ts';
import { CLAIM_USERS, indexUsers } from './users.ts';

/** Lets a deleted claim go when no scheduled pod uses it (whether the pod has ended or not). */
export function claimProtection(context: ControllerContext): Controller {
  const { client, informers } = context;
  const claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
  const pods = indexUsers(informers.of(PODS));
  return new Controller({
    name: 'pvc-protection-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(claims),
      watch(pods, (pod) =>
        claimsUsed(pod).filter((key) => claims.byKey(key)?.metadata.deletionTimestamp !== undefined),
      ),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const claim = claims.get(namespace, name);
      if (claim?.metadata.deletionTimestamp === undefined) return undefined;
      if (pods.byIndex(CLAIM_USERS, key).some(({ spec }) => spec?.nodeName)) return undefined;
      await dropFinalizer(client, PERSISTENT_VOLUME_CLAIMS, claim, CLAIM_FINALIZER);
      return undefined;
    },
  });
}

/** Lets a deleted volume go when no claim is bound to it. */
export function volumeProtection(context: ControllerContext): Controller {
  const { client, informers } = context;
  const volumes = informers.of(PERSISTENT_VOLUMES);
  return new Controller({
    name: 'pv-protection-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [watch(volumes)],
    reconcile: async (name) => {
      const volume = volumes.get(undefined, name);
      if (volume?.metadata.deletionTimestamp === undefined || volume.status?.phase === 'Bound')
        return undefined;
      await dropFinalizer(client, PERSISTENT_VOLUMES, volume, VOLUME_FINALIZER);
      return undefined;
    },
  });
}

/** Nothing to do when it is not there; lost when the object changed meanwhile. */
export async function dropFinalizer<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  { metadata }: T,
  finalizer: string,
): Promise<void> {
  const { namespace, name = '', finalizers = [], uid, resourceVersion } = metadata;
  if (!finalizers.includes(finalizer)) return;
  await client.patch(type, namespace, name, {
    type: 'merge',
    body: { metadata: { uid, resourceVersion, finalizers: finalizers.filter((one) => one !== finalizer) } },
  });
}
