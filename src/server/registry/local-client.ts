// The Client of everything inside the server process: controllers, scheduler, health. No HTTP, no copies: what is read
// is shared with the cache.
import type { KubeObject } from '../../api/object.ts';
import { groupResource, type ResourceRef, type ResourceType } from '../../api/resource.ts';
import type {
  Client,
  DeleteOptions,
  Follower,
  FollowSink,
  ListOptions,
  NewObject,
  ObjectList,
  Patch,
} from '../../client/port.ts';
import type { Logger } from '../../lib/logger.ts';
import type { ApiRegistry } from './api-registry.ts';
import type { ReadOptions, RequestContext, Target, UserInfo, WatchMessage } from './port.ts';

export class LocalClient implements Client {
  private readonly registry: ApiRegistry;
  private readonly context: RequestContext;

  /** `user` is whom admission and audit see, e.g. system:kube-controller-manager. */
  constructor(options: { registry: ApiRegistry; user: UserInfo; logger: Logger }) {
    this.registry = options.registry;
    const { user, logger } = options;
    this.context = {
      user,
      requestId: user.name,
      fieldManager: user.name.split(':').pop() ?? user.name,
      warn: (text) => logger.debug({ user: user.name, warning: text }, 'the API warned'),
    };
  }

  async get<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
  ): Promise<T> {
    return (await this.registry.get(this.context, this.target(type, namespace, name))) as T;
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<ObjectList<T>> {
    return this.listNow(type, options);
  }

  /** Synchronous up to and including the first onList: nothing can happen between list and watch. */
  follow<T extends KubeObject>(type: ResourceType<T>, options: ListOptions, sink: FollowSink<T>): Follower {
    const list = this.listNow(type, options);
    let stopped = false;
    // The sink may write from inside onList; the watch begins at the list's revision, so nothing is missed.
    sink.onList(list);
    const watch = this.registry.watchNow(
      this.target(type, options.namespace),
      { ...selectors(options), resourceVersion: list.resourceVersion },
      (message: WatchMessage) => {
        if (stopped || message.type === 'BOOKMARK' || message.type === 'ERROR') return;
        sink.onEvent(message.type, message.object as T);
      },
    );
    return {
      stop: () => {
        stopped = true;
        watch.stop();
      },
      synced: Promise.resolve(),
    };
  }

  async create<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    object: NewObject<T>,
  ): Promise<T> {
    return (await this.registry.create(this.context, this.target(type, namespace), object)) as T;
  }

  async update<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T> {
    const { object: updated } = await this.registry.update(this.context, this.targetOf(type, object), object);
    return updated as T;
  }

  async updateStatus<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T> {
    const target = { ...this.targetOf(type, object), subresource: 'status' };
    const { object: updated } = await this.registry.update(this.context, target, object);
    return updated as T;
  }

  async patch<T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    patch: Patch,
    subresource?: string,
  ): Promise<T> {
    const target = { ...this.target(type, namespace, name), subresource };
    const { object } = await this.registry.patch(this.context, target, patch);
    return object as T;
  }

  async delete(
    type: ResourceRef,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    await this.registry.delete(this.context, this.target(type, namespace, name), options);
  }

  async createSubresource(
    type: ResourceRef,
    namespace: string,
    name: string,
    subresource: string,
    body: object,
  ): Promise<KubeObject> {
    const target = { ...this.target(type, namespace, name), subresource };
    return this.registry.create(this.context, target, body);
  }

  private listNow<T extends KubeObject>(type: ResourceType<T>, options: ListOptions): ObjectList<T> {
    const { items, resourceVersion } = this.registry.listNow(
      this.target(type, options.namespace),
      selectors(options),
    );
    return { items: items as T[], resourceVersion };
  }

  private target(type: ResourceRef, namespace: string | undefined, name?: string): Target {
    const info = this.registry.catalogue.find(type.group, type.version, type.resource);
    if (!info) throw new Error(`${groupResource(type)} is not served`);
    return { info, namespace: info.namespaced ? namespace : undefined, name };
  }

  private targetOf(type: ResourceRef, { metadata }: KubeObject): Target {
    return this.target(type, metadata.namespace, metadata.name);
  }
}

function selectors({ labelSelector, fieldSelector }: ListOptions): ReadOptions {
  return {
    ...(labelSelector === undefined ? {} : { labelSelector }),
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
  };
}
