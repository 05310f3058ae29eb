import { rm } from 'node:fs/promises';
import { localPathDirectory, removalNode } from '../../api/local-path.ts';
import { claimsUsed } from '../../api/pod-references.ts';
import type { PersistentVolume } from '../../api/types/core-v1.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import type { VolumeReport } from '../../wire/messages.ts';
import type { DesiredState } from '../ports.ts';
import type { Mounter } from './port.ts';

/** The report is repeated until the server takes the volume back: it may have got lost on either side. */
const REPEAT_MS = 30_000;
/** Pods that are not wanted any more end soon; nobody tells when they have. */
const UNWANTED_GO_MS = 5_000;

/**
 * Removes the directories of released volumes (see removalNode) and tells the server. To remove what is not there is
 * success, so a crash at any moment is mended by the next look; without a server nothing is asked, and nothing done.
 */
export class VolumeRemover implements Service {
  private readonly node: string;
  private readonly desired: Pick<DesiredState, 'volumes' | 'pods' | 'onChange'>;
  private readonly removeDirectory: (path: string) => Promise<void>;
  private readonly inUse: () => boolean;
  private readonly report: (report: VolumeReport) => Promise<void>;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly busy = new Set<string>();
  private timer: Timer | undefined;
  private running = false;

  constructor(options: {
    node: string;
    desired: Pick<DesiredState, 'volumes' | 'pods' | 'onChange'>;
    /** Removes the tree at a path; success when nothing is there. */
    removeDirectory: (path: string) => Promise<void>;
    /** Something may still run here of pods that are not desired any more: their volumes are not known. */
    inUse: () => boolean;
    report: (report: VolumeReport) => Promise<void>;
    clock: Clock;
    logger: Logger;
  }) {
    this.node = options.node;
    this.desired = options.desired;
    this.removeDirectory = options.removeDirectory;
    this.inUse = options.inUse;
    this.report = options.report;
    this.clock = options.clock;
    this.logger = options.logger;
  }

  async start(): Promise<void> {
    this.running = true;
    this.desired.onChange((change) => {
      if (change.kind !== 'network') this.look();
    });
    this.look();
  }

  async stop(): Promise<void> {
    this.running = false;
    this.timer?.cancel();
    this.timer = undefined;
  }

  private look(): void {
    if (!this.running) return;
    const released = this.desired.volumes().filter((volume) => removalNode(volume) === this.node);
    if (released.length === 0) return;
    if (this.inUse()) {
      this.lookAfter(UNWANTED_GO_MS);
      return;
    }
    const used = new Set(this.desired.pods().flatMap(claimsUsed));
    const present = this.desired.volumes().filter(({ status }) => status?.phase !== 'Released');
    for (const volume of released) {
      const key = volume.metadata.uid ?? '';
      const { namespace = '', name = '' } = volume.spec?.claimRef ?? {};
      // A pod of a newer claim of that name has another volume.
      const replaced = present.some(
        ({ spec }) => spec?.claimRef?.namespace === namespace && spec.claimRef.name === name,
      );
      if ((used.has(`${namespace}/${name}`) && !replaced) || this.busy.has(key)) continue;
      this.busy.add(key);
      void this.remove(volume).finally(() => this.busy.delete(key));
    }
    this.lookAfter(REPEAT_MS);
  }

  private lookAfter(milliseconds: number): void {
    this.timer ??= this.clock.after(milliseconds, () => {
      this.timer = undefined;
      this.look();
    });
  }

  private async remove(volume: PersistentVolume): Promise<void> {
    const { name = '', uid = '' } = volume.metadata;
    let error: string | undefined;
    try {
      const path = localPathDirectory(volume);
      if (path === undefined) throw new Error('its path is not one of the local-path provisioner');
      await this.removeDirectory(path);
    } catch (failure) {
      error = failure instanceof Error ? failure.message : String(failure);
      this.logger.warn({ volume: name, error }, 'the directory of a released volume was not removed');
    }
    try {
      await this.report({ v: 1, name, uid, ...(error === undefined ? {} : { error: error.slice(0, 1024) }) });
    } catch (failure) {
      this.logger.debug({ err: failure, volume: name }, 'the removal of a volume is reported later');
    }
  }
}

/** Never deletes through a mount: what lies behind it is not ours. */
export function directoryRemover(mounter: Mounter): (path: string) => Promise<void> {
  return async (path) => {
    const mounted = await mounter.mountsBelow(path);
    if (mounted.length > 0) throw new Error(`still mounted: ${mounted.join(', ')}`);
    await rm(path, { recursive: true, force: true, maxRetries: 3 });
  };
}
