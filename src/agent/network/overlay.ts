import type { SharedNode } from '../../wire/messages.ts';
import { ipBatch, type NetCommand, type NetCommands } from './commands.ts';
import { parsePrefix, toAddress } from './ipv4.ts';
import { macOf } from './links.ts';

/** VXLAN towards the boards that are behind a router. */
export const OVERLAY = 'cpodx0';
/** Outer IPv4, UDP and VXLAN headers and the inner Ethernet header. */
export const OVERLAY_OVERHEAD = 50;
const NETWORK_ID = 79;
/** Linux' own and flannel's, which firewalls of such clusters already let through. */
const PORT = 8472;

export interface OverlayWish {
  /** This board's own address and its pods' gateway. */
  local: string;
  gateway: string;
  mtu: number;
  nodes: readonly SharedNode[];
}

export interface OverlayState {
  mac: string;
  mtu: number;
  up: boolean;
  id: number;
  port: number;
  local: string;
  addresses: readonly string[];
  /** MAC -> the board's address. */
  fdb: ReadonlyMap<string, string>;
  /** Gateway -> MAC. */
  neighbours: ReadonlyMap<string, string>;
}

export interface OverlayPlan {
  /** Lines of `ip -batch`. */
  links: string[];
  /** Lines of `bridge -batch`. */
  fdb: string[];
}

/** The first address of a board's pod CIDR: its pods' gateway, and the next hop to them. */
export function gatewayOf(podCidr: string): string {
  return toAddress(parsePrefix(podCidr).base + 1);
}

/** Known to all without asking, as all is: nothing is learnt and nothing is flooded. */
export function overlayMac(gateway: string): string {
  return macOf(gateway).replace(/^0a:58/, '0a:59');
}

/** What makes of `present` what it shall be; without a wish it goes. */
export function planOverlay(present: OverlayState | undefined, wish: OverlayWish | undefined): OverlayPlan {
  if (!wish) return { links: present ? [`link del ${OVERLAY}`] : [], fdb: [] };
  const links: string[] = [];
  const fdb: string[] = [];
  const mac = overlayMac(wish.gateway);
  const fits =
    present !== undefined &&
    present.mac === mac &&
    present.id === NETWORK_ID &&
    present.port === PORT &&
    present.local === wish.local;
  const held = fits ? present : undefined;
  if (!held) {
    if (present) links.push(`link del ${OVERLAY}`);
    links.push(
      `link add ${OVERLAY} address ${mac} mtu ${wish.mtu} type vxlan id ${NETWORK_ID} dstport ${PORT} local ${wish.local} nolearning`,
    );
  } else if (held.mtu !== wish.mtu) links.push(`link set ${OVERLAY} mtu ${wish.mtu}`);
  // The address that the board itself, and what is masqueraded, speaks from over the tunnel: its answers come back by it.
  if (!held?.addresses.includes(wish.gateway)) links.push(`addr add ${wish.gateway}/32 dev ${OVERLAY}`);
  for (const address of held?.addresses ?? []) {
    if (address !== wish.gateway) links.push(`addr del ${address}/32 dev ${OVERLAY}`);
  }
  if (!held?.up) links.push(`link set ${OVERLAY} up`);
  const macs = new Map<string, string>();
  for (const node of wish.nodes) {
    const gateway = gatewayOf(node.podCIDR);
    const peer = overlayMac(gateway);
    macs.set(gateway, peer);
    if (held?.neighbours.get(gateway) !== peer)
      links.push(`neigh replace ${gateway} lladdr ${peer} dev ${OVERLAY} nud permanent`);
    if (held?.fdb.get(peer) !== node.internalIP) {
      const old = held?.fdb.get(peer);
      if (old !== undefined) fdb.push(`fdb del ${peer} dev ${OVERLAY} dst ${old}`);
      fdb.push(`fdb replace ${peer} dev ${OVERLAY} dst ${node.internalIP}`);
    }
  }
  const wanted = new Set(macs.values());
  for (const gateway of held?.neighbours.keys() ?? []) {
    if (!macs.has(gateway)) links.push(`neigh del ${gateway} dev ${OVERLAY}`);
  }
  for (const [peer, address] of held?.fdb ?? []) {
    if (!wanted.has(peer)) fdb.push(`fdb del ${peer} dev ${OVERLAY} dst ${address}`);
  }
  return { links, fdb };
}

const LIST_OVERLAYS: NetCommand = { file: 'ip', args: ['-json', '-d', 'addr', 'show', 'type', 'vxlan'] };

interface IpOverlay {
  ifname?: string;
  flags?: string[];
  mtu?: number;
  address?: string;
  linkinfo?: { info_data?: { id?: number; local?: string; port?: number } };
  addr_info?: { family?: string; local?: string }[];
}

/** As it is in the kernel. Throws CommandError. */
export async function readOverlay(commands: NetCommands): Promise<OverlayState | undefined> {
  const list = async <T>(command: NetCommand): Promise<T[]> => {
    const json = await commands.run(command);
    return json.trim() === '' ? [] : (JSON.parse(json) as T[]);
  };
  const link = (await list<IpOverlay>(LIST_OVERLAYS)).find(({ ifname }) => ifname === OVERLAY);
  if (!link) return undefined;
  const fdb = await list<{ mac?: string; dst?: string }>({
    file: 'bridge',
    args: ['-json', 'fdb', 'show', 'dev', OVERLAY],
  });
  const neighbours = await list<{ dst?: string; lladdr?: string }>({
    file: 'ip',
    args: ['-json', '-4', 'neigh', 'show', 'dev', OVERLAY, 'nud', 'permanent'],
  });
  const { id = 0, local = '', port = 0 } = link.linkinfo?.info_data ?? {};
  return {
    mac: link.address ?? '',
    mtu: link.mtu ?? 0,
    up: link.flags?.includes('UP') ?? false,
    id,
    port,
    local,
    addresses: (link.addr_info ?? []).flatMap((info) =>
      info.family === 'inet' && info.local ? [info.local] : [],
    ),
    fdb: new Map(fdb.flatMap(({ mac, dst }) => (mac && dst ? [[mac, dst]] : []))),
    neighbours: new Map(neighbours.flatMap(({ dst, lladdr }) => (dst && lladdr ? [[dst, lladdr]] : []))),
  };
}

/** Throws CommandError, where the kernel knows no VXLAN for instance. */
export async function applyOverlay(commands: NetCommands, plan: OverlayPlan): Promise<void> {
  if (plan.links.length > 0) await commands.run(ipBatch(plan.links));
  if (plan.fdb.length > 0) {
    await commands.run({ file: 'bridge', args: ['-batch', '-'], stdin: `${plan.fdb.join('\n')}\n` });
  }
}
