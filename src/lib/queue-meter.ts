import { Histogram, type Metered, type MetricFamily, QUEUE_BUCKETS, sample } from './metrics.ts';

/** What a work queue tells, under the names of client-go's. */
export class QueueMeter implements Metered {
  private readonly name: string;
  private readonly depth: () => number;
  private readonly latency = new Histogram(QUEUE_BUCKETS);
  private readonly work = new Histogram(QUEUE_BUCKETS);
  private adds = 0;
  private retries = 0;

  /** `depth`: how many keys wait now. */
  constructor(name: string, depth: () => number) {
    this.name = name;
    this.depth = depth;
  }

  added(): void {
    this.adds += 1;
  }

  retried(): void {
    this.retries += 1;
  }

  /** Milliseconds that a key waited before its work began. */
  waited(milliseconds: number): void {
    this.latency.observe(milliseconds / 1000);
  }

  worked(milliseconds: number): void {
    this.work.observe(milliseconds / 1000);
  }

  *metrics(): Iterable<MetricFamily> {
    const labels = { name: this.name };
    const one = (name: string, type: MetricFamily['type'], help: string, value: number): MetricFamily => ({
      name,
      type,
      help,
      samples: [sample(name, labels, value)],
    });
    yield one('workqueue_adds_total', 'counter', 'Keys that were queued.', this.adds);
    yield one('workqueue_depth', 'gauge', 'Keys that wait.', this.depth());
    yield one(
      'workqueue_retries_total',
      'counter',
      'Keys that were queued again after a failure.',
      this.retries,
    );
    const latency = 'workqueue_queue_duration_seconds';
    yield {
      name: latency,
      type: 'histogram',
      help: 'How long keys waited before their work began.',
      samples: this.latency.samples(latency, labels),
    };
    const work = 'workqueue_work_duration_seconds';
    yield {
      name: work,
      type: 'histogram',
      help: 'How long the work on a key took.',
      samples: this.work.samples(work, labels),
    };
  }
}
