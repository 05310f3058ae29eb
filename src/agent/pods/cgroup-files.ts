import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../../api/types/core-v1.ts';
import type { Logger } from '../../lib/logger.ts';
import { identity } from '../names.ts';
import {
  ALL_PODS,
  type CgroupDriver,
  type CgroupLimits,
  type CgroupPath,
  type CgroupVersion,
  cgroupDirectory,
  cgroupParent,
  isCgroupName,
  largerLimits,
  limitFiles,
  type PodCgroups,
  podCgroup,
  podCgroupLimits,
  qosCgroup,
  qosOf,
  sharesOf,
  sliceProperties,
} from './cgroups.ts';
import type { QosClass } from './qos.ts';

const CLASSES: readonly QosClass[] = ['Guaranteed', 'Burstable', 'BestEffort'];
/** A change of a class' weight by less than this factor is left out where it is dear. */
const NOTICEABLE = 1.5;
/** A container's own group goes a moment after its last process. */
const BUSY = new Set(['EBUSY', 'ENOTEMPTY']);

export interface CgroupSetup {
  driver: CgroupDriver;
  version: CgroupVersion;
}

interface Known {
  qos: QosClass;
  limits: CgroupLimits;
}

/**
 * PodCgroups in /sys/fs/cgroup, or through systemd where that rules the hierarchy. Limits of pods are a second line
 * behind those of their containers: where they cannot be set the pod runs all the same, and `onUnlimited` is told when
 * the pod asked for limits as a whole.
 */
export class CgroupFiles implements PodCgroups {
  private readonly engine: () => Promise<CgroupSetup | undefined>;
  private readonly root: string;
  private readonly cores: number;
  private readonly logger: Logger;
  private readonly systemctl: (args: string[]) => Promise<void>;
  private readonly onUnlimited: (pod: Pod, reason: string) => void;
  private readonly known = new Map<string, Known>();
  private setup: Promise<(CgroupSetup & { hierarchies: string[] }) | undefined> | undefined;
  private classShares = 0;

  constructor(options: {
    /** How the engine makes groups; undefined: not so that pods could have theirs. Rejects while the engine is away. */
    engine: () => Promise<CgroupSetup | undefined>;
    /** /sys/fs/cgroup. */
    root: string;
    cores: number;
    logger: Logger;
    systemctl: (args: string[]) => Promise<void>;
    onUnlimited: (pod: Pod, reason: string) => void;
  }) {
    this.engine = options.engine;
    this.root = options.root;
    this.cores = options.cores;
    this.logger = options.logger;
    this.systemctl = options.systemctl;
    this.onUnlimited = options.onUnlimited;
  }

  async prepare(pod: Pod): Promise<string | undefined> {
    const setup = await this.ready();
    const { uid } = identity(pod);
    if (!setup || !isCgroupName(uid)) return undefined;
    await this.set(pod, podCgroupLimits(pod), setup);
    return cgroupParent(podCgroup(uid, qosOf(pod)), setup.driver);
  }

  async parent(pod: Pod): Promise<string | undefined> {
    const setup = await this.ready();
    const { uid } = identity(pod);
    if (!setup || !isCgroupName(uid)) return undefined;
    this.note(uid, { qos: qosOf(pod), limits: podCgroupLimits(pod) });
    return cgroupParent(podCgroup(uid, qosOf(pod)), setup.driver);
  }

  adopt(pod: Pod): void {
    this.note(identity(pod).uid, { qos: qosOf(pod), limits: podCgroupLimits(pod) });
  }

  async grow(pod: Pod): Promise<void> {
    const setup = await this.ready();
    const before = this.known.get(identity(pod).uid)?.limits;
    if (setup && before) await this.set(pod, largerLimits(before, podCgroupLimits(pod)), setup);
  }

  async apply(pod: Pod): Promise<void> {
    const setup = await this.ready();
    if (setup && this.known.has(identity(pod).uid)) await this.set(pod, podCgroupLimits(pod), setup);
  }

  async remove(podUid: string): Promise<void> {
    const setup = await this.ready();
    if (!setup || !isCgroupName(podUid)) return;
    this.known.delete(podUid);
    for (const qos of CLASSES) {
      const path = podCgroup(podUid, qos);
      const directory = cgroupDirectory(path, setup.driver);
      const present = await Promise.all(setup.hierarchies.map((each) => exists(join(each, directory))));
      if (!present.includes(true)) continue;
      if (setup.driver === 'systemd') {
        const unit = cgroupParent(path, 'systemd');
        await this.systemctl(['stop', unit]);
        await this.systemctl(['revert', unit]).catch(() => {});
      } else {
        await Promise.all(setup.hierarchies.map((each) => removeTree(join(each, directory))));
      }
    }
    await this.weighClasses(setup);
  }

