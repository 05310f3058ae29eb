import type { Lifecycle } from '../../api/types/core-v1.ts';
import { containersOf, LABEL } from '../names.ts';
import type { ObservedInstance, ObservedPod } from './observe.ts';
import type { Draft } from './plan.ts';
import type { Step } from './steps.ts';

const DEFAULT_GRACE_SECONDS = 30;
/** The kubelet leaves a container at least this long after its preStop hook has used the grace period up. */
const LEAST_GRACE_MS = 2_000;

/**
 * Stops every container of the pod: all but the sidecars at the same time, then the sidecars, last started first, or all
 * that are left when the grace period is over. Hooks run at once, those of sidecars too. Returns true when nothing runs and
 * nothing is being started or stopped any more.
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
  const late = now >= deadline;
  const last = sidecars.findLast((name) => running.some((instance) => instance.name === name));
  for (const instance of running) {
    if (!sidecars.includes(instance.name)) continue;
    if (!late) draft.wake(deadline);
    const turn = late || (mains.length === 0 && instance.name === last);
    if (!hookDone(draft, instance, deadline) && !late) continue;
    // What is left of the grace period belongs to the sidecars; something is always left.
    if (turn) stop(draft, instance, Math.max(deadline, now + LEAST_GRACE_MS), reason);
  }
  return nothingRuns(observed, facts.inFlight);
}

/** Has the sidecar's preStop hook run, if it has one? It is seen to. */
function hookDone(draft: Draft, instance: ObservedInstance, deadline: number): boolean {
  const { id, name } = instance;
  const preStop = preStopOf(draft, instance);
  if (!preStop || draft.input.facts.preStopped.has(id)) return true;
  if (draft.isInFlight('StopContainer', id)) return true;
  draft.add({ kind: 'PreStop', container: name, id, deadline, preStop });
  return false;
}

const STARTING: ReadonlySet<Step['kind']> = new Set([
  'CreateSandbox',
  'StartSandbox',
  'AttachNetwork',
  'PrepareVolumes',
  'CreateContainer',
  'StartContainer',
]);

/** No container runs, and nothing is under way that could make one run. */
export function nothingRuns({ containers }: ObservedPod, inFlight: ReadonlyMap<string, Step>): boolean {
  for (const instances of containers.values()) {
    if (instances.some(({ state }) => state === 'running')) return false;
  }
  return [...inFlight.values()].every(({ kind }) => !STARTING.has(kind));
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
  return (facts.terminatingSince ?? facts.endingSince ?? now) + seconds * 1000;
}

function stop(draft: Draft, instance: ObservedInstance, deadline: number, reason: string | undefined): void {
  for (const step of draft.input.facts.inFlight.values()) {
    // A stop under way is repeated only when it has to end at least a second sooner.
    if (step.kind === 'StopContainer' && step.id === instance.id && step.deadline <= deadline + 1000) return;
  }
  const repeated = draft.isInFlight('StopContainer', instance.id);
  const hooked =
    repeated || draft.input.facts.preStopped.has(instance.id) || draft.isInFlight('PreStop', instance.id);
  const preStop = hooked ? undefined : preStopOf(draft, instance);
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
