import { ContainerConfigError } from '../../src/agent/containers/config-error.ts';
import { ImageManager } from '../../src/agent/images/image-manager.ts';
import { Limiter } from '../../src/agent/limiter.ts';
import type { PodFiles } from '../../src/agent/pods/files.ts';
import { Handlers } from '../../src/agent/pods/handlers.ts';
import { PodManager } from '../../src/agent/pods/manager.ts';
import { PodEvents } from '../../src/agent/pods/pod-events.ts';
import type { DesiredChange, DesiredState, PodNetwork, Reporter } from '../../src/agent/ports.ts';
import type { ContainerRuntime } from '../../src/agent/runtime.ts';
import { type PodVolumes, VolumeError } from '../../src/agent/volumes/port.ts';
import type { ConfigMap, PersistentVolume, Pod, PodStatus, Secret } from '../../src/api/types/core-v1.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import type { ClusterInfo, EventReport, NodeObjection, SharedService } from '../../src/wire/messages.ts';

/** DesiredState that a test sets. */
export class FakeDesired implements DesiredState {
  complete = true;
  private confirmed = true;
  private readonly held = new Map<string, Pod>();
  private readonly configs = new Map<string, ConfigMap | Secret>();
  private readonly listeners: ((change: DesiredChange) => void)[] = [];
  sharedServices: SharedService[] = [];
  readonly objections = new Map<string, NodeObjection>();
  persistentVolumes: PersistentVolume[] = [];

  set(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    this.held.set(uid, pod);
    this.emit({ kind: 'pod', uid });
  }

  delete(uid: string): void {
    this.held.delete(uid);
    this.emit({ kind: 'pod', uid });
  }

  disowned(uid: string): boolean {
    return this.confirmed && !this.held.has(uid);
  }

  /** The server has not spoken yet: all that is known comes from the journal. */
  unconfirmed(): this {
    this.confirmed = false;
    return this;
  }

  confirm(): void {
    this.confirmed = true;
    this.emit({ kind: 'whole' });
  }

  setConfig(object: ConfigMap | Secret): void {
    const { namespace = '', name = '' } = object.metadata;
    this.configs.set(`${object.kind}/${namespace}/${name}`, object);
    this.emit({ kind: 'config', namespace, name });
  }

  pods(): readonly Pod[] {
    return [...this.held.values()];
  }

  pod(uid: string): Pod | undefined {
    return this.held.get(uid);
  }

  objection(uid: string): NodeObjection | undefined {
    return this.objections.get(uid);
  }

  configMap(namespace: string, name: string): ConfigMap | undefined {
    return this.configs.get(`ConfigMap/${namespace}/${name}`) as ConfigMap | undefined;
  }

  secret(namespace: string, name: string): Secret | undefined {
    return this.configs.get(`Secret/${namespace}/${name}`) as Secret | undefined;
  }

  setVolumes(...volumes: PersistentVolume[]): void {
    this.persistentVolumes = volumes;
    this.emit({ kind: 'config', namespace: 'default', name: volumes[0]?.metadata.name ?? '' });
  }

  volumes(): readonly PersistentVolume[] {
    return this.persistentVolumes;
  }

  services(): readonly SharedService[] {
    return this.sharedServices;
  }

  nodes(): readonly never[] {
    return [];
  }

  cluster(): ClusterInfo | undefined {
    return undefined;
  }

  onChange(listener: (change: DesiredChange) => void): void {
    this.listeners.push(listener);
  }

  private emit(change: DesiredChange): void {
    for (const listener of this.listeners) listener(change);
  }
}

export class FakeReporter implements Reporter {
  /** By uid, oldest first. */
  readonly statuses = new Map<string, PodStatus[]>();
  readonly gone = new Map<string, PodStatus>();
  readonly events: Omit<EventReport, 'v' | 'time'>[] = [];

  podStatus(pod: Pod, status: PodStatus): void {
    const uid = pod.metadata.uid ?? '';
    this.statuses.set(uid, [...(this.statuses.get(uid) ?? []), structuredClone(status)]);
  }

  podGone(pod: Pod, status: PodStatus): void {
    this.gone.set(pod.metadata.uid ?? '', structuredClone(status));
  }

