import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTls, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { ContainerRuntime } from '../../../src/agent/runtime.ts';
import { StreamServer } from '../../../src/agent/streams/server.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import type { UpgradeRoute } from '../../../src/server/http/ports.ts';
import { AgentStreams } from '../../../src/server/http/streams/agent-streams.ts';
import { PodStreams } from '../../../src/server/http/streams/pod-streams.ts';
import { LocalClient } from '../../../src/server/registry/local-client.ts';
import type { MessageBus } from '../../../src/wire/message-bus.ts';
import { parseMessage } from '../../../src/wire/validate.ts';
import { type ApiClient, ApiFixture } from '../../support/api-fixture.ts';

// pods/proxy, services/proxy and nodes/proxy: the API server, the agent's streams and the server behind them are real;
// the container engine is not, and every pod has the address of loopback.

let api: ApiFixture;
let client: ApiClient;
let agent: StreamServer;
let agents: AgentStreams;
let behind: Server;
let secure: Server;
let port: number;
let securePort: number;
let serve: (request: IncomingMessage, response: ServerResponse) => void;

const clock = new SystemClock();
const random = new SystemRandom();
const PODS = '/api/v1/namespaces/default/pods';
const SERVICES = '/api/v1/namespaces/default/services';
const IP = '10.42.0.5';
const runtime = {
  logs: async (_id, { tailLines }, sink) => sink.stdout(Buffer.from(`the last ${tailLines} lines\n`)),
} as Partial<ContainerRuntime> as ContainerRuntime;

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  behind = createServer((request, response) => serve(request, response));
  port = await listening(behind);
  const bus = {
    publish: async (_topic: string, payload: string) => {
      const parsed = parseMessage('StreamRequest', payload);
      if (!parsed.ok) throw new Error(parsed.detail);
      agent.handle(parsed.message);
    },
  } as Partial<MessageBus> as MessageBus;
  agents = new AgentStreams({ bus, clock, random, connected: (node) => node === 'board' });
  let streams: PodStreams | undefined;
  const made = (): PodStreams => {
    streams ??= new PodStreams({
      client: {
        get: (...asked: Parameters<LocalClient['get']>) =>
          new LocalClient({
            registry: api.registry,
            user: { name: 'system:apiserver', groups: ['system:masters'] },
            logger: silentLogger,
          }).get(...asked),
      } as unknown as LocalClient,
      agents,
      clock,
      random,
    });
    return streams;
  };
  const dialIn: UpgradeRoute = {
    path: made().agentRoute().path,
    who: 'authenticated',
    upgrade: (peer, upgrade) =>
      made()
        .agentRoute()
        .upgrade({ ...peer, nodeName: 'board' }, upgrade),
  };
  api = await ApiFixture.start({ streams: made, server: { upgrades: [dialIn] } });
  client = api.client();
  secure = createTls(
    { key: api.identity.serving.key, cert: api.identity.serving.certificate },
    (_request, response) => response.end('over TLS'),
  );
  securePort = await listening(secure);
  const pods: { pod: Pod; status: undefined; containers: [] }[] = [
    {
      pod: {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'web', namespace: 'default', uid: 'u1' },
        spec: { containers: [{ name: 'c' }] },
      },
      status: undefined,
      containers: [],
    },
  ];
  agent = new StreamServer({
    dialer: {
      url: () => api.url,
      tls: () => ({
        ca: api.identity.caPem,
        cert: api.identity.admin.certificate,
        key: api.identity.admin.key,
      }),
    },
    runtime,
    targets: { container: () => 'id', network: () => ({ pid: process.pid, ip: '127.0.0.1' }) },
    view: () => ({ node: 'board', directory: '/', pods }),
    clock,
    logger: silentLogger,
  });
  await objects();
});

afterAll(async () => {
  agent.stop();
  agents.stop();
  await api.stop();
  behind.closeAllConnections();
  await new Promise((resolve) => behind.close(resolve));
  await new Promise((resolve) => secure.close(resolve));
});

beforeEach(() => {
  serve = (request, response) => {
    const { method, url, headers } = request;
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ method, url, headers, body }));
    });
  };
});

