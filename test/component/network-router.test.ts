import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLinuxNetwork } from '../../src/agent/network/linux-network.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { SharedNode, SharedService } from '../../src/wire/messages.ts';
import { cluster } from '../support/network/cluster-info.ts';
import { execute, NamespacedCommands, TestLan, tcp, udp } from '../support/network/namespaces.ts';

// Boards on two segments with a router between them that knows nothing of pods. Real kernel, in network namespaces made
// here; needs root, and says so instead of skipping.
if (process.getuid?.() !== 0)
  throw new Error('test/component/network-router.test.ts needs root: network namespaces');

const nodes: SharedNode[] = [
  { v: 1, name: 'one', internalIP: '192.168.77.1', podCIDR: '10.42.0.0/24' },
  { v: 1, name: 'near', internalIP: '192.168.77.2', podCIDR: '10.42.1.0/24' },
  { v: 1, name: 'far', internalIP: '192.168.78.1', podCIDR: '10.42.2.0/24' },
];

type Board = ReturnType<typeof createLinuxNetwork>;

describe('boards on both sides of a router', () => {
  const here = new TestLan(`cpr${process.pid}a`);
  const there = new TestLan(`cpr${process.pid}b`);
  const lanOf = (name: string): TestLan => (name === 'far' ? there : here);
  const boards = new Map<string, Board>();
  const pids = new Map<string, number>();
  const ips = new Map<string, string>();
  const ip = (name: string): string => ips.get(name) as string;
  const inPod = (name: string): string[] => ['-t', String(pids.get(name)), '-n'];
  const inHost = (name: string): string[] => [`--net=/run/netns/${lanOf(name).namespace(name)}`];
  const run = (name: string, ...command: string[]): Promise<string> =>
    execute('nsenter', [...inHost(name), ...command]);
  /** How many fragments a board has made so far. */
  const fragments = async (name: string): Promise<number> => {
    const [names = '', values = ''] = (await run(name, 'cat', '/proc/net/snmp'))
      .split('\n')
      .filter((line) => line.startsWith('Ip:'));
    return Number(values.split(' ')[names.split(' ').indexOf('FragCreates')]);
  };
  const settle = async (): Promise<void> => {
    for (const { network } of boards.values()) await network.settled();
  };

  beforeAll(async () => {
    await here.start();
    await there.start();
    await here.host('one', '192.168.77.1/24');
    await here.host('near', '192.168.77.2/24');
    await here.host('client', '192.168.77.9/24');
    await here.host('router', '192.168.77.254/24');
    await there.host('far', '192.168.78.1/24');
    await there.connect(here.namespace('router'), 'eth1', '192.168.78.254/24');
    await run('router', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    // A real router has never heard of pods.
    await run('router', 'ip', 'route', 'add', 'blackhole', '10.42.0.0/16');
    for (const { name } of nodes) {
      await run(name, 'ip', 'route', 'add', 'default', 'via', `192.168.${name === 'far' ? 78 : 77}.254`);
      await run(name, 'iptables', '-P', 'FORWARD', 'DROP');
      const commands = new NamespacedCommands(lanOf(name).namespace(name));
      const board = createLinuxNetwork({
        nodeName: name,
        clock: new SystemClock(),
        logger: silentLogger,
        commands,
      });
      boards.set(name, board);
      await board.network.start();
      await board.proxy.start();
      board.network.update(nodes, cluster);
      await board.network.settled();
      const pid = await here.pod(`pod-${name}`, 80, 53);
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'default', uid: name },
        spec: { containers: [] },
      };
      pids.set(name, pid);
      ips.set(name, (await board.network.attach(pod as Pod, pid)).ips[0] as string);
    }
    const service: SharedService = {
      v: 1,
      namespace: 'default',
      name: 'web',
      type: 'NodePort',
      clusterIPs: ['10.43.0.20'],
      ports: [
        {
          name: '',
          protocol: 'TCP',
          port: 80,
          nodePort: 30080,
          endpoints: [{ ip: ip('far'), port: 80, node: 'far' }],
        },
      ],
    };
    for (const { proxy } of boards.values()) await proxy.apply([service]);
    await settle();
  });

  afterAll(async () => {
    for (const { network, proxy } of boards.values()) {
      await proxy.stop();
      await network.stop();
    }
    await there.stop();
    await here.stop();
  });

  it('joins all pods without NAT', async () => {
    for (const from of ['one', 'near', 'far']) {
      for (const to of ['one', 'near', 'far']) {
        if (from === to) continue;
        expect(await tcp(inPod(from), ip(to), 80)).toEqual({ pod: `pod-${to}`, from: ip(from) });
        expect(await udp(inPod(from), ip(to), 53)).toEqual({ pod: `pod-${to}`, from: ip(from) });
      }
    }
  });

  it('tunnels only what has to be', async () => {
    expect(await run('one', 'ip', 'route', 'get', ip('near'))).toContain('via 192.168.77.2 dev eth0');
    expect(await run('one', 'ip', 'route', 'get', ip('far'))).toContain('dev cpodx0');
  });

  it('lets boards reach pods, and answers a NodePort by a pod on the other side', async () => {
    expect(await tcp(inHost('one'), ip('far'), 80)).toEqual({ pod: 'pod-far', from: '10.42.0.1' });
    expect((await tcp(inHost('far'), ip('one'), 80)).pod).toBe('pod-one');
    expect((await tcp(inPod('near'), '10.43.0.20', 80)).pod).toBe('pod-far');
    expect((await tcp(inHost('one'), '10.43.0.20', 80)).pod).toBe('pod-far');
    expect((await tcp(inHost('client'), '192.168.77.1', 30080)).pod).toBe('pod-far');
  });

  it('leaves room for the outer headers, so that full packets pass', async () => {
    const link = await execute('nsenter', [...inPod('one'), 'ip', 'link', 'show', 'eth0']);
    expect(link).toContain('mtu 1450');
    // 1450 less the headers of IP and ICMP.
    const ping = ['busybox', 'ping', '-c1', '-W2', '-s', '1422', ip('far')];
    expect(await execute('nsenter', [...inPod('one'), ...ping])).toContain(' 0% packet loss');
    expect(await fragments('one')).toBe(0);
  });

  it('changes nothing when nothing changed', async () => {
    const before = await run('one', 'ip', '-d', 'link', 'show', 'cpodx0');
    await boards.get('one')?.network.verify();
    await settle();
    expect(await run('one', 'ip', '-d', 'link', 'show', 'cpodx0')).toBe(before);
  });

  it('takes the tunnel down when nobody is behind the router any more', async () => {
    for (const { network } of boards.values()) network.update(nodes.slice(0, 2), cluster);
    await settle();
    expect(await run('one', 'ip', 'link')).not.toContain('cpodx0');
    expect(await run('one', 'ip', 'route')).not.toContain('10.42.2.0');
    expect((await tcp(inPod('one'), ip('near'), 80)).pod).toBe('pod-near');
    for (const { network } of boards.values()) network.update(nodes, cluster);
    await settle();
    expect((await tcp(inPod('one'), ip('far'), 80)).pod).toBe('pod-far');
  });

  it('leaves nothing behind', async () => {
    for (const { network } of boards.values()) await network.cleanup();
    for (const { name } of nodes) {
      expect(await run(name, 'ip', 'link')).not.toMatch(/cpod|vethcp/);
      expect(await run(name, 'ip', 'route')).not.toMatch(/10\.4[23]\./);
    }
  });
});
