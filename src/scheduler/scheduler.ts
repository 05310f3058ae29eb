import { isConflict, isNotFound, StatusError } from '../api/errors.ts';
import { NAMESPACES, NODES, POD_DISRUPTION_BUDGETS, PODS, SERVICES } from '../api/kinds.ts';
import type { Service as KubeService, Namespace, Node, Pod } from '../api/types/core-v1.ts';
import type { PodDisruptionBudget } from '../api/types/policy-v1.ts';
import type { BoardReadings } from '../client/boards.ts';
import { EventSeries } from '../client/event-series.ts';
import type { Informer, InformerSet } from '../client/informer.ts';
import type { Client } from '../client/port.ts';
import { type MatchSelector, selectorCache } from '../client/selector-cache.ts';
import { type Clock, withTimeout } from '../lib/clock.ts';
import { sameJson } from '../lib/equal.ts';
import type { Logger } from '../lib/logger.ts';
import type { Metered, MetricFamily } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import type { Service } from '../lib/service.ts';
import { BoardRelief, describeReading } from './board-relief.ts';
import { type Decision, decide } from './decide.ts';
import { ImageArchitectures } from './image-hints.ts';
import { SchedulerMeter } from './meter.ts';
import { Nominations } from './nominations.ts';
import type { ClusterEvent, Situation } from './plugins/plugin.ts';
import type { PodInfo } from './pod-info.ts';
import { PodStatuses } from './pod-statuses.ts';
import type { PodPredicate } from './pod-terms.ts';
import { type Preemption, preempt, refused } from './preemption.ts';
import { type Measured, type Profile, profileOf } from './profile.ts';
import { protectedBy } from './protection.ts';
import { SchedulingQueue } from './queue.ts';
import { servicesOf } from './siblings.ts';
import { Snapshot } from './snapshot.ts';
import { VolumeBinder } from './volume-binder.ts';
import { planVolumes, type VolumePlan, volumesOf } from './volumes.ts';

/** Bindings under way at once: enough to fill the store's group commits. */
const MOST_BINDINGS = 256;
const BIND_TIMEOUT_MS = 30_000;
/** Decisions in one go before the event loop gets its turn. */
const DECISIONS_PER_TURN = 16;
/** `action` of the events, by their reason. */
const ACTIONS = { Scheduled: 'Binding', FailedScheduling: 'Scheduling', Preempted: 'Preempting' };

/**
 * Gives pods their nodes. Deciding is serial and synchronous on an incremental snapshot; binding is detached, and the
 * decision counts as made (assumed) until it fails. Pods of other scheduler names are left alone.
 */
export class Scheduler implements Service, Metered {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly logger: Logger;
  private readonly recorder: EventSeries;
  private readonly readings: BoardReadings;
  private readonly name: string;
  private readonly profile: Profile;
  private readonly images: ImageArchitectures;
  private readonly volumes: VolumeBinder;
  private readonly relief: BoardRelief;
  private readonly statuses: PodStatuses;
  private readonly pods: Informer<Pod>;
  private readonly nodes: Informer<Node>;
  private readonly budgets: Informer<PodDisruptionBudget>;
  private readonly namespaces: Informer<Namespace>;
  private readonly services: Informer<KubeService>;
  private readonly queue: SchedulingQueue;
  private readonly meter: SchedulerMeter;
  private readonly snapshot = new Snapshot();
  private readonly selects: MatchSelector = selectorCache();
  private readonly assumed = new Map<string, string>();
  private readonly nominations = new Nominations(this.snapshot);
  private readonly inFlight = new Set<Promise<void>>();
  private detach: (() => void)[] = [];
  private nextStart = 0;
  private running = false;
  private looping: Promise<void> | undefined;

