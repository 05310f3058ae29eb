import type { ContainerStatus, Pod, PodCondition, PodStatus } from '../../api/types/core-v1.ts';
import { timestamp } from '../../lib/clock.ts';
import { containersOf, type NamedContainer } from '../names.ts';
import { podConditions } from './conditions.ts';
import { type ContainerStatusContext, containerStatus } from './container-status.ts';
import type { PodFacts } from './facts.ts';
import { settled } from './final-status.ts';
import { latest, type ObservedPod } from './observe.ts';
import { podPhase } from './phase.ts';
import { isInitialized } from './plan-containers.ts';
import { podResources } from './pod-resources.ts';
import { qosClass } from './qos.ts';
import { shouldRestart } from './restart-policy.ts';

export interface StatusInput {
  pod: Pod;
  observed: ObservedPod;
  facts: PodFacts;
  /** Why containers wait, from the plan. */
  waiting: Map<string, { reason: string; message?: string }>;
  /** What was reported last; the stored status when this agent has reported nothing yet. */
  previous: PodStatus | undefined;
  /** Termination messages by instance id. */
  messages: Map<string, string>;
  /** Image id -> imageID as the status tells it. */
  imageNames: Map<string, string>;
  node: { ips: readonly string[]; recursiveReadOnly?: boolean };
  /** The pod has ended for good: its phase is Succeeded or Failed whatever its restart policy. */
  ended: boolean;
  /** Wall time, ms. */
  now: number;
}

/** The pod's status as the kubelet computes it. Pure. */
export function computeStatus(input: StatusInput): PodStatus {
  const { pod, observed, facts, previous, node } = input;
  if (facts.rejected && facts.killed) return rejectedStatus(input, facts.killed);
  const named = containersOf(pod);
  const context: ContainerStatusContext = { ...input, hasInit: (pod.spec?.initContainers ?? []).length > 0 };
  const statuses = new Map<string, ContainerStatus>();
  for (const each of named) statuses.set(each.container.name, containerStatus(each, context));
  const of = (roles: string[]): ContainerStatus[] =>
    named
      .filter(({ role }) => roles.includes(role))
      .map(({ container }) => statuses.get(container.name))
      .filter((status) => status !== undefined);
  // Init containers in their order, the others by name.
  const told = { initContainerStatuses: of(['init', 'sidecar']), containerStatuses: sorted(of(['regular'])) };
  const { initContainerStatuses, containerStatuses } = facts.stopped ? settled(told) : told;
  const ephemeralContainerStatuses = sorted(of(['ephemeral']));

  const phase = toldPhase(
    podPhase(pod, {
      initContainerStatuses,
      containerStatuses,
      ended: input.ended,
      restarting: restarting(input, named),
      initialized: isInitialized(named, observed),
    }),
    input,
  );
  const killed = facts.stopped ? facts.killed : undefined;
  const reason = killed?.reason ?? previous?.reason;
  const message = killed?.message ?? previous?.message;
  const sandbox = observed.sandboxes[0];
  const ready = sandbox?.state === 'running' && facts.network?.sandboxId === sandbox.id;
  const podIPs = facts.network ? facts.network.ips.map((ip) => ({ ip })) : previous?.podIPs;
  const generation = pod.metadata.generation;
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase,
    conditions: podConditions({
      pod,
      previous: withDisruption(previous?.conditions ?? pod.status?.conditions ?? [], input),
      initContainerStatuses,
      containerStatuses,
      phase,
      sandboxReady: ready,
      terminating: input.facts.terminatingSince !== undefined,
      resize: facts.resize,
      now: input.now,
    }),
    ...(reason ? { reason } : {}),
    ...(message ? { message } : {}),
    ...(node.ips[0] === undefined ? {} : { hostIP: node.ips[0], hostIPs: node.ips.map((ip) => ({ ip })) }),
    ...(podIPs?.[0]?.ip ? { podIP: podIPs[0].ip, podIPs: [...podIPs] } : {}),
    startTime: previous?.startTime ?? timestamp(input.now),
    ...(initContainerStatuses.length > 0 ? { initContainerStatuses } : {}),
    containerStatuses,
    ...(ephemeralContainerStatuses.length > 0 ? { ephemeralContainerStatuses } : {}),
    qosClass: previous?.qosClass ?? pod.status?.qosClass ?? qosClass(pod),
    ...podResources(pod),
  };
}

function sorted(statuses: ContainerStatus[]): ContainerStatus[] {
  return statuses.sort((left, right) => (left.name < right.name ? -1 : 1));
}

/**
 * A final phase is told when nothing of the pod runs any more, and then for ever: others (a Job, a ReplicaSet, the
 * scheduler) take it as the word that its place is free. The kubelet's status manager holds it back in the same way.
 */
function toldPhase(
  computed: NonNullable<PodStatus['phase']>,
  { facts, previous }: StatusInput,
): NonNullable<PodStatus['phase']> {
  if (previous?.phase === 'Failed' || previous?.phase === 'Succeeded') return previous.phase;
  const phase = facts.killed ? 'Failed' : computed;
  const final = phase === 'Failed' || phase === 'Succeeded';
  return final && !facts.stopped ? (previous?.phase ?? 'Pending') : phase;
}

function restarting({ pod, observed, facts }: StatusInput, named: readonly NamedContainer[]): Set<string> {
  const names = new Set<string>();
  if (facts.terminal || facts.killed || facts.terminatingSince !== undefined) return names;
  for (const each of named) {
    if (each.role === 'sidecar' || each.role === 'ephemeral') continue;
    const instance = latest(observed, each.container.name);
    if (!instance || instance.state === 'running') continue;
    // One that is made already and not started yet is the next run.
    if (instance.state === 'created' || shouldRestart(pod, each, instance, facts.mustRestart)) {
      names.add(each.container.name);
    }
  }
  return names;
}

/** A pod that this node ended for want of a resource says so in a condition, which Jobs' failure policies read. */
function withDisruption(
  conditions: readonly PodCondition[],
  { pod, facts, now }: StatusInput,
): readonly PodCondition[] {
  const { killed, stopped } = facts;
  const { generation } = pod.metadata;
  if (!killed?.disruption || !stopped) return conditions;
  const type = 'DisruptionTarget';
  const reason = 'TerminationByKubelet';
  const before = conditions.find((condition) => condition.type === type);
  if (before?.reason === reason) return conditions;
  const condition: PodCondition = {
    type,
    status: 'True',
    reason,
    message: killed.message,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    lastTransitionTime: timestamp(now),
  };
  return [...conditions.filter((each) => each !== before), condition];
}

/** Of a pod that the node did not take: there are no containers to tell of. */
function rejectedStatus(
  { pod, previous, now }: StatusInput,
  { reason, message }: NonNullable<PodFacts['killed']>,
): PodStatus {
  const { generation } = pod.metadata;
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase: 'Failed',
    reason,
    message,
    startTime: previous?.startTime ?? timestamp(now),
    qosClass: pod.status?.qosClass ?? qosClass(pod),
  };
}
