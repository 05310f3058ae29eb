import type { Pod } from '../../api/types/core-v1.ts';
import {
  judgePressure,
  NO_PRESSURE,
  type Pressure,
  type Reading,
  type Readings,
  resourceOf,
  untilMemoryCheck,
} from '../../health/pressure.ts';
import { type Threshold, unitsOf } from '../../health/thresholds.ts';
import { type Clock, type Timer, withTimeout } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import { isCritical } from './critical.ts';
import type { PodUseMeter } from './pod-use.ts';
import type { EndOrder, EvictablePods } from './port.ts';

/** The kubelet's housekeeping interval. */
const INTERVAL_MS = 10_000;
/** While a pod that was evicted ends, and until the pressure is over. */
const BUSY_MS = 1_000;
/** A pod that does not end in this time is waited for no longer: the next one goes. */
const CLEANUP_MS = 30_000;
/** A hard threshold: as good as nothing, but enough for a signal to be heard. */
const IMMEDIATE_SECONDS = 1;
/** Volumes and layers are walked through for no more than this share of the time, on a slow card. */
const STORAGE_SHARE = 0.02;
const RECLAIM_TIMEOUT_MS = 120_000;

/** Gives back what no pod needs of images. */
export type ReclaimImages = (request: { freeBytes?: number }) => Promise<{ freedBytes: number }>;

/**
 * Keeps the board from running dry: watches the signals, tells the node's conditions, and when a threshold is crossed
 * gives back what nobody needs and then ends pods, one at a time. Works without a server.
 *
 * Invariants: one look at a time; while an evicted pod still ends, no other one is chosen.
 */
export class EvictionManager implements Service {
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly thresholds: readonly Threshold[];
  private readonly transitionMs: number;
  private readonly storageMs: number;
  private readonly maxPodGraceSeconds: number;
  private readonly signals: { read(): Promise<Readings>; memory(): Reading | undefined };
  private readonly pods: EvictablePods;
  private readonly loadMeter: () => Promise<PodUseMeter>;
  private readonly reclaimImages: ReclaimImages;
  private readonly onConditions: () => void;
  private readonly onStarved: (resource: string) => void;
  private readonly onEvicted: (pod: Pod, message: string) => void;
  private meter: PodUseMeter | undefined;
  private pressure: Pressure = { state: NO_PRESSURE, conditions: {}, acting: [] };
  private leaving: { uid: string; since: number } | undefined;
  private told: string | undefined;
  private fullDue = 0;
  private storageDue = 0;
  private measuring: Promise<void> | undefined;
  private reclaiming: 'running' | 'done' | undefined;
  private timer: Timer | undefined;
  private checking: Promise<void> | undefined;
  private running = false;

  constructor(options: {
    clock: Clock;
    logger: Logger;
    thresholds: readonly Threshold[];
    /** How long a condition outlives its pressure. */
    transitionMs: number;
    /** How often local storage is measured at most; 0: never. */
    storageMs: number;
    /** For soft thresholds; never more than the pod's own period. */
    maxPodGraceSeconds: number;
    signals: { read(): Promise<Readings>; memory(): Reading | undefined };
    pods: EvictablePods;
    /** Made when it is first needed: most boards never measure their pods. */
    meter: () => Promise<PodUseMeter>;
    reclaimImages: ReclaimImages;
    /** The node's conditions are others than before. */
    onConditions: () => void;
    /** Pods may have to go for want of this resource. */
    onStarved: (resource: string) => void;
    onEvicted: (pod: Pod, message: string) => void;
  }) {
    this.clock = options.clock;
    this.logger = options.logger;
    this.thresholds = options.thresholds;
    this.transitionMs = options.transitionMs;
    this.storageMs = options.storageMs;
    this.maxPodGraceSeconds = options.maxPodGraceSeconds;
    this.signals = options.signals;
    this.pods = options.pods;
    this.loadMeter = options.meter;
    this.reclaimImages = options.reclaimImages;
    this.onConditions = options.onConditions;
    this.onStarved = options.onStarved;
    this.onEvicted = options.onEvicted;
  }

