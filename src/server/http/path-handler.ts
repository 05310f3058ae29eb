import { gunzipSync } from 'node:zlib';
import { badRequest, StatusError } from '../../api/errors.ts';
import { JsonSyntaxError, parseJson } from '../../api/json-text.ts';
import type { Clock } from '../../lib/clock.ts';
import { CA_PATH, JOIN_PATH } from '../../wire/join.ts';
import type { UserInfo } from '../registry/port.ts';
import { type Answering, acceptsGzip, NOT_CACHED, sendObject, sendText } from './answer.ts';
import { decodeText, readBody } from './body.ts';
import type { Discovery } from './discovery.ts';
import { health } from './health.ts';
import { chooseType, wantsAggregatedDiscovery } from './negotiation.ts';
import type { OpenApi, OpenApiDocument } from './openapi.ts';
import type { HealthCheck } from './ports.ts';
import { methodNotAllowed, noSuchResource, sendNotFoundText } from './resource-handler.ts';
import { PAGE_HEADERS, type StaticFiles } from './static-files.ts';

const JSON_FORM = { encoding: 'json' } as const;
const LARGEST_JOIN = 16 * 1024;
const TEXT = 'text/plain; charset=utf-8';

export interface PathHandlerOptions {
  discovery: Discovery;
  openApi: OpenApi;
  clock: Clock;
  /** v1.36.0+copepod.1.2.3 */
  version: string;
  /** host:port that /api names to clients. */
  serverAddress: () => string;
  caPem: () => string;
  /** The node joins; returns what is answered. Throws StatusError. */
  join: (
    body: unknown,
    authorization: string | undefined,
    user: UserInfo | undefined,
    from: string,
  ) => object;
  openId: { issuer: string; jwks: () => object };
  checks: readonly HealthCheck[];
  metrics: () => string;
  /** What the boards measured last, for GET /copepod/v1/boards. */
  boards: () => object;
  files: StaticFiles | undefined;
}

const HEALTH = /^\/(healthz|livez|readyz)(?:\/([^/]+))?$/;

/** Paths that answer without credentials, besides the dashboard's files. */
export function isPublicPath(method: string, path: string): boolean {
  if (method === 'POST') return path === JOIN_PATH;
  if (method !== 'GET' && method !== 'HEAD') return false;
  return path === '/version' || path === '/version/' || path === CA_PATH || HEALTH.test(path);
}

/** May the file be shown to everyone? Everything that is no path of the API's. */
export function isDashboardPath(method: string, path: string): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false;
  return !/^\/(?:apis?|openapi|openid|version|metrics|healthz|livez|readyz|copepod|mqtt|\.well-known|cacerts|logs|debug)(?:\/|$)/.test(
    path,
  );
}

/** Everything outside of resources. */
export class PathHandler {
  private readonly options: PathHandlerOptions;

  constructor(options: PathHandlerOptions) {
    this.options = options;
  }

  async handle(
    method: string,
    path: string,
    user: UserInfo | undefined,
    answering: Answering,
  ): Promise<void> {
    if (path === JOIN_PATH) return this.join(method, user, answering);
    if (method !== 'GET' && method !== 'HEAD') {
      if (isDashboardPath('GET', path)) return sendNotFoundText(answering);
      throw methodNotAllowed();
    }
    const trimmed = path.length > 1 ? path.replace(/\/+$/, '') : path;
    const check = HEALTH.exec(trimmed);
    if (check) return this.health(check, answering);
    switch (trimmed) {
      case '/version':
        return sendObject(answering, 200, this.versionInfo(), JSON_FORM);
      case CA_PATH:
        return sendText(answering, 200, 'application/x-pem-file', this.options.caPem());
      case '/api':
        return this.core(answering);
      case '/apis':
        return this.groups(answering);
      case '/metrics':
        return sendText(answering, 200, 'text/plain; version=0.0.4; charset=utf-8', this.options.metrics());
      case '/copepod/v1/boards':
        return sendObject(answering, 200, this.options.boards(), JSON_FORM);
      case '/openapi/v2':
        return this.openApiV2(answering);
      case '/openapi/v3':
        return sendText(answering, 200, TEXT, JSON.stringify(this.options.openApi.index()));
      case '/.well-known/openid-configuration':
        return sendObject(answering, 200, this.openIdConfiguration(), JSON_FORM);
      case '/openid/v1/jwks':
        return sendText(
          answering,
          200,
          'application/jwk-set+json',
          JSON.stringify(this.options.openId.jwks()),
        );
      default:
        return this.deeper(trimmed, user, answering);
    }
  }

