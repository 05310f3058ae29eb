import { formatQuantity, parseQuantity } from '../../api/quantity.ts';
import type { Pod } from '../../api/types/core-v1.ts';
import type { Readings } from '../../health/pressure.ts';
import { resourceOf } from '../../health/pressure.ts';
import { type Threshold, unitsOf } from '../../health/thresholds.ts';
import type { ContainerUse, PodUse } from './port.ts';
import type { Starved } from './rank.ts';

// The kubelet's sentences, each with the blank at its end: monitors and people search for them.

/** Why a pod had to go: `The node was low on resource: memory. …`. */
export function starvedMessage(
  pod: Pod,
  starved: Starved,
  use: PodUse | undefined,
  thresholds: readonly Threshold[],
  readings: Readings,
): string {
  let message = `The node was low on resource: ${starved}. `;
  const threshold = thresholds.find(({ signal }) => resourceOf(signal) === starved && readings[signal]);
  const reading = threshold && readings[threshold.signal];
  if (threshold && reading) {
    const least = amount(unitsOf(threshold.least, reading.capacity));
    message += `Threshold quantity: ${least}, available: ${amount(reading.available)}. `;
  }
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  for (const [name, measured] of use?.containers ?? []) {
    const container = containers.find((each) => each.name === name);
    const used = usedOf(measured, starved);
    if (!container || used === undefined) continue;
    const request = container.resources?.requests?.[starved] ?? '0';
    if (BigInt(used) * 1_000_000_000n <= parseQuantity(request).nano) continue;
    message += `Container ${name} was using ${amount(used)}, request is ${canonical(request)}, has larger consumption of ${starved}. `;
  }
  return message;
}

function usedOf({ memory, writable, logs }: ContainerUse, starved: Starved): number | undefined {
  if (starved === 'memory') return memory;
  if (starved !== 'ephemeral-storage' || writable === undefined || logs === undefined) return undefined;
  return writable + logs;
}

export function emptyDirMessage(volume: string, limit: string): string {
  return `Usage of EmptyDir volume "${volume}" exceeds the limit "${canonical(limit)}". `;
}

export function podStorageMessage(limit: string): string {
  return `Pod ephemeral local storage usage exceeds the total limit of containers ${limit}. `;
}

export function containerStorageMessage(container: string, limit: string): string {
  return `Container ${container} exceeded its local ephemeral storage limit "${canonical(limit)}". `;
}

function amount(units: number): string {
  return formatQuantity({ nano: BigInt(Math.round(units)) * 1_000_000_000n, format: 'BinarySI' });
}

function canonical(text: string): string {
  return formatQuantity(parseQuantity(text));
}
