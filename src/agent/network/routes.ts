import type { SharedNode } from '../../wire/messages.ts';
import { ROUTE_PROTOCOL } from './bridge.ts';
import type { NetCommand } from './commands.ts';
import { contains, isIPv4, parsePrefix } from './ipv4.ts';
import { BRIDGE, type Link } from './links.ts';
import { gatewayOf, OVERLAY } from './overlay.ts';

export interface PodRoute {
  cidr: string;
  via: string;
  device: string;
}

export interface RoutePlan {
  batch: string[];
  /** Devices that carry pod traffic to other boards. */
  devices: string[];
  /** Boards that are not on a segment of ours: their pods are reached over the overlay, if there is one. */
  offLink: SharedNode[];
}

export const LIST_ROUTES: NetCommand = {
  file: 'ip',
  args: ['-json', '-4', 'route', 'show', 'proto', String(ROUTE_PROTOCOL)],
};

export function parseRoutes(json: string): PodRoute[] {
  const routes = (json.trim() === '' ? [] : JSON.parse(json)) as {
    dst?: string;
    gateway?: string;
    dev?: string;
  }[];
  return routes.flatMap((route) =>
    route.dst && route.gateway && route.dev
      ? [{ cidr: route.dst, via: route.gateway, device: route.dev }]
      : [],
  );
}

/** The routes to the other boards' pods, as a change of those that are `present`. */
export function planRoutes(options: {
  nodes: readonly SharedNode[];
  nodeName: string;
  links: readonly Link[];
  present: readonly PodRoute[];
  /** Is there an overlay device for the boards behind a router? */
  overlay?: boolean;
}): RoutePlan {
  const wanted = new Map<string, PodRoute>();
  const offLink: SharedNode[] = [];
  for (const node of options.nodes) {
    if (node.name === options.nodeName || !node.podCIDR || !isIPv4(node.internalIP)) continue;
    const device = deviceTowards(node.internalIP, options.links);
    if (device === undefined) {
      offLink.push(node);
      if (options.overlay) {
        const via = gatewayOf(node.podCIDR);
        wanted.set(node.podCIDR, { cidr: node.podCIDR, via, device: OVERLAY });
      }
    } else wanted.set(node.podCIDR, { cidr: node.podCIDR, via: node.internalIP, device });
  }
  const present = new Map(options.present.map((route) => [route.cidr, route]));
  const batch: string[] = [];
  for (const route of present.values()) {
    if (!wanted.has(route.cidr))
      batch.push(`route del ${route.cidr} via ${route.via} proto ${ROUTE_PROTOCOL}`);
  }
  for (const route of wanted.values()) {
    const old = present.get(route.cidr);
    if (old?.via === route.via && old.device === route.device) continue;
    const hop = `via ${route.via} dev ${route.device}${route.device === OVERLAY ? ' onlink' : ''}`;
    batch.push(`route replace ${route.cidr} ${hop} proto ${ROUTE_PROTOCOL}`);
  }
  return { batch, devices: [...new Set([...wanted.values()].map((route) => route.device))].sort(), offLink };
}

/** The device whose own prefix holds the address; the longest prefix wins. Our bridge leads to no board. */
function deviceTowards(address: string, links: readonly Link[]): string | undefined {
  let best: { device: string; length: number } | undefined;
  for (const link of links) {
    if (link.name === BRIDGE || link.name === OVERLAY || link.name === 'lo' || !link.up) continue;
    for (const own of link.addresses) {
      if (own.address === address || own.length === 32) continue;
      if (!contains(parsePrefix(`${own.address}/${own.length}`), address)) continue;
      if (!best || own.length > best.length) best = { device: link.name, length: own.length };
    }
  }
  return best?.device;
}
