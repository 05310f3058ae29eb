import { Catalogue } from '../../src/api/catalogue.ts';
import { NODES, PODS } from '../../src/api/kinds.ts';
import type { Node, Pod } from '../../src/api/types/core-v1.ts';
import { EventWriter } from '../../src/client/events.ts';
import { InformerSet } from '../../src/client/informer.ts';
import type { Client } from '../../src/client/port.ts';
import { timestamp } from '../../src/lib/clock.ts';
import { sameJson } from '../../src/lib/equal.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { Service } from '../../src/lib/service.ts';
import type { ControllerContext } from '../../src/server/controllers/context.ts';
import { FakeClient } from './fake-client.ts';
import { RegistryClient } from './registry-client.ts';
import { SeededRandom } from './seeded-random.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A Client with looks inside, for tests. */
export type TestClient = Client & Pick<FakeClient, 'peek' | 'all' | 'everything' | 'intercept'>;

/** Every controller has to behave alike on the fake and on the real registry: describe.each(APIS). */
export const APIS = ['fake', 'registry'] as const;
export type Api = (typeof APIS)[number];

/** An API, a virtual clock and whatever controllers a test wants, with boards that run what is bound to them. */
export class ControlPlane {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly client: TestClient;
  readonly context: ControllerContext;
  readonly kubelet: FakeKubelet;
  private services: Service[] = [];

  static async open(api: Api, options: { catalogue?: Catalogue } = {}): Promise<ControlPlane> {
    const clock = new VirtualClock();
    const random = new SeededRandom(1);
    if (api === 'fake')
      return new ControlPlane(new FakeClient({ clock, random }), clock, random, options.catalogue);
    const client = await RegistryClient.open(clock, random);
    return new ControlPlane(client, clock, random, options.catalogue ?? client.catalogue);
  }

  private constructor(client: TestClient, clock: VirtualClock, random: SeededRandom, catalogue?: Catalogue) {
    this.client = client;
    this.clock = clock;
    this.random = random;
    const logger = silentLogger;
    this.context = {
      client,
      clock,
      random,
      logger,
      informers: new InformerSet({ client, logger }),
      events: new EventWriter({ client, clock, logger }),
      catalogue: catalogue ?? new Catalogue([]),
      clusterCidr: '10.42.0.0/16',
      ca: '-----BEGIN CERTIFICATE-----\n',
    };
    this.kubelet = new FakeKubelet(client, clock);
  }

  async start(...make: ((context: ControllerContext) => Service)[]): Promise<void> {
    const controllers = make.map((factory) => factory(this.context));
    this.services = [this.context.informers, ...controllers, this.kubelet];
    for (const service of this.services) await service.start();
    await this.settle();
  }

  async stop(): Promise<void> {
    for (const service of [...this.services].reverse()) await service.stop();
  }

  settle(): Promise<void> {
    return this.clock.advance(0);
  }

  /** Messages of the events recorded so far, with their reasons. */
  events(): string[] {
    return this.client
      .everything()
      .filter(({ kind }) => kind === 'Event')
      .map((event) => {
        const { reason, message } = event as unknown as { reason: string; message: string };
        return `${reason}: ${message}`;
      });
  }

  async node(
    name: string,
    overrides: {
      spec?: Node['spec'];
      labels?: Record<string, string>;
      allocatable?: Record<string, string>;
    } = {},
  ): Promise<Node> {
    const created = await this.client.create(NODES, undefined, {
      metadata: { name, labels: { 'kubernetes.io/hostname': name, ...overrides.labels } },
      spec: { ...overrides.spec },
      status: {
        allocatable: { cpu: '4', memory: '1Gi', pods: '110', ...overrides.allocatable },
        capacity: { cpu: '4', memory: '1Gi', pods: '110' },
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'ready' }],
      },
    });
    // The API taints new nodes until the node monitor has seen them; here nobody may be there to do so.
    if (sameJson(created.spec?.taints, overrides.spec?.taints)) return created;
    return await this.client.patch(NODES, undefined, name, {
      type: 'merge',
      body: { spec: { taints: overrides.spec?.taints ?? null } },
    });
  }
}

