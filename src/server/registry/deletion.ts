// Deleting: graceful for pods, in two steps for whatever has finalizers, at once for all else.
import { conflict, invalid, notFound, OBJECT_MODIFIED, type StatusError } from '../../api/errors.ts';
import { cloneJson, type JsonObject, type KubeObject, objectKey } from '../../api/object.ts';
import type { Status } from '../../api/types/meta-v1.ts';
import { ensureObject, invalidValue, notSupported, objectAt, stringsAt } from '../../api/validation.ts';
import { type Clock, timestamp } from '../../lib/clock.ts';
import type { AdmissionChain } from '../admission/port.ts';
import { RevisionConflict, type Store, type Stored } from '../store/port.ts';
import { ordered } from './metadata.ts';
import { type Allocator, isFinished } from './pipeline.ts';
import type { DeleteRequest, RequestContext, Target } from './port.ts';
import { type Served, toVersion } from './served.ts';

const POLICIES = ['Foreground', 'Background', 'Orphan'];
const ATTEMPTS = 16;

/** What a delete comes to for one state of an object. */
export type DeletePlan =
  | { do: 'remove' }
  /** Mark it; `thenRemove` when nothing holds it back (a pod without grace: watchers see both steps). */
  | { do: 'mark'; object: JsonObject; thenRemove: boolean }
  /** It is being deleted already, and no sooner because of this request. */
  | { do: 'nothing' };

export function validateDeleteRequest(request: DeleteRequest): void {
  const kind = { group: 'meta.k8s.io', kind: 'DeleteOptions' };
  const { propagationPolicy, orphanDependents } = request;
  if (propagationPolicy !== undefined && orphanDependents !== undefined) {
    throw invalid(kind, '', [
      invalidValue(
        'propagationPolicy',
        propagationPolicy,
        'orphanDependents and deletionPropagation cannot be both set',
      ),
    ]);
  }
  if (propagationPolicy !== undefined && !POLICIES.includes(propagationPolicy)) {
    throw invalid(kind, '', [notSupported('propagationPolicy', propagationPolicy, [...POLICIES, 'nil'])]);
  }
}

/** Pure: the rules of apimachinery's BeforeDelete and of the store's finalizer handling. */
export function planDelete(
  served: Served,
  current: KubeObject,
  request: DeleteRequest,
  now: number,
): DeletePlan {
  const object = cloneJson(current) as unknown as JsonObject;
  const metadata = ensureObject(object, 'metadata');
  if (metadata.deletionTimestamp === undefined) served.strategy.prepareForDelete?.(object, now);
  const finalizers = finalizersFor(metadata, request);
  const finalizersChange = finalizers.join() !== stringsAt(metadata, 'finalizers').join();
  if (finalizers.length > 0) metadata.finalizers = finalizers;
  else delete metadata.finalizers;
  object.metadata = metadata;

  if (served.bucket === 'namespaces') return planNamespace(object, metadata, now);

  const grace = planGrace(served, object, metadata, request, now);
  if (grace === 'pending') return finalizersChange ? mark(object, false) : { do: 'nothing' };
  if (grace === 'none') {
    if (finalizers.length === 0) return { do: 'remove' };
    if (metadata.deletionTimestamp !== undefined && !finalizersChange) return { do: 'nothing' };
    if (metadata.deletionTimestamp === undefined) {
      metadata.deletionTimestamp = timestamp(now);
      raiseGeneration(metadata);
    }
    metadata.deletionGracePeriodSeconds = 0;
    return mark(object, false);
  }
  return mark(object, finalizers.length === 0 && metadata.deletionGracePeriodSeconds === 0);
}

function mark(object: JsonObject, thenRemove: boolean): DeletePlan {
  object.metadata = ordered(objectAt(object, 'metadata'));
  return { do: 'mark', object, thenRemove };
}

function planNamespace(object: JsonObject, metadata: JsonObject, now: number): DeletePlan {
  if (metadata.deletionTimestamp === undefined) metadata.deletionTimestamp = timestamp(now);
  ensureObject(object, 'status').phase = 'Terminating';
  if (isFinished('namespaces', object)) return { do: 'remove' };
  return mark(object, false);
}

function planGrace(
  served: Served,
  object: JsonObject,
  metadata: JsonObject,
  request: DeleteRequest,
  now: number,
): 'graceful' | 'pending' | 'none' {
  const requested = request.gracePeriodSeconds;
  const period = metadata.deletionGracePeriodSeconds as number | undefined;
  if (metadata.deletionTimestamp !== undefined) {
    // Marked, but a crash came before it was removed: nobody else will do it.
    if (period === undefined || period === 0) return 'none';
    // Only a shorter grace period may be asked for afterwards.
    if (requested !== undefined && requested < period) {
      const due = Date.parse(metadata.deletionTimestamp as string) - period * 1000 + requested * 1000;
      metadata.deletionTimestamp = timestamp(due);
      metadata.deletionGracePeriodSeconds = requested;
      return 'graceful';
    }
    return served.strategy.gracePeriod ? 'pending' : 'none';
  }
  const grace = served.strategy.gracePeriod?.(object, requested);
  if (grace === undefined) return 'none';
  metadata.deletionTimestamp = timestamp(now + grace * 1000);
  metadata.deletionGracePeriodSeconds = grace;
  raiseGeneration(metadata);
  return 'graceful';
}

