import { createHash } from 'node:crypto';
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

/** A way to log in, and where it comes from; without `source` it is the node's own and good for all of its pods. */
export interface Credential {
  auth: RegistryAuth;
  source?: CredentialSource;
}

/** The Secret, and a digest of the credential: who has either had the same access (KEP-2535). */
export interface CredentialSource {
  namespace: string;
  name: string;
  uid: string;
  hash: string;
}

/** `auths` of Docker's own configuration file, of which Secrets carry a copy. */
export type DockerAuths = Record<string, AuthEntry>;

/** What pullers ask for credentials: those for one image name. */
export type Keyring = (image: ImageReference) => Credential[];

/** The pod's imagePullSecrets; those that are not there are named in `missing`, and passed over as the kubelet does. */
export function podKeyring(
  pod: Pod,
  desired: Pick<DesiredState, 'secret'>,
): { keyring: Keyring; missing: string[] } {
  const { namespace } = identity(pod);
  const missing: string[] = [];
  const secrets: Secret[] = [];
  for (const { name = '' } of pod.spec?.imagePullSecrets ?? []) {
    const secret = desired.secret(namespace, name);
    if (secret) secrets.push(secret);
    else missing.push(name);
  }
  const sets = secrets.map((secret) => ({ auths: authEntries(secret), secret: secret.metadata }));
  const keyring: Keyring = (image) =>
    sets
      .flatMap(({ auths, secret: { name = '', uid = '' } }) =>
        matching(auths, image).map(({ key, auth }) => ({
          key,
          auth,
          source: { namespace, name, uid, hash: credentialHash(auth) },
        })),
      )
      // The most exact key first, whichever Secret it is in; among equals the Secrets' order.
      .sort((left, right) => compareKeys(left.key, right.key))
      .map(({ key: _, ...credential }) => credential);
  return { keyring, missing };
}

/** Those of a file on the node: good for every pod. */
export function nodeKeyring(auths: DockerAuths): Keyring {
  return (image) => matching(auths, image).map(({ auth }) => ({ auth }));
}

export function credentialHash({ username, password, identityToken, serverAddress }: RegistryAuth): string {
  return createHash('sha256')
    .update(JSON.stringify([serverAddress, username, password, identityToken ?? '']))
    .digest('hex');
}

function matching(auths: DockerAuths, image: ImageReference): { key: string; auth: RegistryAuth }[] {
  const found: { key: string; auth: RegistryAuth }[] = [];
  for (const [server, entry] of Object.entries(auths)) {
    const key = registryKey(server);
    const account = matches(key, image) ? accountOf(entry) : undefined;
    if (account) found.push({ key, auth: { ...account, serverAddress: server } });
  }
  return found.sort((left, right) => compareKeys(left.key, right.key));
}

/** Backwards, as the kubelet sorts them: a longer path comes before a shorter, a wildcard after a name. */
function compareKeys(left: string, right: string): number {
  if (left === right) return 0;
  return left > right ? -1 : 1;
}

/** Of the two types that hold credentials; others are none, whatever they are called. */
function authEntries({ type, data }: Secret): DockerAuths {
  try {
    if (type === 'kubernetes.io/dockerconfigjson' && data?.['.dockerconfigjson']) {
      return authsOf((JSON.parse(decode(data['.dockerconfigjson'])) as { auths?: unknown } | null)?.auths);
    }
    if (type === 'kubernetes.io/dockercfg' && data?.['.dockercfg'])
      return authsOf(JSON.parse(decode(data['.dockercfg'])));
  } catch {
    // Not JSON: no credentials in it.
  }
  return {};
}

/** Only entries that are objects; anything else in the file is not ours to judge. */
export function authsOf(value: unknown): DockerAuths {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(([, entry]) => typeof entry === 'object' && entry !== null),
  ) as DockerAuths;
}

/** `auth` (user:password in base64) comes before the two fields, as in the kubelet. */
function accountOf({
  auth,
  username,
  password,
}: AuthEntry): { username: string; password: string } | undefined {
  if (auth) {
    const text = decode(auth).replace(/\0+$/, '');
    const colon = text.indexOf(':');
    return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  return username !== undefined && password !== undefined ? { username, password } : undefined;
}

/** `registry/path`: without scheme, and without the API version that Docker's own file ends its keys with. */
function registryKey(server: string): string {
  const [host = '', ...path] = server.replace(/^https?:\/\//, '').split('/');
  if (path[0] === 'v1' || path[0] === 'v2') path.shift();
  return [host, ...path].join('/').replace(/\/+$/, '');
}

/** `*` stands for a part of the host's name, a path for everything below it. */
function matches(key: string, image: ImageReference): boolean {
  const [host = '', ...path] = key.split('/');
  const hub = image.registry === 'docker.io';
  const names = hub ? ['docker.io', 'index.docker.io', 'registry-1.docker.io'] : [image.registry];
  const pattern = new RegExp(`^${host.split('*').map(literal).join('[^.]*')}$`);
  if (!names.some((name) => pattern.test(name))) return false;
  const repository =
    hub && !image.repository.includes('/') ? `library/${image.repository}` : image.repository;
  return repository.startsWith(path.join('/'));
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
