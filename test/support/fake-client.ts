import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  notFound,
  OBJECT_MODIFIED,
  type StatusError,
} from '../../src/api/errors.ts';
import { parseFieldSelector } from '../../src/api/field-selectors.ts';
import { cloneJson, type Json, type KubeObject, objectKey } from '../../src/api/object.ts';
import { applyJsonPatch } from '../../src/api/patch-json.ts';
import { applyMergePatch } from '../../src/api/patch-merge.ts';
import { applyStrategicPatch } from '../../src/api/patch-strategic.ts';
import { apiVersionOf, groupResource, type ResourceRef, type ResourceType } from '../../src/api/resource.ts';
import type { Schemas } from '../../src/api/schema.ts';
import { parseLabelSelector } from '../../src/api/selectors.ts';
import type {
  Client,
  DeleteOptions,
  Follower,
  FollowSink,
  ListOptions,
  NewObject,
  ObjectList,
  Patch,
} from '../../src/client/port.ts';
import { type Clock, timestamp } from '../../src/lib/clock.ts';
import { sameJson } from '../../src/lib/equal.ts';
import { nameSuffix, type Random } from '../../src/lib/random.ts';
import { BEFORE_CREATE, type Loose } from './fake-client-defaults.ts';

export type Verb = 'create' | 'update' | 'updateStatus' | 'patch' | 'delete' | 'createSubresource';

/** A look at every write before it happens; what it throws is the answer. */
export type Interceptor = (write: {
  verb: Verb;
  resource: string;
  namespace: string | undefined;
  name: string;
  subresource?: string;
}) => void;

interface Watcher {
  bucket: string;
  selects: (object: KubeObject) => boolean;
  sink: FollowSink<KubeObject>;
  listed: boolean;
}

/** Kinds whose spec changes raise metadata.generation. Everything with a spec, but for these. */
const WITHOUT_GENERATION = new Set(['namespaces', 'nodes', 'serviceaccounts', 'services']);

/**
 * The API in memory for tests of controllers, scheduler and monitors: optimistic locks, selectors, follow, status as a
 * subresource, deletion with finalizers and grace period, binding. No schemas: fields are neither checked nor defaulted,
 * but for the few in fake-client-defaults.ts. Everything it hands out is frozen, so that a change in place is caught.
 */
export class FakeClient implements Client {
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly schemas: Schemas | undefined;
  private readonly buckets = new Map<string, Map<string, KubeObject>>();
  private readonly watchers = new Set<Watcher>();
  private readonly interceptors = new Set<Interceptor>();
  private revision = 0;
  /** Writes that changed something, by `verb resource`: tests count what a controller does. */
  readonly writes: { verb: Verb; resource: string; name: string }[] = [];

  constructor(options: { clock: Clock; random: Random; schemas?: Schemas }) {
    this.clock = options.clock;
    this.random = options.random;
    this.schemas = options.schemas;
  }

  /** Returns the remover. */
  intercept(interceptor: Interceptor): () => void {
    this.interceptors.add(interceptor);
    return () => this.interceptors.delete(interceptor);
  }

