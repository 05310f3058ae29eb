import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Catalogue } from '../../api/catalogue.ts';
import { StatusError } from '../../api/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Random } from '../../lib/random.ts';
import type { Service } from '../../lib/service.ts';
import type { Authenticator } from '../identity/authentication.ts';
import type { Authorizer } from '../identity/authorization.ts';
import type { Identity } from '../identity/identity.ts';
import type { Joining } from '../identity/joining.ts';
import { nodeOfUser } from '../identity/node-authorizer.ts';
import type { Registry, RequestContext, UserInfo } from '../registry/port.ts';
import { Access, describe, unauthorized } from './access.ts';
import { type Answering, asStatusError, sendStatus, statusOverSocket, toStatusError } from './answer.ts';
import { Discovery } from './discovery.ts';
import { Fairness } from './fairness.ts';
import { HttpsListener } from './https-listener.ts';
import {
  asConnect,
  auditId,
  hasBody,
  makeContext,
  matchesRoute,
  NOBODY,
  parse,
  readUrl,
} from './incoming.ts';
import { negotiate } from './negotiation.ts';
import { OpenApi } from './openapi.ts';
import type { RawSchema } from './openapi-documents.ts';
import { isDashboardPath, isPublicPath, PathHandler } from './path-handler.ts';
import type {
  CustomSchemas,
  HealthCheck,
  StreamHandlers,
  TableCells,
  Upgrade,
  UpgradeRoute,
} from './ports.ts';
import type { RequestInfo, ResourceRequest } from './request-info.ts';
import { watchOptions } from './request-options.ts';
import { type AuditSink, RequestRecords, type Told } from './request-records.ts';
import { noSuchResource, ResourceHandler, sendNotFoundText } from './resource-handler.ts';
import type { StaticFiles } from './static-files.ts';
import { type ColumnDescriptions, includeObject, type TableColumns, TableWriter } from './table.ts';
import { WatchStreams } from './watch.ts';

export interface ApiServerOptions {
  /** Port 0 chooses a free one; see `port`. */
  listen: { address: string; port: number };
  registry: Registry;
  catalogue: Catalogue;
  identity: Identity;
  authenticator: Authenticator;
  authorizer: Authorizer;
  joining: Joining;
  /** Issuer and public key of service account tokens. */
  openId: { issuer: string; jwks: () => object };
  streams: StreamHandlers;
  upgrades: readonly UpgradeRoute[];
  checks: readonly HealthCheck[];
  tables: { columns: TableColumns; descriptions: ColumnDescriptions; cells: TableCells };
  openApi: { loadSchemas: () => Promise<Readonly<Record<string, RawSchema>>>; custom: CustomSchemas };
  /** The dashboard; absent: none. */
  files?: StaticFiles | undefined;
  /** What the boards measured last; see boards.ts. */
  boards: () => object;
  /** The newest published revision. */
  revision: () => number;
  /** The JSON text of an object; the store keeps those of fresh ones. Absent: JSON.stringify. */
  serialise?: ((object: object) => string) | undefined;
  /** copepod's own version: 1.2.3 */
  version: string;
  clock: Clock;
  random: Random;
  logger: Logger;
  limits?: ServerLimits | undefined;
  /** Absent: no audit log. */
  audit?: AuditSink | undefined;
  /** What other parts have to tell to Prometheus, in its text format. */
  metrics?: (() => string) | undefined;
  /** How many objects are stored of each resource, for metrics. */
  objectCounts?: (() => Iterable<readonly [resource: string, count: number]>) | undefined;
}

export interface ServerLimits {
  /** Requests in work. */
  total?: number;
  /** Of one user. */
  perClient?: number;
  /** The longest that a TLS handshake, and then a request's head, may take. */
  headMs?: number;
  /** A client that takes nothing of its answer for this long (twice it at most) is cut off. */
  stallMs?: number;
}

const KUBERNETES_VERSION = 'v1.36.0';

/**
 * The HTTPS port: the Kubernetes API, joining, the dashboard's files, and upgrades (streams of pods, MQTT, agents).
 * Each request: identify -> impersonate -> authorise -> take a place -> resolve -> handle -> answer.
 */
export class ApiServer implements Service {
  private readonly options: ApiServerOptions;
  private readonly access: Access;
  private readonly fairness: Fairness;
  private readonly records: RequestRecords;
  private readonly watches: WatchStreams;
  private readonly resources: ResourceHandler;
  private readonly openApi: OpenApi;
  private readonly paths: PathHandler;
  private readonly listener: HttpsListener;
  /** Upgraded connections of nodes, with the request that proved who they are. */
  private readonly nodeSockets = new Map<Duplex, { nodeName: string; request: IncomingMessage }>();

