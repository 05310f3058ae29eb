import type { ClusterInfo, SharedService, SharedServicePort } from '../../wire/messages.ts';
import { reverseName } from './address.ts';
import { type DnsRecord, labelsOf, type Question, TYPE } from './message.ts';

/** Kubernetes DNS-Based Service Discovery. */
export const SCHEMA_VERSION = '1.1.0';
/** Seconds; also of negative answers. A backend that left is asked for no longer than this. */
const TTL = 5;
const SRV_PRIORITY = 0;
const SRV_WEIGHT = 100;
/** A chain of ExternalNames inside the cluster; longer is a loop. */
const LONGEST_CHAIN = 8;

export type Lookup =
  | { kind: 'records'; answers: DnsRecord[]; additional: DnsRecord[] }
  /** The name exists, without records of this type. */
  | { kind: 'nodata'; authority: DnsRecord[] }
  | { kind: 'nxdomain'; authority: DnsRecord[] }
  /** The answer begins with these CNAMEs and goes on with what the world says of `target`. */
  | { kind: 'outside'; answers: DnsRecord[]; target: string }
  /** Not ours: for the upstream servers. */
  | { kind: 'foreign' };

interface NamedEndpoint {
  ip: string;
  hostname: string;
}

interface Entry {
  /** `<service>.<namespace>.svc.<zone>` */
  name: string;
  service: SharedService;
  /** By host name, of endpoints that have one. */
  hosts: Map<string, NamedEndpoint[]>;
}

/**
 * The names of the cluster, from what every board is told of its Services; other facts of the cluster make a new one.
 * Names are looked up in lower case, as parseQuery gives them.
 */
export class ClusterZone {
  private readonly zone: string;
  private serial = 0;
  private known: ReadonlySet<SharedService> = new Set();
  private readonly clusterDns: string;
  private readonly reverseZones: { prefix: string; bits: number }[];
  private readonly services = new Map<string, Map<string, Entry>>();
  private readonly reverse = new Map<string, string[]>();

  constructor(options: { cluster: ClusterInfo; services: readonly SharedService[]; serial: number }) {
    const { cluster } = options;
    this.zone = cluster.clusterDomain.toLowerCase().replace(/\.$/, '');
    this.clusterDns = cluster.clusterDns;
    this.reverseZones = [cluster.clusterCidr, cluster.serviceCidr].flatMap((cidr) => {
      const [prefix = '', bits = ''] = cidr.split('/');
      return prefix.includes('.') ? [{ prefix, bits: Number(bits) }] : [];
    });
    this.update(options.services, options.serial);
  }

  /** What is the same object as before is not looked at again. */
  update(services: readonly SharedService[], serial: number): void {
    this.serial = serial;
    const next = new Set(services);
    for (const service of this.known) if (!next.has(service)) this.remove(service);
    for (const service of next) if (!this.known.has(service)) this.add(service);
    this.known = next;
  }

  lookup(question: Pick<Question, 'name' | 'type'>): Lookup {
    return this.resolve(question.name, question.type, [], 0);
  }

  private resolve(name: string, type: number, chain: DnsRecord[], depth: number): Lookup {
    const { zone } = this;
    if (name === zone) return this.apex(type, chain);
    if (!name.endsWith(`.${zone}`)) {
      if (chain.length > 0) return { kind: 'outside', answers: chain, target: name };
      return name.endsWith('.arpa') ? this.pointer(name, type) : { kind: 'foreign' };
    }
    const labels = labelsOf(name.slice(0, -zone.length - 1));
    const branch = labels.pop();
    if (branch === 'svc') return this.service(name, labels, type, chain, depth);
    if (branch === 'pod') return this.pod(name, labels, type, chain);
    if (branch === 'dns-version' && labels.length === 0) {
      return this.answer(type, chain, [{ name, ttl: TTL, data: { type: 'TXT', text: SCHEMA_VERSION } }]);
    }
    if (branch === 'dns' && labels.length === 0) return this.nodata(chain);
    if (branch === 'dns' && labels.length === 1 && labels[0] === 'ns') {
      return this.answer(type, chain, [address(name, this.clusterDns)]);
    }
    return this.nxdomain(chain);
  }

