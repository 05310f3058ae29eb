import type { ContainerStatus, Pod, PodStatus } from '../../api/types/core-v1.ts';
import { timestamp } from '../../lib/clock.ts';
import { containersOf } from '../names.ts';
import { podConditions } from './conditions.ts';
import { type ContainerStatusContext, containerStatus } from './container-status.ts';
import type { PodFacts } from './facts.ts';
import type { ObservedPod } from './observe.ts';
import { podPhase } from './phase.ts';
import { qosClass } from './qos.ts';

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
  node: { ips: readonly string[] };
  /** The pod has ended for good: its phase is Succeeded or Failed whatever its restart policy. */
  ended: boolean;
  /** Wall time, ms. */
  now: number;
}

/** The pod's status as the kubelet computes it. Pure. */
export function computeStatus(input: StatusInput): PodStatus {
  const { pod, observed, facts, previous, node } = input;
  const named = containersOf(pod);
  const context: ContainerStatusContext = { ...input, hasInit: (pod.spec?.initContainers ?? []).length > 0 };
  const statuses = new Map<string, ContainerStatus>();
  for (const each of named) statuses.set(each.container.name, containerStatus(each, context));
  const of = (roles: string[]): ContainerStatus[] =>
    named
      .filter(({ role }) => roles.includes(role))
      .map(({ container }) => statuses.get(container.name))
      .filter((status) => status !== undefined);
  const initContainerStatuses = of(['init', 'sidecar']);
  const containerStatuses = of(['regular']);
  const ephemeralContainerStatuses = of(['ephemeral']);

  const finalBefore = previous?.phase === 'Failed' || previous?.phase === 'Succeeded';
  const phase = facts.killed
    ? 'Failed'
    : finalBefore
      ? previous.phase
      : podPhase(pod, { initContainerStatuses, containerStatuses, ended: input.ended });
  const reason = facts.killed?.reason ?? previous?.reason;
  const message = facts.killed?.message ?? previous?.message;
  const sandbox = observed.sandboxes[0];
  const ready = sandbox?.state === 'running' && facts.network?.sandboxId === sandbox.id;
  const podIPs = facts.network ? facts.network.ips.map((ip) => ({ ip })) : previous?.podIPs;
  const generation = pod.metadata.generation;
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase: phase ?? 'Pending',
    conditions: podConditions({
      pod,
      previous: previous?.conditions ?? pod.status?.conditions ?? [],
      initContainerStatuses,
      containerStatuses,
      phase: phase ?? 'Pending',
      sandboxReady: ready,
      terminating: input.facts.terminatingSince !== undefined,
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
    qosClass: previous?.qosClass ?? qosClass(pod),
  };
}
