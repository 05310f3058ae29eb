import * as pressure from './pressure-types.ts';
import type { ValueType } from './value-types.ts';
import * as types from './value-types.ts';

/**
 * One setting. It is a flag (`--data-dir`), an environment variable (`COPEPOD_DATA_DIR`) and a key of the configuration
 * file (`data-dir`), in this order of precedence.
 */
export interface Setting<Value> {
  /** Without the dashes; also the key in the file. */
  readonly flag: string;
  readonly type: ValueType<unknown>;
  /** The flag may be repeated, each with one value or several separated by commas. */
  readonly list: boolean;
  readonly default: Value;
  /** How --help names a default that is not a constant. */
  readonly defaultText?: string;
  /** Another environment variable that is read when COPEPOD_… is not set. */
  readonly alsoEnvironment?: string;
  /** May not stand in the configuration file. */
  readonly notInFile?: boolean;
  /** Its value is not shown by `copepod config` and never logged. */
  readonly secret?: boolean;
  readonly help: string;
}

type Details<T> = Omit<Setting<T>, 'list' | 'type' | 'default'>;

const withDefault = <T>(type: ValueType<T>, value: T, details: Details<T>): Setting<T> => ({
  ...details,
  type,
  default: value,
  list: false,
});

const optional = <T>(type: ValueType<T>, details: Details<T | undefined>): Setting<T | undefined> => ({
  ...details,
  type,
  default: undefined,
  list: false,
});

const list = <T>(type: ValueType<T>, details: Details<T[]>): Setting<T[]> => ({
  ...details,
  type,
  default: [],
  list: true,
});

/** Of every mode. */
const common = {
  config: withDefault(types.path, '/etc/copepod/config.yaml', {
    flag: 'config',
    notInFile: true,
    help: 'Configuration file (YAML); its keys are the names of these flags. It need not exist.',
  }),
  dataDir: withDefault(types.path, '/var/lib/copepod', {
    flag: 'data-dir',
    help: 'Where everything is kept that has to outlive the process.',
  }),
  logLevel: withDefault(types.logLevel, 'info', {
    flag: 'log-level',
    help: 'What is logged: debug, info, warn or error.',
  }),
};