  private apex(type: number, chain: DnsRecord[]): Lookup {
    return this.answer(type, chain, [
      this.soa(this.zone),
      { name: this.zone, ttl: TTL, data: { type: 'NS', target: `ns.dns.${this.zone}` } },
    ]);
  }

  private service(name: string, labels: string[], type: number, chain: DnsRecord[], depth: number): Lookup {
    const namespace = labels.pop();
    if (namespace === undefined) return this.nodata(chain);
    const entries = this.services.get(namespace);
    if (!entries) return this.nxdomain(chain);
    const serviceName = labels.pop();
    if (serviceName === undefined) return this.nodata(chain);
    const entry = entries.get(serviceName);
    if (!entry) return this.nxdomain(chain);
    const { service } = entry;
    if (service.externalName !== undefined) {
      if (labels.length > 0) return this.nxdomain(chain);
      return this.externalName(name, service.externalName, type, chain, depth);
    }
    if (labels.length === 0) {
      // Of all its ports, as CoreDNS answers.
      if (type === TYPE.SRV) return this.records(entry, service.ports, name, type, chain);
      if (service.headless) {
        const endpoints = [...entry.hosts.values()].flat();
        // The specification, 2.4.1.
        if (endpoints.length === 0) return this.nxdomain(chain);
        return this.answer(
          type,
          chain,
          distinct(endpoints).map(({ ip }) => address(name, ip)),
        );
      }
      return this.answer(
        type,
        chain,
        service.clusterIPs.map((ip) => address(name, ip)),
      );
    }
    if (labels.length === 1) {
      const host = labels[0] as string;
      const endpoints = entry.hosts.get(host);
      if (endpoints)
        return this.answer(
          type,
          chain,
          distinct(endpoints).map(({ ip }) => address(name, ip)),
        );
      const protocols = portsOf(entry).map(({ protocol }) => `_${protocol.toLowerCase()}`);
      return protocols.includes(host) ? this.nodata(chain) : this.nxdomain(chain);
    }
    return this.ports(entry, name, labels, type, chain);
  }

  private ports(entry: Entry, name: string, labels: string[], type: number, chain: DnsRecord[]): Lookup {
    const [port, protocol] = labels;
    const found = portsOf(entry).find(
      (candidate) =>
        `_${candidate.name.toLowerCase()}` === port && `_${candidate.protocol.toLowerCase()}` === protocol,
    );
    if (labels.length !== 2 || !found) return this.nxdomain(chain);
    return this.records(entry, [found], name, type, chain);
  }

  private records(
    { service, name: serviceName }: Entry,
    ports: readonly SharedServicePort[],
    name: string,
    type: number,
    chain: DnsRecord[],
  ): Lookup {
    const answers = new Map<string, DnsRecord>();
    const additional = new Map<string, DnsRecord>();
    for (const port of ports) {
      const targets = service.headless
        ? port.endpoints.map((endpoint) => ({
            ...endpoint,
            target: `${hostnameOf(endpoint)}.${serviceName}`,
          }))
        : service.clusterIPs.map((ip) => ({ ip, port: port.port, target: serviceName }));
      for (const { ip, port: number, target } of targets) {
        const data = {
          type: 'SRV',
          priority: SRV_PRIORITY,
          weight: SRV_WEIGHT,
          port: number,
          target,
        } as const;
        answers.set(`${target}/${number}`, { name, ttl: TTL, data });
        additional.set(`${target}/${ip}`, address(target, ip));
      }
    }
    // One weight for each, all together about a hundred, as CoreDNS gives them.
    const weight = Math.max(1, Math.floor(SRV_WEIGHT / Math.max(1, answers.size)));
    const weighted = [...answers.values()].map((record) =>
      record.data.type === 'SRV' ? { ...record, data: { ...record.data, weight } } : record,
    );
    if (service.headless && weighted.length === 0) return this.nxdomain(chain);
    return this.answer(type, chain, weighted, [...additional.values()]);
  }

