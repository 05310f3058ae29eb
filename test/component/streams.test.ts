import { createServer, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { constants, createDeflate, createInflate } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import type { ContainerRuntime, ExecSession, OutputSink } from '../../src/agent/runtime.ts';
import { StreamServer } from '../../src/agent/streams/server.ts';
import { StreamRefusal } from '../../src/agent/streams/target.ts';
import type { KubeObject } from '../../src/api/object.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import type { Client } from '../../src/client/port.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { SystemRandom } from '../../src/lib/random.ts';
import type { PodStreamRequest } from '../../src/server/http/ports.ts';
import { AgentStreams } from '../../src/server/http/streams/agent-streams.ts';
import { PodStreams } from '../../src/server/http/streams/pod-streams.ts';
import { headerDictionary } from '../../src/server/http/streams/spdy/dictionary.ts';
import {
  controlFrame,
  dataFrame,
  encodeHeaders,
  FLAG_FIN,
  FRAME,
  FrameParser,
  uint32,
} from '../../src/server/http/streams/spdy/frames.ts';
import type { MessageBus } from '../../src/wire/message-bus.ts';
import type { StreamRequest } from '../../src/wire/messages.ts';

// kubectl's protocols on one side, an agent with a scripted container engine on the other; HTTP, WebSocket and the
// agent's dial-in are real.

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default', uid: 'u1' },
  spec: { nodeName: 'board', containers: [{ name: 'main' }] },
  status: { phase: 'Running' },
};

/** `cat`: echoes stdin and ends with code 3 when stdin is closed. */
class CatSession implements ExecSession {
  readonly exit: Promise<number>;
  readonly sizes: string[] = [];
  private sink: OutputSink | undefined;
  private finish: (code: number) => void = () => {};
  constructor() {
    this.exit = new Promise((resolve) => {
      this.finish = resolve;
    });
  }
  onOutput(sink: OutputSink): void {
    this.sink = sink;
  }
  write(chunk: Buffer): boolean {
    this.sink?.stdout(chunk);
    return true;
  }
  onDrain(): void {}
  closeStdin(): void {
    this.sink?.stderr(Buffer.from('bye'));
    this.finish(3);
  }
  async resize(columns: number, rows: number): Promise<void> {
    this.sizes.push(`${columns}x${rows}`);
  }
  close(): void {
    this.finish(137);
  }
  async kill(): Promise<void> {
    this.finish(137);
  }
}

function only<T extends object>(methods: Partial<T>): T {
  return new Proxy(methods as T, {
    get(target, name) {
      if (name in target || typeof name === 'symbol' || name === 'then') return Reflect.get(target, name);
      throw new Error(`${String(name)} is not modelled`);
    },
  });
}

