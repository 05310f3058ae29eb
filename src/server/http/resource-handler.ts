import type { Catalogue, ResourceInfo } from '../../api/catalogue.ts';
import { badRequest, StatusError } from '../../api/errors.ts';
import { JsonSyntaxError, parseJson } from '../../api/json-text.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import type { Patch } from '../../client/port.ts';
import type { Clock } from '../../lib/clock.ts';
import type { ListResult, Registry, RequestContext, Target } from '../registry/port.ts';
import { type Answering, sendObject, sendPieces, sendText, wantsPretty } from './answer.ts';
import { type DecodedBody, type DecodeOptions, decodeObject, decodeText, readBody } from './body.ts';
import { subresourceKind } from './discovery.ts';
import { STREAMED } from './incoming.ts';
import { type ListText, listPieces, metadataList, objectList, tableList, wholeList } from './list-text.ts';
import { type AnswerForm, mediaType, negotiate } from './negotiation.ts';
import type { RawSchema } from './openapi-documents.ts';
import type { ProxySide, StreamHandlers, Upgrade } from './ports.ts';
import type { ResourceRequest } from './request-info.ts';
import {
  deleteOptions,
  demandFieldManager,
  readOptions,
  refuseForce,
  watchOptions,
  writeOptions,
} from './request-options.ts';
import { connectOptions } from './streams/connect-options.ts';
import { includeObject, partial, type TableWriter } from './table.ts';
import { ResponseSink, type WatchStreams } from './watch.ts';
import { YamlBodies } from './yaml-bodies.ts';

/** What the router answers for a path below a known group that names nothing. */
export function noSuchResource(): StatusError {
  return new StatusError('NotFound', 404, 'the server could not find the requested resource', {});
}

export function methodNotAllowed(): StatusError {
  return new StatusError(
    'MethodNotAllowed',
    405,
    'the server does not allow this method on the requested resource',
    {},
  );
}

/** Pod subresources that stream; served by StreamHandlers. */
const STREAMS: ReadonlySet<string> = new Set(STREAMED);
const PROXY_OPTIONS = {
  pods: 'PodProxyOptions',
  services: 'ServiceProxyOptions',
  nodes: 'NodeProxyOptions',
} as const;
const PROXIED_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

export interface ResourceHandlerOptions {
  registry: Registry;
  catalogue: Catalogue;
  tables: TableWriter;
  watches: WatchStreams;
  streams: StreamHandlers;
  clock: Clock;
  serialise: (object: object) => string;
  /** data/schemas.json */
  loadSchemas: () => Promise<Readonly<Record<string, RawSchema>>>;
}

/** Everything below /api/v1 and /apis/<group>/<version>: from a request to a call of the registry and back to an answer. */
export class ResourceHandler {
  private readonly options: ResourceHandlerOptions;
  private readonly yaml: YamlBodies;

  constructor(options: ResourceHandlerOptions) {
    this.options = options;
    this.yaml = new YamlBodies({ clock: options.clock });
  }

  /** Finds what the URL names and checks the verb. Undefined: not even the group and version are known. */
  resolve(request: ResourceRequest): Target | undefined {
    const { group, version, resource, namespace, name, subresource, verb } = request;
    const info = this.options.catalogue.find(group, version, resource);
    if (!info) {
      const groups = this.options.catalogue.groupVersions();
      if (groups.some((known) => known.group === group)) throw noSuchResource();
      return undefined;
    }
    // A Namespace's own URL has its name where others have their namespace.
    const inNamespace = namespace !== '' && !(group === '' && resource === 'namespaces');
    if (!info.namespaced && inNamespace) throw noSuchResource();
    if (info.namespaced && !inNamespace) {
      if (name !== '') throw noSuchResource();
      if (verb !== 'list' && verb !== 'watch') throw methodNotAllowed();
    }
    this.checkVerb(info, request);
    return {
      info,
      ...(info.namespaced && namespace !== '' ? { namespace } : {}),
      ...(name === '' ? {} : { name }),
      ...(subresource === '' ? {} : { subresource }),
    };
  }

