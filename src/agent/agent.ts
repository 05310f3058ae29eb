import { cpus, homedir, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { BoardMeter } from '../health/measure.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import type { Service } from '../lib/service.ts';
import { dialer } from '../wire/dial.ts';
import { MQTT_PATH } from '../wire/join.ts';
import type { StreamRequest } from '../wire/messages.ts';
import { MqttClientBus } from '../wire/mqtt-client.ts';
import { AgentCore } from './agent-core.ts';
import type { Reservation } from './allocatable.ts';
import { ApiTokenSource } from './api-client.ts';
import type { CleanupOptions } from './cleanup.ts';
import { AgentConnection } from './connection.ts';
import type { ClusterDns } from './containers/dns.ts';
import { agentDirectories, prepareDirectories } from './directories.ts';
import { DnsServer } from './dns/server.ts';
import { DockerImages } from './docker/images.ts';
import { DockerRuntime } from './docker/runtime.ts';
import { createEviction, type EvictionOptions, evictionThresholds } from './eviction/compose.ts';
import { BoardImages, type ImageFlags, parallelPulls } from './images/compose.ts';
import { NodeIngress } from './ingress/node-ingress.ts';
import { Joiner, type NodeIdentity } from './join.ts';
import { Journal } from './journal.ts';
import { Membership } from './membership.ts';
import { LABEL } from './names.ts';
import { loopbackPort, type ProxyMode } from './network/board-proxy.ts';
import { createLinuxNetwork } from './network/linux-network.ts';
import { hasAppArmor } from './pods/app-armor.ts';
import { machineGroups } from './pods/machine.ts';
import { NodePodFiles } from './pods/node-pod-files.ts';
import { oomScoreFloor } from './pods/oom-floor.ts';
import { streamTargets } from './pods/stream-targets.ts';
import type { NodeFacts } from './ports.ts';
import { goArchitecture, nodeFacts, type RegistrationOptions, readMachineId } from './registration.ts';
import { bundledSandboxImage } from './sandbox-image.ts';
import { mirrorApi } from './static-pods/mirror-api.ts';
import type { StreamServer } from './streams/server.ts';
import { ImageVolumes } from './volumes/image-volume.ts';
import { SystemMounter } from './volumes/mounter.ts';
import { NodeVolumes } from './volumes/node-volumes.ts';
import { canRecursiveReadOnly } from './volumes/read-only.ts';
import { directoryRemover } from './volumes/remover.ts';

/** The resolved configuration of `copepod agent`; the server's own agent gets the same from the server. */
export interface AgentOptions extends EvictionOptions, ImageFlags {
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
  /** Ports at which Ingresses are served; 0: none. */
  ingressHttpPort: number;
  ingressHttpsPort: number;
  /** The agent within the server. */
  own?: boolean;
  /** Names or prefixes (`net.core.*`) of sysctls that pods may set beside the safe ones. */
  allowedUnsafeSysctls?: readonly string[];
  /** Directory of static pods; `<data>/agent/pod-manifests` unless said. */
  podManifestPath?: string | undefined;
  /** /var/log: links to containers' logs, for collectors. */
  containerLogDir: string;
  /** Bytes. */
  containerLogMaxSize: number;
  containerLogMaxFiles: number;
  kubeReserved: readonly Reservation[];
  systemReserved: readonly Reservation[];
  maxPods: number;
  /** -1: no limit. */
  podMaxPids: number;
  /** auto unless said. */
  proxyMode?: ProxyMode;
  /** kube-proxy's health port. */
  proxyHealthzBindAddress?: string;
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
  const tokens = new ApiTokenSource({
    server: options.server,
    identity: () => joiner.identity,
    journal,
    clock,
    logger,
  });

  // --- the board ---
  const runtime = new DockerRuntime({
    clock,
    socketPath: options.dockerHost.replace(/^unix:\/\//, ''),
    owner: node,
    logFiles: { maxSize: options.containerLogMaxSize, maxFiles: options.containerLogMaxFiles },
    onWarning: (spec, warning) => {
      logger.warn({ container: spec.name, warning }, 'Docker warns');
      if (!/limit|discarded/i.test(warning)) return;
      const { labels } = spec;
      core.reporter.event({
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
    board.recursiveReadOnly = canRecursiveReadOnly(version.apiVersion, release());
    return version;
  };
  const thresholds = evictionThresholds(options);
  const registration: RegistrationOptions = {
    nodeName: node,
    machineId,
    version: `v1.36.0+copepod.${deps.version}`,
    labels: Object.fromEntries(options.nodeLabels.map(({ key, value }) => [key, value])),
    taints: options.nodeTaints,
    engine,
    podsDirectory: directories.pods,
    maxPods: options.maxPods,
    reserved: { kube: options.kubeReserved, system: options.systemReserved },
    thresholds,
    ...(options.nodeIp === undefined ? {} : { nodeIP: options.nodeIp }),
  };
  const board = {
    name: node,
    ips: [options.nodeIp ?? ADDRESS_FALLBACK],
    memoryCapacityBytes: totalmem(),
    allocatable: {} as Record<string, string>,
    oomScoreFloor: -1000,
    recursiveReadOnly: false,
    features: { appArmor: true, allowedUnsafeSysctls: options.allowedUnsafeSysctls ?? [] },
    ...(options.podMaxPids > 0 ? { pidsLimit: options.podMaxPids } : {}),
  };
  const learnAddress = ({ addresses }: NodeFacts): void => {
    const own = addresses.find(({ type }) => type === 'InternalIP')?.address;
    // A board that boots before its link is up has no address: it is known by the one that it had.
    const known = (): string | undefined =>
      core.desired.nodes().find(({ name }) => name === node)?.internalIP;
    board.ips = [own || known() || ADDRESS_FALLBACK];
  };
  const learnBoard = async (): Promise<void> => {
    const offline = async () => await engine().catch(() => ({ name: 'docker', version: 'unknown' }));
    const facts = await nodeFacts({ ...registration, engine: offline });
    learnAddress(facts);
    board.allocatable = facts.allocatable;
    board.oomScoreFloor = await oomScoreFloor();
    board.features.appArmor = await hasAppArmor();
  };
  const meter = new BoardMeter({ clock, logger, dataDirectory: () => engineDirectory ?? directories.pods });

  // --- pods ---
  const { network, proxy } = createLinuxNetwork({
    nodeName: node,
    clock,
    random,
    proxyMode: options.proxyMode ?? 'auto',
    healthAddress: options.proxyHealthzBindAddress,
    localApiPort: loopbackPort(options.server),
    notify: ({ type, reason, message }) =>
      core.reporter.event({ namespace: '', name: node, uid: node, kind: 'Node', type, reason, message }),
    logger,
  });
  const clusterDomain = (): string => core.desired.cluster()?.clusterDomain ?? 'cluster.local';
  const dns = new DnsServer({
    clock,
    random,
    logger,
    resolvConf: '/etc/resolv.conf',
    complete: () => core.desired.complete,
  });
  /** The cluster's DNS, as soon as this board answers at its address. */
  const clusterDns = (): ClusterDns | undefined => {
    const address = core.desired.cluster()?.clusterDns;
    return address && dns.port !== undefined ? { address, domain: clusterDomain() } : undefined;
  };
  const files = new NodePodFiles({
    podsDirectory: directories.pods,
    volatileDirectory: directories.volatile,
    logDirectory: options.containerLogDir,
    seccompDirectory: `${directories.agent}/seccomp`,
    engineDirectory: () => engineDirectory,
    etcDirectory: '/etc',
    clusterDns,
    clusterDomain,
    onDnsNotice: (pod, { reason, message }) => core.events.pod(pod, 'Warning', reason, message),
  });
  const imageEngine = new DockerImages({
    clock,
    socketPath: options.dockerHost.replace(/^unix:\/\//, ''),
    owner: node,
  });
  const volumes = new NodeVolumes({
    podsDirectory: directories.pods,
    volatileDirectory: directories.volatile,
    clock,
    random,
    mounter,
    images: new ImageVolumes({
      ensure: (pod, source) => core.images.ensureForVolume(pod, source),
      engine: imageEngine,
      mounter,
    }),
    persistent: () => core.desired.volumes(),
    recursiveReadOnly: () => board.recursiveReadOnly,
    content: (pod) => ({
      config: core.desired,
      fields: {
        hostIPs: board.ips,
        podIPs: core.manager.pod(pod.metadata.uid ?? '')?.status?.podIPs?.map(({ ip }) => ip) ?? [],
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
  const sandboxImage = bundledSandboxImage(runtime, logger, process.arch);
  const cores = Math.max(1, cpus().length);
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
          targets: streamTargets(core.manager, (uid) => core.statics.desired.localUid(uid)),
          view: () => ({
            node,
            directory: engineDirectory ?? directories.pods,
            pods: core.manager
              .active()
              .map((each) => ({ ...each, status: core.manager.pod(each.pod.metadata.uid ?? '')?.status })),
          }),
          clock,
          logger,
        }),
    );
    void streams.then((server) => server.handle(request));
  };
  const images = new BoardImages({
    node,
    architecture: goArchitecture(process.arch),
    flags: options,
    engine: imageEngine,
    runtime,
    engineDirectory: () => engineDirectory,
    dockerConfig: join(homedir(), '.docker', 'config.json'),
    journal,
    bus,
    clock,
    logger,
    core: () => core,
  });
  const core: AgentCore = new AgentCore({
    node,
    boot,
    bus,
    journal,
    clock,
    random,
    logger,
    parallelStarts: Math.max(2, cores * STARTS_PER_CORE),
    board: {
      runtime,
      imageParts: images.parts,
      onEngine: () => images.engineAvailable(),
      parallelPulls: parallelPulls(options),
      network,
      volumes,
      files,
      sandboxImage,
      ...machineGroups({
        engine: () => runtime.cgroups(),
        cores,
        logger,
        event: (...event) => core.events.pod(...event),
      }),
      staticPods: {
        path: options.podManifestPath ?? `${directories.agent}/pod-manifests`,
        api: mirrorApi({
          server: options.server,
          nodeName: node,
          identity: () => joiner.identity,
          clock,
        }),
      },
      node: () => ({ ...board, pressures: Object.keys(eviction.conditions) }),
      clusterDomain,
      measure: () => meter.measure(),
      conditions: () => ({ ...eviction.conditions, ...ingress.condition }),
      // Asked for with each connection: the link may have come with another address.
      facts: async () => {
        const facts = await nodeFacts(registration);
        learnAddress(facts);
        return facts;
      },
      onStream,
      usageMeter: async () => {
        const { PodMeter } = await import('../health/pod-usage.ts');
        return new PodMeter({ clock });
      },
      removeDirectory: directoryRemover(mounter),
    },
  });
  const { desired } = core;
  const ingress = new NodeIngress({
    node,
    desired,
    reporter: core.reporter,
    httpPort: options.ingressHttpPort,
    httpsPort: options.ingressHttpsPort,
    holderOf: async (port) => (await import('./ingress/port-owner.ts')).portOwner(port),
    onCondition: () => void core.heartbeat.now(),
    clock,
    random,
    logger,
  });
  const eviction = createEviction({
    node,
    flags: options,
    thresholds,
    clock,
    logger,
    core,
    runtime,
    podsDirectory: directories.pods,
    engineDirectory: () => engineDirectory,
    reclaimImages: (request) => images.collector.collect(request),
  });
  const membership = new Membership({ joiner, desired, node, own: options.own ?? false, logger });
  bus.onConnect(() => membership.connected());

  const applyNetwork = (): void => {
    const cluster = desired.cluster();
    network.update(desired.nodes(), cluster);
    network.updatePolicies(desired.policies(), core.statics.desired.pods());
    dns.update(cluster, desired.services());
    const { port } = dns;
    proxy.serveDns(cluster && port !== undefined ? { address: cluster.clusterDns, port } : undefined);
    proxy.apply(desired.services(), desired.nodes());
  };
  const stopping = new AbortController();
  let joined: Promise<void> | undefined;

  return {
    async start() {
      await prepareDirectories(directories, mounter);
      await journal.start();
      core.load();
      tokens.load();
      await learnBoard();
      // The node says how it is with its first word.
      await eviction.start();
      runtime.connect();
      // First: it decides whether there is nftables for both.
      await proxy.start();
      await network.start();
      // Without it pods fall back to the board's resolvers, and say so in an event.
      await dns.start().catch((error: Error) => logger.error({ err: error }, 'no cluster DNS on this board'));
      core.statics.desired.onChange((change) => {
        if (change.kind === 'network') applyNetwork();
        // Its labels may be others now.
        else if (change.kind === 'pod')
          network.updatePolicies(desired.policies(), core.statics.desired.pods());
      });
      applyNetwork();
      await ingress.start();
      await images.start();
      const identity = await joiner.stored();
      const connect = async (): Promise<void> => {
        joiner.start();
        await core.connection.start();
      };
      // Before the reporter has read its journal no pod may be looked at: its last status is there.
      if (identity) await connect();
      await sandboxImage.ensure().catch((error: Error) => {
        logger.warn(
          { error: error.message },
          'the sandbox image is imported when the container engine answers',
        );
      });
      await core.start();
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
      await eviction.stop();
      await images.stop();
      await ingress.stop();
      void streams?.then((server) => server.stop());
      await core.stop();
      await joiner.stop();
      await dns.stop();
      await proxy.stop();
      await network.stop();
      runtime.disconnect();
      imageEngine.close();
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

/** `copepod cleanup`; loaded when it is asked for. */
export async function cleanUpBoard(
  options: CleanupOptions,
  deps: Pick<AgentDependencies, 'clock' | 'logger'>,
): Promise<{ text: string; complete: boolean }> {
  const { cleanUp } = await import('./cleanup.ts');
  return cleanUp(options, deps);
}
