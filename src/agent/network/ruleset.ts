import { createHash } from 'node:crypto';
import type { SharedPolicy, SharedService, SharedServicePort } from '../../wire/messages.ts';
import type { HostPort } from '../ports.ts';
import { isIPv4 } from './ipv4.ts';
import { BRIDGE } from './links.ts';
import { addPolicies, type LocalPod, POLICY_MAPS, POLICY_RULES } from './policies.ts';
import { ANY_HOST_IP, endpointKey, type Ruleset } from './ruleset-text.ts';

export interface RulesetInput {
  nodeName: string;
  /** Absent until the cluster is known; then only what needs no CIDR is served. */
  clusterCidr?: string;
  serviceCidr?: string;
  /** The cluster's DNS address and the port of this board's loopback that answers for it. */
  dns?: { address: string; port: number };
  services: readonly SharedService[];
  policies?: readonly SharedPolicy[];
  /** The pods of this board, for policies. */
  pods?: readonly LocalPod[];
  /** The pods of this board that have hostPorts. */
  hostPorts: readonly { ip: string; ports: readonly HostPort[] }[];
}

/** kube-proxy's bit, so that other programs that know it read it rightly. */
const MASQUERADE_BIT = '0x4000';
/** Before Docker's and the distribution's own chains of the same hooks. */
const BEFORE = 5;
const DNAT_PRIORITY = -100 - BEFORE;
const SNAT_PRIORITY = 100 - BEFORE;
const FILTER_PRIORITY = -BEFORE;
const RAW_PRIORITY = -300;

const MARK = `meta mark set meta mark or ${MASQUERADE_BIT}`;

/**
 * Everything copepod asks of nftables on this board. A packet finds its Service by one look-up in a verdict map and its
 * endpoint by one rule, whatever the number of Services. The family is `ip`, not `inet`: NAT in `inet` needs Linux 5.2,
 * which not every board has; IPv6 will be a second table of the same shape.
 */
