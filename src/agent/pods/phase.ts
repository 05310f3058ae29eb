import type { ContainerStatus, Pod, PodStatus } from '../../api/types/core-v1.ts';
import { roleOfInit } from '../names.ts';

/** The pod's phase from its containers' states, in the order of cases that the kubelet has. */
export function podPhase(
  pod: Pod,
  input: {
    initContainerStatuses: readonly ContainerStatus[];
    containerStatuses: readonly ContainerStatus[];
    /** The pod has been ended (deleted, evicted): a final phase, whatever the restart policy. */
    ended: boolean;
    /** Containers that have ended and are run again, by their own policy, a rule, or because they were changed. */
    restarting?: ReadonlySet<string>;
  },
): NonNullable<PodStatus['phase']> {
  const counts = { running: 0, waiting: 0, stopped: 0, succeeded: 0, unknown: 0 };
  let pendingInit = 0;
  let failedInit = 0;
  const regularStarted = input.containerStatuses.some(
    ({ state, lastState }) => state?.running || state?.terminated || lastState?.terminated,
  );
  for (const container of pod.spec?.initContainers ?? []) {
    const status = input.initContainerStatuses.find(({ name }) => name === container.name);
    const { state, lastState } = status ?? {};
    if (roleOfInit(container) === 'sidecar') {
      if (!status) counts.unknown += 1;
      else if (state?.running) {
        if (!status.started) pendingInit += 1;
        counts.running += 1;
      } else if (state?.waiting && !lastState?.terminated) {
        pendingInit += 1;
        counts.waiting += 1;
      }
    } else if (state?.terminated) {
      if (state.terminated.exitCode !== 0) failedInit += 1;
    } else if (state?.waiting && lastState?.terminated) {
      if (lastState.terminated.exitCode !== 0) failedInit += 1;
      else pendingInit += 1;
    } else {
      pendingInit += 1;
    }
  }
  for (const { name } of pod.spec?.containers ?? []) {
    const status = input.containerStatuses.find((each) => each.name === name);
    const { state, lastState } = status ?? {};
    if (state?.running) counts.running += 1;
    else if (state?.terminated) {
      counts.stopped += 1;
      if (state.terminated.exitCode === 0) counts.succeeded += 1;
    } else if (state?.waiting) {
      if (lastState?.terminated) counts.stopped += 1;
      else counts.waiting += 1;
    } else counts.unknown += 1;
  }
  const policy = pod.spec?.restartPolicy ?? 'Always';
  const restarting = input.restarting ?? new Set();
  if (input.ended && counts.running === 0) {
    const allSucceeded = counts.stopped > 0 && counts.stopped === counts.succeeded && counts.waiting === 0;
    return allSucceeded ? 'Succeeded' : 'Failed';
  }
  const initRestarts = (pod.spec?.initContainers ?? []).some(({ name }) => restarting.has(name));
  if (failedInit > 0 && policy === 'Never' && !initRestarts) return 'Failed';
  if ((pendingInit > 0 || failedInit > 0) && !regularStarted) return 'Pending';
  if (counts.waiting > 0) return 'Pending';
  if (counts.running > 0 && counts.unknown === 0) return 'Running';
  if (counts.running === 0 && counts.stopped > 0 && counts.unknown === 0) {
    if (policy === 'Always' || restarting.size > 0) return 'Running';
    if (counts.stopped === counts.succeeded) return 'Succeeded';
    return policy === 'Never' ? 'Failed' : 'Running';
  }
  return 'Pending';
}
