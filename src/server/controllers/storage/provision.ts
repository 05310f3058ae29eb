// The decisions of the local-path provisioner, as data.
import { LOCAL_PATH_PROVISIONER, PROVISIONED_BY, VOLUME_NODE } from '../../../api/local-path.ts';
import type { Node, PersistentVolume, PersistentVolumeClaim } from '../../../api/types/core-v1.ts';
import type { StorageClass } from '../../../api/types/storage-v1.ts';
import type { NewObject } from '../../../client/port.ts';
import { classOf, PROVISIONER_FINALIZER } from './names.ts';

/** On a Node: where its volumes lie, in place of the class's `nodePath` and the server's own. */
const NODE_DIRECTORY = 'copepod.io/local-path-directory';
/** On a claim, or as `defaultVolumeType` in the class's parameters: `hostPath` or `local`. */
const VOLUME_TYPE = 'volumeType';
const PARAMETERS = new Set(['nodePath', 'defaultVolumeType']);
const MODES = new Set(['ReadWriteOnce', 'ReadWriteOncePod']);

export type Provision = { volume: NewObject<PersistentVolume> } | { failure: string; reschedule?: true };

export const volumeName = ({ metadata }: PersistentVolumeClaim): string => `pvc-${metadata.uid}`;

/** The volume for a claim whose pod goes to `node`, in the class's, the node's or the default directory. */
export function provision(options: {
  claim: PersistentVolumeClaim;
  storageClass: StorageClass;
  node: Node | undefined;
  /** Name of the node that the scheduler chose. */
  selected: string | undefined;
  directory: string;
}): Provision {
  const { claim, storageClass, node, selected } = options;
  const { parameters = {}, mountOptions = [] } = storageClass;
  const { metadata, spec } = claim;
  const unknown = Object.keys(parameters).find((name) => !PARAMETERS.has(name));
  if (unknown !== undefined) return { failure: `unknown parameter "${unknown}" in the storage class` };
  if (mountOptions.length > 0) return { failure: 'mountOptions are not supported' };
  if (spec?.selector) return { failure: 'claim.Spec.Selector is not supported' };
  if (spec?.dataSourceRef ?? spec?.dataSource) return { failure: 'data sources are not supported' };
  if (spec?.volumeMode === 'Block') return { failure: 'block volumes are not supported' };
  if (!(spec?.accessModes ?? []).every((mode) => MODES.has(mode))) {
    return { failure: 'NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes' };
  }
  if (selected === undefined) return { failure: 'configuration error, no node was specified' };
  if (!node) return { failure: `node "${selected}" not found`, reschedule: true };
  const type = metadata.annotations?.[VOLUME_TYPE] ?? parameters.defaultVolumeType ?? 'hostPath';
  if (type !== 'hostPath' && type !== 'local')
    return { failure: `"${type}" is not a recognised volume type` };
  const base = node.metadata.annotations?.[NODE_DIRECTORY] ?? parameters.nodePath ?? options.directory;
  if (!base.startsWith('/') || base.split('/').includes('..')) {
    return { failure: `the directory "${base}" is not an absolute path` };
  }
  const name = volumeName(claim);
  const path = `${base.replace(/\/+$/, '')}/${name}_${metadata.namespace}_${metadata.name}`;
  const hostname = node.metadata.labels?.['kubernetes.io/hostname'] ?? selected;
  return {
    volume: {
      metadata: {
        name,
        annotations: { [PROVISIONED_BY]: LOCAL_PATH_PROVISIONER, [VOLUME_NODE]: selected },
        finalizers: [PROVISIONER_FINALIZER],
      },
      spec: {
        accessModes: spec?.accessModes ?? [],
        capacity: { storage: String(spec?.resources?.requests?.storage ?? '0') },
        claimRef: {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          namespace: metadata.namespace ?? '',
          name: metadata.name ?? '',
          uid: metadata.uid ?? '',
          resourceVersion: metadata.resourceVersion ?? '',
        },
        ...(type === 'local' ? { local: { path } } : { hostPath: { path, type: 'DirectoryOrCreate' } }),
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [hostname] }] },
            ],
          },
        },
        persistentVolumeReclaimPolicy:
          (storageClass.reclaimPolicy as 'Delete' | 'Retain' | undefined) ?? 'Delete',
        storageClassName: classOf(claim),
        volumeMode: 'Filesystem',
      },
    },
  };
}
