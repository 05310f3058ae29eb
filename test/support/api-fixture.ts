import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { builtInResources, Catalogue } from '../../src/api/catalogue.ts';
import {
  loadBootstrapObjects,
  loadResourceFacts,
  loadSchemaFacts,
  loadTableColumns,
} from '../../src/api/facts.ts';
import type { KubeObject } from '../../src/api/object.ts';
import { groupResource } from '../../src/api/resource.ts';
import { Schemas } from '../../src/api/schema.ts';
import { type Clock, SystemClock } from '../../src/lib/clock.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import { SystemRandom } from '../../src/lib/random.ts';
import { podSecurity } from '../../src/server/admission/pod-security/plugin.ts';
import type { AdmissionPlugin } from '../../src/server/admission/port.ts';
import type { RegistryExtensions } from '../../src/server/control-plane.ts';
import { ApiServer, type ApiServerOptions } from '../../src/server/http/api-server.ts';
import descriptions from '../../src/server/http/column-descriptions.json' with { type: 'json' };
import type { StreamHandlers } from '../../src/server/http/ports.ts';
import { AccountTokens } from '../../src/server/identity/account-tokens.ts';
import { Authenticator } from '../../src/server/identity/authentication.ts';
import { UnionAuthorizer } from '../../src/server/identity/authorization.ts';
import { BootstrapTokens } from '../../src/server/identity/bootstrap-tokens.ts';
import { CertificateAdmission } from '../../src/server/identity/certificate-admission.ts';
import { certificateSigning } from '../../src/server/identity/certificate-signing.ts';
import { Identity } from '../../src/server/identity/identity.ts';
import { Joining } from '../../src/server/identity/joining.ts';
import { NodeAuthorizer } from '../../src/server/identity/node-authorizer.ts';
import { NodeCertificates } from '../../src/server/identity/node-certificates.ts';
import { NodeRestriction } from '../../src/server/identity/node-restriction.ts';
import { policyAuthorizer } from '../../src/server/identity/policy-authorizer.ts';
import { RbacAuthorizer } from '../../src/server/identity/rbac.ts';
import { IdentityReviews } from '../../src/server/identity/reviews.ts';
import { RoleGuard } from '../../src/server/identity/role-guard.ts';
import { ApiRegistry } from '../../src/server/registry/api-registry.ts';
import { bootstrap } from '../../src/server/registry/bootstrap.ts';
import { LocalClient } from '../../src/server/registry/local-client.ts';
import type { Reviews, TokenIssuer } from '../../src/server/registry/ports.ts';
import { createStrategies } from '../../src/server/registry/strategies/index.ts';
import { tableCells } from '../../src/server/registry/table-cells.ts';
import { MemoryEngine } from '../../src/server/store/memory-engine.ts';
import type { Store } from '../../src/server/store/port.ts';
import { ObjectStore } from '../../src/server/store/store.ts';

/** What stands behind HTTP: a store and the registry over it, started and stopped together. */
export interface Backend {
  readonly store: ObjectStore;
  readonly registry: ApiRegistry;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface BackendParts {
  clock: Clock;
  random: SystemRandom;
  logger: Logger;
  catalogue: Catalogue;
  schemas: Schemas;
  serviceCidr: string;
  caPem: string;
  /** What identity adds, given the store. */
  extend: (store: Store) => {
    admission: AdmissionPlugin[];
    tokenIssuer: TokenIssuer;
    reviews: Reviews;
    authorize: NonNullable<RegistryExtensions['authorize']>;
    /** For a backend with controllers. */
    services: NonNullable<RegistryExtensions['services']>;
  };
}

export interface ApiFixtureOptions {
  clock?: Clock;
  logger?: Logger;
  serviceCidr?: string;
  /** Absent: registry and store alone, without controllers. */
  backend?: (parts: BackendParts) => Promise<Backend> | Backend;
  streams?: () => StreamHandlers;
  server?: Partial<ApiServerOptions>;
}

/** A real API server on loopback, with a store in memory and the objects of a first start. */
export class ApiFixture {
  readonly store: ObjectStore;
  readonly registry: ApiRegistry;
  readonly identity: Identity;
  readonly server: ApiServer;
  private readonly directory: string;
  private readonly services: { stop(): unknown }[];
  private readonly agents: Agent[] = [];