  private checkVerb(info: ResourceInfo, { verb, name, subresource, rest }: ResourceRequest): void {
    if (subresource !== '') {
      const found = info.subresources.find((candidate) => candidate.name === subresource);
      if (!found || (rest !== '' && subresource !== 'proxy')) throw noSuchResource();
      // OPTIONS has no verb; proxies take it.
      const allowed = found.verbs.includes(verb) || (subresource === 'proxy' && verb === '');
      if (!allowed) throw methodNotAllowed();
      return;
    }
    if (!info.verbs.includes(verb)) throw methodNotAllowed();
    if (name === '' && (verb === 'update' || verb === 'patch')) throw methodNotAllowed();
    if (name !== '' && verb === 'create') throw methodNotAllowed();
  }

  async handle(
    request: ResourceRequest,
    target: Target,
    context: RequestContext,
    answering: Answering,
    signal: AbortSignal,
  ): Promise<void> {
    const { info, subresource } = target;
    if (info.group === '' && info.resource === 'pods' && subresource && STREAMS.has(subresource)) {
      return this.stream(request, target, context, answering, signal);
    }
    if (subresource === 'proxy') {
      const { request: asked, response } = answering;
      return this.proxy(request, target, context, signal, { request: asked, response });
    }
    const form = negotiate(answering.request.headers.accept);
    switch (request.verb) {
      case 'get':
        return this.get(target, context, answering, form);
      case 'list':
        return this.list(target, context, answering, form);
      case 'watch':
        return this.watch(target, context, answering, form);
      case 'create':
        return this.create(target, context, answering, form);
      case 'update':
        return this.update(target, context, answering, form);
      case 'patch':
        return this.patch(target, context, answering, form);
      case 'delete':
        return this.delete(target, context, answering, form);
      case 'deletecollection':
        return this.deleteCollection(target, context, answering, form);
      default:
        throw methodNotAllowed();
    }
  }

  private async stream(
    { name, namespace, subresource }: ResourceRequest,
    target: Target,
    context: RequestContext,
    { response, query }: Answering,
    signal: AbortSignal,
  ): Promise<void> {
    const connecting = connectOptions(subresource, query);
    if (connecting) await this.options.registry.admitConnect(context, target, connecting);
    if (subresource !== 'log') throw badRequest('Upgrade request required');
    return this.options.streams.log({ subresource, namespace, name, query, context, signal }, response);
  }

  /** An upgrade of a connection to a pod, or to what is proxied. */
  async upgrade(
    request: ResourceRequest,
    target: Target,
    context: RequestContext,
    query: URLSearchParams,
    upgrade: Upgrade,
  ): Promise<void> {
    const { resource, subresource, namespace, name } = request;
    const gone = new AbortController();
    upgrade.socket.once('close', () => gone.abort());
    if (subresource === 'proxy') return this.proxy(request, target, context, gone.signal, { upgrade });
    const streamed = resource === 'pods' && STREAMED.find((known) => known === subresource);
    if (!streamed) throw badRequest('this path takes no upgrade');
    const connecting = connectOptions(subresource, query);
    if (connecting) await this.options.registry.admitConnect(context, target, connecting);
    await this.options.streams.upgrade(
      { subresource: streamed, namespace, name, query, context, signal: gone.signal },
      upgrade,
    );
  }

  private async proxy(
    request: ResourceRequest,
    target: Target,
    context: RequestContext,
    signal: AbortSignal,
    side: ProxySide,
  ): Promise<void> {
    const { namespace, name, rest } = request;
    const resource = request.resource as keyof typeof PROXY_OPTIONS;
    const { method = '', url = '' } = 'upgrade' in side ? side.upgrade.request : side.request;
    if (!PROXIED_METHODS.has(method)) throw methodNotAllowed();
    const slash = /\/(?:\?|$)/.test(url) ? '/' : '';
    const path = rest === '' ? slash : `/${rest}${slash}`;
    const options = { kind: PROXY_OPTIONS[resource], apiVersion: 'v1', ...(path === '' ? {} : { path }) };
    await this.options.registry.admitConnect(context, target, options);
    return this.options.streams.proxy({ resource, namespace, name, path, signal }, side);
  }

  private async get(
    target: Target,
    context: RequestContext,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const resourceVersion = answering.query.get('resourceVersion');
    const object = await this.options.registry.get(
      context,
      target,
      resourceVersion ? { resourceVersion } : {},
    );
    return this.sendOne(target, object, 200, answering, form);
  }

