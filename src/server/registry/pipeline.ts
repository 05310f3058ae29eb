// The way of every write. One order for all resources:
//   decode -> default -> admit (may change) -> prepare -> allocate -> validate -> validating admission -> reserve -> commit
// What differs between resources is in their Strategy; what differs between an object and its subresources is in the
// Projection.
import {
  alreadyExists,
  badRequest,
  conflict,
  type FieldError,
  invalid,
  notFound,
  OBJECT_MODIFIED,
  StatusError,
} from '../../api/errors.ts';
import type { Owners } from '../../api/managed-fields/entries.ts';
import type { Json, JsonObject, KubeObject } from '../../api/object.ts';
import { objectKey } from '../../api/object.ts';
import { objectAt, stringAt, stringsAt } from '../../api/validation.ts';
import { NAME_CHECKS, validateMeta, validateMetaUpdate } from '../../api/validation-meta.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import type { AdmissionChain, AdmissionRequest } from '../admission/port.ts';
import { type Durability, RevisionConflict, type Store } from '../store/port.ts';
import type { DecodeAs } from './decoding.ts';
import { lockOf } from './identity-checks.ts';
import { bear, carryOver, generateName, ordered, specChanged } from './metadata.ts';
import { isUnchanged } from './ownership.ts';
import type { RequestContext, Target, WriteOptions, WriteResult } from './port.ts';
import { type Served, toVersion } from './served.ts';

/** How an object is seen through a subresource (status, scale, …), or as itself. */
export interface Projection {
  /** What bodies and patches are decoded as. */
  readonly as: DecodeAs;
  /** What GET answers, and what a patch is applied to. Must not change its argument. */
  view(stored: KubeObject): JsonObject;
  /** The object's next state from what was submitted, in stored form; a private copy that may share parts with `old`. */
  merge(old: JsonObject, submitted: JsonObject, now: number): JsonObject;
  /** Rules about what was submitted that come before those of the object; reported under the projection's own kind. */
  validate?(submitted: JsonObject): FieldError[];
  /** Rules about the change, instead of the whole object's. */
  validateChange?(next: JsonObject, old: JsonObject): FieldError[];
  readonly durability?: (next: JsonObject, old: JsonObject) => Durability;
  /** The spec counts as unchanged whatever merge did (status writes keep the generation). */
  readonly keepsGeneration?: boolean;
}

/** What a change asks for, and who owns what after it. */
export interface Submission {
  readonly object: JsonObject;
  /** `next` is the projection's merge of `object` into `old`, before the server adds to it. */
  owners(old: JsonObject, next: JsonObject): Owners | undefined;
}

/** Takes what is scarce (addresses, ports) for an object before it is validated; `undo` when the write fails. */
export interface Allocator {
  allocate(object: JsonObject, old: JsonObject | undefined, dryRun: boolean): { undo(): void; done(): void };
  /** The object is gone. */
  release(object: JsonObject): void;
}

const NAME_ATTEMPTS = 8;
/**
 * Retries when a concurrent write came between reading the head and committing. Only asynchronous admission lets one
 * in; of those who race one always wins, so this many is more than any number of writers at work.
 */
const WRITE_ATTEMPTS = 1000;

export class WritePipeline {
  private readonly store: Store;
  private readonly admission: AdmissionChain;
  private readonly allocators: ReadonlyMap<string, Allocator>;
  private readonly clock: Clock;
  private readonly random: Random;

  constructor(options: {
    store: Store;
    admission: AdmissionChain;
    allocators: ReadonlyMap<string, Allocator>;
    clock: Clock;
    random: Random;
  }) {
    this.store = options.store;
    this.admission = options.admission;
    this.allocators = options.allocators;
    this.clock = options.clock;
    this.random = options.random;
  }