async function objects(): Promise<void> {
  await client.post('/api/v1/nodes', { metadata: { name: 'board' } });
  await client.post('/api/v1/nodes', { metadata: { name: 'lost' } });
  const make = async (name: string, node: string, ports: object[], podIPs: object[]): Promise<void> => {
    const made = await client.post(PODS, {
      metadata: { name },
      spec: {
        nodeName: node,
        automountServiceAccountToken: false,
        containers: [{ name: 'c', image: 'i', ports }],
      },
    });
    expect(made.status).toBe(201);
    const status = { phase: 'Running', podIPs, podIP: (podIPs[0] as { ip?: string })?.ip };
    await client.ask('PATCH', `${PODS}/${name}/status`, {
      headers: { 'content-type': 'application/merge-patch+json' },
      body: { status },
    });
  };
  await make('web', 'board', [{ containerPort: port }], [{ ip: IP }]);
  await make('lost', 'lost', [], [{ ip: '10.42.1.5' }]);
  await make('new', 'board', [], []);
  const ports = [
    { name: 'http', port: 80 },
    { name: 'tls', port: 443 },
  ];
  for (const name of ['web', 'empty', 'foreign']) {
    await client.post(SERVICES, { metadata: { name }, spec: { ports } });
  }
  const subset = (targetRef: object | undefined) => [
    {
      addresses: [{ ip: IP, ...(targetRef ? { targetRef } : {}) }],
      ports: [
        { name: 'http', port },
        { name: 'tls', port: securePort },
      ],
    },
  ];
  const endpoints = '/api/v1/namespaces/default/endpoints';
  const pod = { kind: 'Pod', name: 'web', namespace: 'default' };
  await client.post(endpoints, { metadata: { name: 'web' }, subsets: subset(pod) });
  await client.post(endpoints, { metadata: { name: 'empty' } });
  await client.post(endpoints, { metadata: { name: 'foreign' }, subsets: subset(undefined) });
}

test('a request goes on as it came, without what proves who asks', async () => {
  const answer = await client.ask('PUT', `${PODS}/web/proxy/a%20b//c/../d/?x=%2F&x=2`, {
    headers: {
      'x-mine': 'yes',
      'x-forwarded-for': '192.0.2.9',
      connection: 'x-hop',
      'x-hop': '1',
      'impersonate-user': 'alice',
      'impersonate-group': 'system:masters',
    },
    body: 'some text',
  });
  expect(answer.status).toBe(200);
  const { method, url, headers, body } = answer.body;
  expect([method, url, body]).toEqual(['PUT', '/a%20b/d/?x=%2F&x=2', 'some text']);
  expect(headers).toMatchObject({
    host: `127.0.0.1:${api.server.port}`,
    'x-mine': 'yes',
    'x-forwarded-for': expect.stringMatching(/^192\.0\.2\.9, (::ffff:)?127\.0\.0\.1$/),
    'content-length': '9',
  });
  for (const name of ['authorization', 'impersonate-user', 'impersonate-group', 'x-hop']) {
    expect(headers).not.toHaveProperty(name);
  }
  expect(answer.headers['set-cookie']).toEqual(['a=1', 'b=2']);
  expect(answer.headers['cache-control']).toBe('no-cache, private');
});

test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('%s is proxied', async (method) => {
  const answer = await client.ask(method, `${SERVICES}/web:80/proxy/x`);
  expect([answer.status, answer.body.method, answer.body.url]).toEqual([200, method, '/x']);
});