  private async deeper(path: string, user: UserInfo | undefined, answering: Answering): Promise<void> {
    const [, root, second = '', third, ...more] = path.split('/');
    if (root === 'openapi' && second === 'v3')
      return this.openApiV3(path.slice('/openapi/v3/'.length), answering);
    if (root === 'api' && third === undefined) return this.resourceList('', second, answering);
    if (root === 'apis' && more.length === 0) {
      if (third !== undefined) return this.resourceList(second, third, answering);
      const group = this.options.discovery.group(second);
      return group ? sendObject(answering, 200, group, JSON_FORM) : sendNotFoundText(answering);
    }
    if (isDashboardPath('GET', path)) return this.file(path, user, answering);
    return sendNotFoundText(answering);
  }

  private resourceList(group: string, version: string, answering: Answering): Promise<void> {
    const list = this.options.discovery.resourceList(group, version);
    if (list) return sendObject(answering, 200, list, JSON_FORM);
    if (group !== '' && !this.options.discovery.hasGroup(group)) return sendNotFoundText(answering);
    throw noSuchResource();
  }

  private core(answering: Answering): Promise<void> {
    const version = wantsAggregatedDiscovery(answering.request.headers.accept);
    if (version) return this.aggregated(true, version, answering);
    return sendObject(
      answering,
      200,
      this.options.discovery.coreVersions(this.options.serverAddress()),
      JSON_FORM,
    );
  }

  private groups(answering: Answering): Promise<void> {
    const version = wantsAggregatedDiscovery(answering.request.headers.accept);
    if (version) return this.aggregated(false, version, answering);
    return sendObject(answering, 200, this.options.discovery.groupList(), JSON_FORM);
  }

  private aggregated(core: boolean, version: 'v2' | 'v2beta1', answering: Answering): Promise<void> {
    const text = `${JSON.stringify(this.options.discovery.aggregated(core, version))}\n`;
    const type = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
    return sendText(answering, 200, type, text, { vary: 'Accept' });
  }

  private health([, endpoint, only]: RegExpExecArray, answering: Answering): Promise<void> {
    const { query } = answering;
    const answer = health(endpoint as 'healthz' | 'livez' | 'readyz', this.options.checks, {
      only,
      verbose: query.has('verbose'),
      exclude: query.getAll('exclude'),
    });
    if (!answer) return sendNotFoundText(answering);
    return sendText(answering, answer.code, TEXT, answer.text, { 'x-content-type-options': 'nosniff' });
  }

  private async openApiV2(answering: Answering): Promise<void> {
    const chosen = chooseType(answering.request.headers.accept, ['application/json', ...OPENAPI_V2_PROTOBUF]);
    if (chosen === undefined) {
      throw new StatusError('NotAcceptable', 406, 'only application/json is offered for /openapi/v2');
    }
    if (chosen !== 'application/json') {
      // The older spelling is no media type that clients could read in an answer.
      const document = await this.options.openApi.v2Protobuf();
      return sendDocument(document, answering, {
        'cache-control': NOT_CACHED,
        'content-type': OPENAPI_V2_PROTOBUF[1],
      });
    }
    return sendDocument(await this.options.openApi.v2(), answering, { 'cache-control': NOT_CACHED });
  }

