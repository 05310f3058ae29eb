// The scheduler: `node bench/scheduler.ts [--nodes N] [--pods N] [--api sqlite|memory|fake] [--json FILE] [--dir DIRECTORY]
// [--shape plain|spread|affinity|anti-affinity|preferred]`. Creates the pods and waits until all are bound: through the
// real registry on SQLite (default) or in memory, or through the tests' fake client, which leaves the scheduler's own cost.
// The nodes stand in three zones. Shapes are those of kube-scheduler's own benchmark (scheduler_perf): `spread` by zone with
// maxSkew 5, `affinity` and `anti-affinity` required, by zone and by node, `preferred` both as wishes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NODES, PODS } from '../src/api/kinds.ts';
import type { Pod, PodSpec } from '../src/api/types/core-v1.ts';
import { InformerSet } from '../src/client/informer.ts';
import { SystemClock } from '../src/lib/clock.ts';
import { silentLogger as logger } from '../src/lib/logger.ts';
import { SystemRandom } from '../src/lib/random.ts';
import { decide } from '../src/scheduler/decide.ts';
import { NO_HINTS } from '../src/scheduler/image-hints.ts';
import type { Situation } from '../src/scheduler/plugins/plugin.ts';
import { podInfo } from '../src/scheduler/pod-info.ts';
import { profileOf } from '../src/scheduler/profile.ts';
import { Scheduler } from '../src/scheduler/scheduler.ts';
import { Snapshot } from '../src/scheduler/snapshot.ts';
import { NO_VOLUMES } from '../src/scheduler/volumes.ts';
import { SqliteEngine } from '../src/server/store/sqlite-engine.ts';
import type { TestClient } from '../test/support/control-plane.ts';
import { FakeClient } from '../test/support/fake-client.ts';
import { RegistryClient } from '../test/support/registry-client.ts';
import { type Figure, publish } from './report.ts';

/** Clients that create pods at once, as the design's other benchmarks have. */
const CREATORS = 16;

const { values: flags } = parseArgs({
  options: {
    nodes: { type: 'string', default: '100' },
    pods: { type: 'string', default: '2000' },
    api: { type: 'string', default: 'sqlite' },
    shape: { type: 'string', default: 'plain' },
    json: { type: 'string' },
    dir: { type: 'string' },
  },
});
const nodeCount = Number(flags.nodes);
const podCount = Number(flags.pods);
const clock = new SystemClock();
const random = new SystemRandom();
const directory = mkdtempSync(join(flags.dir ?? tmpdir(), 'copepod-bench-'));

async function open(): Promise<TestClient & { close?: () => Promise<void> }> {
  if (flags.api === 'fake') return new FakeClient({ clock, random });
  if (flags.api !== 'sqlite' && flags.api !== 'memory')
    throw new Error(`--api ${flags.api}: sqlite, memory or fake`);
  const engine =
    flags.api === 'sqlite' ? { engine: new SqliteEngine({ file: join(directory, 'state.db'), clock }) } : {};
  return await RegistryClient.open(clock, random, { freeze: false, ...engine });
}

const containers = [
  { name: 'web', image: 'web:1', resources: { requests: { cpu: '100m', memory: '64Mi' } } },
];
const ZONE = 'topology.kubernetes.io/zone';
const HOST = 'kubernetes.io/hostname';
/** As many pods of one application as fit one to a node, twice over. */
const applications = Math.ceil(podCount / (nodeCount / 2));

/** A pod of the shape asked for. */
function podOf(index: number): Pick<Pod, 'metadata' | 'spec'> {
  const labels = { app: `app-${index % applications}` };
  const term = (topologyKey: string) => ({ topologyKey, labelSelector: { matchLabels: labels } });
  const wish = (topologyKey: string) => ({
    preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 10, podAffinityTerm: term(topologyKey) }],
  });
  const required = (topologyKey: string) => ({
    requiredDuringSchedulingIgnoredDuringExecution: [term(topologyKey)],
  });
  const shapes: Record<string, Partial<PodSpec>> = {
    plain: {},
    spread: {
      topologySpreadConstraints: [{ ...term(ZONE), maxSkew: 5, whenUnsatisfiable: 'DoNotSchedule' }],
    },
    affinity: { affinity: { podAffinity: required(ZONE) } },
    'anti-affinity': { affinity: { podAntiAffinity: required(HOST) } },
    preferred: { affinity: { podAffinity: wish(ZONE), podAntiAffinity: wish(HOST) } },
  };
  const shape = shapes[flags.shape];
  if (!shape) throw new Error(`--shape ${flags.shape}: ${Object.keys(shapes).join(', ')}`);
  return { metadata: { name: `pod-${index}`, labels }, spec: { containers, ...shape } };
}
const perNode = String(Math.ceil((2 * podCount) / nodeCount) + 10);

