import { cpus, totalmem } from 'node:os';
import type { Pod } from '../api/types/core-v1.ts';
import { BoardMeter } from '../health/measure.ts';
import { type PressureState, pressures } from '../health/pressure.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import type { Service } from '../lib/service.ts';
import { dialer } from '../wire/dial.ts';
import { MQTT_PATH } from '../wire/join.ts';
import type { StreamRequest } from '../wire/messages.ts';
import { MqttClientBus } from '../wire/mqtt-client.ts';
import { topics } from '../wire/topics.ts';
import { encodeMessage } from '../wire/validate.ts';
import { ApiTokenSource } from './api-client.ts';
import { AgentConnection } from './connection.ts';
import type { ClusterDns } from './containers/dns.ts';
import { DesiredStore } from './desired.ts';
import { agentDirectories, prepareDirectories } from './directories.ts';
import { DnsServer } from './dns/server.ts';
import { DockerRuntime } from './docker/runtime.ts';
import { HeartbeatSender } from './heartbeat.ts';
import { ImageManager } from './images/image-manager.ts';
import { Joiner, type NodeIdentity } from './join.ts';
import { Journal } from './journal.ts';
import { Limiter } from './limiter.ts';
import { Membership } from './membership.ts';
import { LABEL } from './names.ts';
import { createLinuxNetwork } from './network/linux-network.ts';
import { Handlers } from './pods/handlers.ts';
import { PodManager } from './pods/manager.ts';
import { NodePodFiles } from './pods/node-pod-files.ts';
import { oomScoreFloor } from './pods/oom-floor.ts';
import { PodEvents } from './pods/pod-events.ts';
import { streamTargets } from './pods/stream-targets.ts';
import { nodeFacts, type RegistrationOptions, readMachineId } from './registration.ts';
import { StatusReporter } from './reporter.ts';
import { bundledSandboxImage } from './sandbox-image.ts';
import type { StreamServer } from './streams/server.ts';
import { UsageReporter } from './usage.ts';
import { SystemMounter } from './volumes/mounter.ts';
import { NodeVolumes } from './volumes/node-volumes.ts';
import { VolumeRemover } from './volumes/remover.ts';

/** The resolved configuration of `copepod agent`; the server's own agent gets the same from the server. */
export interface AgentOptions {
  dataDir: string;
  nodeName: string;
  nodeIp?: string | undefined;
  nodeLabels: readonly { key: string; value: string }[];
  nodeTaints: RegistrationOptions['taints'];
  /** `unix:///var/run/docker.sock` */
  dockerHost: string;
  /** `https://HOST:6443` */
  server: string;
  /** Needed until the node has joined. */
  token?: string | undefined;
  /** The agent within the server. */
  own?: boolean;
  /** /var/log */
  logDirectory?: string;
}

export interface AgentDependencies {
  clock: Clock;
  random: Random;
  logger: Logger;
  version: string;
}

const ADDRESS_FALLBACK = '127.0.0.1';
/** How long the start waits for an answer to the join: a token that is refused ends the program with its reason. */
const JOIN_WAIT_MS = 5_000;
const PARALLEL_PULLS = 3;
/**
 * A create or start waits for the disk and for locks of the kernel more than it computes. With less than this, a busy
 * machine gives the starts of pods less than their share: 1.4 x of plain calls with 2 a core, 1.2 x with 4 (twelve bursts
 * of 20 pods each, in turns, load 3 to 19).
 */
const STARTS_PER_CORE = 4;

