import type { Node, NodeCondition, Taint } from '../api/types/core-v1.ts';
import type { NodeLife } from '../client/boards.ts';

/** Without a heartbeat for so long a node is unreachable (node-monitor-grace-period). */
export const GRACE_MS = 40_000;
/** After the server's own start the boards get this long to come back before one is missed. */
export const STARTUP_GRACE_MS = 60_000;
/** A last will is believed after this: an agent that is only restarted is back by then. */
export const WILL_DELAY_MS = 5_000;

export const NOT_READY = 'node.kubernetes.io/not-ready';
export const UNREACHABLE = 'node.kubernetes.io/unreachable';
const UNSCHEDULABLE = 'node.kubernetes.io/unschedulable';

/** Conditions that mean a taint: by type, the statuses and the key. */
const PRESSURES: readonly (readonly [type: string, key: string])[] = [
  ['MemoryPressure', 'node.kubernetes.io/memory-pressure'],
  ['DiskPressure', 'node.kubernetes.io/disk-pressure'],
  ['PIDPressure', 'node.kubernetes.io/pid-pressure'],
  ['NetworkUnavailable', 'node.kubernetes.io/network-unavailable'],
];
/** Reported by the agent; all become Unknown when it falls silent. */
const REPORTED = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];
const OURS = new Set([NOT_READY, UNREACHABLE, UNSCHEDULABLE, ...PRESSURES.map(([, key]) => key)]);

export function readyStatus(node: Node): string {
  return node.status?.conditions?.find(({ type }) => type === 'Ready')?.status ?? 'Unknown';
}

/**
 * Milliseconds until the board counts as lost; 0 and less: it does. All times are monotonic. `listeningSince` is when this
 * server began to listen: silence before that is its own.
 */
export function untilLost(life: NodeLife | undefined, now: number, listeningSince: number): number {
  if (!life || life.lastSeen === 0) return listeningSince + STARTUP_GRACE_MS - now;
  const silence = life.lastSeen + GRACE_MS - now;
  return life.connected ? silence : Math.min(silence, life.since + WILL_DELAY_MS - now);
}

/** The conditions of a board that fell silent; undefined when they say so already. */
export function lostConditions(node: Node, timestamp: string): NodeCondition[] | undefined {
  const current = node.status?.conditions ?? [];
  let changed = false;
  const lost = REPORTED.map((type): NodeCondition => {
    const before = current.find((condition) => condition.type === type);
    if (before?.status === 'Unknown') return before;
    changed = true;
    return {
      type,
      status: 'Unknown',
      reason: before ? 'NodeStatusUnknown' : 'NodeStatusNeverUpdated',
      message: before ? 'Kubelet stopped posting node status.' : 'Kubelet never posted node status.',
      lastHeartbeatTime: before?.lastHeartbeatTime ?? node.metadata.creationTimestamp ?? timestamp,
      lastTransitionTime: timestamp,
    };
  });
  if (!changed) return undefined;
  return [...current.filter(({ type }) => !REPORTED.includes(type)), ...lost];
}

/**
 * The node's taints after its conditions; undefined when they are right already. Without `evicting` no pod is driven out
 * because of the node's health: the cluster is disrupted, or it is not the node's turn (see EvictionPace).
 */
export function wantedTaints(node: Node, evicting: boolean, timestamp: string): Taint[] | undefined {
  const present = node.spec?.taints ?? [];
  const conditions = node.status?.conditions ?? [];
  const wanted: Pick<Taint, 'key' | 'effect'>[] = [];
  const ready = readyStatus(node);
  // A node that has just registered has not said yet how it is: it takes no pods, and has none to lose.
  const registering = !conditions.some(({ type }) => type === 'Ready');
  const health = ready === 'True' ? undefined : ready === 'False' || registering ? NOT_READY : UNREACHABLE;
  if (health) wanted.push({ key: health, effect: 'NoSchedule' });
  for (const [type, key] of PRESSURES) {
    if (conditions.some((condition) => condition.type === type && condition.status === 'True')) {
      wanted.push({ key, effect: 'NoSchedule' });
    }
  }
  if (node.spec?.unschedulable) wanted.push({ key: UNSCHEDULABLE, effect: 'NoSchedule' });
  if (health && evicting && !registering) wanted.push({ key: health, effect: 'NoExecute' });

  const same = (a: Pick<Taint, 'key' | 'effect'>, b: Pick<Taint, 'key' | 'effect'>): boolean =>
    a.key === b.key && a.effect === b.effect;
  const kept = present.filter((taint) => !OURS.has(taint.key) || wanted.some((one) => same(one, taint)));
  const added = wanted
    .filter((one) => !present.some((taint) => same(one, taint)))
    .map((one): Taint => ({ ...one, timeAdded: timestamp }));
  return added.length === 0 && kept.length === present.length ? undefined : [...kept, ...added];
}
