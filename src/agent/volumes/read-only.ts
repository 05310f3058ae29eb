import type { VolumeMount } from '../../api/types/core-v1.ts';
import { ContainerConfigError } from '../containers/config-error.ts';
import type { ContainerMount } from '../runtime.ts';

/**
 * What a read-only mount means for the mounts below it. An engine that can (`supported`) is told either way, for its own
 * default differs from Kubernetes'; of one that cannot, recursion is not asked.
 */
export function readOnlyBelow(mount: VolumeMount, supported: boolean): ContainerMount['readOnlyBelow'] {
  const mode = mount.recursiveReadOnly ?? 'Disabled';
  const alone = (mount.mountPropagation ?? 'None') === 'None' && mount.readOnly === true;
  if (mode === 'Enabled' && !(supported && alone)) {
    throw new ContainerConfigError(
      `volume "${mount.name}" requested recursive read-only mode, but it is not supported by the runtime`,
    );
  }
  if (!supported) return undefined;
  return mode !== 'Disabled' && alone ? 'always' : 'never';
}

/** From this API (Docker 25) and this kernel on mounts can be made read-only as a whole. */
export function canRecursiveReadOnly(apiVersion: string, kernel: string): boolean {
  return atLeast(apiVersion, 1, 44) && atLeast(kernel, 5, 12);
}

function atLeast(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return first > major || (first === major && second >= minor);
}
