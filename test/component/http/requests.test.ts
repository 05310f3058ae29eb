import { afterAll, beforeAll, expect, test } from 'vitest';
import { ApiFixture } from '../../support/api-fixture.ts';
import { parsePrometheus } from '../../support/prometheus.ts';
import { waitFor } from '../../support/wait.ts';

let api: ApiFixture;
beforeAll(async () => {
  api = await ApiFixture.start({ server: { limits: { perClient: 4, total: 100 } } });
});
afterAll(() => api.stop());

const PATH = '/api/v1/namespaces/default/configmaps';

test('an object lives its life over HTTPS', async () => {
  const client = api.client();
  const created = await client.post(PATH, { metadata: { name: 'life' }, data: { a: '1' } });
  expect([created.status, created.headers['content-type']]).toEqual([201, 'application/json']);
  expect((await client.get(`${PATH}/life`)).body.data).toEqual({ a: '1' });
  const patched = await client.ask('PATCH', `${PATH}/life`, {
    headers: { 'content-type': 'application/merge-patch+json' },
    body: { data: { b: '2' } },
  });
  expect(patched.body.data).toEqual({ a: '1', b: '2' });
  const list = await client.get(`${PATH}?fieldSelector=metadata.name%3Dlife`);
  expect(list.body).toMatchObject({ kind: 'ConfigMapList', apiVersion: 'v1' });
  expect(Object.keys(list.body.items[0])).not.toContain('kind');
  expect((await client.delete(`${PATH}/life`)).body.status).toBe('Success');
  expect((await client.get(`${PATH}/life`)).status).toBe(404);
});

test('YAML goes in and comes out', async () => {
  const client = api.client();
  const answer = await client.ask('POST', PATH, {
    headers: { 'content-type': 'application/yaml', accept: 'application/yaml' },
    body: 'metadata:\n  name: yaml\ndata:\n  yes: "1"\n',
  });
  expect(answer.status).toBe(201);
  expect(answer.text).toContain('name: yaml\n');
});

test('a body that is too large, no UTF-8, too deep or with __proto__ is refused, and the server lives on', async () => {
  const client = api.client();
  const large = `{"metadata":{"name":"big"},"data":{"x":"${'y'.repeat(3 * 1024 * 1024)}"}}`;
  const answer = await client
    .ask('POST', PATH, { body: large })
    .catch((error: NodeJS.ErrnoException) => error);
  // The server may answer and close while the client is still sending.
  if ('status' in answer) expect(answer.status).toBe(413);
  else expect(['EPIPE', 'ECONNRESET']).toContain(answer.code);
  const deep = `{"metadata":{"name":"d"},"x":${'['.repeat(5000)}${']'.repeat(5000)}}`;
  expect((await client.ask('POST', PATH, { body: deep })).status).toBe(400);
  const polluted = '{"metadata":{"name":"p"},"data":{"__proto__":"x"}}';
  expect((await client.ask('POST', PATH, { body: polluted })).status).toBe(400);
  expect((await client.get('/readyz')).text).toBe('ok');
});

test('a big object is compressed for who can take it', async () => {
  const client = api.client();
  await client.post(PATH, { metadata: { name: 'big' }, data: { x: 'y'.repeat(200_000) } });
  const plain = await client.get(`${PATH}/big`);
  expect(plain.headers['content-encoding']).toBeUndefined();
  const packed = await client.get(`${PATH}/big`, { headers: { 'accept-encoding': 'gzip' } });
  expect(packed.headers['content-encoding']).toBe('gzip');
  expect(Number(packed.headers['content-length'])).toBeLessThan(plain.text.length / 10);
});

test('a watch streams what happens and ends by its timeout', async () => {
  const client = api.client();
  const seen: string[] = [];
  const ended = client.get(`${PATH}?watch=true&timeoutSeconds=1&resourceVersion=${api.store.revision}`, {
    onData: (text) => {
      for (const line of text.trim().split('\n')) {
        const { type, object } = JSON.parse(line);
        seen.push(`${type} ${object.metadata.name}`);
      }
    },
  });
  await client.post(PATH, { metadata: { name: 'watched' } });
  await client.delete(`${PATH}/watched`);
  const answer = await ended;
  expect(answer.status).toBe(200);
  expect(answer.headers['transfer-encoding']).toBe('chunked');
  expect(seen).toEqual(['ADDED watched', 'DELETED watched']);
});

test('a flood of one client is turned away with 429 while others are served', async () => {
  const flood = api.client();
  const slow = Array.from({ length: 4 }, () => {
    const stop = new AbortController();
    // A request whose body never ends holds its place.
    const pending = flood
      .ask('POST', PATH, { body: '{', headers: { 'content-length': '100' }, signal: stop.signal })
      .catch(() => undefined);
    return { stop, pending };
  });
  const refused = await waitFor('429', async () => {
    const answer = await flood.get(PATH);
    return answer.status === 429 && answer;
  });
  expect(refused.headers['retry-after']).toBe('1');
  const token = api.identity.dashboardToken;
  expect((await api.client({ token }).get(PATH)).status).toBe(200);
  for (const { stop } of slow) stop.abort();
  await Promise.all(slow.map(({ pending }) => pending));
  await waitFor('200', async () => (await flood.get(PATH)).status === 200);
});

test('documents of OpenAPI describe what is served, and are found through the index', async () => {
  const client = api.client();
  const index = JSON.parse((await client.get('/openapi/v3')).text);
  const { serverRelativeURL } = index.paths['apis/apps/v1'];
  const document = (await client.get(serverRelativeURL)).body;
  const { patch } = document.paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}'];
  expect(patch['x-kubernetes-group-version-kind']).toEqual({
    group: 'apps',
    version: 'v1',
    kind: 'Deployment',
  });
  expect(patch.parameters.map(({ name }: { name: string }) => name)).toContain('fieldValidation');
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)];
  const missing = references
    .map((match) => match[1] as string)
    .filter((name) => !(name in document.components.schemas));
  expect(missing).toEqual([]);
  const old = (await client.get('/openapi/v2')).body;
  expect(old.swagger).toBe('2.0');
  expect(old.definitions['io.k8s.api.core.v1.Pod'].properties.spec.$ref).toBe(
    '#/definitions/io.k8s.api.core.v1.PodSpec',
  );
});

test('what Prometheus reads is well-formed, and tells of requests, objects and the process', async () => {
  const client = api.client();
  await client.get(PATH);
  const families = parsePrometheus((await client.get('/metrics')).text);
  for (const name of [
    'apiserver_request_total',
    'apiserver_request_duration_seconds',
    'apiserver_current_inflight_requests',
    'apiserver_storage_objects',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'process_open_fds',
  ]) {
    expect(families.get(name)?.samples.size, name).toBeGreaterThan(0);
  }
  const requests = [...(families.get('apiserver_request_total')?.samples.keys() ?? [])];
  expect(requests.some((key) => key.includes('resource="configmaps"') && key.includes('verb="LIST"'))).toBe(
    true,
  );
});

test('stop() ends watches in order and takes no more requests', async () => {
  const own = await ApiFixture.start();
  const client = own.client();
  const watch = client.get(`${PATH}?watch=true`);
  await waitFor('the watch', async () =>
    (await client.get('/metrics')).text.includes('verb="WATCH",version="v1"} 1'),
  );
  await own.stop();
  expect((await watch).status).toBe(200);
  await expect(own.client({}).get('/version')).rejects.toThrow();
});
