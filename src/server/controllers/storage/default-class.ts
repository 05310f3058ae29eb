import { LOCAL_PATH_CLASS, LOCAL_PATH_PROVISIONER } from '../../../api/local-path.ts';
import type { JsonObject } from '../../../api/object.ts';
import type { StorageClass } from '../../../api/types/storage-v1.ts';

const IS_DEFAULT = 'storageclass.kubernetes.io/is-default-class';
const BETA_IS_DEFAULT = 'storageclass.beta.kubernetes.io/is-default-class';

/** The class of claims that name none: a directory on the node where the claim's first pod is placed. */
export const LOCAL_PATH_STORAGE_CLASS: JsonObject = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: {
    name: LOCAL_PATH_CLASS,
    annotations: { [IS_DEFAULT]: 'true' },
  },
  provisioner: LOCAL_PATH_PROVISIONER,
  reclaimPolicy: 'Delete',
  volumeBindingMode: 'WaitForFirstConsumer',
  // A directory has no size to exhaust.
  allowVolumeExpansion: true,
};

/** The newest of those that are marked as default, then the first by name. */
export function defaultClass(classes: readonly StorageClass[]): string | undefined {
  const marked = classes.filter(
    ({ metadata: { annotations = {} } }) =>
      annotations[IS_DEFAULT] === 'true' || annotations[BETA_IS_DEFAULT] === 'true',
  );
  const born = ({ metadata }: StorageClass): string => metadata.creationTimestamp ?? '';
  const name = ({ metadata }: StorageClass): string => metadata.name ?? '';
  return marked
    .sort((left, right) => born(right).localeCompare(born(left)) || name(left).localeCompare(name(right)))
    .map(name)[0];
}
