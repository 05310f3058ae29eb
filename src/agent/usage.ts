import type { PodUses, RunningContainer } from '../health/pod-usage.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { BusDisconnected, type MessageBus } from '../wire/message-bus.ts';
import type { MeasureRequest } from '../wire/messages.ts';
import { topics } from '../wire/topics.ts';
import { encodeMessage } from '../wire/validate.ts';
import type { ContainerRuntime } from './runtime.ts';

const INTERVAL_MS = 15_000;
/** CPU is a difference: the second reading comes soon, so that whoever asks does not wait. */
const FIRST_MS = 2_000;
/** A server that asks for longer is asked again. */
const LONGEST_MS = 600_000;

export interface UsageMeter {
  measure(containers: readonly RunningContainer[]): Promise<PodUses>;
  forget(): void;
}

/** Tells what pods use, every 15 s, as long as the server wants to know (an autoscaler, `kubectl top`), and no longer. */
export class UsageReporter {
  private readonly node: string;
  private readonly bus: MessageBus;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly runtime: Pick<ContainerRuntime, 'list'>;
  /** Made with the first request: most boards are never asked. */
  private readonly makeMeter: () => Promise<UsageMeter>;
  private readonly serverUid: (uid: string) => string | undefined;
  private meter: UsageMeter | undefined;
  private until = 0;
  private timer: Timer | undefined;
  private running = false;

  constructor(options: {
    node: string;
    bus: MessageBus;
    clock: Clock;
    logger: Logger;
    runtime: Pick<ContainerRuntime, 'list'>;
    meter: () => Promise<UsageMeter>;
    /** The uid that the server knows a pod by, where it is not the own one (static pods). */
    serverUid?: (uid: string) => string | undefined;
  }) {
    this.node = options.node;
    this.bus = options.bus;
    this.clock = options.clock;
    this.logger = options.logger;
    this.runtime = options.runtime;
    this.makeMeter = options.meter;
    this.serverUid = options.serverUid ?? ((uid) => uid);
  }

  requested({ forMs }: MeasureRequest): void {
    this.until = Math.max(this.until, this.clock.monotonic() + Math.min(forMs, LONGEST_MS));
    if (this.running) return;
    this.running = true;
    void this.report(FIRST_MS);
  }

  stop(): void {
    this.running = false;
    this.timer?.cancel();
    this.timer = undefined;
  }

  private async report(nextMs: number): Promise<void> {
    try {
      this.meter ??= await this.makeMeter();
      const uses = await this.meter.measure(await this.containers());
      if (uses.windowMs > 0) {
        const payload = encodeMessage('PodUsageReport', { v: 1, ...rounded(uses) });
        if (payload !== undefined) await this.bus.publish(topics.usage(this.node), payload);
      }
    } catch (error) {
      if (!(error instanceof BusDisconnected)) this.logger.warn({ err: error }, 'pods not measured');
    }
    if (!this.running) return;
    if (this.clock.monotonic() >= this.until) {
      this.running = false;
      this.meter?.forget();
      return;
    }
    this.timer = this.clock.after(nextMs, () => void this.report(INTERVAL_MS));
  }

  private async containers(): Promise<RunningContainer[]> {
    const observed = await this.runtime.list();
    return observed.flatMap(({ id, state, pid, labels }) => {
      const own = labels['io.kubernetes.pod.uid'];
      const podUid = own && this.serverUid(own);
      const name = labels['io.kubernetes.container.name'];
      if (state !== 'running' || pid === undefined || !podUid || !name || name === 'POD') return [];
      return [{ id, podUid, name, pid }];
    });
  }
}

function rounded({ windowMs, pods }: PodUses): PodUses {
  return {
    windowMs: Math.round(windowMs),
    pods: Object.fromEntries(
      Object.entries(pods).map(([uid, containers]) => [
        uid,
        Object.fromEntries(
          Object.entries(containers).map(([name, [cpu, memory]]) => [
            name,
            [Number(cpu.toFixed(6)), Math.round(memory)] as [number, number],
          ]),
        ),
      ]),
    ),
  };
}
