import type { ResourceInfo } from '../../../api/catalogue.ts';
import { isConflict, isNotFound } from '../../../api/errors.ts';
import { type KubeObject, objectKey } from '../../../api/object.ts';
import { groupResource } from '../../../api/resource.ts';
import type { ObjectMeta, OwnerReference } from '../../../api/types/meta-v1.ts';
import type { Follower } from '../../../client/port.ts';
import { isNamespaceTerminating } from '../../../client/reconcile.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { Metered, MetricFamily } from '../../../lib/metrics.ts';
import type { Service } from '../../../lib/service.ts';
import { WorkQueue } from '../../../lib/work-queue.ts';
import type { ControllerContext } from '../context.ts';
import {
  decideGarbage,
  FOREGROUND,
  isDeletingDependents,
  isOrphaning,
  ORPHAN,
  type OwnerState,
} from './decide.ts';
import { type Item, OwnerGraph } from './graph.ts';

/**
 * Deletes what has no owner any more, over every resource type of the catalogue: background (dependents go after the
 * owner), foreground (the owner waits for dependents that block it) and orphan (dependents lose the reference).
 * It keeps no objects, only who owns what.
 */
export class GarbageCollector implements Service, Metered {
  private readonly context: ControllerContext;
  private readonly logger: Logger;
  private readonly graph = new OwnerGraph();
  private readonly followers = new Map<string, Follower>();
  /** What a queued key stands for. */
  private readonly items = new Map<string, Item>();
  /** Owners in foreground deletion that wait for dependents, by uid. */
  private readonly waiting = new Map<string, Item>();
  private readonly queue: WorkQueue;
  private running = false;

  constructor(context: ControllerContext) {
    this.context = context;
    this.logger = context.logger.child({ controller: 'garbage-collector' });
    this.queue = new WorkQueue({
      name: 'garbage_collector',
      clock: context.clock,
      process: (key) => this.process(key),
      onError: (key, error, retryInMs) => {
        const quiet = isConflict(error) || isNotFound(error) || isNamespaceTerminating(error);
        const log = quiet ? this.logger.debug : this.logger.warn;
        log.call(this.logger, { key, err: error, retryInMs }, 'garbage collection of an object failed');
      },
    });
  }

  metrics(): Iterable<MetricFamily> {
    return this.queue.meter?.metrics() ?? [];
  }

  async start(): Promise<void> {
    this.running = true;
    this.followAll();
    // Owners may come in any order: nothing is judged before every list is there.
    await Promise.all([...this.followers.values()].map((follower) => follower.synced));
    this.context.catalogue.onChange(() => this.followAll());
    this.queue.start();
  }

  async stop(): Promise<void> {
    this.running = false;
    for (const follower of this.followers.values()) follower.stop();
    this.followers.clear();
    await this.queue.stop();
    this.items.clear();
  }

  /** Follows types that came with a CRD and leaves those that went. */
  private followAll(): void {
    if (!this.running) return;
    const present = new Set<string>();
    for (const info of this.context.catalogue.all()) {
      const key = groupResource(info);
      const usable = ['list', 'watch', 'delete'].every((verb) => info.verbs.includes(verb));
      // Events have no owners in practice and come by the thousand; Kubernetes ignores them as well.
      if (!usable || info.resource === 'events' || present.has(key)) continue;
      present.add(key);
      if (!this.followers.has(key)) this.followers.set(key, this.follow(info));
    }
    for (const [key, follower] of this.followers) {
      if (present.has(key)) continue;
      follower.stop();
      this.followers.delete(key);
    }
  }

  private follow(info: ResourceInfo): Follower {
    const known = new Map<string, string>();
    return this.context.client.follow<KubeObject>(
      info,
      {},
      {
        onList: ({ items }) => {
          const gone = new Map(known);
          for (const object of items) {
            const key = objectKey(object.metadata.namespace, object.metadata.name ?? '');
            if (gone.get(key) === object.metadata.uid) gone.delete(key);
            this.seen(info, object, known);
          }
          for (const [key, uid] of gone) {
            if (known.get(key) === uid) known.delete(key);
            this.removed(uid);
          }
        },
        onEvent: (event, object) => {
          if (event !== 'DELETED') {
            this.seen(info, object, known);
            return;
          }
          known.delete(objectKey(object.metadata.namespace, object.metadata.name ?? ''));
          this.removed(object.metadata.uid ?? '');
        },
      },
    );
  }

  /** `known` holds what has owners or dependents that a relist could find gone. */
  private seen(info: ResourceInfo, object: KubeObject, known: Map<string, string>): void {
    const { metadata } = object;
    const changed = this.graph.set(info, object);
    const key = objectKey(metadata.namespace, metadata.name ?? '');
    const uid = metadata.uid ?? '';
    if ((metadata.ownerReferences?.length ?? 0) > 0 || this.graph.hasDependents(uid)) known.set(key, uid);
    if (changed || isDeletingDependents(metadata) || isOrphaning(metadata)) this.add(itemOf(info, object));
  }

