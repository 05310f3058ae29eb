// metrics.k8s.io/v1beta1: what `kubectl top` and autoscalers ask. Kubernetes has it from metrics-server; here the boards
// tell it.
import type { Catalogue, ResourceInfo } from '../api/catalogue.ts';
import { NODES, PODS } from '../api/kinds.ts';
import type { JsonObject, KubeObject } from '../api/object.ts';
import type { Node, Pod } from '../api/types/core-v1.ts';
import type { ObjectMeta } from '../api/types/meta-v1.ts';
import type { BoardReadings } from '../client/boards.ts';
import type { Informer, InformerSet } from '../client/informer.ts';
import type { UsageSource } from '../client/usage.ts';
import { type Clock, timestamp } from '../lib/clock.ts';
import type { ComputedResource } from './registry/computed.ts';

const GROUP = 'metrics.k8s.io';
const VERSION = 'v1beta1';
/** A board smooths its CPU over about a minute. */
const NODE_WINDOW = '1m0s';

const entry = (resource: string, kind: string, namespaced: boolean): ResourceInfo => ({
  group: GROUP,
  version: VERSION,
  resource,
  kind,
  singular: '',
  namespaced,
  verbs: ['get', 'list'],
  shortNames: [],
  categories: [],
  subresources: [],
  schema: undefined,
  custom: false,
});

/**
 * Serves the group from the first measurement on: a server without boards has no metrics to tell, and clients take the
 * group's presence for its being available. Returns the unsubscriber.
 */
export function serveMetrics(catalogue: Catalogue, readings: BoardReadings): () => void {
  const detach =
    readings.onReading?.(() => {
      detach();
      catalogue.add(entry('nodes', 'NodeMetrics', false));
      catalogue.add(entry('pods', 'PodMetrics', true));
    }) ?? (() => {});
  return detach;
}

export function computedMetrics(options: {
  /** Asked when the first question comes: the informers are made after the registry. */
  informers: () => InformerSet;
  readings: () => BoardReadings;
  usage: () => UsageSource;
  clock: Clock;
}): ReadonlyMap<string, ComputedResource> {
  const { clock } = options;
  const nodes = (): Informer<Node> => options.informers().of(NODES);
  const pods = (): Informer<Pod> => options.informers().of(PODS);
  const nodeMetrics = (node: Node): KubeObject | undefined => {
    const reading = options.readings().of(node.metadata.name ?? '');
    if (!reading) return undefined;
    const cores = Number(node.status?.capacity?.cpu ?? 0) || 1;
    return {
      kind: 'NodeMetrics',
      apiVersion: `${GROUP}/${VERSION}`,
      metadata: metadataOf(node, clock),
      timestamp: timestamp(clock.now() - (clock.monotonic() - reading.at)),
      window: NODE_WINDOW,
      usage: quantities(reading.cpu * cores, reading.memTotal - reading.memAvailable),
    } as unknown as KubeObject;
  };
  const podMetrics = (pod: Pod): KubeObject | undefined => {
    const { nodeName } = pod.spec ?? {};
    if (!nodeName || pod.status?.phase !== 'Running') return undefined;
    const use = options.usage().of(nodeName, pod.metadata.uid ?? '');
    if (!use) return undefined;
    return {
      kind: 'PodMetrics',
      apiVersion: `${GROUP}/${VERSION}`,
      metadata: metadataOf(pod, clock),
      timestamp: timestamp(use.at),
      window: `${(use.windowMs / 1000).toFixed(3)}s`,
      containers: use.containers.map(({ name, cpu, memory }) => ({ name, usage: quantities(cpu, memory) })),
    } as unknown as KubeObject;
  };
  const present = <T>(object: T | undefined): object is T => object !== undefined;
  return new Map<string, ComputedResource>([
    [
      `nodes.${GROUP}`,
      {
        get: (_namespace, name) => {
          const node = nodes().get(undefined, name);
          return node && nodeMetrics(node);
        },
        list: () => nodes().list().map(nodeMetrics).filter(present),
      },
    ],
    [
      `pods.${GROUP}`,
      {
        get: (namespace, name) => {
          const pod = pods().get(namespace, name);
          return pod && podMetrics(pod);
        },
        list: (namespace) => pods().list(namespace).map(podMetrics).filter(present),
      },
    ],
  ]);
}

function metadataOf({ metadata }: KubeObject, clock: Clock): ObjectMeta {
  const { name, namespace, labels } = metadata;
  return {
    ...(name === undefined ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(labels === undefined ? {} : { labels }),
    creationTimestamp: timestamp(clock.now()),
  };
}

/** As metrics-server writes them: CPU in nanocores, memory in KiB. */
function quantities(cores: number, bytes: number): Record<string, string> {
  return { cpu: `${Math.round(cores * 1e9)}n`, memory: `${Math.round(Math.max(0, bytes) / 1024)}Ki` };
}

/** Who may view, edit or administrate a namespace may read what is used in it: the role that metrics-server installs. */
export const METRICS_READER_ROLE: JsonObject = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: {
    name: 'system:aggregated-metrics-reader',
    labels: {
      'k8s-app': 'metrics-server',
      'rbac.authorization.k8s.io/aggregate-to-admin': 'true',
      'rbac.authorization.k8s.io/aggregate-to-edit': 'true',
      'rbac.authorization.k8s.io/aggregate-to-view': 'true',
    },
  },
  rules: [{ apiGroups: [GROUP], resources: ['pods', 'nodes'], verbs: ['get', 'list', 'watch'] }],
};
