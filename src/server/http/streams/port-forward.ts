import { createWebSocketStream } from 'ws';
import { badRequest } from '../../../api/errors.ts';
import { binaryCodec, type ChannelPeer, ChannelSocket } from '../../../wire/channel-socket.ts';
import { CHANNEL, STREAM_BUFFER_BYTES } from '../../../wire/channels.ts';
import type { Upgrade } from '../ports.ts';
import { parseStatus } from './agent-streams.ts';
import type { SpdyStream } from './spdy/session.ts';
import { SpdySession } from './spdy/session.ts';
import { acceptSpdy, acceptWebSocket, isWebSocket, offered } from './upgrade.ts';

/** kubectl since 1.31: SPDY frames tunnelled in WebSocket messages (KEP-4006). */
const TUNNEL_PROTOCOL = 'SPDY/3.1+portforward.k8s.io';
/** The older WebSocket form: two channels for each port named in the query. */
const CHANNEL_PROTOCOL = 'v4.channel.k8s.io';
const SPDY_PROTOCOL = 'portforward.k8s.io';

/** Opens a stream to one port of the pod; rejects with what to tell the client. */
export type DialPort = (port: number) => Promise<ChannelPeer>;

/** The client's two halves of one forwarded connection. */
interface Forwarded {
  write(chunk: Buffer): boolean;
  end(): void;
  fail(message: string): void;
  pause(): void;
  resume(): void;
}

/**
 * One forwarded connection: what the client sends waits until the agent's stream stands, then both directions flow.
 * A failure goes to the error stream as text, as the kubelet's does.
 */
class ForwardedConnection {
  private readonly client: Forwarded;
  private agent: ChannelPeer | undefined;
  private early: Buffer[] = [];
  private earlyBytes = 0;
  private clientEnded = false;
  private over = false;

  constructor(client: Forwarded) {
    this.client = client;
  }

  async open(port: number, dial: DialPort): Promise<void> {
    let agent: ChannelPeer;
    try {
      agent = await dial(port);
    } catch (error) {
      this.over = true;
      this.client.fail(error instanceof Error ? error.message : String(error));
      this.client.end();
      return;
    }
    if (this.over) return agent.close();
    this.agent = agent;
    agent.onMessage = (channel, data) => this.fromAgent(channel, data);
    agent.onChannelEnd = (channel) => {
      if (channel === CHANNEL.STDOUT) this.client.end();
    };
    agent.onDrain = () => this.client.resume();
    agent.onClose = () => {
      this.over = true;
      this.client.end();
    };
    for (const chunk of this.early) agent.send(CHANNEL.STDIN, chunk);
    this.early = [];
    if (this.clientEnded) agent.endChannel(CHANNEL.STDIN);
    agent.resume();
    this.client.resume();
  }

  fromClient(chunk: Buffer): void {
    if (this.over) return;
    if (this.agent) {
      if (!this.agent.send(CHANNEL.STDIN, chunk)) this.client.pause();
      return;
    }
    this.early.push(Buffer.from(chunk));
    this.earlyBytes += chunk.length;
    if (this.earlyBytes > STREAM_BUFFER_BYTES) this.client.pause();
  }

  clientEnd(): void {
    this.clientEnded = true;
    this.agent?.endChannel(CHANNEL.STDIN);
  }

  clientGone(): void {
    this.over = true;
    this.agent?.close();
  }

  clientDrained(): void {
    this.agent?.resume();
  }

  private fromAgent(channel: number, data: Buffer): void {
    if (channel === CHANNEL.STDOUT) {
      if (!this.client.write(data)) this.agent?.pause();
      return;
    }
    if (channel !== CHANNEL.STATUS) return;
    const status = parseStatus(data);
    if (status.status !== 'Success') this.client.fail(status.message ?? 'the connection failed');
    this.agent?.close();
  }
}