  constructor(options: ApiServerOptions) {
    this.options = options;
    const { registry, catalogue, clock, random, identity, joining } = options;
    const serialise = options.serialise ?? JSON.stringify;
    const version = `${KUBERNETES_VERSION}+copepod.${options.version}`;
    const tables = new TableWriter(options.tables);
    this.access = new Access({
      authenticator: options.authenticator,
      authorizer: options.authorizer,
      onRefused: (reason) => options.logger.info({ reason }, 'credentials refused'),
    });
    this.records = new RequestRecords(options);
    this.fairness = new Fairness({
      total: options.limits?.total ?? 400,
      perClient: options.limits?.perClient ?? 100,
    });
    this.watches = new WatchStreams({
      registry,
      tables,
      clock,
      random,
      revision: options.revision,
      serialise,
    });
    this.resources = new ResourceHandler({
      registry,
      catalogue,
      tables,
      watches: this.watches,
      streams: options.streams,
      clock,
      serialise,
      loadSchemas: options.openApi.loadSchemas,
    });
    this.openApi = new OpenApi({ catalogue, clock, version, ...options.openApi });
    this.paths = new PathHandler({
      discovery: new Discovery(catalogue),
      openApi: this.openApi,
      clock,
      version,
      serverAddress: () => `${options.listen.address}:${this.port}`,
      caPem: () => identity.caPem,
      join: (body, authorization, user, from) => joining.join(body, authorization, user, from),
      openId: options.openId,
      checks: options.checks,
      files: options.files,
      boards: options.boards,
      metrics: () =>
        this.records.metrics(version, options.objectCounts?.() ?? []) + (options.metrics?.() ?? ''),
    });
    this.listener = new HttpsListener({
      listen: options.listen,
      identity,
      clock,
      logger: options.logger,
      headMs: options.limits?.headMs,
      stallMs: options.limits?.stallMs,
      onRequest: (request, response) => this.onRequest(request, response),
      onUpgrade: (upgrade) => this.onUpgrade(upgrade),
    });
  }

  /** The port that it listens on; 0 before start. */
  get port(): number {
    return this.listener.port;
  }

  /** The serving certificate is another one: for connections from now on. */
  certificateChanged(): void {
    this.listener.certificateChanged();
  }

  /** Rejects with the system's error (EADDRINUSE, EACCES) when it cannot listen. */
  async start(): Promise<void> {
    this.openApi.start();
    this.options.catalogue.onRemove((info) => this.watches.endOf(info));
    await this.listener.start();
  }

  /** No new connections; watches end in order; requests under way get some seconds; then everything is closed. */
  async stop(): Promise<void> {
    await this.listener.stop(() => this.watches.stop());
    this.openApi.stop();
  }

  private begun(request: IncomingMessage): Told {
    return {
      method: request.method ?? 'GET',
      id: auditId(request) ?? this.options.random.uuid(),
      receivedAt: this.options.clock.now(),
      begun: this.options.clock.monotonic(),
      annotations: new Map(),
    };
  }

