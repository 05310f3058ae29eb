import type { ChannelPeer } from '../../wire/channel-socket.ts';
import { CHANNEL } from '../../wire/channels.ts';
import type { StreamKind } from '../../wire/messages.ts';
import type { ExecSession, OutputSink } from '../runtime.ts';
import { type StreamContext, SUCCESS } from './context.ts';

type CommandRequest = Extract<StreamKind, { type: 'exec' | 'attach' }>;

/** exec and attach: joins the peer's channels with the session of the engine and ends with the exit code. */
export async function serveCommand(request: CommandRequest, context: StreamContext): Promise<void> {
  const { peer, runtime, targets, signal } = context;
  const id = targets.container(request.podUid, request.container, 'running');
  const session =
    request.type === 'exec'
      ? await runtime.exec(id, {
          command: request.command,
          stdin: request.stdin,
          stdout: request.stdout,
          stderr: request.stderr,
          tty: request.tty,
        })
      : await runtime.attach(id, { stdin: request.stdin, tty: request.tty });
  context.accept();
  const sink = new PeerSink(peer);
  connectInput(peer, session, sink);
  session.onOutput(sink);
  signal.addEventListener('abort', () => session.close(), { once: true });
  if (signal.aborted) session.close();
  const exitCode = await session.exit;
  peer.send(CHANNEL.STATUS, exitCode === 0 || request.type === 'attach' ? SUCCESS : nonZeroExit(exitCode));
}

function connectInput(peer: ChannelPeer, session: ExecSession, sink: PeerSink): void {
  peer.onMessage = (channel, data) => {
    if (channel === CHANNEL.STDIN && !session.write(data)) peer.pause();
    if (channel === CHANNEL.RESIZE) {
      const size = parseSize(data);
      // A size that comes too late for a command that has ended is of no interest.
      if (size) session.resize(size.columns, size.rows).catch(() => {});
    }
  };
  peer.onChannelEnd = (channel) => {
    if (channel === CHANNEL.STDIN) session.closeStdin();
  };
  session.onDrain(() => peer.resume());
  peer.onDrain = () => sink.release();
}

/** Output to the peer; says `blocked` while the connection is congested, so that the engine's stream is not read on. */
export class PeerSink implements OutputSink {
  blocked = false;
  private readonly peer: ChannelPeer;
  private waiting: (() => void)[] = [];

  constructor(peer: ChannelPeer) {
    this.peer = peer;
  }

  stdout(chunk: Buffer): void {
    if (!this.peer.send(CHANNEL.STDOUT, chunk)) this.blocked = true;
  }

  stderr(chunk: Buffer): void {
    if (!this.peer.send(CHANNEL.STDERR, chunk)) this.blocked = true;
  }

  drained(): Promise<void> {
    if (!this.blocked) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  release(): void {
    this.blocked = false;
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

export function parseSize(data: Buffer): { columns: number; rows: number } | undefined {
  try {
    const { Width, Height } = JSON.parse(data.toString('utf8')) as { Width?: unknown; Height?: unknown };
    const valid = (value: unknown): value is number =>
      Number.isInteger(value) && (value as number) > 0 && (value as number) <= 65535;
    return valid(Width) && valid(Height) ? { columns: Width, rows: Height } : undefined;
  } catch {
    return undefined;
  }
}

/** The Status by which kubectl learns the exit code (remotecommand's NonZeroExitCodeReason). */
function nonZeroExit(exitCode: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: `command terminated with non-zero exit code: exit status ${exitCode}`,
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
    }),
  );
}
