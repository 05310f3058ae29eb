import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import type { ImageEngine } from './engine.ts';
import type { ImageInventory, KnownImage } from './inventory.ts';
import type { ImageRecords } from './records.ts';
import { familiarName } from './reference.ts';

/** What asks for room: the disk check below, and the eviction manager before it ends pods. */
export interface CollectRequest {
  /** Stop when so much was freed; absent: every image that may go. */
  freeBytes?: number;
  /** Only images that nothing has used for so long. */
  unusedForMs?: number;
}

/** Removes images that no pod needs. Never rejects because of one image. */
export interface ImageCollection {
  collect(request: CollectRequest): Promise<{ freedBytes: number }>;
}

/** The kubelet's configuration of that name. */
export interface CollectorLimits {
  /** Percent of the disk in use from which images are removed; 100: never. */
  highThreshold: number;
  /** Percent down to which they are. */
  lowThreshold: number;
  /** An image is kept for so long after it was first seen. */
  minimumAgeMs: number;
  /** An image that nothing has used for so long goes, however much room there is; 0: stays. */
  maximumAgeMs: number;
}

/** The kubelet's ImageGCPeriod. */
const PERIOD_MS = 300_000;
/** Not from a registry: nobody could bring it back. */
const LOCAL = 'copepod.local/';

/**
 * Image garbage collection by disk use, as the kubelet's, for the images that this agent has brought itself: an engine
 * on a board is often its owner's too (docs/adr/0020-images.md).
 */
export class ImageCollector implements ImageCollection, Service {
  private readonly engine: Pick<ImageEngine, 'remove'>;
  private readonly inventory: Pick<ImageInventory, 'look'>;
  private readonly records: ImageRecords;
  private readonly pinned: () => ReadonlySet<string>;
  private readonly ready: () => boolean;
  private readonly disk: () => Promise<{ capacityBytes: number; availableBytes: number } | undefined>;
  private readonly limits: CollectorLimits;
  private readonly tell: (reason: string, message: string) => void;
  private readonly onCollected: () => void;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private running: Promise<unknown> = Promise.resolve();
  private failedBefore = false;
  private measurable = true;
  private timer: Timer | undefined;

