import type { Duplex } from 'node:stream';
import { badRequest } from '../../../api/errors.ts';
import type { Clock } from '../../../lib/clock.ts';
import { type ChannelPeer, ChannelSocket } from '../../../wire/channel-socket.ts';
import { CHANNEL } from '../../../wire/channels.ts';
import type { Upgrade } from '../ports.ts';
import { parseStatus } from './agent-streams.ts';
import { SPDY_PROTOCOLS, SpdyChannels, WEBSOCKET_PROTOCOLS } from './client-channels.ts';
import { SpdySession } from './spdy/session.ts';
import { acceptSpdy, acceptWebSocket, isWebSocket, offered } from './upgrade.ts';

/** How long a SPDY client may take to open its streams. */
const OPEN_STREAMS_TIMEOUT_MS = 30_000;

export interface CommandStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** Chosen before anything is answered, so that a refusal can still be a Status. */
export interface Negotiated {
  protocol: string;
  transport: 'websocket' | 'spdy';
}

export function negotiate(upgrade: Upgrade): Negotiated {
  const transport = isWebSocket(upgrade.request) ? 'websocket' : 'spdy';
  const known = transport === 'websocket' ? WEBSOCKET_PROTOCOLS : SPDY_PROTOCOLS;
  const wanted = offered(upgrade.request, transport);
  const protocol = Object.keys(known).find((name) => wanted.includes(name));
  if (protocol !== undefined) return { protocol, transport };
  // A WebSocket client that names no protocol gets the first version (wsstream's default).
  if (transport === 'websocket' && wanted.length === 0) return { protocol: 'channel.k8s.io', transport };
  throw badRequest(
    `unable to upgrade: unknown stream protocol [${wanted.join(' ')}], known: [${Object.keys(known).join(' ')}]`,
  );
}

/** Answers the upgrade and carries the client's channels to the agent's and back until the command has ended. */
export async function serveCommand(options: {
  agent: ChannelPeer;
  upgrade: Upgrade;
  negotiated: Negotiated;
  streams: CommandStreams;
  clock: Clock;
}): Promise<void> {
  const { agent, upgrade, negotiated, streams, clock } = options;
  if (negotiated.transport === 'websocket') {
    const { codec, statusAsJson } = WEBSOCKET_PROTOCOLS[negotiated.protocol] ?? unknown(negotiated.protocol);
    const socket = await acceptWebSocket(upgrade, negotiated.protocol);
    connect(new ChannelSocket(socket, codec), agent, statusAsJson);
    return;
  }
  const { statusAsJson } = SPDY_PROTOCOLS[negotiated.protocol] ?? unknown(negotiated.protocol);
  const duplex = acceptSpdy(upgrade, { 'X-Stream-Protocol-Version': negotiated.protocol });
  serveSpdyCommand({ duplex, agent, streams, statusAsJson, clock, protocol: negotiated.protocol });
}

function unknown(protocol: string): never {
  throw badRequest(`unknown stream protocol ${protocol}`);
}

function serveSpdyCommand(options: {
  duplex: Duplex;
  agent: ChannelPeer;
  streams: CommandStreams;
  statusAsJson: boolean;
  protocol: string;
  clock: Clock;
}): void {
  const { agent, streams } = options;
  const client = new SpdyChannels();
  // error, and one for each that was asked for; a terminal has no stderr, and is resizable since v3.
  const expected =
    1 +
    Number(streams.stdin) +
    Number(streams.stdout) +
    Number(streams.stderr && !streams.tty) +
    Number(streams.tty && options.protocol !== 'v2.channel.k8s.io');
  const timer = options.clock.after(OPEN_STREAMS_TIMEOUT_MS, () => session.close());
  const session: SpdySession = new SpdySession({
    duplex: options.duplex,
    onStream: (stream) => {
      const accepted = client.accept(stream);
      if (client.size === expected) {
        timer.cancel();
        connect(client, agent, options.statusAsJson);
      }
      return accepted;
    },
    onClose: () => {
      timer.cancel();
      agent.close();
      client.onClose();
    },
  });
  client.attach(session);
  session.start();
}

/** Both peers stand: carry everything; the agent's last STATUS, in the client's form, ends it. */
export function connect(client: ChannelPeer, agent: ChannelPeer, statusAsJson: boolean): void {
  let finished = false;
  const finish = (status: Buffer): void => {
    if (finished) return;
    finished = true;
    if (statusAsJson) client.send(CHANNEL.STATUS, status);
    else {
      const { status: outcome, message } = parseStatus(status);
      if (outcome !== 'Success') client.send(CHANNEL.STATUS, Buffer.from(message ?? 'failed'));
    }
    client.close();
  };
  client.onMessage = (channel, data) => {
    if (channel !== CHANNEL.STDIN && channel !== CHANNEL.RESIZE) return;
    if (!agent.send(channel, data)) client.pause();
  };
  client.onChannelEnd = (channel) => {
    if (channel === CHANNEL.STDIN) agent.endChannel(channel);
  };
  client.onClose = () => agent.close();
  client.onDrain = () => agent.resume();
  agent.onMessage = (channel, data) => {
    if (channel === CHANNEL.STATUS) return finish(data);
    if (!client.send(channel, data)) agent.pause();
  };
  agent.onChannelEnd = (channel) => client.endChannel(channel);
  agent.onDrain = () => client.resume();
  agent.onClose = () => finish(CONNECTION_LOST);
  agent.resume();
}

const CONNECTION_LOST = Buffer.from(
  JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: 'the connection to the node was lost',
    reason: 'InternalError',
    code: 500,
  }),
);
