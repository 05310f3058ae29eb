import type { Resource } from './api.ts';

export interface NodeObject extends Resource {
  spec?: { unschedulable?: boolean; podCIDR?: string };
  status?: {
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    nodeInfo?: { architecture: string; osImage: string; kernelVersion: string };
    addresses?: { type: string; address: string }[];
    capacity?: Record<string, string>;
  };
}

interface ContainerState {
  waiting?: { reason?: string };
  running?: object;
  terminated?: { reason?: string; exitCode: number };
}

export interface PodObject extends Resource {
  spec: { nodeName?: string; containers: { name: string; image: string }[] };
  status?: {
    phase?: string;
    reason?: string;
    podIP?: string;
    containerStatuses?: { name: string; ready: boolean; restartCount: number; state?: ContainerState }[];
  };
}

/** The STATUS column of kubectl get pods, for the cases a glance needs. */
export function podStatus(pod: PodObject): string {
  if (pod.metadata.deletionTimestamp) return 'Terminating';
  for (const { state } of pod.status?.containerStatuses ?? []) {
    if (state?.waiting?.reason) return state.waiting.reason;
    if (state?.terminated && pod.status?.phase === 'Running') return state.terminated.reason ?? 'Terminated';
  }
  if (pod.status?.phase === 'Succeeded') return 'Completed';
  return pod.status?.reason ?? pod.status?.phase ?? 'Pending';
}

export function podTone(pod: PodObject): Tone {
  const status = podStatus(pod);
  const ready = pod.status?.containerStatuses?.every((container) => container.ready) ?? false;
  if (status === 'Completed') return 'calm';
  if (status === 'Running') return ready ? 'good' : 'warn';
  return /Err|BackOff|Failed|Error|OOM|Evicted|Unknown/.test(status) ? 'bad' : 'warn';
}

export type Tone = 'good' | 'warn' | 'bad' | 'calm';

export function readiness(pod: PodObject): string {
  const statuses = pod.status?.containerStatuses ?? [];
  return `${statuses.filter(({ ready }) => ready).length}/${pod.spec.containers.length}`;
}

export function restarts(pod: PodObject): number {
  return (pod.status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0);
}

export function nodeReady(node: NodeObject): { ready: boolean; text: string } {
  const condition = node.status?.conditions?.find(({ type }) => type === 'Ready');
  const ready = condition?.status === 'True';
  const text = ready ? 'Ready' : condition?.status === 'Unknown' ? 'Lost' : 'NotReady';
  return { ready, text: node.spec?.unschedulable ? `${text}, cordoned` : text };
}

/** Kubernetes' short ages: 45s, 12m, 5h, 3d. */
export function age(seconds: number): string {
  if (seconds < 120) return `${Math.max(0, Math.floor(seconds))}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let index = 0;
  let scaled = value;
  while (scaled >= 1024 && index < units.length - 1) {
    scaled /= 1024;
    index += 1;
  }
  return `${scaled >= 10 || index === 0 ? Math.round(scaled) : scaled.toFixed(1)} ${units[index]}`;
}