  private constructor(parts: {
    backend: Backend;
    identity: Identity;
    server: ApiServer;
    directory: string;
    services: { stop(): unknown }[];
  }) {
    this.store = parts.backend.store;
    this.registry = parts.backend.registry;
    this.identity = parts.identity;
    this.server = parts.server;
    this.directory = parts.directory;
    this.services = parts.services;
  }

  static async start(options: ApiFixtureOptions = {}): Promise<ApiFixture> {
    const clock = options.clock ?? new SystemClock();
    const random = new SystemRandom();
    const logger = options.logger ?? silentLogger;
    const directory = mkdtempSync(join(tmpdir(), 'copepod-api-'));
    const schemaFile = await loadSchemaFacts();
    const catalogue = new Catalogue(builtInResources(await loadResourceFacts(), schemaFile as never));
    const identity = new Identity({
      dataDir: directory,
      clock,
      random,
      logger,
      addresses: [],
      serviceIP: '10.0.0.1',
      clusterDomain: 'cluster.local',
    });
    identity.start();
    const parts: IdentityParts[] = [];
    const backend = await (options.backend ?? registryAlone)({
      clock,
      random,
      logger,
      catalogue,
      schemas: new Schemas(schemaFile),
      serviceCidr: options.serviceCidr ?? '10.0.0.0/16',
      caPem: identity.caPem,
      extend: (store) => {
        const made = identityParts(store, identity, clock, random);
        parts.push(made);
        return made.extension;
      },
    });
    const [made] = parts;
    if (!made) throw new Error('the backend did not ask for what identity adds');
    const { store, registry } = backend;
    const client = new LocalClient({
      registry,
      user: { name: 'copepod:test', groups: ['system:masters'] },
      logger,
    });
    const certificates = new NodeCertificates({ store, client, clock, logger });
    made.certificates.push(certificates);
    const joining = new Joining({ identity, certificates, logger, bootstrap: made.bootstrapTokens });
    const server = new ApiServer({
      listen: { address: '127.0.0.1', port: 0 },
      registry,
      catalogue,
      identity,
      authenticator: made.authenticator,
      authorizer: made.authorizer,
      joining,
      openId: { issuer: made.tokens.issuer, jwks: () => made.tokens.jwks() },
      streams: options.streams?.() ?? NO_STREAMS,
      upgrades: [],
      checks: [],
      tables: { columns: await loadTableColumns(), descriptions, cells: tableCells(registry.served) },
      openApi: {
        loadSchemas: async () => schemaFile.schemas as never,
        custom: { schema: (info) => registry.customs.of(info)?.openApi() },
      },
      boards: () => ({}),
      // A resource of two versions (autoscaling) is one.
      objectCounts: () =>
        new Map(catalogue.all().map((info) => [groupResource(info), store.count(groupResource(info))])),
      revision: () => store.revision,
      serialise: (object) => store.json(object as KubeObject),
      version: '0.0.0',
      clock,
      random,
      logger,
      ...options.server,
    });
    certificates.onChange((node) => server.recheckNode(node));
    const services = [backend, made.rbac, certificates, server];
    for (const service of services) await service.start();
    return new ApiFixture({ backend, identity, server, directory, services });
  }

  async stop(): Promise<void> {
    for (const service of [...this.services].reverse()) await service.stop();
    for (const agent of this.agents) agent.destroy();
    rmSync(this.directory, { recursive: true, force: true });
  }

  get url(): string {
    return `https://127.0.0.1:${this.server.port}`;
  }

  /** A client with the administrator's certificate, or with the credentials given (`{}`: none). */
  client(credentials: { cert?: string; key?: string; token?: string } = this.adminCredentials()): ApiClient {
    const agent = new Agent({
      keepAlive: true,
      ca: this.identity.caPem,
      ...(credentials.cert ? { cert: credentials.cert, key: credentials.key } : {}),
    });
    this.agents.push(agent);
    return new ApiClient(this.server.port, agent, credentials.token);
  }

  private adminCredentials() {
    return { cert: this.identity.admin.certificate, key: this.identity.admin.key };
  }
}

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  /** Parsed, when it is JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every kind.
  body: any;
}

export interface Ask {
  headers?: Record<string, string | string[]>;
  /** An object is sent as JSON, a string as it is. */
  body?: unknown;
  /** Called for each chunk of the answer as it comes. */
  onData?: (text: string) => void;
  signal?: AbortSignal;
}

