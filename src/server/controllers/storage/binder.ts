import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import { claimsUsed } from '../../../api/pod-references.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../../api/types/core-v1.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import { timestamp } from '../../../lib/clock.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { boundClaim, boundStatus, type ClaimDecision, claimedVolume, decideClaim } from './decide-claim.ts';
import { decideVolume, unboundVolume } from './decide-volume.ts';
import { defaultClass } from './default-class.ts';
import { BETA_STORAGE_PROVISIONER, classOf, STORAGE_PROVISIONER } from './names.ts';
import { CLAIM_USERS, indexUsers } from './users.ts';

const NAME = 'persistentvolume-controller';
/** A claim that waits for somebody is looked at (and its event repeated) this often, as by Kubernetes' resync. */
const LOOK_AGAIN_MS = 15_000;
const WAITING = 'storage/waiting-class';
const OF_CLASS = 'storage/class';

/** Gives each claim its volume, and volumes back when their claims are gone. */
export function claimBinder(context: ControllerContext): Controller {
  const { client, clock, informers } = context;
  const claims = informers
    .of(PERSISTENT_VOLUME_CLAIMS)
    .addIndex(WAITING, (claim) => (claim.status?.phase === 'Bound' ? undefined : `class:${classOf(claim)}`));
  const volumes = informers.of(PERSISTENT_VOLUMES).addIndex(OF_CLASS, classOf);
  const classes = informers.of(STORAGE_CLASSES);
  const pods = indexUsers(informers.of(PODS));
  const recorder = context.events.of(NAME);

  const setPhase = async (
    claim: PersistentVolumeClaim,
    status: NonNullable<PersistentVolumeClaim['status']>,
  ): Promise<void> => {
    if (!sameJson(claim.status, status)) {
      await client.updateStatus(PERSISTENT_VOLUME_CLAIMS, { ...claim, status });
    }
  };

  const bind = async (claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> => {
    const claimed = claimedVolume(volume, claim);
    const held = claimed === volume ? volume : await client.update(PERSISTENT_VOLUMES, claimed);
    await writePhase(context, held, 'Bound');
    const named = boundClaim(claim, held);
    const live = named === claim ? claim : await client.update(PERSISTENT_VOLUME_CLAIMS, named);
    await setPhase(live, boundStatus(live, held));
  };

  const act = async (claim: PersistentVolumeClaim, decision: ClaimDecision): Promise<number | undefined> => {
    if (decision.do === 'bind') {
      await bind(claim, decision.volume);
      return undefined;
    }
    const { event } = decision;
    if (decision.do === 'lost') {
      if (claim.status?.phase === 'Lost') return undefined;
      if (event) recorder.record(claim, event.type, event.reason, event.message);
      const { accessModes: _modes, capacity: _capacity, ...rest } = claim.status ?? {};
      await setPhase(claim, { ...rest, phase: 'Lost' });
      return undefined;
    }
    if (event) recorder.record(claim, event.type, event.reason, event.message);
    if (claim.status?.phase !== 'Pending') await setPhase(claim, { ...claim.status, phase: 'Pending' });
    if (decision.do === 'provision') {
      const { provisioner } = decision;
      const { namespace, name = '', annotations = {} } = claim.metadata;
      if (annotations[STORAGE_PROVISIONER] !== provisioner) {
        await client.patch(PERSISTENT_VOLUME_CLAIMS, namespace, name, {
          type: 'merge',
          body: {
            metadata: {
              uid: claim.metadata.uid,
              annotations: { [STORAGE_PROVISIONER]: provisioner, [BETA_STORAGE_PROVISIONER]: provisioner },
            },
          },
        });
      }
    }
    return LOOK_AGAIN_MS;
  };

  const withoutClass = (claim: PersistentVolumeClaim): boolean =>
    claim.spec?.storageClassName === undefined && classOf(claim) === '' && !claim.spec?.volumeName;

  return new Controller({
    name: 'persistentvolume-binder',
    clock,
    logger: context.logger,
    watches: [
      watch(claims),
      watch(volumes, (volume) => {
        const owner = volume.spec?.claimRef;
        if (owner) return `${owner.namespace}/${owner.name}`;
        return claims.byIndex(WAITING, `class:${classOf(volume)}`).map(keyOfClaim);
      }),
      watch(classes, ({ metadata }) =>
        [`class:${metadata.name}`, 'class:'].flatMap((key) => claims.byIndex(WAITING, key)).map(keyOfClaim),
      ),
      watch(pods, (pod, { old, deleted }) =>
        // Only who comes or goes changes what a waiting claim says.
        old && !deleted
          ? undefined
          : claimsUsed(pod).filter((key) => claims.byKey(key)?.status?.phase === 'Pending'),
      ),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const claim = claims.get(namespace, name);
      if (!claim) return undefined;
      const fallback = withoutClass(claim) ? defaultClass(classes.list()) : undefined;
      if (fallback !== undefined && claim.metadata.deletionTimestamp === undefined) {
        // A claim older than the default class gets it too. Its own change brings it back here.
        await client.update(PERSISTENT_VOLUME_CLAIMS, {
          ...claim,
          spec: { ...claim.spec, storageClassName: fallback },
        });
        return undefined;
      }
      const decision = decideClaim(claim, {
        named: claim.spec?.volumeName ? volumes.get(undefined, claim.spec.volumeName) : undefined,
        volumes: volumes.byIndex(OF_CLASS, classOf(claim)),
        storageClass: classOf(claim) === '' ? undefined : classes.get(undefined, classOf(claim)),
        pods: pods.byIndex(CLAIM_USERS, key),
      });
      // One that is being deleted is bound no more, but stays what it is while it is in use.
      if (claim.metadata.deletionTimestamp !== undefined && claim.status?.phase !== 'Bound') return undefined;
      return await act(claim, decision);
    },
  });
}

export function volumeBinder(context: ControllerContext): Controller {
  const { client, clock, informers } = context;
  const volumes = informers.of(PERSISTENT_VOLUMES);
  const claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
  const recorder = context.events.of(NAME);
  const OWNER = 'storage/owner';
  volumes.addIndex(OWNER, ({ spec }) =>
    spec?.claimRef ? `${spec.claimRef.namespace}/${spec.claimRef.name}` : undefined,
  );
  return new Controller({
    name: 'persistentvolume-phases',
    clock,
    logger: context.logger,
    watches: [
      watch(volumes),
      watch(claims, (claim) =>
        volumes.byIndex(OWNER, keyOfClaim(claim)).map(({ metadata }) => metadata.name ?? ''),
      ),
    ],
    reconcile: async (name) => {
      const volume = volumes.get(undefined, name);
      if (!volume) return undefined;
      const owner = volume.spec?.claimRef;
      const decision = decideVolume(
        volume,
        owner ? claims.get(owner.namespace, owner.name ?? '') : undefined,
      );
      const live = decision.unbind ? await client.update(PERSISTENT_VOLUMES, unboundVolume(volume)) : volume;
      const { event } = decision;
      if (event) recorder.record(live, event.type, event.reason, event.message);
      if (decision.phase) await writePhase(context, live, decision.phase, decision.message);
      return undefined;
    },
  });
}

async function writePhase(
  { client, clock }: ControllerContext,
  volume: PersistentVolume,
  phase: NonNullable<NonNullable<PersistentVolume['status']>['phase']>,
  message?: string,
): Promise<void> {
  if (volume.status?.phase === phase && volume.status.message === message) return;
  await client.updateStatus(PERSISTENT_VOLUMES, {
    ...volume,
    status: {
      phase,
      ...(message === undefined ? {} : { message }),
      lastPhaseTransitionTime: timestamp(clock.now()),
    },
  });
}

const keyOfClaim = ({ metadata }: PersistentVolumeClaim): string => `${metadata.namespace}/${metadata.name}`;