  event(event: Omit<EventReport, 'v' | 'time'>): void {
    this.events.push(event);
  }

  status(uid: string): PodStatus | undefined {
    return this.statuses.get(uid)?.at(-1);
  }

  ready(uid: string): boolean {
    return (
      this.status(uid)?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
    );
  }

  reasons(): string[] {
    return this.events.map(({ reason }) => reason);
  }
}

/** Hands out 10.42.0.2 and up. */
export class FakeNetwork implements PodNetwork {
  readonly attached = new Map<string, string[]>();
  failure: Error | undefined;
  private next = 2;

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async attach(pod: Pod): Promise<{ ips: string[] }> {
    if (this.failure) throw this.failure;
    const uid = pod.metadata.uid ?? '';
    const ips = this.attached.get(uid) ?? [`10.42.0.${this.next++}`];
    this.attached.set(uid, ips);
    return { ips };
  }

  async detach(podUid: string): Promise<void> {
    this.attached.delete(podUid);
  }

  async adopt(pods: readonly { uid: string; ips: string[] }[]): Promise<void> {
    this.attached.clear();
    for (const { uid, ips } of pods) this.attached.set(uid, ips);
  }
}

/** Volumes without a file system: a ConfigMap or Secret that is required has to exist, nothing else is checked. */
export class FakeVolumes implements PodVolumes {
  readonly prepared = new Set<string>();
  private readonly desired: Pick<DesiredState, 'configMap' | 'secret'>;

  constructor(desired: Pick<DesiredState, 'configMap' | 'secret'>) {
    this.desired = desired;
  }

  async prepare(pod: Pod): Promise<void> {
    const namespace = pod.metadata.namespace ?? '';
    for (const { name, configMap, secret } of pod.spec?.volumes ?? []) {
      if (configMap && !configMap.optional && !this.desired.configMap(namespace, configMap.name ?? '')) {
        throw new VolumeError(name, `configmap "${configMap.name}" not found`);
      }
      if (secret && !secret.optional && !this.desired.secret(namespace, secret.secretName ?? '')) {
        throw new VolumeError(name, `secret "${secret.secretName}" not found`);
      }
    }
    this.prepared.add(pod.metadata.uid ?? '');
  }

  async mounts(...[pod, container]: Parameters<PodVolumes['mounts']>): ReturnType<PodVolumes['mounts']> {
    return (container.volumeMounts ?? []).map(({ name, mountPath, readOnly }) => {
      if (!pod.spec?.volumes?.some((volume) => volume.name === name)) {
        throw new ContainerConfigError(`volume "${name}" not found`);
      }
      return {
        hostPath: `/fake/${pod.metadata.uid}/${name}`,
        containerPath: mountPath,
        readOnly: readOnly ?? false,
      };
    });
  }

  async teardown(podUid: string): Promise<void> {
    this.prepared.delete(podUid);
  }

  async left(): Promise<string[]> {
    return [...this.prepared];
  }
}

/** The pods' small files in memory. They outlive an agent, as the real ones do. */
export class FakeFiles implements PodFiles {
  readonly networks = new Map<string, { sandboxId: string; ips: string[] }>();
  readonly links = new Set<string>();
  /** `uid/container/attempt` -> termination message. */
  readonly messages = new Map<string, string>();

  async prepare(): Promise<void> {}
  async writeHosts(): Promise<void> {}

  paths(podUid: string): { hosts: string; resolvConf: string } {
    return { hosts: `/fake/${podUid}/etc-hosts`, resolvConf: `/fake/${podUid}/resolv.conf` };
  }

  async createTerminationLog(podUid: string, container: string, attempt: number): Promise<string> {
    return `/fake/${podUid}/${container}/${attempt}`;
  }

  async readTerminationLog(podUid: string, container: string, attempt: number): Promise<string> {
    return this.messages.get(`${podUid}/${container}/${attempt}`) ?? '';
  }

  async saveNetwork(podUid: string, network: { sandboxId: string; ips: string[] }): Promise<void> {
    this.networks.set(podUid, network);
  }

