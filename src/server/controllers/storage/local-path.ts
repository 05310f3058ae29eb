import { isAlreadyExists } from '../../../api/errors.ts';
import { NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES } from '../../../api/kinds.ts';
import {
  DIRECTORY_REMOVED,
  isLocalPath,
  LOCAL_PATH_PROVISIONER,
  removalNode,
} from '../../../api/local-path.ts';
import { splitKey } from '../../../api/object.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';
import {
  BIND_COMPLETED,
  claimKey,
  classOf,
  PROVISIONER_FINALIZER,
  SELECTED_NODE,
  STORAGE_PROVISIONER,
} from './names.ts';
import { dropFinalizer } from './protection.ts';
import { provision, volumeName } from './provision.ts';

/** Where the volumes of a node lie unless its class or its Node object says otherwise. */
const DEFAULT_DIRECTORY = '/var/lib/copepod/storage';
/** A claim that cannot be served as it is may be served later: a node comes, a class is changed. */
const RETRY_MS = 30_000;

/** Makes the volumes of claims whose class is provisioned by `copepod.io/local-path`; their nodes make the directories. */
export function localPathProvisioner(context: ControllerContext): Controller {
  const { client, informers } = context;
  const claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
  const volumes = informers.of(PERSISTENT_VOLUMES);
  const classes = informers.of(STORAGE_CLASSES);
  const nodes = informers.of(NODES);
  const recorder = context.events.of(LOCAL_PATH_PROVISIONER);
  return new Controller({
    name: 'local-path-provisioner',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(claims),
      watch(volumes, () => undefined),
      watch(classes, () => undefined),
      watch(nodes, () => undefined),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const claim = claims.get(namespace, name);
      const annotations = claim?.metadata.annotations ?? {};
      if (!claim || claim.metadata.deletionTimestamp !== undefined || claim.spec?.volumeName)
        return undefined;
      if (annotations[STORAGE_PROVISIONER] !== LOCAL_PATH_PROVISIONER || annotations[BIND_COMPLETED])
        return undefined;
      const storageClass = classes.get(undefined, classOf(claim));
      if (!storageClass || volumes.get(undefined, volumeName(claim))) return undefined;
      recorder.record(
        claim,
        'Normal',
        'Provisioning',
        `External provisioner is provisioning volume for claim "${claimKey(claim)}"`,
      );
      const selected = annotations[SELECTED_NODE];
      const decision = provision({
        claim,
        storageClass,
        selected,
        node: selected === undefined ? undefined : nodes.get(undefined, selected),
        directory: context.storageDirectory ?? DEFAULT_DIRECTORY,
      });
      if ('failure' in decision) {
        recorder.record(
          claim,
          'Warning',
          'ProvisioningFailed',
          `failed to provision volume with StorageClass "${storageClass.metadata.name}": ${decision.failure}`,
        );
        if (!decision.reschedule) return RETRY_MS;
        // The scheduler looks for another node.
        await client.patch(PERSISTENT_VOLUME_CLAIMS, namespace, name, {
          type: 'merge',
          body: { metadata: { uid: claim.metadata.uid, annotations: { [SELECTED_NODE]: null } } },
        });
        return undefined;
      }
      try {
        await client.create(PERSISTENT_VOLUMES, undefined, decision.volume);
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
      recorder.record(
        claim,
        'Normal',
        'ProvisioningSucceeded',
        `Successfully provisioned volume ${volumeName(claim)}`,
      );
      return undefined;
    },
  });
}

/**
 * Deletes released volumes once their nodes have removed the directories (the desired publisher asks them to). A node
 * that is away is waited for; one that was taken out of the cluster cannot be.
 */
export function localPathDeleter(context: ControllerContext): Controller {
  const { client, informers } = context;
  const volumes = informers.of(PERSISTENT_VOLUMES);
  const nodes = informers.of(NODES);
  return new Controller({
    name: 'local-path-deleter',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(volumes, (volume) => (isLocalPath(volume) ? (volume.metadata.name ?? '') : undefined)),
      watch(nodes, ({ metadata }, { deleted }) =>
        deleted
          ? volumes
              .list()
              .filter((volume) => removalNode(volume) === metadata.name)
              .map((volume) => volume.metadata.name ?? '')
          : undefined,
      ),
    ],
    reconcile: async (name) => {
      const volume = volumes.get(undefined, name);
      if (!volume || volume.status?.phase === 'Bound') return undefined;
      const { uid = '', annotations = {}, deletionTimestamp } = volume.metadata;
      if (volume.spec?.persistentVolumeReclaimPolicy !== 'Delete') {
        // Kept by its owner's wish: the object may go alone.
        if (deletionTimestamp !== undefined) {
          await dropFinalizer(client, PERSISTENT_VOLUMES, volume, PROVISIONER_FINALIZER);
        }
        return undefined;
      }
      const waitsFor = removalNode(volume);
      const removed = annotations[DIRECTORY_REMOVED] !== undefined;
      if (!removed && (waitsFor === undefined || nodes.get(undefined, waitsFor))) return undefined;
      if (!removed) {
        context.logger.warn(
          { volume: name, node: waitsFor },
          'the node of a released volume is not in the cluster any more; its directory may be left there',
        );
      }
      if (deletionTimestamp === undefined) {
        await client.delete(PERSISTENT_VOLUMES, undefined, name, { preconditions: { uid } });
        return undefined;
      }
      await dropFinalizer(client, PERSISTENT_VOLUMES, volume, PROVISIONER_FINALIZER);
      return undefined;
    },
  });
}