  constructor(options: {
    client: Client;
    informers: InformerSet;
    clock: Clock;
    random: Random;
    logger: Logger;
    readings: BoardReadings;
    /** Default: full. */
    measured?: Measured;
    /** Default: nothing is known of images. */
    images?: ImageArchitectures;
    /** Default: default-scheduler. */
    name?: string;
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.random = options.random;
    this.name = options.name ?? 'default-scheduler';
    this.logger = options.logger.child({ scheduler: this.name });
    this.recorder = new EventSeries({
      client: options.client,
      clock: options.clock,
      logger: options.logger,
      controller: this.name,
      actions: ACTIONS,
    });
    this.readings = options.readings;
    this.profile = profileOf(options.measured ?? 'full');
    this.images = options.images ?? new ImageArchitectures();
    this.volumes = new VolumeBinder(options);
    this.relief = new BoardRelief({ readings: options.readings, snapshot: this.snapshot });
    this.pods = options.informers.of(PODS);
    this.nodes = options.informers.of(NODES);
    this.budgets = options.informers.of(POD_DISRUPTION_BUDGETS);
    this.statuses = new PodStatuses({
      ...options,
      recorder: this.recorder,
      pods: this.pods,
      name: this.name,
    });
    this.namespaces = options.informers.of(NAMESPACES);
    this.services = options.informers.of(SERVICES);
    this.queue = new SchedulingQueue({ clock: options.clock, onActive: () => this.wake() });
    this.meter = new SchedulerMeter(this.name, () => this.queue.size);
  }

  async start(): Promise<void> {
    const { pods, nodes, budgets, namespaces, services, volumes, queue } = this;
    await Promise.all([pods, nodes, budgets, namespaces, services, volumes].map(({ synced }) => synced));
    await this.recorder.start();
    this.running = true;
    volumes.start(() => queue.happened('volume'));
    this.detach = [
      this.namespaces.handle({
        onAdd: (namespace) => this.namespaceSeen(namespace),
        onUpdate: (namespace) => this.namespaceSeen(namespace),
        onDelete: ({ metadata }) => this.snapshot.setNamespace(metadata.name ?? '', undefined),
      }),
      this.images.onChange(() => queue.happened('image')),
      this.readings.onReading?.((node) => this.measured(node)) ?? (() => {}),
      this.nodes.handle({
        onAdd: (node) => this.nodeAdded(node),
        onUpdate: (node, old) => this.nodeUpdated(node, old),
        onDelete: (node) => this.nodeGone(node.metadata.name ?? ''),
      }),
      this.pods.handle({
        onAdd: (pod) => this.podSeen(pod, undefined),
        onUpdate: (pod, old) => this.podSeen(pod, old),
        onDelete: (pod) => this.podGone(pod),
      }),
    ];
    this.wake();
  }

  /** Decides nothing more and waits for the bindings under way. */
  async stop(): Promise<void> {
    this.running = false;
    for (const detach of this.detach) detach();
    this.detach = [];
    this.queue.stop();
    this.volumes.stop();
    await this.looping;
    await Promise.all(this.inFlight);
    await this.recorder.stop();
  }

  /** Pods by state. */
  get pending(): SchedulingQueue['size'] {
    return this.queue.size;
  }

  metrics(): Iterable<MetricFamily> {
    return this.meter.metrics();
  }

  private nodeAdded(node: Node): void {
    this.snapshot.setNode(node);
    this.queue.happened('node-added');
  }

  private nodeGone(name: string): void {
    this.snapshot.removeNode(name);
    this.relief.forget(name);
    this.nominations.nodeGone(name);
  }

  private namespaceSeen({ metadata }: Namespace): void {
    this.snapshot.setNamespace(metadata.name ?? '', metadata.labels ?? {});
    this.queue.happened('namespace');
  }

  private measured(node: string): void {
    if (!this.queue.awaits('board-relief')) this.relief.forget(node);
    else if (this.relief.came(node, this.clock.monotonic())) this.queue.happened('board-relief');
  }

  private nodeUpdated(node: Node, old: Node): void {
    this.snapshot.setNode(node);
    for (const event of nodeChanges(node, old)) this.queue.happened(event);
  }

  private podSeen(pod: Pod, old: Pod | undefined): void {
    const uid = pod.metadata.uid ?? '';
    if (pod.spec?.nodeName) {
      const before = this.snapshot.nodeOf(uid)?.pods.get(uid)?.requests;
      this.settled(uid);
      this.snapshot.setPod(pod, this.clock.monotonic());
      const after = this.snapshot.nodeOf(uid)?.pods.get(uid)?.requests;
      // Gone, or made smaller.
      if (before && (!after || after.cpu < before.cpu || after.memory < before.memory)) {
        this.queue.happened('pod-gone');
      }
      if (after && (!old?.spec?.nodeName || !sameJson(old.metadata.labels, pod.metadata.labels))) {
        this.queue.happened('pod-placed');
      }
      return;
    }
    const ended = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (ended || pod.metadata.deletionTimestamp !== undefined) this.settled(uid);
    else if ((pod.spec?.schedulerName || 'default-scheduler') === this.name) {
      this.queue.set(pod);
      this.nominatedBefore(pod);
    }
  }

  /** A nomination outlives a restart of the server, and may be made by hand: both stand in the pod's status. */
  private nominatedBefore(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    const node = pod.status?.nominatedNodeName;
    const info = node ? this.queue.get(uid) : undefined;
    if (node && info && this.nominations.nodeOf(uid) === undefined) this.nominations.set(info, node);
  }

  private podGone(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    this.settled(uid);
    if (!this.snapshot.holds(uid)) return;
    this.snapshot.removePod(uid, this.clock.monotonic());
    this.queue.happened('pod-gone');
  }

  /** The pod needs no decision any more. */
  private settled(uid: string): void {
    this.queue.delete(uid);
    this.assumed.delete(uid);
    this.nominations.delete(uid);
    this.volumes.abandon(uid);
  }

  private wake(): void {
    if (!this.running || this.looping) return;
    this.looping = this.loop().finally(() => {
      this.looping = undefined;
      // What became active between the last look and here.
      if (this.running && this.queue.size.active > 0) this.wake();
    });
  }

  private async loop(): Promise<void> {
    // Let a burst of creations come in: the first of them need not be the most important.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (let decisions = 1; this.running; decisions += 1) {
      if (this.inFlight.size >= MOST_BINDINGS) await Promise.race(this.inFlight);
      const info = this.queue.pop();
      if (!info) return;
      this.scheduleOne(info);
      if (decisions % DECISIONS_PER_TURN === 0) {
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    }
  }

  private scheduleOne(info: PodInfo): void {
    const now = this.clock.monotonic();
    const situation: Situation = {
      snapshot: this.snapshot,
      readings: this.readings,
      volumes: this.volumes,
      images: this.images,
      siblings: (pod) => this.siblings(pod),
      now,
    };
    const nominated = this.nominations.nodeOf(info.uid);
    const decision = this.nominations.beside(info, situation, this.profile.filters, (filters) =>
      decide(info, situation, {
        ...this.profile,
        filters,
        random: () => this.random.number(),
        start: this.nextStart,
        ...(nominated === undefined ? {} : { nominated }),
      }),
    );
    this.nextStart = decision.nextStart;
    const work =
      decision.node === undefined
        ? this.refuse(info, situation, decision)
        : this.bind(info, decision.node, now, this.placementMessage(info, decision, now));
    const tracked: Promise<void> = work
      .then(
        (result) => this.meter.attempted(result, this.clock.monotonic() - now),
        (error: unknown) => {
          this.meter.attempted('error', this.clock.monotonic() - now);
          this.logger.warn({ err: error, pod: info.key }, 'scheduling failed');
        },
      )
      .finally(() => this.inFlight.delete(tracked));
    this.inFlight.add(tracked);
  }

  private siblings(info: PodInfo): PodPredicate | undefined {
    const { namespace = '' } = info.pod.metadata;
    if (this.services.countIndex('namespace', namespace) === 0) return undefined;
    return servicesOf(info, this.services.list(namespace));
  }

  /** In kube-scheduler's words, and what was measured where that decided. */
  private placementMessage(info: PodInfo, decision: Decision, now: number): string {
    const { node = '', insteadOf } = decision;
    const words = `Successfully assigned ${info.key} to ${node}`;
    if (insteadOf === undefined) return words;
    const state = (name: string): string => describeReading(this.snapshot.get(name), this.readings, now);
    return `${words}, by what the boards measure: ${node} ${state(node)}, ${insteadOf} ${state(insteadOf)}`;
  }

  private async bind(
    info: PodInfo,
    node: string,
    now: number,
    placed: string,
  ): Promise<'scheduled' | 'error'> {
    const { namespace = '', name = '', uid = '' } = info.pod.metadata;
    const plan = this.volumePlan(info, node);
    this.snapshot.assume(info, node, now);
    this.assumed.set(uid, node);
    if (plan) this.volumes.promise(plan);
    try {
      if (plan) await this.volumes.bind(info, plan, node);
      await withTimeout(
        this.clock,
        BIND_TIMEOUT_MS,
        this.client.createSubresource(PODS, namespace, name, 'binding', {
          apiVersion: 'v1',
          kind: 'Binding',
          metadata: { name, namespace, uid },
          target: { apiVersion: 'v1', kind: 'Node', name: node },
        }),
        () => new StatusError('Timeout', 504, 'the binding was not acknowledged in time'),
      );
      this.recorder.record(info.pod, 'Normal', 'Scheduled', placed);
      return 'scheduled';
    } catch (error) {
      // Already settled: the pod was published with its node, or deleted, meanwhile.
      if (!this.assumed.delete(uid)) {
        if (!this.pods.byKey(info.key)?.spec?.nodeName) this.snapshot.removePod(uid, this.clock.monotonic());
        return 'error';
      }
      this.snapshot.removePod(uid, this.clock.monotonic());
      this.queue.happened('pod-gone');
      if (isNotFound(error) && !this.pods.byKey(info.key)) {
        this.queue.delete(uid);
        return 'error';
      }
      this.queue.retry(uid);
      const message = error instanceof Error ? error.message : String(error);
      this.recorder.record(info.pod, 'Warning', 'FailedScheduling', `binding rejected: ${message}`);
      if (!isConflict(error) && !isNotFound(error)) throw error;
      return 'error';
    } finally {
      if (plan) this.volumes.release(plan);
    }
  }

  /** What has to be done for the pod's claims; undefined when nothing has. */
  private volumePlan(info: PodInfo, node: string): VolumePlan | undefined {
    const target = info.claims.length > 0 && this.snapshot.get(node);
    if (!target) return undefined;
    const own = volumesOf(info, this.volumes);
    const plan = typeof own === 'string' ? [] : planVolumes(own, target, this.volumes);
    // The decision was made on the same objects a moment ago.
    if (Array.isArray(plan)) return undefined;
    return plan.bind.length + plan.provision.length > 0 ? plan : undefined;
  }

  private async refuse(info: PodInfo, situation: Situation, decision: Decision): Promise<'unschedulable'> {
    const helpedBy = new Set<ClusterEvent>();
    for (const plugin of this.profile.filters) {
      if (decision.refusedBy.includes(plugin.name)) for (const event of plugin.helpedBy) helpedBy.add(event);
    }
    helpedBy.add('node-added');
    let message = decision.message;
    let nominate: string | undefined;
    let victims: readonly PodInfo[] = [];
    if (situation.snapshot.nodes.length > 0) {
      const preemption = this.victims(info, situation, decision);
      if (preemption.message !== '') message += ` ${preemption.message}`;
      nominate = preemption.node;
      victims = preemption.victims;
      this.meter.preempted(victims.length);
      if (nominate === undefined) this.nominations.delete(info.uid);
      else {
        helpedBy.add('pod-gone');
        this.nominations.set(info, nominate);
      }
    }
    const displaced = victims.length > 0 && nominate !== undefined ? this.displace(info, nominate) : [];
    // Before anything is awaited: an event that comes from now on is not missed.
    this.queue.wait(info.uid, helpedBy);
    this.recorder.record(info.pod, 'Warning', 'FailedScheduling', message);
    await this.statuses.report(info, message, nominate);
    for (const other of displaced) await this.statuses.unnominate(other);
    for (const victim of victims) await this.statuses.evict(victim, info);
    return 'unschedulable';
  }

  /** Less important pods that wait for the same node look again: their room goes to this one. */
  private displace(info: PodInfo, node: string): PodInfo[] {
    const displaced = this.nominations.displace(info, node);
    for (const { uid } of displaced) this.queue.retry(uid);
    return displaced;
  }

  private victims(info: PodInfo, situation: Situation, decision: Decision): Preemption {
    const waiting = this.nominations.nodeOf(info.uid);
    const going = waiting === undefined ? undefined : this.snapshot.get(waiting)?.pods.values();
    // Victims of an earlier round are still terminating: kube-scheduler waits for them.
    for (const pod of going ?? []) {
      if (pod.priority < info.priority && pod.pod.metadata.deletionTimestamp !== undefined) {
        return refused('not eligible due to a terminating pod on the nominated node.', waiting);
      }
    }
    return this.nominations.beside(info, situation, this.profile.filters, (filters) =>
      preempt(info, situation, {
        filters,
        resolvable: decision.resolvable,
        start: this.nextStart,
        protectedOf: (pods) => protectedBy(pods, (namespace) => this.budgets.list(namespace), this.selects),
      }),
    );
  }
}

function nodeChanges(node: Node, old: Node): ClusterEvent[] {
  const events: ClusterEvent[] = [];
  if (!sameJson(node.status?.allocatable, old.status?.allocatable)) events.push('node-allocatable');
  if (!sameJson(node.metadata.labels, old.metadata.labels)) events.push('node-labels');
  if (
    !sameJson(node.spec?.taints, old.spec?.taints) ||
    node.spec?.unschedulable !== old.spec?.unschedulable
  ) {
    events.push('node-taints');
  }
  return events;
}
