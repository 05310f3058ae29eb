import { createHash, randomBytes } from 'node:crypto';
import { request, type ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Gateway } from '../../../src/agent/ingress/gateway.ts';
import type { Secret } from '../../../src/api/types/core-v1.ts';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import type { SharedIngress, SharedService } from '../../../src/wire/messages.ts';
import { freePort } from '../../support/cluster.ts';
import {
  ask,
  bodyOf,
  Pod,
  selfSigned,
  sharedIngress,
  sharedService,
  tlsSecret,
} from '../../support/ingress.ts';
import { waitFor } from '../../support/wait.ts';

// The gateway with real sockets on loopback: what a client gets for what a pod does.
let http = 0;
let https = 0;
let gateway: Gateway;
let echo: Pod;
let secrets: Secret[] = [];
const ended: (() => Promise<unknown> | unknown)[] = [];

const show = (ingresses: SharedIngress[], services: SharedService[]): void =>
  gateway.update({
    ingresses,
    services,
    secret: (_namespace, name) => secrets.find(({ metadata }) => metadata.name === name),
  });

/** Answers with what it saw. */
const echoed = (
  request: Parameters<ConstructorParameters<typeof Pod>[0]>[0],
  response: ServerResponse,
): void => {
  void bodyOf(request).then((body) => {
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        method: request.method,
        url: request.url,
        headers: request.headers,
        trailers: request.trailers,
        length: body.length,
        hash: createHash('sha256').update(body).digest('hex'),
      }),
    );
  });
};

const pod = async (...args: ConstructorParameters<typeof Pod>): Promise<Pod> => {
  const made = await new Pod(...args).start();
  ended.push(() => made.stop());
  return made;
};

const web = (port: number, more: Partial<SharedIngress> = {}): void =>
  show([sharedIngress('web', { 'web.test': { '/': 'web' } }, more)], [sharedService('web', [port])]);

beforeAll(async () => {
  [http, https] = [await freePort(), await freePort()];
  gateway = new Gateway({
    httpPort: http,
    httpsPort: https,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logger: silentLogger,
    onPortOpen: () => {},
    onPortTrouble: (_port, error) => {
      throw error;
    },
  });
  gateway.start();
  echo = await new Pod(echoed).start();
  await waitFor('the gateway', () => ask(http, 'none.test', '/'));
});
afterEach(async () => {
  for (const end of ended.splice(0)) await end();
  secrets = [];
});
afterAll(async () => {
  await gateway.stop();
  await echo.stop();
});

it('routes by host and path, and says so when nothing fits', async () => {
  const other = await pod((_request, response) => response.end('other'));
  show(
    [sharedIngress('a', { 'web.test': { '/': 'web', '/other': 'other', '/none': 'missing' } })],
    [sharedService('web', [echo.port]), sharedService('other', [other.port])],
  );
  expect((await ask(http, 'WEB.test:80', '/other/x')).body).toBe('other');
  expect(JSON.parse((await ask(http, 'web.test', '/otherwise?q=1')).body).url).toBe('/otherwise?q=1');
  // As the backend will read it.
  expect((await ask(http, 'web.test', '/x/../%6Fther')).body).toBe('other');
  expect((await ask(http, 'other.test', '/')).status).toBe(404);
  expect((await ask(http, 'web.test', '/none')).status).toBe(503);
  expect((await ask(http, 'web.test', '/../etc')).status).toBe(400);
});

it('tells the endpoint who asks, and nobody else can say so', async () => {
  web(echo.port);
  const { body } = await ask(http, 'web.test', '/', {
    headers: {
      'X-Forwarded-For': '203.0.113.1',
      x_forwarded_for: '203.0.113.2',
      'X-Real-IP': '203.0.113.3',
      Forwarded: 'for=203.0.113.4',
      Connection: 'X-Secret, keep-alive',
      'X-Secret': 'of this hop',
      'Keep-Alive': 'timeout=5',
      TE: 'trailers, gzip',
      Proxy: 'http://203.0.113.5',
      'X-Kept': 'yes',
      Cookie: 'a=1',
    },
  });
  const { headers } = JSON.parse(body);
  expect(headers).toEqual({
    host: 'web.test',
    'x-kept': 'yes',
    cookie: 'a=1',
    te: 'trailers',
    connection: 'keep-alive',
    'x-forwarded-for': headers['x-real-ip'],
    'x-forwarded-host': 'web.test',
    'x-forwarded-port': String(http),
    'x-forwarded-proto': 'http',
    // That of loopback, unless something on this machine translates it.
    'x-real-ip': expect.stringMatching(/^(?!203\.)\d+\.\d+\.\d+\.\d+$/),
  });
});

