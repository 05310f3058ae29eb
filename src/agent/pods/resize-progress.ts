import type { Pod } from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';
import type { ResizeVerdict } from './allocation.ts';
import type { PodFacts } from './facts.ts';
import type { ObservedPod } from './observe.ts';
import { resizeOutstanding } from './plan-resize.ts';
import { resizeMessage } from './resize-status.ts';
import type { PodServices } from './services.ts';

type Services = Pick<PodServices, 'allocations' | 'events' | 'desired'>;

/**
 * Takes a resize up when there is room for it and notes, with events, when it has to wait, fails, or has been carried
 * out. Returns the pod as it is to run from now on.
 */
export function progressResize(pod: Pod, observed: ObservedPod, facts: PodFacts, services: Services): Pod {
  if (facts.terminal || facts.killed || facts.terminatingSince !== undefined) {
    facts.resize = {};
    return pod;
  }
  const { uid } = identity(pod);
  const verdict = services.allocations.resize(uid);
  if (verdict && !verdict.fits) {
    wait(pod, verdict, facts, services);
    finish(pod, observed, facts, services);
    return pod;
  }
  const { pending: _over, ...rest } = facts.resize;
  facts.resize = rest;
  if (!verdict) {
    finish(pod, observed, facts, services);
    return pod;
  }
  const next = services.allocations.current(uid) ?? pod;
  facts.resize = { inProgress: { generation: next.metadata.generation } };
  facts.failures.delete('ResizePod');
  services.events.pod(next, 'Normal', 'ResizeStarted', resizeMessage('Pod resize started', next));
  finish(next, observed, facts, services);
  return next;
}

function wait(
  pod: Pod,
  { reason, message }: Extract<ResizeVerdict, { fits: false }>,
  facts: PodFacts,
  { events, desired }: Services,
): void {
  const { generation } = pod.metadata;
  const before = facts.resize.pending;
  if (before?.reason === reason && before.message === message && before.generation === generation) return;
  facts.resize = { ...facts.resize, pending: { reason, message, generation } };
  // Each other pod that comes or goes changes the numbers of the message; that is no news.
  if (before?.reason === reason && before.generation === generation) return;
  const wanted = desired.pod(identity(pod).uid) ?? pod;
  events.pod(wanted, 'Warning', `Resize${reason}`, resizeMessage(`Pod resize ${reason}`, wanted, message));
}

function finish(pod: Pod, observed: ObservedPod, facts: PodFacts, { events }: Services): void {
  const { inProgress } = facts.resize;
  if (!inProgress) return;
  const error = facts.failures.get('ResizePod')?.message;
  if (error !== undefined && error !== inProgress.error) {
    facts.resize = { ...facts.resize, inProgress: { ...inProgress, error } };
    events.pod(pod, 'Warning', 'ResizeError', resizeMessage('Pod resize error', pod, error));
  }
  if (facts.inFlight.has('ResizePod') || resizeOutstanding(pod, observed, facts)) return;
  events.pod(pod, 'Normal', 'ResizeCompleted', resizeMessage('Pod resize completed', pod));
  const { inProgress: _done, ...rest } = facts.resize;
  facts.resize = rest;
}
