import { beforeEach, describe, expect, it } from 'vitest';
import { aliasOf, vethName } from '../../../src/agent/network/links.ts';
import { createLinuxNetwork } from '../../../src/agent/network/linux-network.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { SharedNode } from '../../../src/wire/messages.ts';
import { cluster } from '../../support/network/cluster-info.ts';
import { FakeNetCommands, failing } from '../../support/network/fake-commands.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const self: SharedNode = { v: 1, name: 'one', internalIP: '192.168.1.10', podCIDR: '10.42.0.0/24' };
const pod = (uid: string, hostPort?: number): Pod =>
  ({
    metadata: { uid },
    spec: { containers: [{ name: 'c', ports: hostPort ? [{ containerPort: 80, hostPort }] : [] }] },
  }) as unknown as Pod;
/** What a recorded shell runs. */
const programs = (entry: string): string[] =>
  entry
    .split('\n')
    .flatMap((line) => (/ <</.test(line) ? [line.replace(/ <<.*/, '').replaceAll("'", '')] : []));
const podLink = (uid: string, ip: string) => ({
  ifname: vethName(uid),
  mtu: 1500,
  flags: ['UP'],
  master: 'cpod0',
  ifalias: aliasOf(uid, ip),
});

let clock: VirtualClock;
let commands: FakeNetCommands;
const make = () => createLinuxNetwork({ nodeName: 'one', clock, logger: silentLogger, commands }).network;

beforeEach(() => {
  clock = new VirtualClock();
  commands = new FakeNetCommands()
    .on('ip', '[]')
    .on('nsenter', '')
    .on('/bin/sh', '')
    .on('nft', '')
    .on('iptables', '')
    .on('iptables -V', 'iptables v1.8.9 (nf_tables)');
});

