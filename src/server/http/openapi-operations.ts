import type { ResourceInfo } from '../../api/catalogue.ts';
import { subresourceKind } from './discovery.ts';

/** One operation of the API, out of which both versions of OpenAPI are written. */
export interface Operation {
  path: string;
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** x-kubernetes-action */
  action: string;
  id: string;
  gvk: { group: string; version: string; kind: string };
  /** Names of the path's parameters. */
  pathParameters: string[];
  queryParameters: QueryParameter[];
  /** Schema names; undefined: any object. */
  body?: string | undefined;
  answer?: string | undefined;
  /** The body is a patch. */
  patch: boolean;
  /** Of a custom resource, which takes no strategic merge patch: clients look here before they send one. */
  custom: boolean;
}

export interface QueryParameter {
  name: string;
  type: 'string' | 'integer' | 'boolean';
}

const text = (...names: string[]): QueryParameter[] => names.map((name) => ({ name, type: 'string' }));
const WRITE = text('dryRun', 'fieldManager', 'fieldValidation');
const APPLY: QueryParameter[] = [...WRITE, { name: 'force', type: 'boolean' }];
const DELETE: QueryParameter[] = [
  ...text('dryRun', 'propagationPolicy'),
  { name: 'gracePeriodSeconds', type: 'integer' },
  { name: 'orphanDependents', type: 'boolean' },
];
const LIST: QueryParameter[] = [
  ...text('continue', 'fieldSelector', 'labelSelector', 'resourceVersion', 'resourceVersionMatch'),
  { name: 'limit', type: 'integer' },
  { name: 'timeoutSeconds', type: 'integer' },
  { name: 'allowWatchBookmarks', type: 'boolean' },
  { name: 'sendInitialEvents', type: 'boolean' },
  { name: 'watch', type: 'boolean' },
];

export const PATCH_SCHEMA = 'io.k8s.apimachinery.pkg.apis.meta.v1.Patch';
const STATUS = 'io.k8s.apimachinery.pkg.apis.meta.v1.Status';
const DELETE_OPTIONS = 'io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions';

interface Verb {
  method: Operation['method'];
  action: string;
  on: 'collection' | 'object';
  query: QueryParameter[];
}

const VERBS: Readonly<Record<string, Verb>> = {
  list: { method: 'get', action: 'list', on: 'collection', query: LIST },
  create: { method: 'post', action: 'post', on: 'collection', query: WRITE },
  deletecollection: {
    method: 'delete',
    action: 'deletecollection',
    on: 'collection',
    query: [...LIST, ...DELETE],
  },
  get: { method: 'get', action: 'get', on: 'object', query: [] },
  update: { method: 'put', action: 'put', on: 'object', query: WRITE },
  patch: { method: 'patch', action: 'patch', on: 'object', query: APPLY },
  delete: { method: 'delete', action: 'delete', on: 'object', query: DELETE },
};

/** Every operation on the resources; `schemaOf` gives the schema's name of a kind. */
export function operationsOf(
  resources: readonly ResourceInfo[],
  schemaOf: (group: string, version: string, kind: string) => string | undefined,
): Operation[] {
  return resources.flatMap((info) => operationsOfResource(info, schemaOf));
}

function operationsOfResource(
  info: ResourceInfo,
  schemaOf: (group: string, version: string, kind: string) => string | undefined,
): Operation[] {
  const { group, version, kind, resource } = info;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const base = info.namespaced ? `${root}/namespaces/{namespace}/${resource}` : `${root}/${resource}`;
  const scope = info.namespaced ? ['namespace'] : [];
  const gvk = { group, version, kind };
  const schema = info.schema ?? schemaOf(group, version, kind);
  const list = schemaOf(group, version, `${kind}List`);
  const result: Operation[] = [];
  const name = (verb: string, extra = ''): string =>
    `${verb}${camel(group === '' ? 'core' : group)}${camel(version)}${info.namespaced ? 'Namespaced' : ''}${kind}${extra}`;
  for (const verb of info.verbs) {
    const known = VERBS[verb];
    if (!known) continue;
    const single = known.on === 'object';
    result.push({
      path: single ? `${base}/{name}` : base,
      method: known.method,
      action: known.action,
      id: name(verb),
      gvk,
      pathParameters: single ? [...scope, 'name'] : scope,
      queryParameters: known.query,
      body: bodyOf(known.action, schema),
      answer: verb === 'list' ? list : known.action.startsWith('delete') ? STATUS : schema,
      patch: verb === 'patch',
      custom: info.custom,
    });
    if (verb === 'list' && info.namespaced) {
      result.push({
        path: `${root}/${resource}`,
        method: 'get',
        action: 'list',
        id: name(verb, 'ForAllNamespaces'),
        gvk,
        pathParameters: [],
        queryParameters: LIST,
        answer: list,
        patch: false,
        custom: info.custom,
      });
    }
  }
  for (const subresource of info.subresources) {
    const own = subresourceKind(subresource);
    const ownKind = { group: own.group ?? group, version: own.version ?? version, kind: own.kind };
    const ownSchema = schemaOf(ownKind.group, ownKind.version, ownKind.kind);
    for (const verb of subresource.verbs) {
      const known = VERBS[verb];
      if (!known) continue;
      result.push({
        path: `${base}/{name}/${subresource.name}`,
        method: known.method,
        action: known.action,
        id: name(verb, camel(subresource.name)),
        gvk: ownKind,
        pathParameters: [...scope, 'name'],
        queryParameters: known.query,
        body: bodyOf(known.action, ownSchema),
        answer: ownSchema,
        patch: verb === 'patch',
        custom: info.custom,
      });
    }
  }
  return result;
}

function bodyOf(action: string, schema: string | undefined): string | undefined {
  if (action === 'patch') return PATCH_SCHEMA;
  if (action.startsWith('delete')) return DELETE_OPTIONS;
  return action === 'post' || action === 'put' ? schema : undefined;
}

const camel = (words: string): string =>
  words
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))
    .join('');
