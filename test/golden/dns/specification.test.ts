import { describe, expect, it } from 'vitest';
import { type DnsRecord, TYPE } from '../../../src/agent/dns/message.ts';
import { ClusterZone, type Lookup } from '../../../src/agent/dns/zone.ts';
import { CLUSTER, sharedService } from '../../support/dns.ts';

// "Kubernetes DNS-Based Service Discovery", version 1.1.0, by its own examples, in its own order; then what it leaves to
// the DNS itself. TTLs and SRV priorities are the implementation's by the specification.

const zone = new ClusterZone({
  cluster: CLUSTER,
  serial: 1,
  services: [
    sharedService({
      name: 'kubernetes',
      clusterIPs: ['10.3.0.1'],
      ports: [
        { name: 'https', protocol: 'TCP', port: 443, endpoints: [{ ip: '192.0.2.1', port: 6443, node: '' }] },
        { name: '', protocol: 'UDP', port: 53, endpoints: [] },
      ],
    }),
    sharedService({
      name: 'plain',
      clusterIPs: ['10.3.0.9'],
      ports: [
        {
          name: 'http',
          protocol: 'TCP',
          port: 80,
          endpoints: [
            { ip: '10.42.0.8', port: 8080, node: 'a' },
            { ip: '10.42.0.9', port: 8080, node: 'a', leaving: true },
          ],
        },
        { name: 'https', protocol: 'TCP', port: 443, endpoints: [] },
      ],
    }),
    sharedService({ name: 'dual', clusterIPs: ['10.3.0.2', 'fd00::2'] }),
    sharedService({
      name: 'headless',
      headless: true,
      ports: [
        {
          name: 'https',
          protocol: 'TCP',
          port: 443,
          endpoints: [
            { ip: '10.42.0.100', port: 8443, node: 'a', hostname: 'my-pet' },
            { ip: '10.42.1.101', port: 8443, node: 'b', hostname: 'My-Pet-2' },
            { ip: '10.42.1.102', port: 9443, node: 'b' },
          ],
        },
      ],
    }),
    sharedService({ name: 'portless', headless: true, hosts: [{ ip: '10.42.0.7', hostname: 'db-0' }] }),
    sharedService({ name: 'six', headless: true, hosts: [{ ip: 'fd00:42::7' }] }),
    sharedService({
      name: 'empty',
      headless: true,
      ports: [{ name: 'http', protocol: 'TCP', port: 80, endpoints: [] }],
    }),
    sharedService({ name: 'foo', type: 'ExternalName', externalName: 'www.Example.com.' }),
    sharedService({
      name: 'alias',
      type: 'ExternalName',
      externalName: 'headless.default.svc.cluster.local',
    }),
    sharedService({ name: 'loop', type: 'ExternalName', externalName: 'loop.default.svc.cluster.local' }),
  ],
});

const SOA = 'cluster.local. IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5';

function text({ name, data }: DnsRecord): string {
  const rest = ((): string => {
    switch (data.type) {
      case 'A':
      case 'AAAA':
        return data.address;
      case 'SRV':
        return `${data.port} ${data.target}.`;
      case 'TXT':
        return `"${data.text}"`;
      case 'SOA':
        return `${data.primary}. ${data.mailbox}. ${data.serial} ${data.refresh} ${data.retry} ${data.expire} ${data.minimum}`;
      case 'raw':
        return data.bytes.toString('hex');
      default:
        return `${data.target}.`;
    }
  })();
  return `${name}. IN ${data.type} ${rest}`;
}

function lines(found: Lookup): string[] {
  switch (found.kind) {
    case 'records':
      return found.answers.map(text).sort();
    case 'outside':
      return [...found.answers.map(text), `and ${found.target}.`];
    case 'foreign':
      return ['foreign'];
    default:
      return [found.kind.toUpperCase(), ...found.authority.map(text)];
  }
}

