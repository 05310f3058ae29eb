import type { Pod, PodStatus } from '../../api/types/core-v1.ts';
import type { Timer } from '../../lib/clock.ts';
import type { Service } from '../../lib/service.ts';
import type { NodeObjection } from '../../wire/messages.ts';
import { pressureObjection } from '../eviction/admission.ts';
import type { ActivePod, EndOrder, EvictablePods } from '../eviction/port.ts';
import { familiarName } from '../images/reference.ts';
import { identity } from '../names.ts';
import type { DesiredChange, HostPort } from '../ports.ts';
import { judgeAdmission } from './admission.ts';
import { judgeFeatures } from './admission-features.ts';
import { PodAllocations } from './allocations.ts';
import { ContainerView } from './container-view.ts';
import type { ObservedInstance } from './observe.ts';
import type { PodServices } from './services.ts';
import { PodWorker } from './worker.ts';

/** How long a pod that does not fit waits for the news that another is gone, before it is refused. */
const ROOM_PATIENCE_MS = 2_000;

/**
 * All pods of this node: one worker for each that is desired or that something is left of. Wakes them; decides nothing
 * for them. Nothing is started before the network has adopted what lives on from before.
 */
export class PodManager implements Service, EvictablePods {
  private readonly services: PodServices;
  private readonly onRuntime: (available: boolean) => void;
  private readonly onGone: (uid: string) => void;
  private readonly workers = new Map<string, PodWorker>();
  /** Pods that do not fit, and until when they wait for others to go. */
  private readonly squeezed = new Map<string, { until: number; timer: Timer }>();
  private readonly adopted = new Map<string, { sandboxId: string; ips: string[] }>();
  private state: 'stopped' | 'adopting' | 'running' = 'stopped';
  private known = false;

  constructor(options: {
    services: Omit<PodServices, 'view' | 'allocations'>;
    /** The engine was lost or is back: for the node's condition. */
    onRuntime: (available: boolean) => void;
    /** Nothing is left of the pod. */
    onGone?: (uid: string) => void;
  }) {
    const { clock, logger, runtime } = options.services;
    const view = new ContainerView({
      clock,
      logger,
      runtime,
      onPod: (uid) => this.observed(uid),
      onAvailable: (available) => this.runtimeChanged(available),
    });
    const allocations = new PodAllocations({ allocatable: () => options.services.node().allocatable });
    this.services = { ...options.services, view, allocations };
    this.onRuntime = options.onRuntime;
    this.onGone = options.onGone ?? (() => {});
  }

  async start(): Promise<void> {
    this.services.desired.onChange((change) => this.desiredChanged(change));
    this.services.allocations.onRoom((uid) => this.workers.get(uid)?.wake());
    this.state = 'adopting';
    // With the engine away this returns all the same; everything begins when it is back.
    await this.services.view.start();
    if (this.services.view.available) await this.adopt();
  }

  /** Leaves every pod running. */
  async stop(): Promise<void> {
    this.state = 'stopped';
    for (const { timer } of this.squeezed.values()) timer.cancel();
    this.squeezed.clear();
    await this.services.view.stop();
    await Promise.all([...this.workers.values()].map((worker) => worker.stop()));
    this.workers.clear();
  }

  get runtimeAvailable(): boolean {
    return this.services.view.available;
  }

  /** There are, or may be, containers of pods that are not wanted here any more: force-deleted ones take their time. */
  get unwantedLeft(): boolean {
    const { view, desired } = this.services;
    return this.state !== 'running' || !view.available || view.podUids().some((uid) => !desired.pod(uid));
  }

  /** Pods that something runs of, or that are being started. */
  active(): ActivePod[] {
    const active: ActivePod[] = [];
    for (const [uid, worker] of this.workers) {
      if (!worker.current || worker.over) continue;
      const observed = this.services.view.pod(uid);
      const containers = [...observed.containers].flatMap(([name, [newest]]) => {
        const pid = newest && this.services.view.container(newest.id)?.pid;
        return newest ? [{ id: newest.id, name, ...(pid === undefined ? {} : { pid }) }] : [];
      });
      active.push({ pod: worker.current, containers });
    }
    return active;
  }

  end(podUid: string, order: EndOrder): void {
    this.workers.get(podUid)?.end(order);
  }

