import { type KubeObject, keyOf, objectKey } from '../api/object.ts';
import { groupResource, type ResourceType } from '../api/resource.ts';
import type { Logger } from '../lib/logger.ts';
import type { Service } from '../lib/service.ts';
import type { Client, Follower, ListOptions, ObjectList, WatchEventType } from './port.ts';

/** Called synchronously while the change is published: set marks, add keys to queues, do no work here. */
export interface InformerHandlers<T> {
  onAdd?(object: T): void;
  onUpdate?(object: T, old: T): void;
  onDelete?(object: T): void;
}

/** The values under which an object is found by `byIndex`. */
export type IndexFunction<T> = (object: T) => string | readonly string[] | undefined;

/** Index by the uid of the controlling owner; see `controlledBy`. */
const CONTROLLER_INDEX = 'controller';
const NAMESPACE_INDEX = 'namespace';

interface Index<T> {
  values: IndexFunction<T>;
  buckets: Map<string, Map<string, T>>;
}

/**
 * The objects of one resource type as last published, with indexes and change handlers. Objects are shared with the
 * client's cache: read only. An object that was deleted and created again between two lists is a delete and an add,
 * never an update: its uid differs.
 */
export class Informer<T extends KubeObject> implements Service {
  readonly type: ResourceType<T>;
  private readonly client: Client;
  private readonly options: ListOptions;
  private readonly logger: Logger;
  private readonly objects = new Map<string, T>();
  private readonly indexes = new Map<string, Index<T>>();
  private readonly handlers = new Set<InformerHandlers<T>>();
  private readonly firstList: Promise<void>;
  private markSynced: () => void = () => {};
  private follower: Follower | undefined;
  private listed = false;

  constructor(options: { client: Client; type: ResourceType<T>; select?: ListOptions; logger: Logger }) {
    this.client = options.client;
    this.type = options.type;
    this.options = options.select ?? {};
    this.logger = options.logger;
    this.firstList = new Promise((resolve) => {
      this.markSynced = resolve;
    });
    if (options.type.namespaced) this.addIndex(NAMESPACE_INDEX, (object) => object.metadata.namespace);
  }

  async start(): Promise<void> {
    this.follower ??= this.client.follow(this.type, this.options, {
      onList: (list) => this.replace(list),
      onEvent: (event, object) => this.apply(event, object),
    });
    await this.follower.synced;
  }

  async stop(): Promise<void> {
    this.follower?.stop();
    this.follower = undefined;
  }

  /** Resolves after the first list; objects of before are then known to every handler. */
  get synced(): Promise<void> {
    return this.firstList;
  }

  get hasSynced(): boolean {
    return this.listed;
  }

  get(namespace: string | undefined, name: string): T | undefined {
    return this.objects.get(objectKey(namespace, name));
  }

  byKey(key: string): T | undefined {
    return this.objects.get(key);
  }

  /** All objects, or those of one namespace. A new array: callers may keep it over awaits. */
  list(namespace?: string): T[] {
    if (namespace === undefined || !this.type.namespaced) return [...this.objects.values()];
    return this.byIndex(NAMESPACE_INDEX, namespace);
  }

  get size(): number {
    return this.objects.size;
  }

  /** Adds an index; existing objects are entered at once. Adding the same name again changes nothing. */
  addIndex(name: string, values: IndexFunction<T>): this {
    if (this.indexes.has(name)) return this;
    const index: Index<T> = { values, buckets: new Map() };
    this.indexes.set(name, index);
    for (const [key, object] of this.objects) enter(index, key, object);
    return this;
  }

  byIndex(name: string, value: string): T[] {
    const index = this.indexes.get(name);
    if (!index) throw new Error(`informer of ${groupResource(this.type)} has no index ${name}`);
    const bucket = index.buckets.get(value);
    return bucket ? [...bucket.values()] : [];
  }

  /** The number of objects under an index value, without making the list. */
  countIndex(name: string, value: string): number {
    return this.indexes.get(name)?.buckets.get(value)?.size ?? 0;
  }

  /** Makes `controlledBy` available. */
  indexByController(): this {
    return this.addIndex(
      CONTROLLER_INDEX,
      (object) => object.metadata.ownerReferences?.find((owner) => owner.controller)?.uid,
    );
  }

