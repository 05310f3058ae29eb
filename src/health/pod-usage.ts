import type { Clock } from '../lib/clock.ts';
import { ControlGroups, type Group } from './control-groups.ts';

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

/**
 * Measures what containers use, from their control groups (version 1 and 2). A container counts from its second reading
 * on: its CPU is a difference. Asked for only while somebody wants to know; it costs three small files for each container.
 */
export class PodMeter {
  private readonly clock: Clock;
  private readonly groups: ControlGroups;
  private readonly before = new Map<string, Before>();
  private readonly found = new Map<string, Group>();
  private lastAt: number | undefined;

  constructor(options: {
    clock: Clock;
    /** Where /proc and /sys are, other than / in tests. */
    root?: string;
  }) {
    this.clock = options.clock;
    this.groups = new ControlGroups(options.root);
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
    for (const map of [this.before, this.found]) {
      for (const key of [...map.keys()]) if (!present.has(key)) map.delete(key);
    }
    return { windowMs, pods };
  }

  /** Nobody asks any more: the next reading begins anew. */
  forget(): void {
    this.before.clear();
    this.found.clear();
    this.lastAt = undefined;
  }

  private async read(
    container: RunningContainer,
    key: string,
    now: number,
  ): Promise<ContainerUse | undefined> {
    let group = this.found.get(key);
    if (!group) {
      group = await this.groups.find(container.pid);
      if (!group) return undefined;
      this.found.set(key, group);
    }
    const cpuSeconds = await this.groups.cpuSeconds(group);
    const memory = await this.groups.workingSet(group);
    if (cpuSeconds === undefined || memory === undefined) return undefined;
    const before = this.before.get(key);
    this.before.set(key, { cpuSeconds, at: now });
    const elapsed = before ? (now - before.at) / 1000 : 0;
    if (!before || elapsed <= 0) return undefined;
    return [Math.max(0, cpuSeconds - before.cpuSeconds) / elapsed, memory];
  }
}
