import type { ContainerState, ContainerStatus, PodStatus } from '../../api/types/core-v1.ts';
import { timestamp } from '../../lib/clock.ts';
import type { NamedContainer } from '../names.ts';
import type { PodFacts } from './facts.ts';
import type { ObservedInstance, ObservedPod } from './observe.ts';
import { resourcesStatus } from './resize-status.ts';

export interface ContainerStatusContext {
  observed: ObservedPod;
  facts: PodFacts;
  waiting: Map<string, { reason: string; message?: string }>;
  previous: PodStatus | undefined;
  messages: Map<string, string>;
  imageNames: Map<string, string>;
  ended: boolean;
  hasInit: boolean;
}

export function containerStatus(named: NamedContainer, context: ContainerStatusContext): ContainerStatus {
  const { container, role } = named;
  const instances = context.observed.containers.get(container.name) ?? [];
  const before = previousStatus(named, context.previous);
  // A created instance has not lived yet: its predecessor is what there is to tell.
  const current = instances.find(({ state }) => state !== 'created');
  const older = instances
    .slice(instances.indexOf(current as ObservedInstance) + 1)
    .find(({ state }) => state === 'exited');
  const state = currentState(named, current, before, context);
  const lastState = lastStateOf(current, older, state, before, context);
  const running = state.running !== undefined && current !== undefined;
  const started = running && isStarted(named, current, before, context);
  const containerID = current ? `docker://${current.id}` : before?.containerID;
  return {
    name: container.name,
    state,
    lastState,
    ready:
      role === 'init'
        ? state.terminated?.exitCode === 0
        : started && isReady(named, current, before, context),
    restartCount: (current ?? instances[0])?.attempt ?? before?.restartCount ?? 0,
    image: current?.image ?? before?.image ?? container.image ?? '',
    imageID: current ? imageIdOf(current, before, context) : (before?.imageID ?? ''),
    ...(containerID ? { containerID } : {}),
    ...(role === 'ephemeral' ? {} : { started }),
    ...(role === 'ephemeral' ? {} : resourcesStatus(container, running ? current : undefined, context.facts)),
    ...(container.lifecycle?.stopSignal ? { stopSignal: container.lifecycle.stopSignal } : {}),
  };
}

function previousStatus({ role, container }: NamedContainer, previous: PodStatus | undefined) {
  const list =
    role === 'regular'
      ? previous?.containerStatuses
      : role === 'ephemeral'
        ? previous?.ephemeralContainerStatuses
        : previous?.initContainerStatuses;
  return list?.find(({ name }) => name === container.name);
}

function currentState(
  { container }: NamedContainer,
  current: ObservedInstance | undefined,
  before: ContainerStatus | undefined,
  context: ContainerStatusContext,
): ContainerState {
  if (current?.state === 'running') {
    return { running: { startedAt: timestamp(current.startedAt ?? current.createdAt) } };
  }
  const waits = context.waiting.get(container.name);
  if (waits && !context.ended) {
    return { waiting: { reason: waits.reason, ...(waits.message ? { message: waits.message } : {}) } };
  }
  if (current) return { terminated: terminated(current, context) };
  if (before?.state?.terminated) return before.state;
  if (before?.state?.running) {
    // It ran, and the engine knows nothing of it: the kubelet tells it so.
    return {
      terminated: {
        exitCode: 137,
        reason: 'ContainerStatusUnknown',
        message: 'The container could not be located when the pod was terminated',
      },
    };
  }
  return { waiting: { reason: context.hasInit ? 'PodInitializing' : 'ContainerCreating' } };
}

function lastStateOf(
  current: ObservedInstance | undefined,
  older: ObservedInstance | undefined,
  state: ContainerState,
  before: ContainerStatus | undefined,
  context: ContainerStatusContext,
): ContainerState {
  if (state.waiting && current?.state === 'exited') return { terminated: terminated(current, context) };
  if (older) return { terminated: terminated(older, context) };
  return before?.lastState ?? {};
}

function terminated(
  instance: ObservedInstance,
  { messages }: ContainerStatusContext,
): NonNullable<ContainerState['terminated']> {
  const exitCode = instance.exitCode ?? 0;
  const neverRan = instance.startedAt === undefined;
  const message = messages.get(instance.id) || instance.error;
  return {
    exitCode,
    reason: neverRan
      ? 'ContainerCannotRun'
      : instance.oomKilled
        ? 'OOMKilled'
        : exitCode === 0
          ? 'Completed'
          : 'Error',
    ...(message ? { message } : {}),
    // A container that could not be started has, by dockershim's word, started and finished when it was created.
    startedAt: timestamp(instance.startedAt ?? instance.createdAt),
    finishedAt: timestamp(instance.finishedAt ?? instance.createdAt),
    containerID: `docker://${instance.id}`,
  };
}

function isStarted(
  { container }: NamedContainer,
  current: ObservedInstance,
  before: ContainerStatus | undefined,
  { facts }: ContainerStatusContext,
): boolean {
  if (!container.startupProbe) return !facts.inFlight.has(`StartContainer/${current.id}`);
  const results = facts.probes.get(current.id);
  if (results) return results.started;
  return before?.containerID === `docker://${current.id}` && before.started === true;
}

/** Until a readiness probe of this agent has spoken, the last word about the same instance holds (agent restart). */
function isReady(
  { container }: NamedContainer,
  current: ObservedInstance,
  before: ContainerStatus | undefined,
  { facts }: ContainerStatusContext,
): boolean {
  if (!container.readinessProbe) return true;
  const results = facts.probes.get(current.id);
  if (results) return results.ready;
  return before?.containerID === `docker://${current.id}` && before.ready;
}

/** cri-dockerd's forms: by digest when it came from a registry, else by the engine's own id. */
function imageIdOf(
  instance: ObservedInstance,
  before: ContainerStatus | undefined,
  { imageNames }: ContainerStatusContext,
): string {
  const known = imageNames.get(instance.imageId);
  if (known) return known;
  if (before?.containerID === `docker://${instance.id}` && before.imageID) return before.imageID;
  return instance.imageId === '' ? '' : `docker://${instance.imageId}`;
}
