import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { resolveAgentConfig, resolveServerConfig } from '../../../src/config/config.ts';
import { type ConfigSources, environmentName } from '../../../src/config/resolve.ts';
import { agentSettings, serverSettings } from '../../../src/config/settings.ts';

const from = (sources: Partial<ConfigSources>): ConfigSources => ({ flags: [], environment: {}, ...sources });
const flags = (...pairs: [string, string][]): ConfigSources =>
  from({ flags: pairs.map(([flag, value]) => ({ flag, value })) });
const file = (content: unknown): ConfigSources =>
  from({ file: { path: '/etc/copepod/config.yaml', content } });

describe('resolveServerConfig', () => {
  it('has the defaults of the design', () => {
    expect(resolveServerConfig(from({})).config).toEqual({
      config: '/etc/copepod/config.yaml',
      dataDir: '/var/lib/copepod',
      logLevel: 'info',
      httpsListenPort: 6443,
      bindAddress: '0.0.0.0',
      token: undefined,
      clusterCidr: '10.42.0.0/16',
      serviceCidr: '10.43.0.0/16',
      clusterDns: '10.43.0.10',
      clusterDomain: 'cluster.local',
      writeKubeconfig: '/var/lib/copepod/kubeconfig',
      writeKubeconfigMode: 0o600,
      tlsSans: [],
      mqttListenPort: 8883,
      mqttUrl: undefined,
      auditLogMaxAge: 30,
      auditLogMaxBackup: 3,
      auditLogMaxSize: 10,
      auditLogPath: undefined,
      auditPolicyFile: undefined,
      schedulerMeasured: 'full',
      nodeEvictionRate: 0.1,
      secondaryNodeEvictionRate: 0.01,
      secretsEncryption: false,
      enableAdmissionPlugins: [],
      disable: [],
      proxyMode: 'auto',
      proxyHealthzBindAddress: '0.0.0.0:10256',
      disableAgent: false,
      evictionHard: [],
      evictionSoft: [],
      evictionSoftGracePeriod: [],
      allowedUnsafeSysctls: [],
      evictionMinimumReclaim: [],
      evictionMaxPodGracePeriod: 0,
      evictionPressureTransitionPeriod: 300_000,
      volumeStatsAggPeriod: 60_000,
      ingressHttpPort: 80,
      ingressHttpsPort: 443,
      kubeReserved: [],
      systemReserved: [],
      maxPods: 110,
      podMaxPids: -1,
      containerLogMaxSize: 10 * 1024 * 1024,
      containerLogMaxFiles: 5,
      containerLogDir: '/var/log',
      nodeName: hostname().toLowerCase(),
      nodeIp: undefined,
      podManifestPath: undefined,
      nodeLabels: [],
      nodeTaints: [],
      dockerHost: 'unix:///var/run/docker.sock',
      privateRegistry: '/etc/copepod/registries.yaml',
      imageGcHighThreshold: 85,
      imageGcLowThreshold: 80,
      minimumImageTtlDuration: 120_000,
      imageMaximumGcAge: 0,
      serializeImagePulls: false,
      maxParallelImagePulls: 3,
      imagePullProgressDeadline: 120_000,
      imagePullCredentialsVerificationPolicy: 'NeverVerifyPreloadedImages',
    });
  });

  it('lets the flag win over the variable, the variable over the file', () => {
    const sources = {
      ...flags(['https-listen-port', '1001']),
      environment: { COPEPOD_HTTPS_LISTEN_PORT: '1002', COPEPOD_MQTT_LISTEN_PORT: '1003', COPEPOD_TOKEN: '' },
      file: {
        path: '/f',
        content: {
          'https-listen-port': 1004,
          'mqtt-listen-port': 1005,
          'cluster-domain': 'home.lan',
          token: 'abc',
        },
      },
    };
    expect(resolveServerConfig(sources).config).toMatchObject({
      httpsListenPort: 1001,
      mqttListenPort: 1003,
      clusterDomain: 'home.lan',
      token: 'abc',
    });
  });

  it('puts the kubeconfig into the data directory', () => {
    expect(resolveServerConfig(flags(['data-dir', '/srv/c/'])).config).toMatchObject({
      dataDir: '/srv/c',
      writeKubeconfig: '/srv/c/kubeconfig',
    });
  });

  it('collects repeated and comma-separated lists', () => {
    const { config } = resolveServerConfig(
      flags(
        ['node-label', 'a=1,example.com/b=2'],
        ['node-label', 'c='],
        ['node-taint', 'gpu=yes:NoSchedule'],
        ['node-taint', 'slow:PreferNoSchedule'],
      ),
    );
    expect(config.nodeLabels).toEqual([
      { key: 'a', value: '1' },
      { key: 'example.com/b', value: '2' },
      { key: 'c', value: '' },
    ]);
    expect(config.nodeTaints).toEqual([
      { key: 'gpu', value: 'yes', effect: 'NoSchedule' },
      { key: 'slow', effect: 'PreferNoSchedule' },
    ]);
  });

  it.each([
    [['image-gc-low-threshold', '85'], 'has to be lower than --image-gc-high-threshold 85'],
    [['image-gc-high-threshold', '101'], 'expected a percentage'],
    [['image-pull-progress-deadline', '0'], '--image-pull-progress-deadline 0 is not allowed'],
    [['image-maximum-gc-age', '1m'], 'has to be longer than --minimum-image-ttl-duration'],
    [['max-parallel-image-pulls', '0'], 'expected a whole number, 1 to 100'],
    [['image-pull-credentials-verification-policy', 'Never'], 'expected NeverVerify,'],
  ])('refuses %j for images', ([flag = '', value = ''], problem) => {
    expect(() => resolveServerConfig(flags([flag, value]))).toThrow(problem);
  });

  it('knows what can be disabled, and which name was meant', () => {
    const { config } = resolveServerConfig(flags(['disable', 'servicelb,metrics'], ['disable', 'dashboard']));
    expect(config.disable).toEqual(['servicelb', 'metrics', 'dashboard']);
    expect(resolveServerConfig(file({ disable: ['ingress', 'local-storage'] })).config.disable).toEqual([
      'ingress',
      'local-storage',
    ]);
    expect(() => resolveServerConfig(flags(['disable', 'ingress,service-lb']))).toThrow(
      '--disable: "service-lb" is not allowed, expected one of ingress, servicelb, local-storage, metrics, dashboard; did you mean servicelb?',
    );
    expect(() => resolveServerConfig(file({ disable: 'xyzzyxyzzy' }))).toThrow(/dashboard$/);
    expect(() => resolveServerConfig(flags(['proxy-mode', 'nftable']))).toThrow(
      '--proxy-mode: "nftable" is not allowed, expected auto, nftables or userspace; did you mean nftables?',
    );
  });

  it('reads lists, switches and octal modes from the file', () => {
    const { config } = resolveServerConfig(
      file({ 'node-label': ['a=1', 'b=2'], 'disable-agent': true, 'write-kubeconfig-mode': '0644' }),
    );
    expect(config).toMatchObject({ disableAgent: true, writeKubeconfigMode: 0o644 });
    expect(config.nodeLabels).toHaveLength(2);
  });

  it('takes DOCKER_HOST unless COPEPOD_DOCKER_HOST says otherwise', () => {
    const DOCKER_HOST = 'unix:///a';
    expect(resolveServerConfig(from({ environment: { DOCKER_HOST } })).config.dockerHost).toBe('unix:///a');
    expect(
      resolveServerConfig(from({ environment: { DOCKER_HOST, COPEPOD_DOCKER_HOST: 'unix:///b' } })).config
        .dockerHost,
    ).toBe('unix:///b');
  });

  it.each([
    ['https-listen-port', '0', 'a port'],
    ['https-listen-port', '65536', 'a port'],
    ['https-listen-port', '6443x', 'a port'],
    ['mqtt-listen-port', '-1', 'a port'],
    ['data-dir', 'relative', 'an absolute path'],
    ['bind-address', 'localhost', 'an IP address'],
    ['node-ip', '1.2.3', 'an IPv4 address'],
    ['cluster-cidr', '10.42.0.1/16', 'an IPv4 network'],
    ['cluster-cidr', '10.42.0.0', 'an IPv4 network'],
    ['service-cidr', '10.43.0.0/33', 'an IPv4 network'],
    ['cluster-domain', 'Home_Lan', 'a lower-case DNS name'],
    ['node-name', 'pi_1', 'a lower-case DNS name'],
    ['write-kubeconfig-mode', '0888', 'a file mode'],
    ['disable-agent', 'yes', 'true or false'],
    ['log-level', 'loud', 'debug, info, warn or error'],
    ['docker-host', 'tcp://1.2.3.4:2375', "the Docker Engine's local socket"],
    ['mqtt-url', 'http://broker', 'a URL of an MQTT broker'],
    ['node-label', 'novalue', 'a label'],
    ['node-label', '-bad=1', 'a label'],
    ['node-taint', 'a=b', 'a taint'],
    ['node-taint', 'a=b:Never', 'a taint'],
    ['token', '', 'a text that is not empty'],
  ])('refuses --%s %s, naming flag, value and what is allowed', (flag, value, expected) => {
    const refuse = () => resolveServerConfig(flags([flag, value]));
    expect(refuse).toThrow(`--${flag}: `);
    expect(refuse).toThrow(
      flag === 'token' ? 'the value is not allowed' : `${JSON.stringify(value)} is not allowed`,
    );
    expect(refuse).toThrow(`expected ${expected}`);
  });

  it('names the variable or the key of the file that is wrong', () => {
    expect(() => resolveServerConfig(from({ environment: { COPEPOD_BIND_ADDRESS: 'x' } }))).toThrow(
      'COPEPOD_BIND_ADDRESS: "x" is not allowed, expected an IP address',
    );
    expect(() => resolveServerConfig(file({ 'bind-address': 'x' }))).toThrow(
      '/etc/copepod/config.yaml: bind-address: "x" is not allowed',
    );
    expect(() => resolveServerConfig(file({ 'bind-adress': '::' }))).toThrow(
      '/etc/copepod/config.yaml: bind-adress: unknown key, did you mean bind-address?',
    );
    expect(() => resolveServerConfig(file({ config: '/x' }))).toThrow('config: unknown key');
    expect(() => resolveServerConfig(file({ 'data-dir': ['/a', '/b'] }))).toThrow('expected one value');
    expect(() => resolveServerConfig(file(['a']))).toThrow('expected a mapping');
  });

  it('bears a file that also serves an agent on the same machine', () => {
    const { warnings } = resolveServerConfig(file({ server: 'https://a:6443' }));
    expect(warnings).toEqual([
      '/etc/copepod/config.yaml: server has no effect here: it is a setting of another command',
    ]);
  });

  it('warns of a variable that means nothing', () => {
    const { warnings } = resolveServerConfig(
      from({ environment: { COPEPOD_DATADIR: '/x', COPEPOD_NODE: '/n' } }),
    );
    expect(warnings).toEqual([
      'the environment variable COPEPOD_DATADIR means nothing to this command, did you mean COPEPOD_DATA_DIR?',
    ]);
  });

  it.each([
    [['cluster-cidr', '10.0.0.0/8'], 'overlap'],
    [['cluster-dns', '10.44.0.10'], 'lies outside --service-cidr'],
    [['mqtt-listen-port', '6443'], 'are both 6443'],
  ] as const)('refuses what contradicts itself: %s', ([flag, value], message) => {
    expect(() => resolveServerConfig(flags([flag, value]))).toThrow(message);
  });
});

describe('resolveAgentConfig', () => {
  it('needs a server', () => {
    expect(() => resolveAgentConfig(from({}))).toThrow('--server is missing');
    expect(() => resolveAgentConfig(flags(['server', 'http://a:6443']))).toThrow(
      'expected a URL such as https://',
    );
    expect(resolveAgentConfig(flags(['server', 'https://a:6443/'], ['token', 't'])).config).toMatchObject({
      server: 'https://a:6443',
      token: 't',
      dataDir: '/var/lib/copepod',
    });
  });
});

describe('the tables', () => {
  it.each([...Object.values(serverSettings), ...Object.values(agentSettings)])(
    '$flag: a default is allowed by its own type, help is a sentence',
    (setting) => {
      if (typeof setting.default === 'string')
        expect(setting.type.parse(setting.default)).toBe(setting.default);
      expect(setting.help).toMatch(/^[A-Z].*\.$/);
      expect(environmentName(setting.flag)).toMatch(/^COPEPOD_[A-Z_]+$/);
    },
  );
});
