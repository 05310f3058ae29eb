import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { builtInResources, Catalogue } from '../../../src/api/catalogue.ts';
import { StatusError } from '../../../src/api/errors.ts';
import { loadResourceFacts, loadSchemaFacts } from '../../../src/api/facts.ts';
import type { JsonObject, KubeObject } from '../../../src/api/object.ts';
import { Schemas } from '../../../src/api/schema.ts';
import type { Patch } from '../../../src/client/port.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { ApiRegistry } from '../../../src/server/registry/api-registry.ts';
import { DEFINITIONS_BUCKET } from '../../../src/server/registry/custom/definitions.ts';
import type { RequestContext, Target, WatchMessage } from '../../../src/server/registry/port.ts';
import { createStrategies } from '../../../src/server/registry/strategies/index.ts';
import { tableCells } from '../../../src/server/registry/table-cells.ts';
import { MemoryDisk, MemoryEngine } from '../../../src/server/store/memory-engine.ts';
import { ObjectStore } from '../../../src/server/store/store.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const GROUP = 'example.com';

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

  private constructor(store: ObjectStore, registry: ApiRegistry, clock: VirtualClock) {
    this.store = store;
    this.registry = registry;
    this.clock = clock;
  }

  static async start(disk = new MemoryDisk()): Promise<Server> {
    const clock = new VirtualClock();
    const schemaFacts = await loadSchemaFacts();
    const catalogue = new Catalogue(builtInResources(await loadResourceFacts(), schemaFacts as never));
    const store = new ObjectStore({
      engine: new MemoryEngine({ disk }),
      clock,
      logger: silentLogger,
      freeze: true,
    });
    await store.start();
    const registry = new ApiRegistry({
      store,
      catalogue,
      schemas: new Schemas(schemaFacts),
      strategies: createStrategies(),
      admission: [],
      clock,
      random: new SeededRandom(7),
      logger: silentLogger,
      serviceCidr: '10.43.0.0/24',
    });
    await registry.start();
    return new Server(store, registry, clock);
  }

  async stop(): Promise<void> {
    await this.registry.stop();
    await this.store.stop();
  }

  target(
    resource: string,
    name?: string,
    options: { version?: string; group?: string; subresource?: string } = {},
  ): Target {
    const info = this.registry.catalogue.find(options.group ?? GROUP, options.version ?? 'v1', resource);
    if (!info) throw new Error(`${resource} is not served`);
    const { subresource } = options;
    return { info, name, namespace: info.namespaced ? 'default' : undefined, subresource };
  }

  definition(name?: string): Target {
    return this.target('customresourcedefinitions', name, { group: 'apiextensions.k8s.io' });
  }

  create(resource: string, body: JsonObject, version = 'v1'): Promise<KubeObject> {
    return this.registry.create(this.context, this.target(resource, undefined, { version }), body);
  }

  async define(definition: JsonObject): Promise<KubeObject> {
    return this.registry.create(this.context, this.definition(), definition);
  }

  /** Defines and waits until it is established. */
  async serve(definition: JsonObject): Promise<void> {
    const created = await this.define(definition);
    await this.until(() => this.condition(created.metadata.name ?? '', 'Established') === 'True');
  }

  condition(name: string, type: string): unknown {
    const stored = this.store.get(DEFINITIONS_BUCKET, name)?.object as
      | { status?: { conditions?: JsonObject[] } }
      | undefined;
    return stored?.status?.conditions?.find((condition) => condition.type === type)?.status;
  }

  patch(resource: string, name: string, patch: Patch, options = {}): Promise<{ object: KubeObject }> {
    return this.registry.patch(this.context, this.target(resource, name, options), patch);
  }

  async until(holds: () => boolean): Promise<void> {
    for (let turn = 0; turn < 500; turn += 1) {
      if (holds()) return;
      await this.clock.advance(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error('it did not come to pass');
  }
}

function definitionOf(
  plural: string,
  kind: string,
  options: { schema?: JsonObject; version?: JsonObject; spec?: JsonObject; names?: JsonObject } = {},
): JsonObject {
  const schema = options.schema ?? { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: { plural, kind, ...options.names },
      versions: [
        { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema }, ...options.version },
      ],
      ...options.spec,
    },
  };
}

