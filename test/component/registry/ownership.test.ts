// Field ownership through the registry: what every verb does to metadata.managedFields.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { builtInResources, Catalogue } from '../../../src/api/catalogue.ts';
import { StatusError } from '../../../src/api/errors.ts';
import { loadResourceFacts, loadSchemaFacts } from '../../../src/api/facts.ts';
import { FieldsTable } from '../../../src/api/managed-fields/fields-table.ts';
import type { JsonObject, KubeObject } from '../../../src/api/object.ts';
import { Schemas } from '../../../src/api/schema.ts';
import type { Patch } from '../../../src/client/port.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { ApiRegistry } from '../../../src/server/registry/api-registry.ts';
import type { RequestContext, Target, WriteOptions } from '../../../src/server/registry/port.ts';
import { createStrategies } from '../../../src/server/registry/strategies/index.ts';
import { MemoryDisk, MemoryEngine } from '../../../src/server/store/memory-engine.ts';
import { ObjectStore } from '../../../src/server/store/store.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

class Server {
  readonly clock = new VirtualClock();
  readonly disk: MemoryDisk;
  readonly warnings: string[] = [];
  store!: ObjectStore;
  registry!: ApiRegistry;
  creations = 0;
  mayCreate = true;

  constructor(disk = new MemoryDisk()) {
    this.disk = disk;
  }

  async start(): Promise<void> {
    const { clock, disk } = this;
    const schemaFacts = await loadSchemaFacts();
    const fields = new FieldsTable();
    this.store = new ObjectStore({
      engine: new MemoryEngine({ disk }),
      clock,
      logger: silentLogger,
      freeze: true,
      onLoad: (object) => fields.shareIn(object),
    });
    await this.store.start();
    this.registry = new ApiRegistry({
      store: this.store,
      catalogue: new Catalogue(builtInResources(await loadResourceFacts(), schemaFacts as never)),
      schemas: new Schemas(schemaFacts),
      strategies: createStrategies(),
      admission: [],
      clock,
      random: new SeededRandom(3),
      logger: silentLogger,
      serviceCidr: '10.43.0.0/24',
      fields,
    });
    await this.registry.start();
  }

  async stop(): Promise<void> {
    await this.registry.stop();
    await this.store.stop();
  }

  as(fieldManager: string): RequestContext {
    return {
      user: { name: 'admin', groups: [] },
      requestId: 'test',
      fieldManager,
      warn: (text) => void this.warnings.push(text),
      demandCreate: () => {
        this.creations += 1;
        if (!this.mayCreate) throw new StatusError('Forbidden', 403, 'no');
      },
    };
  }

  target(path: string, name?: string, subresource?: string): Target {
    const [group = '', version = '', resource = ''] = path.split('/');
    const info = this.registry.catalogue.find(group, version, resource);
    if (!info) throw new Error(path);
    return { info, namespace: info.namespaced ? 'default' : undefined, name, subresource };
  }

  create(manager: string, path: string, body: JsonObject): Promise<KubeObject> {
    return this.registry.create(this.as(manager), this.target(path), body);
  }

  async apply(
    manager: string,
    path: string,
    body: JsonObject,
    more: { force?: boolean; subresource?: string; options?: WriteOptions } = {},
  ): Promise<{ object: KubeObject; created: boolean }> {
    const name = (body.metadata as JsonObject).name as string;
    const target = this.target(path, name, more.subresource);
    const patch: Patch = { type: 'apply', body, fieldManager: manager, force: more.force ?? false };
    return this.registry.patch(this.as(manager), target, patch, more.options);
  }

  async merge(
    manager: string,
    path: string,
    name: string,
    body: JsonObject,
    subresource?: string,
  ): Promise<KubeObject> {
    const target = this.target(path, name, subresource);
    return (await this.registry.patch(this.as(manager), target, { type: 'merge', body })).object;
  }

  read(path: string, name: string): Promise<KubeObject> {
    return this.registry.get(this.as('reader'), this.target(path, name));
  }
}

const MAPS = '/v1/configmaps';
const map = (name: string, data?: JsonObject): JsonObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name },
  ...(data ? { data } : {}),
});
const who = ({ metadata }: KubeObject): (string | undefined)[][] =>
  (metadata.managedFields ?? []).map(({ manager, operation, subresource, time }) =>
    [manager, operation, subresource, time].filter((part) => part !== undefined),
  );
const setOf = ({ metadata }: KubeObject, manager: string): unknown =>
  metadata.managedFields?.find((entry) => entry.manager === manager)?.fieldsV1;

