import { matchesSelector, namedNodes } from '../../api/node-selector.ts';
import { untolerated } from '../../api/tolerations.ts';
import type { PodInfo } from '../pod-info.ts';
import type { NodeInfo } from '../snapshot.ts';
import { type FilterPlugin, never, notNow, type Rejection } from './plugin.ts';

// The reasons are those of kube-scheduler's plugins, which tools and people know.

const DRIVING_AWAY = ['NoSchedule', 'NoExecute'] as const;
const UNSCHEDULABLE_TAINT = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const;

export const nodeUnschedulable: FilterPlugin = {
  name: 'NodeUnschedulable',
  helpedBy: ['node-added', 'node-taints'],
  prepare({ pod }) {
    const tolerated =
      untolerated([UNSCHEDULABLE_TAINT], pod.spec?.tolerations ?? [], ['NoSchedule']) === undefined;
    if (tolerated) return undefined;
    const rejection = never('node(s) were unschedulable');
    return (node) => (node.unschedulable ? rejection : undefined);
  },
};

export const nodeName: FilterPlugin = {
  name: 'NodeName',
  helpedBy: ['node-added'],
  prepare({ pod }) {
    const wanted = pod.spec?.nodeName;
    if (!wanted) return undefined;
    const rejection = never("node(s) didn't match the requested node name");
    return (node) => (node.name === wanted ? undefined : rejection);
  },
};

export const taintToleration: FilterPlugin = {
  name: 'TaintToleration',
  helpedBy: ['node-added', 'node-taints'],
  prepare({ pod }) {
    const tolerations = pod.spec?.tolerations ?? [];
    // Since v1.35 without the taint itself (kubernetes/kubernetes#134740): a pod's owner may not be allowed to see nodes.
    const rejection = never('node(s) had untolerated taint(s)');
    return (node) =>
      node.taints.length > 0 && untolerated(node.taints, tolerations, DRIVING_AWAY) ? rejection : undefined;
  },
};

export const nodeAffinity: FilterPlugin = {
  name: 'NodeAffinity',
  helpedBy: ['node-added', 'node-labels'],
  prepare({ pod }) {
    const selector = Object.entries(pod.spec?.nodeSelector ?? {});
    const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
    if (selector.length === 0 && !required) return undefined;
    const named = namedNodes(required);
    // kube-scheduler drops nodes outside of the named ones before it asks any plugin, and says so in these words.
    const filteredOut = never("node(s) didn't satisfy plugin(s) [NodeAffinity]");
    const unmatched = never("node(s) didn't match Pod's node affinity/selector");
    return (node) => {
      if (named && !named.has(node.name)) return filteredOut;
      for (const [key, value] of selector) if (node.labels[key] !== value) return unmatched;
      return required && !matchesSelector(required, node) ? unmatched : undefined;
    };
  },
};

export const nodePorts: FilterPlugin = {
  name: 'NodePorts',
  helpedBy: ['node-added', 'pod-gone'],
  prepare({ hostPorts }) {
    if (hostPorts.length === 0) return undefined;
    const rejection = notNow("node(s) didn't have free ports for the requested pod ports");
    return (node) => {
      for (const { protocol, port, ip } of hostPorts) {
        const used = node.ports.get(`${protocol}/${port}`);
        if (used && (ip === '0.0.0.0' || used.includes('0.0.0.0') || used.includes(ip))) return rejection;
      }
      return undefined;
    };
  },
};

export const nodeResourcesFit: FilterPlugin = {
  name: 'NodeResourcesFit',
  helpedBy: ['node-added', 'node-allocatable', 'pod-gone'],
  prepare(info) {
    return (node) => (fits(info, node) ? undefined : shortages(info, node));
  },
};

function fits({ requests }: PodInfo, node: NodeInfo): boolean {
  const { allocatable } = node;
  if (node.pods.size + 1 > node.allowedPods) return false;
  if (requests.cpu > 0 && requests.cpu > allocatable.cpu - node.cpu) return false;
  if (requests.memory > 0 && requests.memory > allocatable.memory - node.memory) return false;
  if (requests.ephemeral > 0 && requests.ephemeral > allocatable.ephemeral - node.ephemeral) return false;
  if (requests.others) {
    for (const [name, value] of requests.others) {
      if (value > 0 && value > (allocatable.others?.get(name) ?? 0) - (node.others.get(name) ?? 0))
        return false;
    }
  }
  return true;
}

function shortages({ requests }: PodInfo, node: NodeInfo): Rejection {
  const { allocatable } = node;
  const reasons: string[] = [];
  // Resolvable while the node would be large enough if it were empty.
  let unresolvable = false;
  const compare = (name: string, asked: number, total: number, used: number): void => {
    if (asked === 0 || asked <= total - used) return;
    reasons.push(`Insufficient ${name}`);
    if (asked > total) unresolvable = true;
  };
  if (node.pods.size + 1 > node.allowedPods) reasons.push('Too many pods');
  compare('cpu', requests.cpu, allocatable.cpu, node.cpu);
  compare('memory', requests.memory, allocatable.memory, node.memory);
  compare('ephemeral-storage', requests.ephemeral, allocatable.ephemeral, node.ephemeral);
  for (const [name, value] of requests.others ?? []) {
    compare(name, value, allocatable.others?.get(name) ?? 0, node.others.get(name) ?? 0);
  }
  return { reasons, unresolvable };
}