/** What comes back for these bytes, until the gateway closes or enough has come. */
const raw = (text: string, enough: RegExp, port = http): Promise<string> =>
  new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk) => {
      got += chunk;
      if (enough.test(got)) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(got));
  });

it('refuses requests that two servers could read differently', async () => {
  web(echo.port);
  const refused = async (head: string): Promise<string> =>
    (await raw(`${head}\r\n\r\n`, /\r\n\r\n/)).slice(9, 12);
  expect(await refused('GET / HTTP/1.1\r\nHost: web.test\r\nHost: other.test')).toBe('400');
  expect(await refused('GET / HTTP/1.1')).toBe('400');
  expect(await refused('GET / HTTP/1.1\r\nHost: web.test/x')).toBe('400');
  expect(
    await refused('POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked'),
  ).toBe('400');
  expect(await refused('POST / HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: gzip, chunked')).toBe('501');
  expect(await refused('GET / HTTP/1.1\r\nHost: web.test\r\nX : y')).toBe('400');
  expect(await refused(`GET / HTTP/1.1\r\nHost: web.test\r\nX: ${'y'.repeat(40_000)}`)).toBe('431');
});

it('takes the absolute form, whose authority is the host, and HTTP/1.0 without host', async () => {
  show(
    [sharedIngress('web', { 'web.test': { '/a': 'web' }, '*': { '/b': 'web' } })],
    [sharedService('web', [echo.port])],
  );
  const absolute = await raw('GET http://web.test/a?x HTTP/1.1\r\nHost: other.test\r\n\r\n', /\}$/m);
  expect(absolute).toContain('"url":"/a?x"');
  expect(absolute).toContain('"host":"web.test"');
  expect(await raw('GET /b HTTP/1.0\r\n\r\n', /never/)).toMatch(/^HTTP\/1.1 200 OK[\s\S]*"url":"\/b"/);
});

it('streams 20 MB up and down as they are', async () => {
  const content = randomBytes(20 * 1024 * 1024);
  const hash = createHash('sha256').update(content).digest('hex');
  const down = await pod((_request, response) => Readable.from(pieces(content)).pipe(response));
  show(
    [sharedIngress('web', { 'web.test': { '/': 'web', '/down': 'down' } })],
    [sharedService('web', [echo.port]), sharedService('down', [down.port])],
  );
  const up = await new Promise<string>((resolve, reject) => {
    const call = request(
      { port: http, method: 'PUT', headers: { host: 'web.test' }, agent: false },
      (answer) => resolve(bodyOf(answer).then(String)),
    );
    call.on('error', reject);
    Readable.from(pieces(content)).pipe(call);
  });
  expect(JSON.parse(up)).toMatchObject({ length: content.length, hash });
  const got = await new Promise<Buffer>((resolve) => {
    request({ port: http, path: '/down', headers: { host: 'web.test' }, agent: false }, (answer) =>
      resolve(bodyOf(answer)),
    ).end();
  });
  expect(createHash('sha256').update(got).digest('hex')).toBe(hash);
});

function* pieces(content: Buffer): Generator<Buffer> {
  for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
}

it('passes an event stream on as it comes, and tells the endpoint when the client leaves', async () => {
  let left = false;
  let stream: ServerResponse | undefined;
  const events = await pod((_request, response) => {
    stream = response;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    response.on('close', () => {
      left = true;
    });
  });
  web(events.port);
  const call = request({ port: http, headers: { host: 'web.test' }, agent: false });
  call.on('error', () => {});
  // The head comes before any event.
  const answer = await new Promise<Readable>((resolve) => call.on('response', resolve).end());
  const events$ = answer[Symbol.asyncIterator]();
  for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
    stream?.write(event);
    expect(String((await events$.next()).value)).toBe(event);
  }
  call.destroy();
  await waitFor('the endpoint to hear of it', () => left);
});

