// pods/proxy, services/proxy and nodes/proxy; loaded with the first such request.
import { posix } from 'node:path';
import { StatusError } from '../../../../api/errors.ts';
import type { Client } from '../../../../client/port.ts';
import type { Random } from '../../../../lib/random.ts';
import type { ChannelPeer } from '../../../../wire/channel-socket.ts';
import type { ProxyRequest, ProxySide } from '../../ports.ts';
import type { AgentStreams } from '../agent-streams.ts';
import { forward, forwardUpgrade, unreachable } from './forward.ts';
import { type Location, locate } from './location.ts';

/**
 * Hands a request to what listens behind a pod, a service or a node, through the connection that the node's agent keeps:
 * nothing is dialled from here. Rejects with what the API server answers.
 */
export async function serveProxy(
  parts: { client: Client; agents: AgentStreams; random: Random },
  proxied: ProxyRequest,
  side: ProxySide,
): Promise<void> {
  const { resource, namespace, name, signal } = proxied;
  const location = await locate(parts, resource, namespace, name);
  const request = 'upgrade' in side ? side.upgrade.request : side.request;
  const [url = '', query] = splitOnce(request.url ?? '', '?');
  const method = request.method ?? 'GET';
  const search = query === undefined ? '' : `?${query}`;
  if (!('upgrade' in side) && proxied.path === '' && (method === 'GET' || method === 'HEAD')) {
    // Without the slash the page's relative links would miss the proxy (kubernetes/kubernetes#4958).
    side.response.writeHead(301, { location: `${url}/${search}` }).end();
    return;
  }
  const exchange = {
    request,
    location,
    path: `${proxiedPath(proxied.path)}${search}`,
    mount: {
      prefix: mountOf(url, resource),
      hosts: [location.host, request.headers.host ?? ''] as [string, string],
    },
    signal,
  };
  if ('upgrade' in side) {
    const peer = await parts.agents.dial(location.node, location.stream);
    return forwardUpgrade({ ...exchange, peer }, side.upgrade);
  }
  return forward({ ...exchange, peer: await dial(parts.agents, location) }, side.response);
}

async function dial(agents: AgentStreams, { node, stream }: Location): Promise<ChannelPeer> {
  try {
    return await agents.dial(node, stream);
  } catch (error) {
    if (error instanceof StatusError && error.reason === 'TooManyRequests') throw error;
    const { message } = error as Error;
    throw unreachable(new Error(message.replace(/^error dialing backend: /, '')));
  }
}

/** The path behind the proxy, cleaned and encoded as the API server's (path.Join, url.URL). */
export function proxiedPath(path: string): string {
  const clean = path === '' ? '/' : posix.normalize(path);
  return clean.replace(/[^A-Za-z0-9\-_.~$&+,/:;=@]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

/** Up to and with `/proxy` of the path that was asked for: what links have to begin with. */
function mountOf(url: string, resource: string): string {
  const found = new RegExp(`^.*?/${resource}/[^/]+/+proxy(?=/|$)`).exec(url);
  return found?.[0] ?? url;
}

function splitOnce(text: string, mark: string): [string, string | undefined] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
