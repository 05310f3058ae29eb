import type { Node, NodeCondition, NodeStatus } from '../../api/types/core-v1.ts';
import type { NewObject } from '../../client/port.ts';
import { sameJson } from '../../lib/equal.ts';
import type { NodeRegistration } from '../../wire/messages.ts';

/** Remembers which labels the agent gave, so that a label which it no longer gives goes and a user's own stays. */
export const REGISTERED_LABELS = 'copepod.io/registered-labels';

/** Labels that every kubelet keeps in order, whatever a user did to them. */
function standardLabels(name: string, { nodeInfo }: NodeRegistration): Record<string, string> {
  return {
    'beta.kubernetes.io/arch': nodeInfo.architecture,
    'beta.kubernetes.io/os': nodeInfo.operatingSystem,
    'kubernetes.io/arch': nodeInfo.architecture,
    'kubernetes.io/hostname': name,
    'kubernetes.io/os': nodeInfo.operatingSystem,
  };
}

/** The Node of a board that registers for the first time. Taints are given here only: later they are the users'. */
export function nodeToCreate(name: string, registration: NodeRegistration): NewObject<Node> {
  return {
    metadata: {
      name,
      labels: { ...registration.labels, ...standardLabels(name, registration) },
      annotations: { [REGISTERED_LABELS]: JSON.stringify(registration.labels) },
    },
    spec: {
      ...(registration.taints.length === 0
        ? {}
        : { taints: registration.taints.map((taint) => ({ ...taint })) }),
    },
  };
}

/**
 * Labels and annotations that an existing Node has to get, as a merge patch body (null removes), or undefined. What the
 * agent gives anew or differently is set, what it has stopped giving is removed, everything else is the users'.
 */
export function registrationPatch(node: Node, registration: NodeRegistration): object | undefined {
  const name = node.metadata.name ?? '';
  const current = node.metadata.labels ?? {};
  const before = readLabels(node.metadata.annotations?.[REGISTERED_LABELS]);
  const labels: Record<string, string | null> = {};
  for (const [key, value] of Object.entries(registration.labels)) {
    if (before[key] !== value && current[key] !== value) labels[key] = value;
  }
  for (const key of Object.keys(before)) {
    if (registration.labels[key] === undefined && current[key] === before[key]) labels[key] = null;
  }
  for (const [key, value] of Object.entries(standardLabels(name, registration))) {
    if (current[key] === value) delete labels[key];
    else labels[key] = value;
  }
  const recorded = sameJson(before, registration.labels)
    ? undefined
    : { [REGISTERED_LABELS]: JSON.stringify(registration.labels) };
  if (Object.keys(labels).length === 0 && !recorded) return undefined;
  return {
    metadata: {
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      ...(recorded ? { annotations: recorded } : {}),
    },
  };
}

function readLabels(text: string | undefined): Record<string, string> {
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, string>) : {};
  } catch {
    return {};
  }
}

/** The status with what the registration says, or undefined when nothing of it is new. */
export function statusAfterRegistration(
  status: NodeStatus | undefined,
  registration: NodeRegistration,
): NodeStatus | undefined {
  const facts: Partial<NodeStatus> = {
    addresses: registration.addresses as NonNullable<NodeStatus['addresses']>,
    capacity: registration.capacity,
    allocatable: registration.allocatable,
    nodeInfo: registration.nodeInfo,
  };
  const same = Object.entries(facts).every(([field, value]) =>
    sameJson(status?.[field as keyof NodeStatus], value),
  );
  return same ? undefined : { ...status, ...facts };
}

interface Wording {
  good: { status: 'True' | 'False'; reason: string; message: string };
  bad: { status: 'True' | 'False'; reason: string };
}

/** The words of kubelet (pkg/kubelet/nodestatus). */
const CONDITIONS: Readonly<Record<string, Wording>> = {
  MemoryPressure: {
    good: {
      status: 'False',
      reason: 'KubeletHasSufficientMemory',
      message: 'kubelet has sufficient memory available',
    },
    bad: { status: 'True', reason: 'KubeletHasInsufficientMemory' },
  },
  DiskPressure: {
    good: { status: 'False', reason: 'KubeletHasNoDiskPressure', message: 'kubelet has no disk pressure' },
    bad: { status: 'True', reason: 'KubeletHasDiskPressure' },
  },
  PIDPressure: {
    good: {
      status: 'False',
      reason: 'KubeletHasSufficientPID',
      message: 'kubelet has sufficient PID available',
    },
    bad: { status: 'True', reason: 'KubeletHasInsufficientPID' },
  },
  Ready: {
    good: { status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' },
    bad: { status: 'False', reason: 'KubeletNotReady' },
  },
};

/** Conditions besides kubelet's four that a board reports, for example throttling. */
const BOARD_REASON = 'BoardReported';

/**
 * The node's conditions after a heartbeat, or undefined when a user would see no difference. `reported` holds those that
 * are not in their good state, with a message. Heartbeat times alone are renewed when older than `refreshMs`.
 */
export function conditionsAfterHeartbeat(
  conditions: readonly NodeCondition[],
  reported: Readonly<Record<string, string>>,
  now: string,
  refreshMs: number,
): NodeCondition[] | undefined {
  const wanted = new Map<string, Pick<NodeCondition, 'status' | 'reason' | 'message'>>();
  for (const [type, { good, bad }] of Object.entries(CONDITIONS)) {
    const problem = reported[type];
    wanted.set(type, problem === undefined ? good : { ...bad, message: problem });
  }
  for (const [type, message] of Object.entries(reported)) {
    if (!wanted.has(type)) wanted.set(type, { status: 'True', reason: BOARD_REASON, message });
  }
  for (const { type, reason, status } of conditions) {
    if (reason === BOARD_REASON && status === 'True' && !wanted.has(type)) {
      wanted.set(type, { status: 'False', reason: BOARD_REASON, message: '' });
    }
  }
  let changed = false;
  const result = conditions.map((condition) => {
    const want = wanted.get(condition.type);
    wanted.delete(condition.type);
    if (!want) return condition;
    const transition = condition.status !== want.status;
    const age = Date.parse(now) - Date.parse(condition.lastHeartbeatTime ?? '');
    if (
      transition ||
      condition.reason !== want.reason ||
      condition.message !== want.message ||
      !(Math.abs(age) < refreshMs)
    ) {
      changed = true;
    }
    return {
      ...condition,
      ...want,
      lastHeartbeatTime: now,
      lastTransitionTime: transition ? now : (condition.lastTransitionTime ?? now),
    };
  });
  for (const [type, want] of wanted) {
    changed = true;
    result.push({ type, ...want, lastHeartbeatTime: now, lastTransitionTime: now });
  }
  return changed ? result : undefined;
}
