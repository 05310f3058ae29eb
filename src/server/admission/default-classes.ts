// DefaultStorageClass and DefaultIngressClass: who names no class gets the one marked as default.
import type { JsonObject } from '../../api/object.ts';
import { ensureObject, objectAt, stringAt } from '../../api/validation.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin } from './port.ts';

const STORAGE_DEFAULT = [
  'storageclass.kubernetes.io/is-default-class',
  'storageclass.beta.kubernetes.io/is-default-class',
];
const INGRESS_DEFAULT = ['ingressclass.kubernetes.io/is-default-class'];
const INGRESS_CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

function marked(store: Store, bucket: string, annotations: readonly string[]): JsonObject[] {
  return store
    .heads(bucket)
    .map(({ object }) => object as unknown as JsonObject)
    .filter((object) => {
      const given = objectAt(objectAt(object, 'metadata'), 'annotations');
      return annotations.some((name) => given[name] === 'true');
    });
}

const nameOf = (object: JsonObject | undefined): string => stringAt(objectAt(object, 'metadata'), 'name');
const bornAt = (object: JsonObject): string => stringAt(objectAt(object, 'metadata'), 'creationTimestamp');

export function defaultStorageClass(store: Store): AdmissionPlugin {
  return {
    name: 'DefaultStorageClass',
    admit: ({ bucket, operation, target, object }) => {
      if (bucket !== 'persistentvolumeclaims' || operation !== 'CREATE' || !object) return;
      if (target.subresource !== undefined) return;
      const spec = ensureObject(object, 'spec');
      const annotations = objectAt(objectAt(object, 'metadata'), 'annotations');
      if (spec.storageClassName !== undefined) return;
      if (annotations['volume.beta.kubernetes.io/storage-class'] !== undefined) return;
      // The newest one wins, then the name, as in Kubernetes since 1.26.
      const [chosen] = marked(store, 'storageclasses.storage.k8s.io', STORAGE_DEFAULT).sort(
        (left, right) =>
          bornAt(right).localeCompare(bornAt(left)) || nameOf(left).localeCompare(nameOf(right)),
      );
      if (chosen) spec.storageClassName = nameOf(chosen);
    },
  };
}

export function defaultIngressClass(store: Store): AdmissionPlugin {
  return {
    name: 'DefaultIngressClass',
    admit: ({ bucket, operation, target, object }) => {
      if (bucket !== 'ingresses.networking.k8s.io' || operation !== 'CREATE' || !object) return;
      if (target.subresource !== undefined) return;
      const spec = ensureObject(object, 'spec');
      const annotations = objectAt(objectAt(object, 'metadata'), 'annotations');
      if (spec.ingressClassName !== undefined || annotations[INGRESS_CLASS_ANNOTATION] !== undefined) return;
      const candidates = marked(store, 'ingressclasses.networking.k8s.io', INGRESS_DEFAULT);
      const [chosen] = candidates.sort(
        (left, right) =>
          bornAt(right).localeCompare(bornAt(left)) || nameOf(left).localeCompare(nameOf(right)),
      );
      if (chosen) spec.ingressClassName = nameOf(chosen);
    },
  };
}