/**
 * Runs pods without running anything: binds those without a node (unless `binding` is off), makes them Ready (unless
 * `ready` says no) and removes those that are being deleted.
 */
export class FakeKubelet implements Service {
  binding = true;
  ready: (pod: Pod) => boolean = () => true;
  /** Whether a board acts at all: a board that was cut off does nothing. */
  reachable: (node: string) => boolean = () => true;
  private readonly client: TestClient;
  private readonly clock: VirtualClock;
  private follower: { stop(): void } | undefined;
  private address = 1;

  constructor(client: TestClient, clock: VirtualClock) {
    this.client = client;
    this.clock = clock;
  }

  async start(): Promise<void> {
    this.follower = this.client.follow(
      PODS,
      {},
      {
        onList: ({ items }) => {
          for (const pod of items) this.see(pod);
        },
        onEvent: (event, pod) => {
          if (event !== 'DELETED') this.see(pod);
        },
      },
    );
  }

  async stop(): Promise<void> {
    this.follower?.stop();
  }

  /** Looks at all pods again, after `ready` or `reachable` changed. */
  look(): void {
    for (const pod of this.client.all(PODS)) this.see(pod);
  }

  /** Ends a pod with an exit code, as a kubelet reports it. */
  async finish(pod: Pod, exitCode: number): Promise<void> {
    const live = this.client.peek(PODS, pod.metadata.namespace, pod.metadata.name ?? '');
    if (!live) return;
    const now = timestamp(this.clock.now());
    await this.client.updateStatus(PODS, {
      ...live,
      status: {
        ...live.status,
        phase: exitCode === 0 ? 'Succeeded' : 'Failed',
        conditions: [
          ...(live.status?.conditions ?? []).filter(({ type }) => type !== 'Ready'),
          { type: 'Ready', status: 'False', lastTransitionTime: now },
        ],
        containerStatuses: (live.spec?.containers ?? []).map(({ name, image = '' }) => ({
          name,
          image,
          imageID: '',
          ready: false,
          restartCount: 0,
          state: { terminated: { exitCode, finishedAt: now, startedAt: now } },
        })),
      },
    });
  }

  private see(pod: Pod): void {
    // Deferred: a kubelet does not act inside the API's publication.
    queueMicrotask(() => {
      this.act(pod).catch(() => {
        // Lost races: the next event shows the newer state.
      });
    });
  }

  private async act(seen: Pod): Promise<void> {
    const { namespace = '', name = '' } = seen.metadata;
    const pod = this.client.peek(PODS, namespace, name);
    if (!pod || pod.metadata.uid !== seen.metadata.uid) return;
    if (!pod.spec?.nodeName) {
      if (!this.binding || pod.metadata.deletionTimestamp) return;
      const target = { kind: 'Node', name: 'board' };
      await this.client.createSubresource(PODS, namespace, name, 'binding', { metadata: { name }, target });
      return;
    }
    if (!this.reachable(pod.spec.nodeName)) return;
    if (pod.metadata.deletionTimestamp) {
      await this.client.delete(PODS, namespace, name, { gracePeriodSeconds: 0 });
      return;
    }
    const phase = pod.status?.phase;
    if (phase === 'Succeeded' || phase === 'Failed') return;
    const ready = this.ready(pod) ? 'True' : 'False';
    const current = pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
    if (phase === 'Running' && current === ready) return;
    this.address += 1;
    await this.client.updateStatus(PODS, {
      ...pod,
      status: {
        ...pod.status,
        phase: 'Running',
        podIP: pod.status?.podIP ?? `10.42.0.${this.address}`,
        conditions: [
          ...(pod.status?.conditions ?? []).filter(({ type }) => type !== 'Ready'),
          { type: 'Ready', status: ready, lastTransitionTime: timestamp(this.clock.now()) },
        ],
      },
    });
  }
}
