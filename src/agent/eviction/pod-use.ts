import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../../api/types/core-v1.ts';
import { ControlGroups } from '../../health/control-groups.ts';
import type { ContainerRuntime } from '../runtime.ts';
import { directoryUse } from '../volumes/directory-use.ts';
import { emptyDirPath } from '../volumes/empty-dir.ts';
import type { ActivePod, ContainerUse, PodUse } from './port.ts';
import type { Starved } from './rank.ts';

/** Measures what pods use. Memory and processes are two small files a container; storage is walked through. */
export class PodUseMeter {
  private readonly runtime: Pick<ContainerRuntime, 'writableBytes'>;
  private readonly podsDirectory: string;
  private readonly engineDirectory: () => string | undefined;
  private readonly groups: ControlGroups;

  constructor(options: {
    runtime: Pick<ContainerRuntime, 'writableBytes'>;
    podsDirectory: string;
    /** Docker's data directory: its log files are there. */
    engineDirectory: () => string | undefined;
  }) {
    this.runtime = options.runtime;
    this.podsDirectory = options.podsDirectory;
    this.engineDirectory = options.engineDirectory;
    this.groups = new ControlGroups();
  }

  /** What is needed to rank for one resource, by pod uid. One after another: the board is short of something already. */
  async measure(pods: readonly ActivePod[], starved: Starved): Promise<Map<string, PodUse>> {
    const uses = new Map<string, PodUse>();
    for (const active of pods) {
      const use =
        starved === 'memory' || starved === 'pids' ? await this.running(active) : await this.storage(active);
      uses.set(active.pod.metadata.uid ?? '', use);
    }
    return uses;
  }

  private async running({ containers }: ActivePod): Promise<PodUse> {
    const uses = new Map<string, ContainerUse>();
    for (const { name, pid } of containers) {
      if (pid === undefined) continue;
      const { memory, pids } = await this.groups.of(pid);
      uses.set(name, {
        ...(memory === undefined ? {} : { memory }),
        ...(pids === undefined ? {} : { pids }),
      });
    }
    return { containers: uses, volumes: new Map() };
  }

  /** Writable layers, logs and emptyDirs on disk. */
  async storage({ pod, containers }: ActivePod): Promise<PodUse> {
    const uses = new Map<string, ContainerUse>();
    for (const { id, name } of containers) {
      const writable = await this.runtime.writableBytes(id).catch(() => undefined);
      uses.set(name, { logs: await this.logBytes(id), ...(writable === undefined ? {} : { writable }) });
    }
    return { containers: uses, volumes: await this.volumes(pod) };
  }

  private async volumes(pod: Pod): Promise<PodUse['volumes']> {
    const uses = new Map<string, { bytes: number; inodes: number }>();
    for (const { name, emptyDir } of pod.spec?.volumes ?? []) {
      if (!emptyDir || emptyDir.medium === 'Memory') continue;
      const use = await directoryUse(emptyDirPath(this.podsDirectory, pod.metadata.uid ?? '', name));
      if (use) uses.set(name, use);
    }
    return uses;
  }

  private async logBytes(id: string): Promise<number> {
    const engine = this.engineDirectory();
    if (engine === undefined) return 0;
    const directory = join(engine, 'containers', id);
    let sum = 0;
    for (const file of await readdir(directory).catch(() => [])) {
      if (!file.startsWith(`${id}-json.log`)) continue;
      sum += await stat(join(directory, file)).then(
        ({ blocks }) => blocks * 512,
        () => 0,
      );
    }
    return sum;
  }
}
