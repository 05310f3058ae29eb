import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import type { Service } from '../../lib/service.ts';
import { identity } from '../names.ts';
import type { DesiredChange, HostPort } from '../ports.ts';
import { ContainerView } from './container-view.ts';
import type { ObservedInstance } from './observe.ts';
import type { PodServices } from './services.ts';
import { PodWorker } from './worker.ts';

/**
 * All pods of this node: one worker for each that is desired or that something is left of. Wakes them; decides nothing
 * for them. Nothing is started before the network has adopted what lives on from before.
 */
export class PodManager implements Service {
  private readonly services: PodServices;
  private readonly onRuntime: (available: boolean) => void;
  private readonly workers = new Map<string, PodWorker>();
  private readonly adopted = new Map<string, { sandboxId: string; ips: string[] }>();
  private state: 'stopped' | 'adopting' | 'running' = 'stopped';
  private known = false;

  constructor(options: {
    services: Omit<PodServices, 'view'>;
    /** The engine was lost or is back: for the node's condition. */
    onRuntime: (available: boolean) => void;
  }) {
    const { clock, logger, runtime } = options.services;
    const view = new ContainerView({
      clock,
      logger,
      runtime,
      onPod: (uid) => this.observed(uid),
      onAvailable: (available) => this.runtimeChanged(available),
    });
    this.services = { ...options.services, view };
    this.onRuntime = options.onRuntime;
  }

  async start(): Promise<void> {
    this.services.desired.onChange((change) => this.desiredChanged(change));
    this.state = 'adopting';
    // With the engine away this returns all the same; everything begins when it is back.
    await this.services.view.start();
    if (this.services.view.available) await this.adopt();
  }

  /** Leaves every pod running. */
  async stop(): Promise<void> {
    this.state = 'stopped';
    await this.services.view.stop();
    await Promise.all([...this.workers.values()].map((worker) => worker.stop()));
    this.workers.clear();
  }

  get runtimeAvailable(): boolean {
    return this.services.view.available;
  }

  /** The container's instances, newest first. */
  instances(podUid: string, container: string): readonly ObservedInstance[] {
    return this.services.view.pod(podUid).containers.get(container) ?? [];
  }

  sandboxPid(podUid: string): number | undefined {
    const sandbox = this.services.view.pod(podUid).sandboxes[0];
    return sandbox?.state === 'running' ? sandbox.pid : undefined;
  }

  pod(podUid: string): { pod: Pod; status: PodStatus | undefined } | undefined {
    const worker = this.workers.get(podUid);
    return worker?.current && { pod: worker.current, status: worker.status };
  }

  /** Pods that live on from an earlier life of the agent keep their addresses; all others are given back. */
  private async adopt(): Promise<void> {
    if (this.state !== 'adopting' || this.known) return;
    this.known = true;
    const { view, files, network, desired, logger } = this.services;
    const living: { uid: string; ips: string[]; hostPorts: readonly HostPort[] }[] = [];
    for (const uid of view.podUids()) {
      const sandbox = view.pod(uid).sandboxes[0];
      const saved = sandbox?.state === 'running' ? await files.loadNetwork(uid) : undefined;
      if (!saved || saved.sandboxId !== sandbox?.id) continue;
      this.adopted.set(uid, saved);
      const pod = desired.pod(uid);
      if (pod?.spec?.hostNetwork) continue;
      living.push({ uid, ips: saved.ips, hostPorts: pod ? hostPorts(pod) : [] });
    }
    try {
      await network.adopt(living);
    } catch (error) {
      logger.error({ error: (error as Error).message }, 'the pod network could not adopt the running pods');
    }
    this.state = 'running';
    for (const pod of desired.pods()) this.wanted(identity(pod).uid);
    await this.sweep();
  }

  /** What is left of pods that nobody wants: containers, and directories whose containers are gone already. */
  private async sweep(): Promise<void> {
    if (this.state !== 'running') return;
    const uids = new Set([...this.services.view.podUids(), ...(await this.services.volumes.left())]);
    for (const uid of uids) if (this.services.desired.disowned(uid)) this.wanted(uid);
  }

  private wanted(uid: string): void {
    const pod = this.services.desired.pod(uid);
    // What nobody asks for is left alone until the server has said so itself: the journal may lack a pod's last seconds.
    if (!pod && !this.services.desired.disowned(uid)) return;
    let worker = this.workers.get(uid);
    if (!worker) {
      const network = this.adopted.get(uid);
      this.adopted.delete(uid);
      worker = new PodWorker({
        uid,
        services: this.services,
        onGone: (gone) => this.gone(gone),
        ...(network ? { network } : {}),
      });
      this.workers.set(uid, worker);
    }
    worker.update(pod);
  }

  private gone(uid: string): void {
    this.workers.delete(uid);
    // Named again in the meantime, or something came to light that was not seen before.
    if (this.state !== 'running') return;
    const pod = this.services.desired.pod(uid);
    if (pod && pod.metadata.deletionTimestamp === undefined) this.wanted(uid);
  }

  private observed(uid: string): void {
    if (this.state !== 'running') return;
    const worker = this.workers.get(uid);
    if (worker) worker.wake();
    else if (this.services.view.podUids().includes(uid)) this.wanted(uid);
  }

  private desiredChanged(change: DesiredChange): void {
    if (this.state !== 'running') return;
    if (change.kind === 'pod') {
      if (this.services.desired.pod(change.uid) || this.workers.has(change.uid)) this.wanted(change.uid);
    } else if (change.kind === 'config') {
      for (const worker of this.workers.values()) {
        if (worker.current && identity(worker.current).namespace === change.namespace) worker.configChanged();
      }
    }
    // The first whole picture came with this change.
    if (change.kind === 'whole') void this.sweep();
  }

  private runtimeChanged(available: boolean): void {
    this.onRuntime(available);
    if (!available) return;
    if (this.state === 'adopting') {
      void this.adopt();
      return;
    }
    for (const worker of this.workers.values()) worker.wake();
    void this.sweep();
  }
}

function hostPorts(pod: Pod): HostPort[] {
  return (pod.spec?.containers ?? []).flatMap(({ ports = [] }) =>
    ports
      .filter(({ hostPort }) => hostPort)
      .map(({ hostIP, hostPort = 0, containerPort, protocol = 'TCP' }) => ({
        hostPort,
        containerPort,
        protocol,
        ...(hostIP ? { hostIP } : {}),
      })),
  );
}