  private async openApiV3(path: string, answering: Answering): Promise<void> {
    const document = await this.options.openApi.v3(path);
    if (!document) {
      answering.response.writeHead(404, { 'content-length': 0 }).end();
      return;
    }
    const hash = answering.query.get('hash');
    if (hash === null) return sendDocument(document, answering, { 'cache-control': NOT_CACHED });
    const current = this.options.openApi.hash(path);
    if (hash !== current) {
      // The index was read before a CRD came or went: lead to the present document.
      answering.response
        .writeHead(301, { location: `/openapi/v3/${path}?hash=${current}`, 'content-length': 0 })
        .end();
      return;
    }
    return sendDocument(document, answering, { 'cache-control': 'public, immutable' });
  }

  private async join(method: string, user: UserInfo | undefined, answering: Answering): Promise<void> {
    if (method !== 'POST') throw methodNotAllowed();
    const { headers, socket } = answering.request;
    const body = await readBody(answering.request, this.options.clock, LARGEST_JOIN);
    const value = parseJoinBody(body);
    const answer = this.options.join(value, headers.authorization, user, socket.remoteAddress ?? '');
    return sendObject(answering, 200, answer, JSON_FORM);
  }

  private async file(path: string, user: UserInfo | undefined, answering: Answering): Promise<void> {
    const { request, response } = answering;
    const found = await this.options.files?.read(path);
    if (!found) return path === '/' && user ? this.root(answering) : sendNotFoundText(answering);
    const headers = { ...PAGE_HEADERS, 'cache-control': 'no-cache', etag: found.etag };
    if (request.headers['if-none-match'] === found.etag) {
      response.writeHead(304, headers).end();
      return;
    }
    return sendText(answering, 200, found.contentType, found.body, headers);
  }

  /** Without a dashboard, `/` lists what there is, as Kubernetes does, for those who are known. */
  private root(answering: Answering): Promise<void> {
    const groups = this.options.discovery.groups();
    const paths = [
      '/.well-known/openid-configuration',
      '/api',
      '/api/v1',
      '/apis',
      ...groups.flatMap(({ name, versions }) => [
        `/apis/${name}`,
        ...versions.map((version) => `/apis/${name}/${version}`),
      ]),
      '/healthz',
      '/livez',
      '/metrics',
      '/openapi/v2',
      '/openapi/v3',
      '/openid/v1/jwks',
      '/readyz',
      '/version',
    ];
    return sendObject(answering, 200, { paths }, JSON_FORM);
  }

  private openIdConfiguration(): object {
    const { issuer } = this.options.openId;
    return {
      issuer,
      jwks_uri: `https://${this.options.serverAddress()}/openid/v1/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    };
  }

  private versionInfo(): object {
    return {
      major: '1',
      minor: '36',
      emulationMajor: '1',
      emulationMinor: '36',
      minCompatibilityMajor: '1',
      minCompatibilityMinor: '35',
      gitVersion: this.options.version,
      gitCommit: '',
      gitTreeState: 'clean',
      buildDate: '',
      goVersion: `node ${process.version}`,
      compiler: 'node',
      platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
    };
  }
}

function parseJoinBody(body: Buffer): unknown {
  try {
    return parseJson(decodeText(body)).value;
  } catch (error) {
    if (error instanceof JsonSyntaxError) throw badRequest(`the join request is not JSON: ${error.message}`);
    throw error;
  }
}

/** Where clients older than Kubernetes 1.27 (Debian 12's kubectl is 1.20) want their schemas. */
const OPENAPI_V2_PROTOBUF = [
  'application/com.github.proto-openapi.spec.v2@v1.0+protobuf',
  'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
] as const;

async function sendDocument(
  document: OpenApiDocument,
  { request, response }: Answering,
  headers: Record<string, string>,
): Promise<void> {
  const common = { ...headers, etag: document.etag, vary: 'Accept-Encoding, Accept' };
  if (request.headers['if-none-match'] === document.etag) {
    response.writeHead(304, common).end();
    return;
  }
  const zipped = acceptsGzip(request);
  const body = zipped ? document.compressed : gunzipSync(document.compressed);
  response.writeHead(200, {
    'content-type': 'application/json',
    ...common,
    'content-length': body.length,
    ...(zipped ? { 'content-encoding': 'gzip' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}
