// Numbers for Prometheus, in its text format: families of samples, and histograms that cost some bytes for each bucket.

export interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Lines of the text format. */
  readonly samples: Iterable<string>;
}

/** A part that has numbers to tell. */
export interface Metered {
  metrics(): Iterable<MetricFamily>;
}

export function isMetered(part: object): part is Metered {
  return 'metrics' in part && typeof part.metrics === 'function';
}

export type Labels = Readonly<Record<string, string>>;

/** `name{a="b"} 1` */
export function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

/** Kubernetes' buckets for queues: 10 ns to 10 s, in seconds. */
export const QUEUE_BUCKETS = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10];

/** `count` bounds, each `factor` times the one before. */
export function exponentialBuckets(start: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => start * factor ** index);
}

export class Histogram {
  private readonly bounds: readonly number[];
  /** By bucket; the last is +Inf. */
  private readonly counts: Uint32Array;
  private sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Uint32Array(bounds.length + 1);
  }

  observe(value: number): void {
    let index = 0;
    while (index < this.bounds.length && value > (this.bounds[index] as number)) index += 1;
    this.counts[index] = (this.counts[index] ?? 0) + 1;
    this.sum += value;
  }

  *samples(name: string, labels: Labels): Iterable<string> {
    let total = 0;
    for (const [index, count] of this.counts.entries()) {
      total += count;
      const le = index < this.bounds.length ? String(this.bounds[index]) : '+Inf';
      yield sample(`${name}_bucket`, { ...labels, le }, total);
    }
    yield sample(`${name}_sum`, labels, this.sum);
    yield sample(`${name}_count`, labels, total);
  }
}

/** Families of several parts as text; those of one name are put together, as the format demands. */
export function metricText(parts: Iterable<Metered>): string {
  const families = new Map<string, { family: MetricFamily; lines: string[] }>();
  for (const part of parts) {
    for (const family of part.metrics()) {
      const known = families.get(family.name) ?? { family, lines: [] };
      families.set(family.name, known);
      known.lines.push(...family.samples);
    }
  }
  let text = '';
  for (const { family, lines } of families.values()) {
    text += `# HELP ${family.name} ${family.help}\n# TYPE ${family.name} ${family.type}\n`;
    for (const line of lines) text += `${line}\n`;
  }
  return text;
}