  /**
   * `object` is decoded, in the served version, private to this call; `applyDefaults` has run. `owners` own its fields.
   */
  async create(
    context: RequestContext,
    target: Target,
    served: Served,
    object: JsonObject,
    owners: Owners | undefined,
    options: WriteOptions,
  ): Promise<KubeObject> {
    const { strategy, info } = served;
    const stored = served.conversion ? served.conversion.toStorage(object) : object;
    const metadata = objectAt(stored, 'metadata');
    stored.metadata = metadata;
    placeInNamespace(metadata, target);
    const request = this.request('CREATE', context, target, served, stored, undefined, options);
    const admitting = this.admission.admit(request);
    if (admitting) await admitting;

    const now = this.clock.now();
    if (lockOf(metadata) !== '') {
      throw badRequest('resourceVersion should not be set on objects to be created');
    }
    bear(metadata, { now, random: this.random });
    setOwners(metadata, owners);
    if (strategy.hasGeneration) metadata.generation = 1;
    else delete metadata.generation;
    const base = stringAt(metadata, 'generateName');
    const generates = stringAt(metadata, 'name') === '' && base !== '';
    if (generates) metadata.name = generateName(base, this.random);
    strategy.prepareForCreate?.(stored, now);
    const allocation = this.allocators
      .get(served.bucket)
      ?.allocate(stored, undefined, options.dryRun === true);
    try {
      const errors = [
        ...validateMeta(metadata, {
          namespaced: info.namespaced,
          nameCheck: NAME_CHECKS[strategy.nameRule ?? 'dns-subdomain'],
          anyFinalizer: strategy.anyFinalizer,
        }),
        ...(strategy.validate?.(stored, served.apiVersion) ?? []),
        ...(strategy.validateCreate?.(stored, served.apiVersion) ?? []),
      ];
      if (errors.length > 0) throw invalid(info, stringAt(metadata, 'name'), errors);
      this.warn(served, stored, undefined, context);
      const validating = this.admission.validate(request);
      if (validating) await validating;
      const result = await this.insert(request, served, stored, generates ? base : undefined, options);
      allocation?.done();
      return toVersion(served, result);
    } catch (error) {
      allocation?.undo();
      throw error;
    }
  }

  private async insert(
    request: AdmissionRequest,
    served: Served,
    object: JsonObject,
    generatedFrom: string | undefined,
    options: WriteOptions,
  ): Promise<KubeObject> {
    const metadata = objectAt(object, 'metadata');
    for (let attempt = 1; ; attempt += 1) {
      const name = stringAt(metadata, 'name');
      const key = objectKey(stringAt(metadata, 'namespace'), name);
      this.admission.reserve(request);
      const taken = this.store.head(served.bucket, key);
      if (!taken) {
        object.metadata = ordered(metadata);
        if (options.dryRun) return object as unknown as KubeObject;
        try {
          const [stored] = await this.store.commit([
            {
              bucket: served.bucket,
              key,
              object: object as unknown as KubeObject,
              expected: 0,
              durability: served.strategy.durability ?? 'durable',
            },
          ]);
          return (stored as { object: KubeObject }).object;
        } catch (error) {
          if (!(error instanceof RevisionConflict)) throw error;
        }
      }
      if (generatedFrom === undefined || attempt >= NAME_ATTEMPTS) {
        throw existsAlready(request.target, name, this.store.head(served.bucket, key)?.object, generatedFrom);
      }
      metadata.name = generateName(generatedFrom, this.random);
    }
  }

  /**
   * Changes an existing object. `produce` makes the submitted state from the projection's view of the newest one; it
   * is asked again when a concurrent write came between.
   */
  async change(
    context: RequestContext,
    target: Target,
    served: Served,
    projection: Projection,
    produce: (view: JsonObject, stored: JsonObject) => Submission,
    options: WriteOptions,
  ): Promise<WriteResult | undefined> {
    const name = target.name ?? '';
    const key = objectKey(target.namespace, name);
    for (let attempt = 1; ; attempt += 1) {
      const head = this.store.head(served.bucket, key);
      if (!head) return undefined;
      const stored = head.object as unknown as JsonObject;
      const submission = produce(projection.view(head.object), stored);
      const lock = lockOf(objectAt(submission.object, 'metadata'));
      if (lock !== '' && lock !== head.object.metadata.resourceVersion) {
        throw conflict(served.info, name, OBJECT_MODIFIED);
      }
      const outcome = await this.attempt(context, target, served, projection, head, submission, options);
      if (outcome) return outcome;
      if (attempt >= WRITE_ATTEMPTS) throw conflict(served.info, name, OBJECT_MODIFIED);
    }
  }

