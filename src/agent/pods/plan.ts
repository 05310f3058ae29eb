import type { Pod } from '../../api/types/core-v1.ts';
import { containersOf } from '../names.ts';
import type { PodFacts } from './facts.ts';
import { isEmpty, latest, type ObservedPod } from './observe.ts';
import { planContainers } from './plan-containers.ts';
import { inPlaceResizes } from './plan-resize.ts';
import { planRelease, planTermination } from './plan-termination.ts';
import { isOver } from './restart-policy.ts';
import { keyOf, type Step } from './steps.ts';

export interface PlanInput {
  /** The pod as desired, or as last seen when it is not desired any more. Absent: known from the engine only. */
  pod: Pod | undefined;
  /** The pod is wanted no more, and there is nobody to tell. */
  orphan: boolean;
  observed: ObservedPod;
  facts: PodFacts;
  /** Monotonic. */
  now: number;
}

export interface Plan {
  /** What can be done now, all of it at the same time; none of it is under way already. */
  steps: Step[];
  /** Monotonic: plan again then, if nothing happens before. */
  wakeAt?: number;
  /** Why containers wait, by name, as their status tells it. */
  waiting: Map<string, { reason: string; message?: string }>;
  /** All containers have ended for good: the pod's last status can be computed. */
  terminated: boolean;
  /** Nothing is left to do, now or later. */
  finished: boolean;
}

/**
 * Decides what to do next for one pod. Pure: the same input gives the same plan. Called again whenever something has
 * changed; what is under way is part of the input, so that independent steps of a pod run beside each other.
 */
export function plan(input: PlanInput): Plan {
  const draft = new Draft(input);
  const { pod, facts, observed } = input;
  if (!pod || input.orphan || facts.terminatingSince !== undefined || facts.killed) {
    const stopped = planTermination(draft);
    draft.terminated = stopped;
    const deleted = input.orphan || !pod || pod.metadata.deletionTimestamp !== undefined;
    if (stopped) planRelease(draft, { removeContainers: deleted });
    draft.finished =
      deleted &&
      stopped &&
      isEmpty(observed) &&
      facts.networkReleased &&
      facts.volumesReleased &&
      facts.cgroupReleased &&
      facts.logsRemoved &&
      facts.inFlight.size === 0;
    return draft.done();
  }
  if (facts.terminal) {
    if (planTermination(draft)) planRelease(draft, { removeContainers: false });
    return draft.done();
  }
  planRunning(draft, pod);
  return draft.done();
}

function planRunning(draft: Draft, pod: Pod): void {
  const { observed, facts } = draft.input;
  const sandbox = observed.sandboxes[0];
  if (!sandbox || sandbox.state === 'exited') {
    planNewSandbox(draft, pod);
    return;
  }
  if (!facts.volumesReady) draft.add({ kind: 'PrepareVolumes' });
  if (sandbox.state === 'created') {
    draft.add({ kind: 'StartSandbox', id: sandbox.id });
  } else if (facts.network?.sandboxId !== sandbox.id && sandbox.pid !== undefined) {
    draft.add({ kind: 'AttachNetwork', sandboxId: sandbox.id, pid: sandbox.pid });
  }
  planContainers(draft, pod, sandbox);
  const resizes = inPlaceResizes(pod, observed, facts);
  if (resizes.length > 0) draft.add({ kind: 'ResizePod', resizes });
  for (const older of observed.sandboxes.slice(1)) draft.add({ kind: 'RemoveSandbox', id: older.id });
}

