import { describe, expect, it } from 'vitest';
import { BoardRules, type RulesetInput } from '../../../src/agent/network/board-rules.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import type { SharedService } from '../../../src/wire/messages.ts';

// The scripts beside this file are what nft is given. Changed on purpose? `npx vitest run -u test/golden/network`, and
// read the difference: test/component/network-linux.test.ts shows that the kernel does with them what it should.

const endpoint = (ip: string, node: string, port = 8080) => ({ ip, port, node });
const web: SharedService = {
  v: 1,
  namespace: 'default',
  name: 'web',
  type: 'NodePort',
  clusterIPs: ['10.43.0.20'],
  ports: [
    {
      name: 'http',
      protocol: 'TCP',
      port: 80,
      nodePort: 30080,
      endpoints: [endpoint('10.42.1.7', 'two'), endpoint('10.42.0.5', 'one')],
    },
  ],
};
const dns: SharedService = {
  v: 1,
  namespace: 'kube-system',
  name: 'dns',
  type: 'ClusterIP',
  clusterIPs: ['10.43.0.10'],
  internalTrafficPolicy: 'Local',
  ports: [
    {
      name: 'udp',
      protocol: 'UDP',
      port: 53,
      endpoints: [endpoint('10.42.0.6', 'one', 53), endpoint('10.42.1.6', 'two', 53)],
    },
    { name: 'tcp', protocol: 'TCP', port: 53, endpoints: [endpoint('10.42.1.6', 'two', 53)] },
  ],
};
const sticky: SharedService = {
  v: 1,
  namespace: 'default',
  name: 'sticky',
  type: 'LoadBalancer',
  clusterIPs: ['10.43.0.30', 'fd00::30'],
  externalIPs: ['203.0.113.9'],
  sessionAffinitySeconds: 600,
  externalTrafficPolicy: 'Local',
  ports: [
    {
      name: '',
      protocol: 'TCP',
      port: 443,
      nodePort: 30443,
      endpoints: [endpoint('10.42.0.5', 'one'), endpoint('10.42.1.7', 'two')],
    },
  ],
};
const empty: SharedService = {
  v: 1,
  namespace: 'default',
  name: 'empty',
  type: 'NodePort',
  clusterIPs: ['10.43.0.40'],
  ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 30090, endpoints: [] }],
};
const headless: SharedService = {
  v: 1,
  namespace: 'default',
  name: 'headless',
  type: 'ClusterIP',
  clusterIPs: [],
  headless: true,
  ports: [{ name: '', protocol: 'TCP', port: 80, endpoints: [endpoint('10.42.0.77', 'one')] }],
};

const base: RulesetInput = {
  nodeName: 'one',
  clusterCidr: '10.42.0.0/16',
  serviceCidr: '10.43.0.0/16',
  podCidr: '10.42.0.0/29',
  loopback: [{ address: '10.43.0.10', protocol: 'udp', port: 53, to: 10053 }],
  services: [sticky, web, dns, empty, headless],
  hostPorts: [
    {
      ip: '10.42.0.8',
      ports: [
        { hostPort: 8080, containerPort: 80, protocol: 'TCP' },
        { hostIP: '192.168.1.10', hostPort: 53, containerPort: 53, protocol: 'UDP' },
      ],
    },
  ],
};
const podOf = (namespace: string, labels: Record<string, string>, ports: object[] = []): Pod =>
  ({ metadata: { namespace, labels }, spec: { containers: [{ name: 'c', ports }] } }) as unknown as Pod;
const guarded: RulesetInput = {
  ...base,
  services: [],
  hostPorts: [],
  policies: [
    {
      v: 1,
      namespace: 'shop',
      name: 'db',
      podSelector: { matchLabels: { app: 'db' } },
      ingress: [
        {
          peers: [
            {
              namespaces: ['shop'],
              podSelector: { matchLabels: { app: 'front' } },
              // An address of this board that the server has of an earlier boot does not count.
              pods: [
                { ip: '10.42.1.5', node: 'two' },
                { ip: '10.42.0.200', node: 'one' },
              ],
            },
            { cidr: '192.168.0.0/16', except: ['192.168.7.0/24', '192.168.8.0/24'] },
            { cidr: 'fd00::/8' },
          ],
          ports: [
            { protocol: 'TCP', port: 'sql' },
            { protocol: 'UDP', port: 4000, endPort: 4010 },
            { protocol: 'SCTP' },
          ],
        },
        { ports: [{ protocol: 'TCP', port: 9100 }] },
      ],
    },
    { v: 1, namespace: 'shop', name: 'deny', podSelector: {}, ingress: [], egress: [] },
    {
      v: 1,
      namespace: 'shop',
      name: 'out',
      podSelector: { matchLabels: { app: 'front' } },
      egress: [
        {
          peers: [
            {
              namespaces: ['shop'],
              podSelector: { matchLabels: { app: 'db' } },
              pods: [{ ip: '10.42.1.6', node: 'two', ports: [{ name: 'sql', protocol: 'TCP', port: 5433 }] }],
            },
          ],
          ports: [{ protocol: 'TCP', port: 'sql' }],
        },
      ],
    },
    { v: 1, namespace: 'other', name: 'deny', podSelector: {}, ingress: [] },
  ],
  pods: [
    { ip: '10.42.0.5', pod: podOf('shop', { app: 'db' }, [{ name: 'sql', containerPort: 5432 }]) },
    { ip: '10.42.0.6', pod: podOf('shop', { app: 'front' }) },
    { ip: '10.42.0.7', pod: podOf('free', { app: 'db' }) },
  ],
};
const whole = (input: RulesetInput): string => {
  const rules = new BoardRules();
  rules.update(input);
  return rules.whole();
};
const change = (before: RulesetInput, after: RulesetInput): string => {
  const rules = new BoardRules();
  rules.update(before);
  rules.settled();
  rules.update(after);
  return rules.change();
};
const file = (name: string): string => new URL(`./${name}.nft`, import.meta.url).pathname;

