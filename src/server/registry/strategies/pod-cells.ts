// What `kubectl get pods` shows: one row computed from a pod, as printPod of Kubernetes has it.
import type { JsonObject } from '../../../api/object.ts';
import { asObject, listAt, numberAt, objectAt, stringAt } from '../../../api/validation.ts';
import { ageOf } from './age.ts';

interface Tally {
  reason: string;
  restarts: number;
  lastRestart: number;
  ready: number;
}

export function podCells(pod: JsonObject, now: number): string[] {
  const metadata = objectAt(pod, 'metadata');
  const spec = objectAt(pod, 'spec');
  const status = objectAt(pod, 'status');
  const tally: Tally = { reason: initialReason(status), restarts: 0, lastRestart: 0, ready: 0 };
  const sidecars = new Set(
    listAt(spec, 'initContainers')
      .filter((container) => container.restartPolicy === 'Always')
      .map((container) => container.name),
  );
  const initializing = tallyInit(spec, status, sidecars, tally);
  if (!initializing || hasCondition(status, 'Initialized')) tallyContainers(status, sidecars, tally);
  if (metadata.deletionTimestamp !== undefined) {
    if (status.reason === 'NodeLost') tally.reason = 'Unknown';
    else if (status.phase !== 'Failed' && status.phase !== 'Succeeded') tally.reason = 'Terminating';
  }
  const restarts =
    tally.restarts > 0 && tally.lastRestart > 0
      ? `${tally.restarts} (${ageOf(new Date(tally.lastRestart).toISOString(), now)} ago)`
      : String(tally.restarts);
  const total = listAt(spec, 'containers').length + sidecars.size;
  return [
    stringAt(metadata, 'name'),
    `${tally.ready}/${total}`,
    tally.reason,
    restarts,
    ageOf(metadata.creationTimestamp, now),
    podIp(status) || '<none>',
    stringAt(spec, 'nodeName') || '<none>',
    stringAt(status, 'nominatedNodeName') || '<none>',
    readinessGates(spec, status),
  ];
}

function podIp(status: JsonObject): string {
  const [first] = listAt(status, 'podIPs');
  return stringAt(first, 'ip') || stringAt(status, 'podIP');
}

function initialReason(status: JsonObject): string {
  const gated = listAt(status, 'conditions').some(
    ({ type, reason }) => type === 'PodScheduled' && reason === 'SchedulingGated',
  );
  if (gated) return 'SchedulingGated';
  return stringAt(status, 'reason') || stringAt(status, 'phase');
}

/** True while an init container has not come to its end. */
function tallyInit(
  spec: JsonObject,
  status: JsonObject,
  sidecars: ReadonlySet<unknown>,
  tally: Tally,
): boolean {
  const total = listAt(spec, 'initContainers').length;
  let sidecarRestarts = 0;
  let sidecarLast = 0;
  const statuses = listAt(status, 'initContainerStatuses');
  for (let index = 0; index < statuses.length; index += 1) {
    const container = statuses[index] as JsonObject;
    const state = objectAt(container, 'state');
    const terminated = asObject(state.terminated);
    const waiting = asObject(state.waiting);
    const restarts = numberAt(container, 'restartCount') ?? 0;
    tally.restarts += restarts;
    noteRestart(container, tally);
    if (sidecars.has(container.name)) {
      sidecarRestarts += restarts;
      sidecarLast = Math.max(sidecarLast, lastTermination(container));
    }
    if (terminated && terminated.exitCode === 0) continue;
    if (sidecars.has(container.name) && container.started === true) {
      if (container.ready === true) tally.ready += 1;
      continue;
    }
    if (terminated) {
      tally.reason = `Init:${terminationText(terminated)}`;
    } else if (waiting && stringAt(waiting, 'reason') !== '' && waiting.reason !== 'PodInitializing') {
      tally.reason = `Init:${waiting.reason}`;
    } else {
      tally.reason = `Init:${index}/${total}`;
    }
    return true;
  }
  // The restarts of init containers that are done count no more; those of sidecars do.
  tally.restarts = sidecarRestarts;
  tally.lastRestart = sidecarLast;
  return false;
}

function tallyContainers(status: JsonObject, sidecars: ReadonlySet<unknown>, tally: Tally): void {
  void sidecars;
  let running = false;
  const statuses = listAt(status, 'containerStatuses');
  for (let index = statuses.length - 1; index >= 0; index -= 1) {
    const container = statuses[index] as JsonObject;
    const state = objectAt(container, 'state');
    const waiting = asObject(state.waiting);
    const terminated = asObject(state.terminated);
    tally.restarts += numberAt(container, 'restartCount') ?? 0;
    noteRestart(container, tally);
    if (waiting && stringAt(waiting, 'reason') !== '') tally.reason = stringAt(waiting, 'reason');
    else if (terminated) tally.reason = terminationText(terminated);
    else if (container.ready === true && state.running !== undefined) {
      running = true;
      tally.ready += 1;
    }
  }
  if (tally.reason === 'Completed' && running) {
    tally.reason = hasCondition(status, 'Ready') ? 'Running' : 'NotReady';
  }
}

function noteRestart(container: JsonObject, tally: Tally): void {
  tally.lastRestart = Math.max(tally.lastRestart, lastTermination(container));
}

function lastTermination(container: JsonObject): number {
  const finished = objectAt(objectAt(container, 'lastState'), 'terminated').finishedAt;
  const time = typeof finished === 'string' ? Date.parse(finished) : Number.NaN;
  return Number.isNaN(time) ? 0 : time;
}

function terminationText(terminated: JsonObject): string {
  const reason = stringAt(terminated, 'reason');
  if (reason !== '') return reason;
  const signal = numberAt(terminated, 'signal') ?? 0;
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${numberAt(terminated, 'exitCode') ?? 0}`;
}

function hasCondition(status: JsonObject, wanted: string): boolean {
  return listAt(status, 'conditions').some(({ type, status: is }) => type === wanted && is === 'True');
}

function readinessGates(spec: JsonObject, status: JsonObject): string {
  const gates = listAt(spec, 'readinessGates');
  if (gates.length === 0) return '<none>';
  const passed = gates.filter(({ conditionType }) => hasCondition(status, String(conditionType)));
  return `${passed.length}/${gates.length}`;
}
