import { builtInResources, Catalogue } from '../../src/api/catalogue.ts';
import { loadResourceFacts, loadSchemaFacts } from '../../src/api/facts.ts';
import { NAMESPACES, SERVICE_ACCOUNTS } from '../../src/api/kinds.ts';
import { type KubeObject, objectKey } from '../../src/api/object.ts';
import { groupResource, type ResourceType } from '../../src/api/resource.ts';
import { Schemas } from '../../src/api/schema.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { Random } from '../../src/lib/random.ts';
import { admissionPlugins } from '../../src/server/admission/index.ts';
import { ApiRegistry } from '../../src/server/registry/api-registry.ts';
import { LocalClient } from '../../src/server/registry/local-client.ts';
import { createStrategies } from '../../src/server/registry/strategies/index.ts';
import { MemoryEngine } from '../../src/server/store/memory-engine.ts';
import type { Engine } from '../../src/server/store/port.ts';
import { ObjectStore } from '../../src/server/store/store.ts';
import type { Interceptor, Verb } from './fake-client.ts';

/** The real registry on a store in memory, with the looks inside that FakeClient offers. */
export class RegistryClient extends LocalClient {
  readonly catalogue: Catalogue;
  private readonly store: ObjectStore;
  private readonly api: ApiRegistry;
  private readonly interceptors = new Set<Interceptor>();
  private readonly buckets: string[];

  private constructor(parts: { store: ObjectStore; registry: ApiRegistry; catalogue: Catalogue }) {
    super({
      registry: parts.registry,
      user: { name: 'system:kube-controller-manager', groups: ['system:masters'] },
      logger: silentLogger,
    });
    this.store = parts.store;
    this.api = parts.registry;
    this.catalogue = parts.catalogue;
    this.buckets = [...new Set(parts.catalogue.all().map(groupResource))];
  }

  static async open(
    clock: Clock,
    random: Random,
    options: { engine?: Engine; freeze?: boolean } = {},
  ): Promise<RegistryClient> {
    const logger = silentLogger;
    const schemaFile = await loadSchemaFacts();
    const catalogue = new Catalogue(builtInResources(await loadResourceFacts(), schemaFile as never));
    const store = new ObjectStore({
      engine: options.engine ?? new MemoryEngine({ clock }),
      clock,
      logger,
      freeze: options.freeze ?? true,
    });
    const serviceCidr = '10.43.0.0/16';
    const registry = new ApiRegistry({
      store,
      catalogue,
      schemas: new Schemas(schemaFile),
      strategies: createStrategies(),
      admission: admissionPlugins({ store, random, clock }),
      clock,
      random,
      logger,
      serviceCidr,
    });
    await store.start();
    await registry.start();
    const client = new RegistryClient({ store, registry, catalogue });
    await client.create(NAMESPACES, undefined, { metadata: { name: 'default' } });
    await client.create(SERVICE_ACCOUNTS, 'default', { metadata: { name: 'default' } });
    return client;
  }

  /** Flushes and closes the store, and leaves no timer. */
  async close(): Promise<void> {
    await this.api.stop();
    await this.store.stop();
  }

  intercept(interceptor: Interceptor): () => void {
    this.interceptors.add(interceptor);
    return () => this.interceptors.delete(interceptor);
  }

  peek<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
  ): T | undefined {
    return this.store.get(groupResource(type), objectKey(namespace, name))?.object as T | undefined;
  }

  all<T extends KubeObject>(type: ResourceType<T>, namespace?: string): T[] {
    const objects = this.store.list(groupResource(type)).map(({ object }) => object as T);
    return namespace === undefined
      ? objects
      : objects.filter(({ metadata }) => metadata.namespace === namespace);
  }

  everything(): KubeObject[] {
    return this.buckets.flatMap((bucket) => this.store.list(bucket).map(({ object }) => object));
  }

  override create: LocalClient['create'] = async (type, namespace, object) => {
    this.ask('create', groupResource(type), namespace, object.metadata.name ?? '');
    return await super.create(type, namespace, object);
  };

  override patch: LocalClient['patch'] = async (type, namespace, name, patch, subresource) => {
    this.ask('patch', groupResource(type), namespace, name, subresource);
    return await super.patch(type, namespace, name, patch, subresource);
  };

  override createSubresource: LocalClient['createSubresource'] = async (
    type,
    namespace,
    name,
    subresource,
    body,
  ) => {
    this.ask('createSubresource', groupResource(type), namespace, name, subresource);
    return await super.createSubresource(type, namespace, name, subresource, body);
  };

  private ask(
    verb: Verb,
    resource: string,
    namespace: string | undefined,
    name: string,
    subresource?: string,
  ): void {
    const write = { verb, resource, namespace, name };
    for (const interceptor of this.interceptors) {
      interceptor(subresource === undefined ? write : { ...write, subresource });
    }
  }
}
