import type { Logger } from '../../lib/logger.ts';
import { type Attachment, attachCommands, detachCommands } from './attach.ts';
import { CommandError, type NetCommands, oneShell } from './commands.ts';

/** So many pods in one run: the first of them waits for the last. */
const MOST_IN_A_RUN = 8;
/** Runs at once; pods that come meanwhile wait for the next. */
const RUNS = 2;

interface Waiting {
  attachment: Attachment;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/**
 * Makes and removes the interfaces of pods, those of many in one run of a shell: to fork a process of this size takes
 * longer than all that `ip` does, and nothing else happens meanwhile. One pod alone is one fork; of twenty at once the
 * first goes alone, and the others share the next runs.
 */
export class Wiring {
  private readonly commands: NetCommands;
  private readonly logger: Logger;
  private readonly attaching: Waiting[] = [];
  private readonly detaching: { podUid: string; resolve: () => void }[] = [];
  private attachRuns = 0;
  private detachRun: Promise<void> | undefined;

  constructor(options: { commands: NetCommands; logger: Logger }) {
    this.commands = options.commands;
    this.logger = options.logger;
  }

  /** The pair of interfaces stands. Throws CommandError. */
  attach(attachment: Attachment): Promise<void> {
    return new Promise((resolve, reject) => {
      this.attaching.push({ attachment, resolve, reject });
      void this.attachWaiting();
    });
  }

  /** Nothing is left of the pod's interfaces; success when there never was anything. */
  detach(podUid: string): Promise<void> {
    return new Promise((resolve) => {
      this.detaching.push({ podUid, resolve });
      this.detachRun ??= this.detachWaiting().finally(() => {
        this.detachRun = undefined;
      });
    });
  }

  private async attachWaiting(): Promise<void> {
    if (this.attachRuns >= RUNS) return;
    this.attachRuns += 1;
    try {
      while (this.attaching.length > 0) await this.attachTogether(this.attaching.splice(0, MOST_IN_A_RUN));
    } finally {
      this.attachRuns -= 1;
    }
  }

  private async attachTogether(batch: readonly Waiting[]): Promise<void> {
    try {
      await this.run(batch.map(({ attachment }) => attachment));
    } catch (error) {
      // One of them is at fault, and the others shall not suffer for it.
      const failure = batch.length === 1 ? error : undefined;
      await Promise.all(
        batch.map(({ attachment, resolve, reject }) => this.again(attachment, failure).then(resolve, reject)),
      );
      return;
    }
    for (const { resolve } of batch) resolve();
  }

  /** One pod alone; `failure` is what has come of it before. */
  private async again(attachment: Attachment, failure: unknown): Promise<void> {
    try {
      if (failure !== undefined) throw failure;
      await this.run([attachment]);
    } catch (error) {
      if (!(error instanceof CommandError) || !error.stderr.includes('File exists')) throw error;
      // Left by an attempt that did not get to its end.
      await this.detach(attachment.podUid);
      await this.run([attachment]);
    }
  }

  private async run(attachments: readonly Attachment[]): Promise<void> {
    await this.commands.run(oneShell(attachCommands(attachments)));
  }

  private async detachWaiting(): Promise<void> {
    // What is asked for in this turn of the event loop goes together.
    await Promise.resolve();
    while (this.detaching.length > 0) {
      const batch = this.detaching.splice(0);
      try {
        await this.commands.run(detachCommands(batch.map(({ podUid }) => podUid)));
      } catch (error) {
        this.logger.debug(
          { pods: batch.map(({ podUid }) => podUid), error: String(error) },
          'interfaces were gone already',
        );
      }
      for (const { resolve } of batch) resolve();
    }
  }
}
