// Custom resources over HTTP, with the controllers beside them.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../../src/api/object.ts';
import { drive } from '../../golden/replay/drive.ts';
import { ReplayServer } from '../../golden/replay/replay-server.ts';
import type { Answer, ApiClient } from '../../support/api-fixture.ts';

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const WIDGETS = '/apis/w.example.com/v1/namespaces/default/widgets';

let server: ReplayServer;
let client: ApiClient;
beforeAll(async () => {
  server = await ReplayServer.start();
  client = server.api.client();
  await ask('POST', CRDS, {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'widgets.w.example.com' },
    spec: {
      group: 'w.example.com',
      scope: 'Namespaced',
      names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              description: 'A thing of use.',
              properties: {
                spec: { type: 'object', properties: { size: { type: 'string', description: 'How large.' } } },
              },
            },
          },
          subresources: { status: {} },
        },
      ],
    },
  });
  await until(WIDGETS, ({ status }) => status === 200);
});
afterAll(() => server.stop());

function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return drive(server.clock, client.ask(method, path, { ...(body === undefined ? {} : { body }), headers }));
}

async function until(path: string, holds: (answer: Answer) => boolean): Promise<Answer> {
  for (let turn = 0; turn < 200; turn += 1) {
    const answer = await ask('GET', path);
    if (holds(answer)) return answer;
    await server.clock.advance(50);
  }
  throw new Error(`${path} did not become what it should`);
}

const widget = (name: string, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: 'w.example.com/v1',
  kind: 'Widget',
  metadata: { name, ...metadata },
  spec: { size: 'S' },
});

test('stand in discovery of both forms', async () => {
  const legacy = await ask('GET', '/apis/w.example.com/v1');
  expect(legacy.body.resources.map(({ name }: { name: string }) => name)).toEqual([
    'widgets',
    'widgets/status',
  ]);
  const aggregated = await ask('GET', '/apis', undefined, {
    accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
  });
  const group = aggregated.body.items.find(
    ({ metadata }: { metadata: JsonObject }) => metadata.name === 'w.example.com',
  );
  expect(group.versions[0].resources[0]).toMatchObject({
    resource: 'widgets',
    shortNames: ['wd'],
    scope: 'Namespaced',
  });
});

test('stand in OpenAPI, without strategic merge patches', async () => {
  const v3 = await ask('GET', '/openapi/v3/apis/w.example.com/v1');
  const schema = v3.body.components.schemas['com.example.w.v1.Widget'];
  expect(schema).toMatchObject({
    description: 'A thing of use.',
    properties: { spec: { properties: { size: { description: 'How large.' } } }, metadata: {} },
    'x-kubernetes-group-version-kind': [{ group: 'w.example.com', version: 'v1', kind: 'Widget' }],
  });
  const { patch } = v3.body.paths['/apis/w.example.com/v1/namespaces/{namespace}/widgets/{name}'];
  expect(Object.keys(patch.requestBody.content)).toEqual([
    'application/json-patch+json',
    'application/merge-patch+json',
    'application/apply-patch+yaml',
  ]);
  const v2 = await ask('GET', '/openapi/v2');
  expect(v2.body.definitions['com.example.w.v1.WidgetList'].properties.items.items).toEqual({
    $ref: '#/definitions/com.example.w.v1.Widget',
  });
});

test('a client that may only read them cannot write', async () => {
  const as = { 'impersonate-user': 'reader' };
  expect((await ask('GET', WIDGETS, undefined, as)).status).toBe(403);
  await ask('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles', {
    metadata: { name: 'reader' },
    rules: [{ apiGroups: ['w.example.com'], resources: ['widgets'], verbs: ['list'] }],
  });
  await ask('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings', {
    metadata: { name: 'reader' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'reader' }],
  });
  expect((await ask('GET', WIDGETS, undefined, as)).status).toBe(200);
  expect((await ask('POST', WIDGETS, widget('w'), as)).status).toBe(403);
});

test('own others, and are owned, like any object', async () => {
  const owner = await ask('POST', WIDGETS, widget('owner'));
  const ownerReferences = [
    { apiVersion: 'w.example.com/v1', kind: 'Widget', name: 'owner', uid: owner.body.metadata.uid },
  ];
  await ask('POST', '/api/v1/namespaces/default/configmaps', {
    metadata: { name: 'owned', ownerReferences },
  });
  await ask('POST', WIDGETS, widget('owned', { ownerReferences }));
  await ask('DELETE', `${WIDGETS}/owner`);
  await until('/api/v1/namespaces/default/configmaps/owned', ({ status }) => status === 404);
  await until(`${WIDGETS}/owned`, ({ status }) => status === 404);
});

