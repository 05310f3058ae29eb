import { describe, expect, it } from 'vitest';
import { attachCommands } from '../../../src/agent/network/attach.ts';
import { planBridge } from '../../../src/agent/network/bridge.ts';
import { acceptScript } from '../../../src/agent/network/forward.ts';
import { claimHostPorts, hostPortsOf } from '../../../src/agent/network/host-ports.ts';
import { aliasOf, type Link, macOf, parseLinks, vethName } from '../../../src/agent/network/links.ts';
import { planOverlay } from '../../../src/agent/network/overlay.ts';
import { planRoutes } from '../../../src/agent/network/routes.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';

const bridge: Link = {
  name: 'cpod0',
  mtu: 1500,
  mac: '0a:58:0a:2a:00:01',
  up: true,
  addresses: [{ address: '10.42.0.1', length: 24 }],
};
const eth0: Link = {
  name: 'eth0',
  mtu: 1400,
  mac: 'b8:27:eb:00:00:01',
  up: true,
  addresses: [{ address: '192.168.1.10', length: 24 }],
};

describe('attachCommands', () => {
  it('is two runs: one in the board’s namespace, one in the pod’s', () => {
    const commands = attachCommands([
      { podUid: 'u-1', pid: 77, ip: '10.42.0.5', gateway: '10.42.0.1', mtu: 1400 },
    ]);
    const veth = vethName('u-1');
    expect(commands.map(({ file, args }) => [file, ...args].join(' '))).toEqual([
      'ip -batch -',
      'nsenter -t 77 -n ip -batch -',
    ]);
    expect(commands.map(({ stdin }) => stdin?.trimEnd().split('\n'))).toEqual([
      [
        `link add ${veth} mtu 1400 master cpod0 up type veth peer name eth0 address 0a:58:0a:2a:00:05 mtu 1400 netns 77`,
        `link set ${veth} alias copepod:u-1:10.42.0.5 type bridge_slave hairpin on`,
      ],
      [
        'link set lo up',
        'addr add 10.42.0.5/32 dev eth0',
        'link set eth0 up',
        'route add 10.42.0.1 dev eth0 scope link',
        'route add default via 10.42.0.1 dev eth0',
      ],
    ]);
  });

  it('names interfaces within the kernel’s 15 characters, differently for each pod', () => {
    const names = Array.from({ length: 500 }, (_, index) => vethName(`uid-${index}`));
    expect(new Set(names).size).toBe(500);
    expect(names.every((name) => /^veth\w{1,11}$/.test(name))).toBe(true);
    expect(macOf('10.42.255.1')).toBe('0a:58:0a:2a:ff:01');
  });

  it('reads its own alias back from iproute2', () => {
    const json = JSON.stringify([
      {},
      { ifname: 'vethcp1', mtu: 1500, flags: ['UP'], master: 'cpod0', ifalias: aliasOf('u-1', '10.42.0.5') },
      { ifname: 'veth9', mtu: 1500, flags: [], master: 'docker0', ifalias: 'of another' },
    ]);
    expect(parseLinks(json).map(({ name, pod }) => ({ name, pod }))).toEqual([
      { name: 'vethcp1', pod: { uid: 'u-1', ip: '10.42.0.5' } },
      { name: 'veth9', pod: undefined },
    ]);
    expect(parseLinks('')).toEqual([]);
  });
});

