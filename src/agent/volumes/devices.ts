import { realpath } from 'node:fs/promises';
import type { Volume } from '../../api/types/core-v1.ts';
import type { ContainerMount } from '../runtime.ts';

/** A hostPath that says it is a device: its container is given that device, and no other (docs/adr/0021-devices-by-their-type.md). */
export function isDevice({ hostPath }: Volume): boolean {
  return hostPath?.type === 'CharDevice' || hostPath?.type === 'BlockDevice';
}

/** `/dev/serial/by-id/…` and the like are symlinks: the engine is given what they stand for now. */
export async function deviceMount(
  path: string,
  containerPath: string,
  readOnly: boolean,
): Promise<ContainerMount> {
  const hostPath = await realpath(path).catch(() => path);
  return { hostPath, containerPath, readOnly, device: readOnly ? 'r' : 'rw' };
}
