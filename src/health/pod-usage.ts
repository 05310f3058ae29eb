import { readFile } from 'node:fs/promises';
import type { Clock } from '../lib/clock.ts';

/** A container as it runs: the pid of its main process tells its control group. */
export interface RunningContainer {
  id: string;
  podUid: string;
  name: string;
  pid: number;
}

/** CPU in cores over the time since the reading before, and the working set in bytes. */
export type ContainerUse = [cpu: number, memory: number];

export interface PodUses {
  /** Milliseconds over which the CPU was measured. */
  windowMs: number;
  /** Pod uid -> container -> use. */
  pods: Record<string, Record<string, ContainerUse>>;
}

interface Before {
  cpuSeconds: number;
  at: number;
}

interface Files {
  /** Path of the group's directory for CPU, and for memory: one in version 2. */
  cpu: string;
  memory: string;
  version: 1 | 2;
}

/**
 * Measures what containers use, from their control groups (version 1 and 2). A container counts from its second reading
 * on: its CPU is a difference. Asked for only while somebody wants to know; it costs three small files for each container.
 */
export class PodMeter {
  private readonly clock: Clock;
  private readonly root: string;
  private readonly before = new Map<string, Before>();
  private readonly files = new Map<string, Files>();
  private lastAt: number | undefined;

  constructor(options: {
    clock: Clock;
    /** Where /proc and /sys are, other than / in tests. */
    root?: string;
  }) {
    this.clock = options.clock;
    this.root = options.root ?? '';
  }

  async measure(containers: readonly RunningContainer[]): Promise<PodUses> {
    const now = this.clock.monotonic();
    const windowMs = this.lastAt === undefined ? 0 : now - this.lastAt;
    this.lastAt = now;
    const pods: PodUses['pods'] = {};
    const present = new Set<string>();
    for (const container of containers) {
      const key = `${container.id}/${container.pid}`;
      present.add(key);
      const use = await this.read(container, key, now);
      if (!use) continue;
      const pod = pods[container.podUid] ?? {};
      pods[container.podUid] = pod;
      pod[container.name] = use;
    }
    for (const map of [this.before, this.files]) {
      for (const key of [...map.keys()]) if (!present.has(key)) map.delete(key);
    }
    return { windowMs, pods };
  }

  /** Nobody asks any more: the next reading begins anew. */
  forget(): void {
    this.before.clear();
    this.files.clear();
    this.lastAt = undefined;
  }

  private async read(
    container: RunningContainer,
    key: string,
    now: number,
  ): Promise<ContainerUse | undefined> {
    let files = this.files.get(key);
    if (!files) {
      files = groupFiles(await this.text(`/proc/${container.pid}/cgroup`));
      if (!files) return undefined;
      this.files.set(key, files);
    }
    const cpuSeconds = await this.cpuSeconds(files);
    const memory = await this.workingSet(files);
    if (cpuSeconds === undefined || memory === undefined) return undefined;
    const before = this.before.get(key);
    this.before.set(key, { cpuSeconds, at: now });
    const elapsed = before ? (now - before.at) / 1000 : 0;
    if (!before || elapsed <= 0) return undefined;
    return [Math.max(0, cpuSeconds - before.cpuSeconds) / elapsed, memory];
  }

  private async cpuSeconds({ cpu, version }: Files): Promise<number | undefined> {
    if (version === 2) {
      const used = Number(/^usage_usec (\d+)$/m.exec(await this.text(`${cpu}/cpu.stat`))?.[1] ?? Number.NaN);
      return Number.isFinite(used) ? used / 1e6 : undefined;
    }
    const text = (await this.text(`${cpu}/cpuacct.usage`)).trim();
    return /^\d+$/.test(text) ? Number(text) / 1e9 : undefined;
  }

  /** What cannot be given back at once: use less the file pages that nobody touched lately (as cAdvisor counts). */
  private async workingSet({ memory, version }: Files): Promise<number | undefined> {
    const [usage, stat] = await Promise.all([
      this.text(`${memory}/${version === 2 ? 'memory.current' : 'memory.usage_in_bytes'}`),
      this.text(`${memory}/memory.stat`),
    ]);
    if (!/^\d+$/.test(usage.trim())) return undefined;
    const field = version === 2 ? /^inactive_file (\d+)$/m : /^total_inactive_file (\d+)$/m;
    return Math.max(0, Number(usage) - Number(field.exec(stat)?.[1] ?? 0));
  }

  /** Empty when it is gone: containers end. */
  private text(path: string): Promise<string> {
    return readFile(`${this.root}${path}`, 'utf8').catch(() => '');
  }
}

/** Where the groups of a process are, from its /proc/<pid>/cgroup; undefined when it does not tell. */
export function groupFiles(text: string): Files | undefined {
  let unified: string | undefined;
  let cpu: string | undefined;
  let memory: string | undefined;
  for (const line of text.split('\n')) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    // Outside of this process's own namespace of groups: its files cannot be reached.
    if (path === '' || path.startsWith('/..')) continue;
    const names = controllers.split(',');
    if (controllers === '') unified = `/sys/fs/cgroup${path}`;
    if (names.includes('cpuacct')) cpu = `/sys/fs/cgroup/${controllers}${path}`;
    if (names.includes('memory')) memory = `/sys/fs/cgroup/memory${path}`;
  }
  if (cpu !== undefined && memory !== undefined) return { cpu, memory, version: 1 };
  return unified === undefined ? undefined : { cpu: unified, memory: unified, version: 2 };
}
