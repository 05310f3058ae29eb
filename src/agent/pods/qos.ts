import { parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Container, Pod } from '../../api/types/core-v1.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const COUNTED = ['cpu', 'memory'];

/** Pod-level resources decide alone where they are set; otherwise all containers, init containers included. */
export function qosClass(pod: Pod): QosClass {
  const spec = pod.spec;
  const sets = hasPodLevel(pod)
    ? [spec?.resources ?? {}]
    : [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].map(({ resources }) => resources ?? {});
  let any = false;
  let guaranteed = true;
  for (const { requests = {}, limits = {} } of sets) {
    for (const name of COUNTED) {
      const limit = positive(limits[name]);
      const request = positive(requests[name] ?? limits[name]);
      if (limit !== undefined || request !== undefined) any = true;
      if (limit === undefined || request !== limit) guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

/** Does the pod say anything as a whole? */
function hasPodLevel({ spec }: Pod): boolean {
  const { requests = {}, limits = {} } = spec?.resources ?? {};
  return Object.keys(requests).length + Object.keys(limits).length > 0;
}

function positive(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  const { nano } = parseQuantity(text);
  return nano > 0n ? nano : undefined;
}

export const SANDBOX_OOM_SCORE = -998;
const GUARANTEED_OOM_SCORE = -997;

/**
 * Who the kernel kills first when the board runs out of memory: BestEffort, then those far above their request. A sidecar
 * is never worse off than the containers that it serves.
 */
export function oomScoreAdjust(pod: Pod, container: Container, memoryCapacityBytes: number): number {
  if (pod.spec?.priorityClassName === 'system-node-critical') return GUARANTEED_OOM_SCORE;
  const qos = pod.status?.qosClass ?? qosClass(pod);
  if (qos === 'Guaranteed') return GUARANTEED_OOM_SCORE;
  if (qos === 'BestEffort') return 1000;
  const capacity = Math.max(1, memoryCapacityBytes);
  const scoreOf = (bytes: number): number => 1000 - Math.floor((1000 * bytes) / capacity);
  const { containers = [], initContainers = [] } = pod.spec ?? {};
  let score = scoreOf(memoryRequest(container) + unclaimedShare(pod));
  const isSidecar =
    initContainers.some(({ name }) => name === container.name) && container.restartPolicy === 'Always';
  if (isSidecar) {
    const least = Math.min(...containers.map(memoryRequest));
    if (least > memoryRequest(container)) score = Math.min(score, scoreOf(least));
  }
  // Between the guaranteed and the best-effort ones, whatever the request.
  return Math.min(Math.max(score, 1000 + GUARANTEED_OOM_SCORE), 999);
}

/** What the pod requests as a whole and none of its containers does, in equal parts. */
function unclaimedShare(pod: Pod): number {
  const own = pod.spec?.resources?.requests?.memory;
  if (own === undefined) return 0;
  const { containers = [], initContainers = [] } = pod.spec ?? {};
  const lasting = [
    ...containers,
    ...initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always'),
  ];
  const claimed = lasting.reduce((sum, container) => sum + memoryRequest(container), 0);
  return Math.max(0, wholeUnits(parseQuantity(own)) - claimed) / Math.max(1, lasting.length);
}

function memoryRequest({ resources }: Container): number {
  const request = resources?.requests?.memory ?? resources?.limits?.memory;
  return request === undefined ? 0 : wholeUnits(parseQuantity(request));
}
