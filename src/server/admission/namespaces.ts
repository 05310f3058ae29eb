// NamespaceLifecycle: nothing is made in a namespace that does not exist or is going away.
import { forbidden, notFound, StatusError } from '../../api/errors.ts';
import { groupResource } from '../../api/resource.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from './port.ts';

/** Deleting these would take the cluster with them. */
const IMMORTAL = new Set(['default', 'kube-system', 'kube-public']);
/** Asked about one namespace, not kept in it: they may be made while it is going away. */
const ACCESS_REVIEWS = 'localsubjectaccessreviews.authorization.k8s.io';

export function namespaceLifecycle(store: Store): AdmissionPlugin {
  return {
    name: 'NamespaceLifecycle',
    admit: (request) => check(store, request),
  };
}

function check(store: Store, { operation, target, bucket, object }: AdmissionRequest): void {
  if (bucket === 'namespaces') {
    if (operation === 'DELETE' && IMMORTAL.has(target.name ?? '')) {
      throw forbidden(target.info, target.name ?? '', 'this namespace may not be deleted');
    }
    return;
  }
  if (operation !== 'CREATE' || !target.namespace || target.subresource !== undefined) return;
  if (groupResource(target.info) === ACCESS_REVIEWS) return;
  const namespace = store.head('namespaces', target.namespace)?.object;
  if (!namespace) throw notFound({ group: '', resource: 'namespaces' }, target.namespace);
  if (namespace.metadata.deletionTimestamp === undefined) return;
  const name = stringAt(objectAt(object, 'metadata'), 'name');
  const refusal = forbidden(
    target.info,
    name,
    `unable to create new content in namespace ${target.namespace} because it is being terminated`,
  );
  throw new StatusError('Forbidden', 403, refusal.status.message, {
    ...refusal.status.details,
    causes: [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${target.namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ],
  });
}
