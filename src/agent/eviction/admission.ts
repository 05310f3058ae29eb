import { tolerates } from '../../api/tolerations.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import { qosClass } from '../pods/qos.ts';
import { isCritical } from './critical.ts';

const MEMORY = 'MemoryPressure';
const MEMORY_TAINT = { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' } as const;

/**
 * Why a pod that is new to the node may not start while the node is under pressure, as the kubelet judges it: short of
 * memory alone it takes pods that asked for some, or that tolerate it; short of disk or processes only critical ones.
 */
export function pressureObjection(
  pod: Pod,
  conditions: readonly string[],
): { reason: string; message: string } | undefined {
  if (conditions.length === 0 || isCritical(pod)) return undefined;
  if (conditions.every((type) => type === MEMORY)) {
    if (qosClass(pod) !== 'BestEffort') return undefined;
    if (pod.spec?.tolerations?.some((toleration) => tolerates(toleration, MEMORY_TAINT))) return undefined;
  }
  return { reason: 'Evicted', message: `The node had condition: [${conditions.join(' ')}]. ` };
}