/** The garbage collector's finalizers, as the propagation policy asks for them; all others stay. */
function finalizersFor(metadata: JsonObject, request: DeleteRequest): string[] {
  const existing = stringsAt(metadata, 'finalizers');
  const policy =
    request.orphanDependents === undefined
      ? request.propagationPolicy
      : request.orphanDependents
        ? 'Orphan'
        : 'Background';
  if (policy === undefined) return existing;
  const others = existing.filter((name) => name !== 'orphan' && name !== 'foregroundDeletion');
  if (policy === 'Orphan') others.push('orphan');
  if (policy === 'Foreground') others.push('foregroundDeletion');
  return others;
}

function raiseGeneration(metadata: JsonObject): void {
  if (typeof metadata.generation === 'number') metadata.generation += 1;
}

export class Deleter {
  private readonly store: Store;
  private readonly admission: AdmissionChain;
  private readonly allocators: ReadonlyMap<string, Allocator>;
  private readonly clock: Clock;

  constructor(options: {
    store: Store;
    admission: AdmissionChain;
    allocators: ReadonlyMap<string, Allocator>;
    clock: Clock;
  }) {
    this.store = options.store;
    this.admission = options.admission;
    this.allocators = options.allocators;
    this.clock = options.clock;
  }

  async delete(
    context: RequestContext,
    target: Target,
    served: Served,
    request: DeleteRequest,
  ): Promise<KubeObject | Status> {
    validateDeleteRequest(request);
    const key = objectKey(target.namespace, target.name ?? '');
    for (let attempt = 1; ; attempt += 1) {
      const head = this.store.head(served.bucket, key);
      if (!head) throw notFound(target.info, target.name ?? '');
      checkPreconditions(target, head.object, request);
      const admission = {
        operation: 'DELETE' as const,
        target,
        bucket: served.bucket,
        object: undefined,
        old: head.object as unknown as JsonObject,
        context,
        dryRun: request.dryRun === true,
      };
      const admitting = this.admission.admit(admission);
      if (admitting) await admitting;
      const validating = this.admission.validate(admission);
      if (validating) await validating;
      const plan = planDelete(served, head.object, request, this.clock.now());
      const result = await this.execute(served, key, head, plan, request.dryRun === true);
      if (result) return result === 'removed' ? removed(served, head.object) : toVersion(served, result);
      if (attempt >= ATTEMPTS) throw conflict(target.info, target.name ?? '', OBJECT_MODIFIED);
    }
  }

  /** The living or last state to answer with, 'removed' for a plain Status, undefined when the race was lost. */
  private async execute(
    served: Served,
    key: string,
    head: Stored,
    plan: DeletePlan,
    dryRun: boolean,
  ): Promise<KubeObject | 'removed' | undefined> {
    if (plan.do === 'nothing') return head.object;
    const write = { bucket: served.bucket, key, durability: 'durable' as const };
    const durability = served.strategy.durability === 'volatile' ? ('volatile' as const) : write.durability;
    if (plan.do === 'mark') {
      const marked = plan.object as unknown as KubeObject;
      if (dryRun) return marked;
      const marking = await this.commit([{ ...write, durability, object: marked, expected: head.revision }]);
      if (!marking) return undefined;
      if (!plan.thenRemove) return marking.object;
      // Somebody may have changed it since; what is marked with no grace left goes all the same.
      for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        const now = this.store.head(served.bucket, key);
        if (!now || now.object.metadata.uid !== marked.metadata.uid) break;
        if (await this.remove(served, key, now)) break;
      }
      return marking.object;
    }
    if (dryRun) return served.strategy.returnsDeleted ? head.object : 'removed';
    if (!(await this.remove(served, key, head))) return undefined;
    return served.strategy.returnsDeleted ? head.object : 'removed';
  }

  private async remove(served: Served, key: string, head: Stored): Promise<boolean> {
    const volatile = served.strategy.durability === 'volatile';
    const gone = await this.commit([
      {
        bucket: served.bucket,
        key,
        object: undefined,
        expected: head.revision,
        durability: volatile ? 'volatile' : 'durable',
      },
    ]);
    if (!gone) return false;
    this.allocators.get(served.bucket)?.release(head.object as unknown as JsonObject);
    return true;
  }

  private async commit(writes: Parameters<Store['commit']>[0]): Promise<Stored | undefined> {
    try {
      const [stored] = await this.store.commit(writes);
      return stored;
    } catch (error) {
      if (error instanceof RevisionConflict) return undefined;
      throw error;
    }
  }
}

function checkPreconditions(target: Target, object: KubeObject, request: DeleteRequest): void {
  const { uid, resourceVersion } = request.preconditions ?? {};
  const subject = { group: '', resource: target.info.kind };
  const refuse = (why: string): StatusError => conflict(subject, target.name ?? '', why);
  if (uid !== undefined && uid !== object.metadata.uid) {
    throw refuse(
      `the UID in the precondition (${uid}) does not match the UID in record (${object.metadata.uid}). The object might have been deleted and then recreated`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion) {
    throw refuse(
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${object.metadata.resourceVersion}). The object might have been modified`,
    );
  }
}

function removed(served: Served, object: KubeObject): Status {
  const { group, resource } = served.info;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: {
      name: object.metadata.name ?? '',
      ...(group === '' ? {} : { group }),
      kind: resource,
      uid: object.metadata.uid ?? '',
    },
  } as Status;
}
