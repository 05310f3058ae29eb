import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import type { DesiredState, Reporter } from '../ports.ts';
import { StaticDesired } from './desired.ts';
import { type MirrorApi, MirrorPods, planMirrors } from './mirrors.ts';
import { ManifestSource } from './source.ts';

/**
 * Pods that stand in files of the board: they run without any server, and where there is one it has a copy of each that
 * shows how they are. `desired` is what the pods' workers see of all this.
 */
export class StaticPods implements Service {
  readonly desired: StaticDesired;
  private readonly source: ManifestSource | undefined;
  private readonly mirrors: MirrorPods | undefined;

  constructor(options: {
    nodeName: string;
    server: DesiredState;
    reporter: Reporter;
    /** Is anything left of the pod on this board? */
    runs: (uid: string) => boolean;
    /** Absent: there are none. */
    files?: { path: string; api: MirrorApi } | undefined;
    clock: Clock;
    logger: Logger;
  }) {
    const { nodeName, server, reporter, runs, files, clock, logger } = options;
    this.desired = new StaticDesired({ server, reporter, runs });
    if (!files) return;
    const { desired } = this;
    this.source = new ManifestSource({
      path: files.path,
      nodeName,
      clock,
      logger,
      onPods: (pods) => desired.set(pods),
      onProblem: (file, problem) =>
        reporter.event({
          namespace: '',
          name: nodeName,
          uid: nodeName,
          kind: 'Node',
          type: 'Warning',
          reason: 'InvalidStaticPod',
          message: `${file}: ${problem}`,
        }),
    });
    const mirrors = new MirrorPods({
      api: files.api,
      clock,
      logger,
      plan: () => planMirrors(desired.staticPods(), desired.mirrors(), runs),
      known: () => desired.heard,
    });
    this.mirrors = mirrors;
    desired.onMirrors(() => mirrors.wake());
  }

  /** The pods of the files are known when it resolves. */
  async start(): Promise<void> {
    this.desired.start();
    await this.source?.start();
  }

  async stop(): Promise<void> {
    this.mirrors?.stop();
    await this.source?.stop();
  }

  /** Nothing is left of the pod on this board. */
  gone(uid: string): void {
    this.desired.gone(uid);
  }
}