const WIDGETS = definitionOf('widgets', 'Widget', {
  names: { shortNames: ['wd'], categories: ['all'] },
  schema: {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties: {
          size: { type: 'string', enum: ['S', 'M'], default: 'S' },
          replicas: { type: 'integer' },
          color: { type: 'string' },
        },
        'x-kubernetes-validations': [
          { rule: "!has(self.color) || self.color.matches('^[a-z]+$')", message: 'no colour' },
        ],
      },
      status: { type: 'object', properties: { ready: { type: 'integer' }, selector: { type: 'string' } } },
    },
  },
  version: {
    subresources: {
      status: {},
      scale: {
        specReplicasPath: '.spec.replicas',
        statusReplicasPath: '.status.ready',
        labelSelectorPath: '.status.selector',
      },
    },
    selectableFields: [{ jsonPath: '.spec.color' }],
    additionalPrinterColumns: [
      { name: 'Size', type: 'string', jsonPath: '.spec.size' },
      { name: 'Ready', type: 'integer', jsonPath: '.status.ready' },
    ],
  },
});

const widget = (name: string, spec: JsonObject = {}, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: `${GROUP}/v1`,
  kind: 'Widget',
  metadata: { name, ...metadata },
  spec,
});

const refusal = async (work: Promise<unknown>): Promise<StatusError> => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof StatusError)) throw new Error(`not refused: ${String(error)}`);
  return error;
};

let server: Server;
beforeEach(async () => {
  server = await Server.start();
});
afterEach(() => server.stop());