test('go with their namespace', async () => {
  await ask('POST', '/api/v1/namespaces', { metadata: { name: 'gone' } });
  await ask('POST', '/apis/w.example.com/v1/namespaces/gone/widgets', widget('w'));
  await ask('DELETE', '/api/v1/namespaces/gone');
  await until('/api/v1/namespaces/gone', ({ status }) => status === 404);
  const { body } = await ask('GET', '/apis/w.example.com/v1/widgets');
  expect(
    body.items.filter(({ metadata }: { metadata: JsonObject }) => metadata.namespace === 'gone'),
  ).toEqual([]);
});

test('leave discovery with their definition', async () => {
  await ask('DELETE', `${CRDS}/widgets.w.example.com`);
  await until('/apis/w.example.com/v1', ({ status }) => status === 404);
  const { body } = await ask('GET', '/openapi/v3');
  expect(Object.keys(body.paths)).not.toContain('apis/w.example.com/v1');
});

/** Follows a collection until the server ends the watch. */
function follow(path: string): { events: string[]; ended: () => boolean } {
  const events: string[] = [];
  let ended = false;
  const onData = (text: string): void => {
    for (const line of text.trim().split('\n')) {
      const { type, object } = JSON.parse(line);
      events.push(`${type} ${object.metadata.name}`);
    }
  };
  const watch = `${path}?watch=true&resourceVersion=${server.api.store.revision}`;
  void client.get(watch, { onData }).then(() => {
    ended = true;
  });
  return { events, ended: () => ended };
}

async function untilTrue(what: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 400 && !holds(); turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    await server.clock.advance(5);
  }
  if (!holds()) throw new Error(`waited in vain for ${what}`);
}

test('a watch ends when its kind changes its shape, is no longer served, or goes with its definition', async () => {
  const name = 'gadgets.watch.example.com';
  const path = '/apis/watch.example.com/v1/namespaces/default/gadgets';
  const version = (own: string, storage: boolean, served: boolean, properties: JsonObject = {}) => ({
    name: own,
    served,
    storage,
    schema: { openAPIV3Schema: { type: 'object', properties } },
  });
  const definition = (versions: object[]) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name },
    spec: {
      group: 'watch.example.com',
      scope: 'Namespaced',
      names: { plural: 'gadgets', kind: 'Gadget' },
      versions,
    },
  });
  const change = async (versions: object[], metadata: JsonObject = {}): Promise<void> => {
    const body = { spec: { versions }, metadata };
    const type = { 'content-type': 'application/merge-patch+json' };
    expect((await ask('PATCH', `${CRDS}/${name}`, body, type)).status).toBe(200);
  };
  const first = [version('v1', true, true), version('v2', false, true)];
  expect((await ask('POST', CRDS, definition(first))).status).toBe(201);
  await until(path, ({ status }) => status === 200);
  const [v1, v2] = [follow(path), follow(path.replace('/v1/', '/v2/'))];
  await ask('POST', path, { apiVersion: 'watch.example.com/v1', kind: 'Gadget', metadata: { name: 'one' } });
  await untilTrue('the first event', () => v1.events.length === 1 && v2.events.length === 1);

  await change(first, { labels: { changes: 'nothing' } });
  await change([version('v1', true, true), version('v2', false, false)]);
  await untilTrue('the end of v2', v2.ended);
  expect(v1.ended()).toBe(false);

  await change([version('v1', true, true, { spec: { type: 'object' } })]);
  await untilTrue('the end of v1', v1.ended);

  const last = follow(path);
  // The watch stands when the server has answered it.
  await ask('POST', path, { apiVersion: 'watch.example.com/v1', kind: 'Gadget', metadata: { name: 'two' } });
  await untilTrue('the second event', () => last.events.length === 1);
  await ask('DELETE', `${CRDS}/${name}`);
  await untilTrue('the end with the definition', last.ended);
  expect(last.events).toEqual(['ADDED two', 'DELETED one', 'DELETED two']);
});
