import { describe, expect, it } from 'vitest';
import { formatResolvConf, parseResolvConf, resolverConfig } from '../../../../src/agent/containers/dns.ts';
import { environment } from '../../../../src/agent/containers/environment.ts';
import { expand } from '../../../../src/agent/containers/expansion.ts';
import { podHostname, podHosts } from '../../../../src/agent/containers/hosts.ts';
import { containerSpec, sandboxSpec } from '../../../../src/agent/containers/spec.ts';
import { createBody } from '../../../../src/agent/docker/create-body.ts';
import type { Container, Pod } from '../../../../src/api/types/core-v1.ts';
import { FakeDesired, testPod } from '../../../support/fake-node.ts';

const fields = {
  hostIPs: ['192.168.1.10'],
  podIPs: ['10.42.0.2'],
  allocatable: { cpu: '4', memory: '900Mi' },
};

describe('$(NAME) references', () => {
  const lookup = (name: string) => ({ A: 'one', B: '' })[name];
  it.each([
    ['$(A)', 'one'],
    ['x$(A)y$(B)z', 'xoneyz'],
    ['$$(A)', '$(A)'],
    ['$(NOPE)', '$(NOPE)'],
    ['$(A', '$(A'],
    ['$A $', '$A $'],
    ['$$$(A)', '$one'],
  ])('%s -> %s', (text, expected) => expect(expand(text, lookup)).toBe(expected));
});

describe('environment', () => {
  const desired = new FakeDesired();
  desired.setConfig({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace: 'default', name: 'cfg' },
    data: { a: '1', b: '2' },
  });
  desired.setConfig({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace: 'default', name: 'sec' },
    data: { pw: Buffer.from('geheim').toString('base64') },
  });
  desired.sharedServices = [
    {
      v: 1,
      namespace: 'default',
      name: 'my-db',
      type: 'ClusterIP',
      clusterIPs: ['10.43.0.7'],
      ports: [{ name: 'sql', protocol: 'TCP', port: 5432, endpoints: [] }],
    },
    { v: 1, namespace: 'other', name: 'x', type: 'ClusterIP', clusterIPs: ['10.43.0.8'], ports: [] },
    { v: 1, namespace: 'default', name: 'headless', type: 'ClusterIP', clusterIPs: ['None'], ports: [] },
  ];
  const of = (container: Partial<Container>, spec: Partial<Pod['spec']> = {}) => {
    const made = { name: 'web', image: 'web', ...container };
    const pod = testPod(
      'a',
      { ...spec, containers: [made] },
      { labels: { app: 'web' }, annotations: { note: 'n' } },
    );
    return Object.fromEntries(environment(pod, made, desired, fields));
  };

  it('takes envFrom first, env over it, and service variables that are not overridden', () => {
    const env = of({
      envFrom: [{ prefix: 'P_', configMapRef: { name: 'cfg' } }, { secretRef: { name: 'sec' } }],
      env: [
        { name: 'P_b', value: '3' },
        { name: 'URL', value: '$(P_a)-$(P_b)-$(MY_DB_SERVICE_HOST)-$(LATER)' },
        { name: 'LATER', value: 'x' },
        { name: 'MY_DB_SERVICE_PORT', value: 'own' },
      ],
    });
    expect(env).toEqual({
      P_a: '1',
      P_b: '3',
      pw: 'geheim',
      URL: '1-3-10.43.0.7-$(LATER)',
      LATER: 'x',
      MY_DB_SERVICE_HOST: '10.43.0.7',
      MY_DB_SERVICE_PORT: 'own',
      MY_DB_SERVICE_PORT_SQL: '5432',
      MY_DB_PORT: 'tcp://10.43.0.7:5432',
      MY_DB_PORT_5432_TCP: 'tcp://10.43.0.7:5432',
      MY_DB_PORT_5432_TCP_PROTO: 'tcp',
      MY_DB_PORT_5432_TCP_PORT: '5432',
      MY_DB_PORT_5432_TCP_ADDR: '10.43.0.7',
    });
  });

  it('knows the pod’s fields and the container’s resources', () => {
    const field = (fieldPath: string) => ({ valueFrom: { fieldRef: { fieldPath } } });
    const resource = (name: string, divisor?: string) => ({
      valueFrom: { resourceFieldRef: { resource: name, ...(divisor ? { divisor } : {}) } },
    });
    const env = of(
      {
        resources: { requests: { cpu: '150m' }, limits: { memory: '33Mi' } },
        env: [
          { name: 'NAME', ...field('metadata.name') },
          { name: 'APP', ...field("metadata.labels['app']") },
          { name: 'NOTE', ...field("metadata.annotations['note']") },
          { name: 'NODE', ...field('spec.nodeName') },
          { name: 'IP', ...field('status.podIP') },
          { name: 'HOST', ...field('status.hostIP') },
          { name: 'CPU', ...resource('requests.cpu') },
          { name: 'MILLI', ...resource('requests.cpu', '1m') },
          { name: 'MEM', ...resource('limits.memory', '10Mi') },
          { name: 'ALL', ...resource('limits.cpu') },
        ],
      },
      { enableServiceLinks: false },
    );
    expect(env).toEqual({
      NAME: 'a',
      APP: 'web',
      NOTE: 'n',
      NODE: 'board',
      IP: '10.42.0.2',
      HOST: '192.168.1.10',
      CPU: '1',
      MILLI: '150',
      MEM: '4',
      ALL: '4',
    });
  });

  it.each([
    [{ configMapKeyRef: { name: 'none', key: 'x' } }, 'configmap "none" not found'],
    [{ configMapKeyRef: { name: 'cfg', key: 'x' } }, "couldn't find key x in ConfigMap default/cfg"],
    [{ secretKeyRef: { name: 'none', key: 'x' } }, 'secret "none" not found'],
    [{ secretKeyRef: { name: 'sec', key: 'x' } }, "couldn't find key x in Secret default/sec"],
  ])('%j is missing; optional it is left out', (valueFrom, message) => {
    expect(() => of({ env: [{ name: 'X', valueFrom }] })).toThrow(message);
    const [[kind = '', reference] = []] = Object.entries(valueFrom);
    const optional = { [kind]: { ...reference, optional: true } };
    expect(of({ env: [{ name: 'X', valueFrom: optional }] })).not.toHaveProperty('X');
  });
});

