import { WebSocket } from 'ws';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { type ChannelPeer, ChannelSocket } from '../../wire/channel-socket.ts';
import { CHANNEL, STREAM_MESSAGE_BYTES } from '../../wire/channels.ts';
import type { StreamRequest } from '../../wire/messages.ts';
import { type ContainerRuntime, RuntimeError } from '../runtime.ts';
import { serveCommand } from './command.ts';
import { type StreamContext, SUCCESS } from './context.ts';
import type { KubeletView } from './kubelet.ts';
import { serveLogs } from './logs.ts';
import { servePortForward } from './port-forward.ts';
import { StreamRefusal, type StreamTargets } from './target.ts';

const MAX_STREAMS = 500;
/** Nothing heard from the server for this long (it pings every 30 s): the stream is dead. */
const SILENCE_MS = 90_000;

/** How a stream reaches the server: the API's URL and the node's TLS identity. */
export interface StreamDialer {
  /** https://host:port of the server in use. */
  url(): string;
  /** PEM, asked for at every dial, so that renewed certificates are used. */
  tls(): { ca?: string; cert?: string; key?: string };
}

/** Serves the server's stream requests: dials out one WebSocket for each, does what is asked, says how it ended. */
export class StreamServer {
  private readonly dialer: StreamDialer;
  private readonly runtime: ContainerRuntime;
  private readonly targets: StreamTargets;
  private readonly view: () => KubeletView;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly sockets = new Set<WebSocket>();

  constructor(options: {
    dialer: StreamDialer;
    runtime: ContainerRuntime;
    targets: StreamTargets;
    /** The board as a kubelet tells of it. */
    view: () => KubeletView;
    clock: Clock;
    logger: Logger;
  }) {
    this.dialer = options.dialer;
    this.runtime = options.runtime;
    this.targets = options.targets;
    this.view = options.view;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  stop(): void {
    for (const socket of this.sockets) socket.terminate();
  }

  /** Called for every StreamRequest message. Never throws: what fails is told to the server or logged. */
  handle(message: StreamRequest): void {
    if (this.sockets.size >= MAX_STREAMS) {
      this.logger.warn({ streams: this.sockets.size }, 'too many streams, request dropped');
      return;
    }
    const url = new URL(message.path, this.dialer.url());
    url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
    const { ca, cert, key } = this.dialer.tls();
    const socket = new WebSocket(url, {
      ca,
      cert,
      key,
      handshakeTimeout: message.timeoutMs,
      maxPayload: STREAM_MESSAGE_BYTES,
      perMessageDeflate: false,
    });
    this.sockets.add(socket);
    const abort = new AbortController();
    let silence = this.clock.after(SILENCE_MS, () => socket.terminate());
    socket.on('ping', () => {
      silence.cancel();
      silence = this.clock.after(SILENCE_MS, () => socket.terminate());
    });
    socket.on('close', () => {
      silence.cancel();
      this.sockets.delete(socket);
      abort.abort();
    });
    socket.on('error', (error) => this.logger.warn({ err: error, path: message.path }, 'stream failed'));
    socket.on('open', () => void this.serve(message, new ChannelSocket(socket), abort));
  }

  private async serve(message: StreamRequest, peer: ChannelPeer, abort: AbortController): Promise<void> {
    peer.onClose = () => abort.abort();
    const context: StreamContext = {
      peer,
      runtime: this.runtime,
      targets: this.targets,
      clock: this.clock,
      signal: abort.signal,
      accept: () => peer.send(CHANNEL.STATUS, SUCCESS),
    };
    try {
      await serveRequest(message, context, this.view);
    } catch (error) {
      if (!abort.signal.aborted) peer.send(CHANNEL.STATUS, failure(error));
    }
    peer.close();
  }
}

async function serveRequest(
  { request }: StreamRequest,
  context: StreamContext,
  view: () => KubeletView,
): Promise<void> {
  switch (request.type) {
    case 'logs':
      return serveLogs(request, context);
    case 'exec':
    case 'attach':
      return serveCommand(request, context);
    case 'portforward':
      return servePortForward(request, context);
    case 'node':
      return (await import('./kubelet.ts')).serveNode(request, context, view());
  }
}

function failure(error: unknown): Buffer {
  const refusal = error instanceof StreamRefusal ? error : undefined;
  const missing = error instanceof RuntimeError && error.code === 'NotFound';
  return Buffer.from(
    JSON.stringify({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      reason: refusal?.reason ?? (missing ? 'NotFound' : 'InternalError'),
      message: error instanceof Error ? error.message : String(error),
      code: refusal?.code ?? (missing ? 404 : 500),
    }),
  );
}
