import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';

/** One measured number. `budget` and `against` are texts that stand beside it in the table. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** The design's budget, as a number in the same unit; `at most` unless `atLeast`. */
  budget?: number;
  atLeast?: boolean;
}

export interface Report {
  bench: string;
  machine: string;
  date: string;
  figures: Figure[];
}

export function machine(): string {
  const [first] = cpus();
  const gigabytes = (totalmem() / 2 ** 30).toFixed(0);
  return `${cpus().length} x ${first?.model ?? process.arch}, ${gigabytes} GiB, Linux ${release()}, Node ${process.version}`;
}

/** The flags that every bench takes: --json FILE. */
export function jsonFlag(): string | undefined {
  return parseArgs({ options: { json: { type: 'string' } }, strict: false }).values.json as
    | string
    | undefined;
}

/** Prints the table, and writes JSON where asked to. */
export function publish(bench: string, figures: readonly Figure[], now: number, file = jsonFlag()): void {
  const report: Report = {
    bench,
    machine: machine(),
    date: new Date(now).toISOString(),
    figures: [...figures],
  };
  console.log(`${bench}: ${report.machine}`);
  for (const { name, value, unit, budget, atLeast } of figures) {
    const verdict =
      budget === undefined
        ? ''
        : `  budget ${atLeast ? '>=' : '<='} ${format(budget)} ${met(value, budget, atLeast)}`;
    console.log(`  ${name.padEnd(58)} ${format(value).padStart(12)} ${unit}${verdict}`);
  }
  if (file) writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}

function met(value: number, budget: number, atLeast: boolean | undefined): string {
  return (atLeast ? value >= budget : value <= budget) ? 'met' : 'MISSED';
}

function format(value: number): string {
  if (value < 10) return value.toFixed(2);
  return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en');
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** What /proc tells of a process: resident bytes, CPU seconds used so far, bytes handed to the disk so far. */
export function processUsage(pid: number): { resident: number; cpuSeconds: number; written: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  // Fields 14 and 15, counted after the command in parentheses, in clock ticks of 1/100 s (proc(5)).
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / 100;
  const io = readFileSync(`/proc/${pid}/io`, 'utf8');
  return { resident, cpuSeconds, written: Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0) };
}

/** Forgets the peak of a process's resident memory, so that `peakMemory` tells of what comes now (proc(5), clear_refs). */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** The most resident bytes since the process began, or since `resetPeak`. */
export function peakMemory(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