  /** After the first look: the conditions are known. */
  async start(): Promise<void> {
    this.running = true;
    // Volumes were measured by the agent before this one, or their pods have only just started.
    this.storageDue = this.clock.monotonic() + this.storageMs;
    await this.check();
  }

  async stop(): Promise<void> {
    this.running = false;
    this.timer?.cancel();
    await this.checking;
    await this.measuring;
  }

  /** Conditions of the node that are True, with their messages. */
  get conditions(): Readonly<Record<string, string>> {
    return this.pressure.conditions;
  }

  /** A look at everything; one that is under way is joined. */
  check(): Promise<void> {
    this.timer?.cancel();
    this.checking ??= this.look()
      .catch((error: unknown) => {
        this.logger.error({ err: error }, 'the board’s pressure could not be judged');
        return INTERVAL_MS;
      })
      .then((nextMs) => {
        this.checking = undefined;
        const now = this.clock.monotonic();
        const storage = this.storageMs > 0 ? Math.max(BUSY_MS, this.storageDue - now) : INTERVAL_MS;
        this.fullDue = now + Math.min(nextMs, storage);
        this.schedule();
      });
    return this.checking;
  }

  /** Between two full looks memory alone is read, the sooner again the less there is. */
  private schedule(): void {
    if (!this.running) return;
    const left = this.fullDue - this.clock.monotonic();
    const memory = this.signals.memory();
    const quick = memory ? untilMemoryCheck(memory.available, this.thresholds, memory.capacity, left) : left;
    this.timer = this.clock.after(Math.max(1, Math.min(quick, left)), () => {
      if (this.clock.monotonic() >= this.fullDue || this.memoryCrossed()) void this.check();
      else this.schedule();
    });
  }

  /** A threshold of memory is crossed that was not: nothing may wait for the next full look. */
  private memoryCrossed(): boolean {
    const reading = this.signals.memory();
    if (!reading) return false;
    return this.thresholds.some(
      (threshold) =>
        threshold.signal === 'memory.available' &&
        !this.pressure.state.crossed.has(threshold) &&
        reading.available < unitsOf(threshold.least, reading.capacity),
    );
  }

  /** Returns in how many milliseconds to look again. */
  private async look(): Promise<number> {
    const readings = await this.judge();
    this.enforceStorageWhenDue();
    const { acting } = this.pressure;
    if (acting.length === 0) {
      this.told = undefined;
      // The last condition is taken back when it is due, not with the look after.
      const pressed = Object.keys(this.pressure.conditions).length > 0;
      return pressed ? Math.max(BUSY_MS, Math.min(INTERVAL_MS, this.transitionMs)) : INTERVAL_MS;
    }
    if (this.stillLeaving()) return BUSY_MS;
    return (await this.relieve(acting, readings)) ? BUSY_MS : INTERVAL_MS;
  }

  private async judge(): Promise<Readings> {
    const readings = await this.signals.read();
    const before = Object.keys(this.pressure.conditions).join();
    this.pressure = judgePressure({
      readings,
      thresholds: this.thresholds,
      state: this.pressure.state,
      now: this.clock.monotonic(),
      transitionMs: this.transitionMs,
    });
    const now = Object.keys(this.pressure.conditions).join();
    if (before !== now) {
      this.logger.warn(
        { conditions: Object.keys(this.pressure.conditions) },
        'the pressure on this board changed',
      );
      this.onConditions();
    }
    return readings;
  }

  private stillLeaving(): boolean {
    if (!this.leaving) return false;
    const { uid, since } = this.leaving;
    const over = this.pods.ended(uid) || this.clock.monotonic() - since >= CLEANUP_MS;
    if (over) this.leaving = undefined;
    return !over;
  }

