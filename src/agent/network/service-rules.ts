import { createHash } from 'node:crypto';
import type { SharedEndpoint, SharedService, SharedServicePort } from '../../wire/messages.ts';
import { balanceChain, endpointMap, type Front, MARK, MOST_SHARED, outsideChain } from './balance.ts';
import { chooseEndpoints, type EndpointChoice, type Vantage } from './endpoint-choice.ts';
import { contains, isIPv4, type Prefix, parsePrefix, size } from './ipv4.ts';
import type { Fragment } from './ruleset-book.ts';
import { endpointKey } from './ruleset-text.ts';

/** What of the board a Service's rules depend on. */
export interface ServiceContext extends Vantage {
  clusterCidr?: string;
  /** This board's own address. */
  address?: string;
}

/** What one Service contributes to the table. Pure: equal in, equal out. */
export function serviceFragment(service: SharedService, context: ServiceContext): Fragment {
  const fragment: Fragment = { sets: [], chains: [], elements: [] };
  for (const port of service.ports) addPort(fragment, service, port, context);
  return fragment;
}

function addPort(
  fragment: Fragment,
  service: SharedService,
  port: SharedServicePort,
  context: ServiceContext,
): void {
  const writer = new PortWriter(fragment, service, port, context);
  const protocol = port.protocol.toLowerCase();
  const keysOf = (ips: readonly string[] = []): string[] =>
    ips.filter(isIPv4).map((ip) => `${ip} . ${protocol} . ${port.port}`);
  for (const key of keysOf(service.clusterIPs)) writer.inside(key);
  const balancers = keysOf(service.balancerIPs);
  for (const key of keysOf(service.externalIPs)) writer.outside('address', key);
  const firewall = balancers.length > 0 ? writer.firewall() : undefined;
  for (const key of balancers) writer.outside('address', key, firewall);
  if (port.nodePort) writer.outside('node-port', `${protocol} . ${port.nodePort}`);
}

/** Writes one port of a Service; remembers the chains that it had to make, because several fronts lead to them. */
class PortWriter {
  private readonly fragment: Fragment;
  private readonly service: SharedService;
  private readonly port: SharedServicePort;
  private readonly context: ServiceContext;
  private readonly choice: EndpointChoice;
  private readonly made = new Set<string>();
  private name: string | undefined;

  constructor(fragment: Fragment, service: SharedService, port: SharedServicePort, context: ServiceContext) {
    this.fragment = fragment;
    this.service = service;
    this.port = port;
    this.context = context;
    this.choice = chooseEndpoints(port.endpoints, context);
  }

  /** A cluster IP. */
  inside(key: string): void {
    const { cluster, local, any } = this.choice;
    const onlyHere = this.service.internalTrafficPolicy === 'Local';
    const endpoints = onlyHere ? local : cluster;
    if (endpoints.length > 0) this.lead('address', key, endpoints, onlyHere ? '/internal' : '', false);
    else this.refuse('address', key, any);
  }

  /** A node port, an external address or a load balancer's. */
  outside(front: Front, key: string, firewall?: string): void {
    const { cluster, local, any } = this.choice;
    const map = front === 'address' ? 'services' : 'nodeports';
    if (!any) {
      this.refuse(front, key, false);
      if (firewall) this.add(map, key, `goto ${this.guarded(firewall, undefined)}`);
      return;
    }
    if (this.service.externalTrafficPolicy === 'Local') {
      if (local.length === 0) this.refuse(front, key, true);
      const chain = this.externalLocal();
      this.add(map, key, `goto ${firewall ? this.guarded(firewall, chain) : chain}`);
      return;
    }
    if (firewall) {
      const target = this.lead(front, key, cluster, '', true, false);
      this.add(map, key, `goto ${this.guarded(firewall, target)}`);
    } else this.lead(front, key, cluster, '', true);
  }

  /**
   * Who may use the load balancer's addresses (loadBalancerSourceRanges), as a rule; undefined: everybody. As kube-proxy
   * has it, node ports are not meant, and a board that is allowed itself may use the addresses as its own.
   */
  firewall(): string | undefined {
    const ranges = this.service.sourceRanges?.filter((range) => isIPv4(range.split('/')[0] ?? ''));
    if (!ranges || ranges.length === 0) return undefined;
    const prefixes = ranges.map(parsePrefix);
    if (prefixes.some(({ length }) => length === 0)) return undefined;
    const { address } = this.context;
    if (address !== undefined && prefixes.some((prefix) => contains(prefix, address))) {
      for (const ip of this.service.balancerIPs ?? []) if (isIPv4(ip)) prefixes.push(parsePrefix(`${ip}/32`));
    }
    return `ip saddr != { ${outermost(prefixes).join(', ')} } drop`;
  }