/** Of the board that runs pods: `copepod agent`, and `copepod server` unless --disable-agent. */
const node = {
  nodeName: optional(types.dnsName, {
    flag: 'node-name',
    defaultText: "the machine's host name",
    help: 'Name of this node in the cluster.',
  }),
  nodeIp: optional(types.ipv4, {
    flag: 'node-ip',
    defaultText: 'the address of the default route',
    help: 'Address of this node that the others reach it at.',
  }),
  nodeLabels: list(types.nodeLabel, {
    flag: 'node-label',
    help: 'Label of this node; may be repeated.',
  }),
  nodeTaints: list(types.nodeTaint, {
    flag: 'node-taint',
    help: 'Taint of this node; may be repeated.',
  }),
  dockerHost: withDefault(types.dockerHost, 'unix:///var/run/docker.sock', {
    flag: 'docker-host',
    alsoEnvironment: 'DOCKER_HOST',
    help: 'Socket of the Docker Engine (API 1.41, Docker 20.10, or newer).',
  }),
  privateRegistry: withDefault(types.path, '/etc/copepod/registries.yaml', {
    flag: 'private-registry',
    help: "Mirrors, credentials and certificates of registries, in the form of k3s's registries.yaml. It need not exist.",
  }),
  imageGcHighThreshold: withDefault(types.percent, 85, {
    flag: 'image-gc-high-threshold',
    help: 'Percent of the disk in use from which unused images that copepod pulled are removed; 100: never.',
  }),
  imageGcLowThreshold: withDefault(types.percent, 80, {
    flag: 'image-gc-low-threshold',
    help: 'Percent of the disk in use down to which they are removed.',
  }),
  minimumImageTtlDuration: withDefault(types.duration, 120_000, {
    flag: 'minimum-image-ttl-duration',
    defaultText: '2m',
    help: 'How long an image is kept at least, used or not.',
  }),
  imageMaximumGcAge: withDefault(types.duration, 0, {
    flag: 'image-maximum-gc-age',
    help: 'How long an unused image that copepod pulled is kept at most, however much room there is; 0: for ever.',
  }),
  serializeImagePulls: withDefault(types.boolean, false, {
    flag: 'serialize-image-pulls',
    help: 'Pull one image after the other.',
  }),
  maxParallelImagePulls: withDefault(types.parallel, 3, {
    flag: 'max-parallel-image-pulls',
    help: 'How many images are pulled at the same time.',
  }),
  imagePullProgressDeadline: withDefault(types.duration, 120_000, {
    flag: 'image-pull-progress-deadline',
    defaultText: '2m',
    help: 'A pull without any progress for so long is given up, and tried again later.',
  }),
  imagePullCredentialsVerificationPolicy: withDefault(
    types.verificationPolicy,
    'NeverVerifyPreloadedImages',
    {
      flag: 'image-pull-credentials-verification-policy',
      help: 'Whose credentials are checked again for an image that is there: NeverVerify (nobody), NeverVerifyPreloadedImages (of images that copepod pulled with an imagePullSecret: pods without that Secret) or AlwaysVerify.',
    },
  ),
  proxyMode: withDefault(types.proxyMode, 'auto', {
    flag: 'proxy-mode',
    help: 'How Services are served on this node: nftables, userspace (where nftables is missing: slower, no SCTP, no NetworkPolicy, endpoints see the node as the client), or auto, which takes nftables where it can be had.',
  }),
  proxyHealthzBindAddress: withDefault(types.addressAndPort, '0.0.0.0:10256', {
    flag: 'proxy-healthz-bind-address',
    help: 'Where balancers outside of the cluster ask whether this node takes connections for Services (/healthz and /livez, as kube-proxy answers). Open while there is a Service with node ports. Empty: never.',
  }),
  ingressHttpPort: withDefault(types.portOrOff, 80, {
    flag: 'ingress-http-port',
    help: 'Port of this node at which Ingresses are served; taken when there is one. 0: none.',
  }),
  ingressHttpsPort: withDefault(types.portOrOff, 443, {
    flag: 'ingress-https-port',
    help: 'The same with TLS. 0: none.',
  }),
  evictionHard: list(pressure.evictionThreshold, {
    flag: 'eviction-hard',
    defaultText:
      'memory.available<100Mi, nodefs.available<10%, nodefs.inodesFree<5%, imagefs.available<15%, imagefs.inodesFree<5%, pid.available<5%',
    help: 'Below this pods are evicted at once, and the node says that it is under pressure; replaces all of the default. nodefs holds DATA-DIR, imagefs the data of Docker. SIGNAL<0% switches one off.',
  }),
  evictionSoft: list(pressure.evictionThreshold, {
    flag: 'eviction-soft',
    help: 'Below this for its grace period (--eviction-soft-grace-period), pods are evicted and given time to end.',
  }),
  evictionSoftGracePeriod: list(pressure.evictionGracePeriod, {
    flag: 'eviction-soft-grace-period',
    help: 'How long a soft threshold has to be crossed before it counts; one for each of them.',
  }),
  evictionMinimumReclaim: list(pressure.evictionReclaim, {
    flag: 'eviction-minimum-reclaim',
    help: 'How much more than the threshold asks for is freed once it was crossed.',
  }),
  evictionMaxPodGracePeriod: withDefault(types.count, 0, {
    flag: 'eviction-max-pod-grace-period',
    help: 'Seconds that a pod evicted for a soft threshold gets at most to end.',
  }),
  evictionPressureTransitionPeriod: withDefault(pressure.period, 300_000, {
    flag: 'eviction-pressure-transition-period',
    defaultText: '5m',
    help: 'How long a pressure that is over stays on the Node.',
  }),
  volumeStatsAggPeriod: withDefault(pressure.period, 60_000, {
    flag: 'volume-stats-agg-period',
    defaultText: '1m',
    help: 'How often is measured what pods with a limit (emptyDir sizeLimit, ephemeral-storage) have written; seldomer on a slow card, 0: never.',
  }),
  kubeReserved: list(pressure.reservation, {
    flag: 'kube-reserved',
    help: 'What is kept from pods for copepod and Docker (cpu, memory, ephemeral-storage, pid); taken off the allocatable.',
  }),
  systemReserved: list(pressure.reservation, {
    flag: 'system-reserved',
    defaultText: 'a tenth of the memory, from 64Mi to 256Mi',
    help: 'What is kept from pods for the rest of the system; replaces all of the default.',
  }),
  maxPods: withDefault(types.count, 110, {
    flag: 'max-pods',
    help: 'How many pods this node takes.',
  }),
  podMaxPids: withDefault(pressure.pids, -1, {
    flag: 'pod-max-pids',
    help: 'How many processes a container may have; -1: no limit.',
  }),
  containerLogMaxSize: withDefault(pressure.size, 10 * 1024 * 1024, {
    flag: 'container-log-max-size',
    defaultText: '10Mi',
    help: "Size from which a container's log is put aside and a new file begun.",
  }),
  containerLogMaxFiles: withDefault(pressure.fileCount, 5, {
    flag: 'container-log-max-files',
    help: 'How many log files of a container are kept.',
  }),
  allowedUnsafeSysctls: list(types.sysctlPattern, {
    flag: 'allowed-unsafe-sysctls',
    help: 'Sysctl that pods may set beside the safe ones, or a prefix of such (kernel.msg*); may be repeated.',
  }),
  podManifestPath: optional(types.path, {
    flag: 'pod-manifest-path',
    defaultText: 'DATA-DIR/agent/pod-manifests',
    help: 'Directory of static pods: manifests (YAML or JSON, one Pod each) that this node runs without any server.',
  }),
  containerLogDir: withDefault(types.path, '/var/log', {
    flag: 'container-log-dir',
    help: 'Where log collectors find the logs: links in pods/ and containers/ below it.',
  }),
};