  private async set(
    pod: Pod,
    limits: CgroupLimits,
    setup: CgroupSetup & { hierarchies: string[] },
  ): Promise<void> {
    const { uid } = identity(pod);
    const qos = qosOf(pod);
    this.note(uid, { qos, limits });
    try {
      // Pods that ask for nothing are equal among themselves as they are.
      const dear = setup.driver === 'systemd' && qos === 'BestEffort';
      if (!dear) await this.write(podCgroup(uid, qos), limits, setup);
    } catch (error) {
      const { message } = error as Error;
      this.logger.warn({ pod: uid, error: message }, 'the limits of a pod as a whole were not set');
      if (pod.spec?.resources?.limits) this.onUnlimited(pod, message);
    }
    await this.weighClasses(setup).catch((error: Error) => {
      this.logger.warn({ error: error.message }, 'the weight of a QoS class was not set');
    });
  }

  private note(uid: string, known: Known): void {
    this.known.set(uid, known);
  }

  /** Burstable pods get together what they request, whatever they use; BestEffort ones what is left. */
  private async weighClasses(setup: CgroupSetup & { hierarchies: string[] }): Promise<void> {
    let shares = 0;
    for (const { qos, limits } of this.known.values()) if (qos === 'Burstable') shares += limits.cpuShares;
    shares = Math.max(2, shares);
    if (shares === this.classShares) return;
    // Each call of systemctl is a process: about right is good enough there.
    const change = shares / Math.max(1, this.classShares);
    if (setup.driver === 'systemd' && change < NOTICEABLE && change > 1 / NOTICEABLE) return;
    this.classShares = shares;
    await this.write(qosCgroup('Burstable'), { cpuShares: shares }, setup);
    await this.write(qosCgroup('BestEffort'), { cpuShares: 2 }, setup);
  }

  private async write(
    path: CgroupPath,
    limits: CgroupLimits,
    { driver, version, hierarchies }: CgroupSetup & { hierarchies: string[] },
  ): Promise<void> {
    if (driver === 'systemd') {
      // Slices need no unit file: it is known from its name, and begins with the first container in it.
      const unit = cgroupParent(path, driver);
      await this.systemctl(['set-property', '--runtime', unit, ...sliceProperties(limits, version)]);
      return;
    }
    const files = limitFiles(limits, version);
    for (const { controller, name, value } of files) {
      const hierarchy =
        version === 2 ? hierarchies[0] : hierarchies.find((each) => controllersOf(each).includes(controller));
      if (hierarchy === undefined) continue;
      const directory = join(hierarchy, cgroupDirectory(path, driver));
      await mkdir(directory, { recursive: true });
      if (version === 2) await enableControllers(hierarchy, path);
      await writeFile(join(directory, name), value);
    }
  }

  private async ready(): Promise<(CgroupSetup & { hierarchies: string[] }) | undefined> {
    this.setup ??= this.begin();
    try {
      return await this.setup;
    } catch (error) {
      this.setup = undefined;
      throw error;
    }
  }

  /** Looks at the machine once. */
  private async begin(): Promise<(CgroupSetup & { hierarchies: string[] }) | undefined> {
    const engine = await this.engine();
    if (!engine) return undefined;
    try {
      const hierarchies = engine.version === 2 ? [this.root] : await this.hierarchies();
      const setup = { ...engine, hierarchies };
      await this.write(ALL_PODS, { cpuShares: sharesOf(this.cores * 1000) }, setup);
      return setup;
    } catch (error) {
      this.logger.warn(
        { error: (error as Error).message },
        'control groups cannot be made here: containers are limited, pods as a whole are not',
      );
      return undefined;
    }
  }

  /**
   * Version 1: a directory for each hierarchy (the names of single controllers may be links to them), and `unified`,
   * where runc makes groups too.
   */
  private async hierarchies(): Promise<string[]> {
    const entries = await readdir(this.root, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(this.root, name));
  }
}

const controllersOf = (hierarchy: string): string[] =>
  hierarchy.slice(hierarchy.lastIndexOf('/') + 1).split(',');

/** Version 2: a controller works in a group when each group above has it switched on for its children. */
async function enableControllers(root: string, path: CgroupPath): Promise<void> {
  for (let depth = 0; depth < path.length; depth += 1) {
    const file = join(root, ...path.slice(0, depth), 'cgroup.subtree_control');
    for (const controller of ['cpu', 'memory', 'pids', 'cpuset', 'io']) {
      // One that the kernel does not have is not missed; where cpu or memory is, the write of the limit fails.
      await writeFile(file, `+${controller}`).catch(() => {});
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return await readdir(path).then(
    () => true,
    () => false,
  );
}

/** Groups are directories that only rmdir takes away, children first. */
async function removeTree(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(path, entry.name));
  await rmdir(path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return;
    if (!BUSY.has(error.code ?? '')) throw error;
    await endProcesses(path);
    throw new Error(`${path} is still in use`);
  });
}

/**
 * No container of the pod is left, says the engine; one that was killed itself may have lost some. What still runs is ended,
 * as the kubelet does it; the next attempt finds the group empty.
 */
async function endProcesses(path: string): Promise<void> {
  const text = await readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => '');
  for (const line of text.split('\n')) {
    const pid = Number(line);
    // 0 stands for a process of another pid namespace.
    if (!Number.isInteger(pid) || pid <= 1) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
