import type { JsonObject } from '../../api/object.ts';
import { podRequests } from '../../api/pod-resources.ts';
import { milliUnits, parseQuantity, type Quantity, wholeUnits } from '../../api/quantity.ts';
import type { ContainerPort, Pod } from '../../api/types/core-v1.ts';
import type { NodeObjection } from '../../wire/messages.ts';

/**
 * May a pod that is new to this node run beside those that are here? For pods that a scheduler has placed the answer is
 * yes: it asked the same. Who writes spec.nodeName by hand is told no as the kubelet tells it: reason and message of its
 * admission, in the order in which it looks. `objection`: what the server knows against it (labels, taints).
 */
export function judgeAdmission(
  pod: Pod,
  others: readonly Pod[],
  node: {
    allocatable: Readonly<Record<string, string>>;
    objection: NodeObjection | undefined;
  },
): NodeObjection | undefined {
  const { objection } = node;
  return (
    shortage(pod, others, node.allocatable) ??
    (objection?.reason === 'NodeAffinity' ? objection : undefined) ??
    portTaken(pod, others) ??
    objection
  );
}

function shortage(
  pod: Pod,
  others: readonly Pod[],
  allocatable: Readonly<Record<string, string>>,
): NodeObjection | undefined {
  const capacityOf = (name: string): number => amount(name, parseQuantity(allocatable[name] ?? '0'));
  // A node that has not measured itself yet refuses nobody.
  if (Object.keys(allocatable).length === 0) return undefined;
  const lacks = (name: string, requested: number, used: number): NodeObjection | undefined => {
    const capacity = capacityOf(name);
    if (requested === 0 || requested + used <= capacity) return undefined;
    return {
      reason: `OutOf${name}`,
      message: `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
    };
  };
  const used = new Map<string, number>();
  for (const other of others) {
    for (const [name, quantity] of requestsOf(other)) {
      used.set(name, (used.get(name) ?? 0) + amount(name, quantity));
    }
  }
  const tooMany = allocatable.pods === undefined ? undefined : lacks('pods', 1, others.length);
  if (tooMany) return tooMany;
  const requests = requestsOf(pod);
  const first = ['cpu', 'memory', 'ephemeral-storage'].filter((name) => requests.has(name));
  for (const name of new Set([...first, ...requests.keys()])) {
    const found = lacks(name, amount(name, requests.get(name) as Quantity), used.get(name) ?? 0);
    if (found) return found;
  }
  return undefined;
}

const requestsOf = (pod: Pod): ReadonlyMap<string, Quantity> =>
  podRequests((pod.spec ?? {}) as unknown as JsonObject);

/** CPU in thousandths, everything else whole: as the scheduler counts, and as its messages tell it. */
function amount(name: string, quantity: Quantity): number {
  return name === 'cpu' ? milliUnits(quantity) : wholeUnits(quantity);
}

function portTaken(pod: Pod, others: readonly Pod[]): NodeObjection | undefined {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return undefined;
  const taken = others.flatMap(hostPorts);
  if (!wanted.some((port) => taken.some((other) => collide(port, other)))) return undefined;
  return {
    reason: 'NodePorts',
    message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
  };
}

function hostPorts({ spec }: Pod): ContainerPort[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...sidecars].flatMap(({ ports = [] }) =>
    ports.filter(({ hostPort }) => (hostPort ?? 0) > 0),
  );
}

function collide(left: ContainerPort, right: ContainerPort): boolean {
  if (left.hostPort !== right.hostPort) return false;
  if ((left.protocol ?? 'TCP') !== (right.protocol ?? 'TCP')) return false;
  const [here, there] = [left.hostIP || '0.0.0.0', right.hostIP || '0.0.0.0'];
  return here === there || here === '0.0.0.0' || there === '0.0.0.0';
}
