import type { Container, Pod } from '../../api/types/core-v1.ts';
import { containerHash, containersOf, identity, type NamedContainer } from '../names.ts';
import { goDuration, retryAt } from './backoff.ts';
import { latest, type ObservedInstance, type ObservedPod, type ObservedSandbox } from './observe.ts';
import type { Draft } from './plan.ts';
import { resizeRestarts } from './plan-resize.ts';
import { isOver, restartPolicyOf } from './restart-policy.ts';
import { keyOf, type Step } from './steps.ts';

/** The containers of a pod whose sandbox exists (it may not have started yet). */
export function planContainers(draft: Draft, pod: Pod, sandbox: ObservedSandbox): void {
  const all = containersOf(pod);
  const regularStarted = isInitialized(all, draft.input.observed);
  let blocked = false;
  for (const named of all) {
    const { role } = named;
    if (role === 'ephemeral') {
      planContainer(draft, pod, sandbox, named);
      continue;
    }
    prune(draft, named);
    // Once a regular container has started in this sandbox, init containers are history; sidecars are kept running.
    if (role === 'init' && regularStarted) continue;
    if (blocked) continue;
    planContainer(draft, pod, sandbox, named);
    if (role !== 'regular' && !regularStarted) blocked = !initDone(draft, sandbox, named);
    if (role === 'regular') blocked = waitsForPostStart(draft, sandbox, named);
  }
}

/** Has a regular container started in the pod's newest sandbox? */
export function isInitialized(
  all: readonly NamedContainer[],
  { sandboxes, containers }: ObservedPod,
): boolean {
  return all.some(
    ({ role, container }) =>
      role === 'regular' &&
      (containers.get(container.name) ?? []).some(
        ({ sandboxId, startedAt }) => sandboxId === sandboxes[0]?.id && startedAt !== undefined,
      ),
  );
}

/** May the next container start? An init container has to succeed, a sidecar to be started (startup probe included). */
function initDone(draft: Draft, sandbox: ObservedSandbox, { role, container }: NamedContainer): boolean {
  const instance = latest(draft.input.observed, container.name);
  if (!instance || instance.sandboxId !== sandbox.id) return false;
  if (role === 'init') return instance.state === 'exited' && instance.exitCode === 0;
  if (instance.state !== 'running' || draft.isInFlight('StartContainer', instance.id)) return false;
  return !container.startupProbe || draft.input.facts.probes.get(instance.id)?.started === true;
}

/** Containers start in order where a postStart hook is in between: people rely on it to hold back what follows. */
function waitsForPostStart(draft: Draft, sandbox: ObservedSandbox, { container }: NamedContainer): boolean {
  if (!container.lifecycle?.postStart) return false;
  const instance = latest(draft.input.observed, container.name);
  if (!instance || instance.sandboxId !== sandbox.id || instance.state === 'created') return true;
  return draft.isInFlight('StartContainer', instance.id);
}

function planContainer(draft: Draft, pod: Pod, sandbox: ObservedSandbox, named: NamedContainer): void {
  const { container, role } = named;
  const instance = latest(draft.input.observed, container.name);
  if (instance?.state === 'running') {
    planRunningInstance(draft, pod, named, instance);
    return;
  }
  if (instance?.state === 'created') {
    planCreatedInstance(draft, sandbox, container, instance);
    return;
  }
  // An init container that has succeeded in an earlier sandbox runs again in this one.
  const stale = role === 'init' && instance?.sandboxId !== sandbox.id;
  if (!stale && isOver(pod, named, instance, draft.input.facts)) return;
  const startFailure = instance && draft.input.facts.failures.get(`StartContainer/${instance.id}`);
  if (startFailure)
    draft.waiting.set(container.name, { reason: startFailure.reason, message: startFailure.message });
  if (instance && inBackoff(draft, pod, container, instance)) return;
  planCreation(draft, sandbox, container, instance);
}

function planRunningInstance(
  draft: Draft,
  pod: Pod,
  named: NamedContainer,
  instance: ObservedInstance,
): void {
  const { container, role } = named;
  const failed = draft.input.facts.probes.get(instance.id)?.failed;
  let message: string | undefined;
  let restarts = false;
  let grace = pod.spec?.terminationGracePeriodSeconds ?? 30;
  if (role !== 'ephemeral' && instance.hash !== containerHash(container)) {
    message = `Container ${container.name} definition changed, will be restarted`;
    restarts = true;
  } else if (role !== 'ephemeral' && resizeRestarts(container, instance, draft.input.facts)) {
    message = `Container ${container.name} resize requires restart`;
    restarts = true;
  } else if (failed) {
    const again = restartPolicyOf(pod, named) !== 'Never';
    message = `Container ${container.name} failed ${failed} probe${again ? ', will be restarted' : ''}`;
    const probe = failed === 'liveness' ? container.livenessProbe : container.startupProbe;
    grace = probe?.terminationGracePeriodSeconds ?? grace;
  }
  if (message === undefined || draft.isInFlight('StopContainer', instance.id)) return;
  const preStop = container.lifecycle?.preStop;
  draft.add({
    kind: 'StopContainer',
    container: container.name,
    id: instance.id,
    deadline: draft.input.now + grace * 1000,
    message,
    ...(preStop ? { preStop } : {}),
    ...(restarts ? { restarts } : {}),
  });
}

