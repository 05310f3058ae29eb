import type { Pod } from '../../api/types/core-v1.ts';
import { containersOf, type NamedContainer } from '../names.ts';
import type { HandlerTarget } from './handlers.ts';
import type { PodServices } from './services.ts';
import type { PreStop, StepOf } from './steps.ts';
import type { PodSubject } from './subject.ts';

/** The kubelet's least time between SIGTERM and SIGKILL. */
const LEAST_STOP_SECONDS = 2;

interface End {
  container: string;
  id: string;
  /** Monotonic: when SIGKILL is due. */
  deadline: number;
  preStop?: PreStop;
}

export async function stopContainer(
  step: StepOf<'StopContainer'>,
  subject: PodSubject,
  services: PodServices,
): Promise<void> {
  const named = find(step.container, subject);
  if (named) services.events.container(named.pod, named, 'Normal', 'Killing', step.message);
  if (step.restarts) subject.facts.mustRestart.add(step.id);
  await endContainer(step, subject, services);
}

/** Its hook, SIGTERM and, when the time is over, SIGKILL. */
export async function endContainer(end: End, subject: PodSubject, services: PodServices): Promise<void> {
  await runPreStop(end, subject, services);
  // An eviction is in a hurry.
  const least = Math.min(LEAST_STOP_SECONDS, subject.facts.killed?.graceSeconds ?? LEAST_STOP_SECONDS);
  const grace = Math.max(least, Math.ceil((end.deadline - services.clock.monotonic()) / 1000));
  await services.runtime.stop(end.id, grace);
  await services.view.look(end.id);
}

/** Runs the hook, if there is one, for as long as the deadline allows; a hook that fails holds nothing up. */
export async function runPreStop(
  { preStop, container, id, deadline }: End,
  subject: PodSubject,
  services: PodServices,
): Promise<void> {
  const named = find(container, subject);
  const left = deadline - services.clock.monotonic();
  if (!preStop || !named || left <= 0) return;
  await services.handlers.hook(preStop, hookTarget(named.pod, named, id, subject), left).catch(() => {
    services.events.container(named.pod, named, 'Warning', 'FailedPreStopHook', 'PreStopHook failed');
  });
}

export function hookTarget(
  pod: Pod,
  { container }: NamedContainer,
  containerId: string,
  { facts }: PodSubject,
): HandlerTarget {
  return { pod, container, containerId, podIP: facts.network?.ips[0] };
}

function find(name: string, { pod }: PodSubject): (NamedContainer & { pod: Pod }) | undefined {
  const named = pod && containersOf(pod).find(({ container }) => container.name === name);
  return named && { ...named, pod };
}