describe('LinuxPodNetwork', () => {
  it('lets a pod wait for the pod CIDR, and gives it an address when that comes', async () => {
    const network = make();
    await network.start();
    const attached = network.attach(pod('a'), 77);
    await clock.advance(10_000);
    network.update([self], cluster);
    expect(await attached).toEqual({ ips: ['10.42.0.2'] });
    await network.stop();
  });

  it('tells a pod that waited in vain why', async () => {
    const network = make();
    await network.start();
    const attached = network.attach(pod('a'), 77);
    const outcome = expect(attached).rejects.toMatchObject({
      code: 'NoPodCIDR',
      message: expect.stringContaining('no pod CIDR yet'),
    });
    await clock.advance(31_000);
    await outcome;
    await network.stop();
  });

  it('starts a pod with one process, and those that come meanwhile with one more', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    commands.take();
    await network.attach(pod('a'), 77);
    expect(commands.take().map(programs)).toEqual([['ip -batch -', 'nsenter -t 77 -n ip -batch -']]);
    const uids = ['b', 'c', 'd', 'e', 'f', 'g'];
    await Promise.all(uids.map((uid, index) => network.attach(pod(uid), 80 + index)));
    expect(commands.take().map((entry) => programs(entry).length)).toEqual([2, 2, 5]);
    await Promise.all(uids.map((uid) => network.detach(uid)));
    expect(commands.take().map((entry) => entry.split('\n').slice(1))).toEqual([
      uids.map((uid) => `link del ${vethName(uid)}`),
    ]);
    await network.stop();
  });

  it('lets no pod suffer for another whose namespace is gone', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    commands.on('/bin/sh', (input) => {
      if (input.includes("'-t' '82'")) throw failing('sh', 'nsenter: cannot open /proc/82/ns/net');
      return '';
    });
    const outcomes = await Promise.allSettled(
      ['a', 'b', 'c', 'd', 'e'].map((uid, index) => network.attach(pod(uid), 80 + index)),
    );
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
    ]);
    await network.stop();
  });

  it('replaces what an attempt left that did not get to its end', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    let left = true;
    commands.on('/bin/sh', () => {
      if (left) throw failing('sh', 'RTNETLINK answers: File exists');
      return '';
    });
    commands.on('ip -force', () => {
      left = false;
      return '';
    });
    expect(await network.attach(pod('a'), 77)).toEqual({ ips: ['10.42.0.2'] });
    await network.stop();
  });

  it('adopts its pods from the kernel after a restart, returns the others’ addresses and removes what is left of them', async () => {
    commands.on('ip -json link', JSON.stringify([podLink('a', '10.42.0.7'), podLink('b', '10.42.0.8')]));
    commands.on(
      'nsenter -t 77 -n ip -json',
      JSON.stringify([
        { ifname: 'eth0', addr_info: [{ family: 'inet', local: '10.42.0.7', prefixlen: 32 }] },
      ]),
    );
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.adopt([{ uid: 'a', ips: ['10.42.0.7'], hostPorts: [] }]);
    expect(commands.take()).toContain(`ip -force -batch -\nlink del ${vethName('b')}`);
    expect(await network.attach(pod('a'), 77)).toEqual({ ips: ['10.42.0.7'] });
    expect(commands.take().some((line) => line.includes('link add vethcp'))).toBe(false);
    await network.stop();
  });

  it.each(['before', 'after'])(
    'gives pods that are started again the addresses of before, the pod CIDR being known %s',
    async (when) => {
      const network = make();
      await network.start();
      if (when === 'before') network.update([self], cluster);
      const former = new Map([
        ['web', '10.42.0.3'],
        ['other', '10.42.0.2'],
        ['elsewhere', '10.99.0.4'],
      ]);
      await network.adopt([], former);
      network.update([self], cluster);
      expect(await network.attach(pod('new'), 70)).toEqual({ ips: ['10.42.0.4'] });
      expect(await network.attach(pod('web'), 71)).toEqual({ ips: ['10.42.0.3'] });
      expect(await network.attach(pod('elsewhere'), 72)).toEqual({ ips: ['10.42.0.5'] });
      // Its sandbox died and was taken away.
      await network.detach('web');
      expect(await network.attach(pod('third'), 73)).toEqual({ ips: ['10.42.0.6'] });
      expect(await network.attach(pod('web'), 74)).toEqual({ ips: ['10.42.0.3'] });
      await network.stop();
    },
  );

  it('makes the interface anew for a new sandbox of the same pod, with the address it had', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    const first = await network.attach(pod('a'), 77);
    commands.take();
    expect(await network.attach(pod('a'), 78)).toEqual(first);
    const [removed = '', made = ''] = commands.take();
    expect(removed).toContain(`link del ${vethName('a')}`);
    expect(programs(made)).toEqual(['ip -batch -', 'nsenter -t 78 -n ip -batch -']);
    await network.stop();
  });

  it('leaves nothing of a pod that could not be attached', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    commands.on('/bin/sh', failing('sh', 'nsenter: cannot open /proc/77/ns/net: No such file or directory'));
    commands.take();
    await expect(network.attach(pod('a', 8080), 77)).rejects.toMatchObject({
      code: 'CommandFailed',
      message: expect.stringContaining('/proc/77/ns/net'),
    });
    expect(commands.take()).toContain(`ip -force -batch -\nlink del ${vethName('a')}`);
    commands.on('/bin/sh', '');
    expect(await network.attach(pod('b', 8080), 78)).toEqual({ ips: ['10.42.0.3'] });
    await network.stop();
  });

  it('opens a hostPort before it says that the pod is attached, and closes it with the pod', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    commands.take();
    await network.attach(pod('a', 8080), 77);
    expect(commands.take().at(-1)).toContain(
      'add element ip copepod hostports { tcp . 8080 : 10.42.0.2 . 80 }',
    );
    await network.detach('a');
    await clock.advance(100);
    expect(commands.take().at(-1)).toContain('delete element ip copepod hostports { tcp . 8080 }');
    await network.stop();
  });

  it('tries again when the bridge cannot be made', async () => {
    commands.on('ip -batch', failing('ip', 'RTNETLINK answers: Operation not permitted'));
    const network = make();
    await network.start();
    network.update([self], cluster);
    const attached = network.attach(pod('a'), 77);
    await clock.advance(1_000);
    commands.on('ip -batch', '');
    await clock.advance(6_000);
    expect(await attached).toEqual({ ips: ['10.42.0.2'] });
    await network.stop();
  });
});