it('passes trailers both ways', async () => {
  const chatty = await pod((request, response) => {
    void bodyOf(request).then((body) => {
      response.writeHead(200, { Trailer: 'X-Sum' });
      response.write(`${body} ${request.trailers['x-sum']}`);
      response.addTrailers({ 'X-Sum': 'down' });
      response.end();
    });
  });
  web(chatty.port);
  const answer = await raw(
    'POST / HTTP/1.1\r\nHost: web.test\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: up\r\n\r\n',
    /0\r\nX-Sum: down\r\n\r\n/,
  );
  expect(answer).toMatch(/hi up/);
  expect(answer).toMatch(/0\r\nX-Sum: down\r\n\r\n$/);
});

it('asks the endpoint before a client that waits for 100 sends its body', async () => {
  const strict = await pod(echoed);
  strict.server.on('checkContinue', (request, response) => {
    if (request.headers['x-key'] !== 'right') response.writeHead(401).end();
    else {
      response.writeContinue();
      echoed(request, response);
    }
  });
  web(strict.port);
  const head = 'POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n';
  expect(await raw(`${head}\r\n`, /never/)).toMatch(/^HTTP\/1.1 401[\s\S]*Connection: close/);
  const socket = connect(http, '127.0.0.1', () => socket.write(`${head}X-Key: right\r\n\r\n`));
  let got = '';
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      got += chunk;
      if (got === 'HTTP/1.1 100 Continue\r\n\r\n') socket.write('hi');
      if (got.includes('"length":2')) resolve();
    });
  });
  socket.destroy();
});

it('asks another endpoint when one does not take the connection, whatever the method', async () => {
  const gone = await freePort();
  show([sharedIngress('web', { 'web.test': { '/': 'web' } })], [sharedService('web', [gone, echo.port])]);
  for (const method of ['GET', 'POST', 'POST', 'PUT', 'GET']) {
    const { status, body } = await ask(http, 'web.test', '/', {
      method,
      ...(method === 'GET' ? {} : { body: 'x' }),
    });
    expect([status, JSON.parse(body).method]).toEqual([200, method]);
  }
  web(gone);
  expect((await ask(http, 'web.test', '/')).status).toBe(502);
});

it('repeats what may be repeated when an endpoint ends without an answer, and nothing else', async () => {
  const asked: string[] = [];
  const dying = await pod((request) => {
    asked.push(request.method ?? '');
    request.socket.destroy();
  });
  const services = [sharedService('web', [dying.port, echo.port])];
  show([sharedIngress('web', { 'web.test': { '/': 'web' } })], services);
  const results: [string, number][] = [];
  for (const method of ['GET', 'GET', 'POST', 'POST']) {
    results.push([
      method,
      (await ask(http, 'web.test', '/', { method, body: method === 'POST' ? 'x' : '' })).status,
    ]);
  }
  expect(results.filter(([method]) => method === 'GET').map(([, status]) => status)).toEqual([200, 200]);
  expect(
    results
      .filter(([method]) => method === 'POST')
      .map(([, status]) => status)
      .sort(),
  ).toEqual([200, 502]);
  expect(asked.filter((method) => method === 'POST')).toHaveLength(1);
});

it('lets a client see that an answer broke off', async () => {
  const breaking = await pod((_request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half', () => response.socket?.destroy());
  });
  web(breaking.port);
  await expect(ask(http, 'web.test', '/')).rejects.toThrow(/aborted|hang up|ECONNRESET/);
});

it('gives up on a silent endpoint after the time that the Ingress allows', async () => {
  const silent = await pod(() => {});
  web(silent.port, { timeoutSeconds: 1 });
  expect((await ask(http, 'web.test', '/')).status).toBe(504);
});

it('answers early and reads the rest of an upload that the endpoint did not want', async () => {
  const refusing = await pod((_request, response) => {
    response.writeHead(413).end('too large');
  });
  web(refusing.port);
  const answer = await ask(http, 'web.test', '/', { method: 'POST', body: randomBytes(4 * 1024 * 1024) });
  expect([answer.status, answer.body]).toEqual([413, 'too large']);
});

it('keeps connections to endpoints, and closes those of endpoints that left', async () => {
  let connections = 0;
  const counted = await pod((_request, response) => response.end('ok'));
  counted.server.on('connection', () => {
    connections += 1;
  });
  web(counted.port);
  for (let index = 0; index < 5; index += 1) await ask(http, 'web.test', '/');
  expect(connections).toBe(1);
  const open = (): Promise<number> =>
    new Promise((resolve) => counted.server.getConnections((_error, count) => resolve(count)));
  expect(await open()).toBe(1);
  web(echo.port);
  await waitFor('the connection to be closed', async () => (await open()) === 0);
});