describe('containerSpec', () => {
  const spec = (
    container: Partial<Container>,
    pod: Partial<NonNullable<Pod['spec']>> = {},
    imageUser = '',
  ) => {
    const made = { name: 'web', image: 'web:1', ...container };
    return containerSpec({
      pod: testPod('a', { ...pod, containers: [made] }, { labels: { app: 'web' } }),
      named: { role: 'regular', container: made },
      attempt: 2,
      sandboxId: 'sandbox',
      env: new Map([['WHO', 'world']]),
      mounts: [],
      imageUser,
      memoryCapacityBytes: 1024 ** 3,
      logPath: '/var/log/pods/x/web/2.log',
    });
  };

  it('follows dockershim in names and labels, and joins the sandbox', () => {
    expect(spec({ command: ['echo', '$(WHO)'], args: ['$(NOPE)'] })).toMatchObject({
      name: 'k8s_web_a_default_uid-a_2',
      labels: {
        app: 'web',
        'io.kubernetes.pod.name': 'a',
        'io.kubernetes.pod.namespace': 'default',
        'io.kubernetes.pod.uid': 'uid-a',
        'io.kubernetes.container.name': 'web',
        'io.kubernetes.docker.type': 'container',
        'io.kubernetes.sandbox.id': 'sandbox',
        'annotation.io.kubernetes.container.restartCount': '2',
        'annotation.io.kubernetes.pod.terminationGracePeriod': '30',
      },
      entrypoint: ['echo', 'world'],
      args: ['$(NOPE)'],
      env: ['WHO=world'],
      networkMode: 'container:sandbox',
      ipcMode: 'container:sandbox',
      oomScoreAdj: 1000,
    });
  });

  it('gives devices to the container, and rotates its logs, as told', () => {
    const mounts = [
      { hostPath: '/dev/gpiochip0', containerPath: '/dev/gpio', readOnly: false, device: 'rw' },
      { hostPath: '/v', containerPath: '/v', readOnly: true, readOnlyBelow: 'always' as const },
      { hostPath: '/w', containerPath: '/w', readOnly: true, readOnlyBelow: 'never' as const },
      { hostPath: '/x', containerPath: '/x', readOnly: true },
    ];
    const made = { name: 'web', image: 'web' };
    const body = createBody(
      containerSpec({
        pod: testPod('a', { containers: [made] }),
        named: { role: 'regular', container: made },
        attempt: 0,
        sandboxId: 'sandbox',
        env: new Map(),
        mounts,
        imageUser: '',
        memoryCapacityBytes: 1024 ** 3,
        pidsLimit: 100,
        logPath: '/log',
      }),
      { maxSize: 4096, maxFiles: 2 },
    ) as { HostConfig: { Mounts: { Target: string; BindOptions: object }[] } };
    expect(body.HostConfig).toMatchObject({
      Devices: [{ PathOnHost: '/dev/gpiochip0', PathInContainer: '/dev/gpio', CgroupPermissions: 'rw' }],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '4096', 'max-file': '2' } },
      PidsLimit: 100,
    });
    expect(body.HostConfig.Mounts.map(({ Target, BindOptions }) => [Target, BindOptions])).toEqual([
      ['/v', { ReadOnlyForceRecursive: true }],
      ['/w', { ReadOnlyNonRecursive: true }],
      ['/x', {}],
    ]);
  });

  it('turns requests and limits into the kernel’s numbers', () => {
    const resources = { requests: { cpu: '250m' }, limits: { cpu: '1500m', memory: '64Mi' } };
    expect(spec({ resources }).resources).toEqual({
      cpuShares: 256,
      cpuQuota: 150_000,
      memoryBytes: 67_108_864,
    });
    expect(spec({}).resources).toEqual({ cpuShares: 2 });
    const body = createBody(spec({ resources })) as { HostConfig: Record<string, unknown> };
    expect(body.HostConfig).toMatchObject({
      CpuShares: 256,
      CpuQuota: 150_000,
      CpuPeriod: 100_000,
      Memory: 67_108_864,
      MemorySwap: 67_108_864,
      LogConfig: { Type: 'json-file', Config: { 'max-size': '10485760', 'max-file': '5' } },
    });
  });

  it('gives users and groups, and verifies runAsNonRoot', () => {
    const pod = {
      securityContext: { runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000] },
    };
    expect(spec({}, pod)).toMatchObject({ user: '1000:2000', groups: ['4000', '3000'] });
    expect(spec({ securityContext: { runAsUser: 5 } }, pod)).toMatchObject({ user: '5:2000' });
    expect(spec({}, { securityContext: { runAsGroup: 7 } }, 'app:staff').user).toBe('app:7');
    const nonRoot = { securityContext: { runAsNonRoot: true } };
    expect(() => spec(nonRoot)).toThrow('container has runAsNonRoot and image will run as root');
    expect(() => spec(nonRoot, {}, 'app')).toThrow('image has non-numeric user (app)');
    expect(() => spec({ securityContext: { runAsNonRoot: true, runAsUser: 0 } })).toThrow(
      'runAsUser breaks non-root policy',
    );
    expect(spec(nonRoot, {}, '1000').user).toBeUndefined();
  });

  it('gives the security context', () => {
    const body = createBody(
      spec({
        securityContext: {
          privileged: true,
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
          seccompProfile: { type: 'Unconfined' },
          procMount: 'Unmasked',
        },
      }),
    ) as { HostConfig: Record<string, unknown> };
    expect(body.HostConfig).toMatchObject({
      Privileged: true,
      ReadonlyRootfs: true,
      CapAdd: ['NET_ADMIN'],
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges', 'seccomp=unconfined'],
      MaskedPaths: [],
      ReadonlyPaths: [],
    });
  });

  it.each<[string, Partial<Container>, Partial<NonNullable<Pod['spec']>>]>([
    [
      'seccomp profile',
      { securityContext: { seccompProfile: { type: 'Localhost', localhostProfile: 'x' } } },
      {},
    ],
    ['hugepages-2Mi', { resources: { limits: { 'hugepages-2Mi': '4Mi' } } }, {}],
    ['supplementalGroupsPolicy', {}, { securityContext: { supplementalGroupsPolicy: 'Strict' } }],
  ])('refuses what it cannot give: %s', (text, container, pod) => {
    expect(() => spec(container, pod)).toThrow(text);
  });

  it('makes a sandbox that holds the namespaces and the sysctls', () => {
    const pod = testPod('a', {
      containers: [],
      securityContext: { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }] },
    });
    expect(sandboxSpec(pod, 1, 'pause', 'cluster.local')).toMatchObject({
      name: 'k8s_POD_a_default_uid-a_1',
      networkMode: 'none',
      ipcMode: 'shareable',
      hostname: 'a',
      oomScoreAdj: -998,
      security: { sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' } },
    });
    expect(() => sandboxSpec(testPod('a', { containers: [], hostUsers: false }), 0, 'pause', '')).toThrow(
      'hostUsers',
    );
  });
});