describe('streams between kubectl and agent', () => {
  const clock = new SystemClock();
  let http: Server;
  let echo: TcpServer;
  let agent: StreamServer;
  let agents: AgentStreams;
  let session: CatSession;
  let base: string;

  beforeEach(async () => {
    session = new CatSession();
    const runtime = only<ContainerRuntime>({
      exec: async () => session,
      logs: async (_id, options, sink) => {
        for (let line = 0; line < (options.tailLines ?? 2); line += 1)
          sink.stdout(Buffer.from(`line ${line}\n`));
      },
    });
    const bus = only<MessageBus>({
      publish: async (_topic, payload) => agent.handle(JSON.parse(payload) as StreamRequest),
    });
    agents = new AgentStreams({
      bus,
      clock,
      random: new SystemRandom(),
      connected: (node) => node === 'board',
    });
    const client = only<Client>({ get: async <T extends KubeObject>() => pod as unknown as T });
    const streams = new PodStreams({ client, agents, clock, random: new SystemRandom() });
    const route = streams.agentRoute();
    http = createServer((request, response) => {
      const url = new URL(request.url ?? '', 'http://x');
      streams
        .log(streamRequest('log', url), response)
        .catch((error: Error) => response.writeHead(400).end(error.message));
    });
    http.on('upgrade', (request, socket: Duplex, head) => {
      const url = new URL(request.url ?? '', 'http://x');
      const upgrade = { request, socket, head };
      if (url.pathname.startsWith(route.path)) {
        const peer = {
          user: { name: '', groups: [] },
          nodeName: 'board',
          path: url.pathname,
          query: url.searchParams,
        };
        void route.upgrade(peer, upgrade);
        return;
      }
      const subresource = url.pathname.slice(1) as 'exec' | 'portforward';
      Promise.resolve(streams.upgrade(streamRequest(subresource, url), upgrade)).catch((error: Error) =>
        socket.end(`HTTP/1.1 400 Bad Request\r\n\r\n${error.message}`),
      );
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    echo = createTcpServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    agent = new StreamServer({
      dialer: { url: () => base, tls: () => ({}) },
      runtime,
      targets: {
        container: (_uid, name) => {
          if (name === 'main') return 'id';
          throw new StreamRefusal(
            'BadRequest',
            'container "main" in pod "web" is waiting to start: ContainerCreating',
          );
        },
        network: () => ({ pid: process.pid, ip: '127.0.0.1' }),
      },
      view: () => ({ node: 'board', directory: '/', pods: [] }),
      clock,
      logger: silentLogger,
    });
  });

  afterEach(async () => {
    agent.stop();
    agents.stop();
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
    await new Promise((resolve) => echo.close(resolve));
  });

  const streamRequest = (subresource: PodStreamRequest['subresource'], url: URL): PodStreamRequest => ({
    subresource,
    namespace: 'default',
    name: 'web',
    query: url.searchParams,
    context: { user: { name: 'me', groups: [] }, warn: () => {}, requestId: '1', fieldManager: 'test' },
    signal: new AbortController().signal,
  });

  it('runs a command over v5.channel.k8s.io: stdin, resize, half-close, output and exit code', async () => {
    const url = `${base.replace('http', 'ws')}/exec?command=cat&stdin=1&stdout=1&stderr=1&container=main`;
    const socket = new WebSocket(url, ['v5.channel.k8s.io', 'v4.channel.k8s.io']);
    const seen: string[] = [];
    socket.on('message', (message: Buffer) => seen.push(`${message[0]}:${message.toString('utf8', 1)}`));
    await new Promise((resolve) => socket.on('open', resolve));
    expect(socket.protocol).toBe('v5.channel.k8s.io');
    socket.send(Buffer.concat([Buffer.of(4), Buffer.from('{"Width":80,"Height":24}')]));
    socket.send(Buffer.concat([Buffer.of(0), Buffer.from('hello')]));
    socket.send(Buffer.of(255, 0));
    await new Promise((resolve) => socket.on('close', resolve));
    expect(seen.slice(0, 2)).toEqual(['1:hello', '2:bye']);
    const status = JSON.parse((seen[2] ?? '').slice(2));
    expect(status).toMatchObject({
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: '3' }] },
    });
    expect(session.sizes).toEqual(['80x24']);
  });

  it('answers the agent’s refusal before the upgrade', async () => {
    pod.spec?.containers.push({ name: 'late' });
    const url = `${base.replace('http', 'ws')}/exec?command=cat&stdout=1&container=late`;
    const socket = new WebSocket(url, ['v4.channel.k8s.io']);
    const code = await new Promise((resolve) =>
      socket.on('unexpected-response', (_r, response) => resolve(response.statusCode)),
    );
    pod.spec?.containers.pop();
    expect(code).toBe(400);
  });

  it('says at once that a node is not connected', async () => {
    const spec = pod.spec as NonNullable<Pod['spec']>;
    spec.nodeName = 'lost';
    const answer = await fetch(`${base}/log`);
    spec.nodeName = 'board';
    expect(await answer.text()).toBe('error dialing backend: node lost: it is not connected');
  });

  it('reads logs with their limits', async () => {
    const text = await (await fetch(`${base}/log?tailLines=3&limitBytes=10`)).text();
    expect(text).toBe('line 0\nlin');
    expect((await fetch(`${base}/log?tailLines=-1`)).status).toBe(400);
  });

  it('forwards a port through SPDY frames tunnelled in a WebSocket, as kubectl does', async () => {
    const duplex = await tunnel(base);
    const port = (echo.address() as AddressInfo).port;
    const received = await spdyEcho(duplex, port, 'ping pong');
    expect(received).toBe('ping pong');
    duplex.destroy();
  });

  it('forwards a port over SPDY on the upgraded connection, as kubectl before 1.31 does', async () => {
    const duplex = await new Promise<Duplex>((resolve) => {
      httpRequest(`${base}/portforward`, {
        method: 'POST',
        headers: {
          connection: 'Upgrade',
          upgrade: 'SPDY/3.1',
          'x-stream-protocol-version': 'portforward.k8s.io',
        },
      })
        .on('upgrade', (_response, upgraded) => resolve(upgraded))
        .end();
    });
    const received = await spdyEcho(duplex, (echo.address() as AddressInfo).port, 'old client');
    expect(received).toBe('old client');
    duplex.destroy();
  });

  it('says on the error stream that nothing listens', async () => {
    const port = (echo.address() as AddressInfo).port;
    await new Promise((resolve) => echo.close(resolve));
    const duplex = await tunnel(base);
    const received = await spdyEcho(duplex, port, 'x', 'error');
    expect(received).toMatch(/error forwarding port/);
    duplex.destroy();
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  });
});

