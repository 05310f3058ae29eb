import { BRIDGE, type Link, macOf } from './links.ts';

export interface BridgePlan {
  /** Lines of `ip -batch`; empty when everything is as it shall be. */
  batch: string[];
  /** Files below /proc/sys and their values. Written every time: they are cheap, and others write them too. */
  sysctls: [path: string, value: string][];
}

/** Our mark in the routing table (`proto`): what carries it is ours to change and to remove. */
export const ROUTE_PROTOCOL = 79;

/**
 * What brings the bridge from `present` to what it shall be. Bridging between pods is never used: a pod's own address is
 * a /32 and everything goes through the gateway, that is through the kernel's IP layer, where services and policies
 * are. So nothing depends on br_netfilter, which Docker switches on in some versions and not in others.
 */
export function planBridge(
  present: Link | undefined,
  wanted: { gateway: string; prefixLength: number; mtu: number; serviceCidr?: string; serviceRoute: boolean },
): BridgePlan {
  const batch: string[] = [];
  const mac = macOf(wanted.gateway);
  if (!present) {
    batch.push(`link add ${BRIDGE} address ${mac} mtu ${wanted.mtu} type bridge forward_delay 0`);
  } else {
    if (present.mac !== mac) batch.push(`link set ${BRIDGE} address ${mac}`);
    if (present.mtu !== wanted.mtu) batch.push(`link set ${BRIDGE} mtu ${wanted.mtu}`);
  }
  if (!present?.up) batch.push(`link set ${BRIDGE} up`);
  const held = present?.addresses ?? [];
  const right = (entry: { address: string; length: number }): boolean =>
    entry.address === wanted.gateway && entry.length === wanted.prefixLength;
  if (!held.some(right)) batch.push(`addr add ${wanted.gateway}/${wanted.prefixLength} dev ${BRIDGE}`);
  for (const entry of held) {
    if (!right(entry)) batch.push(`addr del ${entry.address}/${entry.length} dev ${BRIDGE}`);
  }
  // A process on the board that opens a connection to a Service needs some route to its address before the packet
  // reaches the rules; a board without a default route has none. It also gives such connections a source address
  // that the other boards can answer to.
  if (wanted.serviceCidr && (!wanted.serviceRoute || batch.length > 0)) {
    batch.push(
      `route replace ${wanted.serviceCidr} dev ${BRIDGE} src ${wanted.gateway} proto ${ROUTE_PROTOCOL}`,
    );
  }
  return {
    batch,
    sysctls: [
      ['/proc/sys/net/ipv4/ip_forward', '1'],
      // `curl localhost:<nodePort>`; the table's guard chain drops 127.0.0.0/8 that comes over any wire.
      [`/proc/sys/net/ipv4/conf/${BRIDGE}/route_localnet`, '1'],
    ],
  };
}
