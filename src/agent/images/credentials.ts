import type { Pod, Secret } from '../../api/types/core-v1.ts';
import { identity } from '../names.ts';
import type { DesiredState } from '../ports.ts';
import type { RegistryAuth } from '../runtime.ts';
import type { ImageReference } from './reference.ts';

interface AuthEntry {
  auth?: string;
  username?: string;
  password?: string;
}

/**
 * The credentials of the pod's imagePullSecrets for this image's registry, the most exact match first. A secret that
 * does not exist is passed over, as the kubelet does.
 */
export function pullCredentials(
  pod: Pod,
  image: ImageReference,
  desired: Pick<DesiredState, 'secret'>,
): RegistryAuth[] {
  const { namespace } = identity(pod);
  const found: (RegistryAuth & { exactness: number })[] = [];
  for (const { name = '' } of pod.spec?.imagePullSecrets ?? []) {
    const secret = desired.secret(namespace, name);
    for (const [server, entry] of Object.entries(secret ? authEntries(secret) : {})) {
      const exactness = match(server, image);
      const account = exactness === undefined ? undefined : accountOf(entry);
      if (exactness !== undefined && account) found.push({ ...account, serverAddress: server, exactness });
    }
  }
  return found
    .sort((left, right) => right.exactness - left.exactness)
    .map(({ exactness: _, ...auth }) => auth);
}

function authEntries(secret: Secret): Record<string, AuthEntry> {
  const json = secret.data?.['.dockerconfigjson'];
  const legacy = secret.data?.['.dockercfg'];
  try {
    if (json) return (JSON.parse(decode(json)) as { auths?: Record<string, AuthEntry> }).auths ?? {};
    if (legacy) return JSON.parse(decode(legacy)) as Record<string, AuthEntry>;
  } catch {
    // Not JSON: no credentials in it.
  }
  return {};
}

function accountOf(entry: AuthEntry): { username: string; password: string } | undefined {
  if (entry.username !== undefined && entry.password !== undefined) {
    return { username: entry.username, password: entry.password };
  }
  if (!entry.auth) return undefined;
  const text = decode(entry.auth);
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The length of the match of `https://registry/path` (with `*` in host names) on the image, or undefined. */
function match(server: string, image: ImageReference): number | undefined {
  const [host = '', ...path] = server
    .replace(/^https?:\/\//, '')
    .replace(/\/$/, '')
    .split('/');
  const own =
    image.registry === 'docker.io'
      ? ['docker.io', 'index.docker.io', 'registry-1.docker.io']
      : [image.registry];
  const pattern = new RegExp(`^${host.split('*').map(literal).join('[^.]*')}$`);
  if (!own.some((name) => pattern.test(name))) return undefined;
  // The API version that Docker's own file ends its keys with is no path.
  const prefix = path.join('/').replace(/^v[12]\/?$/, '');
  return image.repository.startsWith(prefix) ? prefix.length : undefined;
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
