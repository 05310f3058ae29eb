// StorageObjectInUseProtection: finalizers that keep volumes and claims while something uses them.
import type { JsonObject } from '../../api/object.ts';
import { objectAt, stringsAt } from '../../api/validation.ts';
import type { AdmissionPlugin } from './port.ts';

const FINALIZERS: Readonly<Record<string, string>> = {
  persistentvolumes: 'kubernetes.io/pv-protection',
  persistentvolumeclaims: 'kubernetes.io/pvc-protection',
  'volumeattributesclasses.storage.k8s.io': 'kubernetes.io/vac-protection',
};

export function storageProtection(): AdmissionPlugin {
  return {
    name: 'StorageObjectInUseProtection',
    admit: ({ bucket, operation, target, object }) => {
      if (operation !== 'CREATE' || target.subresource !== undefined || !object) return;
      const finalizer = Object.hasOwn(FINALIZERS, bucket) ? FINALIZERS[bucket] : undefined;
      if (finalizer === undefined) return;
      const metadata: JsonObject = objectAt(object, 'metadata');
      const existing = stringsAt(metadata, 'finalizers');
      if (!existing.includes(finalizer)) metadata.finalizers = [...existing, finalizer];
      object.metadata = metadata;
    },
  };
}
