import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { Duplex as DuplexStream } from 'node:stream';
import type { StreamKind } from '../../wire/messages.ts';
import type { StreamContext } from './context.ts';
import { carry, connectTcp, dialDirect } from './dial.ts';
import { StreamRefusal } from './target.ts';

type PortForwardRequest = Extract<StreamKind, { type: 'portforward' }>;

/**
 * One TCP connection to a port of the pod. The kubelet connects to localhost inside the pod's network namespace; Node
 * cannot enter one, so: first the pod's address (what listens on all interfaces, the usual case), and when that refuses,
 * a relay process inside the namespace for what listens on 127.0.0.1 only. `direct` reaches the address alone.
 */
export async function servePortForward(request: PortForwardRequest, context: StreamContext): Promise<void> {
  const { pid, ip } = context.targets.network(request.podUid);
  const connection = request.direct
    ? await dialDirect(ip ?? '', request.port, context.clock)
    : await open(pid, ip, request.port, context);
  await carry(
    connection,
    context,
    (error) => new StreamRefusal('InternalError', `error forwarding port ${request.port}: ${error.message}`),
  );
}

async function open(
  pid: number,
  ip: string | undefined,
  port: number,
  { clock }: StreamContext,
): Promise<Duplex> {
  const direct = ip === undefined ? undefined : await connectTcp(ip, port, clock).catch(() => undefined);
  if (direct) return direct;
  return relayInNamespace(pid, port);
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