  /** What is stored now, without a promise; undefined when it is not there. */
  peek<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
  ): T | undefined {
    return this.bucket(type).get(objectKey(namespace, name)) as T | undefined;
  }

  all<T extends KubeObject>(type: ResourceType<T>, namespace?: string): T[] {
    const objects = [...this.bucket(type).values()] as T[];
    return namespace === undefined
      ? objects
      : objects.filter((object) => object.metadata.namespace === namespace);
  }

  /** Every object of every type. */
  everything(): KubeObject[] {
    return [...this.buckets.values()].flatMap((bucket) => [...bucket.values()]);
  }

  async get<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
  ): Promise<T> {
    return this.find(type, namespace, name) as T;
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<ObjectList<T>> {
    return this.listed(type, options);
  }

  follow<T extends KubeObject>(type: ResourceType<T>, options: ListOptions, sink: FollowSink<T>): Follower {
    const watcher: Watcher = {
      bucket: groupResource(type),
      selects: selectorOf(options),
      sink: sink as unknown as FollowSink<KubeObject>,
      listed: false,
    };
    this.watchers.add(watcher);
    const synced = Promise.resolve().then(() => {
      if (!this.watchers.has(watcher)) return;
      watcher.listed = true;
      sink.onList(this.listed(type, options));
    });
    return { synced, stop: () => this.watchers.delete(watcher) };
  }

  /** Makes every follower of a type list again, as after an expired watch. */
  relist<T extends KubeObject>(type: ResourceType<T>): void {
    for (const watcher of this.watchers) {
      if (watcher.bucket !== groupResource(type) || !watcher.listed) continue;
      const items = [...this.bucket(type).values()].filter(watcher.selects);
      watcher.sink.onList({ items, resourceVersion: String(this.revision) });
    }
  }

  async create<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    object: NewObject<T>,
  ): Promise<T> {
    const fresh = cloneJson(object) as unknown as KubeObject;
    fresh.apiVersion = apiVersionOf(type);
    fresh.kind = type.kind;
    const { metadata } = fresh;
    if (type.namespaced) {
      if (!namespace) throw badRequest('an empty namespace may not be set during creation');
      metadata.namespace ??= namespace;
      if (metadata.namespace !== namespace) {
        throw badRequest(
          'the namespace of the provided object does not match the namespace sent on the request',
        );
      }
    } else {
      delete metadata.namespace;
    }
    if (!metadata.name && metadata.generateName) {
      metadata.name = metadata.generateName.slice(0, 58) + nameSuffix(this.random);
    }
    const name = metadata.name ?? '';
    if (name === '') {
      const message = 'Required value: name or generateName is required';
      throw invalid(type, '', [{ reason: 'FieldValueRequired', field: 'metadata.name', message }]);
    }
    this.ask('create', type, namespace, name);
    this.refuseInTerminating(type, metadata.namespace, name);
    if (this.bucket(type).has(objectKey(metadata.namespace, name))) throw alreadyExists(type, name);
    metadata.uid = this.random.uuid();
    metadata.creationTimestamp = timestamp(this.clock.now());
    delete metadata.deletionTimestamp;
    delete metadata.deletionGracePeriodSeconds;
    delete metadata.resourceVersion;
    if ('spec' in fresh && !WITHOUT_GENERATION.has(type.resource)) metadata.generation = 1;
    BEFORE_CREATE[groupResource(type)]?.(fresh as Loose);
    return this.put(type, undefined, fresh, 'create') as T;
  }

  async update<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T> {
    const { namespace, name = '' } = object.metadata;
    this.ask('update', type, namespace, name);
    return this.replace(type, cloneJson(object), 'update') as T;
  }

  async updateStatus<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T> {
    const { namespace, name = '' } = object.metadata;
    this.ask('updateStatus', type, namespace, name, 'status');
    return this.replaceStatus(type, cloneJson(object), 'updateStatus') as T;
  }

  async patch<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    patch: Patch,
    subresource?: string,
  ): Promise<T> {
    this.ask('patch', type, namespace, name, subresource);
    const old = this.find(type, namespace, name);
    const patched = this.patched(type, old, patch);
    patched.metadata.name = name;
    if (patched.metadata.uid !== old.metadata.uid) {
      const message = `Invalid value: "${patched.metadata.uid}": field is immutable`;
      throw invalid(type, name, [{ reason: 'FieldValueInvalid', field: 'metadata.uid', message }]);
    }
    switch (subresource) {
      case undefined:
        return this.replace(type, patched, 'patch') as T;
      case 'status':
        return this.replaceStatus(type, patched, 'patch') as T;
      case 'finalize':
        return this.finalize(type, old, patched) as T;
      default:
        throw new Error(`FakeClient does not model patching the subresource ${subresource}`);
    }
  }

  async delete(
    ref: ResourceRef,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    this.ask('delete', ref, namespace, name);
    const old = this.find(ref, namespace, name);
    const { preconditions = {} } = options;
    for (const field of ['uid', 'resourceVersion'] as const) {
      const wanted = preconditions[field];
      if (wanted !== undefined && wanted !== old.metadata[field]) {
        const what = field === 'uid' ? 'UID' : 'ResourceVersion';
        throw conflict(
          ref,
          name,
          `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${old.metadata[field]}`,
        );
      }
    }
    const next = cloneJson(old);
    const { metadata } = next;
    if (options.propagationPolicy === 'Foreground') addFinalizer(next, 'foregroundDeletion');
    if (options.propagationPolicy === 'Orphan') addFinalizer(next, 'orphan');
    const grace = groupResource(ref) === 'pods' ? podGrace(old as Loose, options.gracePeriodSeconds) : 0;
    const before = metadata.deletionGracePeriodSeconds;
    if (metadata.deletionTimestamp === undefined) {
      metadata.deletionTimestamp = timestamp(this.clock.now() + grace * 1000);
      metadata.deletionGracePeriodSeconds = grace;
      if (metadata.generation !== undefined) metadata.generation += 1;
    } else if (grace < (before ?? 0)) {
      metadata.deletionTimestamp = timestamp(this.clock.now() + grace * 1000);
      metadata.deletionGracePeriodSeconds = grace;
    }
    if (groupResource(ref) === 'namespaces') {
      (next as Loose).status = { ...(next as Loose).status, phase: 'Terminating' };
    }
    this.settle(ref, old, next, 'delete');
  }

  async createSubresource(
    ref: ResourceRef,
    namespace: string,
    name: string,
    subresource: string,
    body: object,
  ): Promise<KubeObject> {
    this.ask('createSubresource', ref, namespace, name, subresource);
    const what = `${groupResource(ref)}/${subresource}`;
    if (what === 'pods/binding') return this.bind(ref, namespace, name, body as Loose);
    throw new Error(`FakeClient does not model ${what}`);
  }

  private bind(ref: ResourceRef, namespace: string, name: string, binding: Loose): KubeObject {
    const old = this.find(ref, namespace, name) as Loose;
    if (binding.metadata.uid !== undefined && binding.metadata.uid !== old.metadata.uid) {
      throw conflict(ref, name, 'Precondition failed: UID in precondition');
    }
    if (old.metadata.deletionTimestamp !== undefined) {
      throw conflict(ref, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    }
    if (old.spec?.nodeName) {
      throw conflict(ref, name, `pod ${name} is already assigned to node "${old.spec.nodeName}"`);
    }
    const next = cloneJson(old);
    next.spec = { ...next.spec, nodeName: binding.target.name };
    const others = ((next.status?.conditions ?? []) as Loose[]).filter(({ type }) => type !== 'PodScheduled');
    const scheduled = {
      type: 'PodScheduled',
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime: timestamp(this.clock.now()),
    };
    next.status = { ...next.status, conditions: [...others, scheduled] };
    this.put(ref, old, next, 'createSubresource');
    return { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success' } as unknown as KubeObject;
  }

  private finalize(ref: ResourceRef, old: KubeObject, patched: KubeObject): KubeObject {
    const next = cloneJson(old) as Loose;
    next.spec = { ...next.spec, finalizers: (patched as Loose).spec?.finalizers ?? [] };
    return this.settle(ref, old, next, 'patch');
  }

  private patched(type: ResourceType<KubeObject>, old: KubeObject, patch: Patch): KubeObject {
    const document = cloneJson(old) as unknown as Json;
    switch (patch.type) {
      case 'json':
        return applyJsonPatch(document, patch.operations) as unknown as KubeObject;
      case 'merge':
        return cloneJson(applyMergePatch(document, patch.body as Json)) as unknown as KubeObject;
      case 'strategic': {
        if (!this.schemas) throw new Error('FakeClient was made without schemas: no strategic patches');
        const suffix = `.${type.version}.${type.kind}`;
        const schema = this.schemas
          .names()
          .find((name) => name.startsWith('io.k8s.api') && name.endsWith(suffix));
        const struct = this.schemas.struct(schema ?? type.kind);
        return cloneJson(
          applyStrategicPatch(document as never, patch.body as never, struct),
        ) as unknown as KubeObject;
      }
      case 'apply':
        throw new Error('FakeClient does not model server-side apply');
    }
  }

  private replace(type: ResourceType<KubeObject>, next: KubeObject, verb: Verb): KubeObject {
    const old = this.lock(type, next) as Loose;
    const loose = next as Loose;
    if (old.status !== undefined) loose.status = old.status;
    else if (hasStatus(type)) delete loose.status;
    this.keepServerFields(next, old);
    const marked =
      type.resource === 'deployments' && !sameJson(next.metadata.annotations, old.metadata.annotations);
    if ((!sameJson(loose.spec, old.spec) || marked) && next.metadata.generation !== undefined) {
      next.metadata.generation += 1;
    }
    return this.settle(type, old, next, verb);
  }

  private replaceStatus(type: ResourceType<KubeObject>, given: KubeObject, verb: Verb): KubeObject {
    const old = this.lock(type, given);
    // Only the status and metadata of what is given count, and of metadata not what the server owns.
    const next = { ...cloneJson(old), metadata: given.metadata } as Loose;
    next.status = (given as Loose).status;
    this.keepServerFields(next, old);
    return this.settle(type, old, next, verb);
  }

  private lock(ref: ResourceRef, next: KubeObject): KubeObject {
    const { namespace, name = '', uid, resourceVersion } = next.metadata;
    const old = this.find(ref, namespace, name);
    if (uid !== undefined && uid !== old.metadata.uid) {
      throw conflict(
        ref,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
      );
    }
    if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
      throw conflict(ref, name, OBJECT_MODIFIED);
    }
    return old;
  }

  private keepServerFields(next: KubeObject, old: KubeObject): void {
    const kept = [
      'uid',
      'creationTimestamp',
      'deletionTimestamp',
      'deletionGracePeriodSeconds',
      'generation',
      'resourceVersion',
    ] as const;
    const target = next.metadata as unknown as Record<string, unknown>;
    for (const field of kept) {
      if (old.metadata[field] === undefined) delete target[field];
      else target[field] = old.metadata[field];
    }
    if (old.metadata.deletionTimestamp === undefined) return;
    const known = new Set(old.metadata.finalizers);
    const added = (next.metadata.finalizers ?? []).filter((finalizer) => !known.has(finalizer));
    if (added.length === 0) return;
    const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`;
    throw invalid({ group: '', kind: next.kind }, next.metadata.name ?? '', [
      { reason: 'FieldValueForbidden', field: 'metadata.finalizers', message },
    ]);
  }

  /** Stores the next state, or removes the object when it is deleted and nothing holds it any more. */
  private settle(ref: ResourceRef, old: KubeObject, next: KubeObject, verb: Verb): KubeObject {
    const { metadata } = next;
    const held =
      (metadata.finalizers ?? []).length > 0 ||
      (metadata.deletionGracePeriodSeconds ?? 0) > 0 ||
      (groupResource(ref) === 'namespaces' && ((next as Loose).spec?.finalizers ?? []).length > 0);
    if (metadata.deletionTimestamp !== undefined && !held) return this.remove(ref, next, verb);
    return this.put(ref, old, next, verb);
  }

  private put(ref: ResourceRef, old: KubeObject | undefined, next: KubeObject, verb: Verb): KubeObject {
    if (old && sameJson(old, next)) return old;
    this.revision += 1;
    next.metadata.resourceVersion = String(this.revision);
    const stored = freeze(next);
    const key = objectKey(next.metadata.namespace, next.metadata.name ?? '');
    this.bucket(ref).set(key, stored);
    this.writes.push({ verb, resource: groupResource(ref), name: next.metadata.name ?? '' });
    this.publish(ref, old, stored);
    return stored;
  }

  private remove(ref: ResourceRef, last: KubeObject, verb: Verb): KubeObject {
    this.revision += 1;
    last.metadata.resourceVersion = String(this.revision);
    const gone = freeze(last);
    this.bucket(ref).delete(objectKey(last.metadata.namespace, last.metadata.name ?? ''));
    this.writes.push({ verb, resource: groupResource(ref), name: last.metadata.name ?? '' });
    for (const watcher of this.watching(ref)) {
      if (watcher.selects(gone)) watcher.sink.onEvent('DELETED', gone);
    }
    return gone;
  }

  private publish(ref: ResourceRef, old: KubeObject | undefined, stored: KubeObject): void {
    for (const watcher of this.watching(ref)) {
      const before = old !== undefined && watcher.selects(old);
      const now = watcher.selects(stored);
      if (now) watcher.sink.onEvent(before ? 'MODIFIED' : 'ADDED', stored);
      else if (before) watcher.sink.onEvent('DELETED', stored);
    }
  }

  private watching(ref: ResourceRef): Watcher[] {
    const bucket = groupResource(ref);
    return [...this.watchers].filter((watcher) => watcher.bucket === bucket && watcher.listed);
  }

  private listed<T extends KubeObject>(type: ResourceType<T>, options: ListOptions): ObjectList<T> {
    const selects = selectorOf(options);
    const items = [...this.bucket(type).entries()]
      .filter(([, object]) => selects(object))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object as T);
    return { items, resourceVersion: String(this.revision) };
  }

  private find(ref: ResourceRef, namespace: string | undefined, name: string): KubeObject {
    const found = this.bucket(ref).get(objectKey(namespace, name));
    if (!found) throw notFound(ref, name);
    return found;
  }

  private bucket(ref: ResourceRef): Map<string, KubeObject> {
    const key = groupResource(ref);
    let bucket = this.buckets.get(key);
    if (!bucket) {
      bucket = new Map();
      this.buckets.set(key, bucket);
    }
    return bucket;
  }

  private ask(
    verb: Verb,
    ref: ResourceRef,
    namespace: string | undefined,
    name: string,
    subresource?: string,
  ): void {
    const write = { verb, resource: groupResource(ref), namespace, name };
    for (const interceptor of this.interceptors) {
      interceptor(subresource === undefined ? write : { ...write, subresource });
    }
  }

  private refuseInTerminating(ref: ResourceRef, namespace: string | undefined, name: string): void {
    const holder = this.buckets.get('namespaces')?.get(namespace ?? '');
    if (holder?.metadata.deletionTimestamp === undefined) return;
    const error: StatusError = forbidden(
      ref,
      name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
    );
    const cause = {
      reason: 'NamespaceTerminating',
      message: `namespace ${namespace} is being terminated`,
      field: 'metadata.namespace',
    };
    error.status.details = { ...error.status.details, causes: [cause] };
    throw error;
  }
}

/** ConfigMaps and the like are data all the way: a merge of `status` must not vanish there. */
function hasStatus({ resource }: ResourceRef): boolean {
  return !['configmaps', 'secrets', 'events', 'endpoints', 'endpointslices', 'leases'].includes(resource);
}

function podGrace(pod: Loose, asked: number | undefined): number {
  const ended = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  if (!pod.spec?.nodeName || ended) return 0;
  return asked ?? pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30;
}

function addFinalizer(object: KubeObject, finalizer: string): void {
  const present = object.metadata.finalizers ?? [];
  if (!present.includes(finalizer)) object.metadata.finalizers = [...present, finalizer];
}

function selectorOf({
  namespace,
  labelSelector,
  fieldSelector,
}: ListOptions): (object: KubeObject) => boolean {
  const byLabel = parseLabelSelector(labelSelector ?? '');
  const byField = parseFieldSelector(fieldSelector ?? '');
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    byLabel(object.metadata.labels) &&
    byField.every(({ field, value, negated }) => (fieldOf(object, field) === value) !== negated);
}

function fieldOf(object: KubeObject, path: string): string {
  let value: unknown = object;
  for (const part of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[part];
  return value === undefined || value === null ? '' : String(value);
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const field of Object.values(value)) freeze(field);
  return Object.freeze(value);
}
