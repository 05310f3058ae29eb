import { CLUSTER_ROLES } from '../../api/kinds.ts';
import { groupResource } from '../../api/resource.ts';
import type { ClusterRole } from '../../api/types/rbac-v1.ts';
import type { Client } from '../../client/port.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import type { Store } from '../store/port.ts';
import { effectiveRules } from './rbac-rules.ts';

const BUCKET = groupResource(CLUSTER_ROLES);

/**
 * Writes into each aggregated ClusterRole the rules that it has through others, as Kubernetes' controller of that name
 * does. Rights do not wait for this (RbacAuthorizer looks through aggregation itself); it is for who reads the object.
 */
export class RoleAggregation implements Service {
  private readonly store: Pick<Store, 'list' | 'watch'>;
  private readonly client: Client;
  private readonly queue: WorkQueue;
  private watch: { stop(): void } | undefined;

  constructor(options: {
    store: Pick<Store, 'list' | 'watch'>;
    client: Client;
    clock: Clock;
    logger: Logger;
  }) {
    this.store = options.store;
    this.client = options.client;
    this.queue = new WorkQueue({
      clock: options.clock,
      concurrency: 1,
      process: (name) => this.reconcile(name),
      onError: (name, error, retryInMs) =>
        options.logger.warn(
          { name, error: (error as Error).message, retryInMs },
          'aggregating a ClusterRole',
        ),
    });
  }

  async start(): Promise<void> {
    this.watch = this.store.watch(BUCKET, undefined, () => this.addAll());
    this.queue.start();
    this.addAll();
  }

  async stop(): Promise<void> {
    this.watch?.stop();
    await this.queue.stop();
  }

  private roles(): ClusterRole[] {
    return this.store.list(BUCKET).map(({ object }) => object as ClusterRole);
  }

  private addAll(): void {
    for (const role of this.roles()) if (role.aggregationRule) this.queue.add(role.metadata.name ?? '');
  }

  private async reconcile(name: string): Promise<void> {
    const all = this.roles();
    const role = all.find(({ metadata }) => metadata.name === name);
    if (!role?.aggregationRule) return;
    const rules = effectiveRules(role, all);
    if (JSON.stringify(rules) === JSON.stringify(role.rules ?? [])) return;
    await this.client.patch(CLUSTER_ROLES, undefined, name, { type: 'merge', body: { rules } });
  }
}