function planCreatedInstance(
  draft: Draft,
  sandbox: ObservedSandbox,
  container: Container,
  instance: ObservedInstance,
): void {
  const { facts } = draft.input;
  if (instance.sandboxId !== sandbox.id || instance.hash !== containerHash(container)) {
    draft.add({ kind: 'RemoveContainer', id: instance.id, container: container.name });
    return;
  }
  if (sandbox.state === 'running' && facts.network?.sandboxId === sandbox.id && facts.volumesReady) {
    draft.add({ kind: 'StartContainer', container: container.name, id: instance.id });
  }
}

function planCreation(
  draft: Draft,
  sandbox: ObservedSandbox,
  container: Container,
  previous: ObservedInstance | undefined,
): void {
  const { facts, now } = draft.input;
  const attempt = draft.nextAttempt(container.name);
  const create: Step = {
    kind: 'CreateContainer',
    container: container.name,
    attempt,
    sandboxId: sandbox.id,
    restarts: previous !== undefined,
  };
  const failure = facts.failures.get(keyOf(create));
  if (failure) draft.waiting.set(container.name, { reason: failure.reason, message: failure.message });
  if (!draft.needImage(container.name, attempt)) {
    explainImage(draft, container, attempt);
    return;
  }
  if (!facts.volumesReady) return;
  // Created while the sandbox still starts, unless its environment holds the address that the pod does not have yet.
  if (facts.network?.sandboxId !== sandbox.id && needsPodIP(container)) return;
  if (failure && failure.retryAt > now) draft.wake(failure.retryAt);
  draft.add(create);
}

/** The kubelet says ErrImagePull for the failure itself and ImagePullBackOff while it waits. */
const ERR_IMAGE_PULL_SHOWN_MS = 2_000;

function explainImage(draft: Draft, container: Container, attempt: number): void {
  const { facts, now } = draft.input;
  const failure = facts.failures.get(keyOf({ kind: 'PullImage', container: container.name, attempt }));
  if (!failure) return;
  const pulls = failure.reason === 'ErrImagePull';
  if (pulls && now - failure.failedAt >= ERR_IMAGE_PULL_SHOWN_MS) {
    draft.waiting.set(container.name, {
      reason: 'ImagePullBackOff',
      message: `Back-off pulling image "${container.image ?? ''}": ErrImagePull: ${failure.message}`,
    });
    return;
  }
  if (pulls) draft.wake(failure.failedAt + ERR_IMAGE_PULL_SHOWN_MS);
  draft.waiting.set(container.name, { reason: failure.reason, message: failure.message });
}

function inBackoff(draft: Draft, pod: Pod, container: Container, instance: ObservedInstance): boolean {
  const { facts, now } = draft.input;
  const backoff = facts.backoff.get(backoffKey(container));
  const at = retryAt(backoff, facts.ended.get(instance.id) ?? now);
  if (!backoff || at <= now) return false;
  const { namespace, name, uid } = identity(pod);
  draft.wake(at);
  draft.waiting.set(container.name, {
    reason: 'CrashLoopBackOff',
    message: `back-off ${goDuration(backoff.delayMs)} restarting failed container=${container.name} pod=${name}_${namespace}(${uid})`,
  });
  return true;
}

/** A changed image is given a fresh chance. */
export function backoffKey(container: Container): string {
  return `${container.name}/${containerHash(container)}`;
}

/** The newest two are kept: the one that runs, and its predecessor for `logs --previous` and lastState. */
function prune(draft: Draft, { container }: NamedContainer): void {
  const instances = draft.input.observed.containers.get(container.name) ?? [];
  const keep = instances[0]?.state === 'exited' ? 1 : 2;
  for (const instance of instances.slice(keep)) {
    if (instance.state === 'running') continue;
    draft.add({ kind: 'RemoveContainer', id: instance.id, container: container.name });
  }
}

function needsPodIP(container: Container): boolean {
  return (container.env ?? []).some(({ valueFrom }) => {
    const path = valueFrom?.fieldRef?.fieldPath;
    return path === 'status.podIP' || path === 'status.podIPs';
  });
}
