import { isAlreadyExists, isConflict, isNotFound, StatusError } from '../../src/api/errors.ts';
import {
  CONFIG_MAPS,
  CRON_JOBS,
  DAEMON_SETS,
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  JOBS,
  NAMESPACES,
  NODES,
  POD_DISRUPTION_BUDGETS,
  PODS,
  PRIORITY_CLASSES as PRIORITY_CLASS_TYPE,
  SERVICES,
  STATEFUL_SETS,
} from '../../src/api/kinds.ts';
import type { KubeObject } from '../../src/api/object.ts';
import { groupResource, type ResourceType } from '../../src/api/resource.ts';
import type { Client } from '../../src/client/port.ts';
import { type Clock, sleep } from '../../src/lib/clock.ts';
import type { Store } from '../../src/server/store/port.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { IMAGES } from './machine.ts';
import { type Content, Manifests, PRIORITY_CLASSES } from './manifests.ts';
import { WRITE } from './mirror.ts';
import { keyOf, type Owned, verifyOwned } from './owned.ts';
import type { Trace } from './trace.ts';

type Action = () => Promise<void>;
/** Chooses now, acts when called; undefined when there is nothing to do. */
type Prepare = (client: Client) => Action | undefined;
type Made = readonly [
  weight: number,
  type: { readonly group: string; readonly resource: string },
  prefix: string,
  most: number,
  spec: (name: string) => Content,
];

/** A user who does what users do, and remembers what was acknowledged. */
export class Workload {
  readonly owned = new Map<string, Owned>();
  /** By deleting a Node a user says that its board is gone: pods are made anew elsewhere, whatever still runs there. */
  readonly givenUp = new Set<string>();
  acknowledged = 0;
  refused = 0;
  private readonly client: () => Client | undefined;
  private readonly clock: Clock;
  private readonly random: SeededRandom;
  private readonly trace: Trace;
  private readonly boards: readonly string[];
  private readonly manifests: Manifests;
  private readonly actions: readonly (readonly [weight: number, prepare: Prepare])[];
  private readonly total: number;
  private writes = 0;
  private names = 0;
  private stopped = false;