/** No sandbox, or a dead one: its containers have lost their network, so the whole pod starts anew. */
function planNewSandbox(draft: Draft, pod: Pod): void {
  const { observed, facts } = draft.input;
  const previous = observed.sandboxes[0];
  const wanted = containersOf(pod).some((named) => {
    if (named.role === 'init' || named.role === 'ephemeral') return false;
    return !isOver(pod, named, latest(observed, named.container.name), facts);
  });
  if (!wanted) return;
  if (previous && !planTermination(draft, 'Pod sandbox changed, it will be killed and re-created.')) return;
  if (previous && facts.network && facts.network.sandboxId === previous.id) {
    draft.add({ kind: 'DetachNetwork' });
    return;
  }
  for (const older of observed.sandboxes.slice(1)) draft.add({ kind: 'RemoveSandbox', id: older.id });
  draft.add({
    kind: 'CreateSandbox',
    attempt: previous ? previous.attempt + 1 : 0,
    changed: previous !== undefined,
  });
  if (!facts.volumesReady) draft.add({ kind: 'PrepareVolumes' });
  for (const named of containersOf(pod)) {
    // Images are looked for (and pulled) while the sandbox comes up, those of the first containers only.
    const { container, role } = named;
    if (role === 'ephemeral') continue;
    if (role === 'regular' && isOver(pod, named, latest(observed, container.name), facts)) continue;
    draft.needImage(container.name, draft.nextAttempt(container.name));
    if (role === 'init') break;
  }
}

/**
 * Have the regular containers ended for good (or an init container failed for good)? Sidecars do not count: they are
 * stopped when this becomes true.
 */
export function workIsDone(pod: Pod, observed: ObservedPod, facts: PodFacts): boolean {
  const sandbox = observed.sandboxes[0];
  let regular = 0;
  let ended = 0;
  for (const named of containersOf(pod)) {
    if (named.role === 'sidecar' || named.role === 'ephemeral') continue;
    const instance = latest(observed, named.container.name);
    const over = isOver(pod, named, instance, facts);
    if (named.role === 'init') {
      if (over && instance && instance.exitCode !== 0 && (!sandbox || instance.sandboxId === sandbox.id))
        return true;
      continue;
    }
    regular += 1;
    if (over) ended += 1;
  }
  return regular > 0 && ended === regular;
}

/** A plan being made: refuses steps that are under way or wait for their retry, and collects when to plan again. */
export class Draft {
  readonly input: PlanInput;
  readonly waiting = new Map<string, { reason: string; message?: string }>();
  terminated = false;
  finished = false;
  private readonly steps = new Map<string, Step>();
  private wakeAt: number | undefined;

  constructor(input: PlanInput) {
    this.input = input;
  }

  /** True when the step was taken into the plan. */
  add(step: Step): boolean {
    const key = keyOf(step);
    const { facts, now } = this.input;
    if (facts.inFlight.has(key)) return false;
    const failure = facts.failures.get(key);
    if (failure && failure.retryAt > now) {
      this.wake(failure.retryAt);
      return false;
    }
    this.steps.set(key, step);
    return true;
  }

  wake(at: number): void {
    if (this.wakeAt === undefined || at < this.wakeAt) this.wakeAt = at;
  }

  /** True when the image of the container's next instance is known to be there; otherwise it is seen to. */
  needImage(container: string, attempt: number): boolean {
    if (this.input.facts.images.get(container)?.attempt === attempt) return true;
    this.add({ kind: 'PullImage', container, attempt });
    return false;
  }

  nextAttempt(container: string): number {
    const instance = latest(this.input.observed, container);
    return Math.max(instance ? instance.attempt + 1 : 0, this.input.facts.restartCounts.get(container) ?? 0);
  }

  isInFlight(kind: Step['kind'], subject: string): boolean {
    for (const step of this.input.facts.inFlight.values()) {
      if (step.kind !== kind) continue;
      if ('id' in step && step.id === subject) return true;
      if ('container' in step && step.container === subject) return true;
    }
    return false;
  }

  done(): Plan {
    return {
      steps: [...this.steps.values()],
      waiting: this.waiting,
      terminated: this.terminated,
      finished: this.finished,
      ...(this.wakeAt === undefined ? {} : { wakeAt: this.wakeAt }),
    };
  }
}
