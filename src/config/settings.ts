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
  secretsEncryption: withDefault(types.boolean, false, {
    flag: 'secrets-encryption',
    help: 'Encrypt Secrets in the database (AES-256-GCM). Its key is in DATA-DIR/server/secrets-encryption.json: back it up apart.',
  }),
  auditLogPath: optional(types.path, {
    flag: 'audit-log-path',
    defaultText: 'no audit log',
    help: 'File that requests are logged to: who did what, without bodies (audit.k8s.io/v1, one JSON object a line).',
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