describe('a definition', () => {
  test('is created without conditions, then accepted and established, and offered', async () => {
    const seen: string[] = [];
    const watch = await server.registry.watch(
      server.context,
      server.definition(),
      {},
      ({ object }: WatchMessage) => {
        const { conditions } = (object as unknown as { status: { conditions: JsonObject[] | null } }).status;
        seen.push((conditions ?? []).map(({ type, status }) => `${type}=${status}`).join(' '));
      },
    );
    const created = await server.define(WIDGETS);
    expect(created).toMatchObject({
      status: { conditions: null, acceptedNames: { plural: '', kind: '' }, storedVersions: ['v1'] },
    });
    await server.until(() => server.condition('widgets.example.com', 'Established') === 'True');
    watch.stop();
    expect(seen).toEqual(['', 'NamesAccepted=True Established=False', 'NamesAccepted=True Established=True']);
    expect(server.target('widgets').info).toMatchObject({
      kind: 'Widget',
      listKind: 'WidgetList',
      shortNames: ['wd'],
      categories: ['all'],
    });
  });

  test('waits for a name that another one has', async () => {
    await server.serve(WIDGETS);
    await server.define(definitionOf('things', 'Thing', { names: { shortNames: ['wd'] } }));
    await server.until(() => server.condition('things.example.com', 'NamesAccepted') === 'False');
    expect(server.registry.catalogue.find(GROUP, 'v1', 'things')).toBeUndefined();
    await server.registry.delete(server.context, server.definition('widgets.example.com'));
    await server.until(() => server.condition('things.example.com', 'Established') === 'True');
    expect(server.target('things').info.kind).toBe('Thing');
  });

  test('with rules and patterns that do not compile is refused', async () => {
    const schema = {
      type: 'object',
      properties: {
        a: { type: 'string', pattern: '(?=x)' },
        b: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self == "x"' }] },
      },
    };
    const error = await refusal(server.define(definitionOf('things', 'Thing', { schema })));
    expect(error.status.details?.causes?.map(({ field }) => field)).toEqual([
      'spec.versions[0].schema.openAPIV3Schema.properties[a].pattern',
      'spec.versions[0].schema.openAPIV3Schema.properties[b].x-kubernetes-validations[0].rule',
    ]);
  });

  test('cannot take what the server itself serves', async () => {
    const taken = definitionOf('ingresses', 'Ingress', { spec: { group: 'networking.k8s.io' } });
    (taken.metadata as JsonObject).name = 'ingresses.networking.k8s.io';
    (taken.metadata as JsonObject).annotations = { 'api-approved.kubernetes.io': 'https://example.com' };
    await server.define(taken);
    await server.until(() => server.condition('ingresses.networking.k8s.io', 'Established') === 'True');
    expect(server.registry.catalogue.find('networking.k8s.io', 'v1', 'ingresses')?.custom).toBe(false);
  });

  test('that is deleted takes its objects along, when their finalizers let go', async () => {
    await server.serve(WIDGETS);
    await server.create('widgets', widget('free'));
    await server.create('widgets', widget('held', {}, { finalizers: ['example.com/hold'] }));
    const answer = await server.registry.delete(server.context, server.definition('widgets.example.com'));
    expect(answer).toMatchObject({
      metadata: { finalizers: ['customresourcecleanup.apiextensions.k8s.io'] },
      status: {
        conditions: [{}, {}, { type: 'Terminating', status: 'True', reason: 'InstanceDeletionPending' }],
      },
    });
    await server.until(() => server.store.list('widgets.example.com').length === 1);
    const late = await refusal(server.create('widgets', widget('late')));
    expect([late.code, late.message]).toEqual([
      405,
      'create not allowed while custom resource definition is terminating',
    ]);
    await server.patch('widgets', 'held', { type: 'merge', body: { metadata: { finalizers: null } } });
    await server.until(() => server.store.get(DEFINITIONS_BUCKET, 'widgets.example.com') === undefined);
    expect(server.registry.catalogue.find(GROUP, 'v1', 'widgets')).toBeUndefined();
    expect(server.store.list('widgets.example.com')).toEqual([]);
  });

  test('is served again after a restart, at once', async () => {
    const disk = new MemoryDisk();
    const first = await Server.start(disk);
    await first.serve(WIDGETS);
    await first.create('widgets', widget('kept', { color: 'red' }));
    await first.stop();
    const second = await Server.start(disk);
    try {
      expect(await second.registry.get(second.context, second.target('widgets', 'kept'))).toMatchObject({
        spec: { color: 'red', size: 'S' },
      });
      expect((await refusal(second.create('widgets', widget('bad', { color: 'RED' })))).message).toContain(
        'no colour',
      );
    } finally {
      await second.stop();
    }
  });
});

