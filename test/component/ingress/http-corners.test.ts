import { request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { Gateway } from '../../../src/agent/ingress/gateway.ts';
import { SystemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { SystemRandom } from '../../../src/lib/random.ts';
import { freePort } from '../../support/cluster.ts';
import { bodyOf, Pod, sharedIngress, sharedService } from '../../support/ingress.ts';
import { waitFor } from '../../support/wait.ts';

// HTTP/1.1 on the wire, byte by byte: where one answer ends and the next begins, and requests that a smuggler would send.
let port = 0;
let gateway: Gateway;
/** What endpoints saw: `METHOD url body`. */
let seen: string[] = [];
const ended: (() => unknown)[] = [];

beforeAll(async () => {
  port = await freePort();
  gateway = new Gateway({
    httpPort: port,
    httpsPort: 0,
    clock: new SystemClock(),
    random: new SystemRandom(),
    logger: silentLogger,
    onPortOpen: () => {},
    onPortTrouble: (_port, error) => {
      throw error;
    },
  });
  gateway.start();
  await waitFor('the gateway', async () => /404/.test(await raw('GET / HTTP/1.1\r\nHost: x\r\n\r\n', /404/)));
});
afterEach(async () => {
  for (const end of ended.splice(0)) await end();
  seen = [];
});
afterAll(() => gateway.stop());

/** What comes back for these bytes, until the gateway closes or enough has come. */
const raw = (bytes: string | Buffer, enough: RegExp): Promise<string> =>
  new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
      if (enough.test(got)) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(got));
  });

/** An endpoint of `web.test`. */
async function serve(answer: (url: string, response: ServerResponse, body: string) => void): Promise<Pod> {
  const pod = await new Pod((asked, response) => {
    void bodyOf(asked).then(
      (body) => {
        seen.push(`${asked.method} ${asked.url} ${body}`.trim());
        answer(asked.url ?? '', response, String(body));
      },
      () => seen.push(`${asked.method} ${asked.url} broken off`),
    );
  }).start();
  ended.push(() => pod.stop());
  gateway.update({
    ingresses: [sharedIngress('web', { 'web.test': { '/': 'web' } })],
    services: [sharedService('web', [pod.port])],
    secret: () => undefined,
  });
  return pod;
}

const ask = (head: string, more = ''): string => `${head} HTTP/1.1\r\nHost: web.test\r\n${more}\r\n`;
const statuses = (text: string): string[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code ?? '');

it('serves requests on one connection in their order, also those that did not wait', async () => {
  await serve((url, response) => {
    // The first takes its time.
    setImmediate(() => response.end(`<${url}>`));
  });
  const got = await raw(
    `${ask('POST /1', 'Content-Length: 3\r\n')}one${ask('GET /2')}${ask('GET /3', 'Connection: close\r\n')}`,
    /never/,
  );
  expect([...got.matchAll(/<[^>]*>/g)].map(([body]) => body)).toEqual(['</1>', '</2>', '</3>']);
  expect(seen).toEqual(['POST /1 one', 'GET /2', 'GET /3']);
});

it('gives HEAD, 204 and 304 no body, and keeps the connection in step after them', async () => {
  await serve((url, response) => {
    const status = Number(url.slice(1));
    if (status === 200) response.writeHead(200, { 'Content-Length': '5' }).end('hello');
    else response.writeHead(status, { ETag: '"1"' }).end();
  });
  const got = await raw(
    `${ask('HEAD /200')}${ask('GET /204')}${ask('GET /304')}${ask('GET /200', 'Connection: close\r\n')}`,
    /never/,
  );
  expect(statuses(got)).toEqual(['200', '204', '304', '200']);
  expect(got.match(/hello/g)).toHaveLength(1);
  expect(got.match(/Content-Length: 5/gi)).toHaveLength(2);
  expect(got).not.toMatch(/Transfer-Encoding/i);
});

it('hands on answers of unknown length, whole to HTTP/1.0 too', async () => {
  await serve((_url, response) => {
    response.write('one ');
    response.end('two');
  });
  const modern = await raw(ask('GET /', 'Connection: close\r\n'), /never/);
  expect(modern).toMatch(/Transfer-Encoding: chunked[\s\S]*4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n$/i);
  const old = await raw('GET / HTTP/1.0\r\nHost: web.test\r\nConnection: keep-alive\r\n\r\n', /never/);
  expect(old).toMatch(/\r\n\r\none two$/);
  expect(old).not.toMatch(/chunked/i);
});

it('tells the endpoint when a client leaves in the middle of its upload, and sends nothing again', async () => {
  const pod = await serve((_url, response) => response.end());
  let begun = 0;
  pod.server.prependListener('request', () => {
    begun += 1;
  });
  const call = request({ port, method: 'PUT', headers: { host: 'web.test', 'content-length': '1000' } });
  call.on('error', () => {});
  call.write('some');
  await waitFor('the endpoint to have the beginning', () => begun === 1);
  call.destroy();
  await waitFor('the endpoint to hear of it', () => seen.length === 1);
  expect([begun, seen]).toEqual([1, ['PUT / broken off']]);
});

