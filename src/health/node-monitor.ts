import { isConflict, isNotFound } from '../api/errors.ts';
import { NODES, PODS } from '../api/kinds.ts';
import type { Node, Pod, Taint } from '../api/types/core-v1.ts';
import type { NodeLiveness } from '../client/boards.ts';
import type { EventRecorder, EventWriter } from '../client/events.ts';
import type { Informer, InformerSet } from '../client/informer.ts';
import type { Client } from '../client/port.ts';
import { Controller, watch } from '../client/reconcile.ts';
import { type Clock, timestamp } from '../lib/clock.ts';
import { sameJson } from '../lib/equal.ts';
import type { Logger } from '../lib/logger.ts';
import { type Service, ServiceGroup } from '../lib/service.ts';
import {
  DEFAULT_RATES,
  EvictionPace,
  type EvictionRates,
  isCutOff,
  rateOf,
  zoneOf,
  zonesOf,
} from './eviction-pace.ts';
import {
  lostConditions,
  NOT_READY,
  readyStatus,
  STARTUP_GRACE_MS,
  UNREACHABLE,
  untilLost,
  wantedTaints,
} from './node-state.ts';
import { noExecute, toleratedFor } from './taint-eviction.ts';

const HEALTH_TAINTS = new Set([NOT_READY, UNREACHABLE]);

/**
 * Notices boards that fell silent: marks them and their pods, taints them, and after the time that a pod tolerates such a
 * taint deletes the pod, so that it is made anew elsewhere. The agent's own word (Ready, pressures) is written by the bus
 * and only translated into taints here. Waiting is measured by the monotonic clock and begins again with each start of the
 * server: an outage of its own never evicts anything.
 */
export class NodeMonitor implements Service {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly recorder: EventRecorder;
  private readonly liveness: NodeLiveness;
  private readonly nodes: Informer<Node>;
  private readonly pods: Informer<Pod>;
  private readonly health: Controller;
  private readonly evictions: Controller;
  private readonly services: ServiceGroup;
  private readonly rates: EvictionRates;
  private readonly pace = new EvictionPace();
  private unsubscribe: (() => void) | undefined;
  /** Since when a node carries its NoExecute taints, by `node/key`, monotonic. */
  private readonly tainted = new Map<string, number>();