describe('nft scripts', () => {
  it('of a board with nothing yet', async () => {
    const script = whole({ nodeName: 'one', services: [], hostPorts: [] });
    await expect(script).toMatchFileSnapshot(file('bare'));
  });

  it('of every kind of Service and hostPort', async () => {
    await expect(whole(base)).toMatchFileSnapshot(file('full'));
  });

  it('of SCTP: Services with and without affinity, a hostPort, a policy', async () => {
    const sctp = (name: string, port: number, more: Partial<SharedService> = {}): SharedService => ({
      ...web,
      name,
      ports: [
        {
          ...(web.ports[0] as SharedService['ports'][0]),
          protocol: 'SCTP',
          port,
          nodePort: 30000 + (port % 1000),
        },
      ],
      ...more,
    });
    const signalling = podOf('default', { app: 'signalling' });
    const script = whole({
      ...base,
      services: [
        sctp('signalling', 3868),
        sctp('sticky', 36412, { clusterIPs: ['10.43.0.21'], sessionAffinitySeconds: 60 }),
      ],
      hostPorts: [{ ip: '10.42.0.5', ports: [{ hostPort: 38412, containerPort: 38412, protocol: 'SCTP' }] }],
      policies: [
        {
          v: 1,
          namespace: 'default',
          name: 'only-signalling',
          podSelector: {},
          ingress: [{ ports: [{ protocol: 'SCTP', port: 8080, endPort: 8090 }] }],
        },
      ],
      pods: [{ ip: '10.42.0.5', pod: signalling }],
    });
    // The part that is common to all is in the other files.
    const lines = script.split('\n').filter((line) => /sctp/.test(line) && !/tcp, udp, sctp/.test(line));
    await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot(file('sctp'));
  });

  it('of NetworkPolicies', async () => {
    await expect(whole(guarded)).toMatchFileSnapshot(file('policies'));
  });

  it('of a peer that comes, elsewhere and here', async () => {
    const next = structuredClone(guarded);
    const peer = next.policies?.[0]?.ingress?.[0]?.peers?.[0];
    if (peer && 'pods' in peer) peer.pods.push({ ip: '10.42.1.9', node: 'two' });
    const pods = [...(guarded.pods ?? []), { ip: '10.42.0.9', pod: podOf('shop', { app: 'front' }) }];
    await expect(change(guarded, { ...next, pods })).toMatchFileSnapshot(file('policies-change'));
  });

  it('of a change of endpoints, a new Service and a removed one', async () => {
    const scaled = structuredClone(web);
    scaled.ports[0]?.endpoints.push(endpoint('10.42.0.9', 'one'));
    const filled = structuredClone(empty);
    filled.ports[0]?.endpoints.push(endpoint('10.42.1.8', 'two'));
    const next = { ...base, services: [dns, scaled, filled], hostPorts: [] };
    await expect(change(base, next)).toMatchFileSnapshot(file('change'));
  });
});

describe('a change', () => {
  it('is nothing when nothing changed, whatever the order', () => {
    const turned = { ...base, services: [...base.services].reverse() };
    expect(change(base, turned)).toBe('');
  });

  it('replaces everything when the cluster’s networks change', () => {
    const next = { ...base, clusterCidr: '10.52.0.0/16' };
    expect(change(base, next).split('\n').sort()).toEqual(whole(next).split('\n').sort());
  });

  it('costs the same for one Service among many', () => {
    const many = Array.from(
      { length: 2000 },
      (_, index): SharedService => ({
        ...web,
        name: `s${index}`,
        clusterIPs: [`10.43.${10 + Math.floor(index / 250)}.${index % 250}`],
        ports: web.ports.map((port) => ({ ...port, nodePort: 30000 + index })),
      }),
    );
    const changed = many.map((service, index) =>
      index === 1000
        ? {
            ...service,
            ports: service.ports.map((port) => ({ ...port, endpoints: port.endpoints.slice(1) })),
          }
        : service,
    );
    const script = change({ ...base, services: many }, { ...base, services: changed });
    // Its address and its node port now have one endpoint: elements, no chain.
    expect(script.trim().split('\n')).toEqual([
      'delete element ip copepod ep-1 { 10.43.14.0 . tcp . 80 }',
      'delete element ip copepod services { 10.43.14.0 . tcp . 80 }',
      'delete element ip copepod node-ep-1 { tcp . 31000 }',
      'delete element ip copepod nodeports { tcp . 31000 }',
      'add element ip copepod services { 10.43.14.0 . tcp . 80 : goto pick-0 }',
      'add element ip copepod nodeports { tcp . 31000 : goto node-pick-0 }',
    ]);
  });
});
