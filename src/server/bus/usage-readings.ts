import type { PodUsage, UsageSource } from '../../client/usage.ts';
import type { Clock } from '../../lib/clock.ts';
import type { MessageBus } from '../../wire/message-bus.ts';
import type { PodUsageReport } from '../../wire/messages.ts';
import { topics } from '../../wire/topics.ts';
import { encodeMessage } from '../../wire/validate.ts';

/** A board measures for so long after it was asked; an autoscaler asks every 15 s. */
const ASK_FOR_MS = 180_000;
/** It is asked again after this: a request may have been lost, and a board may have restarted. */
const ASK_AGAIN_MS = 30_000;
/** Four reports missed. */
const STALE_AFTER_MS = 60_000;

interface Report {
  at: number;
  received: number;
  windowMs: number;
  pods: PodUsageReport['pods'];
}

/** The last report of each board, in memory; asks boards to measure when somebody wants to know. */
export class UsageReadings implements UsageSource {
  private readonly bus: Pick<MessageBus, 'publish'>;
  private readonly clock: Clock;
  private readonly reports = new Map<string, Report>();
  private readonly asked = new Map<string, number>();

  constructor(options: { bus: Pick<MessageBus, 'publish'>; clock: Clock }) {
    this.bus = options.bus;
    this.clock = options.clock;
  }

  of(node: string, podUid: string): PodUsage | undefined {
    this.ask(node);
    const report = this.reports.get(node);
    if (!report || this.clock.monotonic() - report.received > STALE_AFTER_MS) return undefined;
    const containers = report.pods[podUid];
    return (
      containers && {
        at: report.at,
        windowMs: report.windowMs,
        containers: Object.entries(containers).map(([name, [cpu, memory]]) => ({ name, cpu, memory })),
      }
    );
  }

  came(node: string, { windowMs, pods }: PodUsageReport): void {
    this.reports.set(node, {
      at: this.clock.now(),
      received: this.clock.monotonic(),
      windowMs,
      pods,
    });
  }

  forget(node: string): void {
    this.reports.delete(node);
    this.asked.delete(node);
  }

  private ask(node: string): void {
    const now = this.clock.monotonic();
    const before = this.asked.get(node);
    if (before !== undefined && now - before < ASK_AGAIN_MS) return;
    this.asked.set(node, now);
    const payload = encodeMessage('MeasureRequest', { v: 1, forMs: ASK_FOR_MS });
    // A board that is not connected has nothing to tell; it is asked again with the next question.
    if (payload !== undefined) this.bus.publish(topics.measure(node), payload).catch(() => {});
  }
}
