import { PODS, REPLICA_SETS, REPLICATION_CONTROLLERS } from '../../../api/kinds.ts';
import { type KubeObject, splitKey } from '../../../api/object.ts';
import type { ResourceType } from '../../../api/resource.ts';
import type { ReplicaSet, ReplicaSetStatus } from '../../../api/types/apps-v1.ts';
import type { Pod, PodTemplateSpec, ReplicationController } from '../../../api/types/core-v1.ts';
import type { LabelSelector } from '../../../api/types/meta-v1.ts';
import { Controller, isNamespaceTerminating, watch } from '../../../client/reconcile.ts';
import { selectorCache } from '../../../client/selector-cache.ts';
import { timestamp } from '../../../lib/clock.ts';
import type { ControllerContext } from '../context.ts';
import { claim, controlledBy, controllerOf, indexClaims, toController } from '../shared/ownership.ts';
import { PodControl, slowStart } from '../shared/pod-control.ts';
import { isActive, untilAvailable } from '../shared/pods.ts';
import { planReplicas, replicaStatus, statusDiffers } from './decide.ts';

/** What ReplicaSets and ReplicationControllers say in different words. */
interface ReplicaOwner extends KubeObject {
  spec?: { replicas?: number; minReadySeconds?: number; template?: PodTemplateSpec };
  status?: ReplicaSetStatus;
}

interface Variant<T extends ReplicaOwner> {
  name: string;
  type: ResourceType<T>;
  selector: (owner: T) => LabelSelector | undefined;
  /** ReplicationController has no status.terminatingReplicas. */
  countTerminating: boolean;
}

export function replicaSetController(context: ControllerContext): Controller {
  return replicaController<ReplicaSet>(context, {
    name: 'replicaset-controller',
    type: REPLICA_SETS,
    selector: (owner) => owner.spec?.selector,
    countTerminating: true,
  });
}

export function replicationController(context: ControllerContext): Controller {
  return replicaController<ReplicationController>(context, {
    name: 'replication-controller',
    type: REPLICATION_CONTROLLERS,
    selector: ({ spec }) => (spec?.selector ? { matchLabels: spec.selector } : undefined),
    countTerminating: false,
  });
}

function replicaController<T extends ReplicaOwner>(
  context: ControllerContext,
  variant: Variant<T>,
): Controller {
  const { client, clock, informers } = context;
  const owners = informers.of(variant.type).indexByController();
  const pods = indexClaims(informers.of(PODS));
  const control = new PodControl({ client, recorder: context.events.of(variant.name) });

  const selects = selectorCache();
  const matches = (owner: T, pod: Pod): boolean => selects(variant.selector(owner), pod.metadata.labels);

  /** Active pods of all owners under the same parent: a scale-down spreads over what the Deployment has on a node. */
  const relatedPods = (owner: T, own: readonly Pod[]): readonly Pod[] => {
    const parent = controllerOf(owner);
    if (!parent) return own.filter(isActive);
    return owners
      .controlledBy(parent.uid)
      .flatMap((sibling) => controlledBy(pods, sibling.metadata.uid ?? ''))
      .filter(isActive);
  };

  const act = async (
    owner: T,
    claimed: readonly Pod[],
  ): Promise<{ failure?: { reason: 'FailedCreate' | 'FailedDelete'; message: string }; error?: unknown }> => {
    const plan = planReplicas({
      replicas: owner.spec?.replicas ?? 1,
      pods: claimed,
      related: relatedPods(owner, claimed),
      now: clock.now(),
    });
    const template = owner.spec?.template ?? {};
    const outcome =
      plan.create > 0
        ? await slowStart(plan.create, () => control.create(owner, template))
        : await slowStart(plan.remove.length, (index) => control.delete(owner, plan.remove[index] as Pod));
    if (outcome.error === undefined || isNamespaceTerminating(outcome.error)) return {};
    const message = outcome.error instanceof Error ? outcome.error.message : String(outcome.error);
    return {
      failure: { reason: plan.create > 0 ? 'FailedCreate' : 'FailedDelete', message },
      error: outcome.error,
    };
  };

  return new Controller({
    name: variant.name,
    clock,
    logger: context.logger,
    watches: [watch(owners), watch(pods, toController(owners, matches))],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const owner = owners.get(namespace, name);
      if (!owner?.spec) return undefined;
      const mine = (): Promise<Pod[]> =>
        claim({
          client,
          owner,
          ownerType: variant.type,
          informer: pods,
          matches: (pod) => matches(owner, pod),
        });
      const leaving = owner.metadata.deletionTimestamp !== undefined;
      const { failure, error } = leaving ? {} : await act(owner, await mine());

      const after = leaving ? controlledBy(pods, owner.metadata.uid ?? '') : await mine();
      const minReadySeconds = owner.spec.minReadySeconds ?? 0;
      const now = clock.now();
      const status = replicaStatus({
        pods: after,
        templateLabels: owner.spec.template?.metadata?.labels ?? {},
        minReadySeconds,
        generation: owner.metadata.generation,
        current: owner.status,
        failure,
        countTerminating: variant.countTerminating,
        now,
        timestamp: timestamp(now),
      });
      if (statusDiffers(owner.status, status)) {
        await client.updateStatus(variant.type, { ...owner, status });
      }
      if (error !== undefined) throw error;
      return untilAvailable(after.filter(isActive), minReadySeconds, now);
    },
  });
}