  /** Does nothing of the pod run any more? */
  ended(podUid: string): boolean {
    const { containers } = this.services.view.pod(podUid);
    return [...containers.values()].every(([newest]) => newest?.state !== 'running');
  }

  /** Removes ended containers that nothing needs. Returns how many. */
  async removeDead(): Promise<number> {
    const counts = await Promise.all([...this.workers.values()].map((worker) => worker.removeDead()));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** The container's instances, newest first. */
  instances(podUid: string, container: string): readonly ObservedInstance[] {
    return this.services.view.pod(podUid).containers.get(container) ?? [];
  }

  sandboxPid(podUid: string): number | undefined {
    const sandbox = this.services.view.pod(podUid).sandboxes[0];
    return sandbox?.state === 'running' ? sandbox.pid : undefined;
  }

  /** Is anything of the pod on this board? */
  runs(podUid: string): boolean {
    return this.workers.has(podUid) || this.services.view.podUids().includes(podUid);
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
      await network.adopt(living, this.formerAddresses());
    } catch (error) {
      logger.error({ error: (error as Error).message }, 'the pod network could not adopt the running pods');
    }
    this.state = 'running';
    for (const pod of desired.pods()) this.wanted(identity(pod).uid);
    await this.sweep();
  }

  /** By uid. A pod that is started again, after a power cut say, is to be found where it was. */
  private formerAddresses(): Map<string, string> {
    const { desired, lastStatus } = this.services;
    const former = new Map<string, string>();
    for (const pod of desired.pods()) {
      const { uid } = identity(pod);
      const { podIP, phase } = lastStatus(uid) ?? {};
      const ended = phase === 'Succeeded' || phase === 'Failed';
      if (podIP !== undefined && !ended && !pod.spec?.hostNetwork) former.set(uid, podIP);
    }
    return former;
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
    let objection: NodeObjection | undefined;
    if (!worker) {
      objection = pod && this.objection(uid, pod);
      const { features } = this.services.node();
      const lasting =
        objection !== undefined &&
        (objection === this.services.desired.objection(uid) ||
          (pod !== undefined && features !== undefined && judgeFeatures(pod, features) !== undefined));
      if (objection && !lasting && this.waitsForRoom(uid)) return;
      this.squeezed.get(uid)?.timer.cancel();
      this.squeezed.delete(uid);
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
    if (objection && pod) worker.reject(pod, objection);
  }

  /** Why a pod that is new here may not run here; it is asked once, before anything of it is made. */
  private objection(uid: string, pod: Pod): NodeObjection | undefined {
    const { desired, view, lastStatus, node } = this.services;
    const begun =
      pod.metadata.deletionTimestamp !== undefined ||
      pod.status?.startTime !== undefined ||
      lastStatus(uid)?.startTime !== undefined ||
      view.podUids().includes(uid);
    if (begun) return undefined;
    const others = [...this.workers.values()]
      .filter((worker) => worker.occupies)
      .map(({ current }) => current);
    const { allocatable, features, pressures = [] } = node();
    const pressed = pressureObjection(pod, pressures);
    if (pressed) return pressed;
    const refused = features && judgeFeatures(pod, features);
    if (refused) return refused;
    return judgeAdmission(
      pod,
      others.filter((other) => other !== undefined),
      { allocatable, objection: desired.objection(uid) },
    );
  }

  /**
   * True while a pod that does not fit is not refused yet: the news that another is gone may be right behind it (it was
   * deleted by force, or while this agent was away).
   */
  private waitsForRoom(uid: string): boolean {
    const { clock, desired } = this.services;
    const waiting = this.squeezed.get(uid);
    if (waiting) return clock.monotonic() < waiting.until;
    const timer = clock.after(ROOM_PATIENCE_MS, () => {
      if (desired.pod(uid)) this.wanted(uid);
      else this.squeezed.delete(uid);
    });
    this.squeezed.set(uid, { until: clock.monotonic() + ROOM_PATIENCE_MS, timer });
    return true;
  }

  private gone(uid: string): void {
    this.workers.delete(uid);
    this.onGone(uid);
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

  /** Images were loaded from an archive. */
  imagesArrived(names: readonly string[]): void {
    const arrived = new Set(names.map(familiarName));
    for (const worker of this.workers.values()) {
      worker.imagesArrived((image) => arrived.has(familiarName(image)));
    }
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
