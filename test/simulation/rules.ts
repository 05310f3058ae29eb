import { type KubeObject, keyOf } from '../../src/api/object.ts';
import { selectorMatcher } from '../../src/api/selectors.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../../src/api/types/core-v1.ts';
import type { PodDisruptionBudget } from '../../src/api/types/policy-v1.ts';
import type { Store, StoreEvent } from '../../src/server/store/port.ts';

/**
 * A budget's status follows its pods by a few writes. Eviction may rely on it for so long after something else than an
 * eviction changed the pods or the wish: Kubernetes promises no more. Slow and failing disks included.
 */
const FOLLOWS_MS = 30_000;

interface Followed {
  budget: PodDisruptionBudget;
  /** When something else than an eviction last took a healthy pod away, or the wish changed. */
  disturbedAt: number;
}

/** What no watcher of the API may ever see, whatever goes wrong: checked at each change. */
export class Rules {
  private readonly now: () => number;
  private readonly violation: (what: string) => void;
  private readonly pods = new Map<string, Pod>();
  private readonly budgets = new Map<string, Followed>();
  private readonly volumes = new Map<string, PersistentVolume>();
  private readonly claims = new Map<string, PersistentVolumeClaim>();

  constructor(options: { now: () => number; violation: (what: string) => void }) {
    this.now = options.now;
    this.violation = options.violation;
  }

  event(bucket: string, { type, object }: StoreEvent): void {
    const deleted = type === 'DELETED';
    if (bucket === 'pods') this.pod(object as Pod, deleted);
    else if (bucket === 'poddisruptionbudgets.policy') this.budget(object as PodDisruptionBudget, deleted);
    else if (bucket === 'persistentvolumes') this.volume(object as PersistentVolume, deleted);
    else if (bucket === 'persistentvolumeclaims') this.claim(object as PersistentVolumeClaim, deleted);
  }

  /** The server was started again: what it had not written is as before. */
  recovered(store: Store): void {
    const reload = (bucket: string, into: Map<string, unknown>): void => {
      into.clear();
      for (const { object } of store.list(bucket)) into.set(keyOf(object), object);
    };
    reload('pods', this.pods);
    reload('persistentvolumes', this.volumes);
    reload('persistentvolumeclaims', this.claims);
    this.budgets.clear();
    for (const { object } of store.list('poddisruptionbudgets.policy')) {
      const budget = object as PodDisruptionBudget;
      this.budgets.set(keyOf(budget), { budget, disturbedAt: this.now() });
    }
  }

  /** The pod is bound, and neither ends by itself nor has to; no probe ends its containers. */
  serves(uid: string): boolean {
    for (const { metadata, spec, status } of this.pods.values()) {
      if (metadata.uid !== uid) continue;
      if (metadata.deletionTimestamp !== undefined || spec?.restartPolicy !== 'Always') return false;
      if (spec.containers.some(({ livenessProbe }) => livenessProbe)) return false;
      return spec.nodeName !== undefined && status?.phase !== 'Failed' && status?.phase !== 'Succeeded';
    }
    return false;
  }

  private pod(pod: Pod, deleted: boolean): void {
    const key = keyOf(pod);
    const before = this.pods.get(key);
    if (deleted) this.pods.delete(key);
    else this.pods.set(key, pod);
    const reason = newDisruption(before, pod);
    if (reason === 'PreemptionByScheduler') this.preempted(pod);
    if (reason === 'EvictionByEvictionAPI' && before && isHealthy(before)) this.evicted(pod);
    else if (before && isHealthy(before) && (deleted || !isHealthy(pod))) this.disturbed(before);
  }

  /** Only for a more important one that waits, and that may push others out. */
  private preempted(victim: Pod): void {
    const priority = victim.spec?.priority ?? 0;
    for (const { spec, status, metadata } of this.pods.values()) {
      if (spec?.nodeName || status?.phase === 'Failed' || metadata.deletionTimestamp !== undefined) continue;
      if ((spec?.priority ?? 0) > priority && spec?.preemptionPolicy !== 'Never') return;
    }
    this.violation(`pod ${keyOf(victim)} of priority ${priority} was preempted for no more important one`);
  }

