// Everything of the server below HTTP, put together once: store -> registry -> client -> controllers, scheduler, node
// monitor, bus. server.ts adds HTTP, identity and streams; the simulation runs it as it is.
import type { Catalogue } from '../api/catalogue.ts';
import type { Component } from '../api/components.ts';
import { FieldsTable } from '../api/managed-fields/fields-table.ts';
import type { JsonObject } from '../api/object.ts';
import type { Schemas } from '../api/schema.ts';
import { EventWriter } from '../client/events.ts';
import { InformerSet } from '../client/informer.ts';
import type { Client } from '../client/port.ts';
import { BoardConditions } from '../health/board-conditions.ts';
import type { EvictionRates } from '../health/eviction-pace.ts';
import { NodeMonitor } from '../health/node-monitor.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { isMetered, type Metered } from '../lib/metrics.ts';
import type { Random } from '../lib/random.ts';
import { type Service, ServiceGroup } from '../lib/service.ts';
import { ImageArchitectures } from '../scheduler/image-hints.ts';
import type { Measured } from '../scheduler/profile.ts';
import { Scheduler } from '../scheduler/scheduler.ts';
import type { MessageBus } from '../wire/message-bus.ts';
import { admissionPlugins, type OptionalPlugin } from './admission/index.ts';
import type { Ask } from './admission/policies/compiled.ts';
import type { AdmissionPlugin } from './admission/port.ts';
import { BoardState } from './bus/board-state.ts';
import { DesiredPublisher } from './bus/desired-publisher.ts';
import { ImageKnowledge } from './bus/image-knowledge.ts';
import { Ingest } from './bus/ingest.ts';
import { IngressPublisher } from './bus/ingress-publisher.ts';
import { IngressScope } from './bus/ingress-scope.ts';
import { ServicesPublisher } from './bus/services-publisher.ts';
import { UsageReadings } from './bus/usage-readings.ts';
import { VolumeReports } from './bus/volume-reports.ts';
import { ApiEndpoint } from './controllers/api-endpoint.ts';
import { autoscalerController } from './controllers/autoscaler/controller.ts';
import { createControllers } from './controllers/index.ts';
import { computedMetrics, serveMetrics } from './metrics.ts';
import { ApiRegistry } from './registry/api-registry.ts';
import { bootstrap } from './registry/bootstrap.ts';
import type { ComponentHealth } from './registry/component-statuses.ts';
import { LocalClient } from './registry/local-client.ts';
import type { Reviews, TokenIssuer } from './registry/ports.ts';
import { createStrategies } from './registry/strategies/index.ts';
import type { Engine, Store } from './store/port.ts';
import { ObjectStore, type StoreLimits } from './store/store.ts';

/** What identity adds to the registry; it needs the store, which is made here. */
export interface RegistryExtensions {
  /** After NamespaceLifecycle and ServiceAccount (NodeRestriction). */
  admissionBefore?: readonly AdmissionPlugin[];
  /** Last of all (RoleGuard, quota). */
  admissionAfter?: readonly AdmissionPlugin[];
  tokenIssuer?: TokenIssuer;
  reviews?: Reviews;
  components?: () => ComponentHealth[];
  /** `authorizer` in the expressions of admission policies. */
  authorize?: Ask;
  /** What runs beside the controllers: certificate signing. */
  services?: (shared: SharedParts) => Service[];
}

export interface SharedParts {
  client: Client;
  informers: InformerSet;
  clock: Clock;
  logger: Logger;
}

