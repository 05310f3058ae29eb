import type { KubeObject } from '../api/object.ts';
import type { ResourceRef, ResourceType } from '../api/resource.ts';

/**
 * What controllers, the scheduler and the health monitor know of the API: the verbs of Kubernetes, typed by resource.
 * In the server it is the registry itself (no HTTP between); the same contract test runs against every implementation.
 *
 * Obligations:
 * - Errors are StatusError (src/api/errors.ts).
 * - Returned objects are shared with the cache: never change them, clone first (cloneJson).
 * - A write resolves after its event was delivered to every in-process watcher, so that a caller's informers already
 *   show its own write: no expectations are needed.
 */
export interface Client {
  get<T extends KubeObject>(type: ResourceType<T>, namespace: string | undefined, name: string): Promise<T>;
  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<ObjectList<T>>;
  /** Lists and then follows, without a gap. `onEvent` is called synchronously, in revision order. */
  follow<T extends KubeObject>(type: ResourceType<T>, options: ListOptions, sink: FollowSink<T>): Follower;
  create<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    object: NewObject<T>,
  ): Promise<T>;
  /** Replaces the main resource; a set metadata.resourceVersion is an optimistic lock (Conflict when lost). */
  update<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T>;
  /** Replaces the status only. */
  updateStatus<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T>;
  patch<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    patch: Patch,
    subresource?: string,
  ): Promise<T>;
  delete(
    type: ResourceRef,
    namespace: string | undefined,
    name: string,
    options?: DeleteOptions,
  ): Promise<void>;
  /** POST to a subresource: pods/binding, pods/eviction, serviceaccounts/token. Returns the answer's body. */
  createSubresource(
    type: ResourceRef,
    namespace: string,
    name: string,
    subresource: string,
    body: object,
  ): Promise<KubeObject>;
}

/** What a creator has to say; apiVersion and kind follow from the type. */
export type NewObject<T extends KubeObject> = Omit<T, 'apiVersion' | 'kind'> & {
  apiVersion?: string;
  kind?: string;
};

export interface ListOptions {
  /** All namespaces when absent. */
  namespace?: string;
  /** Kubernetes' selector syntax: `app=web,tier in (a,b)`. */
  labelSelector?: string;
  fieldSelector?: string;
}

export interface ObjectList<T> {
  items: T[];
  resourceVersion: string;
}

export type WatchEventType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface FollowSink<T> {
  /** Called once with the whole list, and again after every relist (the sink must replace what it holds). */
  onList(list: ObjectList<T>): void;
  onEvent(type: WatchEventType, object: T): void;
}

export interface Follower {
  stop(): void;
  /** Resolves after the first onList. */
  readonly synced: Promise<void>;
}

export type Patch =
  | { type: 'json'; operations: readonly object[] }
  | { type: 'merge'; body: object }
  | { type: 'strategic'; body: object }
  | { type: 'apply'; body: object; fieldManager: string; force?: boolean };

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Foreground' | 'Background' | 'Orphan';
  preconditions?: { uid?: string; resourceVersion?: string };
}
