import { createHash } from 'node:crypto';
import type { NetCommand } from './commands.ts';
import { toNumber } from './ipv4.ts';

export const BRIDGE = 'cpod0';
/** The pod's interface, as every Kubernetes network names it. */
export const POD_INTERFACE = 'eth0';
/**
 * Begins with `veth`, because that is what users and distributions tell their DHCP clients to leave alone; a DHCP
 * client on a pod's interface takes the board's network down (well known on Raspberry Pi OS).
 */
const VETH = 'vethcp';
const ALIAS = 'copepod';

/** Interface names end at 15 characters. */
export function vethName(podUid: string): string {
  return `${VETH}${createHash('sha256').update(podUid).digest('hex').slice(0, 9)}`;
}

/**
 * A MAC from the address: a peer's neighbour entry stays right when a new pod gets an old address, and the bridge does
 * not change its own with every port.
 */
export function macOf(address: string): string {
  const hex = toNumber(address).toString(16).padStart(8, '0');
  return `0a:58:${hex.match(/../g)?.join(':')}`;
}

/** Kept by the kernel on the host's end of the pair: what a restarted agent knows its pods by. */
export function aliasOf(podUid: string, address: string): string {
  return `${ALIAS}:${podUid}:${address}`;
}

export interface Link {
  name: string;
  mtu: number;
  mac: string;
  up: boolean;
  master?: string;
  /** From our alias. */
  pod?: { uid: string; ip: string };
  addresses: { address: string; length: number; label?: string }[];
}

export const LIST_LINKS: NetCommand = { file: 'ip', args: ['-json', '-4', 'addr', 'show'] };
/** `-4 addr` leaves out links without an address, which the pods' are. */
export const LIST_PORTS: NetCommand = { file: 'ip', args: ['-json', 'link', 'show', 'type', 'veth'] };

interface IpLink {
  ifname?: string;
  flags?: string[];
  mtu?: number;
  address?: string;
  master?: string;
  ifalias?: string;
  addr_info?: { family?: string; local?: string; prefixlen?: number; label?: string }[];
}

/** Reads iproute2's JSON; old versions print an empty object for a link that a filter leaves out. */
export function parseLinks(json: string): Link[] {
  const links = (json.trim() === '' ? [] : JSON.parse(json)) as IpLink[];
  return links
    .filter((link) => link.ifname !== undefined)
    .map((link) => {
      const alias = link.ifalias?.match(/^copepod:([^:]+):([\d.]+)$/);
      return {
        name: link.ifname ?? '',
        mtu: link.mtu ?? 1500,
        mac: link.address ?? '',
        up: link.flags?.includes('UP') ?? false,
        ...(link.master ? { master: link.master } : {}),
        ...(alias?.[1] && alias[2] ? { pod: { uid: alias[1], ip: alias[2] } } : {}),
        addresses: (link.addr_info ?? [])
          .filter((info) => info.family === 'inet' && info.local !== undefined)
          .map((info) => ({
            address: info.local ?? '',
            length: info.prefixlen ?? 32,
            ...(info.label && info.label !== link.ifname ? { label: info.label } : {}),
          })),
      };
    });
}
