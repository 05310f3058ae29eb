import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { builtInResources, Catalogue } from '../../../src/api/catalogue.ts';
import { isAlreadyExists, isConflict, isExpired, StatusError } from '../../../src/api/errors.ts';
import { loadBootstrapObjects, loadResourceFacts, loadSchemaFacts } from '../../../src/api/facts.ts';
import type { JsonObject, KubeObject } from '../../../src/api/object.ts';
import { Schemas } from '../../../src/api/schema.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { admissionPlugins } from '../../../src/server/admission/index.ts';
import { ApiRegistry } from '../../../src/server/registry/api-registry.ts';
import { bootstrap } from '../../../src/server/registry/bootstrap.ts';
import type { RequestContext, Target, WatchMessage } from '../../../src/server/registry/port.ts';
import { createStrategies } from '../../../src/server/registry/strategies/index.ts';
import { MemoryDisk, MemoryEngine } from '../../../src/server/store/memory-engine.ts';
import { ObjectStore } from '../../../src/server/store/store.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const SERVICE_CIDR = '10.43.0.0/24';
const HOUR = 60 * 60_000;

class Server {
  readonly clock: VirtualClock;
  readonly store: ObjectStore;
  readonly registry: ApiRegistry;
  readonly warnings: string[] = [];
  readonly context: RequestContext = {
    user: { name: 'admin', groups: ['system:masters'] },
    requestId: 'test',
    fieldManager: 'test',
    warn: (text) => void this.warnings.push(text),
  };

  constructor(store: ObjectStore, registry: ApiRegistry, clock: VirtualClock) {
    this.store = store;
    this.registry = registry;
    this.clock = clock;
  }

  static async start(disk = new MemoryDisk()): Promise<Server> {
    const clock = new VirtualClock();
    const random = new SeededRandom(7);
    const logger = silentLogger;
    const schemaFacts = await loadSchemaFacts();
    const catalogue = new Catalogue(builtInResources(await loadResourceFacts(), schemaFacts as never));
    const store = new ObjectStore({ engine: new MemoryEngine({ disk }), clock, logger, freeze: true });
    await store.start();
    const registry = new ApiRegistry({
      store,
      catalogue,
      schemas: new Schemas(schemaFacts),
      strategies: createStrategies(),
      admission: admissionPlugins({ store, random, clock }),
      clock,
      random,
      logger,
      serviceCidr: SERVICE_CIDR,
    });
    await registry.start();
    await bootstrap({
      registry,
      store,
      logger,
      objects: await loadBootstrapObjects(),
      serviceCidr: SERVICE_CIDR,
    });
    return new Server(store, registry, clock);
  }

  async stop(): Promise<void> {
    await this.registry.stop();
    await this.store.stop();
  }

  target(resource: string, name?: string, subresource?: string): Target {
    const info = this.registry.catalogue.all().find((candidate) => candidate.resource === resource);
    if (!info) throw new Error(resource);
    return { info, namespace: info.namespaced ? 'default' : undefined, name, subresource };
  }

  create(resource: string, name: string, rest: object = {}): Promise<KubeObject> {
    return this.registry.create(this.context, this.target(resource), { metadata: { name }, ...rest });
  }

  merge(resource: string, name: string, body: object, subresource?: string): Promise<{ object: KubeObject }> {
    return this.registry.patch(this.context, this.target(resource, name, subresource), {
      type: 'merge',
      body,
    });
  }
}

async function refusal(work: Promise<unknown>): Promise<StatusError> {
  const error = await work.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(StatusError);
  return error as StatusError;
}

