import type { HostPort } from '../ports.ts';
import { balanceChains, balanceMaps, MARK, MASQUERADE_BIT } from './balance.ts';
import { parsePrefix, size, toAddress } from './ipv4.ts';
import { BRIDGE } from './links.ts';
import { POLICY_MAPS, POLICY_RULES } from './policies.ts';
import type { Fragment } from './ruleset-book.ts';
import { ANY_HOST_IP } from './ruleset-text.ts';

export interface FrameInput {
  /** Absent until the cluster is known; then only what needs no CIDR is served. */
  clusterCidr?: string;
  serviceCidr?: string;
  /** Of this board's pods. */
  podCidr?: string;
  /** Addresses of Services that a port of this board's loopback answers for. */
  loopback?: readonly LoopbackService[];
}

/** `protocol` is lower case; `to` is the port of 127.0.0.1. */
export interface LoopbackService {
  address: string;
  protocol: 'tcp' | 'udp';
  port: number;
  to: number;
}

/** A pod of this board that has hostPorts. */
export interface HostPortPod {
  ip: string;
  ports: readonly HostPort[];
}

/** Before Docker's and the distribution's own chains of the same hooks. */
const BEFORE = 5;
const DNAT_PRIORITY = -100 - BEFORE;
const SNAT_PRIORITY = 100 - BEFORE;
const FILTER_PRIORITY = -BEFORE;
const RAW_PRIORITY = -300;
/** A node has a /24 of the pods' network. */
const MOST_HAIRPINS = 1024;

/**
 * The part that does not depend on Services or pods. A packet finds its Service by one look-up in a verdict map and its
 * endpoint by another, whatever the number of Services. The family is `ip`, not `inet`: NAT in `inet` needs Linux 5.2,
 * which not every board has; IPv6 will be a second table of the same shape.
 */
export function frame({ clusterCidr, serviceCidr, podCidr, loopback = [] }: FrameInput): string {
  const fromOutsideToService =
    clusterCidr && serviceCidr ? `ip daddr ${serviceCidr} ip saddr != ${clusterCidr} ${MARK}` : undefined;
  const leavingCluster = clusterCidr
    ? `ip saddr ${clusterCidr} ip daddr != { ${clusterCidr}, 224.0.0.0/4 } oifname != "${BRIDGE}" masquerade`
    : undefined;
  const unknownService = serviceCidr ? `ip daddr ${serviceCidr} goto refuse` : undefined;
  const hairpin = podCidr === undefined ? '' : ` elements = { ${addressesOf(podCidr).join(', ')} };`;
  const chain = (name: string, lines: readonly (string | undefined)[]): string =>
    `  chain ${name} {\n${lines
      .filter((line) => line !== undefined)
      .map((line) => `    ${line}\n`)
      .join('')}  }\n`;
  const base = (type: string, hook: string, priority: number): string =>
    `type ${type} hook ${hook} priority ${priority}; policy accept;`;
  return [
    '  map services { type ipv4_addr . inet_proto . inet_service : verdict; }\n',
    '  map nodeports { type inet_proto . inet_service : verdict; }\n',
    '  map refused { type ipv4_addr . inet_proto . inet_service : verdict; }\n',
    '  map refused-nodeports { type inet_proto . inet_service : verdict; }\n',
    '  map hostports { type inet_proto . inet_service : ipv4_addr . inet_service; }\n',
    '  map hostip-ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n',
    `  set hairpin { type ipv4_addr . ipv4_addr;${hairpin} }\n`,
    balanceMaps(),
    POLICY_MAPS,
    // A reset, because the kernel limits the rate of ICMP errors: a second client would wait for its retry.
    chain('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
    ...balanceChains().map(([name, rules]) => chain(name, rules)),
    chain('dispatch', [
      // Before everything else: a hostPort 53 of this board is not meant for the cluster's DNS address, for instance.
      ...loopback.map(
        ({ address, protocol, port, to }) =>
          `ip daddr ${address} ${protocol} dport ${port} dnat ip to 127.0.0.1:${to}`,
      ),
      fromOutsideToService,
      'ip daddr . meta l4proto . th dport vmap @services',
      'fib daddr type local meta l4proto . th dport vmap @nodeports',
      // Its answer could not find the way back to 127.0.0.1 otherwise.
      `fib daddr type local ip saddr 127.0.0.0/8 ${MARK}`,
      'meta l4proto { tcp, udp, sctp } dnat ip to ip daddr . meta l4proto . th dport map @hostip-ports',
      'fib daddr type local meta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . th dport map @hostports',
    ]),
    chain('nat-prerouting', [base('nat', 'prerouting', DNAT_PRIORITY), 'jump dispatch']),
    chain('nat-output', [base('nat', 'output', DNAT_PRIORITY), 'jump dispatch']),
    chain('nat-postrouting', [
      base('nat', 'postrouting', SNAT_PRIORITY),
      // The bit is taken off again: a tunnel's outer packet inherits the mark.
      `meta mark & ${MASQUERADE_BIT} == ${MASQUERADE_BIT} meta mark set meta mark & 0xffffbfff masquerade`,
      // A pod that reaches itself through a Service would answer itself directly.
      'ct status dnat ip saddr . ip daddr @hairpin masquerade',
      leavingCluster,
    ]),
    // route_localnet is on for our devices; this keeps the board's loopback services to the board (CVE-2020-8558).
    chain('guard', [base('filter', 'prerouting', RAW_PRIORITY), 'iifname != "lo" ip daddr 127.0.0.0/8 drop']),
    chain('refusals', [
      'ip daddr . meta l4proto . th dport vmap @refused',
      'fib daddr type local meta l4proto . th dport vmap @refused-nodeports',
      unknownService,
    ]),
    chain('filter-input', [base('filter', 'input', FILTER_PRIORITY), 'ct state new jump refusals']),
    chain('filter-forward', [
      base('filter', 'forward', FILTER_PRIORITY),
      // Out of its window, a segment is not translated and would reset the connection at the other end.
      `iifname "${BRIDGE}" ct state invalid drop`,
      `oifname "${BRIDGE}" ct state invalid drop`,
      'ct state established,related accept',
      'ct state new jump refusals',
      ...POLICY_RULES,
    ]),
    chain('filter-output', [
      base('filter', 'output', FILTER_PRIORITY),
      // Pods of one board reach each other through the gateway on purpose; it shall not advise them otherwise.
      `oifname "${BRIDGE}" icmp type redirect drop`,
      'ct state new jump refusals',
    ]),
  ].join('');
}

export function hostPortFragment(pods: readonly HostPortPod[]): Fragment {
  const fragment: Fragment = { sets: [], chains: [], elements: [] };
  for (const pod of pods) {
    for (const port of pod.ports) {
      const key = `${port.protocol.toLowerCase()} . ${port.hostPort}`;
      const target = `${pod.ip} . ${port.containerPort}`;
      const everywhere = port.hostIP === undefined || ANY_HOST_IP.has(port.hostIP);
      if (everywhere) fragment.elements.push(['hostports', key, target]);
      else fragment.elements.push(['hostip-ports', `${port.hostIP} . ${key}`, target]);
    }
  }
  return fragment;
}

/** Every address that a pod of this board can have, with itself: who reaches itself through a Service. */
function addressesOf(podCidr: string): string[] {
  const prefix = parsePrefix(podCidr);
  const count = Math.min(size(prefix), MOST_HAIRPINS);
  return Array.from({ length: count }, (_, index) => toAddress(prefix.base + index)).map(
    (address) => `${address} . ${address}`,
  );
}
