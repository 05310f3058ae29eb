import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { Container, PersistentVolume, Pod, Volume, VolumeMount } from '../../api/types/core-v1.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import { ContainerConfigError } from '../containers/config-error.ts';
import { identity } from '../names.ts';
import type { ContainerMount } from '../runtime.ts';
import { type Payload, writeAtomically } from './atomic-writer.ts';
import { type ContentContext, hasContent, volumeContent } from './content.ts';
import { deviceMount, isDevice } from './devices.ts';
import { emptyDirPath, memoryVolumeBytes } from './empty-dir.ts';
import { prepareHostPath } from './host-path.ts';
import type { ImageVolumes } from './image-volume.ts';
import { boundVolume, claimOf, prepareDirectory, type Source, sourceOf } from './persistent.ts';
import { type Mounter, type PodVolumes, VolumeError } from './port.ts';
import { readOnlyBelow } from './read-only.ts';
import { bindSubPath, resolveInside, subPathOf } from './sub-path.ts';

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
  private readonly recursiveReadOnly: () => boolean;
  private readonly images: Pick<ImageVolumes, 'prepare'> | undefined;
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
    /** Can the engine make what is mounted below a read-only volume read-only too? (API 1.44 and Linux 5.12) */
    recursiveReadOnly?: () => boolean;
    /** Volumes of the type image are refused without it. */
    images?: Pick<ImageVolumes, 'prepare'>;
  }) {
    this.podsDirectory = options.podsDirectory;
    this.volatileDirectory = options.volatileDirectory;
    this.clock = options.clock;
    this.random = options.random;
    this.mounter = options.mounter;
    this.content = options.content;
    this.persistent = options.persistent;
    this.recursiveReadOnly = options.recursiveReadOnly ?? (() => false);
    this.images = options.images;
  }

  async prepare(pod: Pod): Promise<void> {
    for (const volume of pod.spec?.volumes ?? []) {
      await this.prepareVolume(pod, volume).catch((error) => {
        throw VolumeError.from(volume.name, error);
      });
    }
  }

  private async prepareVolume(pod: Pod, volume: Volume): Promise<void> {
    if (hasContent(volume)) await this.prepareContent(pod, volume);
    else if (volume.emptyDir) await this.prepareEmptyDir(pod, volume);
    else if (volume.hostPath) await prepareHostPath(volume.name, volume.hostPath);
    else if (claimOf(pod, volume) !== undefined || volume.nfs) await this.preparePersistent(pod, volume);
    else if (volume.image && this.images) await this.images.prepare(pod, volume, this.rootOf(pod, volume));
    else throw new VolumeError(volume.name, `volume type ${typeOf(volume)} is not supported on this node`);
  }

  async mounts(pod: Pod, container: Container, env: Map<string, string>): Promise<ContainerMount[]> {
    const mounts: ContainerMount[] = [];
    for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
      const volume = volumeOf(pod, mount.name);
      const containerPath = isAbsolute(mount.mountPath) ? mount.mountPath : `/${mount.mountPath}`;
      const readOnly = this.isReadOnly(volume, mount);
      if (this.isBlock(pod, volume)) {
        throw new ContainerConfigError(
          `volume ${volume.name} has volumeMode Block, but is specified in volumeMounts`,
        );
      }
      const root = this.rootOf(pod, volume);
      const subPath = subPathOf(mount, env);
      if (isDevice(volume)) {
        mounts.push(await deviceMount(root, containerPath, readOnly));
        continue;
      }
      const below = readOnly ? readOnlyBelow(mount, this.recursiveReadOnly()) : undefined;
      mounts.push({
        hostPath: subPath
          ? await this.subPathSource(pod, volume, subPath, { container: container.name, index })
          : root,
        containerPath,
        readOnly,
        propagation: PROPAGATION[mount.mountPropagation ?? 'None'],
        ...(below ? { readOnlyBelow: below } : {}),
      });
    }
    for (const { name, devicePath } of container.volumeDevices ?? []) {
      const volume = volumeOf(pod, name);
      if (!this.isBlock(pod, volume)) {
        throw new ContainerConfigError(
          `volume ${name} has volumeMode Filesystem, but is specified in volumeDevices`,
        );
      }
      const readOnly = volume.persistentVolumeClaim?.readOnly === true;
      mounts.push(await deviceMount(this.rootOf(pod, volume), devicePath, readOnly));
    }
    return mounts;
  }

  /** What the agent writes is never the container's to change, as in the kubelet. */
  private isReadOnly(volume: Volume, mount: VolumeMount): boolean {
    return (
      mount.readOnly === true ||
      hasContent(volume) ||
      volume.image !== undefined ||
      volume.persistentVolumeClaim?.readOnly === true ||
      volume.nfs?.readOnly === true
    );
  }

  private isBlock(pod: Pod, volume: Volume): boolean {
    return claimOf(pod, volume) !== undefined && this.sourceOf(pod, volume).kind === 'block';
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

  private async prepareEmptyDir(pod: Pod, volume: Volume): Promise<void> {
    const { medium = '' } = volume.emptyDir ?? {};
    const fsGroup = pod.spec?.securityContext?.fsGroup;
    const directory = this.pathOf(identity(pod).uid, volume);
    const exists = await stat(directory).then(
      () => true,
      () => false,
    );
    if (medium !== '' && medium !== 'Memory') {
      throw new VolumeError(volume.name, `emptyDir medium ${medium} is not supported on this node`);
    }
    if (!exists) await mkdir(directory, { recursive: true });
    if (medium === 'Memory' && (await this.mounter.mountsBelow(directory)).length === 0) {
      const sizeBytes = memoryVolumeBytes(pod, volume, this.content(pod).fields.allocatable.memory);
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
      throw new VolumeError(volume.name, error.message, { costly: true });
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
    if (volume.emptyDir) return emptyDirPath(this.podsDirectory, uid, volume.name);
    return join(
      // An image may have to be copied, and is no secret.
      volume.image ? this.podsDirectory : this.volatileDirectory,
      uid,
      'volumes',
      `kubernetes.io~${PLUGINS[typeOf(volume)] ?? typeOf(volume)}`,
      volume.name,
    );
  }

  /**
   * Where a subPath is mounted from. What the agent wrote (configMap, secret, …) is mounted from its place; of a volume that
   * containers write to, a mount of its own is made that nobody can redirect.
   */
  private async subPathSource(
    pod: Pod,
    volume: Volume,
    subPath: string,
    use: { container: string; index: number },
  ): Promise<string> {
    const root = this.rootOf(pod, volume);
    const place = `for volumeMount "${volume.name}" of container "${use.container}"`;
    try {
      if (hasContent(volume) || volume.image) return await resolveInside(root, subPath);
      const { uid } = identity(pod);
      const target = join(this.podsDirectory, uid, SUB_PATHS, volume.name, use.container, String(use.index));
      await bindSubPath(this.mounter, root, subPath, target);
      return target;
    } catch (error) {
      throw new ContainerConfigError(`failed to prepare subPath ${place}: ${(error as Error).message}`);
    }
  }
}

/** As in the kubelet's directory of a pod. */
const SUB_PATHS = 'volume-subpaths';

/** The kubelet's directory names. */
const PLUGINS: Readonly<Record<string, string>> = {
  configMap: 'configmap',
  secret: 'secret',
  downwardAPI: 'downward-api',
  projected: 'projected',
};

function volumeOf(pod: Pod, name: string): Volume {
  const volume = pod.spec?.volumes?.find((each) => each.name === name);
  if (!volume) throw new ContainerConfigError(`volume "${name}" not found`);
  return volume;
}

function typeOf(volume: Volume): string {
  return Object.keys(volume).find((key) => key !== 'name') ?? 'emptyDir';
}

function fingerprintOf(payload: Payload): string {
  const hash = createHash('sha256');
  for (const [path, file] of [...payload].sort(([left], [right]) => (left < right ? -1 : 1))) {
    hash.update(`${path}\0${file.mode}\0${file.uid ?? ''}\0${file.data.length}\0`);
    hash.update(file.data);
  }
  return hash.digest('hex');
}