export function buildRuleset(input: RulesetInput): Ruleset {
  const ruleset: Ruleset = {
    frame: frame(input),
    sets: new Map(),
    chains: new Map(),
    elements: new Map([
      ['services', new Map()],
      ['nodeports', new Map()],
      ['refused', new Map()],
      ['refused-nodeports', new Map()],
      ['hostports', new Map()],
      ['hostip-ports', new Map()],
      ['hairpin', new Map()],
    ]),
  };
  for (const pod of input.hostPorts) addHostPorts(ruleset, pod);
  const ordered = [...input.services].sort((a, b) =>
    compare(`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`),
  );
  for (const service of ordered) {
    for (const port of service.ports) addServicePort(ruleset, input, service, port);
  }
  const { nodeName, policies = [], pods = [] } = input;
  addPolicies(ruleset, { nodeName, policies, pods });
  return ruleset;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The part that does not depend on Services or pods. */
function frame({ clusterCidr, serviceCidr, dns }: RulesetInput): string {
  const fromOutsideToService =
    clusterCidr && serviceCidr ? `ip daddr ${serviceCidr} ip saddr != ${clusterCidr} ${MARK}` : undefined;
  const leavingCluster = clusterCidr
    ? `ip saddr ${clusterCidr} ip daddr != { ${clusterCidr}, 224.0.0.0/4 } oifname != "${BRIDGE}" masquerade`
    : undefined;
  const unknownService = serviceCidr ? `ip daddr ${serviceCidr} goto refuse` : undefined;
  const chain = (name: string, lines: (string | undefined)[]): string =>
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
    '  set hairpin { type ipv4_addr . ipv4_addr; }\n',
    POLICY_MAPS,
    // A reset, because the kernel limits the rate of ICMP errors: a second client would wait for its retry.
    chain('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
    chain('dispatch', [
      // Before everything else: a hostPort 53 of this board is not meant for the cluster's DNS address.
      ...(dns
        ? ['udp', 'tcp'].map(
            (protocol) => `ip daddr ${dns.address} ${protocol} dport 53 dnat ip to 127.0.0.1:${dns.port}`,
          )
        : []),
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

function addHostPorts(ruleset: Ruleset, pod: { ip: string; ports: readonly HostPort[] }): void {
  for (const port of pod.ports) {
    const key = `${port.protocol.toLowerCase()} . ${port.hostPort}`;
    const target = `${pod.ip} . ${port.containerPort}`;
    const everywhere = port.hostIP === undefined || ANY_HOST_IP.has(port.hostIP);
    if (everywhere) ruleset.elements.get('hostports')?.set(key, target);
    else ruleset.elements.get('hostip-ports')?.set(`${port.hostIP} . ${key}`, target);
    ruleset.elements.get('hairpin')?.set(`${pod.ip} . ${pod.ip}`, '');
  }
}

type Endpoint = SharedServicePort['endpoints'][number];

function addServicePort(
  ruleset: Ruleset,
  input: RulesetInput,
  service: SharedService,
  port: SharedServicePort,
): void {
  const protocol = port.protocol.toLowerCase();
  const all = distinct(port.endpoints.filter((endpoint) => isIPv4(endpoint.ip)));
  const local = all.filter((endpoint) => endpoint.node === input.nodeName);
  const clusterKeys = service.clusterIPs.filter(isIPv4).map((ip) => `${ip} . ${protocol} . ${port.port}`);
  const externalKeys = (service.externalIPs ?? [])
    .filter(isIPv4)
    .map((ip) => `${ip} . ${protocol} . ${port.port}`);
  const nodePortKey = port.nodePort ? `${protocol} . ${port.nodePort}` : undefined;
  // Headless and ExternalName: names without an address.
  if (clusterKeys.length + externalKeys.length === 0 && nodePortKey === undefined) return;
  for (const endpoint of local) {
    ruleset.elements.get('hairpin')?.set(`${endpoint.ip} . ${endpoint.ip}`, '');
  }

  const services = ruleset.elements.get('services');
  const nodePorts = ruleset.elements.get('nodeports');
  const refused = ruleset.elements.get('refused');
  const refusedNodePorts = ruleset.elements.get('refused-nodeports');
  const id = chainId(service, port);
  // Made when something points at it: a chain that nothing enters costs memory on every board.
  const balance = (suffix: string, endpoints: readonly Endpoint[]): string => {
    const name = `svc-${id}${suffix}`;
    if (!ruleset.chains.has(name)) {
      ruleset.chains.set(name, balanceRules(ruleset, id, service, port, endpoints));
    }
    return name;
  };

  // Where there is nobody to answer: `reject` when no board has an endpoint, `drop` when only the policy stands in the
  // way (a load balancer in front tries another board then).
  const internalLocal = service.internalTrafficPolicy === 'Local';
  const externalLocal = service.externalTrafficPolicy === 'Local';

  for (const key of clusterKeys) {
    if (all.length === 0) refused?.set(key, 'goto refuse');
    else if (!internalLocal) services?.set(key, `goto ${balance('', all)}`);
    else if (local.length > 0) services?.set(key, `goto ${balance('/internal', local)}`);
    else refused?.set(key, 'drop');
  }

  if (externalKeys.length === 0 && nodePortKey === undefined) return;
  if (all.length === 0) {
    for (const key of externalKeys) refused?.set(key, 'goto refuse');
    if (nodePortKey) refusedNodePorts?.set(nodePortKey, 'goto refuse');
    return;
  }
  const everywhere = balance('', all);
  const external = `ext-${id}`;
  if (externalLocal) {
    const rules: string[] = [];
    // The policy is about who comes from outside; pods and the board itself are inside and may go anywhere.
    if (input.clusterCidr) rules.push(`ip saddr ${input.clusterCidr} goto ${everywhere}`);
    rules.push(`fib saddr type local ${MARK} goto ${everywhere}`);
    if (local.length > 0) rules.push(`goto ${balance('/external', local)}`);
    ruleset.chains.set(external, rules);
    if (local.length === 0) {
      for (const key of externalKeys) refused?.set(key, 'drop');
      if (nodePortKey) refusedNodePorts?.set(nodePortKey, 'drop');
    }
  } else {
    ruleset.chains.set(external, [`${MARK} goto ${everywhere}`]);
  }
  for (const key of externalKeys) services?.set(key, `goto ${external}`);
  if (nodePortKey) nodePorts?.set(nodePortKey, `goto ${external}`);
}

function balanceRules(
  ruleset: Ruleset,
  id: string,
  service: SharedService,
  port: SharedServicePort,
  endpoints: readonly Endpoint[],
): string[] {
  const protocol = port.protocol.toLowerCase();
  const dnat = `meta l4proto ${protocol} dnat ip to`;
  if (service.sessionAffinitySeconds === undefined) {
    const only = endpoints[0];
    if (endpoints.length === 1 && only) return [`${dnat} ${only.ip}:${only.port}`];
    const choices = endpoints.map((endpoint, index) => `${index} : ${endpoint.ip} . ${endpoint.port}`);
    return [`${dnat} numgen random mod ${endpoints.length} map { ${choices.join(', ')} }`];
  }
  // One set of clients for each endpoint, its entries ageing since the client's last connection: a client stays with
  // its endpoint while others come and go, which a hash of its address would not give.
  const chains = endpoints.map((endpoint) => {
    const key = `${id}/${endpointKey(endpoint)}`;
    const set = `aff-${key}`;
    const chain = `end-${key}`;
    ruleset.sets.set(
      set,
      `type ipv4_addr; flags dynamic,timeout; timeout ${service.sessionAffinitySeconds}s;`,
    );
    ruleset.chains.set(chain, [`update @${set} { ip saddr }`, `${dnat} ${endpoint.ip}:${endpoint.port}`]);
    return { set, chain };
  });
  return [
    ...chains.map(({ set, chain }) => `ip saddr @${set} goto ${chain}`),
    `numgen random mod ${chains.length} vmap { ${chains.map(({ chain }, index) => `${index} : goto ${chain}`).join(', ')} }`,
  ];
}

function distinct(endpoints: readonly Endpoint[]): Endpoint[] {
  const byKey = new Map(endpoints.map((endpoint) => [`${endpoint.ip}:${endpoint.port}`, endpoint]));
  return [...byKey].sort(([a], [b]) => compare(a, b)).map(([, endpoint]) => endpoint);
}

/** nft's names end at 127 characters, a namespace and a Service name at 63 each: the hash names, the rest is for readers. */
function chainId(service: SharedService, port: SharedServicePort): string {
  const full = `${service.namespace}/${service.name}/${port.protocol}/${port.port}`;
  const hash = createHash('sha256').update(full).digest('hex').slice(0, 8);
  return `${hash}-${service.namespace.slice(0, 24)}/${service.name.slice(0, 32)}/${port.protocol.toLowerCase()}/${port.port}`;
}
