import { chmod, mkdir, stat } from 'node:fs/promises';
import { localPathDirectory } from '../../api/local-path.ts';
import type {
  HostPathVolumeSource,
  NFSVolumeSource,
  PersistentVolume,
  Pod,
  Volume,
} from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';
import { prepareHostPath } from './host-path.ts';
import { applyFsGroup } from './ownership.ts';
import { VolumeError } from './port.ts';

/** What a volume of a pod really is on this node. */
export type Source =
  | { kind: 'hostPath'; hostPath: HostPathVolumeSource; path: string; made: boolean }
  | { kind: 'local'; path: string; made: boolean }
  | { kind: 'block'; path: string }
  | { kind: 'nfs'; nfs: NFSVolumeSource; options: readonly string[] };

/** The claim that the pod's volume stands for; undefined for other volumes. */
export function claimOf(pod: Pod, volume: Volume): string | undefined {
  if (volume.persistentVolumeClaim) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral ? `${identity(pod).name}-${volume.name}` : undefined;
}

/** The volume that is bound to a claim, among those that the server has told of. */
export function boundVolume(
  volumes: readonly PersistentVolume[],
  namespace: string,
  claim: string,
): PersistentVolume | undefined {
  return volumes.find(({ spec, status }) => {
    const owner = spec?.claimRef;
    return owner?.namespace === namespace && owner.name === claim && status?.phase !== 'Released';
  });
}

/** Throws VolumeError for what this node cannot offer. */
export function sourceOf(volume: string, persistent: PersistentVolume): Source {
  const { spec = {} } = persistent;
  if (spec.volumeMode === 'Block') {
    // The device is the volume: only one that is named as such, and that is not the node's by accident.
    if (spec.local) return { kind: 'block', path: spec.local.path };
    throw new VolumeError(volume, 'volumeMode Block is supported for local volumes only');
  }
  const made = localPathDirectory(persistent) !== undefined;
  if (spec.hostPath) {
    return { kind: 'hostPath', hostPath: spec.hostPath, path: spec.hostPath.path, made };
  }
  if (spec.local) return { kind: 'local', path: spec.local.path, made };
  if (spec.nfs) return { kind: 'nfs', nfs: spec.nfs, options: spec.mountOptions ?? [] };
  const type = Object.keys(spec).find((key) => !NOT_SOURCES.has(key)) ?? 'unknown';
  throw new VolumeError(volume, `persistent volume source ${type} is not supported on this node`);
}

const NOT_SOURCES = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
]);

/** Makes or checks a directory on this node; NFS is mounted by its own. */
export async function prepareDirectory(
  volume: string,
  source: Exclude<Source, { kind: 'nfs' }>,
  pod: Pod,
): Promise<void> {
  const { path } = source;
  if (source.kind === 'block') {
    const device = await stat(path).catch(() => undefined);
    if (!device?.isBlockDevice()) throw new VolumeError(volume, `${path} is not a block device`);
    return;
  }
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  if (source.made && !exists) {
    await mkdir(path, { recursive: true });
    // Whoever the container runs as has to be able to write: as the local-path provisioner does it.
    await chmod(path, 0o777);
  } else if (source.kind === 'hostPath') {
    await prepareHostPath(volume, source.hostPath);
  } else if (!exists) {
    throw new VolumeError(volume, `path "${path}" does not exist`);
  }
  // hostPath never changes owners, in Kubernetes neither.
  if (source.kind === 'local') await applyFsGroup(path, pod.spec?.securityContext);
}