describe('a custom object', () => {
  beforeEach(() => server.serve(WIDGETS));

  test('is pruned and defaulted, and unknown fields are told', async () => {
    const created = await server.create('widgets', widget('w', { extra: 1 }));
    expect(created).toMatchObject({ metadata: { generation: 1 }, spec: { size: 'S' } });
    expect(created).not.toHaveProperty('spec.extra');
    expect(server.warnings).toEqual(['unknown field "spec.extra"']);
    const strict = await refusal(
      server.registry.create(server.context, server.target('widgets'), widget('x', { extra: 1 }), {
        fieldValidation: 'Strict',
      }),
    );
    expect(strict.message).toBe(
      'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.extra"',
    );
  });

  test('of the wrong kind, version or metadata is refused', async () => {
    const create = (body: JsonObject) => refusal(server.create('widgets', body));
    expect((await create({ ...widget('w'), kind: 'Gadget' })).code).toBe(422);
    expect((await create({ ...widget('w'), apiVersion: 'example.com/v2' })).message).toBe(
      'the API version in the data (example.com/v2) does not match the expected API version (example.com/v1)',
    );
    expect((await create({ metadata: { name: 'w' } })).message).toContain("Object 'Kind' is missing in");
    expect((await create(widget('w', {}, { labels: { a: 1 } }))).message).toContain(
      'cannot unmarshal number into Go struct field ObjectMeta.labels of type string',
    );
    expect((await create(widget('Bad_Name'))).code).toBe(422);
  });

  test('has its status apart from its spec', async () => {
    await server.create('widgets', { ...widget('w'), status: { ready: 9 } });
    const { object } = await server.patch(
      'widgets',
      'w',
      {
        type: 'merge',
        body: { metadata: { labels: { a: 'b' } }, spec: { color: 'red' }, status: { ready: 1 } },
      },
      { subresource: 'status' },
    );
    expect(object).toMatchObject({ metadata: { generation: 1 }, spec: { size: 'S' }, status: { ready: 1 } });
    expect(object.metadata.labels).toBeUndefined();
    const main = await server.patch('widgets', 'w', {
      type: 'merge',
      body: { spec: { color: 'red' }, status: { ready: 2 } },
    });
    expect(main.object).toMatchObject({ metadata: { generation: 2 }, status: { ready: 1 } });
    const wrong = await refusal(
      server.patch(
        'widgets',
        'w',
        { type: 'merge', body: { status: { ready: 'x' } } },
        { subresource: 'status' },
      ),
    );
    expect(wrong.message).toContain('status.ready in body must be of type integer: "string"');
  });

  test('is scaled where its definition says', async () => {
    await server.create('widgets', widget('w'));
    const get = (): Promise<unknown> =>
      server.registry.get(server.context, server.target('widgets', 'w', { subresource: 'scale' }));
    expect((await refusal(get())).message).toContain(
      'the spec replicas field ".spec.replicas" does not exist',
    );
    await server.patch('widgets', 'w', { type: 'merge', body: { spec: { replicas: 2 } } });
    await server.patch(
      'widgets',
      'w',
      { type: 'merge', body: { status: { ready: 1, selector: 'a=b' } } },
      { subresource: 'status' },
    );
    expect(await get()).toMatchObject({
      kind: 'Scale',
      spec: { replicas: 2 },
      status: { replicas: 1, selector: 'a=b' },
    });
    await server.patch(
      'widgets',
      'w',
      { type: 'merge', body: { spec: { replicas: 5 } } },
      { subresource: 'scale' },
    );
    expect(await server.registry.get(server.context, server.target('widgets', 'w'))).toMatchObject({
      metadata: { generation: 3 },
      spec: { replicas: 5, size: 'S' },
    });
    const negative = await refusal(
      server.patch(
        'widgets',
        'w',
        { type: 'merge', body: { spec: { replicas: -1 } } },
        { subresource: 'scale' },
      ),
    );
    expect(negative.code).toBe(422);
  });

  test('is found by its selectable fields', async () => {
    await server.create('widgets', widget('red', { color: 'red' }));
    await server.create('widgets', widget('blue', { color: 'blue' }));
    const list = (fieldSelector: string) =>
      server.registry.list(server.context, server.target('widgets'), { fieldSelector });
    expect((await list('spec.color=red')).items.map(({ metadata }) => metadata.name)).toEqual(['red']);
    expect((await list('spec.color!=red')).items.map(({ metadata }) => metadata.name)).toEqual(['blue']);
    expect((await refusal(list('spec.size=S'))).message).toBe('field label not supported: spec.size');
  });

  test('is printed by the columns of its definition', async () => {
    const created = await server.create('widgets', widget('w'));
    const cells = tableCells(server.registry.served);
    expect(cells.columns(server.target('widgets').info)?.map(({ name }) => name)).toEqual([
      'Name',
      'Size',
      'Ready',
    ]);
    expect(cells.cells(server.target('widgets').info, created, server.clock.now())).toEqual(['w', 'S', null]);
  });

  test('keeps finalizers of any name, with a warning, and goes when they do', async () => {
    await server.create('widgets', widget('w', {}, { finalizers: ['finalizer.example.com'] }));
    expect(server.warnings[0]).toMatch(
      /^metadata.finalizers: "finalizer.example.com": prefer a domain-qualified/,
    );
    await server.registry.delete(server.context, server.target('widgets', 'w'));
    expect(await server.registry.get(server.context, server.target('widgets', 'w'))).toMatchObject({
      metadata: { deletionTimestamp: expect.any(String), generation: 2 },
    });
    await server.patch('widgets', 'w', {
      type: 'json',
      operations: [{ op: 'remove', path: '/metadata/finalizers' }],
    });
    expect((await refusal(server.registry.get(server.context, server.target('widgets', 'w')))).code).toBe(
      404,
    );
  });

  test('takes no strategic merge patch', async () => {
    await server.create('widgets', widget('w'));
    expect((await refusal(server.patch('widgets', 'w', { type: 'strategic', body: {} }))).code).toBe(415);
  });

  test('that a later schema would refuse can be read, and changed elsewhere', async () => {
    await server.create('widgets', widget('w', { size: 'M', color: 'red' }));
    const tighter = structuredClone(WIDGETS) as {
      spec: { versions: [{ schema: { openAPIV3Schema: { properties: { spec: JsonObject } } } }] };
    };
    const spec = tighter.spec.versions[0].schema.openAPIV3Schema.properties.spec;
    spec.properties = {
      ...(spec.properties as JsonObject),
      size: { type: 'string', enum: ['XL'], default: 'XL' },
      weight: { type: 'integer', default: 7 },
    };
    await server.registry.patch(server.context, server.definition('widgets.example.com'), {
      type: 'merge',
      body: { spec: tighter.spec },
    });
    await server.until(() =>
      JSON.stringify(server.registry.customs.of(server.target('widgets').info)?.openApi()).includes('weight'),
    );
    const read = () => server.registry.get(server.context, server.target('widgets', 'w'));
    expect(await read()).toMatchObject({ spec: { size: 'M', color: 'red', weight: 7 } });
    expect(await read()).toBe(await read());
    const { object } = await server.patch('widgets', 'w', {
      type: 'merge',
      body: { spec: { color: 'blue' } },
    });
    expect(object).toMatchObject({ spec: { size: 'M', color: 'blue', weight: 7 } });
    expect(
      (await refusal(server.patch('widgets', 'w', { type: 'merge', body: { spec: { size: 'L' } } }))).message,
    ).toContain('spec.size: Unsupported value: "L"');
  });
});

