import { isConflict, isNotFound } from '../api/errors.ts';
import { PODS } from '../api/kinds.ts';
import type { Pod, PodCondition } from '../api/types/core-v1.ts';
import type { EventRecorder } from '../client/events.ts';
import type { Informer } from '../client/informer.ts';
import type { Client } from '../client/port.ts';
import { type Clock, timestamp } from '../lib/clock.ts';
import type { PodInfo } from './pod-info.ts';

/** Writes what the scheduler decided about pods that it could not place, and about those that have to go. */
export class PodStatuses {
  private readonly client: Client;
  private readonly clock: Clock;
  private readonly recorder: EventRecorder;
  private readonly pods: Informer<Pod>;
  /** The scheduler's own. */
  private readonly name: string;

  constructor(options: {
    client: Client;
    clock: Clock;
    recorder: EventRecorder;
    pods: Informer<Pod>;
    name: string;
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.recorder = options.recorder;
    this.pods = options.pods;
    this.name = options.name;
  }

  /** The room that was promised to the pod goes to another. */
  async unnominate(info: PodInfo): Promise<void> {
    const pod = this.pods.byKey(info.key);
    if (!pod || pod.metadata.uid !== info.uid || !pod.status?.nominatedNodeName) return;
    const { nominatedNodeName: _gone, ...status } = pod.status;
    try {
      await this.client.updateStatus(PODS, { ...pod, status });
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
  }

  /** Says in the pod's status why it has no node. Lost races do not matter: the pod was changed, or bound, meanwhile. */
  async report(info: PodInfo, message: string, nominate: string | undefined): Promise<void> {
    const pod = this.pods.byKey(info.key);
    if (!pod || pod.metadata.uid !== info.uid || pod.spec?.nodeName) return;
    const conditions = pod.status?.conditions ?? [];
    const current = conditions.find(({ type }) => type === 'PodScheduled');
    const same =
      current?.status === 'False' && current.reason === 'Unschedulable' && current.message === message;
    if (same && nominate === pod.status?.nominatedNodeName) return;
    const { nominatedNodeName: _before, ...status } = pod.status ?? {};
    const next: PodCondition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
      lastTransitionTime:
        current?.status === 'False' && current.lastTransitionTime
          ? current.lastTransitionTime
          : timestamp(this.clock.now()),
    };
    try {
      await this.client.updateStatus(PODS, {
        ...pod,
        status: {
          ...status,
          conditions: [...conditions.filter((condition) => condition !== current), next],
          ...(nominate === undefined ? {} : { nominatedNodeName: nominate }),
        },
      });
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
  }

  /** Ends a pod for a more important one. */
  async evict(victim: PodInfo, preemptor: PodInfo): Promise<void> {
    const { namespace, name = '', uid } = victim.pod.metadata;
    const live = this.pods.byKey(victim.key);
    if (!live || live.metadata.uid !== uid || live.metadata.deletionTimestamp !== undefined) return;
    const condition: PodCondition = {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'PreemptionByScheduler',
      message: `${this.name}: preempting to accommodate a higher priority pod`,
      lastTransitionTime: timestamp(this.clock.now()),
    };
    try {
      await this.client.updateStatus(PODS, {
        ...live,
        status: {
          ...live.status,
          conditions: [
            ...(live.status?.conditions ?? []).filter(({ type }) => type !== condition.type),
            condition,
          ],
        },
      });
    } catch (error) {
      // Only the explanation is lost.
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
    try {
      await this.client.delete(PODS, namespace, name, uid === undefined ? {} : { preconditions: { uid } });
      const node = live.spec?.nodeName ?? '';
      this.recorder.record(live, 'Normal', 'Preempted', `Preempted by pod ${preemptor.uid} on node ${node}`);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
