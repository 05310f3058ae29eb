import type { Catalogue, ResourceInfo } from '../../api/catalogue.ts';
import { RESOURCE_QUOTAS } from '../../api/kinds.ts';
import { type JsonObject, type KubeObject, splitKey } from '../../api/object.ts';
import { jsonEqual } from '../../api/patch-json.ts';
import { formatQuantity, quantityOf } from '../../api/quantity.ts';
import { quotaBuckets, quotaUsage, UsageCache } from '../../api/quota.ts';
import { groupResource } from '../../api/resource.ts';
import type { ResourceQuota } from '../../api/types/core-v1.ts';
import { objectAt } from '../../api/validation.ts';
import type { Informer } from '../../client/informer.ts';
import { Controller, type Enqueue, type Watch, watch } from '../../client/reconcile.ts';
import type { ControllerContext } from './context.ts';

/** Counted again once in a while whatever was seen: pods stop counting when their time to end is over. */
const RECOUNT_MS = 5 * 60_000;

/**
 * Writes into each ResourceQuota what is used of it. Nothing waits for this: admission counts for itself. Informers are
 * made for the resource types that some quota limits, and for no others.
 */
export function resourceQuotaController(context: ControllerContext): Controller {
  const { client, informers, catalogue, clock } = context;
  const quotas = informers.of(RESOURCE_QUOTAS);
  const counted = new CountedTypes(context);
  const usage = new UsageCache();
  return new Controller({
    name: 'resourcequota-controller',
    clock,
    logger: context.logger,
    watches: [watch(quotas), counted],
    reconcile: async (key) => {
      const { namespace = '', name } = splitKey(key);
      const quota = quotas.get(namespace, name);
      if (!quota || quota.metadata.deletionTimestamp !== undefined) return undefined;
      const spec = objectAt(quota as unknown as JsonObject, 'spec');
      const hard = objectAt(spec, 'hard');
      const needed = [...quotaBuckets(Object.keys(hard))].flatMap((bucket) => {
        const info = storedType(catalogue, bucket);
        return info ? [counted.of(info)] : [];
      });
      await Promise.all(needed.map(({ synced }) => synced));
      const used = quotaUsage(
        spec,
        (bucket) => counted.known(bucket)?.list(namespace) as unknown as JsonObject[] | undefined,
        clock.now(),
        usage,
      );
      const status: JsonObject = {
        hard: Object.fromEntries(Object.entries(hard).map(([one, value]) => [one, canonical(value)])),
        used: Object.fromEntries([...used].map(([one, quantity]) => [one, formatQuantity(quantity)])),
      };
      if (!jsonEqual(status, quota.status as unknown as JsonObject)) {
        await client.updateStatus(RESOURCE_QUOTAS, { ...quota, status } as unknown as ResourceQuota);
      }
      return RECOUNT_MS;
    },
  });
}

const canonical = (value: unknown): string => formatQuantity(quantityOf(value));

/** The type that a bucket's objects are listed as, if they have namespaces and can be listed. */
function storedType(catalogue: Catalogue, bucket: string): ResourceInfo | undefined {
  return catalogue
    .all()
    .find(
      (info) =>
        groupResource(info) === bucket &&
        info.namespaced &&
        info.verbs.includes('list') &&
        info.verbs.includes('watch'),
    );
}

/** The resource types that quotas count; a change of any object enqueues the quotas of its namespace. */
class CountedTypes implements Watch {
  readonly synced: Promise<void> = Promise.resolve();
  private readonly context: ControllerContext;
  private readonly types = new Map<string, Informer<KubeObject>>();
  private readonly detachers: (() => void)[] = [];
  private enqueue: Enqueue | undefined;

  constructor(context: ControllerContext) {
    this.context = context;
  }

  of(info: ResourceInfo): Informer<KubeObject> {
    const bucket = groupResource(info);
    const known = this.types.get(bucket);
    if (known) return known;
    const informer = this.context.informers.of<KubeObject>(info);
    this.types.set(bucket, informer);
    this.follow(informer);
    return informer;
  }

  known(bucket: string): Informer<KubeObject> | undefined {
    return this.types.get(bucket);
  }

  attach(enqueue: Enqueue): () => void {
    this.enqueue = enqueue;
    for (const informer of this.types.values()) this.follow(informer);
    return () => {
      this.enqueue = undefined;
      for (const detach of this.detachers.splice(0)) detach();
    };
  }

  private follow(informer: Informer<KubeObject>): void {
    if (!this.enqueue) return;
    const changed = ({ metadata }: KubeObject): void => {
      const quotas = this.context.informers.of(RESOURCE_QUOTAS).list(metadata.namespace ?? '');
      for (const quota of quotas) this.enqueue?.(`${quota.metadata.namespace}/${quota.metadata.name}`);
    };
    this.detachers.push(
      informer.handle({
        onAdd: changed,
        onUpdate: (object, old) => {
          if (mayCountOtherwise(object, old)) changed(object);
        },
        onDelete: changed,
      }),
    );
  }
}

/** Status changes come often; of a pod only its end, its deletion and its resources bear on what it uses. */
function mayCountOtherwise(object: KubeObject, old: KubeObject): boolean {
  if (object.metadata.deletionTimestamp !== old.metadata.deletionTimestamp) return true;
  const [now, before] = [object, old] as unknown as [JsonObject, JsonObject];
  const status = objectAt(now, 'status');
  const was = objectAt(before, 'status');
  return (
    status.phase !== was.phase ||
    !jsonEqual(now.spec, before.spec) ||
    !jsonEqual(status.allocatedResources, was.allocatedResources)
  );
}
