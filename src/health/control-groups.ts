import { readFile } from 'node:fs/promises';

export interface Group {
  /** Directories of the control group for each controller: one and the same in version 2. */
  cpu: string;
  memory: string;
  pids: string | undefined;
  version: 1 | 2;
}

/** What processes use, from the control group that one of them is in (version 1 and 2). */
export class ControlGroups {
  private readonly root: string;

  /** `root`: where /proc and /sys are, other than / in tests. */
  constructor(root = '') {
    this.root = root;
  }

  /** Memory (working set, bytes) and processes of the group that `pid` is in; absent when it is gone. */
  async of(pid: number): Promise<{ memory?: number; pids?: number }> {
    const group = await this.find(pid);
    if (!group) return {};
    const [memory, pids] = await Promise.all([this.workingSet(group), this.pids(group)]);
    return { ...(memory === undefined ? {} : { memory }), ...(pids === undefined ? {} : { pids }) };
  }

  async find(pid: number): Promise<Group | undefined> {
    return groupFiles(await this.text(`/proc/${pid}/cgroup`));
  }

  async cpuSeconds({ cpu, version }: Group): Promise<number | undefined> {
    if (version === 2) {
      const used = Number(/^usage_usec (\d+)$/m.exec(await this.text(`${cpu}/cpu.stat`))?.[1] ?? Number.NaN);
      return Number.isFinite(used) ? used / 1e6 : undefined;
    }
    const text = (await this.text(`${cpu}/cpuacct.usage`)).trim();
    return /^\d+$/.test(text) ? Number(text) / 1e9 : undefined;
  }

  /** What cannot be given back at once: use less the file pages that nobody touched lately (as cAdvisor counts). */
  async workingSet({ memory, version }: Group): Promise<number | undefined> {
    const [usage, stat] = await Promise.all([
      this.text(`${memory}/${version === 2 ? 'memory.current' : 'memory.usage_in_bytes'}`),
      this.text(`${memory}/memory.stat`),
    ]);
    if (!/^\d+$/.test(usage.trim())) return undefined;
    const field = version === 2 ? /^inactive_file (\d+)$/m : /^total_inactive_file (\d+)$/m;
    return Math.max(0, Number(usage) - Number(field.exec(stat)?.[1] ?? 0));
  }

  private async pids({ pids }: Group): Promise<number | undefined> {
    const text = pids === undefined ? '' : (await this.text(`${pids}/pids.current`)).trim();
    return /^\d+$/.test(text) ? Number(text) : undefined;
  }

  /** Empty when it is gone: containers end. */
  private text(path: string): Promise<string> {
    return readFile(`${this.root}${path}`, 'utf8').catch(() => '');
  }
}

/** Where the groups of a process are, from its /proc/<pid>/cgroup; undefined when it does not tell. */
export function groupFiles(text: string): Group | undefined {
  let unified: string | undefined;
  let cpu: string | undefined;
  let memory: string | undefined;
  let pids: string | undefined;
  for (const line of text.split('\n')) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    // Outside of this process's own namespace of groups: its files cannot be reached.
    if (path === '' || path.startsWith('/..')) continue;
    const names = controllers.split(',');
    if (controllers === '') unified = `/sys/fs/cgroup${path}`;
    if (names.includes('cpuacct')) cpu = `/sys/fs/cgroup/${controllers}${path}`;
    if (names.includes('memory')) memory = `/sys/fs/cgroup/memory${path}`;
    if (names.includes('pids')) pids = `/sys/fs/cgroup/pids${path}`;
  }
  if (cpu !== undefined && memory !== undefined) return { cpu, memory, pids, version: 1 };
  return unified === undefined ? undefined : { cpu: unified, memory: unified, pids: unified, version: 2 };
}
