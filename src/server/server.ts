// The composition root of the server, in the order in which things depend on each other. docs/flow.md follows a pod
// through what is put together here.
import { mkdir } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { join, resolve } from 'node:path';
import { builtInResources, Catalogue } from '../api/catalogue.ts';
import type { Component } from '../api/components.ts';
import { loadBootstrapObjects, loadResourceFacts, loadSchemaFacts, loadTableColumns } from '../api/facts.ts';
import { groupResource } from '../api/resource.ts';
import { Schemas } from '../api/schema.ts';
import { nodeAddress, ownAddresses } from '../health/node-address.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { metricText } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import type { Service } from '../lib/service.ts';
import { dialer } from '../wire/dial.ts';
import { EmbeddedBroker } from '../wire/embedded-broker.ts';
import { LocalBus } from '../wire/local-bus.ts';
import type { MessageBus } from '../wire/message-bus.ts';
import { MqttClientBus } from '../wire/mqtt-client.ts';
import type { OptionalPlugin } from './admission/index.ts';
import { MqttUpgrade } from './bus/mqtt-upgrade.ts';
import { MqttsListener } from './bus/mqtts-listener.ts';
import { ControlPlane, type RegistryExtensions } from './control-plane.ts';
import { DEFAULT_INGRESS_CLASS } from './controllers/ingress/default-class.ts';
import { LOCAL_PATH_STORAGE_CLASS } from './controllers/storage/default-class.ts';
import { ApiServer } from './http/api-server.ts';
import { boardsOf } from './http/boards.ts';
import columnDescriptions from './http/column-descriptions.json' with { type: 'json' };
import type { HealthCheck, UpgradeRoute } from './http/ports.ts';
import { DirectoryFiles } from './http/static-files.ts';
import { AgentStreams } from './http/streams/agent-streams.ts';
import { PodStreams } from './http/streams/pod-streams.ts';
import { AccountTokens } from './identity/account-tokens.ts';
import { Authenticator } from './identity/authentication.ts';
import { UnionAuthorizer } from './identity/authorization.ts';
import { BootstrapTokens } from './identity/bootstrap-tokens.ts';
import { CertificateAdmission } from './identity/certificate-admission.ts';
import { certificateSigning } from './identity/certificate-signing.ts';
import { Identity } from './identity/identity.ts';
import { Joining } from './identity/joining.ts';
import { NodeAuthorizer } from './identity/node-authorizer.ts';
import { NodeCertificates } from './identity/node-certificates.ts';
import { NodeRestriction } from './identity/node-restriction.ts';
import { policyAuthorizer } from './identity/policy-authorizer.ts';
import { RbacAuthorizer } from './identity/rbac.ts';
import { IdentityReviews } from './identity/reviews.ts';
import { RoleAggregation } from './identity/role-aggregation.ts';
import { RoleGuard } from './identity/role-guard.ts';
import { ServingCertificate } from './identity/serving-certificate.ts';
import { METRICS_READER_ROLE } from './metrics.ts';
import { firstServiceAddress } from './registry/allocation.ts';
import { tableCells } from './registry/table-cells.ts';
import { lockDirectory } from './store/directory-lock.ts';
import { EncryptedEngine, rewriteSecrets } from './store/encrypted-engine.ts';
import { ENCRYPTION_KEYS_FILE, EncryptionKeys } from './store/encryption-keys.ts';
import { SqliteEngine } from './store/sqlite-engine.ts';

export { secretsEncrypt } from './secrets-encrypt.ts';

/** What the server is told; the resolved configuration of `copepod server` has it all. */
export interface ServerOptions {
  dataDir: string;
  bindAddress: string;
  httpsListenPort: number;
  /** 0: none. */
  mqttListenPort: number;
  mqttUrl?: string | undefined;
  nodeIp?: string | undefined;
  tlsSans: readonly string[];
  token?: string | undefined;
  clusterCidr: string;
  serviceCidr: string;
  clusterDns: string;
  clusterDomain: string;
  writeKubeconfig: string;
  writeKubeconfigMode: number;
  /** Of Secrets in the database. */
  secretsEncryption: boolean;
  auditLogPath?: string | undefined;
  auditPolicyFile?: string | undefined;
  /** Mebibytes. */
  auditLogMaxSize: number;
  /** Days; 0: no limit. */
  auditLogMaxAge: number;
  /** 0: no limit. */
  auditLogMaxBackup: number;
  schedulerMeasured?: 'off' | 'scores' | 'full' | undefined;
  /** Lost nodes a second whose pods are evicted. Default: 0.1. */
  nodeEvictionRate?: number | undefined;
  /** Default: 0.01. */
  secondaryNodeEvictionRate?: number | undefined;
  enableAdmissionPlugins?: readonly OptionalPlugin[];
  disable?: readonly Component[];
}

