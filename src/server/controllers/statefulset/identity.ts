import type { StatefulSet } from '../../../api/types/apps-v1.ts';
import type { PersistentVolumeClaim, Pod, PodSpec } from '../../../api/types/core-v1.ts';
import type { NewObject } from '../../../client/port.ts';
import { setReference } from './retention.ts';

export const POD_NAME = 'statefulset.kubernetes.io/pod-name';
export const POD_INDEX = 'apps.kubernetes.io/pod-index';

export const podName = (set: StatefulSet, ordinal: number): string => `${set.metadata.name}-${ordinal}`;

/** The ordinal in a pod's name; undefined for a pod that is not one of the set's. */
export function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const prefix = `${set.metadata.name}-`;
  const name = pod.metadata.name ?? '';
  const rest = name.slice(prefix.length);
  return name.startsWith(prefix) && /^\d+$/.test(rest) ? Number(rest) : undefined;
}

export const claimName = (set: StatefulSet, template: PersistentVolumeClaim, ordinal: number): string =>
  `${template.metadata.name}-${podName(set, ordinal)}`;

/** What makes the pod of an ordinal itself: name, hostname, and its own claims in place of the template's volumes. */
export function identity(set: StatefulSet, ordinal: number, spec: PodSpec | undefined): Partial<PodSpec> {
  const templates = set.spec?.volumeClaimTemplates ?? [];
  const own = templates.map((template) => ({
    name: template.metadata.name ?? '',
    persistentVolumeClaim: { claimName: claimName(set, template, ordinal) },
  }));
  const names = new Set(own.map(({ name }) => name));
  const others = (spec?.volumes ?? []).filter(({ name }) => !names.has(name));
  const volumes = [...own, ...others];
  return {
    hostname: podName(set, ordinal),
    ...(set.spec?.serviceName ? { subdomain: set.spec.serviceName } : {}),
    ...(volumes.length > 0 ? { volumes } : {}),
  };
}

/** The claims of an ordinal, as they are made when they are missing. */
export function claimsOf(set: StatefulSet, ordinal: number): NewObject<PersistentVolumeClaim>[] {
  const whenDeleted = set.spec?.persistentVolumeClaimRetentionPolicy?.whenDeleted;
  return (set.spec?.volumeClaimTemplates ?? []).map((template) => ({
    metadata: {
      name: claimName(set, template, ordinal),
      namespace: set.metadata.namespace ?? '',
      labels: { ...template.metadata.labels, ...set.spec?.selector.matchLabels },
      ...(template.metadata.annotations ? { annotations: template.metadata.annotations } : {}),
      ...(whenDeleted === 'Delete' ? { ownerReferences: [setReference(set)] } : {}),
    },
    ...(template.spec ? { spec: template.spec } : {}),
  }));
}
