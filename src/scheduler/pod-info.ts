import { keyOf } from '../api/object.ts';
import { milliUnits, parseQuantity, wholeUnits } from '../api/quantity.ts';
import type { Container, ContainerStatus, Pod } from '../api/types/core-v1.ts';
import { affinityTerms, type PodTerms } from './pod-terms.ts';

/** CPU in thousandths, everything else in whole units; `others` holds extended resources and huge pages. */
export interface Resources {
  cpu: number;
  memory: number;
  ephemeral: number;
  others: ReadonlyMap<string, number> | undefined;
}

export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

/** What the scheduler asks about a pod again and again, worked out once. */
export interface PodInfo {
  readonly pod: Pod;
  readonly key: string;
  readonly uid: string;
  readonly priority: number;
  readonly requests: Resources;
  /** Requests with 100m and 200 MB for containers that ask for nothing: so that they count when scores are compared. */
  readonly nonZeroCpu: number;
  readonly nonZeroMemory: number;
  readonly hostPorts: readonly HostPort[];
  /** The uid of its controller: pods of one controller are spread. */
  readonly controller: string | undefined;
  readonly affinity: PodTerms;
  readonly antiAffinity: PodTerms;
  /** Any term of the two. */
  readonly hasTerms: boolean;
  /** Names of its claims, those of generic ephemeral volumes too. */
  readonly claims: readonly PodClaim[];
  /** Bytes that it will probably use: its request, or what a container commonly takes that asks for nothing. */
  readonly expectedMemory: number;
}

export interface PodClaim {
  readonly name: string;
  /** Made from a template in the pod; the claim has to be the pod's own. */
  readonly ephemeral: boolean;
}

const DEFAULT_CPU = 100;
const DEFAULT_MEMORY = 200 * 1024 * 1024;
/** What is expected of a container without a request; most on small boards take 20 to 100 MiB. */
const EXPECTED_MEMORY = 64 * 1024 * 1024;

export function podInfo(pod: Pod): PodInfo {
  const spec = pod.spec;
  const requests = podRequests(pod, 0, 0);
  const complete = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].every(
    ({ resources }) => resources?.requests?.cpu !== undefined && resources.requests.memory !== undefined,
  );
  const nonZero = complete ? requests : podRequests(pod, DEFAULT_CPU, DEFAULT_MEMORY);
  const expected = complete ? requests : podRequests(pod, 0, EXPECTED_MEMORY);
  const { affinity, antiAffinity } = affinityTerms(pod);
  return {
    pod,
    key: keyOf(pod),
    uid: pod.metadata.uid ?? keyOf(pod),
    priority: spec?.priority ?? 0,
    requests,
    nonZeroCpu: nonZero.cpu,
    nonZeroMemory: nonZero.memory,
    hostPorts: hostPorts(spec?.containers ?? [], spec?.initContainers ?? []),
    controller: pod.metadata.ownerReferences?.find((owner) => owner.controller)?.uid,
    affinity,
    antiAffinity,
    hasTerms: [affinity, antiAffinity].some(
      ({ required, preferred }) => required.length > 0 || preferred.length > 0,
    ),
    claims: podClaims(pod),
    expectedMemory: expected.memory,
  };
}

const NO_CLAIMS: readonly PodClaim[] = [];

function podClaims(pod: Pod): readonly PodClaim[] {
  let claims: PodClaim[] | undefined;
  for (const { name, persistentVolumeClaim, ephemeral } of pod.spec?.volumes ?? []) {
    if (!persistentVolumeClaim && !ephemeral) continue;
    claims ??= [];
    claims.push(
      persistentVolumeClaim
        ? { name: persistentVolumeClaim.claimName, ephemeral: false }
        : { name: `${pod.metadata.name}-${name}`, ephemeral: true },
    );
  }
  return claims ?? NO_CLAIMS;
}

/**
 * The larger of what runs together (containers and sidecars) and of what runs alone before it (each init container
 * beside the sidecars started by then), plus the overhead of the runtime class.
 */