export const serverSettings = {
  ...common,
  httpsListenPort: withDefault(types.port, 6443, {
    flag: 'https-listen-port',
    help: 'Port of the Kubernetes API, of the dashboard and of the agents (HTTPS and WebSocket).',
  }),
  bindAddress: withDefault(types.ip, '0.0.0.0', {
    flag: 'bind-address',
    help: 'Address to listen at.',
  }),
  token: optional(types.string, {
    flag: 'token',
    secret: true,
    defaultText: 'made on the first start',
    help: 'Secret that agents join with.',
  }),
  clusterCidr: withDefault(types.cidr, '10.42.0.0/16', {
    flag: 'cluster-cidr',
    help: 'Network of the pods; each node takes a /24 of it.',
  }),
  serviceCidr: withDefault(types.cidr, '10.43.0.0/16', {
    flag: 'service-cidr',
    help: 'Network of the cluster IPs of Services.',
  }),
  clusterDns: withDefault(types.ipv4, '10.43.0.10', {
    flag: 'cluster-dns',
    help: "Address of the cluster's DNS, inside the service network.",
  }),
  clusterDomain: withDefault(types.dnsName, 'cluster.local', {
    flag: 'cluster-domain',
    help: 'DNS domain of the cluster.',
  }),
  writeKubeconfig: optional(types.path, {
    flag: 'write-kubeconfig',
    defaultText: 'DATA-DIR/kubeconfig',
    help: "File that the administrator's kubeconfig is written to.",
  }),
  writeKubeconfigMode: withDefault(types.fileMode, 0o600, {
    flag: 'write-kubeconfig-mode',
    defaultText: '0600',
    help: 'Mode of that file.',
  }),
  tlsSans: list(types.string, {
    flag: 'tls-san',
    help: "Further name or address in the server's certificate (a NAT's, a DNS name); may be repeated.",
  }),
  mqttListenPort: withDefault(types.portOrOff, 8883, {
    flag: 'mqtt-listen-port',
    help: 'Port of the embedded MQTT broker (mqtts); 0 leaves the WebSocket on the API port alone.',
  }),
  mqttUrl: optional(types.mqttUrl, {
    flag: 'mqtt-url',
    help: 'Use this MQTT broker (Mosquitto, EMQX) instead of the embedded one.',
  }),
  enableAdmissionPlugins: list(types.admissionPlugin, {
    flag: 'enable-admission-plugins',
    help: 'Admission plugin that is off unless named here (PodTolerationRestriction); may be repeated.',
  }),
  schedulerMeasured: withDefault(types.measured, 'full', {
    flag: 'scheduler-measured',
    help: 'What boards measure (CPU, memory, disk, heat) decides on placement: off, scores (prefers) or full (also keeps pods off boards in danger).',
  }),
  nodeEvictionRate: withDefault(types.rate, 0.1, {
    flag: 'node-eviction-rate',
    help: 'Lost nodes a second, of each zone, whose pods are evicted.',
  }),
  secondaryNodeEvictionRate: withDefault(types.rate, 0.01, {
    flag: 'secondary-node-eviction-rate',
    help: 'The same while more than half of a zone is lost that has more than 50 nodes; of a smaller one nobody is evicted then.',
  }),
  secretsEncryption: withDefault(types.boolean, false, {
    flag: 'secrets-encryption',
    help: 'Encrypt Secrets in the database (AES-256-GCM). Its key is in DATA-DIR/server/secrets-encryption.json: back it up apart.',
  }),
  auditLogPath: optional(types.path, {
    flag: 'audit-log-path',
    defaultText: 'no audit log',
    help: 'File that requests are logged to: who did what, without bodies (audit.k8s.io/v1, one JSON object a line).',
  }),
  auditPolicyFile: optional(types.path, {
    flag: 'audit-policy-file',
    defaultText: 'everything at level Metadata, without what machines ask for all the time',
    help: 'Policy (audit.k8s.io/v1, YAML) that says what --audit-log-path is told of which request.',
  }),
  auditLogMaxSize: withDefault(types.count, 10, {
    flag: 'audit-log-maxsize',
    help: 'Mebibytes after which that file is put aside and a new one begun.',
  }),
  auditLogMaxAge: withDefault(types.count, 30, {
    flag: 'audit-log-maxage',
    help: 'Days that files put aside are kept; 0: as long as there are not too many.',
  }),
  auditLogMaxBackup: withDefault(types.count, 3, {
    flag: 'audit-log-maxbackup',
    help: 'How many files put aside are kept; 0: all.',
  }),
  disable: list(types.component, {
    flag: 'disable',
    help: 'What this cluster shall do without: ingress, servicelb (load balancer addresses), local-storage (the local-path provisioner and its StorageClass), metrics (metrics.k8s.io), dashboard; may be repeated.',
  }),
  disableAgent: withDefault(types.boolean, false, {
    flag: 'disable-agent',
    help: 'Serve the API only, run no pods on this machine.',
  }),
  ...node,
};

