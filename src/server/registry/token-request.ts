// serviceaccounts/token: a bound token for a service account.
import { badRequest, conflict, type FieldError, internalError, invalid, notFound } from '../../api/errors.ts';
import { type JsonObject, type KubeObject, objectKey } from '../../api/object.ts';
import { asObject, invalidValue, numberAt, objectAt, stringAt, stringsAt } from '../../api/validation.ts';
import { timestamp } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import type { Store } from '../store/port.ts';
import type { TokenIssuer } from './ports.ts';

const SHORTEST_SECONDS = 600;
const DEFAULT_SECONDS = 3600;

/** `request` is a decoded TokenRequest. */
export async function requestToken(options: {
  store: Store;
  issuer: TokenIssuer | undefined;
  random: Random;
  namespace: string;
  name: string;
  request: JsonObject;
  now: number;
}): Promise<KubeObject> {
  const { store, issuer, namespace, name, request } = options;
  const account = store.head('serviceaccounts', objectKey(namespace, name))?.object;
  if (!account) throw notFound({ group: '', resource: 'serviceaccounts' }, name);
  const spec = objectAt(request, 'spec');
  const expirationSeconds = numberAt(spec, 'expirationSeconds') ?? DEFAULT_SECONDS;
  const errors = validate(expirationSeconds);
  if (errors.length > 0) {
    throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, '', errors);
  }
  if (!issuer) throw internalError('this server issues no service account tokens');
  const audiences = stringsAt(spec, 'audiences');
  const boundObject = findBound(store, namespace, asObject(spec.boundObjectRef));
  const granted = audiences.length > 0 ? audiences : [...issuer.defaultAudiences];
  const issued = await issuer.issue({
    serviceAccount: account as unknown as JsonObject,
    audiences: granted,
    expirationSeconds,
    boundObject,
  });
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace, uid: options.random.uuid(), creationTimestamp: timestamp(options.now) },
    spec: { audiences: granted, expirationSeconds, boundObjectRef: spec.boundObjectRef ?? null },
    status: { ...issued },
  } as unknown as KubeObject;
}

function validate(expirationSeconds: number): FieldError[] {
  const field = 'spec.expirationSeconds';
  if (expirationSeconds < SHORTEST_SECONDS) {
    return [invalidValue(field, expirationSeconds, 'may not specify a duration less than 10 minutes')];
  }
  if (expirationSeconds > 2 ** 32) {
    return [invalidValue(field, expirationSeconds, 'may not specify a duration larger than 2^32 seconds')];
  }
  return [];
}

const BOUND_BUCKETS: Readonly<Record<string, { bucket: string; namespaced: boolean }>> = {
  'v1/Pod': { bucket: 'pods', namespaced: true },
  'v1/Secret': { bucket: 'secrets', namespaced: true },
  'v1/Node': { bucket: 'nodes', namespaced: false },
};

function findBound(
  store: Store,
  namespace: string,
  reference: JsonObject | undefined,
): { kind: string; apiVersion: string; name: string; uid: string } | undefined {
  if (!reference) return undefined;
  const kind = stringAt(reference, 'kind');
  const name = stringAt(reference, 'name');
  const type = `${stringAt(reference, 'apiVersion') || 'v1'}/${kind}`;
  const known = Object.hasOwn(BOUND_BUCKETS, type) ? BOUND_BUCKETS[type] : undefined;
  if (!known) {
    const [version, group = ''] = (stringAt(reference, 'apiVersion') || 'v1').split('/').reverse();
    throw badRequest(`cannot bind token to object of type ${group}/${version}, Kind=${kind}`);
  }
  const object = store.head(known.bucket, objectKey(known.namespaced ? namespace : undefined, name))?.object;
  if (!object) throw notFound({ group: '', resource: known.bucket }, name);
  const uid = object.metadata.uid ?? '';
  const asked = stringAt(reference, 'uid');
  if (asked !== '' && asked !== uid) {
    throw conflict(
      { group: '', resource: kind },
      name,
      `the UID in the bound object reference (${asked}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  return { kind, apiVersion: 'v1', name, uid };
}
