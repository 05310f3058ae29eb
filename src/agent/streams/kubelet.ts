// What clients ask a kubelet for through nodes/<name>/proxy, as far as the board knows it; loaded when it is asked for.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { networkInterfaces } from 'node:os';
import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import { ChannelDuplex } from '../../wire/channel-duplex.ts';
import { CHANNEL } from '../../wire/channels.ts';
import type { StreamKind } from '../../wire/messages.ts';
import type { ActivePod } from '../eviction/port.ts';
import { containersOf } from '../names.ts';
import type { OutputSink } from '../runtime.ts';
import type { StreamContext } from './context.ts';
import { carry, dialDirect } from './dial.ts';
import { measureBoard, resourceMetrics, runningMetrics, summary } from './kubelet-stats.ts';
import { sinceMs } from './logs.ts';
import { StreamRefusal } from './target.ts';

export interface KubeletView {
  node: string;
  /** Where Docker keeps its data. */
  directory: string;
  pods: readonly (ActivePod & { status: PodStatus | undefined })[];
}

type NodeRequest = Extract<StreamKind, { type: 'node' }>;

/** HTTP with the agent over the stream, or a TCP connection to a port of this board. */
export async function serveNode(
  { dial }: NodeRequest,
  context: StreamContext,
  view: KubeletView,
): Promise<void> {
  if (dial) {
    const own = Object.values(networkInterfaces()).some((list) =>
      list?.some(({ address, internal }) => address === dial.address && !internal),
    );
    if (!own) throw new StreamRefusal('BadRequest', `${dial.address} is not an address of this node`);
    const connection = await dialDirect(dial.address, dial.port, context.clock);
    return carry(connection, context, (error) => new StreamRefusal('InternalError', error.message));
  }
  const socket = new ChannelDuplex(context.peer, { sends: CHANNEL.STDOUT, receives: CHANNEL.STDIN });
  // Never listens: it serves this one connection.
  const server = createServer((request, response) => {
    answer(request, response, context, view).catch((error: Error) => {
      if (response.headersSent) response.destroy();
      else plain(response, error instanceof StreamRefusal ? error.code : 500, error.message);
    });
  });
  context.accept();
  server.emit('connection', socket);
  context.signal.addEventListener('abort', () => socket.destroy(), { once: true });
  await new Promise<void>((resolve) => {
    socket.once('error', () => resolve());
    socket.once('close', () => resolve());
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  context: StreamContext,
  view: KubeletView,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://kubelet');
  const path = url.pathname.length > 1 ? url.pathname.replace(/\/+$/, '') : url.pathname;
  const logs = /^\/containerLogs\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(path);
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return plain(response, 405, 'Method Not Allowed');
  if (logs) {
    const [namespace = '', name = '', container = ''] = logs.slice(1).map(decodeURIComponent);
    return containerLogs({ namespace, name, container }, url.searchParams, response, context, view);
  }
  switch (path) {
    case '/healthz':
    case '/healthz/ping':
      return plain(response, 200, 'ok');
    case '/pods':
      return json(response, {
        kind: 'PodList',
        apiVersion: 'v1',
        metadata: {},
        items: view.pods.map(({ pod, status }) => ({ ...pod, ...(status === undefined ? {} : { status }) })),
      });
    case '/stats/summary':
      return json(response, summary(view, await measureBoard(view, context.clock.now())));
    case '/metrics/resource':
      return text(response, resourceMetrics(view, await measureBoard(view, context.clock.now())));
    case '/metrics':
      return text(response, runningMetrics(view));
    default:
      return plain(response, 404, '404 page not found');
  }
}

/** /containerLogs/<namespace>/<pod>/<container>, with the options of a pod's log. */
async function containerLogs(
  wanted: { namespace: string; name: string; container: string },
  query: URLSearchParams,
  response: ServerResponse,
  { runtime, targets, clock, signal }: StreamContext,
  view: KubeletView,
): Promise<void> {
  const { namespace, name, container } = wanted;
  const found = view.pods.find(
    ({ pod }) => pod.metadata.name === name && (pod.metadata.namespace ?? 'default') === namespace,
  );
  if (!found) throw new StreamRefusal('NotFound', `pod ${JSON.stringify(name)} does not exist`);
  if (!hasContainer(found.pod, container)) {
    const where = `in pod ${JSON.stringify(name)}`;
    throw new StreamRefusal('NotFound', `container ${JSON.stringify(container)} not found ${where}`);
  }
  const number = (option: string): number | undefined => {
    const value = query.get(option);
    if (value === null) return undefined;
    if (/^\d{1,15}$/.test(value)) return Number(value);
    throw new StreamRefusal('BadRequest', `${option}: Invalid value: ${JSON.stringify(value)}`);
  };
  const which = query.get('previous') === 'true' ? 'previous' : 'newest';
  const id = targets.container(found.pod.metadata.uid ?? '', container, which);
  const sinceSeconds = number('sinceSeconds');
  const sinceTime = query.get('sinceTime');
  const since = sinceMs(
    { ...(sinceSeconds === undefined ? {} : { sinceSeconds }), ...(sinceTime ? { sinceTime } : {}) },
    clock.now(),
  );
  const tailLines = number('tailLines');
  response.writeHead(200, { 'content-type': 'text/plain' });
  response.flushHeaders();
  await runtime.logs(
    id,
    {
      follow: query.get('follow') === 'true',
      timestamps: query.get('timestamps') === 'true',
      ...(tailLines === undefined ? {} : { tailLines }),
      ...(since === undefined ? {} : { since }),
    },
    new ResponseSink(response),
    signal,
  );
  response.end();
}

function hasContainer(pod: Pod, name: string): boolean {
  return containersOf(pod).some(({ container }) => container.name === name);
}

/** Both outputs of a container into one answer, no faster than it is taken. */
class ResponseSink implements OutputSink {
  private readonly response: ServerResponse;

  constructor(response: ServerResponse) {
    this.response = response;
  }

  get blocked(): boolean {
    return this.response.writableNeedDrain && !this.response.destroyed;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.blocked) return resolve();
      this.response.once('drain', resolve);
      this.response.once('close', resolve);
    });
  }

  stdout(chunk: Buffer): void {
    this.response.write(chunk);
  }

  stderr(chunk: Buffer): void {
    this.response.write(chunk);
  }
}

function plain(response: ServerResponse, code: number, message: string): void {
  response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' }).end(message);
}

function json(response: ServerResponse, value: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function text(response: ServerResponse, metrics: string): void {
  response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(metrics);
}
