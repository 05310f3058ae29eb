import type { StatefulSet, StatefulSetStatus } from '../../../api/types/apps-v1.ts';
import type { Pod } from '../../../api/types/core-v1.ts';
import { scaledValue } from '../shared/int-or-percent.ts';
import { isAvailable, isReady } from '../shared/pods.ts';
import { REVISION_HASH } from '../shared/revisions.ts';
import { ordinalOf } from './identity.ts';

export interface StatefulPlan {
  /** Ordinals to fill, with the revision (name) that the pod is made from. */
  create: { ordinal: number; revision: string }[];
  remove: Pod[];
  /** Ended pods that are made anew. */
  recreated: Pod[];
  status: StatefulSetStatus;
}

/**
 * One pass over a StatefulSet. Pure. With OrderedReady a step is taken only when everything before it stands; an identity
 * is filled again only after its former pod is really gone, so that there are never two.
 */
export function decideStatefulSet(input: {
  set: StatefulSet;
  pods: readonly Pod[];
  /** Names of the revisions: what the set comes from and what it goes to. */
  currentRevision: string;
  updateRevision: string;
  collisionCount: number | undefined;
  now: number;
}): StatefulPlan {
  return new Pass(input).run();
}

const isTerminating = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
const revisionOf = (pod: Pod): string => pod.metadata.labels?.[REVISION_HASH] ?? '';
const isHealthy = (pod: Pod | undefined): pod is Pod =>
  pod !== undefined && pod.status?.phase === 'Running' && isReady(pod) && !isTerminating(pod);

class Pass {
  private readonly set: StatefulSet;
  private readonly input: Parameters<typeof decideStatefulSet>[0];
  private readonly start: number;
  private readonly size: number;
  private readonly ordered: boolean;
  /** By place: ordinal less start. */
  private readonly replicas: (Pod | undefined)[];
  /** Outside of the wanted ordinals, the highest first. */
  private readonly outside: Pod[];
  private readonly plan: Omit<StatefulPlan, 'status'> = {
    create: [],
    remove: [],
    recreated: [],
  };

  constructor(input: Parameters<typeof decideStatefulSet>[0]) {
    this.input = input;
    this.set = input.set;
    this.start = input.set.spec?.ordinals?.start ?? 0;
    this.size = input.set.spec?.replicas ?? 1;
    this.ordered = (input.set.spec?.podManagementPolicy ?? 'OrderedReady') === 'OrderedReady';
    this.replicas = Array.from({ length: this.size });
    const outside: { ordinal: number; pod: Pod }[] = [];
    for (const pod of input.pods) {
      const ordinal = ordinalOf(input.set, pod);
      if (ordinal === undefined) continue;
      if (ordinal >= this.start && ordinal < this.start + this.size)
        this.replicas[ordinal - this.start] = pod;
      else outside.push({ ordinal, pod });
    }
    this.outside = outside.sort((a, b) => b.ordinal - a.ordinal).map(({ pod }) => pod);
  }

