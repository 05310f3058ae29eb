import { CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS } from '../../../api/kinds.ts';
import { splitKey } from '../../../api/object.ts';
import type { ControllerRevision, DaemonSet } from '../../../api/types/apps-v1.ts';
import type { Node, Pod } from '../../../api/types/core-v1.ts';
import { Controller, isNamespaceTerminating, watch } from '../../../client/reconcile.ts';
import { selectorCache } from '../../../client/selector-cache.ts';
import { sameJson } from '../../../lib/equal.ts';
import type { ControllerContext } from '../context.ts';
import { Backoff } from '../shared/backoff.ts';
import { claim, indexClaims, toController } from '../shared/ownership.ts';
import { PodControl, slowStart } from '../shared/pod-control.ts';
import { untilAvailable } from '../shared/pods.ts';
import {
  decideRevision,
  executeRevision,
  hashOf,
  REVISION_HASH,
  surplusRevisions,
} from '../shared/revisions.ts';
import { type DaemonPlan, decideDaemonSet } from './decide.ts';
import { pinnedTo, targetNode } from './placement.ts';

const NAME = 'daemonset-controller';
const GENERATION_ANNOTATION = 'deprecated.daemonset.template.generation';

export function daemonSetController(context: ControllerContext): Controller {
  const { client, clock, informers } = context;
  const recorder = context.events.of(NAME);
  const control = new PodControl({ client, recorder });
  const sets = informers.of(DAEMON_SETS);
  const nodes = informers.of(NODES);
  const pods = indexClaims(informers.of(PODS));
  const revisions = indexClaims(informers.of(CONTROLLER_REVISIONS));
  const backoff = new Backoff({ clock, firstMs: 1000, longestMs: 15 * 60_000 });
  const selects = selectorCache();
  const matches = ({ spec }: DaemonSet, object: Pod | ControllerRevision): boolean =>
    selects(spec?.selector, object.metadata.labels);

  const all = (): string[] => sets.list().map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);

  /** The revision of the present template; undefined when its name is taken and the count was raised instead. */
  const syncRevision = async (
    set: DaemonSet,
    owned: readonly ControllerRevision[],
  ): Promise<ControllerRevision | undefined> => {
    const step = decideRevision(set, set.spec?.template, owned, set.status?.collisionCount);
    const current = await executeRevision(client, set, step);
    if (!current && set.status) {
      const collisionCount = (set.status.collisionCount ?? 0) + 1;
      await client.updateStatus(DAEMON_SETS, { ...set, status: { ...set.status, collisionCount } });
    } else if (!current) {
      const status = {
        currentNumberScheduled: 0,
        desiredNumberScheduled: 0,
        numberMisscheduled: 0,
        numberReady: 0,
        collisionCount: 1,
      };
      await client.updateStatus(DAEMON_SETS, { ...set, status });
    }
    return current;
  };

  const execute = async (set: DaemonSet, plan: DaemonPlan, hash: string): Promise<number | undefined> => {
    const template = set.spec?.template ?? {};
    const generation = set.metadata.annotations?.[GENERATION_ANNOTATION];
    for (const pod of plan.remove) await control.delete(set, pod);
    let wait: number | undefined;
    for (const pod of plan.ended) {
      const node = targetNode(pod.spec) ?? '';
      const key = `${set.metadata.uid}/${node}`;
      const remaining = backoff.remaining(key);
      if (remaining > 0) {
        wait = Math.min(wait ?? remaining, remaining);
        continue;
      }
      backoff.note(key);
      const failed = pod.status?.phase === 'Failed';
      const where = `${pod.metadata.namespace}/${pod.metadata.name} on node ${node}`;
      if (failed) {
        recorder.record(
          set,
          'Warning',
          'FailedDaemonPod',
          `Found failed daemon pod ${where}, will try to kill it`,
        );
      } else {
        recorder.record(
          set,
          'Normal',
          'SucceededDaemonPod',
          `Found succeeded daemon pod ${where}, will try to delete it`,
        );
      }
      await control.delete(set, pod);
    }
    const { error } = await slowStart(plan.create.length, (index) =>
      control.create(set, template, {
        labels: {
          [REVISION_HASH]: hash,
          ...(generation === undefined ? {} : { 'pod-template-generation': generation }),
        },
        spec: pinnedTo(template.spec, plan.create[index] as string),
      }),
    );
    if (error !== undefined && !isNamespaceTerminating(error)) throw error;
    return wait;
  };

  return new Controller({
    name: NAME,
    clock,
    logger: context.logger,
    watches: [
      watch(sets),
      watch(pods, toController(sets, matches)),
      watch(revisions, toController(sets, matches)),
      watch(nodes, (node, { old }) => (old && sameForPlacement(node, old) ? undefined : all())),
    ],
    reconcile: async (key) => {
      const { namespace, name } = splitKey(key);
      const set = sets.get(namespace, name);
      if (!set?.spec || set.metadata.deletionTimestamp !== undefined) return undefined;
      const options = { client, owner: set, ownerType: DAEMON_SETS };
      const ownRevisions = await claim({
        ...options,
        informer: revisions,
        matches: (revision) => matches(set, revision),
      });
      const revision = await syncRevision(set, ownRevisions);
      if (!revision) return undefined;
      const hash = hashOf(revision);
      const mine = (): Promise<Pod[]> =>
        claim({ ...options, informer: pods, matches: (pod) => matches(set, pod) });
      const decide = (owned: readonly Pod[]): DaemonPlan =>
        decideDaemonSet({ set, nodes: nodes.list(), pods: owned, hash, now: clock.now() });
      const wait = await execute(set, decide(await mine()), hash);

      const owned = await mine();
      const live = new Set([hash, ...owned.map(({ metadata }) => metadata.labels?.[REVISION_HASH] ?? '')]);
      for (const { metadata } of surplusRevisions(ownRevisions, live, set.spec.revisionHistoryLimit ?? 10)) {
        await client.delete(CONTROLLER_REVISIONS, metadata.namespace, metadata.name ?? '');
      }
      const { status } = decide(owned);
      if (!sameJson(status, set.status)) await client.updateStatus(DAEMON_SETS, { ...set, status });
      const ready = untilAvailable(owned, set.spec.minReadySeconds ?? 0, clock.now());
      return wait === undefined ? ready : Math.min(wait, ready ?? wait);
    },
  });
}

function sameForPlacement(node: Node, old: Node): boolean {
  return sameJson(node.metadata.labels, old.metadata.labels) && sameJson(node.spec?.taints, old.spec?.taints);
}
