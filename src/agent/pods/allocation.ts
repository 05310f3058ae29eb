import type { JsonObject } from '../../api/object.ts';
import { type Amounts, podRequests } from '../../api/pod-resources.ts';
import { compareQuantities, milliUnits, type Quantity, quantityOf, wholeUnits } from '../../api/quantity.ts';
import type { Container, Pod, PodStatus, ResourceRequirements } from '../../api/types/core-v1.ts';
import { sameJson } from '../../lib/equal.ts';
import { roleOfInit } from '../names.ts';

/**
 * What a pod has been given, which is not what it asks for while a resize of it waits. By container name; `undefined`
 * as a name stands for the pod as a whole.
 */
export type Allocation = ReadonlyMap<string | undefined, ResourceRequirements>;

/** Those that may be resized: regular containers and sidecars. */
export function resizableContainers(pod: Pod): Container[] {
  const { initContainers = [], containers = [] } = pod.spec ?? {};
  return [...initContainers.filter((container) => roleOfInit(container) === 'sidecar'), ...containers];
}

/**
 * What the pod was given by the word of its last status (of an agent before this one); what that says nothing of has
 * what it asks for. A resize that was under way is then decided anew, which comes to the same.
 */
export function allocationOf(pod: Pod, previous: PodStatus | undefined): Allocation {
  const allocation = new Map<string | undefined, ResourceRequirements>();
  const statuses = [...(previous?.initContainerStatuses ?? []), ...(previous?.containerStatuses ?? [])];
  for (const { name, resources } of resizableContainers(pod)) {
    const status = statuses.find((each) => each.name === name);
    allocation.set(name, given(resources, status) ?? resources ?? {});
  }
  const own = pod.spec?.resources;
  if (own) allocation.set(undefined, given(own, previous) ?? own);
  return allocation;
}

/** Only CPU and memory may ever differ from the spec. */
function given(
  spec: ResourceRequirements | undefined,
  status: { allocatedResources?: Record<string, string>; resources?: ResourceRequirements } | undefined,
): ResourceRequirements | undefined {
  if (!status?.resources) return undefined;
  const requests = status.allocatedResources ?? status.resources.requests;
  const { limits } = status.resources;
  if (!requests && !limits) return undefined;
  return { ...spec, ...(requests ? { requests } : {}), ...(limits ? { limits } : {}) };
}

/** The pod as it is to run: with what it has been given. The same object when that is what it asks for. */
export function withAllocation(pod: Pod, allocation: Allocation): Pod {
  const { spec } = pod;
  if (!spec || !differs(pod, allocation)) return pod;
  const replaced = (container: Container): Container => {
    const resources = allocation.get(container.name);
    return resources ? { ...container, resources } : container;
  };
  const own = allocation.get(undefined);
  return {
    ...pod,
    spec: {
      ...spec,
      containers: spec.containers.map(replaced),
      ...(spec.initContainers ? { initContainers: spec.initContainers.map(replaced) } : {}),
      ...(own ? { resources: own } : {}),
    },
  };
}

/** Does the pod ask for other resources than it has? */
export function differs(pod: Pod, allocation: Allocation): boolean {
  const own = pod.spec?.resources;
  if (own && !sameResources(own, allocation.get(undefined))) return true;
  return resizableContainers(pod).some(
    ({ name, resources }) => !sameResources(resources, allocation.get(name)),
  );
}

/** `1` and `1000m` are the same. */
function sameResources(
  left: ResourceRequirements | undefined,
  right: ResourceRequirements | undefined,
): boolean {
  return (['requests', 'limits'] as const).every((part) => {
    const ours = left?.[part] ?? {};
    const theirs = right?.[part] ?? {};
    if (sameJson(ours, theirs)) return true;
    return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].every((name) => {
      const [a, b] = [ours[name], theirs[name]];
      return a !== undefined && b !== undefined && compareQuantities(quantityOf(a), quantityOf(b)) === 0;
    });
  });
}

export type ResizeVerdict =
  | { fits: true }
  /** Infeasible: never on this node. Deferred: as soon as others leave or shrink. */
  | { fits: false; reason: 'Infeasible' | 'Deferred'; message: string };

/** May the pod have what it asks for, beside the others as they have been given theirs? In the kubelet's words. */
export function judgeResize(
  pod: Pod,
  others: Iterable<Pod>,
  allocatable: Readonly<Record<string, string>>,
): ResizeVerdict {
  const wanted = requestsOf(pod);
  const capacity = { cpu: amount('cpu', allocatable), memory: amount('memory', allocatable) };
  for (const name of ['memory', 'cpu'] as const) {
    if (wanted[name] <= capacity[name]) continue;
    const message = `Node didn't have enough capacity: ${name}, requested: ${wanted[name]}, capacity: ${capacity[name]}`;
    return { fits: false, reason: 'Infeasible', message };
  }
  const used = { cpu: 0, memory: 0 };
  for (const other of others) {
    const requests = requestsOf(other);
    used.cpu += requests.cpu;
    used.memory += requests.memory;
  }
  for (const name of ['cpu', 'memory'] as const) {
    if (wanted[name] === 0 || wanted[name] + used[name] <= capacity[name]) continue;
    const message = `Node didn't have enough resource: ${name}, requested: ${wanted[name]}, used: ${used[name]}, capacity: ${capacity[name]}`;
    return { fits: false, reason: 'Deferred', message };
  }
  return { fits: true };
}

/** Thousandths of CPU, bytes of memory. */
export function requestsOf(pod: Pod): { cpu: number; memory: number } {
  const amounts: Amounts = podRequests((pod.spec ?? {}) as unknown as JsonObject);
  return { cpu: units('cpu', amounts.get('cpu')), memory: units('memory', amounts.get('memory')) };
}

function amount(name: 'cpu' | 'memory', list: Readonly<Record<string, string>>): number {
  const text = list[name];
  // A node that does not say what it has refuses nothing.
  return text === undefined ? Number.POSITIVE_INFINITY : units(name, quantityOf(text));
}

function units(name: 'cpu' | 'memory', quantity: Quantity | undefined): number {
  if (!quantity) return 0;
  return name === 'cpu' ? milliUnits(quantity) : wholeUnits(quantity);
}