  async loadNetwork(podUid: string): Promise<{ sandboxId: string; ips: string[] } | undefined> {
    return this.networks.get(podUid);
  }

  async seccompProfile(name: string): Promise<string> {
    throw new Error(`cannot load seccomp profile "${name}"`);
  }

  logPath(pod: Pod, container: string, attempt: number): string {
    return `/var/log/pods/${pod.metadata.namespace}_${pod.metadata.name}_${pod.metadata.uid}/${container}/${attempt}.log`;
  }

  async linkLogs(pod: Pod, container: string, attempt: number): Promise<void> {
    this.links.add(this.logPath(pod, container, attempt));
  }

  async unlinkLogs(
    pod: { namespace: string; name: string; uid: string },
    container: string,
    attempt: number,
  ): Promise<void> {
    this.links.delete(this.logPath({ metadata: pod } as Pod, container, attempt));
  }

  async removeLogs(podUid: string): Promise<void> {
    for (const path of this.links) if (path.includes(`_${podUid}/`)) this.links.delete(path);
  }
}

export interface FakeNode {
  manager: PodManager;
  desired: FakeDesired;
  reporter: FakeReporter;
  network: FakeNetwork;
  volumes: FakeVolumes;
  files: FakeFiles;
  runtimeStates: boolean[];
}

/** The agent's pod machinery on a given engine, everything else in memory. Parts may be kept for a second agent. */
export function fakeNode(options: {
  clock: Clock;
  runtime: ContainerRuntime;
  sandboxImage?: string;
  oomScoreFloor?: number;
  /** The node's pressure conditions that are True. */
  pressures?: () => readonly string[];
  parallelStarts?: number;
  desired?: FakeDesired;
  network?: FakeNetwork;
  volumes?: FakeVolumes;
  files?: FakeFiles;
  reporter?: FakeReporter;
  logger?: Logger;
  lastStatus?: (uid: string) => PodStatus | undefined;
  memoryUse?: (pid: number) => Promise<number | undefined>;
}): FakeNode {
  const { clock, runtime } = options;
  const desired = options.desired ?? new FakeDesired();
  const reporter = options.reporter ?? new FakeReporter();
  const network = options.network ?? new FakeNetwork();
  const volumes = options.volumes ?? new FakeVolumes(desired);
  const files = options.files ?? new FakeFiles();
  const events = new PodEvents(reporter);
  const runtimeStates: boolean[] = [];
  const manager = new PodManager({
    services: {
      clock,
      logger: options.logger ?? silentLogger,
      runtime,
      network,
      volumes,
      files,
      images: new ImageManager({ runtime, clock, desired, events, parallelPulls: 2 }),
      handlers: new Handlers({ runtime, clock }),
      events,
      reporter,
      lastStatus: options.lastStatus ?? (() => undefined),
      ...(options.memoryUse ? { memoryUse: options.memoryUse } : {}),
      desired,
      sandboxImage: { reference: options.sandboxImage ?? 'pause', ensure: async () => {} },
      node: () => ({
        pressures: options.pressures?.() ?? [],
        name: 'board',
        ips: ['192.168.1.10'],
        memoryCapacityBytes: 1024 ** 3,
        allocatable: { cpu: '4', memory: '900Mi' },
        oomScoreFloor: options.oomScoreFloor ?? -1000,
      }),
      clusterDomain: () => 'cluster.local',
      startLimiter: new Limiter(options.parallelStarts ?? 10),
      removeLimiter: new Limiter(4),
      imageNames: new Map(),
    },
    onRuntime: (available) => runtimeStates.push(available),
  });
  return { manager, desired, reporter, network, volumes, files, runtimeStates };
}

/** A pod as the server sends it. */
export function testPod(
  name: string,
  spec: Partial<NonNullable<Pod['spec']>> & { containers: NonNullable<Pod['spec']>['containers'] },
  metadata: Partial<Pod['metadata']> = {},
): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}`,
      generation: 1,
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...metadata,
    },
    spec: { restartPolicy: 'Always', terminationGracePeriodSeconds: 30, nodeName: 'board', ...spec },
    status: { phase: 'Pending', qosClass: 'BestEffort' },
  };
}