  private externalName(
    name: string,
    external: string,
    type: number,
    chain: DnsRecord[],
    depth: number,
  ): Lookup {
    const target = external.toLowerCase().replace(/\.$/, '');
    const answers = [...chain, { name, ttl: TTL, data: { type: 'CNAME', target } as const }];
    if (type === TYPE.CNAME || type === TYPE.ANY || depth >= LONGEST_CHAIN)
      return { kind: 'records', answers, additional: [] };
    return this.resolve(target, type, answers, depth + 1);
  }

  /** Required by the specification (2.6) for any address, whether a pod has it or not. */
  private pod(name: string, labels: string[], type: number, chain: DnsRecord[]): Lookup {
    if (labels.length < 2) return this.nodata(chain);
    const dashed = labels.length === 2 ? (labels[0] as string) : '';
    const ip = /^\d{1,3}(-\d{1,3}){3}$/.test(dashed) ? dashed.replaceAll('-', '.') : undefined;
    if (ip === undefined || ip.split('.').some((part) => Number(part) > 255)) return this.nxdomain(chain);
    return this.answer(type, chain, [address(name, ip)]);
  }

  /** Addresses of the cluster that have no name are nobody else's to answer for. */
  private pointer(name: string, type: number): Lookup {
    const targets = this.reverse.get(name);
    if (targets) {
      const answers: DnsRecord[] = targets.map((target) => ({
        name,
        ttl: TTL,
        data: { type: 'PTR', target },
      }));
      return this.answer(type, [], answers, [], this.reverseZoneOf(name) ?? name);
    }
    const zone = this.reverseZoneOf(name);
    return zone === undefined ? { kind: 'foreign' } : { kind: 'nxdomain', authority: [this.soa(zone)] };
  }

  /** `43.10.in-addr.arpa` for an address of 10.43.0.0/16; of other lengths the next shorter that ends at a dot. */
  private reverseZoneOf(name: string): string | undefined {
    const octets = /^([\d.]+)\.in-addr\.arpa$/.exec(name)?.[1]?.split('.').reverse();
    if (octets?.length !== 4) return undefined;
    for (const { prefix, bits } of this.reverseZones) {
      const value = bitsOf(octets);
      if (value >>> (32 - bits) !== bitsOf(prefix.split('.')) >>> (32 - bits)) continue;
      return `${octets
        .slice(0, Math.min(3, Math.ceil(bits / 8)))
        .reverse()
        .join('.')}.in-addr.arpa`;
    }
    return undefined;
  }

  private answer(
    type: number,
    chain: DnsRecord[],
    records: DnsRecord[],
    additional: DnsRecord[] = [],
    zone = this.zone,
  ): Lookup {
    const wanted = records.filter((record) => type === TYPE.ANY || numberOf(record) === type);
    if (wanted.length === 0) return this.nodata(chain, zone);
    return { kind: 'records', answers: [...chain, ...wanted], additional };
  }

  private nodata(chain: DnsRecord[], zone = this.zone): Lookup {
    if (chain.length > 0) return { kind: 'records', answers: chain, additional: [] };
    return { kind: 'nodata', authority: [this.soa(zone)] };
  }

  private nxdomain(chain: DnsRecord[]): Lookup {
    if (chain.length > 0) return { kind: 'records', answers: chain, additional: [] };
    return { kind: 'nxdomain', authority: [this.soa(this.zone)] };
  }

  private soa(zone: string): DnsRecord {
    return {
      name: zone,
      ttl: TTL,
      data: {
        type: 'SOA',
        primary: `ns.dns.${this.zone}`,
        mailbox: `hostmaster.${this.zone}`,
        serial: this.serial,
        refresh: 7200,
        retry: 1800,
        expire: 86_400,
        minimum: TTL,
      },
    };
  }