  private evicted(victim: Pod): void {
    for (const { budget, disturbedAt } of this.budgetsOf(victim)) {
      if (this.now() - disturbedAt < FOLLOWS_MS) continue;
      const matches = selectorMatcher(budget.spec?.selector);
      let healthy = 0;
      for (const pod of this.pods.values()) {
        if (pod.metadata.namespace !== budget.metadata.namespace || !matches(pod.metadata.labels)) continue;
        if (pod.metadata.uid !== victim.metadata.uid && isHealthy(pod)) healthy += 1;
      }
      const desired = budget.status?.desiredHealthy ?? 0;
      if (healthy < desired) {
        this.violation(
          `the eviction of ${keyOf(victim)} leaves ${healthy} healthy pods, and ${keyOf(budget)} wants ${desired}`,
        );
      }
    }
  }

  private disturbed(pod: Pod): void {
    for (const followed of this.budgetsOf(pod)) followed.disturbedAt = this.now();
  }

  private budgetsOf({ metadata }: Pod): Followed[] {
    return [...this.budgets.values()].filter(
      ({ budget }) =>
        budget.metadata.namespace === metadata.namespace &&
        selectorMatcher(budget.spec?.selector)(metadata.labels),
    );
  }

  private budget(budget: PodDisruptionBudget, deleted: boolean): void {
    const key = keyOf(budget);
    const before = this.budgets.get(key);
    if (deleted) {
      this.budgets.delete(key);
      return;
    }
    const same = before && before.budget.status?.desiredHealthy === budget.status?.desiredHealthy;
    this.budgets.set(key, { budget, disturbedAt: same ? before.disturbedAt : this.now() });
  }

  /** One claim for a volume, for ever; one volume for a claim. */
  private volume(volume: PersistentVolume, deleted: boolean): void {
    const key = keyOf(volume);
    const owner = this.volumes.get(key)?.spec?.claimRef?.uid;
    const next = volume.spec?.claimRef?.uid;
    if (deleted) this.volumes.delete(key);
    else this.volumes.set(key, volume);
    if (owner !== undefined && owner !== next) {
      this.violation(`volume ${key} was of the claim ${owner} and is of ${next}`);
    }
    if (deleted || next === undefined) return;
    for (const other of this.volumes.values()) {
      if (other.metadata.uid !== volume.metadata.uid && other.spec?.claimRef?.uid === next) {
        this.violation(`the claim ${next} has the volumes ${key} and ${keyOf(other)}`);
      }
    }
  }

  private claim(claim: PersistentVolumeClaim, deleted: boolean): void {
    const key = keyOf(claim);
    const before = this.claims.get(key);
    if (deleted) {
      this.claims.delete(key);
      for (const pod of this.pods.values()) {
        const { phase } = pod.status ?? {};
        const runs = pod.spec?.nodeName && phase !== 'Succeeded' && phase !== 'Failed';
        const uses = pod.spec?.volumes?.some(
          ({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === claim.metadata.name,
        );
        if (runs && uses && pod.metadata.namespace === claim.metadata.namespace) {
          this.violation(`claim ${key} is gone while ${keyOf(pod)} uses it`);
        }
      }
      return;
    }
    this.claims.set(key, claim);
    const volume = before?.metadata.uid === claim.metadata.uid ? before?.spec?.volumeName : undefined;
    if (volume && claim.spec?.volumeName !== volume) {
      this.violation(`claim ${key} had the volume ${volume} and has ${claim.spec?.volumeName}`);
    }
  }
}

function isHealthy({ metadata, status }: Pod): boolean {
  return (
    metadata.deletionTimestamp === undefined &&
    (status?.conditions ?? []).some(({ type, status: value }) => type === 'Ready' && value === 'True')
  );
}

/** Why the pod has to go, when this change says so for the first time. */
function newDisruption(before: Pod | undefined, pod: Pod): string | undefined {
  const reasonOf = (object: KubeObject | undefined): string | undefined =>
    (object as Pod | undefined)?.status?.conditions?.find(
      ({ type, status }) => type === 'DisruptionTarget' && status === 'True',
    )?.reason;
  const reason = reasonOf(pod);
  return before && reason !== reasonOf(before) ? reason : undefined;
}
