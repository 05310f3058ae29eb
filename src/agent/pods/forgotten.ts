import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import { containersOf } from '../names.ts';
import { latest, type ObservedPod } from './observe.ts';

/** What the kubelet says of a container that ran when it was seen last, and is not there any more. */
export const WAS_RUNNING = {
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message: 'The container could not be located when the pod was deleted.  The container used to be Running',
};

/**
 * Regular containers that have run and of which the engine holds nothing any more (`docker system prune`), with their exit
 * codes: what has done its work is not done again. One that ran until then counts as failed.
 */
export function forgottenExits(
  pod: Pod,
  observed: ObservedPod,
  previous: PodStatus | undefined,
): Map<string, number> {
  const exits = new Map<string, number>();
  for (const { role, container } of containersOf(pod)) {
    if (role !== 'regular' || latest(observed, container.name)) continue;
    const before = previous?.containerStatuses?.find(({ name }) => name === container.name);
    const ended = before?.state?.terminated ?? (before?.state?.waiting && before.lastState?.terminated);
    if (ended) exits.set(container.name, ended.exitCode);
    else if (before?.state?.running) exits.set(container.name, WAS_RUNNING.exitCode);
  }
  return exits;
}
