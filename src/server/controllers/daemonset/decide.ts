import type { DaemonSet, DaemonSetStatus } from '../../../api/types/apps-v1.ts';
import type { Node, Pod } from '../../../api/types/core-v1.ts';
import { scaledValue } from '../shared/int-or-percent.ts';
import { createdAt, isAvailable, isReady } from '../shared/pods.ts';
import { REVISION_HASH } from '../shared/revisions.ts';
import { placementOn, targetNode } from './placement.ts';

export interface DaemonPlan {
  /** Node names that get a pod. */
  create: string[];
  remove: Pod[];
  /** Ended pods: removed with a back-off, and told in an event. */
  ended: Pod[];
  status: DaemonSetStatus;
}

interface NodePods {
  name: string;
  run: boolean;
  stay: boolean;
  /** Not ended, oldest first; terminating ones included. */
  pods: Pod[];
  ended: Pod[];
}

/** One pass over a DaemonSet: which nodes miss their pod, which pods have to go, and the rolling update. Pure. */
export function decideDaemonSet(input: {
  set: DaemonSet;
  nodes: readonly Node[];
  pods: readonly Pod[];
  /** controller-revision-hash of the present template. */
  hash: string;
  now: number;
}): DaemonPlan {
  const { set, hash, now } = input;
  const places = placesOf(set, input.nodes, input.pods);
  const minReady = set.spec?.minReadySeconds ?? 0;
  const desired = places.filter(({ run }) => run).length;
  const isNew = (pod: Pod): boolean => pod.metadata.labels?.[REVISION_HASH] === hash;
  const available = (pod: Pod): boolean => isAvailable(pod, minReady, now);

  const rolling = (set.spec?.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
  const limits = set.spec?.updateStrategy?.rollingUpdate;
  const surge = rolling ? scaledValue(limits?.maxSurge, desired, 'up') : 0;
  // Both zero would never move; the API refuses that, and a percentage of no nodes is no limit.
  const unavailable = scaledValue(limits?.maxUnavailable, desired, 'up', surge > 0 ? 0 : 1);

  const create: string[] = [];
  const remove = new Set<Pod>();
  const ended: Pod[] = [];
  for (const place of places) {
    ended.push(...(place.stay ? place.ended : []));
    const alive = place.pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
    if (!place.stay) for (const pod of [...alive, ...place.ended]) remove.add(pod);
    else if (place.run && place.pods.length === 0 && place.ended.length === 0) create.push(place.name);
    else for (const pod of superfluous(alive, surge > 0, isNew, available)) remove.add(pod);
  }
  if (rolling) {
    if (surge > 0) rollBySurge(places, surge, isNew, available, create, remove);
    else for (const pod of rollByReplacing(places, unavailable, isNew, available)) remove.add(pod);
  }
  return { create, remove: [...remove], ended, status: statusOf(set, places, isNew, available) };
}

function placesOf(set: DaemonSet, nodes: readonly Node[], pods: readonly Pod[]): NodePods[] {
  const byNode = new Map<string, NodePods>();
  for (const node of nodes) {
    const name = node.metadata.name ?? '';
    byNode.set(name, { name, ...placementOn(set, node), pods: [], ended: [] });
  }
  for (const pod of [...pods].sort((a, b) => createdAt(a) - createdAt(b))) {
    const name = targetNode(pod.spec);
    if (name === undefined) continue;
    let place = byNode.get(name);
    if (!place) {
      // The node is gone; its pods are for the pod garbage collector once bound, and for us before.
      place = { name, run: false, stay: Boolean(pod.spec?.nodeName), pods: [], ended: [] };
      byNode.set(name, place);
    }
    const done = pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';
    if (!done) place.pods.push(pod);
    else if (pod.metadata.deletionTimestamp === undefined) place.ended.push(pod);
    else place.pods.push(pod);
  }
  return [...byNode.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** One pod for each node: the oldest. While surging one old and one new, until the new one is available. */
function superfluous(
  alive: readonly Pod[],
  surging: boolean,
  isNew: (pod: Pod) => boolean,
  available: (pod: Pod) => boolean,
): Pod[] {
  if (alive.length <= 1) return [];
  if (!surging) return alive.slice(1);
  const news = alive.filter(isNew);
  const olds = alive.filter((pod) => !isNew(pod));
  const [current] = news;
  const oldGoes =
    current !== undefined && (available(current) || (olds[0] !== undefined && !isReady(olds[0])));
  return [...news.slice(1), ...olds.slice(oldGoes ? 0 : 1)];
}

/** Old pods to take away: those that are not available at once, others as far as maxUnavailable allows. */
function rollByReplacing(
  places: readonly NodePods[],
  limit: number,
  isNew: (pod: Pod) => boolean,
  available: (pod: Pod) => boolean,
): Pod[] {
  let missing = 0;
  const useless: Pod[] = [];
  const candidates: Pod[] = [];
  for (const { run, pods } of places) {
    if (!run) continue;
    const [pod, ...more] = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    if (!pod || more.length > 0) missing += 1;
    else if (isNew(pod)) missing += available(pod) ? 0 : 1;
    else if (!available(pod)) {
      useless.push(pod);
      missing += 1;
    } else candidates.push(pod);
  }
  return [...useless, ...candidates.slice(0, Math.max(0, limit - missing))];
}

/** New pods beside old ones, at most `limit` at a time; superfluous() takes the old one when the new one is available. */
function rollBySurge(
  places: readonly NodePods[],
  limit: number,
  isNew: (pod: Pod) => boolean,
  available: (pod: Pod) => boolean,
  create: string[],
  remove: Set<Pod>,
): void {
  let surging = 0;
  const candidates: string[] = [];
  for (const { name, run, pods } of places) {
    if (!run) continue;
    const alive = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    const current = alive.find(isNew);
    const old = alive.find((pod) => !isNew(pod));
    if (!old) continue;
    if (current) {
      if (!available(current)) surging += 1;
    } else if (!available(old)) {
      // Replaced without counting: it serves nobody.
      create.push(name);
      remove.add(old);
    } else candidates.push(name);
  }
  create.push(...candidates.slice(0, Math.max(0, limit - surging)));
}

function statusOf(
  set: DaemonSet,
  places: readonly NodePods[],
  isNew: (pod: Pod) => boolean,
  available: (pod: Pod) => boolean,
): DaemonSetStatus {
  const count = { desired: 0, current: 0, misscheduled: 0, ready: 0, available: 0, updated: 0 };
  for (const { run, pods, ended } of places) {
    const all = [...pods, ...ended];
    if (!run) {
      if (all.length > 0) count.misscheduled += 1;
      continue;
    }
    count.desired += 1;
    if (all.length === 0) continue;
    count.current += 1;
    if (pods.some(isReady)) count.ready += 1;
    if (pods.some((pod) => isReady(pod) && available(pod))) count.available += 1;
    if (all.some(isNew)) count.updated += 1;
  }
  const missing = count.desired - count.available;
  const { collisionCount } = set.status ?? {};
  return {
    currentNumberScheduled: count.current,
    desiredNumberScheduled: count.desired,
    numberMisscheduled: count.misscheduled,
    numberReady: count.ready,
    ...(set.metadata.generation === undefined ? {} : { observedGeneration: set.metadata.generation }),
    ...(count.updated > 0 ? { updatedNumberScheduled: count.updated } : {}),
    ...(count.available > 0 ? { numberAvailable: count.available } : {}),
    ...(missing > 0 ? { numberUnavailable: missing } : {}),
    ...(collisionCount === undefined ? {} : { collisionCount }),
    ...(set.status?.conditions ? { conditions: set.status.conditions } : {}),
  };
}