  private add(service: SharedService): void {
    const { namespace, name } = ownersOf(service);
    const entry: Entry = { name: this.nameOf(service), service, hosts: new Map() };
    let entries = this.services.get(namespace);
    if (!entries) {
      entries = new Map();
      this.services.set(namespace, entries);
    }
    entries.set(name, entry);
    for (const endpoint of endpointsOf(service)) {
      const hostname = hostnameOf(endpoint);
      const held = entry.hosts.get(hostname) ?? [];
      held.push({ ip: endpoint.ip, hostname });
      entry.hosts.set(hostname, held);
    }
    for (const [address, target] of this.pointersOf(service)) {
      const held = this.reverse.get(address) ?? [];
      if (!held.includes(target)) held.push(target);
      this.reverse.set(address, held);
    }
  }

  private remove(service: SharedService): void {
    const { namespace, name } = ownersOf(service);
    const entries = this.services.get(namespace);
    entries?.delete(name);
    if (entries?.size === 0) this.services.delete(namespace);
    for (const [address, target] of this.pointersOf(service)) {
      const left = (this.reverse.get(address) ?? []).filter((held) => held !== target);
      if (left.length > 0) this.reverse.set(address, left);
      else this.reverse.delete(address);
    }
  }

  private nameOf(service: SharedService): string {
    const { namespace, name } = ownersOf(service);
    return `${name}.${namespace}.svc.${this.zone}`;
  }

  /**
   * What addresses are called: `5.0.42.10.in-addr.arpa` and the name. Endpoints behind a ClusterIP have theirs when they
   * are pods, as CoreDNS has it; what else is behind one keeps the name that its own network gives it.
   */
  private pointersOf(service: SharedService): [address: string, target: string][] {
    const name = this.nameOf(service);
    const pairs = service.clusterIPs.map((ip) => [ip, name] as const);
    const named = endpointsOf(service).filter(
      ({ ip, hostname }) =>
        service.headless || hostname !== undefined || this.reverseZoneOf(reverseName(ip) ?? '') !== undefined,
    );
    return [
      ...pairs,
      ...named.map((endpoint) => [endpoint.ip, `${hostnameOf(endpoint)}.${name}`] as const),
    ].flatMap(([ip, target]): [string, string][] => {
      const address = reverseName(ip);
      return address === undefined ? [] : [[address, target]];
    });
  }
}

const ownersOf = ({ namespace, name }: SharedService): { namespace: string; name: string } => ({
  namespace: namespace.toLowerCase(),
  name: name.toLowerCase(),
});

/** That have names: what terminates is not for new clients. */
function endpointsOf(service: SharedService): { ip: string; hostname?: string }[] {
  const ready = service.ports.flatMap(({ endpoints }) => endpoints).filter(({ leaving }) => !leaving);
  return [...ready, ...(service.hosts ?? [])];
}

/** A pod's own when its subdomain is the Service, else its address with dashes. */
function hostnameOf({ ip, hostname }: { ip: string; hostname?: string }): string {
  return hostname?.toLowerCase() ?? ip.replace(/[.:]/g, '-');
}

/** Unnamed ports have no SRV record. */
function portsOf({ service }: Entry): SharedService['ports'] {
  return service.ports.filter(
    ({ name, endpoints }) => name !== '' && (!service.headless || endpoints.length > 0),
  );
}

function distinct(endpoints: readonly NamedEndpoint[]): NamedEndpoint[] {
  return [...new Map(endpoints.map((endpoint) => [endpoint.ip, endpoint])).values()];
}

function address(name: string, ip: string): DnsRecord {
  return { name, ttl: TTL, data: { type: ip.includes(':') ? 'AAAA' : 'A', address: ip } };
}

const numberOf = ({ data }: DnsRecord): number => (data.type === 'raw' ? data.number : TYPE[data.type]);

const bitsOf = (octets: readonly string[]): number =>
  octets.reduce((sum, octet) => sum * 256 + Number(octet), 0) >>> 0;