  private async onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const told = this.begun(request);
    const { method, id, annotations } = told;
    const warnings: string[] = [];
    const answering: Answering = { request, response, query: new URLSearchParams(), warnings };
    let leave: (() => void) | undefined;
    const working = this.records.begin(method);
    response.setHeader('audit-id', id);
    if (this.listener.stopping) response.setHeader('connection', 'close');
    try {
      const url = readUrl(request);
      Object.assign(answering, { query: url.query });
      const info = parse(method, url.path, url.query);
      told.info = info;
      const asking = this.identify(request, method, url.path);
      told.user = asking?.user;
      this.records.received(told, request);
      answering.bodies = told.bodies;
      const user = asking && this.access.effectiveUser(request, asking.user);
      told.effective = user;
      if (user && !asking?.open) this.access.authorize(user, info, url.query);
      leave = this.fairness.enter(user?.name ?? request.socket.remoteAddress ?? '');
      response.once('close', leave);
      const demandCreate = user && this.access.creation(user, info, url.query);
      const context = makeContext(
        user ?? NOBODY,
        id,
        warnings,
        request,
        url.query,
        demandCreate,
        annotations,
      );
      if (info.kind === 'path') await this.paths.handle(method, info.path, user, answering);
      else await this.handleResource(info, context, answering, leave);
    } catch (error) {
      told.error = toStatusError(error);
      await this.answerError(error, answering, told.info);
    } finally {
      leave?.();
      working();
      this.records.tell(told, answering);
    }
  }

  /**
   * Who asks. `open`: the path needs no right. The anonymous get nothing else (401), so that nothing has to be granted to
   * them by roles. On open paths bad credentials count as none: a browser with an old token still gets the log-in page.
   */
  private identify(
    request: IncomingMessage,
    method: string,
    path: string,
  ): { user: UserInfo; open: boolean } | undefined {
    const open = isPublicPath(method, path) || isDashboardPath(method, path);
    try {
      const { user, anonymous } = this.access.authenticate(request);
      if (!anonymous) return { user, open };
    } catch (error) {
      if (!open) throw error;
    }
    if (open) return undefined;
    throw unauthorized();
  }

  private async handleResource(
    info: ResourceRequest,
    context: RequestContext,
    answering: Answering,
    leave: () => void,
  ): Promise<void> {
    const target = this.resources.resolve(info);
    if (!target) return sendNotFoundText(answering);
    // A log may be followed for hours, and so may a proxied answer: they hold no place.
    if (target.subresource === 'log' || target.subresource === 'proxy') leave();
    const gone = new AbortController();
    answering.response.once('close', () => gone.abort());
    await this.resources.handle(info, target, context, answering, gone.signal);
  }

  private async answerError(
    error: unknown,
    answering: Answering,
    info: RequestInfo | undefined,
  ): Promise<void> {
    const { request, response } = answering;
    const status = toStatusError(error);
    if (!asStatusError(error)) {
      this.options.logger.error({ error, request: info && describe(info) }, 'request failed');
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    // What is left of a refused body would be taken for the next request.
    if (!request.complete && hasBody(request)) response.setHeader('connection', 'close');
    await sendStatus(answering, status).catch(() => response.destroy());
  }

  private async onUpgrade(upgrade: Upgrade): Promise<void> {
    const { request, socket } = upgrade;
    const told = this.begun(request);
    try {
      if (this.listener.stopping) throw new StatusError('ServiceUnavailable', 503, 'the server is stopping');
      const { path, query } = readUrl(request);
      const route = this.options.upgrades.find((candidate) => matchesRoute(candidate.path, path));
      if (!route) told.info = parse(told.method, path, query);
      const { user, anonymous } = this.access.authenticate(request);
      if (anonymous) throw unauthorized();
      told.user = user;
      if (route) await this.upgradeRoute(route, user, path, query, upgrade);
      else await this.upgradeResource(told, user, query, upgrade);
    } catch (error) {
      if (!asStatusError(error)) this.options.logger.error({ error, url: request.url }, 'upgrade failed');
      told.error = toStatusError(error);
      if (told.info) this.records.refused(told, upgrade);
      if (socket.writable) socket.end(statusOverSocket(told.error));
      else socket.destroy();
    }
  }

  private async upgradeRoute(
    route: UpgradeRoute,
    user: UserInfo,
    path: string,
    query: URLSearchParams,
    upgrade: Upgrade,
  ): Promise<void> {
    const nodeName = nodeOfUser(user);
    if (route.who === 'node' && nodeName === undefined) {
      throw new StatusError('Forbidden', 403, `${path} is for nodes only`, {});
    }
    if (nodeName !== undefined) {
      this.nodeSockets.set(upgrade.socket, { nodeName, request: upgrade.request });
      upgrade.socket.once('close', () => this.nodeSockets.delete(upgrade.socket));
    }
    await route.upgrade({ user, nodeName, path, query }, upgrade);
  }

  /** Ends the node's connections unless the certificate that they came with is still good. */
  recheckNode(nodeName: string): void {
    for (const [socket, held] of this.nodeSockets) {
      if (held.nodeName !== nodeName) continue;
      try {
        this.access.authenticate(held.request);
      } catch {
        this.options.logger.info({ nodeName }, 'a node that was removed is disconnected');
        socket.destroy();
      }
    }
  }

  private async upgradeResource(
    told: Told,
    user: UserInfo,
    query: URLSearchParams,
    upgrade: Upgrade,
  ): Promise<void> {
    const { request } = upgrade;
    const info = parse(told.method, readUrl(request).path, query);
    told.info = info.kind === 'resource' ? asConnect(info) : info;
    this.records.received(told, request);
    const effective = this.access.effectiveUser(request, user);
    told.effective = effective;
    this.access.authorize(effective, told.info, query);
    if (info.kind === 'path') throw noSuchResource();
    const target = this.resources.resolve(info);
    if (!target) throw noSuchResource();
    const context = makeContext(effective, told.id, [], request, query, undefined, told.annotations);
    if (info.verb === 'watch') {
      const { acceptWatch } = await import('./websocket-watch.ts');
      const form = negotiate(undefined);
      const sink = acceptWatch(upgrade);
      this.records.upgraded(told, upgrade);
      return this.watches
        .serve(context, target, watchOptions(query), form, includeObject(query), sink)
        .catch((error: unknown) => sink.fail(toStatusError(error)));
    }
    await this.resources.upgrade(info, target, context, query, upgrade);
    this.records.upgraded(told, upgrade);
  }
}
