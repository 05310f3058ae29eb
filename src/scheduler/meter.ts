import { exponentialBuckets, Histogram, type Metered, type MetricFamily, sample } from '../lib/metrics.ts';
import type { SchedulingQueue } from './queue.ts';

type Result = 'scheduled' | 'unschedulable' | 'error';
const RESULTS: readonly Result[] = ['scheduled', 'unschedulable', 'error'];
/** kube-scheduler's: 1 ms to 16 s. */
const DURATIONS = exponentialBuckets(0.001, 2, 15);
const VICTIMS = exponentialBuckets(1, 2, 7);

/** What the scheduler tells, under the names of kube-scheduler's. */
export class SchedulerMeter implements Metered {
  private readonly profile: string;
  private readonly pending: () => SchedulingQueue['size'];
  private readonly attempts: Readonly<Record<Result, { count: number; durations: Histogram }>>;
  private readonly victims = new Histogram(VICTIMS);
  private preemptions = 0;

  constructor(profile: string, pending: () => SchedulingQueue['size']) {
    this.profile = profile;
    this.pending = pending;
    const fresh = () => ({ count: 0, durations: new Histogram(DURATIONS) });
    this.attempts = { scheduled: fresh(), unschedulable: fresh(), error: fresh() };
  }

  attempted(result: Result, milliseconds: number): void {
    const attempt = this.attempts[result];
    attempt.count += 1;
    attempt.durations.observe(milliseconds / 1000);
  }

  preempted(victims: number): void {
    this.preemptions += 1;
    if (victims > 0) this.victims.observe(victims);
  }

  *metrics(): Iterable<MetricFamily> {
    const { profile } = this;
    const counter = 'scheduler_schedule_attempts_total';
    yield {
      name: counter,
      type: 'counter',
      help: 'Attempts to schedule a pod, by result.',
      samples: RESULTS.map((result) => sample(counter, { profile, result }, this.attempts[result].count)),
    };
    const duration = 'scheduler_scheduling_attempt_duration_seconds';
    yield {
      name: duration,
      type: 'histogram',
      help: 'How long an attempt took, its binding included.',
      samples: RESULTS.flatMap((result) => [
        ...this.attempts[result].durations.samples(duration, { profile, result }),
      ]),
    };
    const pending = 'scheduler_pending_pods';
    const { active, backoff, waiting, gated } = this.pending();
    yield {
      name: pending,
      type: 'gauge',
      help: 'Pods without a node, by queue.',
      samples: Object.entries({ active, backoff, gated, unschedulable: waiting - gated }).map(
        ([queue, count]) => sample(pending, { queue }, count),
      ),
    };
    const preemptions = 'scheduler_preemption_attempts_total';
    yield {
      name: preemptions,
      type: 'counter',
      help: 'Attempts to make room for a pod.',
      samples: [sample(preemptions, {}, this.preemptions)],
    };
    const victims = 'scheduler_preemption_victims';
    yield {
      name: victims,
      type: 'histogram',
      help: 'Pods that had to go for another one.',
      samples: this.victims.samples(victims, {}),
    };
  }
}