describe('the way to other boards', () => {
  const uplink = (mtu: number, address = '192.168.1.10') => ({
    ifname: 'eth0',
    mtu,
    flags: ['UP'],
    address: '02:00:00:00:00:01',
    addr_info: [{ family: 'inet', local: address, prefixlen: 24 }],
  });
  const other = (internalIP: string): SharedNode => ({
    v: 1,
    name: 'two',
    internalIP,
    podCIDR: '10.42.1.0/24',
  });
  const kernel = (links: object[], routes: object[] = [], overlays: object[] = []): void => {
    commands
      .on('ip -json -4 addr', JSON.stringify(links))
      .on('ip -json -4 route', JSON.stringify(routes))
      .on('ip -json -d addr', JSON.stringify(overlays))
      .on('ip -json -4 neigh', '[]')
      .on('bridge', '[]');
  };
  const bridge = (mtu: number) => ({
    ifname: 'cpod0',
    mtu,
    flags: ['UP'],
    address: '0a:58:0a:2a:00:01',
    addr_info: [{ family: 'inet', local: '10.42.0.1', prefixlen: 24 }],
  });
  const overlay = (local: string, mtu: number) => ({
    ifname: 'cpodx0',
    mtu,
    flags: ['UP'],
    address: '0a:59:0a:2a:00:01',
    linkinfo: { info_data: { id: 79, local, port: 8472 } },
    addr_info: [{ family: 'inet', local: '10.42.0.1' }],
  });
  /** The lines of all batches since the last look. */
  const told = (): string[] =>
    commands
      .take()
      .filter((entry) => / -batch -/.test(entry))
      .flatMap((entry) => entry.split('\n').slice(1));

  it('has the uplink’s MTU on a shared segment, and room for a tunnel’s headers across a router', async () => {
    kernel([uplink(1400)]);
    const network = make();
    await network.start();
    commands.take();
    network.update([self, other('192.168.1.11')], cluster);
    await network.settled();
    expect(told()).toEqual([
      'link add cpod0 address 0a:58:0a:2a:00:01 mtu 1400 type bridge forward_delay 0',
      'link set cpod0 up',
      'addr add 10.42.0.1/24 dev cpod0',
      'route replace 10.43.0.0/16 dev cpod0 src 10.42.0.1 proto 79',
      'route replace 10.42.1.0/24 via 192.168.1.11 dev eth0 proto 79',
    ]);

    // The other board moves behind a router.
    kernel(
      [uplink(1400), bridge(1400)],
      [
        { dst: '10.43.0.0/16', dev: 'cpod0' },
        { dst: '10.42.1.0/24', gateway: '192.168.1.11', dev: 'eth0' },
      ],
    );
    network.update([self, other('172.16.0.5')], cluster);
    await network.settled();
    expect(told()).toEqual([
      'link add cpodx0 address 0a:59:0a:2a:00:01 mtu 1350 type vxlan id 79 dstport 8472 local 192.168.1.10 nolearning',
      'addr add 10.42.0.1/32 dev cpodx0',
      'link set cpodx0 up',
      'neigh replace 10.42.1.1 lladdr 0a:59:0a:2a:01:01 dev cpodx0 nud permanent',
      'fdb replace 0a:59:0a:2a:01:01 dev cpodx0 dst 172.16.0.5',
      'link set cpod0 mtu 1350',
      'route replace 10.43.0.0/16 dev cpod0 src 10.42.0.1 proto 79',
      'route replace 10.42.1.0/24 via 10.42.1.1 dev cpodx0 onlink proto 79',
    ]);

    // And back; the tunnel goes, its room is given back.
    kernel(
      [uplink(1400), bridge(1350)],
      [
        { dst: '10.43.0.0/16', dev: 'cpod0' },
        { dst: '10.42.1.0/24', gateway: '10.42.1.1', dev: 'cpodx0' },
      ],
      [overlay('192.168.1.10', 1350)],
    );
    network.update([self, other('192.168.1.12')], cluster);
    await network.settled();
    expect(told()).toEqual([
      'link set cpod0 mtu 1400',
      'route replace 10.43.0.0/16 dev cpod0 src 10.42.0.1 proto 79',
      'route replace 10.42.1.0/24 via 192.168.1.12 dev eth0 proto 79',
      'link del cpodx0',
    ]);
    await network.stop();
  });

  it('makes the tunnel anew when this board has another address', async () => {
    kernel(
      [uplink(1500, '192.168.1.99'), bridge(1450)],
      [
        { dst: '10.43.0.0/16', dev: 'cpod0' },
        { dst: '10.42.1.0/24', gateway: '10.42.1.1', dev: 'cpodx0' },
      ],
      [overlay('192.168.1.10', 1450)],
    );
    const network = make();
    await network.start();
    commands.take();
    network.update([{ ...self, internalIP: '192.168.1.99' }, other('172.16.0.5')], cluster);
    await network.settled();
    expect(told().slice(0, 2)).toEqual([
      'link del cpodx0',
      'link add cpodx0 address 0a:59:0a:2a:00:01 mtu 1450 type vxlan id 79 dstport 8472 local 192.168.1.99 nolearning',
    ]);
    await network.stop();
  });

  it('looks at links and routes only when boards or the cluster changed', async () => {
    kernel([uplink(1500), bridge(1500)], [{ dst: '10.43.0.0/16', dev: 'cpod0' }]);
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    commands.take();
    network.update([{ ...self }], { ...cluster });
    await network.settled();
    expect(commands.take()).toEqual([]);
    await network.stop();
  });
});
