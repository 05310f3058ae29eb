import { builtInResources, Catalogue } from '../../src/api/catalogue.ts';
import { loadResourceFacts, loadSchemaFacts } from '../../src/api/facts.ts';
import type { JsonObject, KubeObject } from '../../src/api/object.ts';
import { parseApiVersion } from '../../src/api/resource.ts';
import { Schemas } from '../../src/api/schema.ts';
import type { Patch } from '../../src/client/port.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { admissionPlugins, type OptionalPlugin } from '../../src/server/admission/index.ts';
import type { Ask } from '../../src/server/admission/policies/compiled.ts';
import type { AdmissionPlugin } from '../../src/server/admission/port.ts';
import { ApiRegistry } from '../../src/server/registry/api-registry.ts';
import type { RequestContext, Target, UserInfo } from '../../src/server/registry/port.ts';
import { createStrategies } from '../../src/server/registry/strategies/index.ts';
import { MemoryEngine } from '../../src/server/store/memory-engine.ts';
import type { Store } from '../../src/server/store/port.ts';
import { ObjectStore } from '../../src/server/store/store.ts';
import { SeededRandom } from './seeded-random.ts';
import { VirtualClock } from './virtual-clock.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests look into objects of every kind.
type Loose = any;

const ADMIN: UserInfo = { name: 'admin', groups: ['system:masters'] };

/** The registry with all of admission on a store in memory, spoken to as HTTP does, with the warnings it gave. */
export class AdmissionServer {
  readonly clock: VirtualClock;
  readonly store: ObjectStore;
  readonly registry: ApiRegistry;
  warnings: string[] = [];
  annotations: Record<string, string> = {};
  user: UserInfo = ADMIN;

  private constructor(parts: { clock: VirtualClock; store: ObjectStore; registry: ApiRegistry }) {
    this.clock = parts.clock;
    this.store = parts.store;
    this.registry = parts.registry;
  }

  /** With the namespace `default` and its service account. */
  static async start(
    options: {
      enabled?: OptionalPlugin[];
      before?: (store: Store) => AdmissionPlugin[];
      authorize?: Ask;
    } = {},
  ): Promise<AdmissionServer> {
    const clock = new VirtualClock();
    const random = new SeededRandom(3);
    const facts = await loadSchemaFacts();
    const catalogue = new Catalogue(builtInResources(await loadResourceFacts(), facts as never));
    const store = new ObjectStore({
      engine: new MemoryEngine({ clock }),
      clock,
      logger: silentLogger,
      freeze: true,
    });
    await store.start();
    const registry = new ApiRegistry({
      store,
      catalogue,
      schemas: new Schemas(facts),
      strategies: createStrategies(),
      admission: admissionPlugins({
        store,
        random,
        clock,
        ...(options.enabled === undefined ? {} : { enabled: options.enabled }),
        ...(options.before === undefined ? {} : { before: options.before(store) }),
      }),
      clock,
      random,
      logger: silentLogger,
      serviceCidr: '10.43.0.0/16',
      authorize: options.authorize,
    });
    await registry.start();
    const server = new AdmissionServer({ clock, store, registry });
    await server.namespace('default');
    return server;
  }

  async stop(): Promise<void> {
    await this.registry.stop();
    await this.store.stop();
  }

  async namespace(name: string, metadata: JsonObject = {}): Promise<void> {
    await this.create('v1', 'Namespace', undefined, { metadata: { name, ...metadata } });
    await this.create('v1', 'ServiceAccount', name, { metadata: { name: 'default' } });
  }

  async create(
    apiVersion: string,
    kind: string,
    namespace: string | undefined,
    body: object,
    options: { dryRun?: boolean; subresource?: string; name?: string } = {},
  ): Promise<Loose> {
    const { dryRun = false, subresource, name } = options;
    const target = { ...this.target(apiVersion, kind, namespace), subresource, name };
    const whole = subresource === undefined ? { apiVersion, kind, ...body } : body;
    return this.registry.create(this.context(), target, whole, { dryRun });
  }

  async patch(
    apiVersion: string,
    kind: string,
    namespace: string | undefined,
    name: string,
    body: object,
    subresource?: string,
  ): Promise<Loose> {
    const { info } = this.target(apiVersion, kind, namespace);
    const target = { info, namespace, name, subresource };
    const patch: Patch = { type: info.custom ? 'merge' : 'strategic', body };
    return (await this.registry.patch(this.context(), target, patch)).object;
  }

  async delete(
    apiVersion: string,
    kind: string,
    namespace: string | undefined,
    name: string,
  ): Promise<unknown> {
    return this.registry.delete(this.context(), { ...this.target(apiVersion, kind, namespace), name });
  }

  stored(bucket: string, key: string): KubeObject | undefined {
    return this.store.get(bucket, key)?.object;
  }

  /** The refusal's message; fails when it is let through. */
  async refusal(request: Promise<unknown>): Promise<string> {
    try {
      await request;
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error('the request was not refused');
  }

  private context(): RequestContext {
    this.warnings = [];
    this.annotations = {};
    return {
      user: this.user,
      requestId: 'test',
      fieldManager: 'test',
      warn: (text) => void this.warnings.push(text),
      annotate: (key, value) => {
        this.annotations[key] = value;
      },
    };
  }

  private target(apiVersion: string, kind: string, namespace: string | undefined): Target {
    const { group, version } = parseApiVersion(apiVersion);
    const info = this.registry.catalogue.findKind(apiVersion, kind);
    if (!info) throw new Error(`no kind ${kind} in ${group}/${version}`);
    return { info, namespace };
  }
}