const suffix = 'svc.cluster.local';
const EXAMPLES: [section: string, name: string, type: keyof typeof TYPE, answer: string[]][] = [
  ['2.2 schema version', 'dns-version.cluster.local', 'TXT', ['dns-version.cluster.local. IN TXT "1.1.0"']],
  ['2.3.1 A', `kubernetes.default.${suffix}`, 'A', [`kubernetes.default.${suffix}. IN A 10.3.0.1`]],
  ['2.3.1 AAAA', `dual.default.${suffix}`, 'AAAA', [`dual.default.${suffix}. IN AAAA fd00::2`]],
  ['2.3.1 AAAA without one', `kubernetes.default.${suffix}`, 'AAAA', ['NODATA', SOA]],
  [
    '2.3.2 SRV',
    `_https._tcp.kubernetes.default.${suffix}`,
    'SRV',
    [`_https._tcp.kubernetes.default.${suffix}. IN SRV 443 kubernetes.default.${suffix}.`],
  ],
  ['2.3.2 SRV of another protocol', `_https._udp.kubernetes.default.${suffix}`, 'SRV', ['NXDOMAIN', SOA]],
  ['2.3.2 unnamed ports have none', `_._udp.kubernetes.default.${suffix}`, 'SRV', ['NXDOMAIN', SOA]],
  ['2.3.2 the protocol exists', `_tcp.kubernetes.default.${suffix}`, 'SRV', ['NODATA', SOA]],
  [
    '2.3.3 PTR',
    '1.0.3.10.in-addr.arpa',
    'PTR',
    [`1.0.3.10.in-addr.arpa. IN PTR kubernetes.default.${suffix}.`],
  ],
  [
    '2.4.1 A of a headless service',
    `headless.default.${suffix}`,
    'A',
    ['10.42.0.100', '10.42.1.101', '10.42.1.102'].map((ip) => `headless.default.${suffix}. IN A ${ip}`),
  ],
  ['2.4.1 without ready endpoints', `empty.default.${suffix}`, 'A', ['NXDOMAIN', SOA]],
  ['2.4.1 without ports', `portless.default.${suffix}`, 'A', [`portless.default.${suffix}. IN A 10.42.0.7`]],
  [
    '2.4.1 of an endpoint',
    `my-pet.headless.default.${suffix}`,
    'A',
    [`my-pet.headless.default.${suffix}. IN A 10.42.0.100`],
  ],
  [
    '2.4.1 names know no case',
    `my-pet-2.headless.default.${suffix}`,
    'A',
    [`my-pet-2.headless.default.${suffix}. IN A 10.42.1.101`],
  ],
  [
    '2.4.1 of an endpoint without a name',
    `10-42-1-102.headless.default.${suffix}`,
    'A',
    [`10-42-1-102.headless.default.${suffix}. IN A 10.42.1.102`],
  ],
  [
    '2.4.1 of an IPv6 endpoint',
    `fd00-42--7.six.default.${suffix}`,
    'AAAA',
    [`fd00-42--7.six.default.${suffix}. IN AAAA fd00:42::7`],
  ],
  [
    '2.4.2 SRV of a headless service',
    `_https._tcp.headless.default.${suffix}`,
    'SRV',
    ['8443 my-pet-2', '8443 my-pet', '9443 10-42-1-102'].map(
      (target) => `_https._tcp.headless.default.${suffix}. IN SRV ${target}.headless.default.${suffix}.`,
    ),
  ],
  [
    '2.4.3 PTR of an endpoint',
    '100.0.42.10.in-addr.arpa',
    'PTR',
    [`100.0.42.10.in-addr.arpa. IN PTR my-pet.headless.default.${suffix}.`],
  ],
  [
    '2.4.3 PTR of an endpoint without a name',
    '102.1.42.10.in-addr.arpa',
    'PTR',
    [`102.1.42.10.in-addr.arpa. IN PTR 10-42-1-102.headless.default.${suffix}.`],
  ],
  [
    'CoreDNS: PTR of a pod behind a ClusterIP',
    '8.0.42.10.in-addr.arpa',
    'PTR',
    [`8.0.42.10.in-addr.arpa. IN PTR 10-42-0-8.plain.default.${suffix}.`],
  ],
  [
    'CoreDNS: its name',
    `10-42-0-8.plain.default.${suffix}`,
    'A',
    [`10-42-0-8.plain.default.${suffix}. IN A 10.42.0.8`],
  ],
  [
    'what terminates has no name any more',
    '9.0.42.10.in-addr.arpa',
    'PTR',
    ['NXDOMAIN', SOA.replace('cluster.local.', '42.10.in-addr.arpa.')],
  ],
  ['no names for what is outside', '1.2.0.192.in-addr.arpa', 'PTR', ['foreign']],
  [
    'CoreDNS: SRV of all ports',
    `plain.default.${suffix}`,
    'SRV',
    [80, 443].map((port) => `plain.default.${suffix}. IN SRV ${port} plain.default.${suffix}.`).sort(),
  ],
  [
    '2.5 ExternalName',
    `foo.default.${suffix}`,
    'A',
    [`foo.default.${suffix}. IN CNAME www.example.com.`, 'and www.example.com.'],
  ],
  ['2.5 its CNAME', `foo.default.${suffix}`, 'CNAME', [`foo.default.${suffix}. IN CNAME www.example.com.`]],
  [
    '2.5 to a name of the cluster',
    `alias.default.${suffix}`,
    'A',
    [
      `alias.default.${suffix}. IN CNAME headless.default.${suffix}.`,
      ...['10.42.0.100', '10.42.1.101', '10.42.1.102'].map((ip) => `headless.default.${suffix}. IN A ${ip}`),
    ],
  ],
  ['2.6 pods', '1-2-3-4.any.pod.cluster.local', 'A', ['1-2-3-4.any.pod.cluster.local. IN A 1.2.3.4']],
  ['2.6 no address', '1-2-3-400.any.pod.cluster.local', 'A', ['NXDOMAIN', SOA]],
  ['negative: no such service', `nobody.default.${suffix}`, 'A', ['NXDOMAIN', SOA]],
  ['negative: no such namespace', `kubernetes.nowhere.${suffix}`, 'A', ['NXDOMAIN', SOA]],
  ['negative: an empty non-terminal', `default.${suffix}`, 'A', ['NODATA', SOA]],
  ['negative: another type', `kubernetes.default.${suffix}`, 'TXT', ['NODATA', SOA]],
  ['negative: below a service', `x.y.z.kubernetes.default.${suffix}`, 'A', ['NXDOMAIN', SOA]],
  ['negative: an unknown branch', 'x.cluster.local', 'A', ['NXDOMAIN', SOA]],
  [
    'negative: an address of the cluster that nobody has',
    '9.9.42.10.in-addr.arpa',
    'PTR',
    ['NXDOMAIN', SOA.replace('cluster.local.', '42.10.in-addr.arpa.')],
  ],
  ['the zone itself', 'cluster.local', 'SOA', [SOA]],
  ['its name server', 'cluster.local', 'NS', ['cluster.local. IN NS ns.dns.cluster.local.']],
  ['its address', 'ns.dns.cluster.local', 'A', ['ns.dns.cluster.local. IN A 10.3.0.10']],
  ['the world', 'example.com', 'A', ['foreign']],
  ['the world, a look-alike', 'notcluster.local', 'A', ['foreign']],
  ['the world, addresses', '1.1.168.192.in-addr.arpa', 'PTR', ['foreign']],
];

