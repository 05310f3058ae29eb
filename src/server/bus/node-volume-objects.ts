import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS } from '../../api/kinds.ts';
import { removalNode } from '../../api/local-path.ts';
import { claimsUsed } from '../../api/pod-references.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../../api/types/core-v1.ts';
import type { Informer, InformerSet } from '../../client/informer.ts';
import { type ConfigKey, configKey } from './referenced-configs.ts';

const BY_CLAIM = 'bus/claim';
const BY_REMOVAL = 'bus/removal';

/** The volumes that a node has to know: those bound to claims of its pods, and those whose directories it shall remove. */
export class NodeVolumeObjects {
  private readonly pods: Informer<Pod>;
  private readonly claims: Informer<PersistentVolumeClaim>;
  private readonly volumes: Informer<PersistentVolume>;

  constructor(informers: InformerSet) {
    this.pods = informers.of(PODS);
    this.claims = informers.of(PERSISTENT_VOLUME_CLAIMS);
    this.volumes = informers.of(PERSISTENT_VOLUMES);
  }

  get synced(): Promise<unknown> {
    return Promise.all([this.claims.synced, this.volumes.synced]);
  }

  /** Calls `touch` with every node for which something changed; returns what detaches it. */
  start(touch: (node: string | undefined) => void): (() => void)[] {
    this.pods.addIndex(BY_CLAIM, (pod) => (pod.spec?.nodeName ? claimsUsed(pod) : undefined));
    this.volumes.addIndex(BY_REMOVAL, removalNode);
    const ofClaim = (key: string): void => {
      for (const pod of this.pods.byIndex(BY_CLAIM, key)) touch(pod.spec?.nodeName);
    };
    const ofVolume = (volume: PersistentVolume): void => {
      const owner = volume.spec?.claimRef;
      if (owner) ofClaim(`${owner.namespace}/${owner.name}`);
      touch(removalNode(volume));
    };
    const changed = ({ metadata }: PersistentVolumeClaim): void =>
      ofClaim(`${metadata.namespace}/${metadata.name}`);
    return [
      this.claims.handle({ onAdd: changed, onUpdate: changed, onDelete: changed }),
      this.volumes.handle({
        onAdd: ofVolume,
        onUpdate: (volume, old) => {
          ofVolume(old);
          ofVolume(volume);
        },
        onDelete: ofVolume,
      }),
    ];
  }

  of(node: string, pods: readonly Pod[]): [ConfigKey, PersistentVolume][] {
    const found = new Map<ConfigKey, PersistentVolume>();
    const add = (volume: PersistentVolume): void => {
      const { namespace = '' } = volume.spec?.claimRef ?? {};
      found.set(configKey('persistentvolumes', namespace, volume.metadata.name ?? ''), volume);
    };
    for (const pod of pods) {
      for (const key of claimsUsed(pod)) {
        const claim = this.claims.byKey(key);
        if (claim?.status?.phase !== 'Bound') continue;
        const volume = this.volumes.get(undefined, claim.spec?.volumeName ?? '');
        if (volume && volume.spec?.claimRef?.uid === claim.metadata.uid) add(volume);
      }
    }
    for (const volume of this.volumes.byIndex(BY_REMOVAL, node)) add(volume);
    return [...found];
  }
}
