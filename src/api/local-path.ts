// What the local-path provisioner, the publisher and the agents agree on.
import type { PersistentVolume } from './types/core-v1.ts';

export const LOCAL_PATH_CLASS = 'local-path';
export const LOCAL_PATH_PROVISIONER = 'copepod.io/local-path';
export const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';
/** On a volume of the provisioner: the node that its directory is on. */
export const VOLUME_NODE = 'copepod.io/volume-node';
/** On a volume of the provisioner: its node has removed the directory. */
export const DIRECTORY_REMOVED = 'copepod.io/directory-removed';

export function isLocalPath({ metadata }: PersistentVolume): boolean {
  return metadata.annotations?.[PROVISIONED_BY] === LOCAL_PATH_PROVISIONER;
}

/** The node that shall remove the volume's directory now; undefined while it is in use, kept, or gone already. */
export function removalNode(volume: PersistentVolume): string | undefined {
  const { metadata, spec, status } = volume;
  if (!isLocalPath(volume) || status?.phase !== 'Released') return undefined;
  if (spec?.persistentVolumeReclaimPolicy !== 'Delete') return undefined;
  if (metadata.annotations?.[DIRECTORY_REMOVED] !== undefined) return undefined;
  return metadata.annotations?.[VOLUME_NODE];
}

/** The directory, when it is one that the provisioner named: nothing else is ever removed. */
export function localPathDirectory(volume: PersistentVolume): string | undefined {
  const path = volume.spec?.local?.path ?? volume.spec?.hostPath?.path;
  const { name = '' } = volume.metadata;
  if (!isLocalPath(volume) || path === undefined || name === '') return undefined;
  const parts = path.split('/');
  if (
    parts[0] !== '' ||
    parts.length < 3 ||
    parts.slice(1).some((part) => part === '' || /^\.\.?$/.test(part))
  )
    return undefined;
  return parts.at(-1)?.startsWith(`${name}_`) ? path : undefined;
}