export interface ServerDependencies {
  logger: Logger;
  clock: Clock;
  random: Random;
  /** copepod's own version, 1.2.3. */
  version: string;
}

export interface Server extends Service {
  /** What the agent of the same process needs in order to join like any other. */
  readonly local: { server: string; token: string; own: true };
}

const RUNS_FROM_SOURCE = import.meta.url.endsWith('.ts');
/** The bundle's files stand beside each other in one folder. */
const WORKER_URL = RUNS_FROM_SOURCE ? undefined : new URL('./store-worker.js', import.meta.url);
const DASHBOARD = new URL('./dashboard', import.meta.url).pathname;

/**
 * Locks the data directory, loads or makes keys and certificates, and composes. Throws DirectoryInUse, JoinTokenError or
 * the system's error (EACCES, …) with nothing left behind.
 */
export async function createServer(options: ServerOptions, deps: ServerDependencies): Promise<Server> {
  const directory = join(options.dataDir, 'server');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const lock = await lockDirectory(directory);
  try {
    return await compose(options, deps, directory, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function compose(
  options: ServerOptions,
  deps: ServerDependencies,
  directory: string,
  lock: { release(): void },
): Promise<Server> {
  const { clock, random, logger } = deps;
  const disabled: ReadonlySet<Component> = new Set(options.disable);
  const address = options.nodeIp ?? (await nodeAddress()) ?? '127.0.0.1';
  const identity = new Identity({
    dataDir: directory,
    clock,
    random,
    logger,
    addresses: [...new Set([address, ...ownAddresses(), ...options.tlsSans])],
    serviceIP: firstServiceAddress(options.serviceCidr),
    clusterDomain: options.clusterDomain,
    token: options.token,
  });
  identity.start();

  const [resources, schemas, columns, bootstrapObjects] = await Promise.all([
    loadResourceFacts(),
    loadSchemaFacts(),
    loadTableColumns(),
    loadBootstrapObjects(),
  ]);
  const catalogue = new Catalogue(builtInResources(resources, schemas as never));
  const broker = options.mqttUrl === undefined ? new EmbeddedBroker({ logger }) : undefined;
  const bus = broker ? new LocalBus({ broker, logger }) : externalBus(options.mqttUrl ?? '', deps);

  let engineFailure: Error | undefined;
  const database = {
    file: join(directory, 'store.db'),
    clock,
    ...(WORKER_URL ? { workerUrl: WORKER_URL } : {}),
  };
  const keys = await secretsKeys(
    join(directory, ENCRYPTION_KEYS_FILE),
    options.secretsEncryption,
    database,
    deps,
  );
  const sqlite = new SqliteEngine({
    ...database,
    ...(keys ? { worker: { secureDelete: true } } : {}),
    // The process cannot promise anything any more; who supervises starts it again and the store recovers.
    onFailure: (error) => {
      engineFailure = error;
      logger.error({ err: error }, 'the store has failed');
      process.exit(1);
    },
  });
  const engine = keys
    ? new EncryptedEngine({ engine: sqlite, keys, encrypts: options.secretsEncryption })
    : sqlite;
  const issuer = `https://kubernetes.default.svc.${options.clusterDomain}`;
  let parts: IdentityParts | undefined;
  const plane = new ControlPlane({
    engine,
    bus,
    clock,
    random,
    logger,
    catalogue,
    schemas: new Schemas(schemas),
    bootstrapObjects: [
      ...bootstrapObjects,
      METRICS_READER_ROLE,
      ...(disabled.has('local-storage') ? [] : [LOCAL_PATH_STORAGE_CLASS]),
      ...(disabled.has('ingress') ? [] : [DEFAULT_INGRESS_CLASS]),
    ],
    disabled,
    storageDirectory: join(resolve(options.dataDir), 'storage'),
    clusterCidr: options.clusterCidr,
    serviceCidr: options.serviceCidr,
    clusterDns: options.clusterDns,
    clusterDomain: options.clusterDomain,
    ca: identity.caPem,
    advertise: { address: advertisedAddress(options), port: options.httpsListenPort },
    externalBroker: broker === undefined,
    ...(options.enableAdmissionPlugins === undefined
      ? {}
      : { admissionPlugins: options.enableAdmissionPlugins }),
    ...(options.schedulerMeasured === undefined ? {} : { schedulerMeasured: options.schedulerMeasured }),
    evictionRates: {
      ...(options.nodeEvictionRate === undefined ? {} : { normal: options.nodeEvictionRate }),
      ...(options.secondaryNodeEvictionRate === undefined
        ? {}
        : { secondary: options.secondaryNodeEvictionRate }),
    },
    extend: (store): RegistryExtensions => {
      const tokens = new AccountTokens({ store, clock, random, key: identity.serviceAccountKey, issuer });
      const bootstrapTokens = new BootstrapTokens({ store, clock });
      const authenticator = new Authenticator(tokens, () => identity.dashboardToken, bootstrapTokens, {
        refusal: (node, fingerprint) => nodeCertificates.refusal(node, fingerprint),
      });
      const rbac = new RbacAuthorizer(store);
      const authorizer = new UnionAuthorizer([new NodeAuthorizer(store), rbac]);
      parts = { tokens, authenticator, rbac, authorizer, bootstrapTokens };
      return {
        admissionBefore: [new NodeRestriction(store)],
        admissionAfter: [new RoleGuard(rbac, authorizer), new CertificateAdmission(authorizer)],
        services: (shared) => [
          certificateSigning({
            ...shared,
            authorizer,
            issue: (request) => {
              const certificate = identity.issueCertificate(request);
              nodeCertificates.approved(certificate);
              return certificate;
            },
          }),
        ],
        tokenIssuer: tokens,
        reviews: new IdentityReviews({ authorizer, rbac, authenticator }),
        authorize: policyAuthorizer(authorizer),
        components: () => [
          { name: 'controller-manager', healthy: true, message: 'ok' },
          { name: 'scheduler', healthy: true, message: 'ok' },
          { name: 'etcd-0', healthy: engineFailure === undefined, message: engineFailure?.message ?? 'ok' },
        ],
      };
    },
  });
  if (!parts) throw new Error('the control plane has composed no identity');
  const { tokens, authenticator, rbac, authorizer } = parts;
  const { store, registry } = plane;

  const nodeCertificates = new NodeCertificates({ store, client: plane.client, clock, logger });
  const joining = new Joining({
    identity,
    certificates: nodeCertificates,
    logger,
    mqttUrl: options.mqttUrl,
    bootstrap: parts.bootstrapTokens,
  });
  const aggregation = new RoleAggregation({ store, client: plane.client, clock, logger });
  const agents = new AgentStreams({
    bus,
    clock,
    random,
    connected: (node) => plane.boards.liveness.of(node)?.connected ?? false,
  });
  const streams = new PodStreams({ client: plane.client, agents, clock, random });
  const upgrades: UpgradeRoute[] = [streams.agentRoute()];
  if (broker) upgrades.push(new MqttUpgrade({ broker }));
  let ready = false;
  const checks: HealthCheck[] = [
    { name: 'store', for: ['livez', 'readyz'], check: () => engineFailure?.message },
    { name: 'controllers', for: ['readyz'], check: () => (ready ? undefined : 'not started yet') },
  ];
  const audit = await auditLog(options, deps);
  const api = new ApiServer({
    audit,
    // A resource of two versions (autoscaling) is one.
    objectCounts: () =>
      new Map(catalogue.all().map((info) => [groupResource(info), store.count(groupResource(info))])),
    listen: { address: options.bindAddress, port: options.httpsListenPort },
    registry,
    catalogue,
    identity,
    authenticator,
    authorizer,
    joining,
    openId: { issuer: tokens.issuer, jwks: () => tokens.jwks() },
    streams,
    upgrades,
    checks,
    tables: { columns, descriptions: columnDescriptions, cells: tableCells(registry.served) },
    openApi: {
      loadSchemas: async () => (await loadSchemaFacts()).schemas as never,
      custom: { schema: (info) => registry.customs.of(info)?.openApi() },
    },
    files: disabled.has('dashboard') ? undefined : new DirectoryFiles(DASHBOARD),
    metrics: () => metricText(plane.metered()),
    boards: () => boardsOf(plane.informers, plane.boards, clock),
    revision: () => store.revision,
    serialise: (object) => store.json(object as never),
    version: deps.version,
    clock,
    random,
    logger,
  });
  const mqtts =
    broker && options.mqttListenPort > 0
      ? new MqttsListener({
          broker,
          tls: { ca: identity.caPem, certificate: identity.serving.certificate, key: identity.serving.key },
          host: options.bindAddress,
          port: options.mqttListenPort,
          admits: (node, fingerprint) => nodeCertificates.refusal(node, fingerprint) === undefined,
          logger,
        })
      : undefined;
  const servingCertificate = new ServingCertificate({
    identity,
    addresses: async () => [(await nodeAddress()) ?? [], ownAddresses()].flat(),
    onChange: () => {
      api.certificateChanged();
      mqtts?.useCertificate({ ca: identity.caPem, ...identity.serving });
    },
    clock,
    logger,
  });
  nodeCertificates.onChange((node) => {
    api.recheckNode(node);
    mqtts?.recheckNode(node);
  });
  const local = localAddress(options.bindAddress);
  const url = `https://${local}:${options.httpsListenPort}`;

  return {
    local: { server: url, token: identity.joinToken, own: true },
    start: async () => {
      await broker?.start();
      await plane.start();
      rbac.start();
      aggregation.start();
      nodeCertificates.start();
      await audit?.start();
      await api.start();
      await mqtts?.start();
      servingCertificate.start();
      identity.writeKubeconfig(url, options.writeKubeconfig, options.writeKubeconfigMode);
      ready = true;
      logger.info(
        { url: `https://${address}:${options.httpsListenPort}`, kubeconfig: options.writeKubeconfig },
        'the API is served',
      );
    },
    // Clients first, then what they changed, then the disk.
    stop: async () => {
      ready = false;
      servingCertificate.stop();
      await mqtts?.stop();
      agents.stop();
      await api.stop();
      await audit?.stop();
      await nodeCertificates.stop();
      aggregation.stop();
      rbac.stop();
      await plane.stop();
      await broker?.stop();
      lock.release();
    },
  };
}

async function auditLog(options: ServerOptions, { clock, logger }: ServerDependencies) {
  const { auditLogPath: path, auditPolicyFile, auditLogMaxSize, auditLogMaxAge, auditLogMaxBackup } = options;
  if (path === undefined) {
    if (auditPolicyFile === undefined) return undefined;
    throw new Error('--audit-policy-file is of no use without --audit-log-path');
  }
  const { AuditLog } = await import('./http/audit-log.ts');
  const policy =
    auditPolicyFile === undefined
      ? undefined
      : await (await import('./http/audit-policy.ts')).readAuditPolicy(auditPolicyFile);
  return new AuditLog({
    path,
    policy,
    maxSize: auditLogMaxSize,
    maxAge: auditLogMaxAge,
    maxBackups: auditLogMaxBackup,
    clock,
    logger,
  });
}

/** The keys that the Secrets in the database need, after these are written as wanted; undefined when they are plain. */
async function secretsKeys(
  file: string,
  encrypt: boolean,
  database: ConstructorParameters<typeof SqliteEngine>[0],
  { clock, random, logger }: ServerDependencies,
): Promise<EncryptionKeys | undefined> {
  const known = EncryptionKeys.read(file, random);
  if (!known && !encrypt) return undefined;
  const keys = known ?? EncryptionKeys.create(file, random, clock.now());
  const { enabled, pending } = keys.status();
  if (pending || enabled !== encrypt) {
    const engine = new SqliteEngine({ ...database, worker: { secureDelete: true, vacuum: true } });
    const count = await rewriteSecrets({ engine, keys, encrypt });
    logger.info({ count, encrypt }, 'Secrets rewritten in the database');
  }
  return keys;
}

interface IdentityParts {
  tokens: AccountTokens;
  authenticator: Authenticator;
  rbac: RbacAuthorizer;
  authorizer: UnionAuthorizer;
  bootstrapTokens: BootstrapTokens;
}

function externalBus(url: string, { clock, random, logger }: ServerDependencies): MessageBus {
  const { username, password } = new URL(url);
  return new MqttClientBus({
    clock,
    random,
    logger,
    clientId: `copepod-server-${random.bytes(4).toString('hex')}`,
    dial: dialer(url, () => ({})),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
  });
}

/** Where the server reaches itself. */
function localAddress(bindAddress: string): string {
  if (bindAddress === '0.0.0.0') return '127.0.0.1';
  if (bindAddress === '::') return '[::1]';
  return bindAddress.includes(':') ? `[${bindAddress}]` : bindAddress;
}

/** Where pods reach the API: nowhere, when it listens at the loopback. The machine's own address may come and change. */
function advertisedAddress({
  bindAddress,
  nodeIp,
}: ServerOptions): string | (() => Promise<string | undefined>) {
  if (bindAddress.startsWith('127.') || bindAddress === '::1') return '';
  if (isIPv4(bindAddress) && bindAddress !== '0.0.0.0') return bindAddress;
  return nodeIp ?? (() => nodeAddress());
}
