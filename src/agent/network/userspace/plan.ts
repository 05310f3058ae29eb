import type { SharedEndpoint, SharedService } from '../../../wire/messages.ts';
import { chooseEndpoints, type Vantage } from '../endpoint-choice.ts';
import type { HostPortPod, LoopbackService } from '../frame.ts';
import { contains, isIPv4, parsePrefix } from '../ipv4.ts';

export interface Target {
  ip: string;
  port: number;
}

/** One listening socket and where its connections go. */
export interface Front {
  /** `TCP 10.43.0.5:80` */
  key: string;
  protocol: 'TCP' | 'UDP';
  /** 0.0.0.0: of every address of the board. */
  address: string;
  port: number;
  /** What it is for, for the log: `Service default/web`. */
  owner: string;
  targets: Target[];
  affinitySeconds?: number;
  /** Who may connect: CIDRs. */
  sources?: string[];
}

export interface UserspacePlan {
  fronts: Front[];
  /** That the board has to hold in order to listen there. */
  addresses: string[];
  /** `Service default/web: SCTP`: what this mode cannot do. */
  unserved: string[];
}

const EVERYWHERE = '0.0.0.0';
/** Sockets are memory: a board with more Services than this needs nftables. */
const MOST_FRONTS = 2000;

/** What a board without nftables listens on for these Services and hostPorts. Pure. */
export function planUserspace(input: {
  services: readonly SharedService[];
  hostPorts: readonly HostPortPod[];
  loopback: readonly LoopbackService[];
  vantage: Vantage;
  /** Addresses that the board has anyway. */
  own: ReadonlySet<string>;
  /** Addresses of other boards: what is sent there is theirs to answer. */
  others: ReadonlySet<string>;
}): UserspacePlan {
  const fronts = new Map<string, Front>();
  const addresses = new Set<string>();
  const unserved = new Set<string>();
  const add = (front: Omit<Front, 'key'>): void => {
    const key = `${front.protocol} ${front.address}:${front.port}`;
    // Also without an endpoint: who holds the address and does not listen refuses at once.
    if (front.address !== EVERYWHERE && !input.own.has(front.address)) addresses.add(front.address);
    if (front.targets.length === 0 || fronts.has(key)) return;
    if (fronts.size >= MOST_FRONTS) {
      unserved.add(`${front.owner}: more than ${MOST_FRONTS} ports`);
      return;
    }
    fronts.set(key, { ...front, key });
  };
  for (const { address, protocol, port, to } of input.loopback) {
    const targets = [{ ip: '127.0.0.1', port: to }];
    add({ protocol: protocol === 'tcp' ? 'TCP' : 'UDP', address, port, owner: 'this board', targets });
  }
  for (const pod of input.hostPorts) {
    for (const { protocol, hostIP = EVERYWHERE, hostPort, containerPort } of pod.ports) {
      const owner = `hostPort ${hostPort} of the pod ${pod.ip}`;
      if (protocol === 'SCTP') unserved.add(`${owner}: SCTP`);
      else {
        const address = isIPv4(hostIP) ? hostIP : EVERYWHERE;
        add({ protocol, address, port: hostPort, owner, targets: [{ ip: pod.ip, port: containerPort }] });
      }
    }
  }
  for (const service of input.services) addService(service, input, add, unserved);
  return { fronts: [...fronts.values()], addresses: [...addresses].sort(), unserved: [...unserved] };
}

function addService(
  service: SharedService,
  input: Parameters<typeof planUserspace>[0],
  add: (front: Omit<Front, 'key'>) => void,
  unserved: Set<string>,
): void {
  const owner = `Service ${service.namespace}/${service.name}`;
  const affinity =
    service.sessionAffinitySeconds === undefined ? {} : { affinitySeconds: service.sessionAffinitySeconds };
  const ranges = service.sourceRanges?.filter((range) => isIPv4(range.split('/')[0] ?? ''));
  const sources = ranges && ranges.length > 0 ? { sources: ranges } : {};
  for (const { protocol, port, nodePort, endpoints } of service.ports) {
    const addressed = service.clusterIPs.length > 0;
    if (protocol === 'SCTP') {
      if (addressed) unserved.add(`${owner}: SCTP`);
      continue;
    }
    const { cluster, local } = chooseEndpoints(endpoints, input.vantage);
    const inside = targetsOf(service.internalTrafficPolicy === 'Local' ? local : cluster);
    const outside = targetsOf(service.externalTrafficPolicy === 'Local' ? local : cluster);
    const front = { protocol, port, owner, ...affinity };
    for (const address of service.clusterIPs.filter(isIPv4)) add({ ...front, address, targets: inside });
    for (const address of (service.externalIPs ?? []).filter(isIPv4)) {
      if (!input.others.has(address)) add({ ...front, address, targets: outside });
    }
    for (const address of (service.balancerIPs ?? []).filter(isIPv4)) {
      if (!input.others.has(address)) add({ ...front, address, targets: outside, ...sources });
    }
    if (nodePort) add({ ...front, address: EVERYWHERE, port: nodePort, targets: outside });
  }
}

const targetsOf = (endpoints: readonly SharedEndpoint[]): Target[] =>
  endpoints.map(({ ip, port }) => ({ ip, port }));

export function mayConnect({ sources }: Pick<Front, 'sources'>, address: string): boolean {
  return sources === undefined || sources.some((range) => contains(parsePrefix(range), address));
}