describe('registry', () => {
  let server: Server;
  beforeEach(async () => {
    server = await Server.start();
  });
  afterEach(() => server.stop());

  const specOf = (object: KubeObject): JsonObject => (object as unknown as { spec: JsonObject }).spec;

  test('the first start makes what every cluster has; a second one changes nothing', async () => {
    const disk = new MemoryDisk();
    const first = await Server.start(disk);
    const before = first.store.list('services').map(({ object }) => object);
    expect(specOf(before[0] as KubeObject).clusterIP).toBe('10.43.0.1');
    expect(first.store.list('namespaces').map(({ object }) => object.metadata.name)).toEqual([
      'default',
      'kube-node-lease',
      'kube-public',
      'kube-system',
    ]);
    const revision = (bucket: string) => first.store.list(bucket).map((row) => row.revision);
    const roles = revision('clusterroles.rbac.authorization.k8s.io');
    expect(roles.length).toBeGreaterThan(60);
    await first.stop();
    const second = await Server.start(disk);
    expect(second.store.list('clusterroles.rbac.authorization.k8s.io').map((row) => row.revision)).toEqual(
      roles,
    );
    await second.stop();
  });

  test('no two services share an address or a node port, and a deleted one gives both back', async () => {
    const made = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        server.create('services', `s${index}`, { spec: { type: 'NodePort', ports: [{ port: 80 }] } }),
      ),
    );
    const addresses = made.map((service) => specOf(service).clusterIP);
    const ports = made.map((service) => (specOf(service).ports as JsonObject[])[0]?.nodePort);
    expect(new Set(addresses).size).toBe(40);
    expect(new Set(ports).size).toBe(40);
    const wanted = {
      spec: { type: 'NodePort', clusterIP: addresses[0], ports: [{ port: 80, nodePort: ports[0] }] },
    };
    expect((await refusal(server.create('services', 'thief', wanted))).code).toBe(422);
    await server.registry.delete(server.context, server.target('services', 's0'));
    expect(specOf(await server.create('services', 'heir', wanted)).clusterIP).toBe(addresses[0]);
  });

  test('addresses are still taken after a restart, and a refused service keeps none', async () => {
    const disk = new MemoryDisk();
    const first = await Server.start(disk);
    const clusterIP = '10.43.0.200';
    await first.create('services', 'a', { spec: { clusterIP, ports: [{ port: 80 }] } });
    const broken = { spec: { clusterIP: '10.43.0.201', ports: [{ port: 0 }] } };
    await refusal(first.create('services', 'broken', broken));
    await first.stop();
    const second = await Server.start(disk);
    const again = { spec: { clusterIP, ports: [{ port: 80 }] } };
    expect((await refusal(second.create('services', 'b', again))).message).toMatch(/already allocated/);
    await second.create('services', 'c', { spec: { clusterIP: '10.43.0.201', ports: [{ port: 80 }] } });
    await second.stop();
  });

  test('a type change gives node ports back and keeps the address', async () => {
    const made = specOf(
      await server.create('services', 's', { spec: { type: 'NodePort', ports: [{ port: 80 }] } }),
    );
    const [port] = made.ports as JsonObject[];
    const { object } = await server.merge('services', 's', { spec: { type: 'ClusterIP' } });
    expect(specOf(object)).toMatchObject({ type: 'ClusterIP', clusterIP: made.clusterIP });
    expect((specOf(object).ports as JsonObject[])[0]).not.toHaveProperty('nodePort');
    const taken = { spec: { type: 'NodePort', ports: [{ port: 1, nodePort: port?.nodePort }] } };
    await server.create('services', 'other', taken);
  });

  test('a balanced Service of the policy Local has a health check port, also without node ports', async () => {
    const created = await server.create('services', 'local', {
      spec: {
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        allocateLoadBalancerNodePorts: false,
        ports: [{ port: 80 }],
      },
    });
    const spec = specOf(created);
    expect((spec.ports as JsonObject[])[0]).not.toHaveProperty('nodePort');
    expect(spec.healthCheckNodePort).toBeGreaterThanOrEqual(30_000);
  });

  test('pages show one moment, whatever happens meanwhile', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await server.create('configmaps', name);
    const list = (options: object) =>
      server.registry.list(server.context, server.target('configmaps'), { limit: 2, ...options });
    const names = (items: readonly KubeObject[]) => items.map(({ metadata }) => metadata.name);
    const first = await list({});
    expect(names(first.items)).toEqual(['a', 'b']);
    expect(first.remainingItemCount).toBe(3);
    await server.registry.delete(server.context, server.target('configmaps', 'c'));
    await server.create('configmaps', 'bb');
    const second = await list({ continue: first.continue });
    expect(names(second.items)).toEqual(['c', 'd']);
    const third = await list({ continue: second.continue });
    expect(names(third.items)).toEqual(['e']);
    expect(third.continue).toBeUndefined();
    expect(third.resourceVersion).toBe(first.resourceVersion);
  });

  test('a watch from a forgotten revision, and a page of one, are Expired', async () => {
    const made = await server.create('configmaps', 'a');
    const page = await server.registry.list(server.context, server.target('configmaps'), { limit: 1 });
    await server.create('configmaps', 'b');
    const old = await server.registry.list(server.context, server.target('configmaps'), { limit: 1 });
    for (let round = 0; round < 1100; round += 1) {
      await server.merge('configmaps', 'a', { data: { round: String(round) } });
    }
    const watch = server.registry.watch(
      server.context,
      server.target('configmaps'),
      { resourceVersion: made.metadata.resourceVersion ?? '' },
      () => {},
    );
    expect(isExpired(await refusal(watch))).toBe(true);
    expect(page.continue).toBeUndefined();
    const next = server.registry.list(server.context, server.target('configmaps'), {
      limit: 1,
      continue: old.continue ?? '',
    });
    expect(isExpired(await refusal(next))).toBe(true);
  });

  test('a watch begins with what is there, ends it with a bookmark, and gets one every minute', async () => {
    await server.create('configmaps', 'a');
    const seen: WatchMessage[] = [];
    const watch = await server.registry.watch(
      server.context,
      server.target('configmaps'),
      { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan', allowWatchBookmarks: true },
      (message) => void seen.push(message),
    );
    expect(seen.map(({ type }) => type)).toEqual(['ADDED', 'BOOKMARK']);
    expect((seen[1] as { object: KubeObject }).object.metadata.annotations).toEqual({
      'k8s.io/initial-events-end': 'true',
    });
    await server.clock.advance(60_000);
    expect(seen.map(({ type }) => type)).toEqual(['ADDED', 'BOOKMARK', 'BOOKMARK']);
    watch.stop();
    await server.clock.advance(60_000);
    expect(seen).toHaveLength(3);
  });

  test('unconditional writers never lose; a PUT that asks for a revision does', async () => {
    const made = await server.create('configmaps', 'a', { data: {} });
    const put = (data: object, resourceVersion?: string) =>
      server.registry.update(server.context, server.target('configmaps', 'a'), {
        metadata: { name: 'a', ...(resourceVersion === undefined ? {} : { resourceVersion }) },
        data,
      });
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        index % 2 === 0
          ? server.merge('configmaps', 'a', { data: { [`k${index}`]: '1' } })
          : put({ put: '1' }),
      ),
    );
    expect(isConflict(await refusal(put({}, made.metadata.resourceVersion)))).toBe(true);
  });

  test('generated names that are taken are generated again', async () => {
    const make = () =>
      server.registry.create(server.context, server.target('configmaps'), {
        metadata: { generateName: 'x-' },
      });
    const names = new Set(
      (await Promise.all(Array.from({ length: 50 }, make))).map(({ metadata }) => metadata.name),
    );
    expect(names.size).toBe(50);
    await server.create('configmaps', 'fixed');
    expect(isAlreadyExists(await refusal(server.create('configmaps', 'fixed')))).toBe(true);
  });

  test('a dry run answers as if, and leaves nothing behind', async () => {
    const before = server.store.revision;
    const dry = { dryRun: true };
    const body = { metadata: { name: 'x' }, spec: { clusterIP: '10.43.0.222', ports: [{ port: 80 }] } };
    const made = await server.registry.create(server.context, server.target('services'), body, dry);
    expect(specOf(made).clusterIP).toBe('10.43.0.222');
    expect(server.store.revision).toBe(before);
    await server.create('services', 'real', { spec: { clusterIP: '10.43.0.222', ports: [{ port: 80 }] } });
  });

  test('a change that changes nothing is no write', async () => {
    const made = await server.create('configmaps', 'a', { data: { x: '1' } });
    const { object } = await server.merge('configmaps', 'a', { data: { x: '1' } });
    expect(object.metadata.resourceVersion).toBe(made.metadata.resourceVersion);
  });

  test('events are forgotten after an hour, unless they went on', async () => {
    const event = (name: string, lastTimestamp: string) =>
      server.create('events', name, {
        involvedObject: { kind: 'Node', name: 'n' },
        reason: 'R',
        lastTimestamp,
      });
    const stamp = (after: number) => new Date(server.clock.now() + after).toISOString();
    await event('old', stamp(0));
    await event('lasting', stamp(2 * HOUR));
    await server.clock.advance(HOUR + 120_000);
    expect(server.store.list('events').map(({ object }) => object.metadata.name)).toEqual(['lasting']);
  });

  test('an event is one object in two shapes', async () => {
    const info = server.registry.catalogue.find('events.k8s.io', 'v1', 'events');
    if (!info) throw new Error('events.k8s.io');
    const target = { info, namespace: 'default' };
    await server.registry.create(server.context, target, {
      metadata: { name: 'e' },
      regarding: { kind: 'Node', name: 'n' },
      note: 'hello',
      reportingController: 'example.com/c',
      reportingInstance: 'i',
      action: 'A',
      reason: 'R',
      type: 'Normal',
      eventTime: '2026-01-01T00:00:00.000000Z',
    });
    const core = server.registry.catalogue.find('', 'v1', 'events');
    if (!core) throw new Error('events');
    const seen = await server.registry.get(server.context, { info: core, namespace: 'default', name: 'e' });
    expect(seen).toMatchObject({ apiVersion: 'v1', message: 'hello', involvedObject: { name: 'n' } });
    const back = await server.registry.get(server.context, { ...target, name: 'e' });
    expect(back).toMatchObject({ apiVersion: 'events.k8s.io/v1', note: 'hello', regarding: { name: 'n' } });
  });

  test('a namespace that is going away takes nothing new', async () => {
    await server.create('namespaces', 'ns');
    await server.registry.delete(server.context, server.target('namespaces', 'ns'));
    const target = { ...server.target('configmaps'), namespace: 'ns' };
    const error = await refusal(server.registry.create(server.context, target, { metadata: { name: 'a' } }));
    expect(error.status.details?.causes?.[0]?.reason).toBe('NamespaceTerminating');
    expect(
      (await refusal(server.registry.delete(server.context, server.target('namespaces', 'default')))).code,
    ).toBe(403);
  });

  test('what is stored without effect says so', async () => {
    await server.create('validatingwebhookconfigurations', 'w', {
      webhooks: [
        {
          name: 'a.example.com',
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          clientConfig: { url: 'https://example.com/hook' },
          rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] }],
        },
      ],
    });
    expect(server.warnings).toContainEqual(expect.stringContaining('no effect yet'));
  });

  test('hostile patches are refused, not obeyed', async () => {
    await server.create('configmaps', 'a');
    let deep: object = {};
    for (let level = 0; level < 100_000; level += 1) deep = { deep };
    expect((await refusal(server.merge('configmaps', 'a', deep))).code).toBe(400);
    const many = Array.from({ length: 10_001 }, () => ({ op: 'test', path: '', value: 1 }));
    const target = server.target('configmaps', 'a');
    const patch = server.registry.patch(server.context, target, { type: 'json', operations: many });
    expect((await refusal(patch)).code).toBe(413);
    const body = JSON.parse('{"data":{"__proto__":"x","constructor":"y"}}');
    const { object } = await server.merge('configmaps', 'a', body);
    expect(Object.keys((object as unknown as { data: object }).data).sort()).toEqual([
      '__proto__',
      'constructor',
    ]);
  });
});
