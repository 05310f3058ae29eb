import type { Lifecycle } from '../../api/types/core-v1.ts';
import { containersOf, LABEL } from '../names.ts';
import type { ObservedInstance } from './observe.ts';
import type { Draft } from './plan.ts';

const DEFAULT_GRACE_SECONDS = 30;
/** The kubelet leaves a container at least this long after its preStop hook has used the grace period up. */
const LEAST_GRACE_MS = 2_000;

/**
 * Stops every container of the pod: all but the sidecars at the same time, then the sidecars, last started first.
 * Returns true when nothing runs and nothing is being started or stopped any more.
 */
export function planTermination(draft: Draft, reason?: string): boolean {
  const { observed, facts, now } = draft.input;
  const deadline = terminationDeadline(draft);
  const sidecars = sidecarNames(draft);
  const running: ObservedInstance[] = [];
  for (const instances of observed.containers.values()) {
    for (const instance of instances) {
      if (instance.state === 'running') running.push(instance);
      else if (instance.state === 'created' && !draft.isInFlight('StartContainer', instance.id)) {
        draft.add({ kind: 'RemoveContainer', id: instance.id, container: instance.name });
      }
    }
  }
  const mains = running.filter((instance) => !sidecars.includes(instance.name));
  for (const instance of mains) stop(draft, instance, deadline, reason);
  if (mains.length === 0) {
    const last = sidecars.findLast((name) => running.some((instance) => instance.name === name));
    for (const instance of running) {
      if (instance.name !== last) continue;
      // What is left of the grace period belongs to the sidecars; something is always left.
      stop(draft, instance, Math.max(deadline, now + LEAST_GRACE_MS), reason);
    }
  }
  // The deadline may have been brought forward (a second delete with a shorter period): look again when it is due.
  if (running.length > 0) return false;
  for (const step of facts.inFlight.values()) {
    if (step.kind === 'CreateSandbox' || step.kind === 'CreateContainer') return false;
    if (step.kind === 'StartContainer' || step.kind === 'StartSandbox') return false;
    if (step.kind === 'AttachNetwork' || step.kind === 'PrepareVolumes') return false;
  }
  return true;
}

/**
 * Gives back what a pod without running containers holds: sandbox, network, volumes; on deletion its containers and their
 * logs too. Its folder goes last: by that an agent that was killed in between finds the pod again.
 */
export function planRelease(draft: Draft, options: { removeContainers: boolean }): void {
  const { observed, facts } = draft.input;
  if (options.removeContainers) {
    for (const [container, instances] of observed.containers) {
      for (const { id } of instances) draft.add({ kind: 'RemoveContainer', id, container });
    }
  }
  for (const { id } of observed.sandboxes) draft.add({ kind: 'RemoveSandbox', id });
  if (!facts.networkReleased) draft.add({ kind: 'DetachNetwork' });
  if (options.removeContainers && !facts.logsRemoved) draft.add({ kind: 'RemoveLogs' });
  else if (!facts.volumesReleased) draft.add({ kind: 'TeardownVolumes' });
  if (!facts.cgroupReleased && observed.sandboxes.length === 0) draft.add({ kind: 'RemoveCgroup' });
}

/** Monotonic. Grows shorter with a shorter deletionGracePeriodSeconds, never longer than asked. */
function terminationDeadline(draft: Draft): number {
  const { pod, facts, now, observed } = draft.input;
  const labels = observed.containers.values().next().value?.[0]?.labels ?? {};
  const seconds =
    facts.killed?.graceSeconds ??
    pod?.metadata.deletionGracePeriodSeconds ??
    pod?.spec?.terminationGracePeriodSeconds ??
    numberOr(labels[LABEL.gracePeriod], DEFAULT_GRACE_SECONDS);
  return (facts.terminatingSince ?? now) + seconds * 1000;
}

function stop(draft: Draft, instance: ObservedInstance, deadline: number, reason: string | undefined): void {
  for (const step of draft.input.facts.inFlight.values()) {
    // A stop under way is repeated only when it has to end at least a second sooner.
    if (step.kind === 'StopContainer' && step.id === instance.id && step.deadline <= deadline + 1000) return;
  }
  const repeated = draft.isInFlight('StopContainer', instance.id);
  const preStop = repeated ? undefined : preStopOf(draft, instance);
  draft.add({
    kind: 'StopContainer',
    container: instance.name,
    id: instance.id,
    deadline,
    message: reason ?? `Stopping container ${instance.name}`,
    ...(preStop ? { preStop } : {}),
  });
}

function preStopOf(draft: Draft, instance: ObservedInstance): Lifecycle['preStop'] {
  const { pod } = draft.input;
  if (pod) {
    const named = containersOf(pod).find(({ container }) => container.name === instance.name);
    return named?.container.lifecycle?.preStop;
  }
  const label = instance.labels[LABEL.preStop];
  if (label === undefined) return undefined;
  try {
    return JSON.parse(label) as Lifecycle['preStop'];
  } catch {
    return undefined;
  }
}

function sidecarNames(draft: Draft): string[] {
  const { pod } = draft.input;
  if (!pod) return [];
  return containersOf(pod)
    .filter(({ role }) => role === 'sidecar')
    .map(({ container }) => container.name);
}

function numberOr(text: string | undefined, fallback: number): number {
  const value = Number(text);
  return text === undefined || Number.isNaN(value) ? fallback : value;
}
