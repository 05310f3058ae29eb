import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { Duplex as DuplexStream } from 'node:stream';
import { CHANNEL } from '../../wire/channels.ts';
import type { StreamKind } from '../../wire/messages.ts';
import { type StreamContext, SUCCESS } from './context.ts';
import { StreamRefusal } from './target.ts';

type PortForwardRequest = Extract<StreamKind, { type: 'portforward' }>;

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * One TCP connection to a port of the pod. The kubelet connects to localhost inside the pod's network namespace; Node
 * cannot enter one, so: first the pod's address (what listens on all interfaces, the usual case), and when that refuses,
 * a relay process inside the namespace for what listens on 127.0.0.1 only.
 */
export async function servePortForward(request: PortForwardRequest, context: StreamContext): Promise<void> {
  const { peer, targets, signal } = context;
  const { pid, ip } = targets.network(request.podUid);
  const connection = await open(pid, ip, request.port, context);
  context.accept();
  peer.onMessage = (channel, data) => {
    if (channel === CHANNEL.STDIN && !connection.write(data)) peer.pause();
  };
  peer.onChannelEnd = (channel) => {
    if (channel === CHANNEL.STDIN) connection.end();
  };
  peer.onDrain = () => connection.resume();
  connection.on('drain', () => peer.resume());
  connection.on('data', (chunk: Buffer) => {
    if (!peer.send(CHANNEL.STDOUT, chunk)) connection.pause();
  });
  signal.addEventListener('abort', () => connection.destroy(), { once: true });
  if (signal.aborted) connection.destroy();
  await new Promise<void>((resolve, reject) => {
    connection.on('error', (error) =>
      reject(new StreamRefusal('InternalError', `error forwarding port ${request.port}: ${error.message}`)),
    );
    connection.on('close', resolve);
  });
  peer.send(CHANNEL.STATUS, SUCCESS);
}

async function open(
  pid: number,
  ip: string | undefined,
  port: number,
  context: StreamContext,
): Promise<Duplex> {
  const direct = ip === undefined ? undefined : await connectTcp(ip, port, context);
  if (direct) return direct;
  return relayInNamespace(pid, port);
}

/** A connection, or undefined when the port refuses or does not answer. */
function connectTcp(host: string, port: number, { clock }: StreamContext): Promise<Duplex | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const fail = (): void => {
      timer.cancel();
      socket.destroy();
      resolve(undefined);
    };
    const timer = clock.after(CONNECT_TIMEOUT_MS, fail);
    socket.once('error', fail);
    socket.once('connect', () => {
      timer.cancel();
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

const RELAY = `
const socket = require('net').connect({ host: '127.0.0.1', port: Number(process.argv[1]), allowHalfOpen: true });
socket.on('error', (error) => { process.stderr.write(error.message); process.exit(1); });
socket.on('connect', () => { process.stderr.write('ok'); process.stdin.pipe(socket); socket.pipe(process.stdout); });
`;

/** Starts this very Node inside the pod's network namespace as a relay to 127.0.0.1. */
function relayInNamespace(pid: number, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      'nsenter',
      [`--net=/proc/${pid}/ns/net`, process.execPath, '-e', RELAY, String(port)],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    let decided = false;
    const refuse = (why: string): void => {
      if (decided) return;
      decided = true;
      child.kill('SIGKILL');
      reject(new StreamRefusal('InternalError', `error forwarding port ${port} to pod: ${why}`));
    };
    child.on('error', (error) => refuse(error.message));
    child.on('exit', () => refuse('the relay ended'));
    child.stderr.once('data', (chunk: Buffer) => {
      const text = chunk.toString('utf8');
      if (text !== 'ok') return refuse(text);
      decided = true;
      const duplex = DuplexStream.from({ writable: child.stdin, readable: child.stdout }) as Duplex;
      duplex.on('close', () => child.kill('SIGKILL'));
      resolve(duplex);
    });
  });
}
