import type {
  Container,
  ContainerStatus,
  Pod,
  PodCondition,
  ResourceRequirements,
} from '../../api/types/core-v1.ts';
import { timestamp } from '../../lib/clock.ts';
import { resourceLimits } from '../containers/resources.ts';
import { roleOfInit } from '../names.ts';
import type { PodFacts, ResizeState } from './facts.ts';
import type { ObservedInstance } from './observe.ts';
import { appliedLimits } from './plan-resize.ts';

/** The kernel's least: what is below cannot be read back from the engine. */
const LEAST_CPU_LIMIT = 10;
const LEAST_CPU_REQUEST = 2;

/** PodResizePending and PodResizeInProgress, as long as they are true. */
export function resizeConditions(
  { pending, inProgress }: ResizeState,
  previous: readonly PodCondition[],
  now: number,
): PodCondition[] {
  const condition = (
    type: string,
    generation: number | undefined,
    rest: { reason?: string; message?: string },
  ): PodCondition => {
    const before = previous.find((each) => each.type === type);
    return {
      type,
      status: 'True',
      ...rest,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      lastTransitionTime: before?.lastTransitionTime ?? timestamp(now),
    };
  };
  return [
    ...(pending
      ? [
          condition('PodResizePending', pending.generation, {
            reason: pending.reason,
            message: pending.message,
          }),
        ]
      : []),
    ...(inProgress
      ? [
          condition(
            'PodResizeInProgress',
            inProgress.generation,
            inProgress.error === undefined ? {} : { reason: 'Error', message: inProgress.error },
          ),
        ]
      : []),
  ];
}

/** What a container has been given, and what it runs with as far as the engine says. */
export function resourcesStatus(
  container: Container,
  running: ObservedInstance | undefined,
  facts: PodFacts,
): Pick<ContainerStatus, 'allocatedResources' | 'resources'> {
  const { requests, limits } = container.resources ?? {};
  const actual = running && appliedLimits(running, facts);
  const resources: ResourceRequirements = {
    ...(limits ? { limits: { ...limits } } : {}),
    ...(requests ? { requests: { ...requests } } : {}),
  };
  if (actual) tellActual(resources, container, actual);
  return { ...(requests ? { allocatedResources: { ...requests } } : {}), resources };
}

function tellActual(
  resources: ResourceRequirements,
  container: Container,
  actual: NonNullable<ReturnType<typeof appliedLimits>>,
): void {
  const wanted = resourceLimits(container);
  const { limits, requests } = resources;
  if (limits?.cpu !== undefined && actual.cpuQuota !== undefined && actual.cpuQuota !== wanted.cpuQuota) {
    const milli = Math.round(actual.cpuQuota / 100);
    if (milli > LEAST_CPU_LIMIT) limits.cpu = cpuText(milli);
  }
  if (
    limits?.memory !== undefined &&
    actual.memoryBytes !== undefined &&
    actual.memoryBytes !== wanted.memoryBytes
  ) {
    limits.memory = String(actual.memoryBytes);
  }
  if (
    requests?.cpu !== undefined &&
    actual.cpuShares !== undefined &&
    actual.cpuShares !== wanted.cpuShares
  ) {
    const milli = Math.round((actual.cpuShares * 1000) / 1024);
    if (milli > LEAST_CPU_REQUEST) requests.cpu = cpuText(milli);
  }
}

function cpuText(milli: number): string {
  return milli % 1000 === 0 ? String(milli / 1000) : `${milli}m`;
}

/** The text of a resize event: what the pod's containers are to have, as JSON. */
export function resizeMessage(prefix: string, pod: Pod, error = ''): string {
  const { initContainers = [], containers = [] } = pod.spec ?? {};
  const named = (list: readonly Container[]) =>
    list.map(({ name, resources }) => ({ name, resources: resources ?? {} }));
  const sidecars = initContainers.filter((container) => roleOfInit(container) === 'sidecar');
  return `${prefix}: ${JSON.stringify({
    ...(sidecars.length > 0 ? { initContainers: named(sidecars) } : {}),
    containers: named(containers),
    generation: pod.metadata.generation ?? 0,
    ...(error === '' ? {} : { error }),
  })}`;
}
