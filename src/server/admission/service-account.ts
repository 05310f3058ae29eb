// ServiceAccount: every pod acts as one, and finds its token where client libraries look for it.
import { forbidden, type StatusError } from '../../api/errors.ts';
import type { Json, JsonObject } from '../../api/object.ts';
import { ensureObject, listAt, objectAt, stringAt } from '../../api/validation.ts';
import { nameSuffix, type Random } from '../../lib/random.ts';
import type { Store } from '../store/port.ts';
import type { AdmissionPlugin, AdmissionRequest } from './port.ts';
import { refuse as refusal } from './refusal.ts';

const MOUNT_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';
const MIRROR = 'kubernetes.io/config.mirror';
const ENFORCE_MOUNTABLE = 'kubernetes.io/enforce-mountable-secrets';
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
    validate: (request) => {
      if (request.bucket !== 'pods' || !request.object) return;
      const { operation, target } = request;
      const made = operation === 'CREATE' && target.subresource === undefined;
      const extended = operation === 'UPDATE' && target.subresource === 'ephemeralcontainers';
      if (made || extended) checkSecrets(options.store, request, request.object);
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
  if (secretUses(spec).length > 0) throw refuse('a mirror pod may not reference secrets');
  for (const volume of listAt(spec, 'volumes')) {
    const sources = listAt(objectAt(volume, 'projected'), 'sources');
    if (sources.some(({ serviceAccountToken }) => serviceAccountToken !== undefined)) {
      throw refuse('a mirror pod may not use ServiceAccountToken volume projections');
    }
  }
}

/** Where a pod uses a secret, as the start of a sentence. */
interface SecretUse {
  name: string;
  where: string;
}

function secretUses(spec: JsonObject): SecretUse[] {
  const uses: SecretUse[] = [];
  const add = (name: string, where: string): void => {
    if (name !== '') uses.push({ name, where });
  };
  for (const volume of listAt(spec, 'volumes')) {
    add(stringAt(objectAt(volume, 'secret'), 'secretName'), 'volume with');
    for (const source of listAt(objectAt(volume, 'projected'), 'sources')) {
      add(stringAt(objectAt(source, 'secret'), 'name'), 'volume with');
    }
  }
  for (const [field, what] of [
    ['initContainers', 'init container'],
    ['containers', 'container'],
    ['ephemeralContainers', 'ephemeral container'],
  ] as const) {
    for (const container of listAt(spec, field)) {
      const whose = `${what} ${stringAt(container, 'name')}`;
      for (const variable of listAt(container, 'env')) {
        const from = objectAt(objectAt(variable, 'valueFrom'), 'secretKeyRef');
        add(stringAt(from, 'name'), `${whose} with envVar ${stringAt(variable, 'name')} referencing`);
      }
      for (const source of listAt(container, 'envFrom')) {
        add(stringAt(objectAt(source, 'secretRef'), 'name'), `${whose} with envFrom referencing`);
      }
    }
  }
  return uses;
}

/** An account may say that its pods use no other secrets than those it lists. */
function checkSecrets(store: Store, request: AdmissionRequest, pod: JsonObject): void {
  const spec = objectAt(pod, 'spec');
  const account = store.head(
    'serviceaccounts',
    `${request.target.namespace}/${stringAt(spec, 'serviceAccountName')}`,
  )?.object;
  if (account?.metadata.annotations?.[ENFORCE_MOUNTABLE] !== 'true') return;
  const stored = account as unknown as JsonObject;
  const name = account.metadata.name ?? '';
  const namesIn = (holder: JsonObject, field: string): string[] =>
    listAt(holder, field).map((reference) => stringAt(reference, 'name'));
  const mountable = namesIn(stored, 'secrets');
  for (const use of secretUses(spec)) {
    if (mountable.includes(use.name)) continue;
    throw refusal(
      request,
      `${use.where} secret.secretName="${use.name}" is not allowed because service account ${name} does not reference that secret`,
    );
  }
  const pullable = namesIn(stored, 'imagePullSecrets');
  namesIn(spec, 'imagePullSecrets').forEach((secret, index) => {
    if (pullable.includes(secret)) return;
    throw refusal(
      request,
      `imagePullSecrets[${index}].name="${secret}" is not allowed because service account ${name} does not reference that imagePullSecret`,
    );
  });
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