/** kubectl's WebSocket with a subprotocol that ws's own client refuses to name: the handshake is made by hand. */
async function tunnel(base: string): Promise<Duplex> {
  const protocol = 'SPDY/3.1+portforward.k8s.io';
  const [socket, answered] = await new Promise<[Duplex, string | undefined]>((resolve) => {
    httpRequest(`${base}/portforward`, {
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        'sec-websocket-protocol': protocol,
      },
    })
      .on('upgrade', (response, upgraded) =>
        resolve([upgraded, response.headers['sec-websocket-protocol'] as string | undefined]),
      )
      .end();
  });
  expect(answered).toBe(protocol);
  const client = new WebSocket(null as never, undefined, { autoPong: true }) as WebSocket & {
    _isServer: boolean;
    setSocket(socket: Duplex, head: Buffer, options: object): void;
  };
  client._isServer = false;
  client.setSocket(socket, Buffer.alloc(0), { maxPayload: 1 << 20, skipUTF8Validation: false });
  return createWebSocketStream(client);
}

/** A SPDY client of one connection: opens error (1) and data (3), sends `text` and FIN, returns what one stream says. */
async function spdyEcho(
  duplex: Duplex,
  port: number,
  text: string,
  want: 'data' | 'error' = 'data',
): Promise<string> {
  const dictionary = headerDictionary();
  const deflate = createDeflate({ dictionary, flush: constants.Z_SYNC_FLUSH });
  const inflate = createInflate({ dictionary, flush: constants.Z_SYNC_FLUSH });
  const parser = new FrameParser(1 << 20);
  const open = async (id: number, streamtype: string): Promise<void> => {
    const headers = encodeHeaders({ streamtype, port: String(port), requestid: '0' });
    const block = await new Promise<Buffer>((resolve) =>
      deflate.write(headers, () => resolve(deflate.read())),
    );
    duplex.write(controlFrame(FRAME.SYN_STREAM, 0, Buffer.concat([uint32(id, 0), Buffer.alloc(2), block])));
  };
  let received = '';
  const done = new Promise<void>((resolve) => {
    duplex.on('data', (chunk: Buffer) => {
      for (const frame of parser.push(chunk)) {
        // Every reply's header block has to be readable in order: the contexts of both ends agree.
        if (frame.control && frame.type === FRAME.SYN_REPLY)
          inflate.write(Buffer.from(frame.body.subarray(4)));
        if (frame.control || frame.streamId !== (want === 'data' ? 3 : 1)) continue;
        received += frame.data.toString('utf8');
        if (frame.flags & FLAG_FIN) resolve();
      }
    });
  });
  await open(1, 'error');
  await open(3, 'data');
  duplex.write(dataFrame(3, 0, Buffer.from(text)));
  duplex.write(dataFrame(3, FLAG_FIN, Buffer.alloc(0)));
  await done;
  return received;
}
