import type { Catalogue, ResourceInfo } from '../../api/catalogue.ts';
import type { JsonObject, KubeObject } from '../../api/object.ts';
import type { Status } from '../../api/types/meta-v1.ts';
import type { Patch, WatchEventType } from '../../client/port.ts';

/** Who asks, as authentication found out. */
export interface UserInfo {
  name: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

/** What accompanies a request through admission and registry. */
export interface RequestContext {
  readonly user: UserInfo;
  /** Adds a `Warning: 299` header to the answer. */
  warn(text: string): void;
  /** Adds an annotation to the request's audit event; absent where nobody keeps an audit log. */
  annotate?(key: string, value: string): void;
  /**
   * Throws Forbidden unless the user may also create what the request is about: a PUT or an apply that finds nothing
   * creates. Absent inside the process.
   */
  demandCreate?(): void;
  readonly requestId: string;
  /** Who a changed field is attributed to: the fieldManager parameter, else the first part of User-Agent. */
  readonly fieldManager: string;
}

/** What a request is about. `name` is absent for collections; `subresource` for the object itself. */
export interface Target {
  readonly info: ResourceInfo;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

export interface WriteOptions {
  dryRun?: boolean;
  /** Absent: Warn, as since Kubernetes 1.27. */
  fieldValidation?: 'Strict' | 'Warn' | 'Ignore';
  /** Field paths that occurred twice in the body, found by the decoder. */
  duplicateFields?: readonly string[];
}

export interface ReadOptions {
  resourceVersion?: string;
  resourceVersionMatch?: string;
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
}

export interface ListResult {
  items: readonly KubeObject[];
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

export interface DeleteRequest extends WriteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: string;
  orphanDependents?: boolean;
  preconditions?: { uid?: string; resourceVersion?: string };
}

export interface WatchRequest {
  resourceVersion?: string;
  resourceVersionMatch?: string;
  labelSelector?: string;
  fieldSelector?: string;
  sendInitialEvents?: boolean;
  allowWatchBookmarks?: boolean;
}

/** One event for one watcher. For BOOKMARK `object` holds kind, apiVersion and metadata.resourceVersion only. */
export interface WatchMessage {
  type: WatchEventType | 'BOOKMARK' | 'ERROR';
  object: KubeObject | Status;
}

/**
 * The API's verbs on objects, after authentication and authorisation. HTTP, the in-process client and the bus call this
 * and nothing deeper. One pipeline for all resources (docs/flow.md): decode -> default -> mutate (admission) -> prepare ->
 * validate -> admit -> commit. All failures are StatusError. Returned objects are shared with the cache: read only.
 */
export interface Registry {
  readonly catalogue: Catalogue;
  get(context: RequestContext, target: Target, options?: ReadOptions): Promise<KubeObject>;
  list(context: RequestContext, target: Target, options?: ReadOptions): Promise<ListResult>;
  /** `onMessage` is called synchronously in revision order; initial ADDED events come before watch() resolves. */
  watch(
    context: RequestContext,
    target: Target,
    request: WatchRequest,
    onMessage: (message: WatchMessage) => void,
  ): Promise<{ stop(): void }>;
  /** POST to a collection or a subresource (binding, eviction, token). */
  create(context: RequestContext, target: Target, body: unknown, options?: WriteOptions): Promise<KubeObject>;
  /** PUT. `created` tells 201 from 200. */
  update(
    context: RequestContext,
    target: Target,
    body: unknown,
    options?: WriteOptions,
  ): Promise<WriteResult>;
  patch(context: RequestContext, target: Target, patch: Patch, options?: WriteOptions): Promise<WriteResult>;
  /** The object (when it lives on: finalizers, grace period) or a Status of success. */
  delete(context: RequestContext, target: Target, request?: DeleteRequest): Promise<KubeObject | Status>;
  deleteCollection(
    context: RequestContext,
    target: Target,
    selection: ReadOptions,
    request?: DeleteRequest,
  ): Promise<ListResult>;
  /**
   * Asks admission whether the pod may be connected to (exec, attach, portforward); `options` is a PodExecOptions or the
   * like. The pod may not exist.
   */
  admitConnect(context: RequestContext, target: Target, options: JsonObject): Promise<void>;
}

export interface WriteResult {
  object: KubeObject;
  created: boolean;
}
