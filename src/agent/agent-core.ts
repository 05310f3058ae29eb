import type { BoardMeasurements } from '../api/board.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import type { MessageBus } from '../wire/message-bus.ts';
import type { StreamRequest } from '../wire/messages.ts';
import { topics } from '../wire/topics.ts';
import { encodeMessage } from '../wire/validate.ts';
import { AgentConnection } from './connection.ts';
import { DesiredStore } from './desired.ts';
import { HeartbeatSender } from './heartbeat.ts';
import { ImageManager, type ImageParts } from './images/image-manager.ts';
import type { Journal } from './journal.ts';
import { Limiter } from './limiter.ts';
import { Handlers } from './pods/handlers.ts';
import { PodManager } from './pods/manager.ts';
import { PodEvents } from './pods/pod-events.ts';
import type { PodServices } from './pods/services.ts';
import type { NodeFacts } from './ports.ts';
import { StatusReporter } from './reporter.ts';
import type { MirrorApi } from './static-pods/mirrors.ts';
import { StaticPods } from './static-pods/static-pods.ts';
import { type UsageMeter, UsageReporter } from './usage.ts';
import { VolumeRemover } from './volumes/remover.ts';

/** What is remembered across processes; the simulation keeps it in memory. */
export type AgentJournal = Pick<Journal, 'take' | 'fact' | 'put' | 'delete' | 'sync'>;

/** What a node says of itself while its engine does not answer. */
const RUNTIME_DOWN = 'ContainerRuntimeDown: the container runtime is down';

/** What the board offers: everything through which the agent touches the machine. */
export interface BoardPorts
  extends Pick<
    PodServices,
    | 'runtime'
    | 'network'
    | 'volumes'
    | 'files'
    | 'sandboxImage'
    | 'node'
    | 'clusterDomain'
    | 'cgroups'
    | 'memoryUse'
    | 'processUser'
  > {
  /** What a real machine adds to the care for images. */
  imageParts?: ImageParts;
  parallelPulls?: number;
  /** Where pods stand in files, and how the server is told of them. */
  staticPods?: { path: string; api: MirrorApi };
  measure(): Promise<BoardMeasurements>;
  /** The node's conditions that are not in their good state (pressures, what it cannot serve), with their messages. */
  conditions(): Readonly<Record<string, string>>;
  facts(): Promise<NodeFacts>;
  /** The engine was lost and is back, or answers for the first time. */
  onEngine?: () => void;
  onStream(request: StreamRequest): void;
  /** Made with the first request for what pods use: most boards are never asked. */
  usageMeter(): Promise<UsageMeter>;
  /** Removes the directory of a released volume; success when nothing is there. */
  removeDirectory(path: string): Promise<void>;
}

/**
 * The agent without the machine below it: what the server says (`desired`), what is done about it (`manager`) and what
 * is told of it (`reporter`, `heartbeat`), joined by `connection`. The program and the simulation run this very object.
 */
export class AgentCore {
  readonly desired: DesiredStore;
  /** Pods of the board's own files, and with them all that is to run here. */
  readonly statics: StaticPods;
  readonly reporter: StatusReporter;
  readonly events: PodEvents;
  readonly heartbeat: HeartbeatSender;
  readonly images: ImageManager;
  readonly manager: PodManager;
  readonly connection: AgentConnection;
  private readonly remover: VolumeRemover;
  private readonly usage: UsageReporter;

  constructor(options: {
    node: string;
    /** Random id of this agent process; the same as in the bus's last will. */
    boot: string;
    bus: MessageBus;
    journal: AgentJournal;
    clock: Clock;
    random: Random;
    logger: Logger;
    /** Creates and starts, and removals, under way on this board at once. */
    parallelStarts: number;
    board: BoardPorts;
  }) {
    const { node, boot, bus, journal, clock, random, logger, parallelStarts } = options;
    this.desired = new DesiredStore({ node, journal, logger });
    this.reporter = new StatusReporter({
      node,
      bus,
      clock,
      random,
      logger,
      journal,
      isDesired: (uid) => this.desired.pod(uid) !== undefined,
    });
    this.events = new PodEvents(this.reporter);

    const { desired, events, reporter } = this;
    const {
      imageParts,
      parallelPulls = 3,
      onEngine,
      staticPods,
      measure,
      conditions,
      facts,
      onStream,
      usageMeter,
      removeDirectory,
      ...board
    } = options.board;
    const { runtime, sandboxImage } = board;
    this.statics = new StaticPods({
      nodeName: node,
      server: desired,
      reporter,
      runs: (uid) => this.manager.runs(uid),
      files: staticPods,
      clock,
      logger,
    });
    const wanted = this.statics.desired;
    this.images = new ImageManager({
      runtime,
      clock,
      desired: wanted,
      events,
      parallelPulls,
      parts: imageParts,
    });
    this.manager = new PodManager({
      services: {
        ...board,
        clock,
        logger,
        images: this.images,
        handlers: new Handlers({ runtime, clock }),
        events,
        reporter: wanted,
        lastStatus: (uid) => reporter.lastStatus(wanted.serverUid(uid) ?? uid),
        desired: wanted,
        startLimiter: new Limiter(parallelStarts),
        removeLimiter: new Limiter(parallelStarts),
        imageNames: new Map(),
      },
      onGone: (uid) => this.statics.gone(uid),
      onRuntime: (available) => {
        logger.info(
          { available },
          available ? 'the container engine answers' : 'the container engine is lost',
        );
        void this.heartbeat.now();
        if (available) onEngine?.();
        if (available)
          void sandboxImage
            .ensure()
            .catch((error: Error) => logger.error({ err: error }, 'no sandbox image'));
      },
    });

    this.remover = new VolumeRemover({
      node,
      desired,
      removeDirectory,
      inUse: () => this.manager.unwantedLeft,
      report: async (report) => {
        const payload = encodeMessage('VolumeReport', report);
        if (payload !== undefined) await bus.publish(topics.volumes(node), payload, { qos: 1 });
      },
      clock,
      logger,
    });
    this.usage = new UsageReporter({
      node,
      bus,
      clock,
      logger,
      runtime,
      meter: usageMeter,
      serverUid: (uid) => wanted.serverUid(uid),
    });

    this.heartbeat = new HeartbeatSender({
      node,
      bus,
      clock,
      random,
      logger,
      measure,
      conditions: () =>
        this.manager.runtimeAvailable ? conditions() : { Ready: RUNTIME_DOWN, ...conditions() },
    });
    this.connection = new AgentConnection({
      node,
      boot,
      bus,
      desired,
      reporter,
      heartbeat: this.heartbeat,
      facts,
      onStream,
      onMeasure: (request) => this.usage.requested(request),
      clock,
      logger,
    });
  }

  /** What was remembered; before anything else. */
  load(): void {
    this.desired.load();
  }

  /** From now on something is done about what is desired; the connection is started apart, as soon as there is one. */
  async start(): Promise<void> {
    await this.statics.start();
    await this.manager.start();
    await this.remover.start();
  }

  /** Leaves every pod running. */
  async stop(): Promise<void> {
    await this.remover.stop();
    await this.statics.stop();
    await this.manager.stop();
    this.usage.stop();
    await this.connection.stop();
  }
}
