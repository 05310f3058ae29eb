import type { Container, VolumeMountStatus } from '../../api/types/core-v1.ts';
import { readOnlyBelow } from '../volumes/read-only.ts';

/** What a status tells of a container's mounts. `recursive`: can the engine make all that is below read-only? */
export function volumeMountStatuses(
  { volumeMounts = [] }: Container,
  recursive: boolean,
): VolumeMountStatus[] {
  return volumeMounts.map((mount) => {
    const { name, mountPath, readOnly } = mount;
    if (!readOnly) return { name, mountPath };
    return { name, mountPath, readOnly, recursiveReadOnly: isRecursive(mount, recursive) };
  });
}

function isRecursive(...[mount, supported]: Parameters<typeof readOnlyBelow>): 'Enabled' | 'Disabled' {
  try {
    return readOnlyBelow(mount, supported) === 'always' ? 'Enabled' : 'Disabled';
  } catch {
    // Asked for and not to be had: the container is never made.
    return 'Disabled';
  }
}
