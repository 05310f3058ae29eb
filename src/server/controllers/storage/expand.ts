import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES } from '../../../api/kinds.ts';
import { isLocalPath } from '../../../api/local-path.ts';
import { splitKey } from '../../../api/object.ts';
import { compareQuantities, quantityOf } from '../../../api/quantity.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';

/**
 * Grows volumes to what their claims ask for (the API refuses where the class does not allow it). A directory has no
 * size: for the volumes of the local-path provisioner the figures are all there is to change.
 */
export function volumeExpander(context: ControllerContext): Controller {
  const { client, informers } = context;
  const claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
  const volumes = informers.of(PERSISTENT_VOLUMES);
  const recorder = context.events.of('volume_expand');
  return new Controller({
    name: 'volume-expander',
    clock: context.clock,
    logger: context.logger,
    watches: [watch(claims)],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const claim = claims.get(namespace, name);
      const wanted = claim?.spec?.resources?.requests?.storage;
      if (claim?.status?.phase !== 'Bound' || wanted === undefined) return undefined;
      const has = claim.status.capacity?.storage;
      if (has !== undefined && compareQuantities(quantityOf(has), quantityOf(wanted)) >= 0) return undefined;
      const volume = volumes.get(undefined, claim.spec?.volumeName ?? '');
      if (!volume || volume.spec?.claimRef?.uid !== claim.metadata.uid) return undefined;
      if (!isLocalPath(volume)) {
        recorder.record(
          claim,
          'Normal',
          'ExternalExpanding',
          'waiting for an external controller to expand this PVC',
        );
        return undefined;
      }
      const size = volume.spec?.capacity?.storage;
      if (size === undefined || compareQuantities(quantityOf(size), quantityOf(wanted)) < 0) {
        await client.patch(PERSISTENT_VOLUMES, undefined, volume.metadata.name ?? '', {
          type: 'merge',
          body: { metadata: { uid: volume.metadata.uid }, spec: { capacity: { storage: wanted } } },
        });
      }
      await client.updateStatus(PERSISTENT_VOLUME_CLAIMS, {
        ...claim,
        status: { ...claim.status, capacity: { ...claim.status.capacity, storage: wanted } },
      });
      recorder.record(claim, 'Normal', 'VolumeResizeSuccessful', 'Resize volume succeeded');
      return undefined;
    },
  });
}
