import type { PersistentVolume } from '../../api/types/core-v1.ts';
import type { PodInfo } from '../pod-info.ts';
import type { NodeInfo } from '../snapshot.ts';
import { classOf, planVolumes, type VolumeObjects, volumesOf } from '../volumes.ts';
import { type FilterPlugin, never, notNow } from './plugin.ts';

/** Claims that only one pod in the cluster may use. */
export const volumeRestrictions: FilterPlugin = {
  name: 'VolumeRestrictions',
  helpedBy: ['node-added', 'pod-gone', 'volume'],
  prepare(info, { snapshot, volumes }) {
    const { namespace = '' } = info.pod.metadata;
    const exclusive = info.claims
      .filter(({ name }) => volumes.claim(namespace, name)?.spec?.accessModes?.includes('ReadWriteOncePod'))
      .map(({ name }) => `${namespace}/${name}`);
    if (exclusive.length === 0) return undefined;
    const users = snapshot.nodes.filter((node) => exclusive.some((claim) => node.claims.has(claim)));
    if (users.length === 0) return undefined;
    const rejection = notNow(
      'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode',
    );
    return (node) => {
      for (const user of users) if (user !== node) return rejection;
      // Preemption may have thought the user away.
      for (const claim of exclusive) if (node.claims.has(claim)) return rejection;
      return undefined;
    };
  },
};

/** Volumes that a driver can attach to one node (CSINode.spec.drivers[].allocatable.count). */
export const nodeVolumeLimits: FilterPlugin = {
  name: 'NodeVolumeLimits',
  helpedBy: ['node-added', 'pod-gone', 'volume'],
  prepare(info, { volumes }) {
    if (info.claims.length === 0) return undefined;
    const wanted = new Map<string, string>();
    collectAttached(info, volumes, wanted);
    if (wanted.size === 0) return undefined;
    const rejection = notNow('node(s) exceed max volume count');
    return (node) => {
      const drivers = volumes.csiNode(node.name)?.spec?.drivers ?? [];
      for (const { name, allocatable } of drivers) {
        if (allocatable?.count === undefined) continue;
        const attached = new Map<string, string>();
        for (const pod of node.pods.values()) collectAttached(pod, volumes, attached);
        const used = [...attached.values()].filter((driver) => driver === name).length;
        let more = 0;
        for (const [volume, driver] of wanted) if (driver === name && !attached.has(volume)) more += 1;
        if (more > 0 && used + more > allocatable.count) return rejection;
      }
      return undefined;
    };
  },
};

/** Volume to driver, for the claims of a pod that a CSI driver serves, or will serve. */
function collectAttached(info: PodInfo, volumes: VolumeObjects, into: Map<string, string>): void {
  const { namespace = '' } = info.pod.metadata;
  for (const { name } of info.claims) {
    const claim = volumes.claim(namespace, name);
    if (!claim) continue;
    const csi = volumes.volume(claim.spec?.volumeName ?? '')?.spec?.csi;
    if (csi) into.set(`${csi.driver}/${csi.volumeHandle}`, csi.driver);
    else if (!claim.spec?.volumeName) {
      const driver = volumes.storageClass(classOf(claim))?.provisioner;
      if (driver) into.set(`${driver}/${namespace}/${name}`, driver);
    }
  }
}

export const volumeBinding: FilterPlugin = {
  name: 'VolumeBinding',
  helpedBy: ['node-added', 'node-labels', 'volume'],
  prepare(info, { volumes }) {
    if (info.claims.length === 0) return undefined;
    const own = volumesOf(info, volumes);
    if (typeof own === 'string') return { reason: own };
    return (node) => {
      const plan = planVolumes(own, node, volumes);
      return Array.isArray(plan) ? { reasons: plan, unresolvable: true } : undefined;
    };
  },
};

const ZONE_LABELS = [
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
];

/** Volumes that carry a zone in their labels. */
export const volumeZone: FilterPlugin = {
  name: 'VolumeZone',
  helpedBy: ['node-added', 'node-labels', 'volume'],
  prepare(info, { volumes }) {
    const { namespace = '' } = info.pod.metadata;
    const zones = info.claims.flatMap(({ name }) =>
      zonesOf(volumes.volume(volumes.claim(namespace, name)?.spec?.volumeName ?? '')),
    );
    if (zones.length === 0) return undefined;
    const rejection = never('node(s) had no available volume zone');
    return (node) => (zones.every((zone) => isIn(node, zone)) ? undefined : rejection);
  },
};

function zonesOf(volume: PersistentVolume | undefined): { key: string; values: string[] }[] {
  return ZONE_LABELS.flatMap((key) => {
    const value = volume?.metadata.labels?.[key];
    return value === undefined ? [] : [{ key, values: value.split('__') }];
  });
}

function isIn(node: NodeInfo, { key, values }: { key: string; values: string[] }): boolean {
  // A node without any zone is one of a cluster that has none.
  if (!ZONE_LABELS.some((label) => node.labels[label] !== undefined)) return true;
  const value =
    node.labels[key] ??
    node.labels[key.replace('failure-domain.beta.kubernetes.io', 'topology.kubernetes.io')];
  return value !== undefined && values.includes(value);
}
