import { matchesSelector } from '../../api/node-selector.ts';
import { untolerated } from '../../api/tolerations.ts';
import type { Node, Pod } from '../../api/types/core-v1.ts';
import type { NodeObjection } from '../../wire/messages.ts';

/**
 * What of the kubelet's admission only the server can judge, for it knows the node's labels and taints: a node's agent
 * hears it with the pod. Undefined for a pod that has been admitted already: labels may change under it.
 */
export function nodeObjection(pod: Pod, node: Node | undefined): NodeObjection | undefined {
  if (!node || pod.status?.startTime !== undefined) return undefined;
  const { nodeSelector = {}, affinity, tolerations = [] } = pod.spec ?? {};
  const labels = node.metadata.labels ?? {};
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const name = node.metadata.name ?? '';
  const selected =
    Object.entries(nodeSelector).every(([key, value]) => labels[key] === value) &&
    (!required || matchesSelector(required, { name, labels }));
  if (!selected) {
    return {
      reason: 'NodeAffinity',
      message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    };
  }
  if (untolerated(node.spec?.taints ?? [], tolerations, ['NoExecute'])) {
    return {
      reason: 'TaintToleration',
      message: 'Predicate TaintToleration failed: node(s) had untolerated taint(s)',
    };
  }
  return undefined;
}
