import { readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { BusDisconnected, type MessageBus } from '../../wire/message-bus.ts';
import { topics } from '../../wire/topics.ts';
import { encodeMessage } from '../../wire/validate.ts';
import type { Journal } from '../journal.ts';
import type { DesiredState, Reporter } from '../ports.ts';
import type { ContainerRuntime } from '../runtime.ts';
import { ArchitectureVerdicts } from './architectures.ts';
import { ImageArchives } from './archives.ts';
import { ImageCollector } from './collector.ts';
import type { ImageEngine } from './engine.ts';
import type { ImageManager, ImageParts } from './image-manager.ts';
import { ImageInventory, reportedImages } from './inventory.ts';
import { runsOn } from './platform.ts';
import { ImageRecords, type VerificationPolicy } from './records.ts';
import { RegistryFiles } from './registry-files.ts';

/** Of the flags of those names. */
export interface ImageFlags {
  dataDir: string;
  imageGcHighThreshold: number;
  imageGcLowThreshold: number;
  minimumImageTtlDuration: number;
  imageMaximumGcAge: number;
  serializeImagePulls: boolean;
  maxParallelImagePulls: number;
  imagePullProgressDeadline: number;
  imagePullCredentialsVerificationPolicy: VerificationPolicy;
  privateRegistry: string;
}

/** What of the agent is there only after this. */
interface Core {
  statics: { desired: DesiredState };
  reporter: Reporter;
  manager: { imagesArrived(names: readonly string[]): void };
  images: ImageManager;
}

/** After a change the engine is asked once, when the next few have come too. */
const REPORT_DELAY_MS = 2_000;
const CERTIFICATES = '/etc/docker/certs.d';
const INTERPRETERS = '/proc/sys/fs/binfmt_misc';

/** How many pulls run at once. */
export function parallelPulls(
  flags: Pick<ImageFlags, 'serializeImagePulls' | 'maxParallelImagePulls'>,
): number {
  return flags.serializeImagePulls ? 1 : flags.maxParallelImagePulls;
}

/**
 * The care for the images of a real board: what pulls need besides the engine (`parts`), archives, garbage collection,
 * and the report to the server.
 */
export class BoardImages implements Service {
  readonly parts: ImageParts;
  readonly collector: ImageCollector;
  private readonly node: string;
  private readonly architecture: string;
  private readonly bus: MessageBus;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly core: () => Core;
  private readonly inventory: ImageInventory;
  private readonly archives: ImageArchives;
  private readonly verdicts: ArchitectureVerdicts;
  private images: { names: string[]; sizeBytes: number }[] | undefined;
  private sent = '';
  private timer: Timer | undefined;
  private running = false;

  constructor(options: {
    node: string;
    /** GOARCH. */
    architecture: string;
    flags: ImageFlags;
    engine: ImageEngine;
    runtime: ContainerRuntime;
    /** Where the engine keeps its data; undefined while that is not known. */
    engineDirectory: () => string | undefined;
    /** `~/.docker/config.json`. */
    dockerConfig: string;
    journal: Pick<Journal, 'take' | 'fact' | 'put' | 'delete'>;
    bus: MessageBus;
    clock: Clock;
    logger: Logger;
    core: () => Core;
  }) {
    const { engine, runtime, journal, clock, logger, flags, architecture, core } = options;
    this.node = options.node;
    this.architecture = architecture;
    this.bus = options.bus;
    this.clock = clock;
    this.logger = logger;
    this.core = core;
    const records = new ImageRecords({ journal, clock });
    this.verdicts = new ArchitectureVerdicts({
      journal,
      clock,
      logger,
      check: (image) => core().images.availableHere(image),
      onChange: () => void this.report(),
    });
    this.archives = new ImageArchives({
      directory: join(flags.dataDir, 'images'),
      engine,
      runtime,
      architecture,
      journal,
      clock,
      logger,
      onLoaded: (images) => this.loaded(images),
      onBad: (message) => this.tell('InvalidImageArchive', message),
    });
    this.inventory = new ImageInventory({
      engine,
      desired: { pods: () => core().statics.desired.pods() },
      records,
      clock,
    });
    this.collector = new ImageCollector({
      engine,
      inventory: { look: () => this.look() },
      records,
      pinned: () => this.archives.pinned(),
      ready: () => core().statics.desired.complete,
      disk: () => diskOf(options.engineDirectory()),
      limits: {
        highThreshold: flags.imageGcHighThreshold,
        lowThreshold: flags.imageGcLowThreshold,
        minimumAgeMs: flags.minimumImageTtlDuration,
        maximumAgeMs: flags.imageMaximumGcAge,
      },
      tell: (reason, message) => this.tell(reason, message),
      onCollected: () => this.changed(),
      clock,
      logger,
    });
    this.parts = {
      engine,
      files: new RegistryFiles({
        path: flags.privateRegistry,
        dockerConfig: options.dockerConfig,
        certificates: CERTIFICATES,
        logger,
        onProblem: (message) => this.tell('InvalidRegistries', message),
      }),
      records,
      policy: flags.imagePullCredentialsVerificationPolicy,
      architecture,
      interpreters: () => readdir(INTERPRETERS).catch(() => []),
      verdicts: () => this.verdicts,
      onPulled: () => this.changed(),
      stallMs: flags.imagePullProgressDeadline,
    };
  }

  /** Before the connection: what is known of images has to arrive before the statuses of pods that failed for them. */
  async start(): Promise<void> {
    this.running = true;
    this.bus.onConnect(() => void this.report(true));
    await this.verdicts.start();
    await this.collector.start();
    // Its error is told with the first pull; here it is told early.
    await this.parts.files.current().catch(() => {});
    await this.archives.start();
    this.changed();
  }

  async stop(): Promise<void> {
    this.running = false;
    this.timer?.cancel();
    await this.archives.stop();
    await this.collector.stop();
    await this.verdicts.stop();
  }

  /** The engine is back: what waited for it goes on. */
  engineAvailable(): void {
    this.archives.poke();
    this.changed();
  }

  private loaded(images: { name: string; architecture: string }[]): void {
    for (const { name, architecture } of images) {
      if (runsOn(this.architecture, architecture, [])) this.verdicts.learn(name, true);
    }
    this.core().manager.imagesArrived(images.map(({ name }) => name));
    this.changed();
  }

  private changed(): void {
    if (!this.running) return;
    this.timer?.cancel();
    this.timer = this.clock.after(REPORT_DELAY_MS, () => {
      this.look()
        .then(() => this.report())
        .catch((error: Error) => this.logger.debug({ error: error.message }, 'images not listed'));
    });
  }

  private async look(): ReturnType<ImageInventory['look']> {
    const images = await this.inventory.look();
    this.images = reportedImages(images);
    return images;
  }

  private async report(again = false): Promise<void> {
    // Without a look yet the server keeps what it knows.
    const { images } = this;
    if (!images || !this.bus.connected) return;
    const payload = encodeMessage('ImageReport', {
      v: 1,
      images,
      architecture: this.architecture,
      lacking: this.verdicts.lacking(),
    });
    if (payload === undefined || (payload === this.sent && !again)) return;
    this.sent = payload;
    try {
      await this.bus.publish(topics.images(this.node), payload, { qos: 1, retain: true });
    } catch (error) {
      // Sent with the next connection.
      if (!(error instanceof BusDisconnected)) this.logger.warn({ err: error }, 'no report on images');
    }
  }

  private tell(reason: string, message: string): void {
    const { node } = this;
    const event = { kind: 'Node' as const, namespace: '', name: node, uid: node, type: 'Warning' as const };
    this.core().reporter.event({ ...event, reason, message });
  }
}

async function diskOf(
  directory: string | undefined,
): Promise<{ capacityBytes: number; availableBytes: number } | undefined> {
  if (directory === undefined) return undefined;
  try {
    const { blocks, bavail, bsize } = await statfs(directory);
    return { capacityBytes: blocks * bsize, availableBytes: bavail * bsize };
  } catch {
    return undefined;
  }
}
