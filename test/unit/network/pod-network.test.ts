import { beforeEach, describe, expect, it } from 'vitest';
import { aliasOf, vethName } from '../../../src/agent/network/links.ts';
import { createLinuxNetwork } from '../../../src/agent/network/linux-network.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import type { ClusterInfo, SharedNode } from '../../../src/wire/messages.ts';
import { FakeNetCommands, failing } from '../../support/network/fake-commands.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const cluster: ClusterInfo = {
  v: 1,
  clusterCidr: '10.42.0.0/16',
  serviceCidr: '10.43.0.0/16',
  clusterDns: '10.43.0.10',
  clusterDomain: 'cluster.local',
};
const self: SharedNode = { v: 1, name: 'one', internalIP: '192.168.1.10', podCIDR: '10.42.0.0/24' };
const pod = (uid: string, hostPort?: number): Pod =>
  ({
    metadata: { uid },
    spec: { containers: [{ name: 'c', ports: hostPort ? [{ containerPort: 80, hostPort }] : [] }] },
  }) as unknown as Pod;
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

  it('starts a pod with two processes', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    commands.take();
    await network.attach(pod('a'), 77);
    expect(commands.take().map((entry) => entry.split('\n')[0])).toEqual([
      'ip -batch -',
      'nsenter -t 77 -n ip -batch -',
    ]);
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
    expect(commands.take()).toContain(`ip link del ${vethName('b')}`);
    expect(await network.attach(pod('a'), 77)).toEqual({ ips: ['10.42.0.7'] });
    expect(commands.take().some((line) => line.includes('link add vethcp'))).toBe(false);
    await network.stop();
  });

  it('makes the interface anew for a new sandbox of the same pod, with the address it had', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    const first = await network.attach(pod('a'), 77);
    commands.take();
    expect(await network.attach(pod('a'), 78)).toEqual(first);
    expect(commands.take().map((line) => line.split('\n')[0])).toEqual([
      `ip link del ${vethName('a')}`,
      'ip -batch -',
      'nsenter -t 78 -n ip -batch -',
    ]);
    await network.stop();
  });

  it('leaves nothing of a pod that could not be attached', async () => {
    const network = make();
    await network.start();
    network.update([self], cluster);
    await network.settled();
    commands.on('nsenter', failing('nsenter', 'cannot open /proc/77/ns/net: No such file or directory'));
    commands.take();
    await expect(network.attach(pod('a', 8080), 77)).rejects.toMatchObject({
      code: 'CommandFailed',
      message: expect.stringContaining('/proc/77/ns/net'),
    });
    expect(commands.take()).toContain(`ip link del ${vethName('a')}`);
    commands.on('nsenter', '');
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