  /** True when something was done that may help, so that it is worth looking soon. */
  private async relieve(acting: readonly Threshold[], readings: Readings): Promise<boolean> {
    const [threshold] = acting;
    if (!threshold) return false;
    const starved = resourceOf(threshold.signal);
    if (this.told !== starved) this.onStarved(starved);
    this.told = starved;
    if (starved === 'ephemeral-storage' || starved === 'inodes') {
      // Images take their time to go, and memory has to be watched meanwhile: pods go when this is done and not enough.
      if (this.reclaiming === undefined) void this.reclaim(threshold, readings);
      if (this.reclaiming === 'running') return true;
      this.reclaiming = undefined;
    }
    const pods = this.pods.active();
    if (pods.length === 0) return false;
    const [{ rankForEviction }, { starvedMessage }] = await Promise.all([
      import('./rank.ts'),
      import('./messages.ts'),
    ]);
    this.meter ??= await this.loadMeter();
    const uses = await this.meter.measure(pods, starved);
    const chosen = rankForEviction(pods, uses, starved).find(({ pod }) => !isCritical(pod));
    if (!chosen) {
      this.logger.warn({ resource: starved }, 'only critical pods run here: none is evicted');
      return false;
    }
    const { pod } = chosen;
    const use = uses.get(pod.metadata.uid ?? '');
    const message = starvedMessage(pod, starved, use, acting, readings);
    this.evict(pod, { message, graceSeconds: this.grace(threshold, pod), disruption: true });
    return true;
  }

  private grace(threshold: Threshold, { spec }: Pod): number {
    if (threshold.graceMs === undefined) return IMMEDIATE_SECONDS;
    return Math.min(this.maxPodGraceSeconds, spec?.terminationGracePeriodSeconds ?? 30);
  }

  /** Ended containers and images that no pod needs. */
  private async reclaim(threshold: Threshold, readings: Readings): Promise<void> {
    this.reclaiming = 'running';
    try {
      const containers = await this.pods.removeDead();
      const { freedBytes } = await withTimeout(
        this.clock,
        RECLAIM_TIMEOUT_MS,
        this.reclaimImages(wantedSpace(threshold, readings[threshold.signal])),
        () => new Error('images were not collected in time'),
      );
      this.logger.info({ containers, freedBytes }, 'gave back what no pod needs');
    } catch (error) {
      this.logger.warn({ err: error }, 'could not give back everything that no pod needs');
    }
    this.reclaiming = 'done';
  }

  /** Beside the looks at the signals: a slow card must not keep anybody from seeing that memory runs out. */
  private enforceStorageWhenDue(): void {
    if (this.storageMs === 0 || this.measuring || this.clock.monotonic() < this.storageDue) return;
    this.measuring = this.enforceStorage()
      .catch((error: unknown) =>
        this.logger.warn({ err: error }, 'local storage of pods could not be measured'),
      )
      .finally(() => {
        this.measuring = undefined;
      });
  }

  /** Ends pods that have written more than they may. */
  private async enforceStorage(): Promise<void> {
    const begin = this.clock.monotonic();
    this.storageDue = begin + this.storageMs;
    const { exceededStorage, limitsStorage } = await import('./local-storage.ts');
    const limited = this.pods.active().filter(({ pod }) => limitsStorage(pod));
    if (limited.length === 0) return;
    this.meter ??= await this.loadMeter();
    for (const active of limited) {
      if (!this.running) return;
      const message = exceededStorage(active.pod, await this.meter.storage(active));
      if (!message || isCritical(active.pod)) continue;
      this.evict(active.pod, { message, graceSeconds: IMMEDIATE_SECONDS });
    }
    const now = this.clock.monotonic();
    this.storageDue = Math.max(this.storageDue, now + (now - begin) / STORAGE_SHARE);
  }

  private evict(pod: Pod, order: Omit<EndOrder, 'reason'>): void {
    const uid = pod.metadata.uid ?? '';
    this.logger.warn(
      { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, message: order.message },
      'evicted',
    );
    this.onEvicted(pod, order.message);
    this.pods.end(uid, { reason: 'Evicted', ...order });
    this.leaving = { uid, since: this.clock.monotonic() };
  }
}

/** Inodes are not counted in bytes: for them all that is unused goes, as the kubelet does it. */
function wantedSpace(
  { signal, least, reclaim }: Threshold,
  reading: Reading | undefined,
): { freeBytes?: number } {
  if (!reading || !signal.endsWith('.available')) return {};
  const more = reclaim ? unitsOf(reclaim, reading.capacity) : 0;
  return { freeBytes: Math.max(1, unitsOf(least, reading.capacity) + more - reading.available) };
}