describe('DNS specification', () => {
  it.each(EXAMPLES)('%s: %s %s', (_section, name, type, answer) => {
    expect(lines(zone.lookup({ name, type: TYPE[type] }))).toEqual(answer);
  });

  it('gives the addresses of SRV targets along', () => {
    const found = zone.lookup({ name: `_https._tcp.headless.default.${suffix}`, type: TYPE.SRV });
    expect(found.kind === 'records' && found.additional.map(text)).toContain(
      `my-pet.headless.default.${suffix}. IN A 10.42.0.100`,
    );
  });

  it('comes to the same by changes as anew', () => {
    const a = sharedService({ name: 'a', clusterIPs: ['10.3.0.50'] });
    const b = sharedService({ name: 'b', namespace: 'other', headless: true, hosts: [{ ip: '10.42.0.60' }] });
    const moved = sharedService({ name: 'a', clusterIPs: ['10.3.0.51'] });
    const changing = new ClusterZone({ cluster: CLUSTER, serial: 1, services: [a, b] });
    changing.update([moved], 2);
    const answers = ([name, type]: readonly [string, keyof typeof TYPE]) =>
      lines(changing.lookup({ name, type: TYPE[type] }));
    expect(answers([`a.default.${suffix}`, 'A'])).toEqual([`a.default.${suffix}. IN A 10.3.0.51`]);
    expect(answers(['50.0.3.10.in-addr.arpa', 'PTR'])[0]).toBe('NXDOMAIN');
    expect(answers(['51.0.3.10.in-addr.arpa', 'PTR'])).toHaveLength(1);
    // Its namespace has no Service any more.
    expect(answers([`other.${suffix}`, 'A'])[0]).toBe('NXDOMAIN');
    expect(answers(['60.0.42.10.in-addr.arpa', 'PTR'])[0]).toBe('NXDOMAIN');
    expect(answers(['cluster.local', 'SOA'])[0]).toContain(' 2 7200 ');
  });

  it('ends a loop of ExternalNames', () => {
    const found = zone.lookup({ name: `loop.default.${suffix}`, type: TYPE.A });
    expect(found.kind === 'records' && found.answers.length).toBeLessThan(20);
  });
});