  private removed(uid: string): void {
    for (const dependent of this.graph.dependentsOf(uid)) this.add(dependent);
    for (const owner of this.graph.remove(uid)) {
      // An owner in foreground deletion may have waited for this one.
      const waiting = this.waiting.get(owner.uid);
      if (waiting) this.add(waiting);
    }
  }

  private add(item: Item): void {
    const key = `${groupResource(item.type)}/${objectKey(item.namespace, item.name)}/${item.uid}`;
    this.items.set(key, item);
    this.queue.add(key);
  }

  private async process(key: string): Promise<void> {
    const item = this.items.get(key);
    if (!item) return;
    this.items.delete(key);
    try {
      await this.attend(item);
    } catch (error) {
      // The queue tries the key again.
      this.items.set(key, item);
      throw error;
    }
  }

  private async attend(item: Item): Promise<void> {
    const object = await this.live(item.type, item.namespace, item.name);
    if (object?.metadata.uid !== item.uid) {
      this.waiting.delete(item.uid);
      return;
    }
    if (isOrphaning(object.metadata)) await this.orphan(item, object);
    else if (isDeletingDependents(object.metadata)) await this.deleteDependents(item, object);
    else await this.collect(item, object);
  }

  private async collect(item: Item, object: KubeObject): Promise<void> {
    const { metadata } = object;
    const states = new Map<OwnerReference, OwnerState>();
    for (const owner of metadata.ownerReferences ?? []) {
      states.set(owner, await this.ownerState(owner, metadata));
    }
    const action = decideGarbage(
      metadata,
      (owner) => states.get(owner) ?? 'present',
      this.graph.hasDependents(item.uid),
    );
    if (action.do === 'unreference') {
      await this.patch(item, metadata, { ownerReferences: action.ownerReferences });
    } else if (action.do === 'delete') {
      this.logger.debug({ resource: groupResource(item.type), name: item.name }, 'deleting garbage');
      const { uid, resourceVersion } = metadata;
      await this.context.client.delete(item.type, item.namespace, item.name, {
        propagationPolicy: action.propagationPolicy,
        preconditions: {
          ...(uid === undefined ? {} : { uid }),
          // Adopted meanwhile by another owner: then it is no garbage.
          ...(resourceVersion === undefined ? {} : { resourceVersion }),
        },
      });
    }
  }

  private async ownerState(owner: OwnerReference, metadata: ObjectMeta): Promise<OwnerState> {
    const info = this.context.catalogue.findKind(owner.apiVersion, owner.kind);
    // A kind that is not (or no longer) served: nothing can be said of the owner, so nothing is deleted.
    if (!info) return 'present';
    // A cluster-scoped object cannot have an owner in a namespace; Kubernetes leaves it alone.
    if (info.namespaced && metadata.namespace === undefined) return 'present';
    const live = await this.live(info, info.namespaced ? metadata.namespace : undefined, owner.name);
    if (live?.metadata.uid !== owner.uid) return 'absent';
    return isDeletingDependents(live.metadata) ? 'waiting' : 'present';
  }

  /** Foreground: dependents go first; the owner's finalizer goes when none is left that blocks it. */
  private async deleteDependents(item: Item, object: KubeObject): Promise<void> {
    this.waiting.set(item.uid, item);
    const blockers = this.graph.blockersOf(item.uid);
    if (blockers.length === 0) {
      await this.dropFinalizer(item, object, FOREGROUND);
      this.waiting.delete(item.uid);
      return;
    }
    for (const dependent of this.graph.dependentsOf(item.uid)) this.add(dependent);
  }

  private async orphan(item: Item, object: KubeObject): Promise<void> {
    for (const dependent of this.graph.dependentsOf(item.uid)) {
      const live = await this.live(dependent.type, dependent.namespace, dependent.name);
      if (live?.metadata.uid !== dependent.uid) continue;
      const owners = (live.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== item.uid);
      await this.patch(dependent, live.metadata, { ownerReferences: owners.length === 0 ? null : owners });
    }
    await this.dropFinalizer(item, object, ORPHAN);
  }

  private async dropFinalizer(item: Item, object: KubeObject, finalizer: string): Promise<void> {
    const finalizers = (object.metadata.finalizers ?? []).filter((name) => name !== finalizer);
    await this.patch(item, object.metadata, { finalizers: finalizers.length === 0 ? null : finalizers });
  }

  private async patch(item: Item, { uid, resourceVersion }: ObjectMeta, metadata: object): Promise<void> {
    try {
      await this.context.client.patch<KubeObject>(item.type, item.namespace, item.name, {
        type: 'merge',
        body: { metadata: { uid, resourceVersion, ...metadata } },
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  private async live(
    info: ResourceInfo,
    namespace: string | undefined,
    name: string,
  ): Promise<KubeObject | undefined> {
    try {
      return await this.context.client.get<KubeObject>(info, namespace, name);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}

function itemOf(type: ResourceInfo, { metadata }: KubeObject): Item {
  return { type, namespace: metadata.namespace, name: metadata.name ?? '', uid: metadata.uid ?? '' };
}