export class ApiClient {
  private readonly port: number;
  private readonly agent: Agent;
  private readonly token: string | undefined;

  constructor(port: number, agent: Agent, token: string | undefined) {
    this.port = port;
    this.agent = agent;
    this.token = token;
  }

  get = (path: string, ask: Ask = {}): Promise<Answer> => this.ask('GET', path, ask);
  post = (path: string, body: unknown, ask: Ask = {}): Promise<Answer> =>
    this.ask('POST', path, { ...ask, body });
  delete = (path: string, ask: Ask = {}): Promise<Answer> => this.ask('DELETE', path, ask);

  ask(method: string, path: string, { headers = {}, body, onData, signal }: Ask = {}): Promise<Answer> {
    const content = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const options: RequestOptions = {
      host: '127.0.0.1',
      port: this.port,
      agent: this.agent,
      method,
      path,
      headers: {
        ...(content === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...headers,
      },
      ...(signal ? { signal } : {}),
    };
    return new Promise((resolve, reject) => {
      const sent = request(options, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          onData?.(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          const type = String(response.headers['content-type'] ?? '');
          const json = text !== '' && (type.includes('json') || text.startsWith('{'));
          let parsed: unknown = text;
          if (json) {
            try {
              parsed = JSON.parse(text);
            } catch {
              // A stream of events: its text is what counts.
            }
          }
          resolve({
            status: response.statusCode ?? 0,
            headers: { ...response.headers, warning: response.headersDistinct.warning },
            text,
            body: parsed,
          });
        });
      });
      sent.on('error', reject);
      sent.end(content);
    });
  }
}

const NO_STREAMS: StreamHandlers = {
  log: async () => {
    throw new Error('this fixture has no streams');
  },
  upgrade: () => {
    throw new Error('this fixture has no streams');
  },
  proxy: () => {
    throw new Error('this fixture has no streams');
  },
};

interface IdentityParts {
  tokens: AccountTokens;
  authenticator: Authenticator;
  authorizer: UnionAuthorizer;
  rbac: RbacAuthorizer;
  bootstrapTokens: BootstrapTokens;
  /** Put in when there is a client to make it with. */
  certificates: NodeCertificates[];
  extension: ReturnType<BackendParts['extend']>;
}

function identityParts(store: Store, identity: Identity, clock: Clock, random: SystemRandom): IdentityParts {
  const tokens = new AccountTokens({
    store,
    clock,
    random,
    key: identity.serviceAccountKey,
    issuer: 'https://kubernetes.default.svc.cluster.local',
  });
  const rbac = new RbacAuthorizer(store);
  const authorizer = new UnionAuthorizer([new NodeAuthorizer(store), rbac]);
  const bootstrapTokens = new BootstrapTokens({ store, clock });
  const certificates: NodeCertificates[] = [];
  const authenticator = new Authenticator(tokens, () => identity.dashboardToken, bootstrapTokens, {
    refusal: (node, fingerprint) => certificates[0]?.refusal(node, fingerprint),
  });
  return {
    certificates,
    tokens,
    authenticator,
    authorizer,
    rbac,
    bootstrapTokens,
    extension: {
      admission: [
        podSecurity(store),
        new NodeRestriction(store),
        new RoleGuard(rbac, authorizer),
        new CertificateAdmission(authorizer),
      ],
      tokenIssuer: tokens,
      reviews: new IdentityReviews({ authorizer, rbac, authenticator }),
      authorize: policyAuthorizer(authorizer),
      services: (shared) => [
        certificateSigning({ ...shared, authorizer, issue: (request) => identity.issueCertificate(request) }),
      ],
    },
  };
}

function registryAlone(parts: BackendParts): Backend {
  const { clock, random, logger, catalogue, schemas, serviceCidr, extend } = parts;
  const store = new ObjectStore({ engine: new MemoryEngine({ clock }), clock, logger });
  const { admission, services: _services, ...rest } = extend(store);
  const registry = new ApiRegistry({
    store,
    catalogue,
    schemas,
    strategies: createStrategies(),
    admission,
    clock,
    random,
    logger,
    serviceCidr,
    ...rest,
  });
  return {
    store,
    registry,
    start: async () => {
      await store.start();
      await registry.start();
      const objects = await loadBootstrapObjects();
      await bootstrap({ registry, store, logger, objects, serviceCidr });
    },
    stop: async () => {
      await registry.stop();
      await store.stop();
    },
  };
}
