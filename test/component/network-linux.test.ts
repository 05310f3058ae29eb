import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLinuxNetwork } from '../../src/agent/network/linux-network.ts';
import { networkPrerequisites } from '../../src/agent/network/prerequisites.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { SharedNode, SharedService } from '../../src/wire/messages.ts';
import { cluster } from '../support/network/cluster-info.ts';
import { execute, NamespacedCommands, TestLan, tcp, udp } from '../support/network/namespaces.ts';

// Real kernel, real nft and iptables, in network namespaces made here. Needs root, and says so instead of skipping.
if (process.getuid?.() !== 0)
  throw new Error('test/component/network-linux.test.ts needs root: network namespaces');

const nodes: SharedNode[] = [
  { v: 1, name: 'one', internalIP: '192.168.77.1', podCIDR: '10.42.0.0/24' },
  { v: 1, name: 'two', internalIP: '192.168.77.2', podCIDR: '10.42.1.0/24' },
];
const podOf = (uid: string, ports: { hostPort: number; containerPort: number }[] = []): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: uid, namespace: 'default', uid },
    spec: { containers: [{ name: 'c', image: 'i', ports }] },
  }) as Pod;

type Board = ReturnType<typeof createLinuxNetwork> & { commands: NamespacedCommands };
const BRIDGE_NF = '/proc/sys/net/bridge/bridge-nf-call-iptables';
// Docker turns br_netfilter on in some versions; everything has to work either way.
const MODES = existsSync(BRIDGE_NF) ? [0, 1] : [0];