function podRequests(pod: Pod, cpuDefault: number, memoryDefault: number): Resources {
  const running = new Map<string, number>();
  const peak = new Map<string, number>();
  const requestsOf = (container: Container, statuses: readonly ContainerStatus[] | undefined) =>
    containerRequests(heldRequests(pod, container, statuses), cpuDefault, memoryDefault);
  for (const container of pod.spec?.containers ?? []) {
    addTo(running, requestsOf(container, pod.status?.containerStatuses));
  }
  const sidecars = new Map<string, number>();
  for (const container of pod.spec?.initContainers ?? []) {
    const own = requestsOf(container, pod.status?.initContainerStatuses);
    if (container.restartPolicy === 'Always') {
      addTo(running, own);
      addTo(sidecars, own);
      raiseTo(peak, sidecars);
    } else {
      const together = new Map(sidecars);
      addTo(together, own);
      raiseTo(peak, together);
    }
  }
  raiseTo(running, peak);
  // Pod-level resources (spec.resources) stand above the sum of the containers for what they name.
  for (const [name, amount] of podLevelRequests(pod)) running.set(name, amount);
  for (const [name, quantity] of Object.entries(pod.spec?.overhead ?? {})) {
    running.set(name, (running.get(name) ?? 0) + amountOf(name, quantity));
  }
  return resourcesOf(running);
}

/**
 * While a container is being resized its node holds the most of what is wanted, what was allocated and what it runs
 * with; what its node cannot ever give it does not count.
 */
function heldRequests(
  pod: Pod,
  { name, resources }: Container,
  statuses: readonly ContainerStatus[] | undefined,
): Map<string, number> {
  const status = statuses?.find((each) => each.name === name);
  const held = [status?.allocatedResources, status?.resources?.requests];
  return mostOf(status?.resources && isInfeasible(pod) ? held : [resources?.requests, ...held]);
}

function podLevelRequests(pod: Pod): Map<string, number> {
  // A status tells of every pod what it has been given as a whole.
  const { resources, allocatedResources } = (pod.spec?.resources && pod.status) ?? {};
  const held = [allocatedResources, resources?.requests];
  return mostOf(resources && isInfeasible(pod) ? held : [pod.spec?.resources?.requests, ...held]);
}

function isInfeasible({ status }: Pod): boolean {
  return (status?.conditions ?? []).some(
    ({ type, reason }) => type === 'PodResizePending' && reason === 'Infeasible',
  );
}

function mostOf(lists: readonly (Readonly<Record<string, string>> | undefined)[]): Map<string, number> {
  const most = new Map<string, number>();
  for (const list of lists) {
    for (const [name, quantity] of Object.entries(list ?? {})) {
      most.set(name, Math.max(most.get(name) ?? 0, amountOf(name, quantity)));
    }
  }
  return most;
}

function containerRequests(
  requests: Map<string, number>,
  cpuDefault: number,
  memoryDefault: number,
): Map<string, number> {
  if (cpuDefault > 0 && !requests.has('cpu')) requests.set('cpu', cpuDefault);
  if (memoryDefault > 0 && !requests.has('memory')) requests.set('memory', memoryDefault);
  return requests;
}

function addTo(target: Map<string, number>, more: ReadonlyMap<string, number>): void {
  for (const [name, value] of more) target.set(name, (target.get(name) ?? 0) + value);
}

function raiseTo(target: Map<string, number>, least: ReadonlyMap<string, number>): void {
  for (const [name, value] of least) target.set(name, Math.max(target.get(name) ?? 0, value));
}

function amountOf(name: string, quantity: string | number): number {
  const parsed = parseQuantity(String(quantity));
  return name === 'cpu' ? milliUnits(parsed) : wholeUnits(parsed);
}

/** Also for a node's allocatable. */
export function resourcesFrom(list: Readonly<Record<string, string>> | undefined): Resources {
  return resourcesOf(new Map(Object.entries(list ?? {}).map(([name, text]) => [name, amountOf(name, text)])));
}

function resourcesOf(values: Map<string, number>): Resources {
  const cpu = values.get('cpu') ?? 0;
  const memory = values.get('memory') ?? 0;
  const ephemeral = values.get('ephemeral-storage') ?? 0;
  for (const name of ['cpu', 'memory', 'ephemeral-storage', 'pods']) values.delete(name);
  return { cpu, memory, ephemeral, others: values.size > 0 ? values : undefined };
}

function hostPorts(containers: readonly Container[], init: readonly Container[]): HostPort[] {
  const ports: HostPort[] = [];
  const sidecars = init.filter((container) => container.restartPolicy === 'Always');
  for (const container of [...containers, ...sidecars]) {
    for (const { hostPort, hostIP, protocol } of container.ports ?? []) {
      if (hostPort) ports.push({ ip: hostIP || '0.0.0.0', protocol: protocol ?? 'TCP', port: hostPort });
    }
  }
  return ports;
}
