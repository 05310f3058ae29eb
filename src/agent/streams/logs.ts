import { CHANNEL } from '../../wire/channels.ts';
import type { StreamKind } from '../../wire/messages.ts';
import type { OutputSink } from '../runtime.ts';
import { PeerSink } from './command.ts';
import { type StreamContext, SUCCESS } from './context.ts';

type LogRequest = Extract<StreamKind, { type: 'logs' }>;

/** Container logs, stdout and stderr in the order the engine kept them, all on STDOUT. */
export async function serveLogs(request: LogRequest, context: StreamContext): Promise<void> {
  const { peer, runtime, targets, clock, signal } = context;
  const id = targets.container(request.podUid, request.container, request.previous ? 'previous' : 'newest');
  context.accept();
  const sink = new PeerSink(peer);
  peer.onDrain = () => sink.release();
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(), { once: true });
  if (signal.aborted) return;
  const merged = new LimitedSink(sink, request.limitBytes ?? Number.POSITIVE_INFINITY, () => stop.abort());
  const since = sinceMs(request, clock.now());
  await runtime.logs(
    id,
    {
      follow: request.follow,
      timestamps: request.timestamps,
      ...(request.tailLines === undefined ? {} : { tailLines: request.tailLines }),
      ...(since === undefined ? {} : { since }),
    },
    merged,
    stop.signal,
  );
  peer.send(CHANNEL.STATUS, SUCCESS);
}

/** Milliseconds since 1970 from sinceTime, or from sinceSeconds by this board's clock. */
export function sinceMs(
  request: Pick<LogRequest, 'sinceSeconds' | 'sinceTime'>,
  now: number,
): number | undefined {
  if (request.sinceTime !== undefined) return Date.parse(request.sinceTime);
  return request.sinceSeconds === undefined ? undefined : now - request.sinceSeconds * 1000;
}

/** Both outputs as one, cut off after `limit` bytes (limitBytes may end in the middle of a line, as Kubernetes says). */
export class LimitedSink implements OutputSink {
  private readonly target: PeerSink;
  private readonly onLimit: () => void;
  private left: number;

  constructor(target: PeerSink, limit: number, onLimit: () => void) {
    this.target = target;
    this.left = limit;
    this.onLimit = onLimit;
  }

  get blocked(): boolean {
    return this.target.blocked;
  }

  drained(): Promise<void> {
    return this.target.drained();
  }

  stdout(chunk: Buffer): void {
    if (this.left <= 0) return;
    const part = chunk.length > this.left ? chunk.subarray(0, this.left) : chunk;
    this.left -= part.length;
    this.target.stdout(part);
    if (this.left <= 0) this.onLimit();
  }

  stderr(chunk: Buffer): void {
    this.stdout(chunk);
  }
}
