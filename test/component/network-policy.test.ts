import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLinuxNetwork } from '../../src/agent/network/linux-network.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { SharedNode, SharedPolicy } from '../../src/wire/messages.ts';
import { cluster } from '../support/network/cluster-info.ts';
import { NamespacedCommands, TestLan, tcp, udp } from '../support/network/namespaces.ts';

// NetworkPolicies in the real kernel, in network namespaces made here; needs root, and says so instead of skipping.
if (process.getuid?.() !== 0)
  throw new Error('test/component/network-policy.test.ts needs root: network namespaces');

const nodes: SharedNode[] = [
  { v: 1, name: 'one', internalIP: '192.168.77.1', podCIDR: '10.42.0.0/24' },
  { v: 1, name: 'two', internalIP: '192.168.77.2', podCIDR: '10.42.1.0/24' },
];
/** What is denied is known by its time running out: those calls run beside the others. */
const BLOCKED = /timed out/;

describe('NetworkPolicy', () => {
  const lan = new TestLan(`cpp${process.pid}`);
  const boards = new Map<string, ReturnType<typeof createLinuxNetwork>>();
  const pids = new Map<string, number>();
  const ips = new Map<string, string>();
  const podsOn = new Map<string, Pod[]>([
    ['one', []],
    ['two', []],
  ]);
  const ip = (name: string): string => ips.get(name) as string;
  const inHost = (name: string): string[] => [`--net=/run/netns/${lan.namespace(name)}`];
  const inPod = (name: string): string[] => ['-t', String(pids.get(name)), '-n'];
  const podOf = (name: string, app: string): Pod =>
    ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default', uid: name, labels: { app } },
      spec: { containers: [{ name: 'c', ports: [{ name: 'web', containerPort: 80 }] }] },
    }) as Pod;
  const apply = async (...policies: SharedPolicy[]): Promise<void> => {
    for (const [name, { network }] of boards) {
      network.updatePolicies(policies, podsOn.get(name) ?? []);
      await network.settled();
    }
  };
  const attach = async (node: string, name: string, app: string): Promise<void> => {
    const pod = podOf(name, app);
    podsOn.get(node)?.push(pod);
    pids.set(name, await lan.pod(name, 80, 81, 90));
    const attached = await boards.get(node)?.network.attach(pod, pids.get(name) as number);
    ips.set(name, attached?.ips[0] as string);
  };
  const policy = (app: string, rules: Pick<SharedPolicy, 'ingress' | 'egress'>): SharedPolicy => ({
    v: 1,
    namespace: 'default',
    name: app,
    podSelector: { matchLabels: { app } },
    ...rules,
  });
  /** What the server says of pods of this label. */
  const peer = (app: string) => ({
    namespaces: ['default'],
    podSelector: { matchLabels: { app } },
    pods: [...podsOn].flatMap(([node, pods]) =>
      pods
        .filter(({ metadata }) => metadata.labels?.app === app)
        .map(({ metadata }) => ({ ip: ip(metadata.name ?? ''), node })),
    ),
  });

  beforeAll(async () => {
    await lan.start();
    await lan.host('one', '192.168.77.1/24');
    await lan.host('two', '192.168.77.2/24');
    await lan.host('client', '192.168.77.9/24');
    await lan.in('client', 'ip', 'route', 'add', '10.42.0.0/24', 'via', '192.168.77.1');
    for (const { name } of nodes) {
      const commands = new NamespacedCommands(lan.namespace(name));
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
    }
    await attach('one', 'db', 'db');
    await attach('one', 'front', 'front');
    await attach('one', 'other', 'other');
    await attach('two', 'front-two', 'front');
    await attach('two', 'other-two', 'other');
    await boards.get('one')?.proxy.apply([
      {
        v: 1,
        namespace: 'default',
        name: 'db',
        type: 'ClusterIP',
        clusterIPs: ['10.43.0.20'],
        ports: [
          { name: '', protocol: 'TCP', port: 80, endpoints: [{ ip: ip('db'), port: 80, node: 'one' }] },
        ],
      },
    ]);
  });

  afterAll(async () => {
    for (const { network, proxy } of boards.values()) {
      await proxy.stop();
      await network.stop();
    }
    await lan.stop();
  });

  it('lets everything through where no policy selects', async () => {
    await apply(policy('nobody', { ingress: [], egress: [] }));
    expect((await tcp(inPod('other'), ip('db'), 80)).pod).toBe('db');
    expect((await tcp(inPod('other-two'), ip('db'), 80)).pod).toBe('db');
  });

  it('denies by default, but not the pod’s own board nor the pod itself', async () => {
    const denied: Promise<void>[] = [];
    await apply(policy('db', { ingress: [] }));
    for (const from of ['front', 'other-two']) {
      denied.push(expect(tcp(inPod(from), ip('db'), 80)).rejects.toThrow(BLOCKED));
      denied.push(expect(udp(inPod(from), ip('db'), 80)).rejects.toThrow());
    }
    denied.push(expect(tcp(inHost('client'), ip('db'), 80)).rejects.toThrow(BLOCKED));
    denied.push(expect(tcp(inPod('front'), '10.43.0.20', 80)).rejects.toThrow(BLOCKED));
    expect((await tcp(inHost('one'), ip('db'), 80)).pod).toBe('db');
    expect((await tcp(inPod('db'), '10.43.0.20', 80)).pod).toBe('db');
    // Answers to what it asks itself come in.
    expect((await tcp(inPod('db'), ip('front-two'), 80)).pod).toBe('front-two');
    await Promise.all(denied);
  });

  it('lets in the pods, the ports and the addresses of its rules', async () => {
    const denied: Promise<void>[] = [];
    await apply(
      policy('db', {
        ingress: [
          { peers: [peer('front')], ports: [{ protocol: 'TCP', port: 'web' }] },
          {
            peers: [{ cidr: '192.168.77.0/24', except: ['192.168.77.2/32'] }],
            ports: [{ protocol: 'TCP', port: 81, endPort: 90 }],
          },
        ],
      }),
    );
    expect((await tcp(inPod('front'), ip('db'), 80)).pod).toBe('db');
    expect((await tcp(inPod('front'), '10.43.0.20', 80)).pod).toBe('db');
    expect((await tcp(inPod('front-two'), ip('db'), 80)).pod).toBe('db');
    expect((await tcp(inHost('client'), ip('db'), 81)).pod).toBe('db');
    expect((await tcp(inHost('client'), ip('db'), 90)).pod).toBe('db');
    denied.push(expect(tcp(inHost('client'), ip('db'), 80)).rejects.toThrow(BLOCKED));
    denied.push(expect(tcp(inHost('two'), ip('db'), 81)).rejects.toThrow(BLOCKED));
    denied.push(expect(tcp(inPod('front'), ip('db'), 81)).rejects.toThrow(BLOCKED));
    denied.push(expect(udp(inPod('front'), ip('db'), 80)).rejects.toThrow());
    denied.push(expect(tcp(inPod('other'), ip('db'), 80)).rejects.toThrow(BLOCKED));
    denied.push(expect(tcp(inPod('other-two'), ip('db'), 80)).rejects.toThrow(BLOCKED));
    await Promise.all(denied);
  });

  it('adds policies together', async () => {
    const first = policy('db', { ingress: [{ peers: [peer('front')] }] });
    const second = { ...policy('db', { ingress: [{ peers: [peer('other')] }] }), name: 'second' };
    await apply(first, second);
    expect((await tcp(inPod('front-two'), ip('db'), 80)).pod).toBe('db');
    expect((await tcp(inPod('other-two'), ip('db'), 80)).pod).toBe('db');
  });

  it('judges the way out on the sender’s board, and leaves the cluster’s DNS open', async () => {
    const denied: Promise<void>[] = [];
    await lan.serveIn('one', 'dns', 10_053);
    boards.get('one')?.proxy.serveDns({ address: cluster.clusterDns, port: 10_053 });
    await apply(
      policy('front', { egress: [{ peers: [peer('db')], ports: [{ protocol: 'TCP', port: 'web' }] }] }),
    );
    expect((await tcp(inPod('front'), ip('db'), 80)).pod).toBe('db');
    expect((await tcp(inPod('front'), '10.43.0.20', 80)).pod).toBe('db');
    denied.push(expect(tcp(inPod('front'), ip('db'), 81)).rejects.toThrow(BLOCKED));
    denied.push(expect(tcp(inPod('front'), ip('other-two'), 80)).rejects.toThrow(BLOCKED));
    denied.push(expect(tcp(inPod('front'), '192.168.77.9', 80)).rejects.toThrow(BLOCKED));
    expect((await udp(inPod('front'), cluster.clusterDns, 53)).pod).toBe('dns');
    // Others are not concerned.
    expect((await tcp(inPod('other'), ip('other-two'), 80)).pod).toBe('other-two');
    expect((await tcp(inPod('other'), ip('front'), 80)).pod).toBe('front');
    await Promise.all(denied);
  });

  it('isolates a new pod before it runs, and lets it be a peer before the server knows of it', async () => {
    const denied: Promise<void>[] = [];
    await apply(policy('late', { ingress: [{ peers: [{ ...peer('late'), pods: [] }] }] }));
    await attach('one', 'late-1', 'late');
    await attach('one', 'late-2', 'late');
    denied.push(expect(tcp(inPod('other'), ip('late-1'), 80)).rejects.toThrow(BLOCKED));
    expect((await tcp(inPod('late-2'), ip('late-1'), 80)).pod).toBe('late-1');
    await Promise.all(denied);
  });

  it('opens again when the policies are gone', async () => {
    await apply();
    expect((await tcp(inPod('other-two'), ip('db'), 80)).pod).toBe('db');
    expect(await lan.in('one', 'nft', 'list', 'table', 'ip', 'copepod')).not.toContain('chain policy-');
  });
});