  private async list(
    target: Target,
    context: RequestContext,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const result = await this.options.registry.list(context, target, readOptions(answering.query));
    return this.sendList(target, result, answering, form);
  }

  private async watch(
    target: Target,
    context: RequestContext,
    { request, response, query, warnings }: Answering,
    form: AnswerForm,
  ): Promise<void> {
    if (form.encoding !== 'json') throw badRequest('a watch is answered in JSON only');
    const { name, ...collection } = target;
    const options = watchOptions(query);
    if (name !== undefined) {
      const byName = `metadata.name=${name}`;
      options.fieldSelector = options.fieldSelector ? `${options.fieldSelector},${byName}` : byName;
    }
    const sink = new ResponseSink(request, response, warnings);
    return this.options.watches.serve(context, collection, options, form, includeObject(query), sink);
  }

  private async create(
    target: Target,
    context: RequestContext,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const options = writeOptions(answering.query, 'CreateOptions');
    const { value, duplicates } = await this.readObject(target, context, answering);
    answering.bodies?.keepRequest(value);
    const object = await this.options.registry.create(context, target, value, {
      ...options,
      duplicateFields: duplicates,
    });
    return this.sendOne(target, object, 201, answering, form);
  }

  private async update(
    target: Target,
    context: RequestContext,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const options = writeOptions(answering.query, 'UpdateOptions');
    const { value, duplicates } = await this.readObject(target, context, answering);
    answering.bodies?.keepRequest(value);
    const { object, created } = await this.options.registry.update(context, target, value, {
      ...options,
      duplicateFields: duplicates,
    });
    return this.sendOne(target, object, created ? 201 : 200, answering, form);
  }

  private async patch(
    target: Target,
    context: RequestContext,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const { request, query } = answering;
    const type = mediaType(request.headers['content-type']);
    if (!PATCH_TYPES.has(type)) {
      throw new StatusError('UnsupportedMediaType', 415, '415: Unsupported Media Type', {});
    }
    if (target.info.custom && type === STRATEGIC) {
      throw new StatusError(
        'UnsupportedMediaType',
        415,
        `the body of the request was in an unknown format - accepted media types include: application/json-patch+json, ${MERGE}, ${APPLY}`,
      );
    }
    const options = writeOptions(query, 'PatchOptions');
    const fieldManager = type === APPLY ? demandFieldManager(query) : '';
    if (type !== APPLY) refuseForce(query);
    const body = await readBody(request, this.options.clock);
    const { patch, duplicates } = await decodePatch(body, type, fieldManager, query, this.yaml);
    answering.bodies?.keepRequest(patch.type === 'json' ? patch.operations : patch.body);
    const { object, created } = await this.options.registry.patch(context, target, patch, {
      ...options,
      duplicateFields: duplicates,
    });
    return this.sendOne(target, object, created ? 201 : 200, answering, form);
  }

  private async delete(
    target: Target,
    context: RequestContext,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const options = deleteOptions(answering.query, await this.readDeleteOptions(answering));
    const result = await this.options.registry.delete(context, target, options);
    return this.sendOne(target, result as KubeObject, 200, answering, form);
  }

  private async deleteCollection(
    target: Target,
    context: RequestContext,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const options = deleteOptions(answering.query, await this.readDeleteOptions(answering));
    const selection = readOptions(answering.query);
    const result = await this.options.registry.deleteCollection(context, target, selection, options);
    return this.sendList(target, result, answering, form);
  }

  private async readObject(
    { info, subresource }: Target,
    context: RequestContext,
    { request }: Answering,
  ): Promise<DecodedBody> {
    const found = info.subresources.find(({ name }) => name === subresource);
    const kind = found ? subresourceKind(found).kind : info.kind;
    const body = await readBody(request, this.options.clock);
    const decoded = await decodeObject(body, request.headers['content-type'], this.decoding(kind));
    for (const warning of decoded.warnings) context.warn(warning);
    return decoded;
  }

