import type { JsonObject } from '../../api/object.ts';
import { podLimits } from '../../api/pod-resources.ts';
import { formatQuantity, parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import { containerStorageMessage, emptyDirMessage, podStorageMessage } from './messages.ts';
import type { PodUse } from './port.ts';
import { podTotal } from './rank.ts';

const STORAGE = 'ephemeral-storage';

/** Does the pod limit what it may write to this board's disk? Only such pods are measured. */
export function limitsStorage({ spec }: Pod): boolean {
  const volume = spec?.volumes?.some(
    ({ emptyDir }) => emptyDir?.medium !== 'Memory' && positive(emptyDir?.sizeLimit),
  );
  return Boolean(volume || spec?.containers.some(({ resources }) => positive(resources?.limits?.[STORAGE])));
}

/** The kubelet's message when the pod has written more than it may; its order: volumes, the pod as a whole, containers. */
export function exceededStorage(pod: Pod, use: PodUse): string | undefined {
  const { spec } = pod;
  for (const { name, emptyDir } of spec?.volumes ?? []) {
    const used = use.volumes.get(name)?.bytes;
    const limit = emptyDir?.sizeLimit;
    if (used !== undefined && limit !== undefined && positive(limit) && used > bytes(limit)) {
      return emptyDirMessage(name, limit);
    }
  }
  const total = podTotal(use, STORAGE);
  const limit = podLimits((spec ?? {}) as unknown as JsonObject).get(STORAGE);
  if (total !== undefined && limit && total > wholeUnits(limit))
    return podStorageMessage(formatQuantity(limit));
  for (const { name, resources } of spec?.containers ?? []) {
    const own = resources?.limits?.[STORAGE];
    const { writable = 0, logs = 0 } = use.containers.get(name) ?? {};
    if (own !== undefined && positive(own) && writable + logs > bytes(own))
      return containerStorageMessage(name, own);
  }
  return undefined;
}

function positive(text: string | undefined): boolean {
  return text !== undefined && parseQuantity(text).nano > 0n;
}

function bytes(text: string): number {
  return wholeUnits(parseQuantity(text));
}
