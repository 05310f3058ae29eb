import { readdirSync } from 'node:fs';
import type { Clock } from '../../lib/clock.ts';
import type { Gauges } from './metrics.ts';

/** What Prometheus' process_* metrics tell. */
export function processGauges(
  clock: Clock,
): Pick<Gauges, 'cpuSeconds' | 'residentBytes' | 'startedAt' | 'openFiles' | 'heapBytes' | 'platform'> {
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    startedAt: clock.now() / 1000 - process.uptime(),
    openFiles: openFiles(),
    heapBytes: process.memoryUsage().heapUsed,
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}

function openFiles(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}
