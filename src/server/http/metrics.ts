/** A few of the apiserver's metrics, in Prometheus' text format. Labels are bounded: resources of the catalogue and verbs. */
export class RequestMetrics {
  private readonly requests = new Map<string, number>();

  count(verb: string, resource: string, code: number): void {
    const key = `verb="${verb}",resource="${resource}",code="${code}"`;
    this.requests.set(key, (this.requests.get(key) ?? 0) + 1);
  }

  text(gauges: { inFlight: number; watches: number; residentBytes: number }): string {
    const lines = [
      '# HELP apiserver_request_total Requests by verb, resource and HTTP status code.',
      '# TYPE apiserver_request_total counter',
      ...[...this.requests].map(([labels, count]) => `apiserver_request_total{${labels}} ${count}`),
      '# HELP apiserver_current_inflight_requests Requests in work now.',
      '# TYPE apiserver_current_inflight_requests gauge',
      `apiserver_current_inflight_requests ${gauges.inFlight}`,
      '# HELP apiserver_longrunning_requests Open watches.',
      '# TYPE apiserver_longrunning_requests gauge',
      `apiserver_longrunning_requests{verb="WATCH"} ${gauges.watches}`,
      '# HELP process_resident_memory_bytes Resident memory size in bytes.',
      '# TYPE process_resident_memory_bytes gauge',
      `process_resident_memory_bytes ${gauges.residentBytes}`,
    ];
    return `${lines.join('\n')}\n`;
  }
}