describe('planBridge', () => {
  const wanted = {
    gateway: '10.42.0.1',
    prefixLength: 24,
    mtu: 1500,
    serviceCidr: '10.43.0.0/16',
    serviceRoute: true,
  };

  it('makes the bridge with its address and the route of Services', () => {
    expect(planBridge(undefined, { ...wanted, serviceRoute: false }).batch).toEqual([
      'link add cpod0 address 0a:58:0a:2a:00:01 mtu 1500 type bridge forward_delay 0',
      'link set cpod0 up',
      'addr add 10.42.0.1/24 dev cpod0',
      'route replace 10.43.0.0/16 dev cpod0 src 10.42.0.1 proto 79',
    ]);
  });

  it('does nothing when everything is as it shall be', () => {
    expect(planBridge(bridge, wanted).batch).toEqual([]);
  });

  it('moves to another pod CIDR and MTU', () => {
    expect(planBridge(bridge, { ...wanted, gateway: '10.42.7.1', mtu: 1400 }).batch).toEqual([
      'link set cpod0 address 0a:58:0a:2a:07:01',
      'link set cpod0 mtu 1400',
      'addr add 10.42.7.1/24 dev cpod0',
      'addr del 10.42.0.1/24 dev cpod0',
      'route replace 10.43.0.0/16 dev cpod0 src 10.42.7.1 proto 79',
    ]);
  });
});

describe('planRoutes', () => {
  const node = (name: string, internalIP: string, podCIDR: string) => ({
    v: 1 as const,
    name,
    internalIP,
    podCIDR,
  });
  const nodes = [
    node('self', '192.168.1.10', '10.42.0.0/24'),
    node('near', '192.168.1.11', '10.42.1.0/24'),
    node('far', '172.16.0.4', '10.42.2.0/24'),
    node('fresh', '192.168.1.12', ''),
  ];

  it('routes to boards on the segment and names those that are not', () => {
    const plan = planRoutes({ nodes, nodeName: 'self', links: [bridge, eth0], present: [] });
    expect(plan.batch).toEqual(['route replace 10.42.1.0/24 via 192.168.1.11 dev eth0 proto 79']);
    expect(plan.devices).toEqual(['eth0']);
    expect(plan.offLink.map(({ name }) => name)).toEqual(['far']);
  });

  it('leads to boards behind a router by the overlay', () => {
    const plan = planRoutes({ nodes, nodeName: 'self', links: [bridge, eth0], present: [], overlay: true });
    expect(plan.batch).toContain('route replace 10.42.2.0/24 via 10.42.2.1 dev cpodx0 onlink proto 79');
  });

  it('changes only what differs and removes what nobody has any more', () => {
    const present = [
      { cidr: '10.42.1.0/24', via: '192.168.1.11', device: 'eth0' },
      { cidr: '10.42.9.0/24', via: '192.168.1.19', device: 'eth0' },
    ];
    const plan = planRoutes({ nodes, nodeName: 'self', links: [bridge, eth0], present });
    expect(plan.batch).toEqual(['route del 10.42.9.0/24 via 192.168.1.19 proto 79']);
  });
});

