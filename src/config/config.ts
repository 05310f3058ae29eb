import { hostname } from 'node:os';
import { ConfigError, type ConfigSources, resolveSettings } from './resolve.ts';
import { agentSettings, serverSettings, type ValuesOf } from './settings.ts';
import { cidrRange, ipv4Number } from './value-types.ts';

/** What every mode's default settles when nobody has said otherwise. */
interface Settled {
  nodeName: string;
}

/** The resolved configuration of `copepod server`. */
export interface ServerConfig
  extends Omit<ValuesOf<typeof serverSettings>, 'nodeName' | 'writeKubeconfig'>,
    Settled {
  writeKubeconfig: string;
}

/** The resolved configuration of `copepod agent`. */
export interface AgentConfig extends Omit<ValuesOf<typeof agentSettings>, 'nodeName' | 'server'>, Settled {
  server: string;
}

/** A configuration and what is worth telling about how it came about. */
export interface Resolved<Config> {
  config: Config;
  /** Things that have no effect, one line each. */
  warnings: string[];
}

/** Throws ConfigError: one line that names the setting, its value and what is allowed. */
export function resolveServerConfig(sources: ConfigSources): Resolved<ServerConfig> {
  const { values, warnings } = resolveSettings(serverSettings, agentSettings, sources);
  const config: ServerConfig = {
    ...values,
    nodeName: values.nodeName ?? defaultNodeName(),
    writeKubeconfig: values.writeKubeconfig ?? `${values.dataDir}/kubeconfig`,
  };
  checkTogether(config);
  checkSoftThresholds(config);
  checkImages(config);
  return { config, warnings };
}

/** Throws ConfigError like resolveServerConfig. */
export function resolveAgentConfig(sources: ConfigSources): Resolved<AgentConfig> {
  const { values, warnings } = resolveSettings(agentSettings, serverSettings, sources);
  if (values.server === undefined) {
    throw new ConfigError('--server is missing: copepod agent --server https://HOST:6443 --token TOKEN');
  }
  checkSoftThresholds(values);
  checkImages(values);
  return {
    config: { ...values, server: values.server, nodeName: values.nodeName ?? defaultNodeName() },
    warnings,
  };
}

/** What one setting alone cannot tell. */
function checkTogether(config: ServerConfig): void {
  const [podFirst, podLast] = cidrRange(config.clusterCidr);
  const [serviceFirst, serviceLast] = cidrRange(config.serviceCidr);
  if (podFirst <= serviceLast && serviceFirst <= podLast) {
    throw new ConfigError(
      `--cluster-cidr ${config.clusterCidr} and --service-cidr ${config.serviceCidr} overlap: choose two networks apart`,
    );
  }
  const dns = ipv4Number(config.clusterDns);
  if (dns < serviceFirst || dns > serviceLast) {
    throw new ConfigError(
      `--cluster-dns ${config.clusterDns} lies outside --service-cidr ${config.serviceCidr}: choose an address inside`,
    );
  }
  if (config.httpsListenPort === config.mqttListenPort) {
    throw new ConfigError(
      `--https-listen-port and --mqtt-listen-port are both ${config.httpsListenPort}: choose two ports (0 switches mqtts off)`,
    );
  }
}

/** What the kubelet asks of the two thresholds; a deadline without end would be none. */
function checkImages(
  config: Pick<
    ServerConfig,
    | 'imageGcHighThreshold'
    | 'imageGcLowThreshold'
    | 'imagePullProgressDeadline'
    | 'imageMaximumGcAge'
    | 'minimumImageTtlDuration'
  >,
): void {
  const { imageGcHighThreshold: high, imageGcLowThreshold: low } = config;
  if (low >= high) {
    throw new ConfigError(
      `--image-gc-low-threshold ${low} has to be lower than --image-gc-high-threshold ${high}`,
    );
  }
  if (config.imagePullProgressDeadline === 0) {
    throw new ConfigError('--image-pull-progress-deadline 0 is not allowed: expected a duration like 2m');
  }
  if (config.imageMaximumGcAge > 0 && config.imageMaximumGcAge <= config.minimumImageTtlDuration) {
    throw new ConfigError('--image-maximum-gc-age has to be longer than --minimum-image-ttl-duration');
  }
}

/** Without its grace period a soft threshold would be a hard one. */
function checkSoftThresholds({
  evictionSoft,
  evictionSoftGracePeriod,
}: Pick<ServerConfig, 'evictionSoft' | 'evictionSoftGracePeriod'>): void {
  const timed = new Set(evictionSoftGracePeriod.map(({ signal }) => signal));
  const soft = new Set(evictionSoft.map(({ signal }) => signal));
  const missing = [...soft].find((signal) => !timed.has(signal));
  if (missing) {
    throw new ConfigError(
      `--eviction-soft ${missing} has no grace period: add --eviction-soft-grace-period ${missing}=90s`,
    );
  }
  const idle = [...timed].find((signal) => !soft.has(signal));
  if (idle)
    throw new ConfigError(`--eviction-soft-grace-period ${idle} has no --eviction-soft that it is for`);
}

/** Node names are DNS names: k8s lower-cases the host name and so do we; what is not allowed becomes a dash. */
function defaultNodeName(): string {
  const name = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9.-]/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
  return name === '' ? 'localhost' : name;
}