export interface ControlPlaneOptions {
  engine: Engine;
  bus: MessageBus;
  clock: Clock;
  random: Random;
  logger: Logger;
  catalogue: Catalogue;
  schemas: Schemas;
  /** data/bootstrap-objects.json. */
  bootstrapObjects: readonly JsonObject[];
  clusterCidr: string;
  /** Where boards keep the volumes of the local-path provisioner. */
  storageDirectory?: string;
  serviceCidr: string;
  clusterDns: string;
  clusterDomain: string;
  /** The cluster's CA, PEM. */
  ca: string;
  /** Where the API is reached from pods: the address may come later and change; undefined while there is none. */
  advertise: { address: string | (() => Promise<string | undefined>); port: number };
  extend?: (store: Store) => RegistryExtensions;
  storeLimits?: Partial<StoreLimits>;
  /** `--enable-admission-plugins`. */
  admissionPlugins?: readonly OptionalPlugin[];
  /** `--scheduler-measured`; full unless said. */
  schedulerMeasured?: Measured;
  /** How fast lost nodes lose their pods. Default: Kubernetes' own. */
  evictionRates?: Partial<EvictionRates>;
  /** `--disable`; nothing unless said. Of the dashboard HTTP knows. */
  disabled?: ReadonlySet<Component>;
  /** `--mqtt-url`: the broker outlives this process. */
  externalBroker?: boolean;
  /** Tests: who changes a stored object gets a TypeError. */
  freeze?: boolean;
}

/**
 * The order of `start` is that of what needs what: the store is loaded, the registry serves it, the objects of a first
 * start are there, informers are filled; only then does anybody decide or speak to the boards. The engine and the bus
 * belong to the control plane: opened and closed, started and stopped here.
 */
export class ControlPlane implements Service {
  readonly store: ObjectStore;
  readonly registry: ApiRegistry;
  /** The client of the controllers. */
  readonly client: Client;
  readonly informers: InformerSet;
  readonly events: EventWriter;
  /** What the bus knows of each board. */
  readonly boards: BoardState;
  /** What pods use, while somebody asks. */
  readonly usage: UsageReadings;
  readonly scheduler: Scheduler;
  /** Where it is told for which architectures images are made. */
  readonly imageArchitectures: ImageArchitectures;
  readonly desiredPublisher: DesiredPublisher;
  readonly servicesPublisher: ServicesPublisher;
  readonly ingest: Ingest;
  private readonly options: ControlPlaneOptions;
  private readonly foundation: ServiceGroup;
  private readonly deciders: ServiceGroup;
  private unserveMetrics: () => void = () => {};