describe('ownership', () => {
  let server: Server;
  beforeEach(async () => {
    server = new Server();
    await server.start();
  });
  afterEach(() => server.stop());

  test('a creator owns what it said and what was defaulted, not what the server adds', async () => {
    const pod = await server.create('kubectl', '/v1/pods', {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
      status: { phase: 'Running' },
    });
    const { 'f:spec': spec, 'f:status': status } = setOf(pod, 'kubectl') as JsonObject;
    expect(Object.keys(spec as JsonObject)).toEqual([
      'f:containers',
      'f:dnsPolicy',
      'f:enableServiceLinks',
      'f:restartPolicy',
      'f:schedulerName',
      'f:securityContext',
      'f:terminationGracePeriodSeconds',
    ]);
    expect(status).toBeUndefined();
  });

  test('an apply that changes nothing is no write, and neither is an update', async () => {
    const { object } = await server.apply('one', MAPS, map('a', { k: '1' }));
    await server.clock.advance(5000);
    const again = await server.apply('one', MAPS, map('a', { k: '1' }));
    expect(again.created).toBe(false);
    expect(again.object).toEqual(object);
    expect(await server.merge('two', MAPS, 'a', { data: { k: '1' } })).toEqual(object);
    expect((await server.read(MAPS, 'a')).metadata.resourceVersion).toBe(object.metadata.resourceVersion);
  });

  test('the time is that of the last change of the entry', async () => {
    const { object } = await server.apply('one', MAPS, map('a', { k: '1' }));
    const [first] = who(object);
    await server.clock.advance(5000);
    const [, second] = who(await server.merge('two', MAPS, 'a', { data: { l: '1' } }));
    await server.clock.advance(5000);
    const changed = await server.merge('two', MAPS, 'a', { data: { l: '2' } });
    expect(who(changed)[0]).toEqual(first);
    expect(who(changed)[1]?.slice(0, 2)).toEqual(['two', 'Update']);
    expect(who(changed)[1]).not.toEqual(second);
  });

  test('a dry run shows and keeps nothing', async () => {
    const shown = await server.apply('one', MAPS, map('a'), { options: { dryRun: true } });
    expect(shown.created).toBe(true);
    await expect(server.read(MAPS, 'a')).rejects.toThrow('not found');
    await server.apply('one', MAPS, map('a', { k: '1' }));
    const { object } = await server.apply('two', MAPS, map('a', { k: '2' }), {
      force: true,
      options: { dryRun: true },
    });
    expect(who(object)[0]?.[0]).toBe('two');
    expect(who(await server.read(MAPS, 'a'))[0]?.[0]).toBe('one');
  });

  test.each([
    ['an empty entry', [{}]],
    ['an empty list', []],
  ])('%s makes an end of all ownership until the next apply', async (_, managedFields) => {
    await server.apply('one', MAPS, map('a', { k: '1' }));
    const cleared = await server.merge('two', MAPS, 'a', { metadata: { managedFields }, data: { l: '1' } });
    expect(cleared.metadata.managedFields).toBeUndefined();
    expect(
      (await server.merge('two', MAPS, 'a', { data: { m: '1' } })).metadata.managedFields,
    ).toBeUndefined();
    const { object } = await server.apply('one', MAPS, map('a', { k: '1' }));
    expect(who(object).map(([manager]) => manager)).toEqual(['one', 'before-first-apply']);
    await expect(server.apply('one', MAPS, map('a', { l: '2' }))).rejects.toThrow(
      'conflict with "before-first-apply" using v1: .data.l',
    );
  });

  test('entries that a client wrote are taken, nonsense is not, leaving them out changes nothing', async () => {
    await server.apply('one', MAPS, map('a', { k: '1' }));
    const [entry] = (await server.read(MAPS, 'a')).metadata.managedFields ?? [];
    const renamed = [{ ...entry, manager: 'heir' }];
    const put = (metadata: JsonObject) =>
      server.registry.update(server.as('two'), server.target(MAPS, 'a'), {
        ...map('a', { k: '1' }),
        metadata: { name: 'a', ...metadata },
      });
    expect(who((await put({ managedFields: renamed as never })).object)[0]?.[0]).toBe('heir');
    const nonsense = [{ manager: 'x', operation: 'Guess', apiVersion: 'v1', fieldsType: 'FieldsV1' }];
    expect(who((await put({ managedFields: nonsense })).object)[0]?.[0]).toBe('heir');
    expect(who((await put({})).object)[0]?.[0]).toBe('heir');
  });

  test('a status write owns the status alone, and cannot rewrite the entries', async () => {
    await server.create('kubectl', '/v1/pods', {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    const changed = await server.merge(
      'kubelet',
      '/v1/pods',
      'p',
      { metadata: { managedFields: [{}] }, spec: { nodeName: 'n' }, status: { podIP: '10.0.0.1' } },
      'status',
    );
    // The one address is the first of all addresses.
    const address = { '.': {}, 'f:ip': {} };
    expect(setOf(changed, 'kubelet')).toEqual({
      'f:status': { 'f:podIP': {}, 'f:podIPs': { '.': {}, 'k:{"ip":"10.0.0.1"}': address } },
    });
    expect(who(changed).map(([manager, , through]) => [manager, through === 'status'])).toEqual([
      ['kubectl', false],
      ['kubelet', true],
    ]);
  });

  test('an apply through a subresource makes no object', async () => {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, status: { phase: 'Running' } };
    await expect(server.apply('one', '/v1/pods', pod, { subresource: 'status' })).rejects.toThrow(
      'not found',
    );
    expect(server.creations).toBe(0);
  });

  test('whoever makes an object by an apply or a PUT needs the right to', async () => {
    server.mayCreate = false;
    await expect(server.apply('one', MAPS, map('a'))).rejects.toThrow('no');
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'l' } };
    const target = server.target('coordination.k8s.io/v1/leases', 'l');
    await expect(server.registry.update(server.as('one'), target, lease)).rejects.toThrow('no');
    server.mayCreate = true;
    expect((await server.apply('one', MAPS, map('a'))).created).toBe(true);
  });

  test.each<[string, JsonObject, string]>([
    ['another kind', { ...map('a'), kind: 'Secret' }, 'invalid object type: /v1, Kind=Secret'],
    ['another name', map('b'), ''],
    [
      'managedFields',
      { ...map('a'), metadata: { name: 'a', managedFields: [{}] } },
      'metadata.managedFields must be nil',
    ],
    [
      'a uid that nobody has',
      { ...map('a'), metadata: { name: 'a', uid: 'u' } },
      'uid mismatch: the provided object specified uid u, and no existing object was found',
    ],
    [
      'an undeclared field',
      { ...map('a'), nope: 1 },
      '(/a; /v1, Kind=ConfigMap): .nope: field not declared in schema',
    ],
  ])('refuses %s', async (_, body, message) => {
    const patch: Patch = { type: 'apply', body, fieldManager: 'one' };
    const outcome = server.registry.patch(server.as('one'), server.target(MAPS, 'a'), patch);
    await expect(outcome).rejects.toBeInstanceOf(StatusError);
    await expect(outcome).rejects.toThrow(message);
  });

  test('a resourceVersion in the configuration is a lock', async () => {
    const { object } = await server.apply('one', MAPS, map('a', { k: '1' }));
    const locked = (resourceVersion: string | undefined, k: string): JsonObject => ({
      ...map('a', { k }),
      metadata: { name: 'a', resourceVersion },
    });
    await server.apply('one', MAPS, locked(object.metadata.resourceVersion, '2'));
    await expect(server.apply('one', MAPS, locked(object.metadata.resourceVersion, '3'))).rejects.toThrow(
      'the object has been modified',
    );
  });

  test('owners of one version conflict with appliers of another', async () => {
    const scaler = (version: string, spec: JsonObject): JsonObject => ({
      apiVersion: `autoscaling/${version}`,
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'h' },
      spec: {
        maxReplicas: 3,
        scaleTargetRef: { kind: 'Deployment', name: 'd', apiVersion: 'apps/v1' },
        ...spec,
      },
    });
    const path = (version: string) => `autoscaling/${version}/horizontalpodautoscalers`;
    await server.apply(
      'one',
      path('v1'),
      scaler('v1', { minReplicas: 1, targetCPUUtilizationPercentage: 50 }),
    );
    await expect(server.apply('two', path('v2'), scaler('v2', { minReplicas: 2 }))).rejects.toThrow(
      'conflict with "one": .spec.minReplicas',
    );
    await server.apply('two', path('v2'), scaler('v2', {}));
    await server.apply('one', path('v1'), scaler('v1', {}));
    const left = (await server.read(path('v2'), 'h')) as unknown as { spec: JsonObject };
    // What is removed is defaulted again.
    const [metric] = left.spec.metrics as { resource: { target: JsonObject } }[];
    expect(metric?.resource.target.averageUtilization).toBe(80);
    expect(left.spec.maxReplicas).toBe(3);
  });

  test("events are nobody's", async () => {
    const event = await server.create('kubelet', '/v1/events', {
      metadata: { name: 'e' },
      involvedObject: { kind: 'Pod', name: 'p', namespace: 'default' },
      reason: 'x',
      message: 'y',
    });
    expect(event.metadata.managedFields).toBeUndefined();
  });

  test('objects that were written alike share their sets, also after a restart', async () => {
    for (const name of ['a', 'b']) await server.create('kubectl', MAPS, map(name, { k: name }));
    const sets = async (): Promise<unknown[]> => {
      const read = await Promise.all(['a', 'b'].map((name) => server.read(MAPS, name)));
      return read.map((object) => setOf(object, 'kubectl'));
    };
    const [a, b] = await sets();
    expect(a).toBe(b);
    const { disk } = server;
    await server.stop();
    server = new Server(disk);
    await server.start();
    const [c, d] = await sets();
    expect(c).toBe(d);
    expect(c).toEqual(a);
  });

  test('two who create by apply at once: one makes it, the other applies to it', async () => {
    const results = await Promise.all([
      server.apply('one', MAPS, map('a', { k: '1' })),
      server.apply('two', MAPS, map('a', { l: '2' })),
    ]);
    expect(results.map(({ created }) => created).sort()).toEqual([false, true]);
    const object = (await server.read(MAPS, 'a')) as KubeObject & { data: JsonObject };
    expect(object.data).toEqual({ k: '1', l: '2' });
    expect(who(object).map(([manager]) => manager)).toEqual(['one', 'two']);
  });
});