it('spreads requests over the endpoints that have the fewest', async () => {
  const waiting: ServerResponse[] = [];
  const [one, two] = [0, 0].map(() => ({ count: 0 }));
  const slow = (counter: { count: number } | undefined) => (_request: unknown, response: ServerResponse) => {
    if (counter) counter.count += 1;
    waiting.push(response);
  };
  const [first, second] = [await pod(slow(one)), await pod(slow(two))];
  show(
    [sharedIngress('web', { 'web.test': { '/': 'web' } })],
    [sharedService('web', [first.port, second.port])],
  );
  const asked = Array.from({ length: 10 }, () => ask(http, 'web.test', '/'));
  await waitFor('all to be under way', () => waiting.length === 10);
  expect([one?.count, two?.count]).toEqual([5, 5]);
  for (const response of waiting) response.end();
  await Promise.all(asked);
});

const webSocketPod = async (): Promise<Pod> => {
  const made = await pod((_request, response) => response.writeHead(426).end('upgrade, please'));
  const server = new WebSocketServer({ server: made.server });
  server.on('connection', (socket, { headers }) => {
    socket.send(`hello ${headers['x-forwarded-proto']}`);
    socket.on('message', (data) => socket.send(`echo ${data}`));
  });
  ended.push(() => {
    for (const client of server.clients) client.terminate();
  });
  return made;
};

it.each(['ws', 'wss'])('carries WebSockets (%s)', async (scheme) => {
  web((await webSocketPod()).port);
  const port = scheme === 'ws' ? http : https;
  const socket = new WebSocket(`${scheme}://127.0.0.1:${port}/`, {
    headers: { host: 'web.test' },
    rejectUnauthorized: false,
  });
  const messages: string[] = [];
  socket.on('message', (data) => messages.push(String(data)));
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  socket.send('one');
  await waitFor('the echo', () => messages.length === 2);
  expect(messages).toEqual([`hello ${scheme === 'ws' ? 'http' : 'https'}`, 'echo one']);
  socket.close();
  await waitFor('the close', () => socket.readyState === WebSocket.CLOSED);
});

