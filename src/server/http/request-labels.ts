import type { Catalogue } from '../../api/catalogue.ts';
import type { RequestInfo } from './request-info.ts';

/** What Kubernetes' metrics say of a request. */
export interface RequestLabels {
  /** GET, LIST, WATCH, POST, PUT, PATCH, APPLY, DELETE, DELETECOLLECTION, CONNECT. */
  verb: string;
  group: string;
  version: string;
  resource: string;
  subresource: string;
  /** `resource`: one object; `namespace` or `cluster`: a collection. Empty outside of resources. */
  scope: 'resource' | 'namespace' | 'cluster' | '';
}

const VERBS: Readonly<Record<string, string>> = {
  get: 'GET',
  list: 'LIST',
  watch: 'WATCH',
  create: 'POST',
  update: 'PUT',
  patch: 'PATCH',
  delete: 'DELETE',
  deletecollection: 'DELETECOLLECTION',
};
const STREAMED = new Set(['exec', 'attach', 'portforward', 'proxy']);
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

export const isMutating = (method: string): boolean => !['GET', 'HEAD', 'OPTIONS'].includes(method);

/** Only what the catalogue names gets a label of its own: a stranger's paths must not fill the memory. */
export function labelsOf(
  method: string,
  info: RequestInfo | undefined,
  catalogue: Catalogue,
  contentType: string | undefined,
): RequestLabels {
  const known =
    info?.kind === 'resource' ? catalogue.find(info.group, info.version, info.resource) : undefined;
  if (info?.kind !== 'resource' || !known) {
    const verb = METHODS.has(method) ? method : 'OTHER';
    return { verb, group: '', version: '', resource: '', subresource: '', scope: '' };
  }
  const subresource = known.subresources.some(({ name }) => name === info.subresource)
    ? info.subresource
    : '';
  return {
    verb: verbOf(info.verb, subresource, contentType),
    group: info.group,
    version: info.version,
    resource: info.resource,
    subresource,
    scope: info.name !== '' ? 'resource' : info.namespace !== '' ? 'namespace' : 'cluster',
  };
}

function verbOf(verb: string, subresource: string, contentType: string | undefined): string {
  if (STREAMED.has(subresource)) return 'CONNECT';
  if (verb === 'patch' && contentType?.startsWith('application/apply-patch')) return 'APPLY';
  return VERBS[verb] ?? 'OTHER';
}