  constructor(options: ControlPlaneOptions) {
    this.options = options;
    const disabled = options.disabled ?? new Set();
    const { engine, bus, clock, random, logger, catalogue, schemas, clusterCidr, serviceCidr } = options;
    const fields = new FieldsTable();
    const store = new ObjectStore({
      engine,
      clock,
      logger,
      onLoad: (object) => fields.shareIn(object),
      ...(options.storeLimits === undefined ? {} : { limits: options.storeLimits }),
      ...(options.freeze === undefined ? {} : { freeze: options.freeze }),
    });
    this.store = store;
    const extensions = options.extend?.(store) ?? {};
    const registry = new ApiRegistry({
      store,
      catalogue,
      schemas,
      strategies: createStrategies(),
      admission: admissionPlugins({
        store,
        random,
        clock,
        ...(options.admissionPlugins === undefined ? {} : { enabled: options.admissionPlugins }),
        ...(extensions.admissionBefore === undefined ? {} : { before: extensions.admissionBefore }),
        ...(extensions.admissionAfter === undefined ? {} : { after: extensions.admissionAfter }),
      }),
      clock,
      random,
      logger,
      serviceCidr,
      fields,
      tokenIssuer: extensions.tokenIssuer,
      reviews: extensions.reviews,
      ...(extensions.components === undefined ? {} : { components: extensions.components }),
      computed: computedMetrics({
        informers: () => this.informers,
        readings: () => this.boards.readings,
        usage: () => this.usage,
        clock,
      }),
      authorize: extensions.authorize,
    });
    this.registry = registry;
    const clientOf = (name: string): Client =>
      new LocalClient({ registry, user: { name, groups: ['system:masters'] }, logger });
    const client = clientOf('system:kube-controller-manager');
    this.client = client;
    const informers = new InformerSet({ client, logger });
    this.informers = informers;
    this.events = new EventWriter({ client, clock, logger });
    this.boards = new BoardState({ clock });
    this.usage = new UsageReadings({ bus, clock });
    const shared = { client, informers, clock, random, logger, events: this.events };
    this.imageArchitectures = new ImageArchitectures();
    this.scheduler = new Scheduler({
      ...shared,
      client: clientOf('system:kube-scheduler'),
      readings: this.boards.readings,
      images: this.imageArchitectures,
      ...(options.schedulerMeasured === undefined ? {} : { measured: options.schedulerMeasured }),
    });
    const external = options.externalBroker ?? false;
    const ingress = new IngressScope({ informers, enabled: !disabled.has('ingress') });
    const ingressPublisher = new IngressPublisher({
      bus,
      scope: ingress,
      clock,
      logger,
      externalBroker: external,
    });
    this.desiredPublisher = new DesiredPublisher({
      bus,
      informers,
      clock,
      logger,
      externalBroker: external,
      boot: random.uuid(),
      ingress,
    });
    this.servicesPublisher = new ServicesPublisher({
      bus,
      informers,
      clock,
      logger,
      cluster: {
        clusterCidr,
        serviceCidr,
        clusterDns: options.clusterDns,
        clusterDomain: options.clusterDomain,
        ...(disabled.size === 0 ? {} : { disabled: [...disabled].sort() }),
      },
      externalBroker: external,
    });
    // Its user is the one that kubelets have in common: what agents report is written in their name.
    this.ingest = new Ingest({
      ...shared,
      client: clientOf('system:kubelet'),
      bus,
      boards: this.boards,
      volumes: new VolumeReports(shared),
      images: new ImageKnowledge(this.imageArchitectures),
      usage: this.usage,
    });
    this.foundation = new ServiceGroup([store, registry]);
    this.deciders = new ServiceGroup([
      informers,
      this.events,
      ...createControllers({
        ...shared,
        catalogue,
        clusterCidr,
        ca: options.ca,
        disabled,
        ...(options.storageDirectory === undefined ? {} : { storageDirectory: options.storageDirectory }),
      }),
      ...(extensions.services?.(shared) ?? []),
      autoscalerController({
        ...shared,
        catalogue,
        clusterCidr,
        ca: options.ca,
        ...(disabled.has('metrics') ? {} : { usage: this.usage }),
      }),
      this.scheduler,
      new NodeMonitor({
        ...shared,
        liveness: this.boards.liveness,
        ...(options.evictionRates === undefined ? {} : { rates: options.evictionRates }),
      }),
      new BoardConditions({ ...shared, readings: this.boards.readings }),
      new ApiEndpoint({ ...shared, client: clientOf('system:apiserver'), ...options.advertise }),
      this.desiredPublisher,
      this.servicesPublisher,
      ingressPublisher,
      this.ingest,
      bus,
    ]);
  }

  /** What controllers, scheduler and bus have to tell to Prometheus. */
  *metered(): Iterable<Metered> {
    for (const part of this.deciders.parts()) if (isMetered(part)) yield part;
  }

  async start(): Promise<void> {
    const { bootstrapObjects: objects, serviceCidr, clusterDns, logger } = this.options;
    await this.foundation.start();
    try {
      const { registry, store } = this;
      await bootstrap({ registry, store, logger, objects, serviceCidr, clusterDns });
      if (!this.options.disabled?.has('metrics'))
        this.unserveMetrics = serveMetrics(this.options.catalogue, this.boards.readings);
      await this.deciders.start();
    } catch (error) {
      await this.foundation.stop();
      throw error;
    }
  }

  /** Orderly: what is under way ends, everything is flushed. */
  async stop(): Promise<void> {
    try {
      this.unserveMetrics();
      await this.deciders.stop();
    } finally {
      await this.foundation.stop();
    }
  }
}
