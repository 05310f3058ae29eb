import { type KubeObject, keyOf } from '../../src/api/object.ts';
import type { Job } from '../../src/api/types/batch-v1.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import type { Store, StoreEvent } from '../../src/server/store/port.ts';

/** Never on disk, or reported again: what a crash may take. */
const REPORTED = new Set(['events', 'events.events.k8s.io', 'leases.coordination.k8s.io']);

/** Stamped on every object by the workload: the number of its last write. */
export const WRITE = 'simulation/write';
const SCHEDULED = 'batch.kubernetes.io/cronjob-scheduled-timestamp';

interface Seen {
  uid: string;
  /** What of an object only durable writes change. */
  durable: string;
  revision: number;
}

/**
 * What watchers of the API have seen. Who was shown a durable change must find it after any crash: nothing that was
 * there is gone, nothing that was deleted is back, no binding and no request to terminate is forgotten.
 */
export class Mirror {
  /** Distinct pods of a Job (by its uid) that were seen Succeeded. */
  readonly succeeded = new Map<string, Set<string>>();
  /** Those of them that nobody had asked to end before: each has to be counted as a success. */
  readonly completed = new Map<string, Set<string>>();
  private readonly objects = new Map<string, Map<string, Seen>>();
  private readonly deletedUids = new Set<string>();
  /** CronJob uid and minute -> uid of the Job. */
  private readonly fired = new Map<string, string>();
  private readonly violation: (what: string) => void;

  constructor(violation: (what: string) => void) {
    this.violation = violation;
  }

  event(bucket: string, { type, object, revision }: StoreEvent): void {
    if (REPORTED.has(bucket)) return;
    const uid = object.metadata.uid ?? '';
    if (this.deletedUids.has(uid))
      this.violation(`${bucket} ${keyOf(object)} (${uid}) is back after its deletion`);
    const objects = this.bucket(bucket);
    if (type === 'DELETED') {
      objects.delete(keyOf(object));
      this.deletedUids.add(uid);
      return;
    }
    const before = objects.get(keyOf(object));
    if (before && before.uid !== uid) this.violation(`${bucket} ${keyOf(object)} changed its uid`);
    objects.set(keyOf(object), { uid, durable: durablePart(object), revision });
    if (bucket === 'jobs.batch') this.job(object as Job);
    if (bucket === 'pods') this.pod(object as Pod);
  }

  /** `mayBeGone`: a deletion that was synced and not yet shown. */
  recovered(
    store: Store,
    buckets: Iterable<string>,
    mayBeGone: (bucket: string, key: string) => boolean,
  ): void {
    for (const bucket of buckets) {
      if (REPORTED.has(bucket)) continue;
      const seen = this.bucket(bucket);
      const found = new Set<string>();
      for (const { object } of store.list(bucket)) {
        const key = keyOf(object);
        found.add(key);
        const expected = seen.get(key);
        if (!expected) {
          // Written and synced, and the process died before anyone was shown: allowed, unless it was deleted.
          if (this.deletedUids.has(object.metadata.uid ?? ''))
            this.violation(`after a crash ${bucket} ${key} is back, whose deletion was shown`);
          continue;
        }
        if (expected.uid !== object.metadata.uid) continue;
        const now = durablePart(object);
        if (now !== expected.durable && Number(object.metadata.resourceVersion) <= expected.revision) {
          this.violation(
            `after a crash ${bucket} ${key} has lost a durable change:\n  ${expected.durable}\n  ${now}`,
          );
        }
      }
      for (const [key, { uid }] of seen) {
        if (found.has(key)) continue;
        if (!mayBeGone(bucket, key)) this.violation(`after a crash ${bucket} ${key} (${uid}) is gone`);
        seen.delete(key);
      }
    }
  }

  private bucket(name: string): Map<string, Seen> {
    let bucket = this.objects.get(name);
    if (!bucket) {
      bucket = new Map();
      this.objects.set(name, bucket);
    }
    return bucket;
  }

  private job(job: Job): void {
    const owner = job.metadata.ownerReferences?.find(({ kind }) => kind === 'CronJob');
    const minute = job.metadata.annotations?.[SCHEDULED];
    if (!owner || minute === undefined) return;
    const key = `${owner.uid} ${minute}`;
    const before = this.fired.get(key);
    const uid = job.metadata.uid ?? '';
    if (before !== undefined && before !== uid) {
      this.violation(`cron job ${owner.name} fired twice for ${minute}`);
    }
    this.fired.set(key, uid);
  }

  private pod({ metadata, status }: Pod): void {
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'Job');
    if (!owner || status?.phase !== 'Succeeded') return;
    const note = (into: Map<string, Set<string>>): void => {
      into.set(owner.uid, (into.get(owner.uid) ?? new Set()).add(metadata.uid ?? ''));
    };
    note(this.succeeded);
    if (metadata.deletionTimestamp === undefined) note(this.completed);
  }
}

function durablePart({ metadata, ...rest }: KubeObject): string {
  const { spec, data } = rest as { spec?: object; data?: object };
  const { labels, annotations, deletionTimestamp, finalizers, ownerReferences } = metadata;
  return JSON.stringify({ spec, data, labels, annotations, deletionTimestamp, finalizers, ownerReferences });
}