it('hands on an answer that is no upgrade, and goes on without HTTP/2 where it is offered in plain', async () => {
  web(echo.port);
  const upgrade = (protocol: string, host: string): Promise<string> =>
    raw(
      `GET /x HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      /never/,
    );
  expect(await upgrade('websocket', 'web.test')).toMatch(/^HTTP\/1.1 200 OK[\s\S]*"upgrade":"websocket"/);
  const h2c = await upgrade('h2c', 'web.test');
  expect(h2c).toMatch(/^HTTP\/1.1 200 OK/);
  expect(h2c).not.toContain('h2c');
  expect(await upgrade('websocket', 'none.test')).toMatch(/^HTTP\/1.1 404/);
});

it('speaks HTTP/2 to clients', async () => {
  const content = randomBytes(1024 * 1024);
  web(echo.port);
  const session = connectHttp2(`https://127.0.0.1:${https}`, { rejectUnauthorized: false });
  ended.push(() => session.close());
  const ask2 = async (headers: Record<string, string | string[]>, body?: Buffer) => {
    const stream = session.request({ ':authority': 'web.test', ...headers });
    const head = new Promise<Record<string, unknown>>((resolve) => stream.on('response', resolve));
    stream.end(body);
    const text = String(await bodyOf(stream));
    return { head: await head, seen: text.startsWith('{') ? JSON.parse(text) : text };
  };
  const [got, posted, missing] = await Promise.all([
    ask2({ ':path': '/x?y', cookie: ['a=1', 'b=2'], 'x-forwarded-for': '203.0.113.1' }),
    ask2({ ':path': '/up', ':method': 'POST' }, content),
    ask2({ ':path': '/', ':authority': 'none.test' }),
  ]);
  expect(got.head[':status']).toBe(200);
  expect(got.seen).toMatchObject({
    method: 'GET',
    url: '/x?y',
    headers: { host: 'web.test', cookie: 'a=1; b=2' },
  });
  expect(got.seen.headers['x-forwarded-for']).toBe(got.seen.headers['x-real-ip']);
  expect(got.seen.headers['x-forwarded-proto']).toBe('https');
  expect(posted.seen).toMatchObject({
    method: 'POST',
    length: content.length,
    hash: createHash('sha256').update(content).digest('hex'),
  });
  expect(missing.head[':status']).toBe(404);
});

/** The names in the certificate that a client gets who asks for `servername`. */
const served = (servername: string | undefined): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket: Socket & { getPeerCertificate?: unknown } = connectTls(
      { port: https, host: '127.0.0.1', rejectUnauthorized: false, ...(servername ? { servername } : {}) },
      () => {
        resolve((socket as ReturnType<typeof connectTls>).getPeerCertificate().subjectaltname ?? '');
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });

it('serves the certificates of Secrets by name, and new ones from the next handshake on', async () => {
  secrets = [tlsSecret('one', selfSigned('a.test')), tlsSecret('wild', selfSigned('*.b.test'))];
  const ingress = sharedIngress(
    'web',
    { 'a.test': { '/': 'web' } },
    {
      tls: [
        { hosts: ['a.test'], secret: 'one' },
        { hosts: ['*.b.test'], secret: 'wild' },
        { hosts: ['c.test'], secret: 'missing' },
      ],
    },
  );
  const services = [sharedService('web', [echo.port])];
  show([ingress], services);
  expect(await served('a.test')).toBe('DNS:a.test');
  expect(await served('x.b.test')).toBe('DNS:*.b.test');
  for (const other of ['b.test', 'x.y.b.test', 'c.test', undefined]) {
    expect(await served(other)).toBe('DNS:ingress.invalid');
  }
  const session = connectHttp2(`https://127.0.0.1:${https}`, {
    rejectUnauthorized: false,
    servername: 'a.test',
  });
  ended.push(() => session.close());
  await new Promise((resolve) => session.on('connect', resolve));
  secrets = [tlsSecret('one', selfSigned('a.test', 'new.test'))];
  show([ingress], services);
  expect(await served('a.test')).toBe('DNS:a.test, DNS:new.test');
  expect(session.destroyed).toBe(false);
  // A pair that does not fit is not served at all.
  const broken = { ...selfSigned('a.test'), key: selfSigned('a.test').key };
  secrets = [tlsSecret('one', broken)];
  show([ingress], services);
  expect(await served('a.test')).toBe('DNS:ingress.invalid');
  // An entry without hosts and rules without hosts: for every name, and for none.
  secrets = [tlsSecret('all', selfSigned('all.test'))];
  show([sharedIngress('all', { '*': { '/': 'web' } }, { tls: [{ hosts: [], secret: 'all' }] })], services);
  expect(await served('whatever.test')).toBe('DNS:all.test');
  expect(await served(undefined)).toBe('DNS:all.test');
});

it('redirects to TLS where the Ingress wants it', async () => {
  web(echo.port, { sslRedirect: true });
  const { status, headers } = await ask(http, 'web.test', '/x?y=1');
  expect([status, headers.location]).toEqual([308, `https://web.test:${https}/x?y=1`]);
});

it('leaves what listens on the board to itself when an ExternalName leads there', async () => {
  show(
    [sharedIngress('web', { 'web.test': { '/': 'out' } })],
    [
      {
        v: 1,
        namespace: 'd',
        name: 'out',
        type: 'ExternalName',
        clusterIPs: [],
        externalName: 'localhost',
        ports: [],
      },
    ],
  );
  expect((await ask(http, 'web.test', '/')).status).toBe(502);
});

it('waits for a port that another program has', async () => {
  const port = await freePort();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(port, resolve));
  const troubles: number[] = [];
  const second = new Gateway({
    httpPort: port,
    httpsPort: 0,
    clock: { ...fast(), now: Date.now },
    random: new SystemRandom(),
    logger: silentLogger,
    onPortOpen: () => {},
    onPortTrouble: (taken) => troubles.push(taken),
  });
  second.start();
  await waitFor('the trouble', () => troubles.length > 0);
  await new Promise((resolve) => other.close(resolve));
  await waitFor('the port to be served', () => ask(port, 'web.test', '/'));
  expect(troubles).toEqual([port]);
  await second.stop();
});

/** Ten seconds are ten milliseconds. */
function fast(): Pick<SystemClock, 'after' | 'every' | 'monotonic'> {
  const clock = new SystemClock();
  return {
    after: (milliseconds, action) => clock.after(milliseconds / 1000, action),
    every: (milliseconds, action) => clock.every(milliseconds / 1000, action),
    monotonic: () => clock.monotonic(),
  };
}
