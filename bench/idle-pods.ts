import type { Cluster } from '../test/support/cluster.ts';

export const IDLE_PODS = 10;

/** Ten pods that sleep, Ready; on one node when it is named. Undo with `kubectl delete deployment idle`. */
export async function startIdlePods(cluster: Cluster, node?: string): Promise<void> {
  const container = {
    name: 'main',
    image: 'copepod.local/busybox',
    imagePullPolicy: 'IfNotPresent',
    command: ['sleep', '1000000'],
  };
  await cluster.kubectl.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'idle' },
    spec: {
      replicas: IDLE_PODS,
      selector: { matchLabels: { app: 'idle' } },
      template: {
        metadata: { labels: { app: 'idle' } },
        spec: {
          ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
          containers: [container],
        },
      },
    },
  });
  await cluster.kubectl.ok(['rollout', 'status', 'deployment/idle', '--timeout=120s'], {
    timeoutMs: 130_000,
  });
}