export async function servePortForward(
  upgrade: Upgrade,
  query: URLSearchParams,
  dial: DialPort,
): Promise<void> {
  if (!isWebSocket(upgrade.request)) {
    const duplex = acceptSpdy(upgrade, { 'X-Stream-Protocol-Version': SPDY_PROTOCOL });
    return serveSpdy(duplex, dial);
  }
  const protocols = offered(upgrade.request, 'websocket');
  if (protocols.includes(TUNNEL_PROTOCOL)) {
    const socket = await acceptWebSocket(upgrade, TUNNEL_PROTOCOL);
    return serveSpdy(createWebSocketStream(socket), dial);
  }
  const ports = parsePorts(query);
  const protocol = protocols.includes(CHANNEL_PROTOCOL) ? CHANNEL_PROTOCOL : 'channel.k8s.io';
  const socket = await acceptWebSocket(upgrade, protocol);
  serveChannels(new ChannelSocket(socket, binaryCodec(false)), ports, dial);
}

function parsePorts(query: URLSearchParams): number[] {
  const ports = query.getAll('ports').flatMap((text) => text.split(','));
  if (ports.length === 0) throw badRequest('query parameter "ports" is required');
  return ports.map((text) => {
    const port = Number(text);
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw badRequest(`invalid port "${text}"`);
    return port;
  });
}

/** Each connection is a pair of streams that share a requestid: `streamtype` error and data. */
function serveSpdy(duplex: import('node:stream').Duplex, dial: DialPort): void {
  const errorStreams = new Map<string, SpdyStream>();
  const connections = new Set<ForwardedConnection>();
  const session: SpdySession = new SpdySession({
    duplex,
    onStream: (stream) => {
      const requestId = stream.headers.get('requestid') ?? stream.headers.get('port') ?? '';
      const port = Number(stream.headers.get('port'));
      if (!Number.isInteger(port) || port < 1 || port > 65535) return false;
      switch (stream.headers.get('streamtype')) {
        case 'error':
          errorStreams.set(requestId, stream);
          stream.onReset = () => errorStreams.delete(requestId);
          return true;
        case 'data':
          break;
        default:
          return false;
      }
      const errorStream = errorStreams.get(requestId);
      if (!errorStream) return false;
      errorStreams.delete(requestId);
      const connection = new ForwardedConnection({
        write: (chunk) => stream.write(chunk),
        end: () => {
          stream.end();
          errorStream.end();
          connections.delete(connection);
        },
        fail: (message) => errorStream.write(Buffer.from(message)),
        pause: () => session.pause(),
        resume: () => session.resume(),
      });
      connections.add(connection);
      stream.onData = (chunk) => connection.fromClient(chunk);
      stream.onEnd = () => connection.clientEnd();
      stream.onReset = () => connection.clientGone();
      void connection.open(port, dial);
      return true;
    },
    onClose: () => {
      for (const connection of connections) connection.clientGone();
    },
  });
  session.onDrain(() => {
    for (const connection of connections) connection.clientDrained();
  });
  session.start();
}

/** Channels 2i (data) and 2i+1 (error) for the i-th port; each begins with the port, little endian. */
function serveChannels(client: ChannelSocket, ports: readonly number[], dial: DialPort): void {
  const connections = ports.map((port, index) => {
    const header = Buffer.alloc(2);
    header.writeUInt16LE(port);
    client.send(2 * index, header);
    client.send(2 * index + 1, header);
    const connection = new ForwardedConnection({
      write: (chunk) => client.send(2 * index, chunk),
      // This form cannot end one channel; the client sees the end when all are over.
      end: () => {
        open.delete(connection);
        if (open.size === 0) client.close();
      },
      fail: (message) => client.send(2 * index + 1, Buffer.from(message)),
      pause: () => client.pause(),
      resume: () => client.resume(),
    });
    return connection;
  });
  const open = new Set(connections);
  client.onMessage = (channel, data) => {
    if (channel % 2 === 0) connections[channel / 2]?.fromClient(data);
  };
  client.onDrain = () => {
    for (const connection of open) connection.clientDrained();
  };
  client.onClose = () => {
    for (const connection of connections) connection.clientGone();
  };
  for (const [index, port] of ports.entries()) void connections[index]?.open(port, dial);
}