describe.each(MODES)('pod network and Services on Linux, bridge-nf-call-iptables=%i', (bridgeNf) => {
  const lan = new TestLan(`cpt${process.pid}n${bridgeNf}`);
  const boards = new Map<string, Board>();
  const pids = new Map<string, number>();
  const ips = new Map<string, string>();

  const board = (name: string): Board => boards.get(name) as Board;
  const ip = (pod: string): string => ips.get(pod) as string;
  const inHost = (name: string): string[] => [`--net=/run/netns/${lan.namespace(name)}`];
  const inPod = (name: string): string[] => ['-t', String(pids.get(name)), '-n'];
  const endpoint = (pod: string, node: string, port = 80) => ({ ip: ip(pod), port, node });
  const service = (
    fields: Partial<SharedService> & Pick<SharedService, 'name' | 'ports'>,
  ): SharedService => ({
    v: 1,
    namespace: 'default',
    type: 'ClusterIP',
    clusterIPs: [],
    ...fields,
  });
  const start = (name: string): Board => {
    const commands = new NamespacedCommands(lan.namespace(name));
    const made = createLinuxNetwork({
      nodeName: name,
      clock: new SystemClock(),
      logger: silentLogger,
      commands,
      proxyMode: 'nftables',
      ...(name === 'one' ? { localApiPort: 6443 } : {}),
    });
    return { ...made, commands };
  };
  const many = async (
    count: number,
    ask: () => Promise<{ pod: string; from: string }>,
  ): Promise<string[]> => {
    const pods: string[] = [];
    for (let turn = 0; turn < count; turn += 1) pods.push((await ask()).pod);
    return pods;
  };

  beforeAll(async () => {
    await lan.start();
    await lan.host('one', '192.168.77.1/24');
    await lan.host('two', '192.168.77.2/24');
    await lan.host('client', '192.168.77.9/24');
    await lan.host('stranger', '192.168.77.20/24');
    for (const name of ['one', 'two']) {
      // What Docker does to a board.
      await lan.in(name, 'iptables', '-P', 'FORWARD', 'DROP');
      // A packet passes both tables where both are used.
      if (name === 'two') await lan.in(name, 'iptables-legacy', '-P', 'FORWARD', 'DROP');
      if (existsSync(BRIDGE_NF)) await lan.in(name, 'sh', '-c', `echo ${bridgeNf} > ${BRIDGE_NF}`);
      boards.set(name, start(name));
      await board(name).network.start();
      await board(name).proxy.start();
      board(name).network.update(nodes, cluster);
    }
    for (const [name, node] of [
      ['a', 'one'],
      ['b', 'one'],
      ['c', 'two'],
    ] as const) {
      pids.set(name, await lan.pod(name, 80, 53));
      const hostPorts = name === 'a' ? [{ hostPort: 8080, containerPort: 80 }] : [];
      const { ips: given } = await board(node).network.attach(
        podOf(name, hostPorts),
        pids.get(name) as number,
      );
      ips.set(name, given[0] as string);
    }
    const services = [
      service({
        name: 'web',
        type: 'NodePort',
        clusterIPs: ['10.43.0.20'],
        ports: [
          {
            name: 'http',
            protocol: 'TCP',
            port: 80,
            nodePort: 30080,
            endpoints: [endpoint('a', 'one'), endpoint('b', 'one'), endpoint('c', 'two')],
          },
          { name: 'dns', protocol: 'UDP', port: 53, endpoints: [endpoint('c', 'two', 53)] },
        ],
      }),
      service({
        name: 'self',
        clusterIPs: ['10.43.0.21'],
        ports: [{ name: '', protocol: 'TCP', port: 80, endpoints: [endpoint('a', 'one')] }],
      }),
      service({
        name: 'sticky',
        clusterIPs: ['10.43.0.22'],
        sessionAffinitySeconds: 10800,
        ports: [
          { name: '', protocol: 'TCP', port: 80, endpoints: [endpoint('a', 'one'), endpoint('b', 'one')] },
        ],
      }),
      service({
        name: 'local',
        type: 'NodePort',
        clusterIPs: ['10.43.0.23'],
        externalTrafficPolicy: 'Local',
        internalTrafficPolicy: 'Local',
        ports: [
          {
            name: '',
            protocol: 'TCP',
            port: 80,
            nodePort: 30081,
            endpoints: [endpoint('b', 'one'), endpoint('c', 'two')],
          },
        ],
      }),
      service({
        name: 'only-two',
        type: 'NodePort',
        clusterIPs: ['10.43.0.24'],
        externalTrafficPolicy: 'Local',
        ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 30082, endpoints: [endpoint('c', 'two')] }],
      }),
      service({
        name: 'empty',
        type: 'NodePort',
        clusterIPs: ['10.43.0.25'],
        ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 30083, endpoints: [] }],
      }),
      service({
        name: 'external',
        clusterIPs: ['10.43.0.26'],
        externalIPs: ['192.168.88.88'],
        ports: [{ name: '', protocol: 'TCP', port: 80, endpoints: [endpoint('c', 'two')] }],
      }),
      service({
        name: 'guarded',
        type: 'LoadBalancer',
        clusterIPs: ['10.43.0.27'],
        balancerIPs: ['192.168.77.1', '192.168.77.2'],
        sourceRanges: ['192.168.77.8/29'],
        ports: [
          { name: '', protocol: 'TCP', port: 8443, nodePort: 30084, endpoints: [endpoint('c', 'two')] },
        ],
      }),
      service({
        name: 'draining',
        type: 'NodePort',
        clusterIPs: ['10.43.0.28'],
        externalTrafficPolicy: 'Local',
        ports: [
          {
            name: '',
            protocol: 'TCP',
            port: 80,
            nodePort: 30085,
            endpoints: [{ ...endpoint('b', 'one'), leaving: true as const }, endpoint('c', 'two')],
          },
        ],
      }),
      service({
        name: 'near',
        clusterIPs: ['10.43.0.29'],
        ports: [
          {
            name: '',
            protocol: 'TCP',
            port: 80,
            endpoints: [
              { ...endpoint('a', 'one'), nodes: ['one'] },
              { ...endpoint('c', 'two'), nodes: ['two'] },
            ],
          },
        ],
      }),
      service({
        name: 'wide',
        clusterIPs: ['10.43.0.30'],
        ports: [
          {
            name: '',
            protocol: 'TCP',
            port: 80,
            // More than there are shared chains for; one of them answers.
            endpoints: Array.from({ length: 20 }, () => endpoint('a', 'one')).map((one, index) =>
              index === 0
                ? one
                : { ...one, ip: ip(index % 2 === 0 ? 'b' : 'c'), port: index < 3 ? 80 : 9000 + index },
            ),
          },
        ],
      }),
      service({
        name: 'kubernetes',
        clusterIPs: ['10.43.0.1'],
        ports: [{ name: 'https', protocol: 'TCP', port: 443, endpoints: [] }],
      }),
    ];
    for (const { proxy, network } of boards.values()) {
      proxy.apply(services);
      await network.settled();
    }
    await lan.in('client', 'ip', 'route', 'add', '192.168.88.88', 'via', '192.168.77.1');
  });

  afterAll(async () => {
    for (const { network, proxy } of boards.values()) {
      await proxy.stop();
      await network.stop();
    }
    await lan.stop();
  });

  it('meets its own prerequisites', async () => {
    const findings = await networkPrerequisites(board('one').commands);
    expect(findings.filter((finding) => finding.severity !== 'ok')).toEqual([]);
    expect(findings.map((finding) => finding.subject)).toEqual(['ip', 'nsenter', 'nft', 'nftables']);
  });

  it('joins pods of one board, pods of two boards, boards and pods, all without NAT', async () => {
    expect(ip('a')).toBe('10.42.0.2');
    expect(await tcp(inPod('a'), ip('b'), 80)).toEqual({ pod: 'b', from: ip('a') });
    expect(await tcp(inPod('a'), ip('c'), 80)).toEqual({ pod: 'c', from: ip('a') });
    expect(await tcp(inPod('c'), ip('a'), 80)).toEqual({ pod: 'a', from: ip('c') });
    expect(await tcp(inHost('one'), ip('b'), 80)).toEqual({ pod: 'b', from: '10.42.0.1' });
    expect((await tcp(inHost('one'), ip('c'), 80)).pod).toBe('c');
    expect(await udp(inPod('a'), ip('c'), 53)).toEqual({ pod: 'c', from: ip('a') });
  });

  it('masquerades what leaves the cluster', async () => {
    const server = await lan.pod('outside', 8888);
    // The outside server answers in the client's namespace: reached there by a second pair.
    await lan.in(
      'client',
      'ip',
      'link',
      'add',
      'srv',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      String(server),
    );
    await lan.in(
      'client',
      'sh',
      '-c',
      'ip addr add 172.20.0.1/24 dev srv; ip link set srv up; echo 1 > /proc/sys/net/ipv4/ip_forward',
    );
    await execute('nsenter', [
      '-t',
      String(server),
      '-n',
      'sh',
      '-c',
      'ip addr add 172.20.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 172.20.0.1',
    ]);
    await lan.in('one', 'ip', 'route', 'add', '172.20.0.0/24', 'via', '192.168.77.9');
    expect(await tcp(inPod('a'), '172.20.0.2', 8888)).toEqual({ pod: 'outside', from: '192.168.77.1' });
  });

  it('spreads a ClusterIP over its endpoints, from a pod and from the board', async () => {
    const fromPod = await many(24, () => tcp(inPod('b'), '10.43.0.20', 80));
    expect(new Set(fromPod)).toEqual(new Set(['a', 'b', 'c']));
    const fromBoard = await many(24, () => tcp(inHost('two'), '10.43.0.20', 80));
    expect(new Set(fromBoard)).toEqual(new Set(['a', 'b', 'c']));
    expect((await udp(inPod('a'), '10.43.0.20', 53)).pod).toBe('c');
  });

  it('keeps the source address of a pod behind a ClusterIP', async () => {
    expect(await tcp(inPod('b'), '10.43.0.21', 80)).toEqual({ pod: 'a', from: ip('b') });
    expect(await tcp(inPod('c'), '10.43.0.21', 80)).toEqual({ pod: 'a', from: ip('c') });
  });

  it('lets a pod reach itself through its Service', async () => {
    expect(await tcp(inPod('a'), '10.43.0.21', 80)).toEqual({ pod: 'a', from: '10.42.0.1' });
  });

  it('answers on the NodePort of every board, from outside, from pods, from the board and its loopback', async () => {
    for (const address of ['192.168.77.1', '192.168.77.2']) {
      const fromClient = await many(24, () => tcp(inHost('client'), address, 30080));
      expect(new Set(fromClient)).toEqual(new Set(['a', 'b', 'c']));
      expect((await tcp(inPod('a'), address, 30080)).pod).toMatch(/[abc]/);
    }
    const fromBoard = await many(12, () => tcp(inHost('one'), '192.168.77.1', 30080));
    expect(fromBoard.every((pod) => ['a', 'b', 'c'].includes(pod))).toBe(true);
    const fromLoopback = await many(24, () => tcp(inHost('one'), '127.0.0.1', 30080));
    expect(new Set(fromLoopback)).toEqual(new Set(['a', 'b', 'c']));
  });

  it('opens a hostPort with the caller’s address kept', async () => {
    expect(await tcp(inHost('client'), '192.168.77.1', 8080)).toEqual({ pod: 'a', from: '192.168.77.9' });
    expect((await tcp(inHost('one'), '127.0.0.1', 8080)).pod).toBe('a');
    expect((await tcp(inPod('a'), '192.168.77.1', 8080)).pod).toBe('a');
    expect((await tcp(inPod('b'), '192.168.77.1', 8080)).from).toBe(ip('b'));
  });

  it('keeps a client with its endpoint under session affinity', async () => {
    const pods = await many(12, () => tcp(inHost('two'), '10.43.0.22', 80));
    expect(new Set(pods).size).toBe(1);
  });

  it('obeys traffic policy Local', async () => {
    expect(new Set(await many(8, () => tcp(inPod('a'), '10.43.0.23', 80)))).toEqual(new Set(['b']));
    // The source address is what the policy is wanted for.
    expect(await tcp(inHost('client'), '192.168.77.1', 30081)).toEqual({ pod: 'b', from: '192.168.77.9' });
    expect(await tcp(inHost('client'), '192.168.77.2', 30081)).toEqual({ pod: 'c', from: '192.168.77.9' });
    await expect(tcp(inHost('client'), '192.168.77.1', 30082)).rejects.toThrow();
    // From inside the cluster the policy does not bind.
    expect((await tcp(inPod('a'), '192.168.77.1', 30082)).pod).toBe('c');
    expect((await tcp(inHost('one'), '192.168.77.1', 30082)).pod).toBe('c');
  });

  it('lets those to a load balancer’s address that its Service names, and all to the node port', async () => {
    const addresses = ['192.168.77.1', '192.168.77.2'];
    for (const address of addresses) expect((await tcp(inHost('client'), address, 8443)).pod).toBe('c');
    await Promise.all([
      ...addresses.map((address) =>
        expect(tcp(inHost('stranger'), address, 8443)).rejects.toThrow(/timed out/),
      ),
      expect(tcp(inPod('a'), '192.168.77.1', 8443)).rejects.toThrow(/timed out/),
    ]);
    expect((await tcp(inHost('stranger'), '192.168.77.1', 30084)).pod).toBe('c');
    expect((await tcp(inPod('a'), '10.43.0.27', 8443)).pod).toBe('c');
  });

  it('uses what terminates and still serves where the board has nothing else', async () => {
    expect(await tcp(inHost('client'), '192.168.77.1', 30085)).toEqual({ pod: 'b', from: '192.168.77.9' });
    expect((await tcp(inPod('a'), '10.43.0.28', 80)).pod).toBe('c');
  });

  it('prefers the endpoint that is meant for the board', async () => {
    expect(new Set(await many(8, () => tcp(inPod('b'), '10.43.0.29', 80)))).toEqual(new Set(['a']));
    expect(new Set(await many(8, () => tcp(inPod('c'), '10.43.0.29', 80)))).toEqual(new Set(['c']));
  });

  it('reaches a Service with many endpoints', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, () => tcp(inPod('b'), '10.43.0.30', 80).catch(() => undefined)),
    );
    expect(answers.some((answer) => answer !== undefined)).toBe(true);
    expect(answers.some((answer) => answer === undefined)).toBe(true);
  });

  it('leads the API’s address to the loopback while the API has no endpoint', async () => {
    await lan.serveIn('one', 'api', 6443);
    expect(await tcp(inPod('a'), '10.43.0.1', 443)).toEqual({ pod: 'api', from: ip('a') });
    expect((await tcp(inHost('one'), '10.43.0.1', 443)).pod).toBe('api');
    await expect(tcp(inPod('c'), '10.43.0.1', 443)).rejects.toThrow(/refused/);
  });

  it('answers on external addresses', async () => {
    expect((await tcp(inHost('client'), '192.168.88.88', 80)).pod).toBe('c');
  });

  it('leads the cluster’s DNS address to the board’s own loopback, past a hostPort 53', async () => {
    await lan.serveIn('one', 'dns', 10_053);
    const pid = await lan.pod('resolver', 53);
    await board('one').network.attach(podOf('resolver', [{ hostPort: 53, containerPort: 53 }]), pid);
    board('one').proxy.serveDns({ address: cluster.clusterDns, port: 10_053 });
    await board('one').network.settled();
    expect(await tcp(inPod('a'), cluster.clusterDns, 53)).toEqual({ pod: 'dns', from: ip('a') });
    expect(await udp(inPod('a'), cluster.clusterDns, 53)).toEqual({ pod: 'dns', from: ip('a') });
    expect((await tcp(inHost('one'), cluster.clusterDns, 53)).pod).toBe('dns');
    expect((await udp(inHost('one'), cluster.clusterDns, 53)).pod).toBe('dns');
    expect((await tcp(inHost('client'), '192.168.77.1', 53)).pod).toBe('resolver');
    await board('one').network.detach('resolver');
  });

  it('refuses at once where there is no endpoint', async () => {
    for (const [enter, address, port] of [
      [inPod('a'), '10.43.0.25', 80],
      [inHost('one'), '10.43.0.25', 80],
      [inHost('client'), '192.168.77.1', 30083],
      [inPod('a'), '10.43.0.20', 8081],
      [inPod('a'), '10.43.99.99', 80],
    ] as const) {
      await expect(tcp(enter, address, port)).rejects.toThrow(/refused/);
    }
  });

  it('keeps loopback services of the board from the wire', async () => {
    await lan.serveIn('one', 'loopback', 7779);
    expect((await tcp(inHost('one'), '127.0.0.1', 7779)).pod).toBe('loopback');
    // A pod that sends packets for 127.0.0.1 over its wire, as CVE-2020-8558 did.
    const pid = await lan.pod('attacker', 80);
    const enter = ['-t', String(pid), '-n'];
    const { ips: given } = await board('one').network.attach(podOf('attacker'), pid);
    const detour = [
      'ip link set lo down',
      'echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet',
      'ip rule add pref 1 to 127.0.0.1 lookup 7',
      `ip route add 127.0.0.1 via 10.42.0.1 dev eth0 src ${given[0]} table 7`,
      'ip rule add pref 10 lookup local',
      'ip rule del pref 0',
    ];
    await execute('nsenter', [...enter, 'sh', '-ec', detour.join('\n')]);
    await expect(tcp(enter, '127.0.0.1', 7779)).rejects.toThrow(/timed out/);
    await board('one').network.detach('attacker');
  });

  it('keeps an address for its pod, also over a restart of the agent', async () => {
    const again = await board('one').network.attach(podOf('b'), pids.get('b') as number);
    expect(again).toEqual({ ips: [ip('b')] });
    const restarted = start('one');
    await restarted.network.start();
    restarted.network.update(nodes, cluster);
    try {
      const seen = await restarted.network.attach(podOf('b'), pids.get('b') as number);
      expect(seen).toEqual({ ips: [ip('b')] });
      const fresh = await lan.pod('d', 80);
      const { ips: given } = await restarted.network.attach(podOf('d'), fresh);
      expect([ip('a'), ip('b')]).not.toContain(given[0]);
      await restarted.network.detach('d');
    } finally {
      await restarted.network.stop();
    }
  });

  it('refuses a host port that another pod has, and gives a detached pod’s back', async () => {
    const pid = await lan.pod('e', 80);
    const wanted = podOf('e', [{ hostPort: 8080, containerPort: 80 }]);
    await expect(board('one').network.attach(wanted, pid)).rejects.toMatchObject({ code: 'HostPortTaken' });
    const other = podOf('e', [{ hostPort: 8081, containerPort: 80 }]);
    await board('one').network.attach(other, pid);
    expect((await tcp(inHost('client'), '192.168.77.1', 8081)).pod).toBe('e');
    await board('one').network.detach('e');
    await board('one').network.settled();
    await expect(tcp(inHost('client'), '192.168.77.1', 8081)).rejects.toThrow(/refused/);
  });

  it('joins the pods that come together, though one of them is gone before it was joined', async () => {
    const names = ['f', 'g', 'h', 'i'];
    for (const name of names) pids.set(name, await lan.pod(name, 80));
    const outcomes = await Promise.allSettled(
      ['f', 'g', 'gone', 'h', 'i'].map((name) =>
        board('one').network.attach(podOf(name), pids.get(name) ?? 4_194_303),
      ),
    );
    expect(outcomes.map(({ status }) => status === 'fulfilled')).toEqual([true, true, false, true, true]);
    const joined = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value.ips : []));
    for (const [index, name] of names.entries()) {
      expect((await tcp(inPod('b'), joined[index] ?? '', 80)).pod).toBe(name);
    }
    await Promise.all(names.map((name) => board('one').network.detach(name)));
  });

  it('puts its table back when another program flushed everything', async () => {
    await lan.in('one', 'nft', 'delete', 'table', 'ip', 'copepod');
    await board('one').network.verify();
    await board('one').network.settled();
    expect((await tcp(inPod('b'), '10.43.0.21', 80)).pod).toBe('a');
  });

  it('leaves nothing behind', async () => {
    for (const { network } of boards.values()) await network.cleanup();
    for (const name of ['one', 'two']) {
      expect(await lan.in(name, 'nft', 'list', 'ruleset')).not.toContain('copepod');
      expect(await lan.in(name, 'iptables-save')).not.toContain('COPEPOD');
      if (name === 'two') expect(await lan.in(name, 'iptables-legacy-save')).not.toContain('COPEPOD');
      expect(await lan.in(name, 'ip', 'link')).not.toMatch(/cpod0|vethcp/);
      expect(await lan.in(name, 'ip', 'route')).not.toMatch(/10\.4[23]\./);
    }
  });
});
