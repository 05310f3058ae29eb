/** What a URL and a method ask for, by shape alone: nothing is looked up. As RequestInfo of Kubernetes' apiserver. */
export type RequestInfo = ResourceRequest | PathRequest;

export interface ResourceRequest {
  kind: 'resource';
  verb: string;
  group: string;
  version: string;
  /** Empty outside of a namespace. */
  namespace: string;
  resource: string;
  /** Empty for the object itself. */
  subresource: string;
  /** Empty for a collection. */
  name: string;
  /** What follows a subresource: pods/<name>/proxy/<rest>. */
  rest: string;
}

export interface PathRequest {
  kind: 'path';
  /** The method in lower case. */
  verb: string;
  path: string;
}

const VERBS: Readonly<Record<string, string>> = {
  POST: 'create',
  GET: 'get',
  HEAD: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** Subresources of namespaces; every other word after /namespaces/<name>/ is a resource in it. */
const NAMESPACE_SUBRESOURCES = new Set(['status', 'finalize']);

/** Throws URIError when a segment of the path is not valid percent-encoding. */
export function parseRequest(method: string, path: string, query: URLSearchParams): RequestInfo {
  const outside: PathRequest = { kind: 'path', verb: method.toLowerCase(), path };
  const segments = path.split('/').filter((segment) => segment !== '');
  const legacy = segments[0] === 'api';
  if (!legacy && segments[0] !== 'apis') return outside;
  const prefix = legacy ? 2 : 3;
  if (segments.length <= prefix) return outside;
  const group = legacy ? '' : (segments[1] as string);
  const version = segments[prefix - 1] as string;
  let parts = segments.slice(prefix).map(decodeURIComponent);
  let verb = VERBS[method] ?? '';
  // The older form of a watch: /api/v1/watch/namespaces/x/pods.
  const oldWatch = parts[0] === 'watch' && parts.length > 1;
  if (oldWatch) {
    parts = parts.slice(1);
    verb = 'watch';
  }
  let namespace = '';
  if (parts[0] === 'namespaces' && parts[1] !== undefined) {
    namespace = parts[1];
    if (parts[2] !== undefined && !NAMESPACE_SUBRESOURCES.has(parts[2])) parts = parts.slice(2);
  }
  const [resource = '', name = '', subresource = '', ...rest] = parts;
  if (name === '' && verb === 'get') verb = isTrue(query.get('watch')) ? 'watch' : 'list';
  if (name === '' && verb === 'delete') verb = 'deletecollection';
  return {
    kind: 'resource',
    verb,
    group,
    version,
    namespace,
    resource,
    subresource,
    name,
    rest: rest.join('/'),
  };
}

/** How Kubernetes reads a boolean query parameter: present and neither 0 nor false. */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== '0' && value.toLowerCase() !== 'false';
}