test('an answer keeps its status and flows as it is written', async () => {
  serve = (_request, response) => {
    response.writeHead(418, 'Teapot', { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
    setImmediate(() => response.end('data: 2\n\n'));
  };
  const pieces: string[] = [];
  const answer = await client.get(`${PODS}/web/proxy/events`, { onData: (piece) => pieces.push(piece) });
  expect([answer.status, answer.text]).toEqual([418, 'data: 1\n\ndata: 2\n\n']);
});

test('without a slash a reader is sent to the one with it, a writer is served', async () => {
  const moved = await client.get(`${PODS}/web/proxy?a=1`);
  expect([moved.status, moved.headers.location]).toEqual([301, `${PODS}/web/proxy/?a=1`]);
  expect((await client.post(`${PODS}/web/proxy`, {})).body.url).toBe('/');
});

test('redirects and links of pages stay below the proxy', async () => {
  const below = `${SERVICES}/web:http/proxy`;
  serve = (request, response) => {
    const here = request.url ?? '';
    if (here === '/page' || here === '/packed') {
      const page = `<!-- <a href="/no"> --><A class=x HREF='/a?b#c'><img src="//elsewhere/x"><script src=/s.js>"<a href='/no'>"</script><a href="rel">`;
      const packed = here === '/packed';
      response.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        ...(packed ? { 'content-encoding': 'gzip' } : {}),
      });
      response.end(packed ? gzipSync(page) : page);
    } else response.writeHead(302, { location: here.slice(1) || '/login?next=/' }).end();
  };
  expect((await client.get(`${below}/`)).headers.location).toBe(`${below}/login?next=/`);
  const elsewhere = await client.get(`${below}/http:%2F%2Felsewhere%2F`);
  expect(elsewhere.status).toBe(302);
  const page = `<!-- <a href="/no"> --><A class=x HREF='${below}/a?b#c'><img src="//elsewhere/x"><script src=${below}/s.js>"<a href='/no'>"</script><a href="rel">`;
  const answer = await client.get(`${below}/page`);
  expect(answer.text).toBe(page);
  const packed = await new Promise<Buffer>((resolve, reject) => {
    const { certificate: cert, key } = api.identity.admin;
    const options = { host: '127.0.0.1', port: api.server.port, ca: api.identity.caPem, cert, key };
    httpsRequest({ ...options, path: `${below}/packed` }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(Buffer.concat(chunks)));
    })
      .on('error', reject)
      .end();
  });
  expect(gunzipSync(packed).toString()).toBe(page);
});

test.each([
  ['pods/a:b:c:d/proxy/', 400, 'invalid pod request "a:b:c:d"'],
  ['pods/ftp:web:80/proxy/', 400, 'invalid pod request "ftp:web:80"'],
  ['pods/none/proxy/', 404, 'pods "none" not found'],
  ['pods/new/proxy/', 400, 'address not allowed'],
  [
    'pods/web:1/proxy/',
    503,
    'error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused',
  ],
  ['pods/web:nope/proxy/', 503, 'error trying to reach service: dial tcp: lookup tcp/nope: unknown port'],
  ['pods/lost/proxy/', 503, 'error trying to reach service: node lost: it is not connected'],
  ['services/none/proxy/', 404, 'endpoints "none" not found'],
  ['services/none:80/proxy/', 404, 'services "none" not found'],
  ['services/web:81/proxy/', 503, 'no service port 81 found for service "web"'],
  ['services/web:nope/proxy/', 503, 'no endpoints available for service "web:nope"'],
  ['services/empty:http/proxy/', 503, 'no endpoints available for service "empty"'],
  ['services/foreign:http/proxy/', 503, 'no endpoints available for service "foreign:http"'],
  ['services/:80/proxy/', 400, 'invalid service request ":80"'],
])('%s is refused: %i %s', async (path, status, message) => {
  const { body } = await client.get(`/api/v1/namespaces/default/${path}`);
  expect([body.code, body.message]).toEqual([status, message]);
});

test('https is spoken where it is asked for, whoever signed the certificate', async () => {
  expect((await client.get(`${SERVICES}/https:web:tls/proxy/`)).text).toBe('over TLS');
  expect((await client.get(`${SERVICES}/https:web:443/proxy/`)).text).toBe('over TLS');
  const wrong = await client.get(`${PODS}/https:web:${port}/proxy/`);
  expect(wrong.body.message).toBe(
    'error trying to reach service: http: server gave HTTP response to HTTPS client',
  );
});

