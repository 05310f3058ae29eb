import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { parseQuantity, wholeUnits } from '../../api/quantity.ts';
import type { Container, PersistentVolume, Pod, Volume, VolumeMount } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import { ContainerConfigError } from '../containers/config-error.ts';
import { expand } from '../containers/expansion.ts';
import { identity } from '../names.ts';
import type { ContainerMount } from '../runtime.ts';
import { type Payload, writeAtomically } from './atomic-writer.ts';
import { type ContentContext, hasContent, volumeContent } from './content.ts';
import { prepareHostPath } from './host-path.ts';
import { boundVolume, claimOf, prepareDirectory, type Source, sourceOf } from './persistent.ts';
import { type Mounter, type PodVolumes, VolumeError } from './port.ts';

const PROPAGATION = { None: 'rprivate', HostToContainer: 'rslave', Bidirectional: 'rshared' } as const;

/**
 * Volumes on this machine: `<podsDirectory>/<uid>/volumes/kubernetes.io~<plugin>/<name>`. What the agent writes itself
 * (configMap, secret, downwardAPI, projected) lies in `<volatileDirectory>/<uid>/…`, one tmpfs for all pods: secrets
 * never touch the card, nothing is written to it, and there is no mount per volume to leak.
 */
export class NodeVolumes implements PodVolumes {
  private readonly podsDirectory: string;
  private readonly volatileDirectory: string;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly mounter: Mounter;
  private readonly content: (pod: Pod) => ContentContext;
  private readonly persistent: () => readonly PersistentVolume[];
  /** `uid/volume` -> what was written last, to leave alone what has not changed. */
  private readonly written = new Map<string, string>();

  constructor(options: {
    podsDirectory: string;
    /** On a tmpfs. */
    volatileDirectory: string;
    clock: Clock;
    random: Random;
    mounter: Mounter;
    content: (pod: Pod) => ContentContext;
    /** The volumes of this node's claims, as the server tells them. */
    persistent: () => readonly PersistentVolume[];
  }) {
    this.podsDirectory = options.podsDirectory;
    this.volatileDirectory = options.volatileDirectory;
    this.clock = options.clock;
    this.random = options.random;
    this.mounter = options.mounter;
    this.content = options.content;
    this.persistent = options.persistent;
  }

  async prepare(pod: Pod): Promise<void> {
    const { uid } = identity(pod);
    for (const volume of pod.spec?.volumes ?? []) {
      if (hasContent(volume)) await this.prepareContent(pod, volume);
      else if (volume.emptyDir) await this.prepareEmptyDir(uid, volume, pod.spec?.securityContext?.fsGroup);
      else if (volume.hostPath) await prepareHostPath(volume.name, volume.hostPath);
      else if (claimOf(pod, volume) !== undefined || volume.nfs) await this.preparePersistent(pod, volume);
      else throw new VolumeError(volume.name, `volume type ${typeOf(volume)} is not supported on this node`);
    }
  }

  async mounts(pod: Pod, container: Container, env: Map<string, string>): Promise<ContainerMount[]> {
    const mounts: ContainerMount[] = [];
    for (const mount of container.volumeMounts ?? []) {
      const volume = pod.spec?.volumes?.find(({ name }) => name === mount.name);
      if (!volume) throw new ContainerConfigError(`volume "${mount.name}" not found`);
      if (mount.recursiveReadOnly === 'Enabled') {
        throw new ContainerConfigError(
          `recursiveReadOnly of volume "${mount.name}" is not supported on this node`,
        );
      }
      const root = this.rootOf(pod, volume);
      const subPath = subPathOf(mount, env);
      mounts.push({
        hostPath: subPath ? await this.resolveSubPath(volume, root, subPath) : root,
        containerPath: isAbsolute(mount.mountPath) ? mount.mountPath : `/${mount.mountPath}`,
        // What the agent writes is never the container's to change, as in the kubelet.
        readOnly:
          mount.readOnly === true ||
          hasContent(volume) ||
          volume.persistentVolumeClaim?.readOnly === true ||
          volume.nfs?.readOnly === true,
        propagation: PROPAGATION[mount.mountPropagation ?? 'None'],
      });
    }
    return mounts;
  }

