import { isNotFound } from '../../src/api/errors.ts';
import {
  CONFIG_MAPS,
  CRON_JOBS,
  DAEMON_SETS,
  DEPLOYMENTS,
  JOBS,
  NAMESPACES,
  NODES,
  PODS,
  SERVICES,
  STATEFUL_SETS,
} from '../../src/api/kinds.ts';
import type { KubeObject } from '../../src/api/object.ts';
import { groupResource, type ResourceType } from '../../src/api/resource.ts';
import type { Client } from '../../src/client/port.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { Store } from '../../src/server/store/port.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { IMAGES } from './machine.ts';
import { WRITE } from './mirror.ts';
import type { Trace } from './trace.ts';

/** One object that the user made. */
interface Owned {
  readonly type: ResourceType<KubeObject>;
  readonly namespace: string | undefined;
  readonly name: string;
  /** Of the newest acknowledged write. */
  acknowledged: { write: number; revision: number } | undefined;
  /** `asked` as soon as a deletion was sent: it may have happened. */
  deletion: 'none' | 'asked' | 'acknowledged';
}

type Template = Record<string, unknown>;
type Action = () => Promise<void>;

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
  private readonly stateful: boolean;
  private writes = 0;
  private names = 0;
  private stopped = false;

  constructor(options: {
    client: () => Client | undefined;
    clock: Clock;
    random: SeededRandom;
    trace: Trace;
    boards: readonly string[];
    stateful: boolean;
  }) {
    this.client = options.client;
    this.clock = options.clock;
    this.random = options.random;
    this.trace = options.trace;
    this.boards = options.boards;
    this.stateful = options.stateful;
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
        spec: { template: { spec: { containers: [{ name: 'main', image }] } } },
      };
      await this.insist((client) =>
        client.patch(owned.type, owned.namespace, owned.name, { type: 'strategic', body }),
      );
    }
  }

  /** Called when the store was just read back, and at the end. */
  verify(store: Store, violation: (what: string) => void): void {
    for (const owned of this.owned.values()) {
      const { acknowledged, deletion } = owned;
      const key = owned.namespace === undefined ? owned.name : `${owned.namespace}/${owned.name}`;
      const title = `${groupResource(owned.type)} ${key}`;
      const found = store.get(groupResource(owned.type), key)?.object;
      if (deletion === 'acknowledged') {
        if (found && found.metadata.deletionTimestamp === undefined && !this.isAnother(owned, found)) {
          violation(`acknowledged deletion of ${title} is lost`);
        }
        continue;
      }
      if (!acknowledged || deletion === 'asked') continue;
      // Pods are deleted by others too: evictions, node failures; the mirror looks after those.
      if (!found) {
        if (owned.type.resource !== 'pods') violation(`acknowledged ${title} is lost`);
        continue;
      }
      const write = Number(found.metadata.annotations?.[WRITE] ?? 0);
      if (write < acknowledged.write) {
        violation(`acknowledged write ${acknowledged.write} of ${title} is lost, it is at ${write}`);
      }
      if (Number(found.metadata.resourceVersion) < acknowledged.revision && write <= acknowledged.write) {
        // Its status may have gone back to what was flushed; what the user wrote has its own revision.
        violation(
          `${title} is at ${found.metadata.resourceVersion}, acknowledged was ${acknowledged.revision}`,
        );
      }
    }
  }

  private isAnother(owned: Owned, found: KubeObject): boolean {
    const write = Number(found.metadata.annotations?.[WRITE] ?? 0);
    return owned.acknowledged !== undefined && write > owned.acknowledged.write;
  }

  private act(): void {
    const client = this.client();
    if (!client) return;
    const { random } = this;
    const choice = random.integer(100);
    const action: Action | undefined =
      choice < 14
        ? () => this.createDeployment(client)
        : choice < 36
          ? this.change(client)
          : choice < 41
            ? () => this.createJob(client)
            : choice < 44
              ? () => this.createCronJob(client)
              : choice < 47
                ? () => this.createDaemonSet(client)
                : choice < 50
                  ? this.stateful
                    ? () => this.createStatefulSet(client)
                    : undefined
                  : choice < 60
                    ? () => this.createPod(client)
                    : choice < 68
                      ? () => this.createConfigMap(client)
                      : choice < 74
                        ? () => this.createService(client)
                        : choice < 88
                          ? this.remove(client)
                          : choice < 93
                            ? () => this.cordon(client)
                            : choice < 95
                              ? () => this.drain(client)
                              : choice < 97
                                ? () => this.throwawayNamespace(client)
                                : choice < 98
                                  ? () => this.deleteNode(client)
                                  : this.deletePodOfSomeone(client);
    action?.().catch(() => {
      // Counted where it happened.
    });
  }

  // --- what can be made ---

  private async createDeployment(client: Client): Promise<void> {
    if (this.count(DEPLOYMENTS) >= 6) return;
    const name = this.name('web');
    const labels = { app: name };
    const recreate = this.random.chance(0.2);
    await this.create(client, DEPLOYMENTS, 'default', name, {
      spec: {
        replicas: this.random.integer(4),
        minReadySeconds: this.random.chance(0.3) ? 5 : 0,
        selector: { matchLabels: labels },
        ...(recreate ? { strategy: { type: 'Recreate' } } : {}),
        template: this.template(labels, this.goodImage()),
      },
    });
  }

  private async createDaemonSet(client: Client): Promise<void> {
    if (this.count(DAEMON_SETS) >= 2) return;
    const name = this.name('daemon');
    const labels = { app: name };
    const spec = { selector: { matchLabels: labels }, template: this.template(labels, this.goodImage()) };
    await this.create(client, DAEMON_SETS, 'default', name, { spec });
  }

  private async createStatefulSet(client: Client): Promise<void> {
    if (this.count(STATEFUL_SETS) >= 2) return;
    const name = this.name('state');
    const labels = { app: name };
    const spec = {
      serviceName: name,
      replicas: 1 + this.random.integer(2),
      ...(this.random.chance(0.5) ? { podManagementPolicy: 'Parallel' } : {}),
      selector: { matchLabels: labels },
      template: this.template(labels, this.goodImage()),
    };
    await this.create(client, STATEFUL_SETS, 'default', name, { spec });
  }

  private async createJob(client: Client): Promise<void> {
    if (this.count(JOBS) >= 8) return;
    await this.create(client, JOBS, 'default', this.name('job'), { spec: this.jobSpec() });
  }

  private jobSpec(): Template {
    const fails = this.random.chance(0.2);
    const indexed = this.random.chance(0.25);
    return {
      completions: 1 + this.random.integer(3),
      parallelism: 1 + this.random.integer(2),
      backoffLimit: fails ? this.random.integer(3) : 60,
      ...(indexed ? { completionMode: 'Indexed' } : {}),
      template: this.template(
        {},
        fails ? IMAGES.fail : IMAGES.work,
        fails || this.random.chance(0.6) ? 'Never' : 'OnFailure',
      ),
    };
  }

  private async createCronJob(client: Client): Promise<void> {
    if (this.count(CRON_JOBS) >= 2) return;
    await this.create(client, CRON_JOBS, 'default', this.name('cron'), {
      spec: {
        schedule: this.random.chance(0.7) ? '* * * * *' : '*/2 * * * *',
        concurrencyPolicy: this.random.pick(['Allow', 'Forbid', 'Replace']),
        successfulJobsHistoryLimit: this.random.integer(3),
        failedJobsHistoryLimit: this.random.integer(2),
        jobTemplate: { spec: { ...this.jobSpec(), completions: 1, parallelism: 1 } },
      },
    });
  }

  private async createPod(client: Client): Promise<void> {
    if (this.count(PODS) >= 6) return;
    const image = this.random.pick([...IMAGES.serve, IMAGES.slowStop, IMAGES.work, IMAGES.fail]);
    const policy =
      image === IMAGES.work || image === IMAGES.fail ? this.random.pick(['Never', 'OnFailure']) : 'Always';
    const { spec } = this.template({}, image, policy) as { spec: Template };
    const { nodeName, ...rest } = { nodeName: undefined, ...spec };
    void nodeName;
    await this.create(client, PODS, 'default', this.name('pod'), { spec: rest });
  }

  private async createConfigMap(client: Client): Promise<void> {
    if (this.count(CONFIG_MAPS) >= 5) return;
    await this.create(client, CONFIG_MAPS, 'default', this.name('config'), { data: { key: 'first' } });
  }

  private async createService(client: Client): Promise<void> {
    if (this.count(SERVICES) >= 5) return;
    const target = this.pick(DEPLOYMENTS);
    if (!target) return;
    const type = this.random.chance(0.3) ? 'NodePort' : 'ClusterIP';
    await this.create(client, SERVICES, 'default', this.name('svc'), {
      spec: { type, selector: { app: target.name }, ports: [{ port: 80 }] },
    });
  }

  /** A namespace with content, deleted a little later. */
  private async throwawayNamespace(client: Client): Promise<void> {
    const name = this.name('temp');
    await this.create(client, NAMESPACES, undefined, name, {});
    const labels = { app: name };
    const spec = {
      replicas: 2,
      selector: { matchLabels: labels },
      template: this.template(labels, this.goodImage()),
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
      (body: Template, type: 'merge' | 'strategic' = 'merge') =>
      () =>
        this.patch(client, target, type, body);
    const image = (name: string) =>
      patch({ spec: { template: { spec: { containers: [{ name: 'main', image: name }] } } } }, 'strategic');
    switch (groupResource(target.type)) {
      case 'deployments.apps':
        if (this.random.chance(0.4)) return patch({ spec: { replicas: this.random.integer(5) } });
        return image(this.random.chance(0.15) ? IMAGES.missing : this.goodImage());
      case 'statefulsets.apps':
        if (this.random.chance(0.5)) return patch({ spec: { replicas: this.random.integer(3) } });
        return image(this.goodImage());
      case 'daemonsets.apps':
        return image(this.goodImage());
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

  private async drain(client: Client): Promise<void> {
    const board = this.random.pick(this.boards);
    await this.attempt(`drain ${board}`, async () => {
      await client.patch(NODES, undefined, board, { type: 'merge', body: { spec: { unschedulable: true } } });
      const { items } = await client.list(PODS, { fieldSelector: `spec.nodeName=${board}` });
      for (const { metadata } of items) {
        const { namespace = '', name = '' } = metadata;
        if (metadata.ownerReferences?.some(({ kind }) => kind === 'DaemonSet')) continue;
        try {
          await client.createSubresource(PODS, namespace, name, 'eviction', {
            apiVersion: 'policy/v1',
            kind: 'Eviction',
            metadata: { name, namespace },
          });
          const owned = this.owned.get(keyOf(PODS, namespace, name));
          if (owned) owned.deletion = 'asked';
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }
    });
    this.clock.after(20_000 + this.random.integer(60_000), () => {
      const now = this.client();
      if (!now) return;
      const body = { spec: { unschedulable: null } };
      void this.attempt(`uncordon ${board}`, () =>
        now.patch(NODES, undefined, board, { type: 'merge', body }),
      ).catch(() => {});
    });
  }

  // --- writing, and remembering ---

  private async create<T extends KubeObject>(
    client: Client,
    type: ResourceType<T>,
    namespace: string | undefined,
    name: string,
    content: Template,
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
    body: Template,
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
          if (isNotFound(error)) return;
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

  private count(type: ResourceType<never> | ResourceType<KubeObject>): number {
    const bucket = groupResource(type);
    return [...this.owned.values()].filter(
      (one) => groupResource(one.type) === bucket && one.deletion === 'none',
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

  private goodImage(): string {
    return this.random.pick(IMAGES.serve);
  }

  private template(labels: Record<string, string>, image: string, restartPolicy = 'Always'): Template {
    const config = this.random.chance(0.25) ? this.pick(CONFIG_MAPS) : undefined;
    const grace = this.random.pick([30, 30, 5, 1]);
    const probe = (periodSeconds: number) => ({
      exec: { command: ['check'] },
      periodSeconds,
      timeoutSeconds: 1,
    });
    const probed = image.includes('serve');
    const readiness = probed && this.random.chance(0.3) ? { readinessProbe: probe(5) } : {};
    const liveness =
      probed && this.random.chance(0.1) ? { livenessProbe: { ...probe(10), failureThreshold: 3 } } : {};
    const init = this.random.chance(0.15) ? { initContainers: [{ name: 'init', image: IMAGES.init }] } : {};
    const second = probed && this.random.chance(0.15) ? [{ name: 'second', image: IMAGES.sidecar }] : [];
    return {
      metadata: { labels },
      spec: {
        restartPolicy,
        terminationGracePeriodSeconds: grace,
        ...init,
        // Optional: the user may delete it again.
        ...(config
          ? { volumes: [{ name: 'config', configMap: { name: config.name, optional: true } }] }
          : {}),
        containers: [
          {
            name: 'main',
            image,
            resources: { requests: { cpu: '10m' } },
            ...readiness,
            ...liveness,
            ...(config ? { volumeMounts: [{ name: 'config', mountPath: '/config' }] } : {}),
          },
          ...second,
        ],
      },
    };
  }
}

function keyOf(
  type: { group: string; resource: string },
  namespace: string | undefined,
  name: string,
): string {
  return `${groupResource(type)} ${namespace ?? ''}/${name}`;
}
