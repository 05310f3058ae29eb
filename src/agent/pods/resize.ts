import type { Pod } from '../../api/types/core-v1.ts';
import type { PodServices } from './services.ts';
import { StepError } from './step-error.ts';
import type { ContainerResize } from './steps.ts';

const RETRY = { retryMs: 2_000, longestMs: 60_000 };

/**
 * Brings running containers to what the pod has been given: the pod's own group first where it grows, the containers in
 * the order of the plan, then the pod's group where it shrinks. Throws StepError with the reason that the condition
 * tells; what was done stays done, and the next try goes on from there.
 */
export async function resizePod(
  resizes: readonly ContainerResize[],
  subject: { uid: string; pod: Pod; applied: Map<string, ContainerResize['limits']> },
  services: PodServices,
): Promise<void> {
  try {
    await services.cgroups?.grow(subject.pod);
    for (const resize of resizes) {
      if (resize.shrinksMemory) await checkUse(resize, services);
      await services.runtime.update(resize.id, resize.limits);
      subject.applied.set(resize.id, resize.limits);
      await services.view.look(resize.id);
    }
    await services.cgroups?.apply(subject.pod);
  } catch (error) {
    throw new StepError({ reason: 'Error', message: (error as Error).message, ...RETRY });
  }
}

/** The kernel would kill the container, or refuse. */
async function checkUse({ id, container, limits }: ContainerResize, services: PodServices): Promise<void> {
  const pid = services.view.container(id)?.pid;
  const used = pid === undefined ? undefined : await services.memoryUse?.(pid);
  if (used === undefined || limits.memoryBytes === undefined || used <= limits.memoryBytes) return;
  throw new Error(
    `attempting to set container "${container}" memory limit (${limits.memoryBytes}) below current usage (${used})`,
  );
}
