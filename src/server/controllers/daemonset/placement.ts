import { matchesSelector } from '../../../api/node-selector.ts';
import { untolerated } from '../../../api/tolerations.ts';
import type { DaemonSet } from '../../../api/types/apps-v1.ts';
import type { Node, PodSpec, Toleration } from '../../../api/types/core-v1.ts';

/** What daemons tolerate without saying so: they run on nodes in trouble, since they may be what mends them. */
export function daemonTolerations(spec: PodSpec | undefined): Toleration[] {
  const tolerations: Toleration[] = [...(spec?.tolerations ?? [])];
  const defaults: Toleration[] = [
    { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
    { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
    { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
  ];
  if (spec?.hostNetwork) {
    defaults.push({
      key: 'node.kubernetes.io/network-unavailable',
      operator: 'Exists',
      effect: 'NoSchedule',
    });
  }
  for (const toleration of defaults) {
    const known = tolerations.some(
      ({ key, effect, operator }) =>
        key === toleration.key && effect === toleration.effect && operator === toleration.operator,
    );
    if (!known) tolerations.push(toleration);
  }
  return tolerations;
}

/** Whether a daemon pod belongs on the node, and whether one that is there may stay. */
export function placementOn(set: DaemonSet, node: Node): { run: boolean; stay: boolean } {
  const spec = set.spec?.template.spec;
  const name = node.metadata.name ?? '';
  const labels = node.metadata.labels ?? {};
  const never = { run: false, stay: false };
  if (spec?.nodeName && spec.nodeName !== name) return never;
  if (Object.entries(spec?.nodeSelector ?? {}).some(([key, value]) => labels[key] !== value)) return never;
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required && !matchesSelector(required, { name, labels })) return never;
  const tolerations = daemonTolerations(spec);
  // A cordoned node is tolerated by default, so spec.unschedulable need not be asked.
  const taints = node.spec?.taints ?? [];
  if (!untolerated(taints, tolerations, ['NoSchedule', 'NoExecute'])) return { run: true, stay: true };
  return { run: false, stay: !untolerated(taints, tolerations, ['NoExecute']) };
}

/** Pins a pod to its node by name, through the scheduler: it replaces what the template says of required node affinity. */
export function pinnedTo(spec: PodSpec | undefined, node: string): Partial<PodSpec> {
  return {
    tolerations: daemonTolerations(spec),
    affinity: {
      ...spec?.affinity,
      nodeAffinity: {
        ...spec?.affinity?.nodeAffinity,
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }],
        },
      },
    },
  };
}

/** The node a daemon pod is meant for: where it is, or where its affinity pins it. */
export function targetNode(spec: PodSpec | undefined): string | undefined {
  if (spec?.nodeName) return spec.nodeName;
  const terms =
    spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  for (const { matchFields } of terms ?? []) {
    for (const { key, operator, values } of matchFields ?? []) {
      if (key === 'metadata.name' && operator === 'In' && values?.length === 1) return values[0];
    }
  }
  return undefined;
}