test('who breaks off without an answer has not been reached', async () => {
  serve = (request) => request.socket.destroy();
  const { body } = await client.get(`${PODS}/web/proxy/`);
  expect([body.code, body.reason, body.message]).toEqual([
    503,
    'ServiceUnavailable',
    'error trying to reach service: EOF',
  ]);
});

test('a WebSocket passes through; a refusal of it does too', async () => {
  const sockets = new WebSocketServer({ server: behind, path: '/echo' });
  sockets.on('connection', (socket, request) => {
    socket.send(String(request.headers.authorization ?? request.headers['x-forwarded-for'] ?? ''));
    socket.on('message', (data: Buffer) => socket.send(`${data}!`));
  });
  const { certificate: cert, key } = api.identity.admin;
  const options = { ca: api.identity.caPem, cert, key };
  const socket = new WebSocket(`${api.url.replace('https', 'wss')}${PODS}/web/proxy/echo`, options);
  const seen: string[] = [];
  const closed = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.on('open', () => socket.send('hello'));
    socket.on('message', (data: Buffer) => {
      seen.push(String(data));
      if (seen.length === 2) socket.close();
    });
  });
  await closed;
  expect(seen).toEqual([expect.stringContaining('127.0.0.1'), 'hello!']);
  const refused = new WebSocket(`${api.url.replace('https', 'wss')}${PODS}/web/proxy/other`, options);
  const code = await new Promise((resolve) => {
    refused.on('unexpected-response', (_request, response) => resolve(response.statusCode));
    refused.on('error', () => {});
  });
  expect(code).toBe(400);
  sockets.close();
});

test('roles say who may: the verb of the method on the proxy subresource', async () => {
  const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/default';
  await client.post(`${rbac}/roles`, {
    metadata: { name: 'reader' },
    rules: [{ apiGroups: [''], resources: ['services/proxy'], verbs: ['get'], resourceNames: ['web:http'] }],
  });
  await client.post(`${rbac}/rolebindings`, {
    metadata: { name: 'reader' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'alice' }],
  });
  const headers = { 'impersonate-user': 'alice' };
  expect((await client.get(`${SERVICES}/web:http/proxy/`, { headers })).status).toBe(200);
  const refused = await client.post(`${SERVICES}/web:http/proxy/`, {}, { headers });
  expect([refused.status, refused.body.message]).toEqual([
    403,
    'services "web:http" is forbidden: User "alice" cannot create resource "services/proxy" in API group "" in the namespace "default"',
  ]);
  expect((await client.get(`${SERVICES}/web:80/proxy/`, { headers })).status).toBe(403);
});

test('nodes/proxy tells what the board knows as a kubelet would', async () => {
  const node = '/api/v1/nodes/board/proxy';
  expect((await client.get(`${node}/healthz`)).text).toBe('ok');
  expect((await client.get(`${node}/pods`)).body).toMatchObject({
    kind: 'PodList',
    items: [{ metadata: { name: 'web' } }],
  });
  const { body } = await client.get('/api/v1/nodes/board:10250/proxy/stats/summary');
  expect(body.node).toMatchObject({ nodeName: 'board', memory: { workingSetBytes: expect.any(Number) } });
  expect(body.pods).toMatchObject([{ podRef: { name: 'web', namespace: 'default', uid: 'u1' } }]);
  expect((await client.get(`${node}/metrics/resource`)).text).toMatch(
    /^node_cpu_usage_seconds_total [\d.]+ \d{13}$/m,
  );
  expect((await client.get(`${node}/metrics`)).text).toContain('kubelet_running_pods 1\n');
  expect((await client.get(`${node}/containerLogs/default/web/c?tailLines=3`)).text).toBe(
    'the last 3 lines\n',
  );
  const missing = await client.get(`${node}/containerLogs/default/web/d`);
  expect([missing.status, missing.text]).toEqual([404, 'container "d" not found in pod "web"']);
  expect((await client.get(`${node}/configz`)).status).toBe(404);
  expect((await client.get('/api/v1/nodes/board:9100/proxy/')).body.message).toBe('address not allowed');
  expect((await client.get('/api/v1/nodes/none/proxy/')).body.message).toBe('nodes "none" not found');
});
