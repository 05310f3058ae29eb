import { isAlreadyExists } from '../../../api/errors.ts';
import { DEPLOYMENTS, PODS, REPLICA_SETS } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import type { Deployment, ReplicaSet } from '../../../api/types/apps-v1.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { Controller, isNamespaceTerminating, watch } from '../../../client/reconcile.ts';
import { selectorCache } from '../../../client/selector-cache.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { claim, controlledBy, controllerOf, indexClaims, toController } from '../shared/ownership.ts';
import { type DeploymentStep, decideDeployment } from './decide.ts';
import { REVISION, sameTemplate } from './replica-sets.ts';
import { setCondition } from './status.ts';

const NAME = 'deployment-controller';

export function deploymentController(context: ControllerContext): Controller {
  const { client, clock, informers } = context;
  const recorder = context.events.of(NAME);
  const deployments = informers.of(DEPLOYMENTS);
  const replicaSets = indexClaims(informers.of(REPLICA_SETS));
  const pods = indexClaims(informers.of(PODS));

  const selects = selectorCache();
  const matches = ({ spec }: Deployment, set: ReplicaSet): boolean =>
    selects(spec?.selector, set.metadata.labels);

  /** The Deployment above a pod's ReplicaSet, when it waits for old pods to be gone (Recreate). */
  const recreatedBy = (pod: Pod): string | undefined => {
    const namespace = pod.metadata.namespace;
    const set = replicaSets.get(namespace, controllerOf(pod)?.name ?? '');
    const owner = set && controllerOf(set);
    const deployment = owner && deployments.get(namespace, owner.name);
    return deployment?.spec?.strategy?.type === 'Recreate' ? `${namespace}/${owner?.name}` : undefined;
  };

  const fail = async (deployment: Deployment, name: string, error: unknown): Promise<void> => {
    if (isNamespaceTerminating(error)) return;
    const text = error instanceof Error ? error.message : String(error);
    const message = `Failed to create new replica set "${name}": ${text}`;
    recorder.record(deployment, 'Warning', 'ReplicaSetCreateError', message);
    const conditions = setCondition(
      deployment.status?.conditions ?? [],
      { type: 'Progressing', status: 'False', reason: 'ReplicaSetCreateError', message },
      clock.now(),
    );
    await client.updateStatus(DEPLOYMENTS, { ...deployment, status: { ...deployment.status, conditions } });
  };

  const create = async (
    deployment: Deployment,
    step: Extract<DeploymentStep, { do: 'create' }>,
  ): Promise<boolean> => {
    const { namespace } = deployment.metadata;
    const { name } = step.replicaSet.metadata;
    try {
      await client.create(REPLICA_SETS, namespace, step.replicaSet);
    } catch (error) {
      if (!isAlreadyExists(error)) {
        await fail(deployment, name, error);
        throw error;
      }
      const existing = await client.get(REPLICA_SETS, namespace, name);
      const ours = controllerOf(existing)?.uid === deployment.metadata.uid;
      if (ours && sameTemplate(existing.spec?.template, deployment.spec?.template)) return true;
      // Another template with the same hash, or somebody else's object: the next name is made with a new count.
      const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
      await client.updateStatus(DEPLOYMENTS, {
        ...deployment,
        status: { ...deployment.status, collisionCount },
      });
      return false;
    }
    const replicas = step.replicaSet.spec?.replicas ?? 0;
    if (replicas > 0) tellScaled(deployment, name, 0, replicas);
    return true;
  };

  const tellScaled = (deployment: Deployment, name: string, from: number, to: number): void =>
    recorder.record(
      deployment,
      'Normal',
      'ScalingReplicaSet',
      `Scaled ${to > from ? 'up' : 'down'} replica set ${name} from ${from} to ${to}`,
    );

  /** False: the pass has to start again. */
  const execute = async (deployment: Deployment, step: DeploymentStep): Promise<boolean> => {
    if (step.do === 'create') return await create(deployment, step);
    const { namespace, name = '', uid } = step.replicaSet.metadata;
    if (step.do === 'update') {
      await client.update(REPLICA_SETS, step.replicaSet);
      if (step.scaled) tellScaled(deployment, name, step.scaled.from, step.scaled.to);
    } else {
      await client.delete(REPLICA_SETS, namespace, name, uid === undefined ? {} : { preconditions: { uid } });
    }
    return true;
  };

  return new Controller({
    name: NAME,
    clock,
    logger: context.logger,
    watches: [
      watch(deployments),
      watch(replicaSets, toController(deployments, matches)),
      watch(pods, (pod, { deleted }) => (deleted ? recreatedBy(pod) : undefined)),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const deployment = deployments.get(namespace, name);
      if (!deployment?.spec) return undefined;
      const owned = await claim({
        client,
        owner: deployment,
        ownerType: DEPLOYMENTS,
        informer: replicaSets,
        matches: (set) => matches(deployment, set),
      });
      const decision = decideDeployment({
        deployment,
        replicaSets: owned,
        podsOf: (set) => controlledBy(pods, set.metadata.uid ?? ''),
        now: clock.now(),
      });
      for (const step of decision.steps) {
        if (!(await execute(deployment, step))) return undefined;
      }
      const { status, revision } = decision;
      if (revision !== undefined || !sameJson(deployment.status, status)) {
        // Annotations may be written with the status: an update of the Deployment itself would raise its generation.
        const annotations = { ...deployment.metadata.annotations, ...(revision && { [REVISION]: revision }) };
        await client.updateStatus(DEPLOYMENTS, {
          ...deployment,
          metadata: { ...deployment.metadata, annotations },
          status,
        });
      }
      return decision.again;
    },
  });
}
