import { createServer, type Server } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { grpcProbe, httpProbe, tcpProbe } from '../../../src/health/probers.ts';
import { SystemClock } from '../../../src/lib/clock.ts';

const target = (timeoutMs = 2_000) => ({
  clock: new SystemClock(),
  host: '127.0.0.1',
  timeoutMs,
  port: (port: number | string) => Number(port),
});

describe('http', () => {
  let server: Server;
  let port: number;
  const seen: Record<string, unknown>[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      seen.push({ ...request.headers, url: request.url });
      const [, kind = '', argument = ''] = (request.url ?? '').split('/');
      if (kind === 'status') response.writeHead(Number(argument)).end('body');
      else if (kind === 'away') response.writeHead(302, { location: 'http://elsewhere.invalid/' }).end();
      else if (kind === 'loop') response.writeHead(302, { location: '/loop' }).end();
      else if (kind === 'on') response.writeHead(302, { location: '/status/204' }).end();
      else if (kind === 'endless') response.writeHead(200).write('x');
      // Everything else is never answered.
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it.each([
    ['/status/200', 'success', ''],
    ['/status/399', 'success', ''],
    ['/status/404', 'failure', 'HTTP probe failed with statuscode: 404'],
    ['/status/500', 'failure', 'HTTP probe failed with statuscode: 500'],
    ['/on', 'success', ''],
    ['/endless', 'success', ''],
  ])('%s is %s', async (path, result, output) => {
    expect(await httpProbe({ path, port }, target())).toEqual({ result, output });
  });

  it('takes a redirect to another host for a success that deserves a warning', async () => {
    expect(await httpProbe({ path: '/away', port }, target())).toEqual({
      result: 'success',
      output: '',
      warning: expect.stringContaining('Probe terminated redirects'),
    });
  });

  it('gives up on redirects without end, and in time', async () => {
    expect((await httpProbe({ path: '/loop', port }, target())).output).toContain(
      'stopped after 10 redirects',
    );
    const late = await httpProbe({ path: '/never', port }, target(100));
    expect(late).toEqual({
      result: 'failure',
      output: `Get "http://127.0.0.1:${port}/never": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
    });
  });

  it('says who it is, unless told otherwise', async () => {
    seen.length = 0;
    await httpProbe({ path: '/status/200', port }, target());
    const httpHeaders = [
      { name: 'user-agent', value: 'me' },
      { name: 'Host', value: 'web.example' },
    ];
    await httpProbe({ path: '/status/200', port, httpHeaders }, target());
    expect(seen.map((headers) => [headers['user-agent'], headers.host])).toEqual([
      ['kube-probe/1.36', `127.0.0.1:${port}`],
      ['me', 'web.example'],
    ]);
  });

  it('words a refused connection as Go does', async () => {
    const free = createTcpServer();
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
    const { port: closed } = free.address() as AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    expect((await httpProbe({ path: '/', port: closed }, target())).output).toBe(
      `Get "http://127.0.0.1:${closed}/": dial tcp 127.0.0.1:${closed}: connect: connection refused`,
    );
    expect(await tcpProbe({ port: closed }, target())).toEqual({
      result: 'failure',
      output: `dial tcp 127.0.0.1:${closed}: connect: connection refused`,
    });
  });

  it('tcp is content with a connection', async () => {
    expect(await tcpProbe({ port }, target())).toEqual({ result: 'success', output: '' });
  });
});

describe('grpc', () => {
  it.each([
    ['serving', [0x08, 1], '0', 'success', 'service healthy'],
    ['not', [0x08, 2], '0', 'failure', 'service unhealthy (responded with "NOT_SERVING")'],
    [
      'none',
      [],
      '12',
      'failure',
      'error: this server does not implement the grpc health protocol (grpc.health.v1.Health)',
    ],
  ])('%s', async (service, message, status, result, output) => {
    let asked = Buffer.alloc(0);
    const server = createHttp2Server();
    server.on('stream', (stream, headers) => {
      expect(headers[':path']).toBe('/grpc.health.v1.Health/Check');
      stream.on('data', (chunk: Buffer) => {
        asked = Buffer.concat([asked, chunk]);
      });
      stream.on('end', () => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }));
        stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    expect(await grpcProbe({ port, service }, target())).toEqual({ result, output });
    expect(asked.subarray(7).toString()).toBe(service);
    await new Promise((resolve) => server.close(resolve));
  });
});