/** Composes the agent. Nothing acts before `start`. */
export async function createAgent(options: AgentOptions, deps: AgentDependencies): Promise<Service> {
  const { clock, random } = deps;
  const node = options.nodeName;
  const logger = deps.logger.child({ part: 'agent' });
  const directories = agentDirectories(options.dataDir);
  const machineId = await readMachineId({ directory: directories.agent, random });
  const mounter = new SystemMounter();

  // --- what the server says, and what is remembered of it ---
  const journal = new Journal({ directory: directories.agent, clock, logger });
  const desired = new DesiredStore({ node, journal, logger });
  const joiner = new Joiner({
    server: options.server,
    nodeName: node,
    machineId,
    directory: directories.agent,
    clock,
    random,
    logger,
    ...(options.token === undefined ? {} : { token: options.token }),
  });
  const boot = random.uuid();
  const bus = new MqttClientBus({
    clock,
    random,
    logger,
    clientId: node,
    will: AgentConnection.lastWill(node, boot),
    // The broker's address and the certificate may have changed by the next attempt.
    onFailure: (error) => void membership.failed(error),
    dial: () => dialer(brokerUrl(options.server, joiner.identity), () => tls(joiner.identity))(),
  });
  const membership = new Membership({ joiner, desired, node, own: options.own ?? false, logger });
  bus.onConnect(() => membership.connected());
  const reporter = new StatusReporter({
    node,
    bus,
    clock,
    random,
    logger,
    journal,
    isDesired: (uid) => desired.pod(uid) !== undefined,
  });
  const tokens = new ApiTokenSource({
    server: options.server,
    identity: () => joiner.identity,
    journal,
    clock,
    logger,
  });
  const events = new PodEvents(reporter);

  // --- the board ---
  const runtime = new DockerRuntime({
    clock,
    socketPath: options.dockerHost.replace(/^unix:\/\//, ''),
    owner: node,
    onWarning: (spec, warning) => {
      logger.warn({ container: spec.name, warning }, 'Docker warns');
      if (!/limit|discarded/i.test(warning)) return;
      const { labels } = spec;
      reporter.event({
        namespace: labels[LABEL.podNamespace] ?? '',
        name: labels[LABEL.podName] ?? '',
        uid: labels[LABEL.podUid] ?? '',
        kind: 'Pod',
        type: 'Warning',
        reason: 'LimitNotHonoured',
        message: `Docker: ${warning}`,
      });
    },
  });
  let engineDirectory: string | undefined;
  const engine = async (): Promise<{ name: string; version: string; dataDirectory: string }> => {
    const version = await runtime.version();
    engineDirectory = version.dataDirectory;
    return version;
  };
  const registration: RegistrationOptions = {
    nodeName: node,
    machineId,
    version: `v1.36.0+copepod.${deps.version}`,
    labels: Object.fromEntries(options.nodeLabels.map(({ key, value }) => [key, value])),
    taints: options.nodeTaints,
    engine,
    ...(options.nodeIp === undefined ? {} : { nodeIP: options.nodeIp }),
  };
  const board = {
    name: node,
    ips: [options.nodeIp ?? ADDRESS_FALLBACK],
    memoryCapacityBytes: totalmem(),
    allocatable: {} as Record<string, string>,
    oomScoreFloor: -1000,
  };
  const learnBoard = async (): Promise<void> => {
    const offline = async () =>
      await engine().catch(() => ({ name: 'docker', version: 'unknown', dataDirectory: directories.pods }));
    const facts = await nodeFacts({ ...registration, engine: offline });
    const address = facts.addresses.find(({ type }) => type === 'InternalIP')?.address;
    board.ips = [address ?? ADDRESS_FALLBACK];
    board.allocatable = facts.allocatable;
    board.oomScoreFloor = await oomScoreFloor();
  };
  const meter = new BoardMeter({ clock, logger, dataDirectory: () => engineDirectory ?? directories.pods });

  // --- pods ---
  const { network, proxy } = createLinuxNetwork({
    nodeName: node,
    clock,
    logger,
  });
  const clusterDomain = (): string => desired.cluster()?.clusterDomain ?? 'cluster.local';
  const dns = new DnsServer({
    clock,
    random,
    logger,
    resolvConf: '/etc/resolv.conf',
    complete: () => desired.complete,
  });
  /** The cluster's DNS, as soon as this board answers at its address. */
  const clusterDns = (): ClusterDns | undefined => {
    const address = desired.cluster()?.clusterDns;
    return address && dns.port !== undefined ? { address, domain: clusterDomain() } : undefined;
  };
  const files = new NodePodFiles({
    podsDirectory: directories.pods,
    volatileDirectory: directories.volatile,
    logDirectory: options.logDirectory ?? '/var/log',
    engineDirectory: () => engineDirectory,
    etcDirectory: '/etc',
    clusterDns,
    clusterDomain,
    onDnsFallback: (pod: Pod) =>
      events.pod(
        pod,
        'Warning',
        'MissingClusterDNS',
        'the cluster has no DNS yet: Falling back to "Default" policy.',
      ),
  });
  const volumes = new NodeVolumes({
    podsDirectory: directories.pods,
    volatileDirectory: directories.volatile,
    clock,
    random,
    mounter,
    persistent: () => desired.volumes(),
    content: (pod) => ({
      config: desired,
      fields: {
        hostIPs: board.ips,
        podIPs: manager.pod(pod.metadata.uid ?? '')?.status?.podIPs?.map(({ ip }) => ip) ?? [],
        allocatable: board.allocatable,
      },
      tokens,
      onTokenMissing: (_pod, error) =>
        logger.warn(
          { pod: pod.metadata.name, error: (error as Error).message },
          'no service account token yet; the pod gets it later',
        ),
    }),
  });
  const remover = new VolumeRemover({
    node,
    desired,
    mounter,
    report: async (report) => {
      const payload = encodeMessage('VolumeReport', report);
      if (payload !== undefined) await bus.publish(topics.volumes(node), payload, { qos: 1 });
    },
    clock,
    logger,
  });
  const sandboxImage = bundledSandboxImage(runtime, logger, process.arch);
  const cores = Math.max(1, cpus().length);
  const manager = new PodManager({
    services: {
      clock,
      logger,
      runtime,
      network,
      volumes,
      files,
      images: new ImageManager({ runtime, clock, desired, events, parallelPulls: PARALLEL_PULLS }),
      handlers: new Handlers({ runtime, clock }),
      events,
      reporter,
      lastStatus: (uid) => reporter.lastStatus(uid),
      desired,
      sandboxImage,
      node: () => board,
      clusterDomain,
      startLimiter: new Limiter(Math.max(2, cores * STARTS_PER_CORE)),
      removeLimiter: new Limiter(Math.max(2, cores * STARTS_PER_CORE)),
      imageNames: new Map(),
    },
    onRuntime: (available) => {
      logger.info({ available }, available ? 'the container engine answers' : 'the container engine is lost');
      void heartbeat.now();
      if (available)
        void sandboxImage.ensure().catch((error: Error) => logger.error({ err: error }, 'no sandbox image'));
    },
  });

  // --- upwards ---
  let pressureState: PressureState = {};
  const heartbeat = new HeartbeatSender({
    node,
    bus,
    clock,
    random,
    logger,
    measure: () => meter.measure(),
    conditions: (measurements) => {
      const pressure = pressures(measurements, pressureState, clock.monotonic());
      pressureState = pressure.state;
      return manager.runtimeAvailable
        ? pressure.conditions
        : { Ready: 'ContainerRuntimeDown: the container runtime is down', ...pressure.conditions };
    },
  });
  // Streams are rare: their code is loaded with the first one.
  let streams: Promise<StreamServer> | undefined;
  const onStream = (request: StreamRequest): void => {
    streams ??= import('./streams/server.ts').then(
      (module) =>
        new module.StreamServer({
          dialer: {
            url: () => options.server,
            tls: () => {
              const { ca, certificate, key } = joiner.identity;
              return { ca, cert: certificate, key };
            },
          },
          runtime,
          targets: streamTargets(manager),
          clock,
          logger,
        }),
    );
    void streams.then((server) => server.handle(request));
  };
  const usage = new UsageReporter({
    node,
    bus,
    clock,
    logger,
    runtime,
    meter: async () => {
      const { PodMeter } = await import('../health/pod-usage.ts');
      return new PodMeter({ clock });
    },
  });
  const connection = new AgentConnection({
    node,
    boot,
    bus,
    desired,
    reporter,
    heartbeat,
    facts: () => nodeFacts(registration),
    onStream,
    onMeasure: (request) => usage.requested(request),
    clock,
    logger,
  });

  const applyNetwork = (): void => {
    const cluster = desired.cluster();
    network.update(desired.nodes(), cluster);
    network.updatePolicies(desired.policies(), desired.pods());
    dns.update(cluster, desired.services());
    const { port } = dns;
    proxy.serveDns(cluster && port !== undefined ? { address: cluster.clusterDns, port } : undefined);
    proxy.apply(desired.services()).catch((error: Error) => {
      logger.error({ err: error }, 'Services could not be programmed');
    });
  };
  const stopping = new AbortController();
  let joined: Promise<void> | undefined;

  return {
    async start() {
      await prepareDirectories(directories, mounter);
      await journal.start();
      desired.load();
      tokens.load();
      await learnBoard();
      runtime.connect();
      await network.start();
      await proxy.start();
      // Without it pods fall back to the board's resolvers, and say so in an event.
      await dns.start().catch((error: Error) => logger.error({ err: error }, 'no cluster DNS on this board'));
      desired.onChange((change) => {
        if (change.kind === 'network') applyNetwork();
        // Its labels may be others now.
        else if (change.kind === 'pod') network.updatePolicies(desired.policies(), desired.pods());
      });
      applyNetwork();
      const identity = await joiner.stored();
      const connect = async (): Promise<void> => {
        joiner.start();
        await connection.start();
      };
      // Before the reporter has read its journal no pod may be looked at: its last status is there.
      if (identity) await connect();
      await sandboxImage.ensure().catch((error: Error) => {
        logger.warn(
          { error: error.message },
          'the sandbox image is imported when the container engine answers',
        );
      });
      await manager.start();
      await remover.start();
      if (identity) return;
      joined = joiner.ensure(stopping.signal).then(connect);
      // A server that cannot be reached is waited for in the background; a refusal within this time ends the start.
      await Promise.race([joined, sleep(clock, JOIN_WAIT_MS)]);
      joined.catch((error: Error) => {
        if (stopping.signal.aborted) return;
        logger.error({ error: error.message }, 'the node cannot join');
        process.exit(1);
      });
    },
    async stop() {
      stopping.abort(new Error('the agent is being stopped'));
      await joined?.catch(() => {});
      await remover.stop();
      await manager.stop();
      void streams?.then((server) => server.stop());
      usage.stop();
      await connection.stop();
      await joiner.stop();
      await dns.stop();
      await proxy.stop();
      await network.stop();
      runtime.disconnect();
      await journal.stop();
    },
  };
}

function brokerUrl(server: string, identity: NodeIdentity): string {
  if (identity.mqttUrl) return identity.mqttUrl;
  const url = new URL(MQTT_PATH, server);
  url.protocol = 'wss:';
  return url.href;
}

function tls({ ca, certificate, key }: NodeIdentity): { ca: string; certificate: string; key: string } {
  return { ca, certificate, key };
}