describe('planOverlay', () => {
  const far = { v: 1 as const, name: 'far', internalIP: '172.16.0.4', podCIDR: '10.42.2.0/24' };
  const wish = { local: '192.168.1.10', gateway: '10.42.0.1', mtu: 1450, nodes: [far] };
  const present = {
    mac: '0a:59:0a:2a:00:01',
    mtu: 1450,
    up: true,
    id: 79,
    port: 8472,
    local: '192.168.1.10',
    addresses: ['10.42.0.1'],
    fdb: new Map([['0a:59:0a:2a:02:01', '172.16.0.4']]),
    neighbours: new Map([['10.42.2.1', '0a:59:0a:2a:02:01']]),
  };

  it('makes the device and tells it where the boards are', () => {
    expect(planOverlay(undefined, wish)).toEqual({
      links: [
        'link add cpodx0 address 0a:59:0a:2a:00:01 mtu 1450 type vxlan id 79 dstport 8472 local 192.168.1.10 nolearning',
        'addr add 10.42.0.1/32 dev cpodx0',
        'link set cpodx0 up',
        'neigh replace 10.42.2.1 lladdr 0a:59:0a:2a:02:01 dev cpodx0 nud permanent',
      ],
      fdb: ['fdb replace 0a:59:0a:2a:02:01 dev cpodx0 dst 172.16.0.4'],
    });
  });

  it('does nothing when everything is as it shall be', () => {
    expect(planOverlay(present, wish)).toEqual({ links: [], fdb: [] });
  });

  it('follows a board to another address and forgets one that is gone', () => {
    const moved = { ...wish, nodes: [{ ...far, internalIP: '172.16.0.9' }] };
    expect(planOverlay(present, moved).fdb).toEqual([
      'fdb del 0a:59:0a:2a:02:01 dev cpodx0 dst 172.16.0.4',
      'fdb replace 0a:59:0a:2a:02:01 dev cpodx0 dst 172.16.0.9',
    ]);
    expect(planOverlay(present, { ...wish, nodes: [] })).toEqual({
      links: ['neigh del 10.42.2.1 dev cpodx0'],
      fdb: ['fdb del 0a:59:0a:2a:02:01 dev cpodx0 dst 172.16.0.4'],
    });
  });

  it('is made anew when this board has another address, and goes when nobody needs it', () => {
    const { links } = planOverlay(present, { ...wish, local: '192.168.1.11' });
    expect(links.slice(0, 2)).toEqual(['link del cpodx0', expect.stringContaining('local 192.168.1.11')]);
    expect(planOverlay(present, undefined).links).toEqual(['link del cpodx0']);
    expect(planOverlay(undefined, undefined)).toEqual({ links: [], fdb: [] });
  });
});

describe('hostPorts', () => {
  const pod = (ports: object[], initContainers: object[] = []): Pod =>
    ({ metadata: {}, spec: { containers: [{ name: 'c', ports }], initContainers } }) as unknown as Pod;

  it('come from containers and sidecars, with TCP and every address as defaults', () => {
    const sidecar = {
      name: 's',
      restartPolicy: 'Always',
      ports: [{ containerPort: 53, hostPort: 53, protocol: 'UDP' }],
    };
    const once = { name: 'i', ports: [{ containerPort: 1, hostPort: 1 }] };
    const ports = [{ containerPort: 80, hostPort: 8080, hostIP: '0.0.0.0' }, { containerPort: 81 }];
    expect(hostPortsOf(pod(ports, [sidecar, once]))).toEqual([
      { hostPort: 53, containerPort: 53, protocol: 'UDP' },
      { hostPort: 8080, containerPort: 80, protocol: 'TCP' },
    ]);
    expect(() => hostPortsOf(pod([{ containerPort: 80, hostPort: 80, hostIP: 'fe80::1' }]))).toThrow(
      /only IPv4/,
    );
  });

  it('collide by port and protocol unless both name different addresses', () => {
    const taken = new Map([
      [
        'a',
        { hostPorts: [{ hostPort: 80, containerPort: 80, protocol: 'TCP', hostIP: '10.0.0.1' }] as const },
      ],
    ]);
    const claim = (fields: object) => () =>
      claimHostPorts('b', [{ hostPort: 80, containerPort: 1, protocol: 'TCP', ...fields }], taken);
    expect(claim({})).toThrow(/80\/TCP is taken/);
    expect(claim({ hostIP: '10.0.0.1' })).toThrow();
    expect(claim({ hostIP: '10.0.0.2' })).not.toThrow();
    expect(claim({ protocol: 'UDP' })).not.toThrow();
    expect(() =>
      claimHostPorts('a', [{ hostPort: 80, containerPort: 80, protocol: 'TCP' }], taken),
    ).not.toThrow();
  });
});

describe('acceptScript', () => {
  it('fills our chain and enters it once', () => {
    expect(acceptScript('10.42.0.0/16', true).split('\n')).toContain('-I FORWARD -j COPEPOD-FORWARD');
    expect(acceptScript('10.42.0.0/16', false)).not.toContain('-I FORWARD');
    expect(acceptScript(undefined, false)).not.toContain('-s ');
  });
});
