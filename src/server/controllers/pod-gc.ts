import { isConflict, isNotFound } from '../../api/errors.ts';
import { NODES, PODS } from '../../api/kinds.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import { timestamp } from '../../lib/clock.ts';
import type { ControllerContext } from './context.ts';
import { withCondition } from './shared/conditions.ts';
import { createdAt, isEnded } from './shared/pods.ts';

/** Ended pods kept; beyond, the oldest go. Kubernetes' default is 12500, which a board's memory does not hold. */
const MOST_ENDED = 1000;
/** A node may be missing for this long (being registered again) before its pods are given up; as in Kubernetes. */
const QUARANTINE_MS = 40_000;
const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

const ENDED = 'ended';
const node = (name: string): string => `node/${name}`;
const pod = ({ metadata }: Pod): string => `pod/${metadata.namespace}/${metadata.name}`;

/** The oldest ended pods beyond the limit. */
export function surplusEnded(pods: readonly Pod[], limit: number): Pod[] {
  const ended = pods.filter((one) => isEnded(one) && one.metadata.deletionTimestamp === undefined);
  if (ended.length <= limit) return [];
  return ended.sort((a, b) => createdAt(a) - createdAt(b)).slice(0, ended.length - limit);
}

/**
 * Removes pods that nobody else will: of nodes that are gone, being deleted without ever having had a node, being deleted
 * on a node that is out of service, and ended ones beyond a limit.
 */
export function podGcController(context: ControllerContext, limit = MOST_ENDED): Controller {
  const { client, clock, informers } = context;
  const nodes = informers.of(NODES);
  const pods = informers.of(PODS).addIndex('node', ({ spec }) => spec?.nodeName || undefined);
  let ended = 0;

  const remove = async (victim: Pod, message?: string): Promise<void> => {
    const { namespace, name = '', uid } = victim.metadata;
    try {
      if (message !== undefined && !isEnded(victim)) {
        await client.updateStatus(PODS, {
          ...victim,
          status: {
            ...victim.status,
            phase: 'Failed',
            conditions: withCondition(
              victim.status?.conditions,
              { type: 'DisruptionTarget', status: 'True', reason: 'DeletionByPodGC', message },
              timestamp(clock.now()),
            ),
          },
        });
      }
      await client.delete(PODS, namespace, name, {
        gracePeriodSeconds: 0,
        ...(uid === undefined ? {} : { preconditions: { uid } }),
      });
    } catch (error) {
      if (isNotFound(error)) return;
      if (isConflict(error)) controller.enqueue(pod(victim), 1000);
      else throw error;
    }
  };

  /** Asked of the API itself: an informer may be behind a node that just joined. */
  const exists = async (name: string): Promise<boolean> => {
    if (nodes.get(undefined, name)) return true;
    try {
      await client.get(NODES, undefined, name);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  };

  const outOfService = (name: string): boolean =>
    nodes.get(undefined, name)?.spec?.taints?.some(({ key }) => key === OUT_OF_SERVICE) ?? false;

  const isUnready = (name: string): boolean =>
    nodes
      .get(undefined, name)
      ?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status !== 'True') ?? false;

  const collectNode = async (name: string): Promise<void> => {
    const gone = !(await exists(name));
    const dead = !gone && outOfService(name) && isUnready(name);
    if (!gone && !dead) return;
    for (const one of pods.byIndex('node', name)) {
      if (gone) await remove(one, 'PodGC: node no longer exists');
      else if (one.metadata.deletionTimestamp !== undefined) await remove(one);
    }
  };

  const controller = new Controller({
    name: 'pod-garbage-collector',
    clock,
    logger: context.logger,
    watches: [
      watch(nodes, ({ metadata, spec }, { deleted }) => {
        const key = node(metadata.name ?? '');
        if (deleted) controller.enqueue(key, QUARANTINE_MS);
        return spec?.taints?.some((taint) => taint.key === OUT_OF_SERVICE) ? key : undefined;
      }),
      watch(pods, (one, { old, deleted }) => {
        const wasEnded = old !== undefined ? isEnded(old) : false;
        if (deleted ? isEnded(one) : isEnded(one) !== wasEnded) ended += deleted || !isEnded(one) ? -1 : 1;
        if (deleted) return undefined;
        const keys: string[] = [];
        const name = one.spec?.nodeName;
        if (name && !nodes.get(undefined, name)) controller.enqueue(node(name), QUARANTINE_MS);
        if (name && one.metadata.deletionTimestamp !== undefined && outOfService(name)) keys.push(node(name));
        if (!name && one.metadata.deletionTimestamp !== undefined) keys.push(pod(one));
        if (ended > limit) keys.push(ENDED);
        return keys;
      }),
    ],
    reconcile: async (key) => {
      if (key === ENDED) {
        for (const one of surplusEnded(pods.list(), limit)) await remove(one);
      } else if (key.startsWith('node/')) {
        await collectNode(key.slice('node/'.length));
      } else {
        const one = pods.byKey(key.slice('pod/'.length));
        if (one && !one.spec?.nodeName && one.metadata.deletionTimestamp !== undefined) await remove(one);
      }
      return undefined;
    },
  });
  return controller;
}
