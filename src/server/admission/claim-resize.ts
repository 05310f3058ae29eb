// PersistentVolumeClaimResize: only claims whose class allows it may grow.
import { forbidden } from '../../api/errors.ts';
import { type JsonObject, objectKey } from '../../api/object.ts';
import { compareQuantities, quantityOf } from '../../api/quantity.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin } from './port.ts';

export function claimResize(store: Store): AdmissionPlugin {
  const requested = (object: JsonObject): unknown =>
    objectAt(objectAt(objectAt(object, 'spec'), 'resources'), 'requests').storage;
  return {
    name: 'PersistentVolumeClaimResize',
    validate: ({ bucket, operation, target, object, old }) => {
      if (bucket !== 'persistentvolumeclaims' || operation !== 'UPDATE' || !object || !old) return;
      if (target.subresource !== undefined) return;
      const next = requested(object);
      const before = requested(old);
      if (next === undefined || before === undefined) return;
      if (compareQuantities(quantityOf(next), quantityOf(before)) <= 0) return;
      const refuse = (why: string): Error => forbidden(target.info, target.name ?? '', why);
      if (stringAt(objectAt(old, 'status'), 'phase') !== 'Bound') {
        throw refuse('Only bound persistent volume claims can be expanded');
      }
      const name = stringAt(objectAt(old, 'spec'), 'storageClassName');
      const found = store.head('storageclasses.storage.k8s.io', objectKey(undefined, name))?.object as
        | JsonObject
        | undefined;
      if (found?.allowVolumeExpansion !== true) {
        throw refuse(
          'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
        );
      }
    },
  };
}
