import { isAlreadyExists } from '../../../api/errors.ts';
import { PERSISTENT_VOLUME_CLAIMS, PODS } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import type { ControllerContext } from '../context.ts';
import { controllerRef } from '../shared/ownership.ts';

/** Makes the claims of pods' generic ephemeral volumes: named `<pod>-<volume>`, and gone with the pod that owns them. */
export function ephemeralVolumeController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const pods = informers.of(PODS);
  const claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
  const recorder = context.events.of('ephemeral_volume');
  const hasEphemeral = (volumes: readonly { ephemeral?: unknown }[] | undefined): boolean =>
    volumes?.some(({ ephemeral }) => ephemeral !== undefined) === true;
  return new Controller({
    name: 'ephemeral-volume-controller',
    clock: context.clock,
    logger: context.logger,
    watches: [
      watch(pods, ({ metadata, spec }) =>
        hasEphemeral(spec?.volumes) ? `${metadata.namespace}/${metadata.name}` : undefined,
      ),
      watch(claims, ({ metadata }, { deleted }) => {
        const owner = metadata.ownerReferences?.find(({ controller, kind }) => controller && kind === 'Pod');
        return deleted && owner ? `${metadata.namespace}/${owner.name}` : undefined;
      }),
    ],
    reconcile: async (key) => {
      const { namespace = '', name } = splitKey(key);
      const pod = pods.get(namespace, name);
      if (!pod || pod.metadata.deletionTimestamp !== undefined) return undefined;
      for (const volume of pod.spec?.volumes ?? []) {
        const template = volume.ephemeral?.volumeClaimTemplate;
        if (!template) continue;
        const claimName = `${name}-${volume.name}`;
        const known = claims.get(namespace, claimName);
        if (known?.metadata.ownerReferences?.some(({ uid }) => uid === pod.metadata.uid)) continue;
        try {
          if (known)
            throw new Error(
              `PVC ${namespace}/${claimName} was not created for pod ${key} (pod is not owner)`,
            );
          await client.create(PERSISTENT_VOLUME_CLAIMS, namespace, {
            metadata: {
              ...(template.metadata?.labels ? { labels: template.metadata.labels } : {}),
              ...(template.metadata?.annotations ? { annotations: template.metadata.annotations } : {}),
              name: claimName,
              ownerReferences: [controllerRef(pod)],
            },
            spec: template.spec,
          });
        } catch (error) {
          if (isAlreadyExists(error)) throw error;
          const message = error instanceof Error ? error.message : String(error);
          recorder.record(pod, 'Warning', 'FailedBinding', `ephemeral volume ${volume.name}: ${message}`);
          throw error;
        }
      }
      return undefined;
    },
  });
}