describe('names', () => {
  const node = parseResolvConf('# x\nsearch lan\nnameserver 192.168.1.1\noptions edns0\n');

  it('resolves by dnsPolicy', () => {
    const conf = (spec: Partial<NonNullable<Pod['spec']>>, dns = true) => {
      const cluster = dns ? { address: '10.43.0.10', domain: 'cluster.local' } : undefined;
      const { config, notices } = resolverConfig(testPod('a', { containers: [], ...spec }), node, cluster);
      return [formatResolvConf(config), notices.map(({ reason }) => reason).join()];
    };
    const inCluster =
      'search default.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\noptions ndots:5\n';
    const onNode = 'search lan\nnameserver 192.168.1.1\noptions edns0\n';
    expect(conf({})).toEqual([inCluster, '']);
    expect(conf({}, false)).toEqual([onNode, 'MissingClusterDNS']);
    expect(conf({ hostNetwork: true })).toEqual([onNode, '']);
    expect(conf({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' })).toEqual([inCluster, '']);
    expect(conf({ dnsPolicy: 'Default' })).toEqual([onNode, '']);
    const own = { nameservers: ['1.1.1.1'], searches: ['my.zone'], options: [{ name: 'ndots', value: '2' }] };
    expect(conf({ dnsPolicy: 'None', dnsConfig: own })[0]).toBe(
      'search my.zone\nnameserver 1.1.1.1\noptions ndots:2\n',
    );
    expect(conf({ dnsConfig: own })[0]).toContain('options ndots:2\n');
  });

  it('cuts what no resolver takes, and says so', () => {
    const cut = (dnsConfig: NonNullable<Pod['spec']>['dnsConfig']) =>
      resolverConfig(testPod('a', { containers: [], dnsPolicy: 'None', dnsConfig }), node, undefined);
    const servers = ['1.0.0.1', '1.0.0.2', '1.0.0.3', '1.0.0.4'];
    expect(cut({ nameservers: servers }).notices).toEqual([
      {
        reason: 'DNSConfigForming',
        message:
          'Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1.0.0.1 1.0.0.2 1.0.0.3',
      },
    ]);
    const many = Array.from({ length: 33 }, (_, index) => `zone-${index}`);
    expect(cut({ searches: many }).config.searches).toEqual(many.slice(0, 32));
    expect(cut({ searches: many.slice(1) }).notices).toEqual([]);
    // 2048 characters in all, 253 each.
    const long = Array.from({ length: 20 }, (_, index) => String(index).padEnd(200, 'x'));
    expect(cut({ searches: long }).config.searches).toHaveLength(10);
    const { config, notices } = cut({ searches: ['x'.repeat(254), 'lan'] });
    expect([config.searches, notices[0]?.message]).toEqual([
      ['lan'],
      'Search Line limits were exceeded, some search paths have been omitted, the applied search line is: lan',
    ]);
  });

  it('writes hosts with the pod’s names and aliases', () => {
    const pod = testPod('a', {
      containers: [],
      hostname: 'web-0',
      subdomain: 'web',
      hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }],
    });
    expect(podHostname(pod, 'cluster.local')).toEqual({
      hostname: 'web-0',
      fqdn: 'web-0.web.default.svc.cluster.local',
    });
    expect(podHosts(pod, ['10.42.0.2'], 'cluster.local')).toBe(
      [
        '# Kubernetes-managed hosts file.',
        '127.0.0.1\tlocalhost',
        '::1\tlocalhost ip6-localhost ip6-loopback',
        'fe00::0\tip6-localnet',
        'fe00::0\tip6-mcastprefix',
        'fe00::1\tip6-allnodes',
        'fe00::2\tip6-allrouters',
        '10.42.0.2\tweb-0.web.default.svc.cluster.local\tweb-0',
        '',
        '# Entries added by HostAliases.',
        '1.2.3.4\tx\ty',
        '',
      ].join('\n'),
    );
  });
});