  /** Objects whose controlling owner has this uid (needs indexByController). */
  controlledBy(uid: string): T[] {
    return this.byIndex(CONTROLLER_INDEX, uid);
  }

  /** Reports what is known already as adds, then every change, until the returned function is called. */
  handle(handlers: InformerHandlers<T>): () => void {
    for (const object of [...this.objects.values()]) this.call(() => handlers.onAdd?.(object));
    this.handlers.add(handlers);
    return () => this.handlers.delete(handlers);
  }

  private replace(list: ObjectList<T>): void {
    const fresh = new Set<string>();
    for (const object of list.items) {
      fresh.add(keyOf(object));
      this.apply('ADDED', object);
    }
    for (const [key, object] of [...this.objects]) if (!fresh.has(key)) this.remove(key, object);
    this.listed = true;
    this.markSynced();
  }

  private apply(event: WatchEventType, object: T): void {
    const key = keyOf(object);
    const old = this.objects.get(key);
    if (event === 'DELETED') {
      if (old) this.remove(key, object);
      return;
    }
    if (old && old.metadata.uid === object.metadata.uid) {
      // A relist repeats what is known.
      if (old.metadata.resourceVersion === object.metadata.resourceVersion) return;
      this.objects.set(key, object);
      for (const index of this.indexes.values()) {
        leave(index, key, old);
        enter(index, key, object);
      }
      for (const handlers of this.handlers) this.call(() => handlers.onUpdate?.(object, old));
      return;
    }
    if (old) this.remove(key, old);
    this.objects.set(key, object);
    for (const index of this.indexes.values()) enter(index, key, object);
    for (const handlers of this.handlers) this.call(() => handlers.onAdd?.(object));
  }

  private remove(key: string, last: T): void {
    const held = this.objects.get(key);
    this.objects.delete(key);
    if (held) for (const index of this.indexes.values()) leave(index, key, held);
    for (const handlers of this.handlers) this.call(() => handlers.onDelete?.(last));
  }

  /** One handler's mistake must not cut the others, or the publisher, off from the change. */
  private call(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.logger.error({ err: error, resource: groupResource(this.type) }, 'informer handler failed');
    }
  }
}

function enter<T>(index: Index<T>, key: string, object: T): void {
  for (const value of listOf(index.values(object))) {
    let bucket = index.buckets.get(value);
    if (!bucket) {
      bucket = new Map();
      index.buckets.set(value, bucket);
    }
    bucket.set(key, object);
  }
}

function leave<T>(index: Index<T>, key: string, object: T): void {
  for (const value of listOf(index.values(object))) {
    const bucket = index.buckets.get(value);
    bucket?.delete(key);
    if (bucket?.size === 0) index.buckets.delete(value);
  }
}

function listOf(values: string | readonly string[] | undefined): readonly string[] {
  if (values === undefined) return [];
  return typeof values === 'string' ? [values] : values;
}

/** One informer per resource type for the whole program, made on first use. */
export class InformerSet implements Service {
  private readonly client: Client;
  private readonly logger: Logger;
  private readonly informers = new Map<string, Informer<KubeObject>>();
  private running = false;

  constructor(options: { client: Client; logger: Logger }) {
    this.client = options.client;
    this.logger = options.logger;
  }

  /** The shared informer of all namespaces. Made after start(), it starts at once; await its `synced`. */
  of<T extends KubeObject>(type: ResourceType<T>): Informer<T> {
    const key = groupResource(type);
    const known = this.informers.get(key);
    if (known) return known as unknown as Informer<T>;
    const informer = new Informer({ client: this.client, type, logger: this.logger });
    this.informers.set(key, informer as unknown as Informer<KubeObject>);
    if (this.running) {
      informer.start().catch((error: unknown) => {
        this.logger.error({ err: error, resource: key }, 'informer failed to start');
      });
    }
    return informer;
  }

  /** Starts all informers asked for so far and waits until they hold their first list. */
  async start(): Promise<void> {
    this.running = true;
    await Promise.all([...this.informers.values()].map((informer) => informer.start()));
  }

  async stop(): Promise<void> {
    this.running = false;
    await Promise.all([...this.informers.values()].map((informer) => informer.stop()));
  }
}
