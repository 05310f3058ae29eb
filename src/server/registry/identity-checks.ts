// Who a body says it is has to be who the URL says.
import { badRequest, conflict, StatusError } from '../../api/errors.ts';
import { type JsonObject, objectKey } from '../../api/object.ts';
import { stringAt } from '../../api/validation.ts';
import type { Target } from './port.ts';

/** Name and namespace of a body have to be those of the URL. */
export function checkIdentity(target: Target, metadata: JsonObject, nameMayBeAbsent: boolean): void {
  const name = stringAt(metadata, 'name');
  if (name === '' && !nameMayBeAbsent) {
    throw badRequest(
      `the name of the object (${target.name} based on URL) was undeterminable: name must be provided`,
    );
  }
  if (name !== '' && name !== target.name) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${target.name})`);
  }
  const namespace = stringAt(metadata, 'namespace');
  if (target.info.namespaced && namespace !== '' && namespace !== target.namespace) {
    throw badRequest(
      `the namespace of the object (${namespace}) does not match the namespace on the request (${target.namespace})`,
    );
  }
  metadata.name = target.name;
  if (target.info.namespaced) metadata.namespace = target.namespace;
}

/** A PUT with a uid means that very object, not one of the same name, nor one yet to be made (`current` is empty). */
export function checkUid(target: Target, given: JsonObject, current: JsonObject): void {
  const uid = stringAt(given, 'uid');
  if (uid === '' || uid === current.uid) return;
  throw conflict(
    target.info,
    target.name ?? '',
    `StorageError: invalid object, Code: 4, Key: ${etcdKey(target)}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.uid ?? ''}`,
  );
}

/** The version that a body says it was made from; "0" and none are the same: whatever it is now. */
export function lockOf(metadata: JsonObject): string {
  const version = stringAt(metadata, 'resourceVersion');
  return version === '0' ? '' : version;
}

/** Where Kubernetes would keep what we have under another key: it stands in a message that clients may know. */
function etcdKey({ info, namespace, name = '' }: Target): string {
  const grouped = info.custom || OWN_GROUPS.has(info.group);
  const folder = grouped ? `${info.group}/${info.resource}` : (FOLDERS[info.resource] ?? info.resource);
  return `/registry/${folder}/${objectKey(namespace, name)}`;
}

const OWN_GROUPS = new Set(['apiextensions.k8s.io', 'apiregistration.k8s.io']);
const FOLDERS: Readonly<Record<string, string>> = {
  endpoints: 'services/endpoints',
  ingresses: 'ingress',
  nodes: 'minions',
  replicationcontrollers: 'controllers',
  services: 'services/specs',
};

export function notServed(): StatusError {
  return new StatusError('NotFound', 404, 'the server could not find the requested resource', {});
}