  async teardown(podUid: string): Promise<void> {
    const directories = [join(this.podsDirectory, podUid), join(this.volatileDirectory, podUid)];
    for (const directory of directories) {
      const mounted = await this.mounter.mountsBelow(directory);
      for (const point of mounted.reverse()) await this.mounter.unmount(point);
      const left = await this.mounter.mountsBelow(directory);
      // Never delete through a mount: what lies behind it is not ours.
      if (left.length > 0) throw new Error(`still mounted: ${left.join(', ')}`);
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    }
    for (const key of this.written.keys()) if (key.startsWith(`${podUid}/`)) this.written.delete(key);
  }

  async left(): Promise<string[]> {
    const lists = await Promise.all(
      [this.podsDirectory, this.volatileDirectory].map((directory) => readdir(directory).catch(() => [])),
    );
    return [...new Set(lists.flat())];
  }

  private async prepareContent(pod: Pod, volume: Volume): Promise<void> {
    const { uid } = identity(pod);
    const payload = await volumeContent(pod, volume, this.content(pod)).catch((error) => {
      if (error instanceof ContainerConfigError) throw new VolumeError(volume.name, error.message);
      throw error;
    });
    const key = `${uid}/${volume.name}`;
    const fingerprint = fingerprintOf(payload);
    if (this.written.get(key) === fingerprint) return;
    const directory = this.pathOf(uid, volume);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const gid = pod.spec?.securityContext?.fsGroup;
    await writeAtomically(directory, payload, {
      clock: this.clock,
      random: this.random,
      ...(gid === undefined ? {} : { gid }),
    });
    this.written.set(key, fingerprint);
  }

  private async prepareEmptyDir(uid: string, volume: Volume, fsGroup: number | undefined): Promise<void> {
    const { medium = '', sizeLimit } = volume.emptyDir ?? {};
    const directory = this.pathOf(uid, volume);
    const exists = await stat(directory).then(
      () => true,
      () => false,
    );
    if (medium !== '' && medium !== 'Memory') {
      throw new VolumeError(volume.name, `emptyDir medium ${medium} is not supported on this node`);
    }
    if (!exists) await mkdir(directory, { recursive: true });
    if (medium === 'Memory' && (await this.mounter.mountsBelow(directory)).length === 0) {
      const sizeBytes = sizeLimit === undefined ? 0 : wholeUnits(parseQuantity(sizeLimit));
      await this.mounter.mountTmpfs(directory, { mode: '0777', ...(sizeBytes > 0 ? { sizeBytes } : {}) });
    } else if (exists) {
      return;
    }
    if (fsGroup !== undefined) await chown(directory, 0, fsGroup);
    await chmod(directory, fsGroup === undefined ? 0o777 : 0o2777);
  }

  private async preparePersistent(pod: Pod, volume: Volume): Promise<void> {
    const source = this.sourceOf(pod, volume);
    if (source.kind !== 'nfs') {
      await prepareDirectory(volume.name, source, pod);
      return;
    }
    const directory = this.rootOf(pod, volume);
    if ((await this.mounter.mountsBelow(directory)).includes(directory)) return;
    await mkdir(directory, { recursive: true });
    const { server, path, readOnly } = source.nfs;
    const options = [...source.options, ...(readOnly ? ['ro'] : [])];
    await this.mounter.mountNfs(directory, { server, path, options }).catch((error: Error) => {
      throw new VolumeError(volume.name, error.message);
    });
  }

  private sourceOf(pod: Pod, volume: Volume): Source {
    if (volume.nfs) return { kind: 'nfs', nfs: volume.nfs, options: [] };
    const { namespace } = identity(pod);
    const claim = claimOf(pod, volume) ?? '';
    const bound = boundVolume(this.persistent(), namespace, claim);
    if (!bound)
      throw new VolumeError(volume.name, `error processing PVC ${namespace}/${claim}: PVC is not bound`);
    return sourceOf(volume.name, bound);
  }

