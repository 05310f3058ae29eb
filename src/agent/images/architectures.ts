import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import type { Journal } from '../journal.ts';
import { familiarName, type ImageReference, parseImageReference } from './reference.ts';

const FACT = 'imagesLacking';
/** A tag may be moved to an image that does run here. */
const RECHECK_MS = 3_600_000;
/** After so many checks without an answer (a private or unreachable registry) the verdict is dropped. */
const MOST_SILENT_CHECKS = 24;
/** The longest known go first. */
const REMEMBERED = 100;

/**
 * The images that certainly have nothing for this board's CPU. The server is told, and its scheduler keeps pods with
 * them off boards of this architecture. Images by digest never change; of tags the registry is asked again every hour.
 */
export class ArchitectureVerdicts implements Service {
  private readonly journal: Pick<Journal, 'fact' | 'put'>;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly check: (image: ImageReference) => Promise<boolean | undefined>;
  private readonly onChange: () => void;
  private held: Map<string, { silent: number }> | undefined;
  private timer: Timer | undefined;

  constructor(options: {
    journal: Pick<Journal, 'fact' | 'put'>;
    clock: Clock;
    logger: Logger;
    /** Does the registry have it for this board? Undefined when it cannot be asked. */
    check: (image: ImageReference) => Promise<boolean | undefined>;
    onChange: () => void;
  }) {
    this.journal = options.journal;
    this.clock = options.clock;
    this.logger = options.logger;
    this.check = options.check;
    this.onChange = options.onChange;
  }

  async start(): Promise<void> {
    this.timer = this.clock.every(RECHECK_MS, () => void this.recheck());
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
  }

  /** As Docker names them, without the registry's own name for Docker Hub. */
  lacking(): string[] {
    return [...this.verdicts.keys()];
  }

  learn(image: string, runs: boolean): void {
    const name = familiarName(image);
    if (runs === !this.verdicts.has(name)) return;
    if (runs) this.verdicts.delete(name);
    else this.verdicts.set(name, { silent: 0 });
    for (const oldest of this.verdicts.keys()) {
      if (this.verdicts.size <= REMEMBERED) break;
      this.verdicts.delete(oldest);
    }
    this.logger.info({ image: name, runs }, 'learnt whether an image runs on this CPU');
    this.journal.put('fact', FACT, this.lacking());
    this.onChange();
  }

  private async recheck(): Promise<void> {
    for (const [name, verdict] of [...this.verdicts]) {
      const image = parseImageReference(name);
      if (!image || image.digest !== undefined) continue;
      const runs = await this.check(image).catch(() => undefined);
      verdict.silent = runs === undefined ? verdict.silent + 1 : 0;
      if (runs || verdict.silent >= MOST_SILENT_CHECKS) this.learn(name, true);
    }
  }

  private get verdicts(): Map<string, { silent: number }> {
    this.held ??= new Map((this.journal.fact<string[]>(FACT) ?? []).map((name) => [name, { silent: 0 }]));
    return this.held;
  }
}
