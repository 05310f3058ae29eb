import { hasReason, isAlreadyExists, isConflict, isNotFound } from '../../api/errors.ts';
import { NODES, PODS } from '../../api/kinds.ts';
import type { Node, ObjectReference, Pod, PodCondition } from '../../api/types/core-v1.ts';
import type { EventWriter } from '../../client/events.ts';
import type { Informer, InformerSet } from '../../client/informer.ts';
import type { Client } from '../../client/port.ts';
import { type Clock, timestamp } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import type { MessageBus } from '../../wire/message-bus.ts';
import type {
  EventReport,
  Heartbeat,
  ImageReport,
  NodeRegistration,
  PodStatusReport,
  PodUsageReport,
  VolumeReport,
} from '../../wire/messages.ts';
import { filters, parseUpward, topics } from '../../wire/topics.ts';
import { encodeMessage, type MessageKind, type Messages, parseMessage } from '../../wire/validate.ts';
import type { BoardState } from './board-state.ts';
import { type ImageKnowledge, statusAfterImages } from './image-knowledge.ts';
import { NodeLeases } from './node-leases.ts';
import {
  conditionsAfterHeartbeat,
  nodeToCreate,
  registrationPatch,
  statusAfterRegistration,
} from './node-objects.ts';
import {
  judgeReport,
  mergePodStatus,
  readyCondition,
  restoredReadiness,
  withoutFuture,
} from './pod-status.ts';
import type { UsageReadings } from './usage-readings.ts';
import type { VolumeReports } from './volume-reports.ts';

/** kubelet's nodeStatusReportFrequency: heartbeat times on the Node are renewed this often when nothing else changes. */
const STATUS_REFRESH_MS = 300_000;
/** An agent's clock may be wrong, or its report old from being offline; outside of this the server's time is used. */
const OLDEST_EVENT_MS = 86_400_000;
const CLOCK_SKEW_MS = 60_000;

const BY_UID = 'bus/uid';
const BY_NODE = 'bus/nodeName';

/** The topic tells what a message has to be. */
const KIND_OF = {
  alive: 'Alive',
  register: 'NodeRegistration',
  heartbeat: 'Heartbeat',
  events: 'EventReport',
  usage: 'PodUsageReport',
  volumes: 'VolumeReport',
  images: 'ImageReport',
  status: 'PodStatusReport',
} as const satisfies Record<string, MessageKind>;

/** What a node said last and is not yet written. One entry per node and per pod of it, so the bound is their number. */
interface NodeWork {
  registration?: NodeRegistration;
  heartbeat?: Heartbeat;
  images?: ImageReport;
}

type Key = `node:${string}` | `pod:${string}`;

/**
 * Takes what agents publish into the API: Node objects, their conditions and leases, pod statuses, events. Handlers only
 * note the newest; the writes are made by a queue, one at a time for each node and pod, and retried. The topic says
 * which node speaks (the broker has checked that), and a node is heard on its own pods only.
 */
export class Ingest implements Service {
  private readonly client: Client;
  private readonly bus: MessageBus;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly boards: BoardState;
  private readonly usage: Pick<UsageReadings, 'came' | 'forget'> | undefined;
  private readonly volumes: Pick<VolumeReports, 'came'> | undefined;
  private readonly images: Pick<ImageKnowledge, 'came' | 'forget'> | undefined;
  private readonly events: EventWriter;
  private readonly pods: Informer<Pod>;
  private readonly nodes: Informer<Node>;
  private readonly leases: NodeLeases;
  private readonly queue: WorkQueue<Key>;

  private readonly work = new Map<string, NodeWork>();
  private readonly reports = new Map<string, { node: string; report: PodStatusReport }>();
  /** Node -> uid -> newest sequence heard of this boot of its agent. */
  private readonly sequences = new Map<string, Map<string, number>>();
  /** Pod uid -> the Ready condition that its agent reported last; see restoredReadiness. */
  private readonly said = new Map<string, PodCondition>();
  /** Registrations that a broker kept from before our time, of nodes not known to be alive. */
  private readonly heldBack = new Map<string, NodeRegistration>();
  private running = false;
  private subscribed = false;
  private detach: (() => void)[] = [];