/** Of `copepod token`. */
export const tokenSettings = {
  config: common.config,
  dataDir: common.dataDir,
  ttl: withDefault(types.duration, 86_400_000, {
    flag: 'ttl',
    notInFile: true,
    defaultText: '24h',
    help: 'How long a new token is good for; 0: until it is deleted.',
  }),
  description: optional(types.string, {
    flag: 'description',
    notInFile: true,
    help: 'What a new token is for, shown by `copepod token list`.',
  }),
};

/** Of `copepod cleanup`, beside those of the node. */
export const cleanupSettings = {
  yes: withDefault(types.boolean, false, {
    flag: 'yes',
    notInFile: true,
    help: 'Do it, and do not only tell.',
  }),
};

export const agentSettings = {
  ...common,
  server: optional(types.httpsUrl, {
    flag: 'server',
    help: 'Server to join, https://HOST:6443. Needed.',
  }),
  token: optional(types.string, {
    flag: 'token',
    secret: true,
    help: 'Token to join with, from `copepod token create` or DATA-DIR/server/token. Needed for the first start.',
  }),
  ...node,
};

/** The values of a table of settings, by property. */
export type ValuesOf<Table> = {
  -readonly [Key in keyof Table]: Table[Key] extends Setting<infer Value> ? Value : never;
};

export type SettingsTable = Readonly<Record<string, Setting<unknown>>>;