  constructor(options: {
    client: Client;
    informers: InformerSet;
    clock: Clock;
    logger: Logger;
    events: EventWriter;
    liveness: NodeLiveness;
    /** Default: Kubernetes' own. */
    rates?: Partial<EvictionRates>;
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.recorder = options.events.of('node-controller');
    this.liveness = options.liveness;
    this.rates = { ...DEFAULT_RATES, ...options.rates };
    this.nodes = options.informers.of(NODES);
    this.pods = options.informers.of(PODS).addIndex('node', ({ spec }) => spec?.nodeName || undefined);
    const { clock, logger } = options;
    this.health = new Controller({
      name: 'node-lifecycle-controller',
      clock,
      logger,
      watches: [
        watch(this.nodes, (node, { old, deleted }) => {
          // One node's coming or going decides whether the others' pods are evicted.
          const ready = deleted || !old || readyStatus(node) !== readyStatus(old);
          return ready
            ? this.nodes.list().map(({ metadata }) => metadata.name ?? '')
            : (node.metadata.name ?? '');
        }),
      ],
      reconcile: (name) => this.check(name),
    });
    this.evictions = new Controller({
      name: 'taint-eviction-controller',
      clock,
      logger,
      watches: [
        watch(this.pods, (pod, { old, deleted }) =>
          deleted || !pod.spec?.nodeName || (old && old.spec?.nodeName === pod.spec.nodeName)
            ? undefined
            : `${pod.metadata.namespace}/${pod.metadata.name}`,
        ),
        watch(this.nodes, (node, { old, deleted }) => {
          if (deleted || (old && sameJson(noExecute(old.spec?.taints), noExecute(node.spec?.taints))))
            return undefined;
          this.noteTaints(node);
          return this.podsOn(node.metadata.name ?? '').map(
            ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
          );
        }),
      ],
      reconcile: (key) => this.evict(key),
    });
    this.services = new ServiceGroup([this.health, this.evictions]);
  }

  async start(): Promise<void> {
    this.unsubscribe = this.liveness.onChange((node) => this.health.enqueue(node));
    await this.services.start();
  }

  async stop(): Promise<void> {
    this.unsubscribe?.();
    await this.services.stop();
  }

  private podsOn(node: string): Pod[] {
    return this.pods.byIndex('node', node);
  }

  /** Returns when to look at the node again. */
  private async check(name: string): Promise<number | undefined> {
    const node = this.nodes.get(undefined, name);
    if (!node) return undefined;
    const left = untilLost(this.liveness.of(name), this.clock.monotonic(), this.liveness.listeningSince);
    const now = timestamp(this.clock.now());
    if (left <= 0) {
      const conditions = lostConditions(node, now);
      if (conditions) {
        // The taints follow with the change that this makes.
        await this.client.updateStatus(NODES, { ...node, status: { ...node.status, conditions } });
        this.recorder.record(node, 'Normal', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`);
        return undefined;
      }
    }
    if (readyStatus(node) !== 'True') await this.markPods(name);
    const { evicting, again } = this.turnOf(node);
    const taints = wantedTaints(node, evicting, now);
    if (taints) await this.setTaints(node, taints);
    const waits = [left, again ?? 0].filter((wait) => wait > 0);
    return waits.length > 0 ? Math.min(...waits) : undefined;
  }

  /** Whether the pods of a node that is not ready have to go now, and when to ask again. */
  private turnOf(node: Node): { evicting: boolean; again?: number } {
    const ready = readyStatus(node);
    if (ready === 'True' || !node.status?.conditions?.some(({ type }) => type === 'Ready'))
      return { evicting: true };
    const zones = zonesOf(this.nodes.list(), this.rates);
    // In a disruption of everything the taints that are there are taken back, too.
    if (isCutOff(zones)) return { evicting: false };
    if (this.hasHealthTaint(node)) return { evicting: true };
    const zone = zoneOf(node);
    const health = zones.get(zone);
    const wait = health && this.pace.turn(zone, rateOf(health, this.rates), this.clock.monotonic());
    if (wait === undefined) return { evicting: false };
    return wait === 0 ? { evicting: true } : { evicting: false, again: wait };
  }

  private async setTaints({ metadata }: Node, taints: readonly Taint[]): Promise<void> {
    const { uid, resourceVersion, name = '' } = metadata;
    await this.client.patch(NODES, undefined, name, {
      type: 'merge',
      body: { metadata: { uid, resourceVersion }, spec: { taints: taints.length > 0 ? taints : null } },
    });
  }

  private hasHealthTaint(node: Node): boolean {
    return noExecute(node.spec?.taints).some(({ key }) => HEALTH_TAINTS.has(key));
  }

  /** Pods of a node that is not ready serve nobody: Services leave them out. */
  private async markPods(node: string): Promise<void> {
    for (const pod of this.podsOn(node)) {
      const conditions = pod.status?.conditions ?? [];
      const ready = conditions.find(({ type }) => type === 'Ready');
      if (ready?.status !== 'True') continue;
      const next = { ...ready, status: 'False', lastTransitionTime: timestamp(this.clock.now()) };
      try {
        await this.client.updateStatus(PODS, {
          ...pod,
          status: { ...pod.status, conditions: conditions.map((one) => (one === ready ? next : one)) },
        });
        this.recorder.record(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }

  private noteTaints({ metadata, spec }: Node): void {
    const prefix = `${metadata.name}/`;
    const present = new Set(noExecute(spec?.taints).map(({ key }) => prefix + key));
    for (const key of this.tainted.keys()) {
      if (key.startsWith(prefix) && !present.has(key)) this.tainted.delete(key);
    }
    for (const key of present) if (!this.tainted.has(key)) this.tainted.set(key, this.clock.monotonic());
  }

  /** Deletes a pod whose time on a tainted node is over; else returns how long it still has. */
  private async evict(key: string): Promise<number | undefined> {
    const pod = this.pods.byKey(key);
    const node = pod?.spec?.nodeName && this.nodes.get(undefined, pod.spec.nodeName);
    if (!pod || !node || pod.metadata.deletionTimestamp !== undefined) return undefined;
    const taints = noExecute(node.spec?.taints);
    if (taints.length === 0) return undefined;
    const tolerated = toleratedFor(taints, pod.spec?.tolerations ?? []);
    if (tolerated === undefined) return undefined;
    const now = this.clock.monotonic();
    const since = Math.max(
      ...taints.map(({ key: taint }) => this.tainted.get(`${node.metadata.name}/${taint}`) ?? now),
    );
    let left = since + tolerated - now;
    // A board that was lost before the server started may be back in a moment.
    if (taints.every(({ key: taint }) => HEALTH_TAINTS.has(taint))) {
      left = Math.max(left, this.liveness.listeningSince + STARTUP_GRACE_MS - now);
    }
    if (left > 0) return left;
    await this.delete(pod);
    return undefined;
  }

  private async delete(pod: Pod): Promise<void> {
    const { namespace, name = '', uid } = pod.metadata;
    this.recorder.record(
      pod,
      'Normal',
      'TaintManagerEviction',
      `Marking for deletion Pod ${namespace}/${name}`,
    );
    const conditions = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'DisruptionTarget');
    try {
      await this.client.updateStatus(PODS, {
        ...pod,
        status: {
          ...pod.status,
          conditions: [
            ...conditions,
            {
              type: 'DisruptionTarget',
              status: 'True',
              reason: 'DeletionByTaintManager',
              message: 'Taint manager: deleting due to NoExecute taint',
              lastTransitionTime: timestamp(this.clock.now()),
            },
          ],
        },
      });
      await this.client.delete(PODS, namespace, name, uid === undefined ? {} : { preconditions: { uid } });
    } catch (error) {
      if (isNotFound(error)) return;
      if (isConflict(error)) this.evictions.enqueue(`${namespace}/${name}`, 100);
      else throw error;
    }
  }
}
