// ServiceAccount: every pod acts as one, and finds its token where client libraries look for it.
import { forbidden, type StatusError } from '../../api/errors.ts';
import type { Json, JsonObject } from '../../api/object.ts';
import { ensureObject, listAt, objectAt, stringAt } from '../../api/validation.ts';
import { nameSuffix, type Random } from '../../lib/random.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from './port.ts';

const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
const MIRROR = 'kubernetes.io/config.mirror';
/** A little over an hour, so that a token is renewed within the hour (kubelet renews at 80 %). */
const TOKEN_SECONDS = 3607;

export function serviceAccount(options: { store: Store; random: Random }): AdmissionPlugin {
  return {
    name: 'ServiceAccount',
    admit: (request) => {
      if (request.bucket !== 'pods' || request.operation !== 'CREATE' || !request.object) return;
      if (request.target.subresource !== undefined) return;
      admitPod(options, request, request.object);
    },
  };
}

function admitPod(
  { store, random }: { store: Store; random: Random },
  request: AdmissionRequest,
  pod: JsonObject,
): void {
  const metadata = objectAt(pod, 'metadata');
  const spec = ensureObject(pod, 'spec');
  if (objectAt(metadata, 'annotations')[MIRROR] !== undefined) {
    refuseMirrorExtras(request, metadata, spec);
    return;
  }
  const name = stringAt(spec, 'serviceAccountName') || 'default';
  spec.serviceAccountName = name;
  spec.serviceAccount = name;
  const account = store.head('serviceaccounts', `${request.target.namespace}/${name}`)?.object;
  if (!account) throw unknownAccount(request, metadata, name);
  const stored = account as unknown as JsonObject;
  if (automounts(spec, stored)) mountToken(spec, random);
  const secrets = listAt(stored, 'imagePullSecrets');
  if (listAt(spec, 'imagePullSecrets').length === 0 && secrets.length > 0) {
    spec.imagePullSecrets = secrets.map((secret) => ({ name: stringAt(secret, 'name') }));
  }
}

function unknownAccount(request: AdmissionRequest, metadata: JsonObject, name: string): StatusError {
  const { namespace, info } = request.target;
  const pod = stringAt(metadata, 'name') || stringAt(metadata, 'generateName');
  return forbidden(
    info,
    pod,
    `error looking up service account ${namespace}/${name}: serviceaccount ${JSON.stringify(name)} not found`,
  );
}

/** The copy of a static pod must not reach for anything of the API. */
function refuseMirrorExtras(request: AdmissionRequest, metadata: JsonObject, spec: JsonObject): void {
  const refuse = (why: string): StatusError =>
    forbidden(request.target.info, stringAt(metadata, 'name'), why);
  if (stringAt(spec, 'serviceAccountName') !== '') {
    throw refuse('a mirror pod may not reference service accounts');
  }
  for (const volume of listAt(spec, 'volumes')) {
    if (volume.secret !== undefined) throw refuse('a mirror pod may not reference secrets');
  }
}

/** The pod's word counts more than its account's. */
function automounts(spec: JsonObject, account: JsonObject): boolean {
  const wish = spec.automountServiceAccountToken ?? account.automountServiceAccountToken;
  return wish !== false;
}

function mountToken(spec: JsonObject, random: Random): void {
  const containers = [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')];
  const wanting = containers.filter(
    (container) => !listAt(container, 'volumeMounts').some(({ mountPath }) => mountPath === MOUNT_PATH),
  );
  if (wanting.length === 0) return;
  const existing = listAt(spec, 'volumes').find((volume) =>
    stringAt(volume, 'name').startsWith('kube-api-access-'),
  );
  const name = existing ? stringAt(existing, 'name') : `kube-api-access-${nameSuffix(random)}`;
  for (const container of wanting) {
    container.volumeMounts = [
      ...listAt(container, 'volumeMounts'),
      { name, readOnly: true, mountPath: MOUNT_PATH },
    ];
  }
  if (!existing) spec.volumes = [...listAt(spec, 'volumes'), tokenVolume(name)];
}

function tokenVolume(name: string): JsonObject {
  const sources: Json[] = [
    { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: 'token' } },
    { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    {
      downwardAPI: {
        items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
      },
    },
  ];
  return { name, projected: { sources, defaultMode: 420 } };
}