  /** Undefined when the race for the object was lost: read again. */
  private async attempt(
    context: RequestContext,
    target: Target,
    served: Served,
    projection: Projection,
    head: { object: KubeObject; revision: number },
    submission: Submission,
    options: WriteOptions,
  ): Promise<WriteResult | undefined> {
    const { strategy, info } = served;
    const old = head.object as unknown as JsonObject;
    const oldMetadata = objectAt(old, 'metadata');
    const now = this.clock.now();
    const wrong = projection.validate?.(submission.object) ?? [];
    if (wrong.length > 0) throw invalid(groupKind(projection.as), target.name ?? '', wrong);
    const next = projection.merge(old, submission.object, now);
    const metadata = objectAt(next, 'metadata');
    // Before the server has its say: what it sets itself nobody owns.
    setOwners(metadata, submission.owners(old, next));
    const request = this.request('UPDATE', context, target, served, next, old, options);
    const admitting = this.admission.admit(request);
    if (admitting) await admitting;
    carryOver(metadata, oldMetadata);
    metadata.resourceVersion = oldMetadata.resourceVersion;
    if (target.subresource === undefined) strategy.prepareForUpdate?.(next, old, now);
    if (
      strategy.hasGeneration &&
      !projection.keepsGeneration &&
      metadata.generation === oldMetadata.generation &&
      specChanged(next, old)
    ) {
      metadata.generation = ((oldMetadata.generation as number | undefined) ?? 0) + 1;
    }
    const allocation = this.allocators.get(served.bucket)?.allocate(next, old, options.dryRun === true);
    try {
      const errors = [
        ...validateMetaUpdate(metadata, oldMetadata),
        ...this.validateChange(served, projection, target, next, old),
      ];
      if (errors.length > 0) throw invalid(info, target.name ?? '', errors);
      if (target.subresource === undefined) this.warn(served, next, old, context);
      const validating = this.admission.validate(request);
      if (validating) await validating;
      this.admission.reserve(request);
      next.metadata = ordered(metadata);
      const object = await this.replace(served, projection, head, next, options);
      if (object) allocation?.done();
      else allocation?.undo();
      return object && { object, created: false };
    } catch (error) {
      allocation?.undo();
      throw error;
    }
  }

  private validateChange(
    served: Served,
    projection: Projection,
    target: Target,
    next: JsonObject,
    old: JsonObject,
  ): FieldError[] {
    const { strategy, info, apiVersion } = served;
    const errors = validateMeta(objectAt(next, 'metadata'), {
      namespaced: info.namespaced,
      // A name that was accepted once stays accepted.
      nameCheck: () => [],
      anyFinalizer: strategy.anyFinalizer,
    });
    if (projection.validateChange) return [...errors, ...projection.validateChange(next, old)];
    if (target.subresource !== undefined) return errors;
    if (strategy.validatesUpdates !== false) errors.push(...(strategy.validate?.(next, apiVersion) ?? []));
    errors.push(...(strategy.validateUpdate?.(next, old, apiVersion) ?? []));
    return errors;
  }

