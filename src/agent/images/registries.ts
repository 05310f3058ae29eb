import type { RegistryAuth } from '../runtime.ts';
import { type ImageReference, repositoryPath, versionOf } from './reference.ts';

/** What `/etc/copepod/registries.yaml` says, in the shape of k3s's file of that name. */
export interface Registries {
  /** By registry; `*` stands for those that have no entry of their own. */
  mirrors: ReadonlyMap<string, Mirror>;
  /** By host with port; `*` likewise. */
  hosts: ReadonlyMap<string, RegistryHost>;
}

interface Mirror {
  endpoints: readonly Endpoint[];
  rewrites: readonly { pattern: RegExp; to: string }[];
}

interface Endpoint {
  /** `registry.example:5000`, as it stands in a name for Docker. */
  host: string;
  /** Without TLS. */
  plain: boolean;
  /** What stands before the repository's path, with a slash at its end, or empty. */
  prefix: string;
}

export interface RegistryHost {
  auth?: Omit<RegistryAuth, 'serverAddress'>;
  /** Paths of PEM files. */
  tls?: { ca?: string; cert?: string; key?: string; unchecked: boolean };
}

/** One place to pull an image from. */
export interface PullSource {
  /** The name for Docker, without tag or digest. */
  repository: string;
  /** With them. */
  name: string;
  host: string;
  plain: boolean;
  /** Not where the name of the image says: it has to be given its name afterwards. */
  mirror: boolean;
}

export const NO_REGISTRIES: Registries = { mirrors: new Map(), hosts: new Map() };

/** What is wrong with the file, beginning with the path of the field. */
export class RegistriesError extends Error {
  constructor(field: string, problem: string) {
    super(`${field}: ${problem}`);
    this.name = 'RegistriesError';
  }
}

const HOST = /^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:\d{1,5})?$/;

/** Reads the document. A field that is not known is an error too: a typo would otherwise be a mirror never used. */
export function parseRegistries(document: unknown): Registries {
  if (document === null || document === undefined) return NO_REGISTRIES;
  const root = fields(document, 'the file', ['mirrors', 'configs']);
  const mirrors = new Map<string, Mirror>();
  for (const [registry, value] of entries(root.mirrors, 'mirrors')) {
    mirrors.set(registryName(registry, `mirrors.${registry}`), parseMirror(value, `mirrors.${registry}`));
  }
  const hosts = new Map<string, RegistryHost>();
  for (const [host, value] of entries(root.configs, 'configs')) {
    hosts.set(registryName(host, `configs.${host}`), parseHost(value, `configs.${host}`));
  }
  return { mirrors, hosts };
}

/** Where to look for the image, in order: its mirrors, and last its registry itself. */
export function sourcesOf(image: ImageReference, { mirrors }: Registries): PullSource[] {
  const path = repositoryPath(image);
  const mirror = mirrors.get(image.registry) ?? mirrors.get('*');
  const sources: PullSource[] = [];
  const add = (source: Omit<PullSource, 'name'>): void => {
    sources.push({ ...source, name: `${source.repository}${versionOf(image)}` });
  };
  for (const { host, plain, prefix } of mirror?.endpoints ?? []) {
    // The registry itself may be listed among its mirrors, to be asked before others.
    if (host === image.registry && prefix === '') continue;
    const repository = `${host}/${prefix}${rewritten(path, mirror?.rewrites ?? [])}`;
    add({ repository, host, plain, mirror: true });
  }
  const own = mirror?.endpoints.find(({ host, prefix }) => host === image.registry && prefix === '');
  const plain = own?.plain ?? false;
  const repository = image.engineName.slice(0, image.engineName.length - versionOf(image).length);
  add({ repository, host: image.registry, plain, mirror: false });
  return sources;
}

/** The settings of one host, `*` where it has none. */
export function hostOf(host: string, { hosts }: Registries): RegistryHost {
  return hosts.get(host) ?? hosts.get('*') ?? {};
}

/** The first rewrite that matches; k3s knows no order, so a file with two that match had better not. */
function rewritten(path: string, rewrites: Mirror['rewrites']): string {
  for (const { pattern, to } of rewrites) if (pattern.test(path)) return path.replace(pattern, to);
  return path;
}