  constructor(options: {
    client: Client;
    bus: MessageBus;
    informers: InformerSet;
    events: EventWriter;
    boards: BoardState;
    /** Who wants to know what pods use. */
    usage?: Pick<UsageReadings, 'came' | 'forget'>;
    /** Who waits for released volumes to be removed. */
    volumes?: Pick<VolumeReports, 'came'>;
    /** Who learns for which architectures images are made. */
    images?: Pick<ImageKnowledge, 'came' | 'forget'>;
    clock: Clock;
    logger: Logger;
  }) {
    this.client = options.client;
    this.bus = options.bus;
    this.clock = options.clock;
    this.logger = options.logger;
    this.boards = options.boards;
    this.usage = options.usage;
    this.volumes = options.volumes;
    this.images = options.images;
    this.events = options.events;
    this.pods = options.informers.of(PODS);
    this.nodes = options.informers.of(NODES);
    this.leases = new NodeLeases({ client: options.client, clock: options.clock });
    this.queue = new WorkQueue<Key>({
      clock: this.clock,
      process: (key) =>
        key.startsWith('node:')
          ? this.writeNode(key.slice('node:'.length))
          : this.writePod(key.slice('pod:'.length)),
      onError: (key, error, retryInMs) => {
        const fields = { key, err: error, retryInMs };
        if (isConflict(error) || isAlreadyExists(error)) this.logger.debug(fields, 'report lost a race');
        else this.logger.warn(fields, 'report of an agent not written');
      },
      concurrency: 16,
      maxDelayMs: 10_000,
    });
  }

  async start(): Promise<void> {
    await Promise.all([this.pods.synced, this.nodes.synced]);
    this.pods.addIndex(BY_UID, (pod) => pod.metadata.uid);
    this.pods.addIndex(BY_NODE, (pod) => pod.spec?.nodeName);
    this.running = true;
    this.boards.listens();
    this.queue.start();
    this.detach = [
      this.pods.handle({
        onUpdate: (pod) => this.checkReadiness(pod),
        onDelete: (pod) => this.forgetPod(pod),
      }),
      this.nodes.handle({
        onUpdate: ({ metadata }) => {
          for (const pod of this.pods.byIndex(BY_NODE, metadata.name ?? '')) this.checkReadiness(pod);
        },
        onDelete: (node) => this.forgetNode(node.metadata.name ?? ''),
      }),
    ];
    if (this.subscribed) return;
    this.subscribed = true;
    for (const filter of [
      filters.allAlive(),
      filters.allRegister(),
      filters.allHeartbeats(),
      filters.allPodStatuses(),
      filters.allEvents(),
      filters.allUsages(),
      filters.allVolumes(),
      filters.allImages(),
    ]) {
      this.bus.subscribe(filter, (topic, payload, retained) => {
        if (this.running) this.receive(topic, payload, retained);
      });
    }
  }

  async stop(): Promise<void> {
    this.running = false;
    for (const detach of this.detach) detach();
    this.detach = [];
    await this.queue.stop();
  }

  /** Nothing waits to be written. */
  get idle(): boolean {
    return this.queue.idle;
  }

