import { readFile, statfs } from 'node:fs/promises';
import { ControlGroups } from '../../health/control-groups.ts';
import { parseCpuTimes } from '../../health/measure-parse.ts';
import { type Labels, type MetricFamily, sample } from '../../lib/metrics.ts';
import type { KubeletView } from './kubelet.ts';

/** Ticks of /proc a second: fixed for user space on every Linux that we run on. */
const TICKS = 100;

/** CPU in seconds since the start, memory (working set) in bytes. */
interface Use {
  cpu: number;
  memory: number;
}

export interface BoardUse {
  /** Milliseconds since 1970. */
  at: number;
  node: Use & { memoryTotal: number; diskTotal: number; diskAvailable: number; startedAt: number };
  /** By the container's id; those that do not run are not there. */
  containers: ReadonlyMap<string, Use>;
}

export async function measureBoard(view: KubeletView, now: number): Promise<BoardUse> {
  const groups = new ControlGroups();
  const containers = new Map<string, Use>();
  for (const { id, pid } of view.pods.flatMap((pod) => pod.containers)) {
    const group = pid === undefined ? undefined : await groups.find(pid);
    if (!group) continue;
    const cpu = await groups.cpuSeconds(group);
    const memory = await groups.workingSet(group);
    if (cpu !== undefined && memory !== undefined) containers.set(id, { cpu, memory });
  }
  const [stat, meminfo, uptime, disk] = await Promise.all([
    readFile('/proc/stat', 'utf8'),
    readFile('/proc/meminfo', 'utf8'),
    readFile('/proc/uptime', 'utf8'),
    statfs(view.directory),
  ]);
  const kibibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(meminfo)?.[1] ?? 0) * 1024;
  const memoryTotal = kibibytes('MemTotal');
  return {
    at: now,
    node: {
      cpu: (parseCpuTimes(stat)?.busy ?? 0) / TICKS,
      memory: memoryTotal - kibibytes('MemAvailable'),
      memoryTotal,
      diskTotal: disk.blocks * disk.bsize,
      diskAvailable: disk.bavail * disk.bsize,
      startedAt: now - Number(uptime.split(' ', 1)[0]) * 1000,
    },
    containers,
  };
}

/** stats/v1alpha1 Summary, without what is not measured (network, inodes, the rate of CPU). */
export function summary(view: KubeletView, { at, node, containers }: BoardUse): object {
  const time = new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
  const used = ({ cpu, memory }: Use): object => ({
    cpu: { time, usageCoreNanoSeconds: Math.round(cpu * 1e9) },
    memory: { time, workingSetBytes: memory },
  });
  return {
    node: {
      nodeName: view.node,
      startTime: new Date(node.startedAt).toISOString().replace(/\.\d+Z$/, 'Z'),
      ...used(node),
      memory: { time, availableBytes: node.memoryTotal - node.memory, workingSetBytes: node.memory },
      fs: {
        time,
        availableBytes: node.diskAvailable,
        capacityBytes: node.diskTotal,
        usedBytes: node.diskTotal - node.diskAvailable,
      },
    },
    pods: view.pods.map(({ pod, status, containers: own }) => ({
      podRef: {
        name: pod.metadata.name ?? '',
        namespace: pod.metadata.namespace ?? '',
        uid: pod.metadata.uid ?? '',
      },
      startTime: status?.startTime ?? null,
      containers: own.flatMap(({ id, name }) => {
        const use = containers.get(id);
        return use ? [{ name, startTime: startOf(status, name) ?? null, ...used(use) }] : [];
      }),
      ...used(sum(own.flatMap(({ id }) => containers.get(id) ?? []))),
    })),
  };
}