  private rootOf(pod: Pod, volume: Volume): string {
    const { uid } = identity(pod);
    if (claimOf(pod, volume) === undefined && !volume.nfs) return this.pathOf(uid, volume);
    const source = this.sourceOf(pod, volume);
    if (source.kind !== 'nfs') return source.path;
    return join(this.podsDirectory, uid, 'volumes', 'kubernetes.io~nfs', volume.name);
  }

  private pathOf(uid: string, volume: Volume): string {
    if (volume.hostPath) return volume.hostPath.path;
    const root = hasContent(volume) ? this.volatileDirectory : this.podsDirectory;
    return join(
      root,
      uid,
      'volumes',
      `kubernetes.io~${PLUGINS[typeOf(volume)] ?? typeOf(volume)}`,
      volume.name,
    );
  }

  /** The real path of a subPath, made when missing; one that leads out of the volume (by a symlink) is refused. */
  private async resolveSubPath(volume: Volume, root: string, subPath: string): Promise<string> {
    const base = await realpath(root);
    const wanted = join(base, subPath);
    let found = await realpath(wanted).catch(() => undefined);
    if (found === undefined) {
      if (hasContent(volume))
        throw new ContainerConfigError(`failed to prepare subPath for volumeMount "${volume.name}"`);
      await this.guard(volume, base, subPath);
      await mkdir(wanted, { recursive: true, mode: 0o755 });
      const gid = (await stat(base)).gid;
      await chown(wanted, 0, gid);
      found = await realpath(wanted);
    }
    if (!inside(base, found)) {
      throw new ContainerConfigError(
        `failed to prepare subPath for volumeMount "${volume.name}": it leads out of the volume`,
      );
    }
    return found;
  }

  /** Before a directory is made: the part of the path that exists must already be inside. */
  private async guard(volume: Volume, base: string, subPath: string): Promise<void> {
    let path = base;
    for (const part of subPath.split('/')) {
      path = join(path, part);
      const found = await realpath(path).catch(() => undefined);
      if (found === undefined) return;
      if (!inside(base, found)) {
        throw new ContainerConfigError(
          `failed to prepare subPath for volumeMount "${volume.name}": it leads out of the volume`,
        );
      }
    }
  }
}

/** The kubelet's directory names. */
const PLUGINS: Readonly<Record<string, string>> = {
  emptyDir: 'empty-dir',
  configMap: 'configmap',
  secret: 'secret',
  downwardAPI: 'downward-api',
  projected: 'projected',
};

function typeOf(volume: Volume): string {
  return Object.keys(volume).find((key) => key !== 'name') ?? 'emptyDir';
}

function subPathOf(mount: VolumeMount, env: Map<string, string>): string | undefined {
  if (!mount.subPathExpr) return mount.subPath || undefined;
  let missing: string | undefined;
  const path = expand(mount.subPathExpr, (name) => {
    if (!env.has(name)) missing = name;
    return env.get(name);
  });
  if (missing !== undefined) {
    throw new ContainerConfigError(`missing value for "${missing}" in subPathExpr of volume "${mount.name}"`);
  }
  if (isAbsolute(path) || path.split('/').includes('..')) {
    throw new ContainerConfigError(
      `subPathExpr of volume "${mount.name}" expands to the invalid path "${path}"`,
    );
  }
  return path;
}

function inside(base: string, path: string): boolean {
  const way = relative(base, path);
  return way === '' || !(way.startsWith('..') || isAbsolute(way));
}

function fingerprintOf(payload: Payload): string {
  const hash = createHash('sha256');
  for (const [path, file] of [...payload].sort(([left], [right]) => (left < right ? -1 : 1))) {
    hash.update(`${path}\0${file.mode}\0${file.uid ?? ''}\0${file.data.length}\0`);
    hash.update(file.data);
  }
  return hash.digest('hex');
}
