import type { ContainerState, ContainerStatus, Pod, PodStatus } from '../../api/types/core-v1.ts';
import { timestamp } from '../../lib/clock.ts';
import { containersOf, type NamedContainer } from '../names.ts';
import type { PodFacts } from './facts.ts';
import { WAS_RUNNING } from './forgotten.ts';
import type { ObservedInstance, ObservedPod } from './observe.ts';
import { resourcesStatus } from './resize-status.ts';
import { volumeMountStatuses } from './volume-mount-status.ts';

export interface ContainerStatusContext {
  pod: Pod;
  observed: ObservedPod;
  facts: PodFacts;
  waiting: Map<string, { reason: string; message?: string }>;
  previous: PodStatus | undefined;
  messages: Map<string, string>;
  imageNames: Map<string, string>;
  ended: boolean;
  hasInit: boolean;
  node: { recursiveReadOnly?: boolean };
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
  const volumeMounts = volumeMountStatuses(container, context.node.recursiveReadOnly ?? false);
  const containerID = current ? `docker://${current.id}` : before?.containerID;
  return {
    name: container.name,
    state,
    lastState,
    ready:
      role === 'init'
        ? state.terminated?.exitCode === 0
        : started && isReady(named, current, before, context),
    restartCount: (current ?? instances[0])?.attempt ?? countWithout(before, context),
    image: current?.image ?? before?.image ?? container.image ?? '',
    imageID: current ? imageIdOf(current, before, context) : (before?.imageID ?? ''),
    ...(containerID ? { containerID } : {}),
    ...(role === 'ephemeral' ? {} : { started }),
    ...(role === 'ephemeral' && !current
      ? {}
      : resourcesStatus(container, running ? current : undefined, context.facts)),
    ...(volumeMounts.length > 0 ? { volumeMounts } : {}),
    ...userOf(current, before, context),
    ...(container.lifecycle?.stopSignal ? { stopSignal: container.lifecycle.stopSignal } : {}),
  };
}

function userOf(
  current: ObservedInstance | undefined,
  before: ContainerStatus | undefined,
  { facts }: ContainerStatusContext,
): Pick<ContainerStatus, 'user'> {
  const linux = current && facts.users.get(current.id);
  if (linux) return { user: { linux } };
  const same = current && before?.containerID === `docker://${current.id}`;
  return same && before.user ? { user: before.user } : {};
}

/** The restart count while the engine has no instance: one that vanished while it ran will be followed by another. */
function countWithout(before: ContainerStatus | undefined, { pod }: ContainerStatusContext): number {
  const vanished = before?.state?.running !== undefined && pod.metadata.deletionTimestamp === undefined;
  return (before?.restartCount ?? 0) + (vanished ? 1 : 0);
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
  // It ran, or had ended, and the engine knows nothing of it any more.
  if (!current && before?.state?.running) return { terminated: WAS_RUNNING };
  const ended = before?.state?.terminated;
  if (current && ended && ended.containerID !== `docker://${current.id}`) return { terminated: ended };
  return before?.lastState ?? {};
}

function terminated(
  instance: ObservedInstance,
  { messages, pod }: ContainerStatusContext,
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
    ...(message ? { message: shortened(message, pod) } : {}),
    // A container that could not be started has, by dockershim's word, started and finished when it was created.
    startedAt: timestamp(instance.startedAt ?? instance.createdAt),
    finishedAt: timestamp(instance.finishedAt ?? instance.createdAt),
    containerID: `docker://${instance.id}`,
  };
}

/** Bytes of the termination messages of a pod's containers together. */
const MOST_WORDS = 12 * 1024;

function shortened(message: string, pod: Pod): string {
  const most = Math.floor(MOST_WORDS / containersOf(pod).length);
  const bytes = Buffer.from(message);
  // Not in the middle of a character.
  return bytes.length <= most ? message : bytes.toString('utf8', 0, most).replace(/\uFFFD+$/, '');
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
