import type { DesiredStore } from '../../src/agent/desired.ts';
import { LABEL } from '../../src/agent/names.ts';
import type { ObservedContainer } from '../../src/agent/runtime.ts';
import { boundVolume, claimOf, sourceOf } from '../../src/agent/volumes/persistent.ts';
import { VolumeError } from '../../src/agent/volumes/port.ts';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { FakeVolumes } from '../support/fake-node.ts';

/** What lies on a board's disk for its pods: it outlives agents, engines and power cuts. */
export class BoardDisk {
  /** Pods that have volumes here. */
  readonly pods = new Set<string>();
  /** Directories of persistent volumes. */
  readonly directories = new Set<string>();
  /** Pod uid -> directories that were given to it. */
  readonly given = new Map<string, ReadonlySet<string>>();
}

/** FakeVolumes on a BoardDisk, with persistent volumes. Watches that none is used away from home or removed in use. */
export class BoardVolumes extends FakeVolumes {
  private readonly node: string;
  private readonly disk: BoardDisk;
  private readonly desiredStore: () => DesiredStore;
  private readonly running: () => readonly ObservedContainer[];
  private readonly violation: (what: string) => void;

  constructor(options: {
    node: string;
    disk: BoardDisk;
    desired: () => DesiredStore;
    running: () => readonly ObservedContainer[];
    violation: (what: string) => void;
  }) {
    const { desired } = options;
    super({
      configMap: (namespace, name) => desired().configMap(namespace, name),
      secret: (namespace, name) => desired().secret(namespace, name),
    });
    this.node = options.node;
    this.disk = options.disk;
    this.desiredStore = desired;
    this.running = options.running;
    this.violation = options.violation;
    (this as { prepared: Set<string> }).prepared = options.disk.pods;
  }

  override async prepare(pod: Pod): Promise<void> {
    const { namespace = '', name = '', uid = '' } = pod.metadata;
    const directories = new Set<string>();
    for (const volume of pod.spec?.volumes ?? []) {
      const claim = claimOf(pod, volume);
      if (claim === undefined) continue;
      const bound = boundVolume(this.desiredStore().volumes(), namespace, claim);
      if (!bound) throw new VolumeError(volume.name, `no volume is known for the claim ${claim}`);
      const source = sourceOf(volume.name, bound);
      if (source.kind === 'nfs') throw new Error('the simulation has no NFS');
      const home = JSON.stringify(bound.spec?.nodeAffinity ?? {});
      if (!home.includes(`"${this.node}"`)) {
        this.violation(`pod ${name} uses ${bound.metadata.name} here, which belongs to ${home}`);
      }
      directories.add(source.path);
    }
    await super.prepare(pod);
    for (const path of directories) this.disk.directories.add(path);
    if (directories.size > 0) this.disk.given.set(uid, directories);
  }

  override async teardown(podUid: string): Promise<void> {
    await super.teardown(podUid);
    this.disk.given.delete(podUid);
  }

  async removeDirectory(path: string): Promise<void> {
    for (const { labels, name } of this.running()) {
      const uid = labels[LABEL.podUid] ?? '';
      if (this.disk.given.get(uid)?.has(path)) this.violation(`${path} is removed under ${name}`);
    }
    this.disk.directories.delete(path);
  }
}
