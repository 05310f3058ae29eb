import type { ContainerStatus, Pod, PodCondition } from '../../api/types/core-v1.ts';
import { timestamp } from '../../lib/clock.ts';
import { roleOfInit } from '../names.ts';
import type { ResizeState } from './facts.ts';
import { resizeConditions } from './resize-status.ts';

interface Input {
  pod: Pod;
  previous: readonly PodCondition[];
  initContainerStatuses: readonly ContainerStatus[];
  containerStatuses: readonly ContainerStatus[];
  phase: string;
  /** The sandbox runs and has its network. */
  sandboxReady: boolean;
  terminating: boolean;
  resize: ResizeState;
  now: number;
}

type Verdict = Pick<PodCondition, 'status' | 'reason' | 'message'>;
const TRUE: Verdict = { status: 'True' };

/** DisruptionTarget comes from the agent too when it evicts; a condition that only others write is never repeated. */
const ALSO_OWN = 'DisruptionTarget';

/**
 * The agent's own conditions in the kubelet's order. What others have set (readiness gates) is not reported: the agent's
 * word would be older than theirs.
 */
export function podConditions(input: Input): PodCondition[] {
  const containersReady = containersReadyVerdict(input);
  const own: [string, Verdict][] = [
    ['PodReadyToStartContainers', { status: input.sandboxReady ? 'True' : 'False' }],
    ['Initialized', initializedVerdict(input)],
    ['Ready', readyVerdict(input, containersReady)],
    ['ContainersReady', containersReady],
    ['PodScheduled', TRUE],
  ];
  const generation = input.pod.metadata.generation;
  const conditions: PodCondition[] = own.map(([type, verdict]) => {
    const before = input.previous.find((condition) => condition.type === type);
    const same = before?.status === verdict.status;
    return {
      type,
      ...verdict,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      lastTransitionTime: (same ? before?.lastTransitionTime : undefined) ?? timestamp(input.now),
    };
  });
  conditions.push(...resizeConditions(input.resize, input.previous, input.now));
  return [...conditions, ...input.previous.filter(({ type }) => type === ALSO_OWN)];
}

function initializedVerdict({ pod, initContainerStatuses, containerStatuses, phase }: Input): Verdict {
  const unknown: string[] = [];
  const incomplete: string[] = [];
  for (const container of pod.spec?.initContainers ?? []) {
    const status = initContainerStatuses.find(({ name }) => name === container.name);
    if (!status) unknown.push(container.name);
    else if (!(roleOfInit(container) === 'sidecar' ? status.started : status.ready)) {
      incomplete.push(container.name);
    }
  }
  if (phase === 'Succeeded' && unknown.length === 0) return { status: 'True', reason: 'PodCompleted' };
  const started = containerStatuses.some(
    ({ state, lastState }) => state?.running || state?.terminated || lastState?.terminated,
  );
  if (started) return TRUE;
  const message = messages([
    ['containers with unknown status', unknown],
    ['containers with incomplete status', incomplete],
  ]);
  return message ? { status: 'False', reason: 'ContainersNotInitialized', message } : TRUE;
}

function containersReadyVerdict({ pod, initContainerStatuses, containerStatuses, phase }: Input): Verdict {
  const unknown: string[] = [];
  const unready: string[] = [];
  const ready = new Map(
    [...initContainerStatuses, ...containerStatuses].map((each) => [each.name, each.ready]),
  );
  const check = (name: string): void => {
    if (!ready.has(name)) unknown.push(name);
    else if (!ready.get(name)) unready.push(name);
  };
  for (const container of pod.spec?.initContainers ?? []) {
    if (roleOfInit(container) === 'sidecar') check(container.name);
  }
  for (const { name } of pod.spec?.containers ?? []) check(name);
  if (phase === 'Succeeded' && unknown.length === 0) return { status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { status: 'False', reason: 'PodFailed' };
  const message = messages([
    ['containers with unknown status', unknown],
    ['containers with unready status', unready],
  ]);
  return message ? { status: 'False', reason: 'ContainersNotReady', message } : TRUE;
}

function readyVerdict({ pod, previous }: Input, containersReady: Verdict): Verdict {
  if (containersReady.status !== 'True') return containersReady;
  const faults: string[] = [];
  for (const { conditionType } of pod.spec?.readinessGates ?? []) {
    // Others set these: the pod as stored is newer than what was reported.
    const condition =
      pod.status?.conditions?.find(({ type }) => type === conditionType) ??
      previous.find(({ type }) => type === conditionType);
    if (!condition)
      faults.push(`corresponding condition of pod readiness gate "${conditionType}" does not exist.`);
    else if (condition.status !== 'True') {
      faults.push(
        `the status of pod readiness gate "${conditionType}" is not "True", but ${condition.status}`,
      );
    }
  }
  if (faults.length === 0) return TRUE;
  return { status: 'False', reason: 'ReadinessGatesNotReady', message: faults.join(', ') };
}

/** Lists as Go prints them: `[a b]`. */
function messages(lists: readonly [string, readonly string[]][]): string {
  return lists
    .filter(([, names]) => names.length > 0)
    .map(([text, names]) => `${text}: [${names.join(' ')}]`)
    .join(', ');
}
