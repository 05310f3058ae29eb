import { parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Container, Pod } from '../../api/types/core-v1.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const COUNTED = ['cpu', 'memory'];

/** Pod-level resources decide alone where they are set; otherwise all containers, init containers included. */
export function qosClass(pod: Pod): QosClass {
  const spec = pod.spec;
  const sets = spec?.resources
    ? [spec.resources]
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

function positive(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  const { nano } = parseQuantity(text);
  return nano > 0n ? nano : undefined;
}

export const SANDBOX_OOM_SCORE = -998;
const GUARANTEED_OOM_SCORE = -997;

/** Who the kernel kills first when the board runs out of memory: BestEffort, then those far above their request. */
export function oomScoreAdjust(pod: Pod, container: Container, memoryCapacityBytes: number): number {
  if ((pod.spec?.priority ?? 0) >= 2_000_000_000) return GUARANTEED_OOM_SCORE;
  const qos = pod.status?.qosClass ?? qosClass(pod);
  if (qos === 'Guaranteed') return GUARANTEED_OOM_SCORE;
  if (qos === 'BestEffort') return 1000;
  const request = container.resources?.requests?.memory ?? container.resources?.limits?.memory;
  const bytes = request === undefined ? 0 : wholeUnits(parseQuantity(request));
  const score = 1000 - Math.floor((1000 * bytes) / Math.max(1, memoryCapacityBytes));
  // Between the guaranteed and the best-effort ones, whatever the request.
  return Math.min(Math.max(score, 1000 + GUARANTEED_OOM_SCORE), 999);
}