it('ends a WebSocket for both when one of them leaves, without a word', async () => {
  const pod = await serve(() => {});
  const sockets: Socket[] = [];
  let closed = 0;
  pod.server.on('upgrade', (_asked, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    sockets.push(socket);
    socket.resume();
    // Node leaves that to who has the upgrade.
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
    socket.on('close', () => {
      closed += 1;
    });
  });
  const open = async (): Promise<Socket> => {
    const before = sockets.length;
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(ask('GET /', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
    await waitFor('the upgrade', () => sockets.length > before);
    await new Promise((resolve) => socket.once('data', resolve));
    return socket;
  };
  (await open()).destroy();
  await waitFor('the endpoint to hear of it', () => closed === 1);
  const client = await open();
  const heard = new Promise((resolve) => client.on('close', resolve));
  sockets.at(-1)?.destroy();
  await heard;
});

it.each<[string, string | Buffer]>([
  ['two lengths', ask('POST /', 'Content-Length: 4\r\nContent-Length: 5\r\n')],
  ['a length twice', ask('POST /', 'Content-Length: 5\r\nContent-Length: 5\r\n')],
  ['a list of lengths', ask('POST /', 'Content-Length: 5, 5\r\n')],
  ['a signed length', ask('POST /', 'Content-Length: +5\r\n')],
  ['a length in hexadecimal', ask('POST /', 'Content-Length: 0x5\r\n')],
  ['length and coding', ask('POST /', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n')],
  ['coding and length', ask('POST /', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n')],
  ['a coding that is not the last', ask('POST /', 'Transfer-Encoding: chunked, identity\r\n')],
  ['chunked twice', ask('POST /', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n')],
  ['an unknown coding', ask('POST /', 'Transfer-Encoding: xchunked\r\n')],
  ['a coding after a control character', ask('POST /', 'Transfer-Encoding: \x0bchunked\r\n')],
  ['a coding before a space', ask('POST /', 'Transfer-Encoding : chunked\r\n')],
  ['a coding in HTTP/1.0', 'POST / HTTP/1.0\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a folded header', ask('GET /', 'X-A: b\r\n c\r\n')],
  ['a folded coding', ask('POST /', 'Transfer-Encoding:\r\n chunked\r\n')],
  ['a NUL in a header', ask('GET /', 'X-A: b\0c\r\n')],
  ['a carriage return in a header', ask('GET /', 'X-A: b\rX-B: c\r\n')],
  ['lines that end with a line feed only', 'GET / HTTP/1.1\nHost: web.test\n\n'],
  ['a header without a name', ask('GET /', ': b\r\n')],
  ['a space before the first header', 'GET / HTTP/1.1\r\n Host: web.test\r\n\r\n'],
  ['two hosts', ask('GET /', 'Host: other.test\r\n')],
  ['a host with a user', 'GET / HTTP/1.1\r\nHost: me@web.test\r\n\r\n'],
  ['a target without a slash', ask('GET web.test')],
  ['a target with a NUL', ask('GET /\0')],
  ['an unknown version', 'GET / HTTP/3.7\r\nHost: web.test\r\n\r\n'],
])('refuses %s, and reads nothing more from that connection', async (_what, bytes) => {
  await serve((_url, response) => response.end('served'));
  const smuggled = ask('GET /smuggled');
  const got = await raw(`${bytes.toString('latin1')}0\r\n\r\n${smuggled}`, /never/);
  expect(statuses(got)).toHaveLength(1);
  expect(got).toMatch(/^HTTP\/1\.1 (400|501|505) /);
  expect(seen).toEqual([]);
});

it.each([
  ['a chunk that is longer than it says', '3\r\nhello\r\n0\r\n\r\n'],
  ['a size that is none', 'zz\r\nhello\r\n0\r\n\r\n'],
  ['a size with a sign', '-5\r\nhello\r\n0\r\n\r\n'],
  ['a size beyond every number', 'fffffffffffffffff\r\nhello\r\n0\r\n\r\n'],
  ['chunk lines that end with a line feed only', '5\nhello\n0\n\n'],
])('breaks off a body of %s: the endpoint never sees its end', async (_what, body) => {
  await serve((_url, response, text) => response.end(`got ${text}`));
  const got = await raw(
    `${ask('POST /', 'Transfer-Encoding: chunked\r\n')}${body}${ask('GET /smuggled')}`,
    /never/,
  );
  expect(got).not.toContain('got');
  expect(statuses(got).filter((status) => status === '200')).toEqual([]);
  expect(seen.filter((line) => !line.endsWith('broken off'))).toEqual([]);
});

it('hands a target on as it came, whatever its bytes', async () => {
  await serve((url, response) => response.end(url));
  for (const target of ['/a%2Fb?x=%00', '/a//b/./c', "/!$&'()*+,;=:@~", '/?a[]=1&b={}|^`', '/%zz']) {
    expect(await raw(ask(`GET ${target}`, 'Connection: close\r\n'), /never/)).toContain('200 OK');
    expect(seen.at(-1)).toBe(`GET ${target}`);
  }
  // Eight-bit characters are not HTTP's, and either refused or passed: never a broken gateway.
  const latin = await raw(Buffer.from(ask('GET /caf\xe9', 'Connection: close\r\n'), 'latin1'), /never/);
  expect(latin).toMatch(/^HTTP\/1\.1 (200|400)/);
  expect(await raw(ask('GET /after', 'Connection: close\r\n'), /never/)).toContain('200 OK');
});

it('takes 30 KB of headers of an answer, and says 502 where they have no end', async () => {
  await serve((url, response) => {
    response.setHeader('X-Long', 'y'.repeat(url === '/fits' ? 30_000 : 200_000));
    response.end('ok');
  });
  expect(await raw(ask('GET /fits', 'Connection: close\r\n'), /never/)).toMatch(/^HTTP\/1\.1 200[\s\S]*ok$/);
  expect(await raw(ask('POST /endless', 'Connection: close\r\nContent-Length: 0\r\n'), /never/)).toMatch(
    /^HTTP\/1\.1 502/,
  );
});
