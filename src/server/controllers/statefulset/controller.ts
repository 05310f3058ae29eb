import { isAlreadyExists, isNotFound } from '../../../api/errors.ts';
import { CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import type { ControllerRevision, StatefulSet } from '../../../api/types/apps-v1.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { Controller, watch } from '../../../client/reconcile.ts';
import { selectorCache } from '../../../client/selector-cache.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { claim, indexClaims, patchMetadata, toController } from '../shared/ownership.ts';
import { PodControl } from '../shared/pod-control.ts';
import { isActive, untilAvailable } from '../shared/pods.ts';
import {
  decideRevision,
  executeRevision,
  REVISION_HASH,
  surplusRevisions,
  templateOf,
} from '../shared/revisions.ts';
import { decideStatefulSet, type StatefulPlan } from './decide.ts';
import { claimName, claimsOf, identity, ordinalOf, POD_INDEX, POD_NAME, podName } from './identity.ts';
import { claimOwners } from './retention.ts';

const NAME = 'statefulset-controller';
const HASH_LABEL = 'controller.kubernetes.io/hash';
const nameOf = (revision: ControllerRevision): string => revision.metadata.name ?? '';

export function statefulSetController(context: ControllerContext): Controller {
  const { client, clock, informers } = context;
  const recorder = context.events.of(NAME);
  const control = new PodControl({ client, recorder });
  const sets = informers.of(STATEFUL_SETS);
  const pods = indexClaims(informers.of(PODS));
  const claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
  const revisions = indexClaims(informers.of(CONTROLLER_REVISIONS));
  const selects = selectorCache();
  const selected = ({ spec }: StatefulSet, object: Pod | ControllerRevision): boolean =>
    selects(spec?.selector, object.metadata.labels);
  /** Only a pod with one of the set's names can be one of its own. */
  const matches = (set: StatefulSet, pod: Pod): boolean =>
    selected(set, pod) && ordinalOf(set, pod) !== undefined;

  const createClaims = async (set: StatefulSet, ordinal: number): Promise<void> => {
    for (const wanted of claimsOf(set, ordinal)) {
      const { namespace, name = '' } = wanted.metadata;
      const present = claims.get(namespace, name);
      if (present?.metadata.deletionTimestamp !== undefined) {
        throw new Error(`pvc ${name} is being deleted`);
      }
      if (present) continue;
      try {
        await client.create(PERSISTENT_VOLUME_CLAIMS, namespace, wanted);
        const message = `create Claim ${name} Pod ${podName(set, ordinal)} in StatefulSet ${set.metadata.name} success`;
        recorder.record(set, 'Normal', 'SuccessfulCreate', message);
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
    }
  };

  /** The claims of the set's pods go with whom the policy says, also when it was changed since they were made. */
  const settleClaims = async (set: StatefulSet, all: readonly Pod[]): Promise<void> => {
    const templates = set.spec?.volumeClaimTemplates ?? [];
    const start = set.spec?.ordinals?.start ?? 0;
    for (const pod of templates.length > 0 ? all : []) {
      const ordinal = ordinalOf(set, pod) ?? 0;
      const condemned = ordinal < start || ordinal >= start + (set.spec?.replicas ?? 1);
      for (const template of templates) {
        const volume = claims.get(set.metadata.namespace, claimName(set, template, ordinal));
        const owners = volume && claimOwners({ set, claim: volume, pod, condemned });
        if (!owners) continue;
        await patchMetadata(client, PERSISTENT_VOLUME_CLAIMS, volume, {
          ownerReferences: owners.length > 0 ? owners : null,
        });
      }
    }
  };

  const createPod = async (
    set: StatefulSet,
    ordinal: number,
    revision: ControllerRevision,
  ): Promise<void> => {
    await createClaims(set, ordinal);
    const template = templateOf(revision);
    const name = podName(set, ordinal);
    await control.create(set, template, {
      name,
      labels: { [POD_NAME]: name, [POD_INDEX]: String(ordinal), [REVISION_HASH]: nameOf(revision) },
      spec: identity(set, ordinal, template.spec),
    });
  };

  const execute = async (
    set: StatefulSet,
    plan: StatefulPlan,
    known: readonly ControllerRevision[],
  ): Promise<void> => {
    for (const pod of plan.recreated) {
      const { namespace, name } = pod.metadata;
      recorder.record(
        set,
        'Warning',
        'RecreatingFailedPod',
        `StatefulSet ${namespace}/${set.metadata.name} is recreating failed Pod ${name}`,
      );
    }
    for (const pod of plan.remove) await control.delete(set, pod);
    for (const { ordinal, revision } of plan.create) {
      const found = known.find((one) => nameOf(one) === revision);
      if (!found) throw new Error(`revision ${revision} of StatefulSet ${set.metadata.name} is missing`);
      try {
        await createPod(set, ordinal, found);
      } catch (error) {
        // The name's former pod is not gone yet.
        if (!isAlreadyExists(error)) throw error;
      }
    }
  };

  return new Controller({
    name: NAME,
    clock,
    logger: context.logger,
    watches: [
      watch(sets),
      watch(pods, toController(sets, matches)),
      watch(revisions, toController(sets, selected)),
      watch(claims, () => undefined),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const set = sets.get(namespace, name);
      // What the garbage collector takes away is not made again.
      if (!set?.spec || set.metadata.deletionTimestamp !== undefined) return undefined;
      const options = { client, owner: set, ownerType: STATEFUL_SETS };
      const owned = await claim({ ...options, informer: revisions, matches: (one) => selected(set, one) });
      const step = decideRevision(set, set.spec.template, owned, set.status?.collisionCount, HASH_LABEL);
      const update = await executeRevision(client, set, step);
      if (!update) {
        const collisionCount = (set.status?.collisionCount ?? 0) + 1;
        await client.updateStatus(STATEFUL_SETS, {
          ...set,
          status: { replicas: 0, ...set.status, collisionCount },
        });
        return undefined;
      }
      const known = [...owned.filter((one) => one.metadata.uid !== update.metadata.uid), update];
      const current = known.find((one) => nameOf(one) === set.status?.currentRevision) ?? update;
      const mine = (): Promise<Pod[]> =>
        claim({ ...options, informer: pods, matches: (pod) => matches(set, pod) });
      const decide = (all: readonly Pod[]): StatefulPlan =>
        decideStatefulSet({
          set,
          pods: all,
          currentRevision: nameOf(current),
          updateRevision: nameOf(update),
          collisionCount: set.status?.collisionCount,
          now: clock.now(),
        });
      const present = await mine();
      await settleClaims(set, present);
      await execute(set, decide(present), known);

      const all = await mine();
      const { status } = decide(all);
      if (!sameJson(status, set.status)) await client.updateStatus(STATEFUL_SETS, { ...set, status });
      const live = new Set([
        status.currentRevision ?? '',
        nameOf(current),
        nameOf(update),
        ...all.map(({ metadata }) => metadata.labels?.[REVISION_HASH] ?? ''),
      ]);
      for (const { metadata } of surplusRevisions(known, live, set.spec.revisionHistoryLimit ?? 10, nameOf)) {
        try {
          await client.delete(CONTROLLER_REVISIONS, metadata.namespace, metadata.name ?? '');
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }
      return untilAvailable(all.filter(isActive), set.spec.minReadySeconds ?? 0, clock.now());
    },
  });
}