  run(): StatefulPlan {
    if (this.set.metadata.deletionTimestamp === undefined) {
      const settled = this.fill() && this.shrink();
      if (settled && (this.set.spec?.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate')
        this.roll();
    }
    return { ...this.plan, status: this.status() };
  }

  /** Makes missing pods, in order. False: something has to happen first. */
  private fill(): boolean {
    for (let place = 0; place < this.size; place += 1) {
      const pod = this.replicas[place];
      if (!pod) {
        this.plan.create.push({
          ordinal: this.start + place,
          revision: this.revisionFor(this.start + place),
        });
        if (this.ordered) return false;
        continue;
      }
      if (pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded') {
        if (!isTerminating(pod)) {
          this.plan.remove.push(pod);
          this.plan.recreated.push(pod);
        }
        if (this.ordered) return false;
        continue;
      }
      // As in Kubernetes, a pod that never gets ready stops everything after it, until somebody deletes it.
      if (this.ordered && (!isHealthy(pod) || !this.available(pod))) return false;
    }
    return true;
  }

  /** Takes away what is beyond the size, from the top. False: something has to happen first. */
  private shrink(): boolean {
    const firstUnhealthy = [...this.replicas, ...[...this.outside].reverse()].find((pod) => !isHealthy(pod));
    for (const pod of this.outside) {
      if (isTerminating(pod)) {
        if (this.ordered) return false;
        continue;
      }
      if (this.ordered && !isHealthy(pod) && pod !== firstUnhealthy) return false;
      this.plan.remove.push(pod);
      if (this.ordered) return false;
    }
    return true;
  }

  /** Replaces pods of older revisions, from the top down to the partition. */
  private roll(): void {
    const rolling = this.set.spec?.updateStrategy?.rollingUpdate;
    // Counted from the first ordinal, as Kubernetes does.
    const lowest = rolling?.partition ?? 0;
    const limit = Math.max(1, scaledValue(rolling?.maxUnavailable, this.size, 'down', 1));
    if (limit === 1) {
      for (let place = this.size - 1; place >= lowest; place -= 1) {
        const pod = this.replicas[place];
        if (!pod || isTerminating(pod)) return;
        if (revisionOf(pod) !== this.input.updateRevision) {
          this.plan.remove.push(pod);
          return;
        }
        if (!isHealthy(pod) || !this.available(pod)) return;
      }
      return;
    }
    const serves = (pod: Pod | undefined): boolean => isHealthy(pod) && this.available(pod);
    let left = limit - this.replicas.filter((pod) => !serves(pod)).length;
    for (let place = this.size - 1; place >= lowest; place -= 1) {
      const pod = this.replicas[place];
      if (!pod || isTerminating(pod) || revisionOf(pod) === this.input.updateRevision) continue;
      // One that does not serve anyway is replaced at once: else a broken revision could never be left (Kubernetes took
      // its own maxUnavailable back for that, kubernetes/kubernetes#137409).
      if (serves(pod)) {
        if (left <= 0) continue;
        left -= 1;
      }
      this.plan.remove.push(pod);
    }
  }

  /** Pods below the partition come back as they were; without one, those that the update did not reach yet. */
  private revisionFor(ordinal: number): string {
    const { currentRevision, updateRevision } = this.input;
    const { type = 'RollingUpdate', rollingUpdate } = this.set.spec?.updateStrategy ?? {};
    if (type !== 'RollingUpdate') return updateRevision;
    const kept = rollingUpdate ? (rollingUpdate.partition ?? 0) : (this.set.status?.currentReplicas ?? 0);
    return ordinal - this.start < kept ? currentRevision : updateRevision;
  }

  private available(pod: Pod): boolean {
    return isAvailable(pod, this.set.spec?.minReadySeconds ?? 0, this.input.now);
  }

  private status(): StatefulSetStatus {
    const { updateRevision } = this.input;
    let { currentRevision } = this.input;
    const created = [...this.replicas, ...this.outside].filter((pod): pod is Pod => pod !== undefined);
    const standing = created.filter((pod) => !isTerminating(pod));
    const of = (revision: string): number => standing.filter((pod) => revisionOf(pod) === revision).length;
    const ready = created.filter((pod) => pod.status?.phase === 'Running' && isReady(pod));
    const available = ready.filter((pod) => this.available(pod)).length;
    const updated = of(updateRevision);
    let current = of(currentRevision);
    const rolling = (this.set.spec?.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
    const complete = [updated, ready.length, created.length].every((count) => count === this.size);
    if (rolling && complete) {
      currentRevision = updateRevision;
      current = updated;
    }
    const { collisionCount = 0 } = this.input;
    return {
      replicas: created.length,
      ...(ready.length > 0 ? { readyReplicas: ready.length } : {}),
      availableReplicas: available,
      ...(current > 0 ? { currentReplicas: current } : {}),
      ...(updated > 0 ? { updatedReplicas: updated } : {}),
      currentRevision,
      updateRevision,
      collisionCount,
      ...(this.set.metadata.generation === undefined
        ? {}
        : { observedGeneration: this.set.metadata.generation }),
      ...(this.set.status?.conditions ? { conditions: this.set.status.conditions } : {}),
    };
  }
}