function parseMirror(value: unknown, field: string): Mirror {
  const { endpoint, rewrite } = fields(value, field, ['endpoint', 'rewrite']);
  if (endpoint !== undefined && endpoint !== null && !Array.isArray(endpoint)) {
    throw new RegistriesError(`${field}.endpoint`, 'expected a list of URLs');
  }
  const endpoints = ((endpoint ?? []) as unknown[]).map((url, index) =>
    parseEndpoint(url, `${field}.endpoint[${index}]`),
  );
  const rewrites = entries(rewrite, `${field}.rewrite`).map(([pattern, to]) => {
    const at = `${field}.rewrite.${pattern}`;
    if (typeof to !== 'string') throw new RegistriesError(at, 'expected a text such as "mirror/$1"');
    try {
      return { pattern: new RegExp(pattern), to };
    } catch (error) {
      throw new RegistriesError(at, `not a regular expression: ${(error as Error).message}`);
    }
  });
  return { endpoints, rewrites };
}

function parseEndpoint(value: unknown, field: string): Endpoint {
  const wanted = 'expected a URL such as https://registry.example:5000';
  let url: URL;
  try {
    const text = typeof value === 'string' ? value : '';
    url = new URL(text.includes('://') ? text : `https://${text}`);
  } catch {
    throw new RegistriesError(field, wanted);
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new RegistriesError(field, wanted);
  if (url.username || url.password) {
    throw new RegistriesError(field, 'credentials belong into configs.<host>.auth');
  }
  // Docker asks below /v2/ always: what follows there can be said as a part of the name, anything else cannot.
  const path = url.pathname.replace(/^\/+|\/+$/g, '');
  const [first, ...rest] = path.split('/');
  if (path !== '' && first !== 'v2') {
    throw new RegistriesError(field, `Docker reaches registries below /v2 only, not at /${path}`);
  }
  return {
    host: url.host,
    plain: url.protocol === 'http:',
    prefix: rest.length === 0 ? '' : `${rest.join('/')}/`,
  };
}

function parseHost(value: unknown, field: string): RegistryHost {
  const { auth, tls } = fields(value, field, ['auth', 'tls']);
  return {
    ...(auth === undefined || auth === null ? {} : { auth: parseAuth(auth, `${field}.auth`) }),
    ...(tls === undefined || tls === null ? {} : { tls: parseTls(tls, `${field}.tls`) }),
  };
}

function parseAuth(value: unknown, field: string): Omit<RegistryAuth, 'serverAddress'> {
  const read = fields(value, field, ['username', 'password', 'auth', 'identity_token']);
  const [username, password, auth, identityToken] = (
    ['username', 'password', 'auth', 'identity_token'] as const
  ).map((name) => text(read[name], `${field}.${name}`));
  if (identityToken !== undefined) return { username: username ?? '', password: '', identityToken };
  if (auth !== undefined) {
    const decoded = Buffer.from(auth, 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    if (colon < 0) throw new RegistriesError(`${field}.auth`, 'expected user:password in base64');
    return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
  }
  if (username === undefined || password === undefined) {
    throw new RegistriesError(field, 'expected username and password, auth or identity_token');
  }
  return { username, password };
}

function parseTls(value: unknown, field: string): NonNullable<RegistryHost['tls']> {
  const read = fields(value, field, ['ca_file', 'cert_file', 'key_file', 'insecure_skip_verify']);
  const unchecked = read.insecure_skip_verify ?? false;
  if (typeof unchecked !== 'boolean') {
    throw new RegistriesError(`${field}.insecure_skip_verify`, 'expected true or false');
  }
  const [ca, cert, key] = (['ca_file', 'cert_file', 'key_file'] as const).map((name) =>
    text(read[name], `${field}.${name}`),
  );
  if ((cert === undefined) !== (key === undefined)) {
    throw new RegistriesError(field, 'cert_file and key_file go together');
  }
  return {
    unchecked,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function registryName(name: string, field: string): string {
  if (name === '*') return name;
  if (!HOST.test(name)) {
    throw new RegistriesError(
      field,
      'expected a registry such as docker.io or registry.example:5000, or "*"',
    );
  }
  return name === 'index.docker.io' || name === 'registry-1.docker.io' ? 'docker.io' : name;
}

function entries(value: unknown, field: string): [string, unknown][] {
  if (value === undefined || value === null) return [];
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new RegistriesError(field, 'expected a map');
  }
  return Object.entries(value);
}

function fields<Name extends string>(
  value: unknown,
  field: string,
  known: readonly Name[],
): Partial<Record<Name, unknown>> {
  const found = entries(value, field);
  for (const [name] of found) {
    if (!known.includes(name as Name)) {
      const at = field === 'the file' ? name : `${field}.${name}`;
      throw new RegistriesError(at, `unknown field; known are ${known.join(', ')}`);
    }
  }
  return Object.fromEntries(found) as Partial<Record<Name, unknown>>;
}

function text(value: unknown, field: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw new RegistriesError(field, 'expected a text');
  return value;
}
