import type { Container, Pod } from '../../api/types/core-v1.ts';
import type { ContainerMount } from '../runtime.ts';

/** The volumes of this node's pods: on disk in production, in memory in the simulation. */
export interface PodVolumes {
  /** Makes every volume of the pod ready, or brings its content up to date. Idempotent. Throws VolumeError. */
  prepare(pod: Pod): Promise<void>;
  /** Where the container's volumeMounts come from. `env` expands subPathExpr. Throws VolumeError. */
  mounts(pod: Pod, container: Container, env: Map<string, string>): Promise<ContainerMount[]>;
  /** Unmounts and removes everything of the pod. Idempotent. */
  teardown(podUid: string): Promise<void>;
  /** Uids that have something left here, for pods that ended while the agent was away. */
  left(): Promise<string[]>;
}

export class VolumeError extends Error {
  readonly volume: string;
  /** Another attempt asks somebody outside this board, or takes long. */
  readonly costly: boolean;

  constructor(volume: string, message: string, options: { costly?: boolean } = {}) {
    super(message);
    this.name = 'VolumeError';
    this.volume = volume;
    this.costly = options.costly ?? false;
  }

  /**
   * What the system refuses is the volume's failure, in Go's words, which people search for: `mkdir /path: no space left on
   * device`. Every other error stays what it is.
   */
  static from(volume: string, error: unknown): unknown {
    const { syscall, path, message } = error as NodeJS.ErrnoException;
    if (syscall === undefined) return error;
    const [, text = message] = /^[A-Z0-9]+: ([^,]+)/.exec(message) ?? [];
    return new VolumeError(volume, `${syscall}${path === undefined ? '' : ` ${path}`}: ${text}`);
  }
}

/** Mounts of the host. */
export interface Mounter {
  mountTmpfs(path: string, options: { sizeBytes?: number; mode: string }): Promise<void>;
  /** Throws, saying so, where the host has no mount.nfs. */
  mountNfs(
    path: string,
    options: { server: string; path: string; options: readonly string[] },
  ): Promise<void>;
  /** Mounts what the descriptor has open at `target`, which exists. */
  bindOpen(fd: number, target: string): Promise<void>;
  unmount(path: string): Promise<void>;
  /** Mount points at or below a path, deepest last. */
  mountsBelow(path: string): Promise<string[]>;
}