  constructor(options: {
    engine: Pick<ImageEngine, 'remove'>;
    inventory: Pick<ImageInventory, 'look'>;
    records: ImageRecords;
    /** Ids of images that came from archives which are still there. */
    pinned: () => ReadonlySet<string>;
    /** Is it known which pods are to run here? Before that every image may be needed. */
    ready: () => boolean;
    /** Of the file system that holds the images; undefined when it cannot be measured. */
    disk: () => Promise<{ capacityBytes: number; availableBytes: number } | undefined>;
    limits: CollectorLimits;
    /** A Warning event of the node. */
    tell: (reason: string, message: string) => void;
    onCollected: () => void;
    clock: Clock;
    logger: Logger;
  }) {
    this.engine = options.engine;
    this.inventory = options.inventory;
    this.records = options.records;
    this.pinned = options.pinned;
    this.ready = options.ready;
    this.disk = options.disk;
    this.limits = options.limits;
    this.tell = options.tell;
    this.onCollected = options.onCollected;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  async start(): Promise<void> {
    this.timer = this.clock.every(PERIOD_MS, () => void this.check());
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
    await this.running;
  }

  /** One at a time: two that remove side by side would both believe to have freed the same. */
  collect(request: CollectRequest): Promise<{ freedBytes: number }> {
    const turn = this.running.then(() => this.run(request));
    this.running = turn.catch(() => {});
    return turn;
  }

  /** What happens every five minutes. */
  async check(): Promise<void> {
    try {
      const { maximumAgeMs } = this.limits;
      if (maximumAgeMs > 0) await this.collect({ unusedForMs: maximumAgeMs });
      await this.checkDisk();
      this.failedBefore = false;
    } catch (error) {
      const { message } = error as Error;
      this.logger.warn({ error: message }, 'image garbage collection failed');
      // Once may be an engine that is just starting.
      if (this.failedBefore) this.tell('ImageGCFailed', message);
      this.failedBefore = true;
    }
  }

  private async checkDisk(): Promise<void> {
    const { highThreshold, lowThreshold } = this.limits;
    if (highThreshold >= 100) return;
    const disk = await this.disk();
    if (!disk) {
      if (this.measurable) this.logger.warn({}, 'the disk of the images cannot be measured: none is removed');
      this.measurable = false;
      return;
    }
    this.measurable = true;
    const { capacityBytes, availableBytes } = disk;
    if (capacityBytes <= 0) {
      const message = `invalid capacity ${capacityBytes} on image filesystem`;
      this.tell('InvalidDiskCapacity', message);
      throw new Error(message);
    }
    const usage = 100 - Math.floor((availableBytes * 100) / capacityBytes);
    if (usage < highThreshold) {
      // Seen now and then, so that it is known since when nothing uses an image.
      await this.inventory.look();
      return;
    }
    const wanted = Math.floor((capacityBytes * (100 - lowThreshold)) / 100) - availableBytes;
    this.logger.info(
      { usage, highThreshold, wanted },
      'the disk of the images fills up: removing unused ones',
    );
    const { freedBytes } = await this.collect({ freeBytes: wanted });
    if (freedBytes >= wanted) return;
    const message = `Failed to garbage collect required amount of images. Attempted to free ${wanted} bytes, but only found ${freedBytes} bytes eligible to free.`;
    this.tell('FreeDiskSpaceFailed', message);
    throw new Error(message);
  }

  private async run({ freeBytes, unusedForMs }: CollectRequest): Promise<{ freedBytes: number }> {
    if (!this.ready()) return { freedBytes: 0 };
    const candidates = this.candidates(await this.inventory.look(), unusedForMs ?? 0);
    let freedBytes = 0;
    for (const image of candidates) {
      if (freeBytes !== undefined && freedBytes >= freeBytes) break;
      freedBytes += await this.remove(image);
    }
    if (freedBytes > 0) this.onCollected();
    return { freedBytes };
  }

  /** Those that may go, the longest unused first. */
  private candidates(images: readonly KnownImage[], unusedForMs: number): KnownImage[] {
    const now = this.clock.monotonic();
    const pinned = this.pinned();
    return images
      .filter((image) => {
        const record = this.records.of(image.id);
        // A name that somebody else gave it: somebody else wants it.
        const known = new Set(record?.names);
        const foreign = image.tags.some((tag) => !known.has(familiarName(tag)));
        if (!record?.brought || foreign || image.used || pinned.has(image.id)) return false;
        if (image.tags.some((tag) => tag.startsWith(LOCAL))) return false;
        return now - image.firstSeen >= this.limits.minimumAgeMs && now - image.lastUsed >= unusedForMs;
      })
      .sort((left, right) => this.usedAt(left) - this.usedAt(right));
  }

  /** The order holds over restarts: the journal's time counts, not the one of this process. */
  private usedAt({ id }: KnownImage): number {
    return this.records.of(id)?.usedAt ?? 0;
  }

  /** The bytes that it freed: measured where the disk can be, since layers may be shared. */
  private async remove(image: KnownImage): Promise<number> {
    const before = await this.disk();
    const names = [...image.tags, ...image.digests];
    try {
      for (const name of names.length > 0 ? names : [image.id]) {
        if (await this.engine.remove(name)) continue;
        this.logger.info({ image: name }, 'an unused image is needed by something after all and stays');
        return 0;
      }
    } catch (error) {
      this.logger.warn({ image: names[0] ?? image.id, error: (error as Error).message }, 'image not removed');
      return 0;
    }
    this.records.forget(image.id);
    const after = await this.disk();
    const freed =
      before && after ? Math.max(0, after.availableBytes - before.availableBytes) : image.sizeBytes;
    this.logger.info({ image: names[0] ?? image.id, freed }, 'unused image removed');
    return freed;
  }
}