/** /metrics/resource: what metrics-server reads. */
export function resourceMetrics(view: KubeletView, { at, node, containers }: BoardUse): string {
  const perContainer: [Labels, Use, string | undefined][] = [];
  const perPod: [Labels, Use][] = [];
  for (const { pod, status, containers: own } of view.pods) {
    const where = { namespace: pod.metadata.namespace ?? '', pod: pod.metadata.name ?? '' };
    const uses = own.flatMap(({ id, name }) => {
      const use = containers.get(id);
      if (use) perContainer.push([{ container: name, ...where }, use, startOf(status, name)]);
      return use ?? [];
    });
    if (uses.length > 0) perPod.push([where, sum(uses)]);
  }
  const timed = (name: string, labels: Labels, value: number): string =>
    `${sample(name, labels, value)} ${at}`;
  const family = (
    name: string,
    type: MetricFamily['type'],
    help: string,
    rows: readonly (readonly [Labels, number])[],
  ): string =>
    [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...rows.map(([labels, value]) => timed(name, labels, value)),
      '',
    ].join('\n');
  return [
    family(
      'container_cpu_usage_seconds_total',
      'counter',
      'CPU time that a container has used, in core seconds',
      perContainer.map(([labels, { cpu }]) => [labels, cpu]),
    ),
    family(
      'container_memory_working_set_bytes',
      'gauge',
      'Working set of a container, in bytes',
      perContainer.map(([labels, { memory }]) => [labels, memory]),
    ),
    family(
      'container_start_time_seconds',
      'gauge',
      'When a container was started, in seconds since 1970',
      perContainer.flatMap(([labels, , start]) =>
        start ? [[labels, Date.parse(start) / 1000] as const] : [],
      ),
    ),
    family('node_cpu_usage_seconds_total', 'counter', 'CPU time that the node has used, in core seconds', [
      [{}, node.cpu],
    ]),
    family('node_memory_working_set_bytes', 'gauge', 'Working set of the node, in bytes', [
      [{}, node.memory],
    ]),
    family(
      'pod_cpu_usage_seconds_total',
      'counter',
      'CPU time that a pod has used, in core seconds',
      perPod.map(([labels, { cpu }]) => [labels, cpu]),
    ),
    family(
      'pod_memory_working_set_bytes',
      'gauge',
      'Working set of a pod, in bytes',
      perPod.map(([labels, { memory }]) => [labels, memory]),
    ),
    `# HELP resource_scrape_error 1 if what is above could not be measured\n# TYPE resource_scrape_error gauge\nresource_scrape_error 0\n`,
  ].join('');
}

/** /metrics: what runs, and the agent's own process. */
export function runningMetrics({ node, pods }: KubeletView): string {
  const running = pods.flatMap(({ containers }) => containers).filter(({ pid }) => pid !== undefined).length;
  const { rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return [
    ['kubelet_node_name', 'gauge', 'The name of the node', sample('kubelet_node_name', { node }, 1)],
    ['kubelet_running_pods', 'gauge', 'Pods of which something runs', `kubelet_running_pods ${pods.length}`],
    [
      'kubelet_running_containers',
      'gauge',
      'Containers that run',
      sample('kubelet_running_containers', { container_state: 'running' }, running),
    ],
    [
      'process_cpu_seconds_total',
      'counter',
      'CPU time of the process, in seconds',
      `process_cpu_seconds_total ${(user + system) / 1e6}`,
    ],
    [
      'process_resident_memory_bytes',
      'gauge',
      'Resident memory of the process, in bytes',
      `process_resident_memory_bytes ${rss}`,
    ],
  ]
    .map(([name, type, help, line]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${line}\n`)
    .join('');
}

function startOf(status: KubeletView['pods'][number]['status'], name: string): string | undefined {
  return status?.containerStatuses?.find((each) => each.name === name)?.state?.running?.startedAt;
}

function sum(uses: readonly Use[]): Use {
  return {
    cpu: uses.reduce((total, { cpu }) => total + cpu, 0),
    memory: uses.reduce((total, { memory }) => total + memory, 0),
  };
}
