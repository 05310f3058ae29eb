import type {
  ConfigMap,
  DownwardAPIVolumeFile,
  KeyToPath,
  Pod,
  Secret,
  Volume,
  VolumeProjection,
} from '../../api/types/core-v1.ts';
import { type FieldContext, fieldValue, resourceValue } from '../containers/fields.ts';
import { containersOf, identity } from '../names.ts';
import type { DesiredState, TokenSource } from '../ports.ts';
import type { Payload } from './atomic-writer.ts';
import { VolumeError } from './port.ts';

const DEFAULT_MODE = 0o644;
const DEFAULT_TOKEN_SECONDS = 3600;
/** Every namespace has it in Kubernetes; the agent knows its content anyway. */
const ROOT_CA_CONFIG_MAP = 'kube-root-ca.crt';

export interface ContentContext {
  config: Pick<DesiredState, 'configMap' | 'secret'>;
  fields: FieldContext;
  tokens: TokenSource;
  /** A token could not be had (no server in reach); the pod starts without it and gets it later. */
  onTokenMissing: (pod: Pod, error: unknown) => void;
}

/** Volumes whose content is written by the agent. */
export function hasContent(volume: Volume): boolean {
  return Boolean(volume.configMap || volume.secret || volume.downwardAPI || volume.projected);
}

/** Everything that the volume shall hold. Throws VolumeError where something required is missing. */
export async function volumeContent(pod: Pod, volume: Volume, context: ContentContext): Promise<Payload> {
  const payload: Payload = new Map();
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) {
    addConfigMap(payload, pod, volume.name, configMap, configMap.defaultMode ?? DEFAULT_MODE, context);
  } else if (secret) {
    const { secretName, ...rest } = secret;
    const source = { ...rest, ...(secretName ? { name: secretName } : {}) };
    addSecret(payload, pod, volume.name, source, secret.defaultMode ?? DEFAULT_MODE, context);
  } else if (downwardAPI) {
    addFields(
      payload,
      pod,
      volume.name,
      downwardAPI.items ?? [],
      downwardAPI.defaultMode ?? DEFAULT_MODE,
      context,
    );
  } else {
    const mode = projected?.defaultMode ?? DEFAULT_MODE;
    for (const source of projected?.sources ?? []) {
      await addProjection(payload, pod, volume.name, source, mode, context);
    }
  }
  return payload;
}

async function addProjection(
  payload: Payload,
  pod: Pod,
  volume: string,
  source: VolumeProjection,
  mode: number,
  context: ContentContext,
): Promise<void> {
  if (source.configMap) addConfigMap(payload, pod, volume, source.configMap, mode, context);
  if (source.secret) addSecret(payload, pod, volume, source.secret, mode, context);
  if (source.downwardAPI) addFields(payload, pod, volume, source.downwardAPI.items ?? [], mode, context);
  if (source.clusterTrustBundle) {
    throw new VolumeError(volume, 'clusterTrustBundle projections are not supported on this node');
  }
  if (source.podCertificate) {
    throw new VolumeError(volume, 'podCertificate projections are not supported on this node');
  }
  if (source.serviceAccountToken) {
    const { audience, expirationSeconds, path } = source.serviceAccountToken;
    const { namespace, name, uid } = identity(pod);
    try {
      const token = await context.tokens.token({
        namespace,
        serviceAccount: pod.spec?.serviceAccountName ?? 'default',
        podName: name,
        podUid: uid,
        audiences: audience ? [audience] : [],
        expirationSeconds: expirationSeconds ?? DEFAULT_TOKEN_SECONDS,
      });
      const user = commonUser(pod);
      // Only its reader may see it, when the reader is known.
      const guarded = user !== undefined || pod.spec?.securityContext?.fsGroup !== undefined;
      payload.set(clean(volume, path), {
        data: Buffer.from(token),
        mode: guarded ? 0o600 : mode,
        ...(user === undefined ? {} : { uid: user }),
      });
    } catch (error) {
      context.onTokenMissing(pod, error);
    }
  }
}

type KeyedSource = { name?: string; items?: KeyToPath[]; optional?: boolean };

function addConfigMap(
  payload: Payload,
  pod: Pod,
  volume: string,
  source: KeyedSource,
  mode: number,
  { config, tokens }: ContentContext,
): void {
  const name = source.name ?? '';
  const object = config.configMap(identity(pod).namespace, name) ?? rootCa(name, tokens);
  if (!object && !source.optional) throw new VolumeError(volume, `configmap "${name}" not found`);
  const data = new Map<string, Buffer>();
  for (const [key, value] of Object.entries(object?.data ?? {})) data.set(key, Buffer.from(value));
  for (const [key, value] of Object.entries(object?.binaryData ?? {}))
    data.set(key, Buffer.from(value, 'base64'));
  addKeys(payload, volume, data, source, mode, 'config');
}

function addSecret(
  payload: Payload,
  pod: Pod,
  volume: string,
  source: KeyedSource,
  mode: number,
  { config }: ContentContext,
): void {
  const name = source.name ?? '';
  const object: Secret | undefined = config.secret(identity(pod).namespace, name);
  if (!object && !source.optional) throw new VolumeError(volume, `secret "${name}" not found`);
  const data = new Map<string, Buffer>();
  for (const [key, value] of Object.entries(object?.data ?? {})) data.set(key, Buffer.from(value, 'base64'));
  addKeys(payload, volume, data, source, mode, 'secret');
}

function addKeys(
  payload: Payload,
  volume: string,
  data: Map<string, Buffer>,
  source: KeyedSource,
  mode: number,
  what: 'config' | 'secret',
): void {
  if (!source.items) {
    for (const [key, value] of data) payload.set(clean(volume, key), { data: value, mode });
    return;
  }
  for (const item of source.items) {
    const value = data.get(item.key);
    if (value === undefined) {
      if (source.optional) continue;
      throw new VolumeError(volume, `references non-existent ${what} key: ${item.key}`);
    }
    payload.set(clean(volume, item.path), { data: value, mode: item.mode ?? mode });
  }
}

function addFields(
  payload: Payload,
  pod: Pod,
  volume: string,
  items: readonly DownwardAPIVolumeFile[],
  mode: number,
  { fields }: ContentContext,
): void {
  for (const item of items) {
    const value = item.fieldRef
      ? fieldValue(pod, item.fieldRef.fieldPath, fields)
      : item.resourceFieldRef
        ? resourceValue(pod, undefined, item.resourceFieldRef, fields)
        : '';
    payload.set(clean(volume, item.path), { data: Buffer.from(value), mode: item.mode ?? mode });
  }
}

function rootCa(name: string, tokens: TokenSource): Pick<ConfigMap, 'data' | 'binaryData'> | undefined {
  return name === ROOT_CA_CONFIG_MAP ? { data: { 'ca.crt': tokens.ca } } : undefined;
}

/** The API server has validated paths; here the agent writes as root, so they are checked once more. */
function clean(volume: string, path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.length === 0 || parts[0]?.startsWith('..') || parts.includes('..')) {
    throw new VolumeError(volume, `invalid path "${path}"`);
  }
  return parts.join('/');
}

/** The user that all containers run as, if it is one and the same. */
function commonUser(pod: Pod): number | undefined {
  const users = new Set(
    containersOf(pod)
      .filter(({ role }) => role !== 'ephemeral')
      .map(({ container }) => container.securityContext?.runAsUser ?? pod.spec?.securityContext?.runAsUser),
  );
  return users.size === 1 ? [...users][0] : undefined;
}
