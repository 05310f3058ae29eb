import { readFileSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import type { Reading, Readings } from './pressure.ts';

/**
 * Reads the eviction signals of this board: three small files of /proc and statfs(2) of two file systems. Nothing is
 * written, and no process started.
 */
export class SignalReader {
  private readonly root: string;
  private readonly nodeDirectory: string;
  private readonly imageDirectory: () => string | undefined;
  private pidCapacity: number | undefined;

  constructor(options: {
    /** The file system of pods' volumes. */
    nodeDirectory: string;
    /** Docker's data directory, once it is known. */
    imageDirectory: () => string | undefined;
    /** Where /proc is, other than / in tests. */
    root?: string;
  }) {
    this.nodeDirectory = options.nodeDirectory;
    this.imageDirectory = options.imageDirectory;
    this.root = options.root ?? '';
  }

  async read(): Promise<Readings> {
    const image = this.imageDirectory();
    const [pids, node, images] = await Promise.all([
      this.pids(),
      fileSystem(this.nodeDirectory),
      image === undefined ? undefined : fileSystem(image),
    ]);
    const memory = this.memory();
    return {
      ...(memory ? { 'memory.available': memory } : {}),
      ...(node ? { 'nodefs.available': node.space, 'nodefs.inodesFree': node.inodes } : {}),
      ...(images ? { 'imagefs.available': images.space, 'imagefs.inodesFree': images.inodes } : {}),
      ...(pids ? { 'pid.available': pids } : {}),
    };
  }

  /** Alone and at once: this is what is looked at several times a second when memory is near its end. */
  memory(): Reading | undefined {
    try {
      return parseMemory(readFileSync(`${this.root}/proc/meminfo`, 'utf8'));
    } catch {
      return undefined;
    }
  }

  private async pids(): Promise<Reading | undefined> {
    try {
      this.pidCapacity ??= Math.min(
        Number(await readFile(`${this.root}/proc/sys/kernel/pid_max`, 'utf8')),
        Number(await readFile(`${this.root}/proc/sys/kernel/threads-max`, 'utf8')),
      );
      return parsePids(await readFile(`${this.root}/proc/loadavg`, 'utf8'), this.pidCapacity);
    } catch {
      return undefined;
    }
  }
}

/** Total and MemAvailable (kernels from 3.14 on have it) in bytes. */
export function parseMemory(meminfo: string): Reading | undefined {
  const capacity = /^MemTotal:\s+(\d+) kB$/m.exec(meminfo)?.[1];
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1];
  if (capacity === undefined || available === undefined) return undefined;
  return { available: Number(available) * 1024, capacity: Number(capacity) * 1024 };
}

/** `0.10 0.20 0.30 2/345 6789`: 345 is what the kernel schedules, threads included. */
export function parsePids(loadavg: string, capacity: number): Reading | undefined {
  const used = / \d+\/(\d+) /.exec(loadavg)?.[1];
  if (used === undefined || !Number.isFinite(capacity)) return undefined;
  return { available: Math.max(0, capacity - Number(used)), capacity };
}

async function fileSystem(path: string): Promise<{ space: Reading; inodes: Reading } | undefined> {
  try {
    const { blocks, bavail, bsize, files, ffree } = await statfs(path);
    return {
      space: { available: bavail * bsize, capacity: blocks * bsize },
      inodes: { available: ffree, capacity: files },
    };
  } catch {
    return undefined;
  }
}