describe('several versions', () => {
  const schema = (field: string): JsonObject => ({
    openAPIV3Schema: {
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          properties: { shared: { type: 'string' }, [field]: { type: 'string', default: field } },
        },
      },
    },
  });
  const versions = [
    { name: 'v1', served: true, storage: true, schema: schema('one') },
    { name: 'v2', served: true, storage: false, schema: schema('two') },
    { name: 'v3', served: false, storage: false, schema: schema('three') },
  ];

  test('show the same object, each by its own schema', async () => {
    await server.serve(definitionOf('things', 'Thing', { spec: { versions } }));
    await server.create(
      'things',
      { apiVersion: `${GROUP}/v2`, kind: 'Thing', metadata: { name: 't' }, spec: { shared: 's' } },
      'v2',
    );
    expect(server.store.get('things.example.com', 'default/t')?.object.apiVersion).toBe(`${GROUP}/v1`);
    const one = await server.registry.get(server.context, server.target('things', 't'));
    const two = await server.registry.get(server.context, server.target('things', 't', { version: 'v2' }));
    expect(one).toMatchObject({ apiVersion: `${GROUP}/v1`, spec: { shared: 's', one: 'one' } });
    expect(two).toMatchObject({ apiVersion: `${GROUP}/v2`, spec: { shared: 's', two: 'two' } });
    expect(one).not.toHaveProperty('spec.two');
    expect(server.registry.catalogue.find(GROUP, 'v3', 'things')).toBeUndefined();
  });

  test('of which a webhook would have to convert are not served, and that is said', async () => {
    const conversion = {
      strategy: 'Webhook',
      webhook: { conversionReviewVersions: ['v1'], clientConfig: { url: 'https://example.com/convert' } },
    };
    await server.serve(definitionOf('things', 'Thing', { spec: { versions, conversion } }));
    expect(server.warnings).toEqual([
      'CustomResourceDefinition is stored but has no effect yet: conversion webhooks are not called: v2 is not served',
    ]);
    expect(server.registry.catalogue.find(GROUP, 'v2', 'things')).toBeUndefined();
    expect(server.target('things').info.version).toBe('v1');
  });
});
