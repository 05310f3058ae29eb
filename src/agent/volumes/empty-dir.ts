import { join } from 'node:path';
import type { JsonObject } from '../../api/object.ts';
import { podLimits } from '../../api/pod-resources.ts';
import { parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Pod, Volume } from '../../api/types/core-v1.ts';

/** Where an emptyDir lies: under the kubelet's name of its plugin. */
export function emptyDirPath(podsDirectory: string, podUid: string, volume: string): string {
  return join(podsDirectory, podUid, 'volumes', 'kubernetes.io~empty-dir', volume);
}

/**
 * Bytes that a volume in memory may take: its own limit, the memory limit of the pod and what the node gives to pods,
 * whichever is least. What lies there is the pod's memory: without a bound one volume could take the whole board.
 */
export function memoryVolumeBytes(pod: Pod, volume: Volume, allocatableMemory: string | undefined): number {
  const bounds = [
    allocatableMemory === undefined ? 0 : wholeUnits(parseQuantity(allocatableMemory)),
    wholeUnits(
      podLimits((pod.spec ?? {}) as unknown as JsonObject).get('memory') ?? { nano: 0n, format: 'BinarySI' },
    ),
    volume.emptyDir?.sizeLimit === undefined ? 0 : wholeUnits(parseQuantity(volume.emptyDir.sizeLimit)),
  ].filter((bytes) => bytes > 0);
  return bounds.length === 0 ? 0 : Math.min(...bounds);
}