  private receive(topic: string, payload: string, retained: boolean): void {
    const source = parseUpward(topic);
    // An empty payload deletes a retained message: nothing was said.
    if (!source || payload === '') return;
    const { node, kind } = source;
    const parsed = parseMessage(KIND_OF[kind], payload);
    if (!parsed.ok) {
      this.logger.warn(
        { node, problem: parsed.problem, detail: parsed.detail },
        'message of an agent ignored',
      );
      return;
    }
    const message: Messages[(typeof KIND_OF)[typeof kind]] = parsed.message;
    switch (kind) {
      case 'alive': {
        const { alive, boot } = message as Messages['Alive'];
        if (!alive) this.boards.died(node, boot);
        else {
          if (this.boards.alive(node, boot)) this.sequences.delete(node);
          const registration = this.heldBack.get(node);
          if (registration) this.registered(node, registration);
        }
        return;
      }
      case 'register':
        // An external broker also keeps what boards said that are gone for good.
        if (retained && !this.boards.liveness.of(node)?.connected) {
          this.heldBack.set(node, message as NodeRegistration);
          return;
        }
        this.boards.heard(node);
        this.registered(node, message as NodeRegistration);
        return;
      case 'heartbeat':
        this.boards.heartbeat(node, (message as Heartbeat).m);
        this.workOf(node).heartbeat = message as Heartbeat;
        this.queue.add(`node:${node}`);
        return;
      case 'status':
        this.boards.heard(node);
        this.reported(node, source.uid ?? '', message as PodStatusReport);
        return;
      case 'usage':
        this.boards.heard(node);
        this.usage?.came(node, message as PodUsageReport);
        return;
      case 'volumes':
        this.boards.heard(node);
        this.volumes?.came(node, message as VolumeReport);
        return;
      case 'images':
        // An external broker keeps what boards said that are gone for good, and nobody would take it back.
        if (retained && !this.nodes.get(undefined, node)) return;
        this.images?.came(node, message as ImageReport);
        this.workOf(node).images = message as ImageReport;
        this.queue.add(`node:${node}`);
        return;
      case 'events':
        this.boards.heard(node);
        this.event(node, message as EventReport);
        return;
    }
  }

  private registered(node: string, registration: NodeRegistration): void {
    this.heldBack.delete(node);
    this.workOf(node).registration = registration;
    this.queue.add(`node:${node}`);
  }

  private workOf(node: string): NodeWork {
    let work = this.work.get(node);
    if (!work) {
      work = {};
      this.work.set(node, work);
    }
    return work;
  }

  private reported(node: string, uid: string, report: PodStatusReport): void {
    let sequences = this.sequences.get(node);
    const [pod] = this.pods.byIndex(BY_UID, uid);
    const verdict = uid === report.uid ? judgeReport(pod, report, node, sequences?.get(uid)) : 'forget';
    if (verdict === 'stale') return;
    if (verdict === 'forget') {
      this.acknowledge(node, report);
      return;
    }
    if (!sequences) {
      sequences = new Map();
      this.sequences.set(node, sequences);
    }
    sequences.set(uid, report.sequence);
    const status = withoutFuture(report.status, pod?.status, this.clock.now());
    const ready = readyCondition(status);
    if (ready) this.said.set(uid, ready);
    this.reports.set(uid, { node, report: { ...report, status } });
    this.queue.add(`pod:${uid}`);
  }

  private forgetPod(pod: Pod): void {
    const uid = pod.metadata.uid ?? '';
    this.sequences.get(pod.spec?.nodeName ?? '')?.delete(uid);
    this.said.delete(uid);
  }

  private checkReadiness(pod: Pod): void {
    if (this.readinessOf(pod)) this.queue.add(`pod:${pod.metadata.uid}`);
  }

  private readinessOf(pod: Pod): Pod['status'] {
    const said = this.said.get(pod.metadata.uid ?? '');
    return said && restoredReadiness(pod, said, this.nodes.get(undefined, pod.spec?.nodeName ?? ''));
  }

  private forgetNode(node: string): void {
    this.work.delete(node);
    this.sequences.delete(node);
    this.leases.forget(node);
    this.boards.forget(node);
    this.usage?.forget(node);
    this.images?.forget(node);
  }

  private async writePod(uid: string): Promise<void> {
    const entry = this.reports.get(uid);
    const [pod] = this.pods.byIndex(BY_UID, uid);
    if (!entry) {
      const status = pod && this.readinessOf(pod);
      if (status) await this.client.updateStatus(PODS, { ...pod, status });
      return;
    }
    const { node, report } = entry;
    if (pod && pod.spec?.nodeName === node) {
      try {
        await this.applyReport(pod, report);
      } catch (error) {
        if (!isNotFound(error) && !isRefused(error)) throw error;
        if (isRefused(error)) {
          // To send it again would not help; without acknowledgement the agent would do so for ever.
          this.logger.error(
            { node, pod: report.name, namespace: report.namespace, err: error },
            'pod status refused',
          );
        }
      }
    }
    if (this.reports.get(uid) === entry) this.reports.delete(uid);
    this.acknowledge(node, report);
  }