  private async readDeleteOptions({ request, bodies }: Answering): Promise<JsonObject | undefined> {
    const body = await readBody(request, this.options.clock);
    if (body.length === 0) return undefined;
    const type = request.headers['content-type'];
    const { value } = await decodeObject(body, type, this.decoding(undefined));
    bodies?.keepRequest(value);
    return value as JsonObject;
  }

  private decoding(kind: string | undefined): DecodeOptions {
    const { loadSchemas } = this.options;
    return { kind, loadSchemas, parseYaml: (text) => this.yaml.parse(text) };
  }

  private sendOne(
    { info }: Target,
    object: KubeObject,
    code: number,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    // A Status (of a deletion, an eviction) is told as it is, whatever form was asked for.
    if (object.kind === 'Status' || form.as === 'object') {
      return sendObject(answering, code, object, form, this.options.serialise);
    }
    if (form.as === 'partial') return sendObject(answering, code, partial(object, form.metaVersion), form);
    if (form.as !== 'table') throw notAcceptable('a single object is not a PartialObjectMetadataList');
    const { resourceVersion } = object.metadata;
    const table = this.options.tables.table(info, [object], {
      meta: resourceVersion === undefined ? {} : { resourceVersion },
      include: includeObject(answering.query),
      metaVersion: form.metaVersion,
      now: this.options.clock.now(),
      withColumns: true,
    });
    return sendObject(answering, code, table, form);
  }

  private async sendList(
    { info }: Target,
    result: ListResult,
    answering: Answering,
    form: AnswerForm,
  ): Promise<void> {
    const list = this.listText(info, result, answering, form);
    if (form.encoding === 'yaml') return sendObject(answering, 200, wholeList(list), form);
    // The pieces can be taken once.
    if (answering.bodies?.wantsResponse) {
      answering.bodies.keepResponse(wholeList(this.listText(info, result, answering, form)));
    }
    return sendPieces(answering, 'application/json', listPieces(list, wantsPretty(answering)));
  }

  private listText(info: ResourceInfo, result: ListResult, { query }: Answering, form: AnswerForm): ListText {
    switch (form.as) {
      case 'partial-list':
        return metadataList(result, form.metaVersion);
      case 'table': {
        const { tables, clock } = this.options;
        return tableList(info, result, tables, { include: includeObject(query), form, now: clock.now() });
      }
      case 'partial':
        throw notAcceptable('a list is not a PartialObjectMetadata');
      default:
        return objectList(info, result);
    }
  }
}

const notAcceptable = (why: string): StatusError => new StatusError('NotAcceptable', 406, why);

const JSON_PATCH = 'application/json-patch+json';
const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const APPLY = 'application/apply-patch+yaml';
const PATCH_TYPES = new Set([JSON_PATCH, MERGE, STRATEGIC, APPLY]);

async function decodePatch(
  body: Buffer,
  type: string,
  fieldManager: string,
  query: URLSearchParams,
  yaml: YamlBodies,
): Promise<{ patch: Patch; duplicates: string[] }> {
  const text = decodeText(body);
  const what = type === APPLY ? 'YAML' : 'patch';
  try {
    const { value, duplicates } = type === APPLY ? await yaml.parse(text) : parseJson(text);
    if (type === JSON_PATCH) {
      if (!Array.isArray(value)) throw notA('[]interface {}', value);
      return { patch: { type: 'json', operations: value as object[] }, duplicates };
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw notA('map[string]interface {}', value);
    }
    if (type === APPLY) {
      const force = query.get('force') === 'true';
      return { patch: { type: 'apply', body: value, fieldManager, force }, duplicates };
    }
    return { patch: { type: type === MERGE ? 'merge' : 'strategic', body: value }, duplicates };
  } catch (error) {
    if (error instanceof JsonSyntaxError) throw badRequest(`error decoding ${what}: ${error.message}`);
    throw error;
  }
}

function notA(type: string, value: unknown): JsonSyntaxError {
  const got = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
  return new JsonSyntaxError(`json: cannot unmarshal ${got} into Go value of type ${type}`);
}

/** 404 as plain text, which is what Kubernetes' aggregator answers for a group that nobody serves. */
export function sendNotFoundText(answering: Answering): Promise<void> {
  return sendText(answering, 404, 'text/plain; charset=utf-8', '404 page not found\n', {
    'x-content-type-options': 'nosniff',
  });
}