  constructor(options: {
    client: () => Client | undefined;
    clock: Clock;
    random: SeededRandom;
    trace: Trace;
    boards: readonly string[];
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.random = options.random;
    this.trace = options.trace;
    this.boards = options.boards;
    const manifests = new Manifests({
      random: this.random,
      configMap: () => this.pick(CONFIG_MAPS)?.name,
    });
    this.manifests = manifests;
    const made: readonly Made[] = [
      [14, DEPLOYMENTS, 'web', 6, (name) => manifests.deployment(name)],
      [4, DEPLOYMENTS, 'heavy', 4, (name) => manifests.heavyDeployment(name)],
      [5, JOBS, 'job', 8, () => manifests.job()],
      [3, CRON_JOBS, 'cron', 2, () => manifests.cronJob()],
      [3, DAEMON_SETS, 'daemon', 2, (name) => manifests.daemonSet(name)],
      [4, STATEFUL_SETS, 'state', 3, (name) => manifests.statefulSet(name)],
      [10, PODS, 'pod', 6, () => manifests.pod()],
    ];
    this.actions = [
      ...made.map(([weight, type, prefix, most, spec]): readonly [number, Prepare] => [
        weight,
        this.make(type as ResourceType<KubeObject>, prefix, most, (name) => ({ spec: spec(name) })),
      ]),
      [8, this.make(CONFIG_MAPS, 'config', 5, () => ({ data: { key: 'first' } }))],
      [6, (client) => this.createService(client)],
      [5, (client) => this.createBudget(client)],
      [2, (client) => this.createAutoscaler(client)],
      [24, (client) => this.change(client)],
      [13, (client) => this.remove(client)],
      [5, (client) => () => this.cordon(client)],
      [4, () => () => this.drain()],
      [2, (client) => () => this.throwawayNamespace(client)],
      [1, (client) => () => this.deleteNode(client)],
      [2, (client) => this.deletePodOfSomeone(client)],
    ];
    this.total = this.actions.reduce((sum, [weight]) => sum + weight, 0);
  }

  start(meanMs: number): void {
    const next = (): void => {
      if (this.stopped) return;
      this.act();
      // Bursts come together, so that writes meet in one batch.
      const delay = this.random.chance(0.3) ? this.random.integer(20) : this.random.number() * 2 * meanMs;
      this.clock.after(delay, next);
    };
    this.clock.after(0, next);
  }

  stop(): void {
    this.stopped = true;
  }

  /** What all of it builds on; resolves when it is there. */
  async prepare(): Promise<void> {
    for (const { name, ...content } of PRIORITY_CLASSES) {
      await this.insist((client) =>
        client.create(PRIORITY_CLASS_TYPE, undefined, { metadata: { name }, ...content } as never),
      );
    }
  }

  /** Leaves a cluster that can become quiet: good images, no cordons. Resolves when all of it was acknowledged. */
  async tidyUp(): Promise<void> {
    for (const board of this.boards) {
      await this.insist((client) =>
        client.patch(NODES, undefined, board, { type: 'merge', body: { spec: { unschedulable: null } } }),
      );
    }
    for (const owned of this.owned.values()) {
      // Also what was not acknowledged: it may be there.
      if (owned.deletion === 'acknowledged') continue;
      const bucket = groupResource(owned.type);
      if (bucket === 'cronjobs.batch') {
        const body = { spec: { suspend: true } };
        await this.insist((client) =>
          client.patch(owned.type, owned.namespace, owned.name, { type: 'merge', body }),
        );
        continue;
      }
      if (bucket !== 'deployments.apps' && bucket !== 'daemonsets.apps' && bucket !== 'statefulsets.apps')
        continue;
      const image = IMAGES.serve[0];
      const body = {
        spec: {
          // As many as there is room for.
          ...(owned.name.startsWith('heavy') ? { replicas: 1 } : {}),
          template: { spec: { containers: [{ name: 'main', image }] } },
        },
      };
      await this.insist((client) =>
        client.patch(owned.type, owned.namespace, owned.name, { type: 'strategic', body }),
      );
    }
  }

  /** Called when the store was just read back, and at the end. */
  verify(store: Store, violation: (what: string) => void): void {
    for (const owned of this.owned.values()) verifyOwned(owned, store, violation);
  }

  private act(): void {
    const client = this.client();
    if (!client) return;
    let left = this.random.number() * this.total;
    for (const [weight, prepare] of this.actions) {
      left -= weight;
      if (left > 0) continue;
      // Counted where it happened.
      prepare(client)?.().catch(() => {});
      return;
    }
  }

  // --- what can be made ---

  /** Up to `most` objects of a kind, made by the user. */
  private make<T extends KubeObject>(
    type: ResourceType<T>,
    prefix: string,
    most: number,
    content: (name: string) => Content,
  ): Prepare {
    return (client) => {
      if (this.count(type as ResourceType<never>, prefix) >= most) return undefined;
      return async () => {
        const name = this.name(prefix);
        await this.create(client, type, 'default', name, content(name));
      };
    };
  }

  private createService(client: Client): Action | undefined {
    const target = this.pick(DEPLOYMENTS);
    if (!target || this.count(SERVICES) >= 5) return undefined;
    const type = this.random.chance(0.3) ? 'NodePort' : 'ClusterIP';
    const spec = { type, selector: { app: target.name }, ports: [{ port: 80 }] };
    return () => this.create(client, SERVICES, 'default', this.name('svc'), { spec });
  }

  /** At most one for each workload: eviction does not support more. */
  private createBudget(client: Client): Action | undefined {
    const target = this.pick(this.random.chance(0.7) ? DEPLOYMENTS : STATEFUL_SETS);
    if (!target) return undefined;
    const name = `pdb-${target.name}`;
    if (this.owned.has(keyOf(POD_DISRUPTION_BUDGETS, 'default', name))) return undefined;
    const spec = this.manifests.budget(target.name);
    return () => this.create(client, POD_DISRUPTION_BUDGETS, 'default', name, { spec });
  }

  private createAutoscaler(client: Client): Action | undefined {
    const target = this.pick(DEPLOYMENTS);
    if (!target?.name.startsWith('web') || this.count(HORIZONTAL_POD_AUTOSCALERS) >= 2) return undefined;
    const name = `hpa-${target.name}`;
    if (this.owned.has(keyOf(HORIZONTAL_POD_AUTOSCALERS, 'default', name))) return undefined;
    const spec = this.manifests.autoscaler(target.name);
    return () => this.create(client, HORIZONTAL_POD_AUTOSCALERS, 'default', name, { spec });
  }

  /** A namespace with content, deleted a little later. */
  private async throwawayNamespace(client: Client): Promise<void> {
    const name = this.name('temp');
    await this.create(client, NAMESPACES, undefined, name, {});
    const labels = { app: name };
    const spec = {
      replicas: 2,
      selector: { matchLabels: labels },
      template: this.manifests.template(labels, this.manifests.image()),
    };
    await this.attempt('create deployment in namespace', () =>
      client.create(DEPLOYMENTS, name, { metadata: { name: 'web', namespace: name }, spec } as never),
    );
    this.clock.after(5000 + this.random.integer(40_000), () => {
      const now = this.client();
      const owned = this.owned.get(keyOf(NAMESPACES, undefined, name));
      if (now && owned) this.delete(now, owned, {}).catch(() => {});
    });
  }

  // --- what can be done to it ---

  private change(client: Client): Action | undefined {
    const target = this.random.pick([...this.living(), undefined]);
    if (!target) return undefined;
    const patch =
      (body: Content, type: 'merge' | 'strategic' = 'merge') =>
      () =>
        this.patch(client, target, type, body);
    const image = (name: string) =>
      patch({ spec: { template: { spec: { containers: [{ name: 'main', image: name }] } } } }, 'strategic');
    switch (groupResource(target.type)) {
      case 'deployments.apps':
        if (this.random.chance(0.4)) return patch({ spec: { replicas: this.random.integer(5) } });
        return image(this.random.chance(0.15) ? IMAGES.missing : this.manifests.image());
      case 'statefulsets.apps':
        if (this.random.chance(0.5)) return patch({ spec: { replicas: this.random.integer(3) } });
        return image(this.manifests.image());
      case 'daemonsets.apps':
        return image(this.manifests.image());
      case 'configmaps':
        return patch({ data: { key: `changed-${this.writes}` } });
      case 'cronjobs.batch':
        return patch({ spec: { suspend: this.random.chance(0.5) } });
      case 'services':
        return patch({ spec: { ports: [{ port: 80 + this.random.integer(3) }] } });
      default:
        return patch({});
    }
  }

  private remove(client: Client): Action | undefined {
    const target = this.random.pick([...this.living(), undefined]);
    if (!target) return undefined;
    const isPod = target.type.resource === 'pods';
    const policy = this.random.pick(['Background', 'Background', 'Foreground', undefined] as const);
    const grace =
      isPod && this.random.chance(0.25) ? { gracePeriodSeconds: this.random.pick([0, 1, 5]) } : {};
    return () =>
      this.delete(client, target, {
        ...grace,
        ...(policy === undefined || isPod ? {} : { propagationPolicy: policy }),
      });
  }

  /** Somebody deletes a pod of a controller; sometimes by force. Not of a StatefulSet: that gives its promise away. */
  private deletePodOfSomeone(client: Client): Action {
    const force = this.random.chance(0.3);
    const pick = this.random.number();
    return async () => {
      const { items } = await client.list(PODS, { namespace: 'default' });
      const candidates = items.filter(({ metadata }) =>
        metadata.ownerReferences?.some(({ kind }) => kind === 'ReplicaSet'),
      );
      const pod = candidates[Math.floor(pick * candidates.length)];
      if (!pod) return;
      const { name = '', uid = '' } = pod.metadata;
      await this.attempt(`delete pod ${name}${force ? ' by force' : ''}`, () =>
        client.delete(PODS, 'default', name, {
          preconditions: { uid },
          ...(force ? { gracePeriodSeconds: 0 } : {}),
        }),
      );
    };
  }

  private async cordon(client: Client): Promise<void> {
    const board = this.random.pick(this.boards);
    const unschedulable = this.random.chance(0.4) ? true : null;
    await this.attempt(`${unschedulable ? 'cordon' : 'uncordon'} ${board}`, () =>
      client.patch(NODES, undefined, board, { type: 'merge', body: { spec: { unschedulable } } }),
    );
  }

  /** Its agent knows nothing of that: the node is back when the agent starts again, as with kubelet. */
  private async deleteNode(client: Client): Promise<void> {
    const board = this.random.pick(this.boards);
    for (const owned of this.owned.values()) {
      // Pods of a node that is gone are collected.
      if (owned.type.resource === 'pods' && owned.deletion === 'none') owned.deletion = 'asked';
    }
    this.givenUp.add(board);
    await this.attempt(`delete node ${board}`, () => client.delete(NODES, undefined, board));
  }

  /** As kubectl does it: what a budget refuses is asked for again every five seconds, until patience ends. */
  private async drain(): Promise<void> {
    const board = this.random.pick(this.boards);
    const patience = this.clock.monotonic() + 20_000 + this.random.integer(60_000);
    const cordon = (unschedulable: true | null) => (client: Client) =>
      client.patch(NODES, undefined, board, { type: 'merge', body: { spec: { unschedulable } } });
    await this.insist(cordon(true));
    this.trace.add('user', `drains ${board}`);
    let left = await this.evictable(board);
    while (left.length > 0 && this.clock.monotonic() < patience && !this.stopped) {
      const refused: typeof left = [];
      for (const pod of left) if (!(await this.evict(pod))) refused.push(pod);
      left = refused;
      if (left.length > 0) await sleep(this.clock, 5000);
    }
    this.trace.add('user', `${board} is drained but for ${left.length} pods`);
    await sleep(this.clock, Math.max(0, patience - this.clock.monotonic()));
    await this.insist(cordon(null));
  }

  private async evictable(board: string): Promise<{ namespace: string; name: string; uid: string }[]> {
    const client = this.client();
    if (!client) return [];
    const { items } = await client.list(PODS, { fieldSelector: `spec.nodeName=${board}` });
    return items
      .filter(({ metadata }) => !metadata.ownerReferences?.some(({ kind }) => kind === 'DaemonSet'))
      .map(({ metadata: { namespace = '', name = '', uid = '' } }) => ({ namespace, name, uid }));
  }

  /** False: not now. */
  private async evict({
    namespace,
    name,
    uid,
  }: {
    namespace: string;
    name: string;
    uid: string;
  }): Promise<boolean> {
    const client = this.client();
    if (!client) return false;
    const owned = this.owned.get(keyOf(PODS, namespace, name));
    const before = owned?.deletion;
    if (owned && before === 'none') owned.deletion = 'asked';
    try {
      await this.attempt(`evict ${name}`, () =>
        client.createSubresource(PODS, namespace, name, 'eviction', {
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { name, namespace },
          deleteOptions: { preconditions: { uid } },
        }),
      );
      return true;
    } catch (error) {
      if (owned && before && error instanceof StatusError && error.status.code === 429)
        owned.deletion = before;
      // Gone, or another by now.
      return isNotFound(error) || isConflict(error);
    }
  }

  // --- writing, and remembering ---

  private async create<T extends KubeObject>(
    client: Client,
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    content: Content,
  ): Promise<void> {
    this.writes += 1;
    const write = this.writes;
    const owned: Owned = {
      type: type as ResourceType<never>,
      namespace,
      name,
      acknowledged: undefined,
      deletion: 'none',
    };
    this.owned.set(keyOf(type, namespace, name), owned);
    const metadata = {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      annotations: { [WRITE]: String(write) },
    };
    const stored = await this.attempt(`create ${groupResource(type)} ${name}`, () =>
      client.create(type, namespace, { metadata, ...content } as never),
    );
    owned.acknowledged = { write, revision: Number(stored.metadata.resourceVersion) };
  }

  private async patch(
    client: Client,
    owned: Owned,
    type: 'merge' | 'strategic',
    body: Content,
  ): Promise<void> {
    this.writes += 1;
    const write = this.writes;
    const stamped = { ...body, metadata: { annotations: { [WRITE]: String(write) } } };
    const stored = await this.attempt(
      `patch ${groupResource(owned.type)} ${owned.name} ${JSON.stringify(body)}`,
      () => client.patch(owned.type, owned.namespace, owned.name, { type, body: stamped }),
    );
    if ((owned.acknowledged?.write ?? 0) < write) {
      owned.acknowledged = { write, revision: Number(stored.metadata.resourceVersion) };
    }
  }

  private async delete(client: Client, owned: Owned, options: object): Promise<void> {
    owned.deletion = 'asked';
    try {
      await this.attempt(`delete ${groupResource(owned.type)} ${owned.name} ${JSON.stringify(options)}`, () =>
        client.delete(owned.type, owned.namespace, owned.name, options),
      );
      owned.deletion = 'acknowledged';
    } catch (error) {
      if (isNotFound(error) && owned.acknowledged) owned.deletion = 'acknowledged';
      throw error;
    }
  }

  private async attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      const result = await work();
      this.acknowledged += 1;
      this.trace.add('user', what);
      return result;
    } catch (error) {
      this.refused += 1;
      this.trace.add('user', `${what}: ${(error as Error).message.slice(0, 160)}`);
      throw error;
    }
  }

  /** Tries until it succeeds; what does not exist needs nothing. */
  private async insist(work: (client: Client) => Promise<unknown>): Promise<void> {
    for (;;) {
      const client = this.client();
      if (client) {
        try {
          await work(client);
          return;
        } catch (error) {
          if (isNotFound(error) || isAlreadyExists(error)) return;
          this.trace.add('user', `tidying up: ${(error as Error).message}`);
        }
      }
      await new Promise<void>((resolve) => this.clock.after(500, resolve));
    }
  }

  private living(): Owned[] {
    return [...this.owned.values()].filter(
      ({ acknowledged, deletion }) => acknowledged && deletion === 'none',
    );
  }

  private count(type: ResourceType<never> | ResourceType<KubeObject>, prefix = ''): number {
    const bucket = groupResource(type);
    return [...this.owned.values()].filter(
      (one) => groupResource(one.type) === bucket && one.deletion === 'none' && one.name.startsWith(prefix),
    ).length;
  }

  private pick(type: ResourceType<never> | ResourceType<KubeObject>): Owned | undefined {
    const bucket = groupResource(type);
    const found = this.living().filter((one) => groupResource(one.type) === bucket);
    return found.length === 0 ? undefined : this.random.pick(found);
  }

  private name(prefix: string): string {
    this.names += 1;
    return `${prefix}-${this.names}`;
  }
}