  private async applyReport(pod: Pod, report: PodStatusReport): Promise<void> {
    const status = mergePodStatus(pod.status, report.status);
    const current = status ? await this.client.updateStatus(PODS, { ...pod, status }) : pod;
    // A pod that nobody asked to end keeps its object, however ended it is.
    if (!report.gone || current.metadata.deletionTimestamp === undefined) return;
    await this.client.delete(PODS, report.namespace, report.name, {
      gracePeriodSeconds: 0,
      preconditions: { uid: report.uid },
    });
  }

  private acknowledge(node: string, { uid, sequence }: PodStatusReport): void {
    const payload = encodeMessage('StatusAck', { v: 1, uid, sequence });
    if (payload === undefined) return;
    // Lost with the connection: the agent repeats its report, and is acknowledged then.
    this.bus.publish(topics.acks(node), payload, { qos: 1 }).catch(() => {});
  }

  private async writeNode(name: string): Promise<void> {
    const work = this.work.get(name);
    if (!work) return;
    const { registration, heartbeat } = work;
    if (registration) {
      await this.register(name, registration);
      if (work.registration === registration) delete work.registration;
    }
    await this.writeImages(name, work);
    if (!heartbeat) return;
    // A Node that was deleted stays so until its agent registers again, as with kubelet.
    const node = this.nodes.get(undefined, name);
    if (node) {
      await this.applyHeartbeat(node, heartbeat);
      await this.leases.renew(node);
    }
    if (work.heartbeat === heartbeat) delete work.heartbeat;
  }

  /** A node that is not registered yet gets them with its registration. */
  private async writeImages(name: string, work: NodeWork): Promise<void> {
    const { images } = work;
    const node = this.nodes.get(undefined, name);
    if (!images || !node) return;
    const status = statusAfterImages(node.status, images);
    if (status) await this.client.updateStatus(NODES, { ...node, status });
    if (work.images === images) delete work.images;
  }

  private async register(name: string, registration: NodeRegistration): Promise<void> {
    let node = this.nodes.get(undefined, name);
    if (node) {
      const patch = registrationPatch(node, registration);
      if (patch) node = await this.client.patch(NODES, undefined, name, { type: 'merge', body: patch });
    } else {
      node = await this.client.create(NODES, undefined, nodeToCreate(name, registration));
      this.logger.info({ node: name }, 'node registered');
    }
    const status = statusAfterRegistration(node.status, registration);
    if (status) await this.client.updateStatus(NODES, { ...node, status });
  }

  private async applyHeartbeat(node: Node, heartbeat: Heartbeat): Promise<void> {
    const conditions = conditionsAfterHeartbeat(
      node.status?.conditions ?? [],
      heartbeat.c ?? {},
      timestamp(this.clock.now()),
      STATUS_REFRESH_MS,
    );
    if (!conditions) return;
    await this.client.updateStatus(NODES, { ...node, status: { ...node.status, conditions } });
  }

  private event(node: string, report: EventReport): void {
    const [pod] = report.kind === 'Pod' ? this.pods.byIndex(BY_UID, report.uid) : [];
    // A pod that is already deleted may still be spoken of, another node's may not.
    if (pod && pod.spec?.nodeName !== node) return;
    if (report.kind === 'Node' && report.name !== node) return;
    const regarding: ObjectReference = {
      apiVersion: 'v1',
      kind: report.kind,
      name: report.name,
      uid: report.uid,
      ...(report.kind === 'Pod' ? { namespace: report.namespace } : {}),
      ...(report.fieldPath === undefined ? {} : { fieldPath: report.fieldPath }),
    };
    const now = this.clock.now();
    const told = Date.parse(report.time);
    const plausible = told <= now + CLOCK_SKEW_MS && told >= now - OLDEST_EVENT_MS;
    this.events
      .of(report.component ?? 'kubelet', node, plausible ? told : now)
      .record(regarding, report.type, report.reason, report.message);
  }
}

/** The registry understood the report and will never take it. */
function isRefused(error: unknown): boolean {
  return hasReason(error, 'Invalid') || hasReason(error, 'BadRequest') || hasReason(error, 'Forbidden');
}
