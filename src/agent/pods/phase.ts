import type { ContainerStatus, Pod, PodStatus } from '../../api/types/core-v1.ts';
import { containersOf, type NamedContainer } from '../names.ts';
import { restartsAfter } from './restart-policy.ts';

export interface PhaseInput {
  initContainerStatuses: readonly ContainerStatus[];
  containerStatuses: readonly ContainerStatus[];
  /** The pod has been ended (deleted, evicted): a final phase, whatever its restart policies. */
  ended: boolean;
  /** Containers that have ended and are run again whatever their policy says: they were changed. */
  restarting?: ReadonlySet<string>;
  /** A regular container has started in the sandbox that the pod has now. */
  initialized: boolean;
}

/** The pod's phase from its containers' states, in the order of cases that the kubelet has. */
export function podPhase(pod: Pod, input: PhaseInput): NonNullable<PodStatus['phase']> {
  // No two containers of a pod have one name.
  const all = [...input.initContainerStatuses, ...input.containerStatuses];
  const statuses: Statuses = new Map(all.map((status) => [status.name, status]));
  const named = containersOf(pod);
  const init = initCounts(pod, named, statuses, input);
  const counts = mainCounts(pod, named, statuses, input);
  if (input.ended && counts.running === 0) {
    const allSucceeded = counts.stopped > 0 && counts.stopped === counts.succeeded && counts.waiting === 0;
    return allSucceeded ? 'Succeeded' : 'Failed';
  }
  if (init.failedForGood > 0) return 'Failed';
  if (init.pending > 0 || (counts.pendingSidecars > 0 && !input.initialized)) return 'Pending';
  if (counts.waiting > 0) return 'Pending';
  if (counts.running > 0 && counts.unknown === 0) return 'Running';
  if (counts.running === 0 && counts.stopped > 0 && counts.unknown === 0) {
    if (counts.stopped > counts.stoppedForGood) return 'Running';
    return counts.stopped === counts.succeeded ? 'Succeeded' : 'Failed';
  }
  return 'Pending';
}

type Statuses = ReadonlyMap<string, ContainerStatus>;

function initCounts(pod: Pod, named: readonly NamedContainer[], statuses: Statuses, input: PhaseInput) {
  const counts = { pending: 0, failedForGood: 0 };
  for (const each of named) {
    if (each.role !== 'init') continue;
    const exitCode = lastExit(statuses.get(each.container.name));
    if (exitCode === undefined) counts.pending += 1;
    else if (exitCode !== 0 && !restarts(pod, each, exitCode, input)) counts.failedForGood += 1;
  }
  return counts;
}

/** Of sidecars and regular containers. */
function mainCounts(pod: Pod, named: readonly NamedContainer[], statuses: Statuses, input: PhaseInput) {
  const counts = {
    running: 0,
    waiting: 0,
    stopped: 0,
    stoppedForGood: 0,
    succeeded: 0,
    unknown: 0,
    pendingSidecars: 0,
  };
  for (const each of named) {
    if (each.role === 'init' || each.role === 'ephemeral') continue;
    const sidecar = each.role === 'sidecar';
    const status = statuses.get(each.container.name);
    const { state } = status ?? {};
    if (sidecar && status && !status.started && lastExit(status) === undefined) counts.pendingSidecars += 1;
    if (state?.running) {
      counts.running += 1;
      continue;
    }
    const exitCode = lastExit(status);
    if (exitCode === undefined) {
      if (state?.waiting) counts.waiting += 1;
      else counts.unknown += 1;
      // Sidecars that have ended do not count.
    } else if (!sidecar) {
      counts.stopped += 1;
      if (!restarts(pod, each, exitCode, input)) counts.stoppedForGood += 1;
      if (state?.terminated && exitCode === 0) counts.succeeded += 1;
    }
  }
  return counts;
}

function restarts(pod: Pod, named: NamedContainer, exitCode: number, { restarting }: PhaseInput): boolean {
  return restarting?.has(named.container.name) === true || restartsAfter(pod, named, exitCode);
}

/** Of what has ended, and of what waits to be run again; undefined of what runs, or never has. */
function lastExit(status: ContainerStatus | undefined): number | undefined {
  if (status?.state?.terminated) return status.state.terminated.exitCode;
  return status?.state?.waiting && status.lastState?.terminated?.exitCode;
}