  /**
   * Makes the way from a front to its endpoints and returns the chain it begins with; `enter` writes the front itself
   * too. The usual Service has elements only.
   */
  private lead(
    front: Front,
    key: string,
    endpoints: readonly SharedEndpoint[],
    suffix: string,
    outside: boolean,
    enter = true,
  ): string {
    const map = front === 'address' ? 'services' : 'nodeports';
    let chain: string;
    if (this.service.sessionAffinitySeconds === undefined && endpoints.length <= MOST_SHARED) {
      for (const [index, { ip, port }] of endpoints.entries())
        this.add(endpointMap(front, index), key, `${ip} . ${port}`);
      chain =
        outside && front === 'address'
          ? outsideChain(endpoints.length)
          : balanceChain(front, endpoints.length);
    } else {
      const own = this.balance(suffix, endpoints);
      chain = outside ? this.chain(`ext-${this.id}`, () => [`${MARK} goto ${own}`]) : own;
    }
    if (enter) this.add(map, key, `goto ${chain}`);
    return chain;
  }

  /** The policy is about who comes from outside; pods and the board itself are inside and may go anywhere. */
  private externalLocal(): string {
    const { cluster, local } = this.choice;
    return this.chain(`ext-${this.id}`, () => {
      const everywhere = this.balance('', cluster.length > 0 ? cluster : local);
      const { clusterCidr } = this.context;
      return [
        ...(clusterCidr ? [`ip saddr ${clusterCidr} goto ${everywhere}`] : []),
        `fib saddr type local ${MARK} goto ${everywhere}`,
        ...(local.length > 0 ? [`goto ${this.balance('/external', local)}`] : []),
      ];
    });
  }

  private guarded(firewall: string, then: string | undefined): string {
    return this.chain(`fw-${this.id}`, () => [firewall, ...(then ? [`goto ${then}`] : [])]);
  }

  /** `reject` when no board has an endpoint, `drop` when only the policy stands in the way: a load balancer tries another board then. */
  private refuse(front: Front, key: string, silently: boolean): void {
    this.add(front === 'address' ? 'refused' : 'refused-nodeports', key, silently ? 'drop' : 'goto refuse');
  }

  private balance(suffix: string, endpoints: readonly SharedEndpoint[]): string {
    return this.chain(`svc-${this.id}${suffix}`, () => this.balanceRules(endpoints));
  }

  private balanceRules(endpoints: readonly SharedEndpoint[]): string[] {
    const dnat = `meta l4proto ${this.port.protocol.toLowerCase()} dnat ip to`;
    const seconds = this.service.sessionAffinitySeconds;
    if (seconds === undefined) {
      const only = endpoints[0];
      if (endpoints.length === 1 && only) return [`${dnat} ${only.ip}:${only.port}`];
      const choices = endpoints.map(({ ip, port }, index) => `${index} : ${ip} . ${port}`);
      return [`${dnat} numgen random mod ${endpoints.length} map { ${choices.join(', ')} }`];
    }
    // One set of clients for each endpoint, its entries ageing since the client's last connection: a client stays with
    // its endpoint while others come and go, which a hash of its address would not give.
    const chains = endpoints.map((endpoint) => {
      const key = `${this.id}/${endpointKey(endpoint)}`;
      const set = `aff-${key}`;
      const chain = this.chain(`end-${key}`, () => {
        this.fragment.sets.push([set, `type ipv4_addr; flags dynamic,timeout; timeout ${seconds}s;`]);
        return [`update @${set} { ip saddr }`, `${dnat} ${endpoint.ip}:${endpoint.port}`];
      });
      return { set, chain };
    });
    return [
      ...chains.map(({ set, chain }) => `ip saddr @${set} goto ${chain}`),
      `numgen random mod ${chains.length} vmap { ${chains.map(({ chain }, index) => `${index} : goto ${chain}`).join(', ')} }`,
    ];
  }

  /** Made when something points at it: a chain that nothing enters costs memory on every board. */
  private chain(name: string, rules: () => string[]): string {
    if (!this.made.has(name)) {
      this.made.add(name);
      this.fragment.chains.push([name, rules()]);
    }
    return name;
  }

  private add(map: string, key: string, value: string): void {
    this.fragment.elements.push([map, key, value]);
  }

  /** nft's names end at 127 characters, a namespace and a Service name at 63 each: the hash names, the rest is for readers. */
  private get id(): string {
    if (this.name !== undefined) return this.name;
    const { namespace, name } = this.service;
    const { protocol, port } = this.port;
    const hash = createHash('sha256').update(`${namespace}/${name}/${protocol}/${port}`).digest('hex');
    this.name = `${hash.slice(0, 8)}-${namespace.slice(0, 24)}/${name.slice(0, 32)}/${protocol.toLowerCase()}/${port}`;
    return this.name;
  }
}

/** A set of nft's may not hold a range twice. */
function outermost(prefixes: readonly Prefix[]): string[] {
  const text = ({ base, length }: Prefix): string =>
    `${[24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256).join('.')}/${length}`;
  const covers = (outer: Prefix, inner: Prefix): boolean =>
    outer.length < inner.length && inner.base >= outer.base && inner.base < outer.base + size(outer);
  const kept = prefixes.filter((inner) => !prefixes.some((outer) => covers(outer, inner)));
  return [...new Set(kept.map(text))].sort();
}