async function addNodes(client: TestClient): Promise<void> {
  for (let index = 0; index < nodeCount; index += 1) {
    const name = `board-${index}`;
    const allocatable = { cpu: perNode, memory: '64Gi', pods: perNode };
    await client.create(NODES, undefined, {
      metadata: { name, labels: { [HOST]: name, [ZONE]: `zone-${index % 3}` } },
      status: { allocatable, capacity: allocatable },
    });
    // The node monitor's work: the API taints new nodes.
    await client.patch(NODES, undefined, name, { type: 'merge', body: { spec: { taints: null } } });
  }
}

/** Pods bound a second, creation included, and the milliseconds of CPU that each of them took. */
async function endToEnd(client: TestClient): Promise<{ rate: number; cpu: number }> {
  const informers = new InformerSet({ client, logger });
  // Nothing runs here, so nothing ever settles: memory for all of it, or boards would count as full.
  const reading = {
    cpu: 0.2,
    load: 1,
    memTotal: 2 ** 40,
    memAvailable: 2 ** 39,
    diskTotal: 0,
    diskAvailable: 0,
    at: 0,
  };
  const readings = { of: () => reading };
  const scheduler = new Scheduler({ client, informers, clock, random, logger, readings });
  await informers.start();
  await scheduler.start();
  let bound = 0;
  const all = new Promise<void>((resolve) => {
    informers.of(PODS).handle({
      onUpdate: (pod, old) => {
        if (!pod.spec?.nodeName || old.spec?.nodeName) return;
        bound += 1;
        if (bound === podCount) resolve();
      },
    });
  });
  const begin = performance.now();
  const before = process.cpuUsage();
  let next = 0;
  const creator = async (): Promise<void> => {
    while (next < podCount) {
      const pod = podOf(next);
      next += 1;
      await client.create(PODS, 'default', pod);
    }
  };
  await Promise.all(Array.from({ length: CREATORS }, creator));
  await all;
  const seconds = (performance.now() - begin) / 1000;
  const { user, system } = process.cpuUsage(before);
  await scheduler.stop();
  await informers.stop();
  return { rate: podCount / seconds, cpu: (user + system) / 1000 / podCount };
}

/**
 * Microseconds for a decision alone, the whole pod count anew: the median and the 99th of a hundred by the wall clock
 * (which on a busy machine measures the others too), and the mean of this process's CPU.
 */
function decisions(client: TestClient): { p50: number; p99: number; cpu: number } {
  const snapshot = new Snapshot();
  const profile = profileOf('full');
  // What is bound already asks for its own node: take the plugin out.
  const filters = profile.filters.filter(({ name }) => name !== 'NodeName');
  const situation: Situation = {
    snapshot,
    readings: { of: () => undefined },
    volumes: NO_VOLUMES,
    images: NO_HINTS,
    siblings: () => undefined,
    now: 0,
  };
  let start = 0;
  for (const node of client.all(NODES)) snapshot.setNode(node);
  const times: number[] = [];
  const before = process.cpuUsage();
  for (const pod of client.all(PODS)) {
    const info = podInfo(pod);
    const begin = performance.now();
    const { node, nextStart } = decide(info, situation, {
      filters,
      scores: profile.scores,
      random: () => random.number(),
      start,
    });
    start = nextStart;
    times.push((performance.now() - begin) * 1000);
    if (node) snapshot.assume(info, node, 0);
  }
  const { user, system } = process.cpuUsage(before);
  times.sort((a, b) => a - b);
  return {
    p50: times[Math.floor(times.length / 2)] ?? 0,
    p99: times[Math.floor(times.length * 0.99)] ?? 0,
    cpu: (user + system) / times.length,
  };
}

try {
  const client = await open();
  await addNodes(client);
  const { rate, cpu } = await endToEnd(client);
  const decision = decisions(client);
  const memory = process.memoryUsage().rss / 2 ** 20;
  const what = `${nodeCount} nodes, ${podCount} pods, ${flags.shape}`;
  const figures: Figure[] = [
    {
      name: `pods bound a second, creation included (${what})`,
      value: rate,
      unit: '/s',
      budget: 400,
      atLeast: true,
    },
    { name: 'CPU for each pod, creation and binding included', value: cpu, unit: 'ms' },
    { name: 'one decision, median', value: decision.p50, unit: 'µs' },
    { name: 'one decision, 99th of a hundred', value: decision.p99, unit: 'µs' },
    { name: 'one decision, mean of CPU', value: decision.cpu, unit: 'µs' },
    { name: 'resident memory of the process at the end', value: memory, unit: 'MiB' },
  ];
  await client.close?.();
  publish(`scheduler (${flags.api})`, figures, clock.now(), flags.json);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
