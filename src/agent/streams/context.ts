import type { Clock } from '../../lib/clock.ts';
import type { ChannelPeer } from '../../wire/channel-socket.ts';
import type { ContainerRuntime } from '../runtime.ts';
import type { StreamTargets } from './target.ts';

/** What serves one stream: the peer at the server, and where output comes from. */
export interface StreamContext {
  peer: ChannelPeer;
  runtime: ContainerRuntime;
  targets: StreamTargets;
  clock: Clock;
  /** Aborted when the server or the client went away. */
  signal: AbortSignal;
  /** Tells the server that the request can be served; call it before the first byte of output. */
  accept(): void;
}

/** The Status that accepts a request, and that ends one without an error. */
export const SUCCESS = Buffer.from(
  JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' }),
);