  private async replace(
    served: Served,
    projection: Projection,
    head: { object: KubeObject; revision: number },
    next: JsonObject,
    options: WriteOptions,
  ): Promise<KubeObject | undefined> {
    const key = objectKey(head.object.metadata.namespace, head.object.metadata.name ?? '');
    const old = head.object as unknown as JsonObject;
    const object = next as unknown as KubeObject;
    const gone = isFinished(served.bucket, next);
    const unchanged = !gone && isUnchanged(next, old);
    if (options.dryRun) return unchanged ? head.object : object;
    // A change that changes nothing is no write, unless what it would confirm is not yet published.
    if (unchanged && this.store.get(served.bucket, key)?.revision === head.revision) return head.object;
    try {
      const [stored] = await this.store.commit([
        {
          bucket: served.bucket,
          key,
          object: gone ? undefined : object,
          expected: head.revision,
          durability: gone
            ? 'durable'
            : (projection.durability?.(next, old) ?? served.strategy.durability ?? 'durable'),
        },
      ]);
      const result = stored as { object: KubeObject; revision: number };
      if (!gone) return result.object;
      this.allocators.get(served.bucket)?.release(old);
      return { ...object, metadata: { ...object.metadata, resourceVersion: String(result.revision) } };
    } catch (error) {
      if (error instanceof RevisionConflict) return undefined;
      throw error;
    }
  }

  private request(
    operation: 'CREATE' | 'UPDATE',
    context: RequestContext,
    target: Target,
    served: Served,
    object: JsonObject,
    old: JsonObject | undefined,
    options: WriteOptions,
  ): AdmissionRequest {
    const dryRun = options.dryRun === true;
    return { operation, target, bucket: served.bucket, object, old, context, dryRun };
  }

  private warn(
    served: Served,
    object: JsonObject,
    old: JsonObject | undefined,
    context: RequestContext,
  ): void {
    const { strategy } = served;
    // Who changes only labels need not hear again what is odd about the spec.
    const generation = objectAt(object, 'metadata').generation;
    if (old && strategy.hasGeneration && generation === objectAt(old, 'metadata').generation) return;
    for (const text of strategy.warnings?.(object, old) ?? []) context.warn(text);
  }
}

function setOwners(metadata: JsonObject, owners: Owners | undefined): void {
  if (owners === undefined) delete metadata.managedFields;
  // Shared with other objects and versions; nobody changes what is stored.
  else metadata.managedFields = owners as unknown as Json;
}

/** Being deleted, and nothing holds it any more: finalizers are gone and the grace period is over. */
export function isFinished(bucket: string, object: JsonObject): boolean {
  const metadata = objectAt(object, 'metadata');
  if (metadata.deletionTimestamp === undefined || stringsAt(metadata, 'finalizers').length > 0) return false;
  if (bucket === 'namespaces') return stringsAt(objectAt(object, 'spec'), 'finalizers').length === 0;
  return metadata.deletionGracePeriodSeconds === undefined || metadata.deletionGracePeriodSeconds === 0;
}

function groupKind(as: DecodeAs): { group: string; kind: string } {
  const slash = as.apiVersion.indexOf('/');
  return { group: slash < 0 ? '' : as.apiVersion.slice(0, slash), kind: as.kind };
}

/** The URL names the namespace; a body may repeat it but not contradict it. */
export function placeInNamespace(metadata: JsonObject, target: Target): void {
  const given = stringAt(metadata, 'namespace');
  if (!target.info.namespaced) {
    if (given !== '') return;
    delete metadata.namespace;
    return;
  }
  if (given !== '' && given !== target.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  metadata.namespace = target.namespace;
}

function existsAlready(
  target: Target,
  name: string,
  taken: KubeObject | undefined,
  generatedFrom: string | undefined,
): StatusError {
  const error = alreadyExists(target.info, name);
  if (generatedFrom !== undefined) {
    return new StatusError('AlreadyExists', 409, error.message, {
      ...error.status.details,
      retryAfterSeconds: 1,
    });
  }
  if (taken?.metadata.deletionTimestamp === undefined) return error;
  return new StatusError(
    'AlreadyExists',
    409,
    `object is being deleted: ${error.message}`,
    error.status.details,
  );
}

export function missing(target: Target): StatusError {
  return notFound(target.info, target.name ?? '');
}
