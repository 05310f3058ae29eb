// Metrics in Prometheus' text format, under the names and labels of Kubernetes' API server, so that its dashboards and
// alerts work. Labels are bounded: what the catalogue names, and verbs. A series costs about 300 bytes.
import { isMutating, type RequestLabels } from './request-labels.ts';

/** Upper bounds in seconds; those of apiserver_request_duration_seconds. */
const BUCKETS = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
];

interface Histogram {
  /** By bucket; the last is +Inf. */
  counts: Uint32Array;
  sum: number;
}

/** What is measured elsewhere. */
export interface Gauges {
  cpuSeconds: number;
  residentBytes: number;
  /** Seconds since 1970. */
  startedAt: number;
  openFiles: number | undefined;
  heapBytes: number;
  gitVersion: string;
  platform: string;
  /** How many objects there are of each resource. */
  objects: Iterable<readonly [resource: string, count: number]>;
  audit: { written: number; lost: number } | undefined;
}

export class RequestMetrics {
  private readonly totals = new Map<string, number>();
  private readonly durations = new Map<string, Histogram>();
  private readonly longRunning = new Map<string, number>();
  private readonly inFlight = { mutating: 0, readOnly: 0 };

  /** A request is in work; returns what ends that. */
  begin(method: string): () => void {
    const kind = isMutating(method) ? 'mutating' : 'readOnly';
    this.inFlight[kind] += 1;
    return () => {
      this.inFlight[kind] -= 1;
    };
  }

  /** A watch or stream stands; returns what ends that. */
  open(labels: RequestLabels): () => void {
    const key = labelText(labels);
    this.longRunning.set(key, (this.longRunning.get(key) ?? 0) + 1);
    return () => this.longRunning.set(key, (this.longRunning.get(key) ?? 1) - 1);
  }

  /** `seconds` undefined: how long it took says nothing (watches). */
  count(labels: RequestLabels, code: number, dryRun: boolean, seconds: number | undefined): void {
    const dry = `dry_run="${dryRun ? 'All' : ''}"`;
    const key = `code="${code}",${dry},${labelText(labels)}`;
    this.totals.set(key, (this.totals.get(key) ?? 0) + 1);
    if (seconds === undefined) return;
    const series = `${dry},${labelText(labels)}`;
    const histogram = this.durations.get(series) ?? { counts: new Uint32Array(BUCKETS.length + 1), sum: 0 };
    const found = BUCKETS.findIndex((bound) => seconds <= bound);
    const index = found < 0 ? BUCKETS.length : found;
    histogram.counts[index] = (histogram.counts[index] ?? 0) + 1;
    histogram.sum += seconds;
    this.durations.set(series, histogram);
  }

  text(gauges: Gauges): string {
    const lines: string[] = [];
    const family = (name: string, type: string, help: string, samples: Iterable<string>): void => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples);
    };
    const gauge = (name: string, help: string, value: number | undefined, type = 'gauge'): void => {
      if (value !== undefined) family(name, type, help, [`${name} ${value}`]);
    };
    family(
      'apiserver_request_total',
      'counter',
      'Requests by verb, resource, scope and HTTP status code.',
      samples('apiserver_request_total', this.totals),
    );
    family(
      'apiserver_request_duration_seconds',
      'histogram',
      'How long requests took to be answered, without watches and streams.',
      this.histograms(),
    );
    family('apiserver_current_inflight_requests', 'gauge', 'Requests in work now.', [
      `apiserver_current_inflight_requests{request_kind="mutating"} ${this.inFlight.mutating}`,
      `apiserver_current_inflight_requests{request_kind="readOnly"} ${this.inFlight.readOnly}`,
    ]);
    family(
      'apiserver_longrunning_requests',
      'gauge',
      'Open watches and streams.',
      samples('apiserver_longrunning_requests', this.longRunning),
    );
    family(
      'apiserver_storage_objects',
      'gauge',
      'Stored objects by resource.',
      [...gauges.objects].map(
        ([resource, count]) => `apiserver_storage_objects{resource="${resource}"} ${count}`,
      ),
    );
    gauge('apiserver_audit_event_total', 'Audit events logged.', gauges.audit?.written, 'counter');
    gauge('apiserver_audit_error_total', 'Audit events lost.', gauges.audit?.lost, 'counter');
    family('kubernetes_build_info', 'gauge', 'A constant 1, labelled by the version.', [
      `kubernetes_build_info{git_version="${gauges.gitVersion}",major="1",minor="36",platform="${gauges.platform}"} 1`,
    ]);
    gauge('process_cpu_seconds_total', 'CPU time used, in seconds.', gauges.cpuSeconds, 'counter');
    gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', gauges.residentBytes);
    gauge('process_start_time_seconds', 'Start of the process, in seconds since 1970.', gauges.startedAt);
    gauge('process_open_fds', 'Open file descriptors.', gauges.openFiles);
    gauge('nodejs_heap_size_used_bytes', 'Bytes of JavaScript objects.', gauges.heapBytes);
    return `${lines.join('\n')}\n`;
  }

  private *histograms(): Iterable<string> {
    const name = 'apiserver_request_duration_seconds';
    for (const [labels, { counts, sum }] of this.durations) {
      let total = 0;
      for (const [index, count] of counts.entries()) {
        total += count;
        yield `${name}_bucket{${labels},le="${BUCKETS[index] ?? '+Inf'}"} ${total}`;
      }
      yield `${name}_sum{${labels}} ${sum}`;
      yield `${name}_count{${labels}} ${total}`;
    }
  }
}

function* samples(name: string, values: ReadonlyMap<string, number>): Iterable<string> {
  for (const [labels, value] of values) yield `${name}{${labels}} ${value}`;
}

function labelText({ verb, group, version, resource, subresource, scope }: RequestLabels): string {
  return `component="apiserver",group="${group}",resource="${resource}",scope="${scope}",subresource="${subresource}",verb="${verb}",version="${version}"`;
}
