// The store on real SQLite: `node bench/store.ts [--json FILE] [--dir DIRECTORY] [--page-size N]`. Figures depend on the
// disk under DIRECTORY (default: the system's temporary directory). Memory is only right with the bundled worker
// (`npm run build` first): stripping types costs 25 MiB.
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { KubeObject } from '../src/api/object.ts';
import { SystemClock } from '../src/lib/clock.ts';
import { silentLogger } from '../src/lib/logger.ts';
import type { Durability } from '../src/server/store/port.ts';
import { SqliteEngine } from '../src/server/store/sqlite-engine.ts';
import { ObjectStore, type StoreLimits } from '../src/server/store/store.ts';
import { VirtualClock } from '../test/support/virtual-clock.ts';
import { type Figure, processUsage, publish, quantile } from './report.ts';

const WRITERS = 16;
const HEARTBEAT_MS = 10_000;
const HOUR_MS = 3_600_000;

const { values: options } = parseArgs({
  options: { json: { type: 'string' }, dir: { type: 'string' }, 'page-size': { type: 'string' } },
});
const directory = mkdtempSync(join(options.dir ?? tmpdir(), 'copepod-bench-'));
const bundledWorker = new URL('../dist/store-worker.js', import.meta.url);
const workerUrl = existsSync(bundledWorker) ? { workerUrl: bundledWorker } : {};
const systemClock = new SystemClock();
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function newStore(
  name: string,
  clock = systemClock as SystemClock | VirtualClock,
  limits?: Partial<StoreLimits>,
) {
  const worker = options['page-size'] ? { pageSize: Number(options['page-size']) } : {};
  const engine = new SqliteEngine({
    file: join(directory, `${name}.db`),
    clock: systemClock,
    worker,
    ...workerUrl,
  });
  return new ObjectStore({ engine, clock, logger: silentLogger, ...(limits ? { limits } : {}) });
}

const bytesWritten = (): number => processUsage(process.pid).written;
const residentBytes = (): number => processUsage(process.pid).resident;

/** A pod as a Deployment's controller, the scheduler and an agent leave it: about 5 KB of JSON. */
function pod(index: number, phase = 'Running'): KubeObject {
  const name = `web-${(index * 7919).toString(36)}-${index}`;
  const time = new Date(1_767_225_600_000 + index * 1000).toISOString();
  const condition = (type: string) => ({
    type,
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: time,
  });
  const container = (n: number) => ({
    name: `container-${n}`,
    image: 'registry.example.com/shop/web:1.4.2',
    args: ['--listen', ':8080', '--upstream', 'http://backend.shop.svc.cluster.local:8080'],
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    env: Array.from({ length: 8 }, (_, i) => ({ name: `SETTING_${i}`, value: `value-${i}-of-${index}` })),
    resources: { requests: { cpu: '50m', memory: '32Mi' }, limits: { memory: '64Mi' } },
    volumeMounts: [
      { name: 'token', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true },
    ],
    livenessProbe: { httpGet: { path: '/healthz', port: 8080, scheme: 'HTTP' }, periodSeconds: 10 },
    readinessProbe: { httpGet: { path: '/ready', port: 8080, scheme: 'HTTP' }, periodSeconds: 5 },
    terminationMessagePath: '/dev/termination-log',
    imagePullPolicy: 'IfNotPresent',
  });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'shop',
      uid: `5f0b7c1e-0000-4000-8000-${String(index).padStart(12, '0')}`,
      creationTimestamp: time,
      labels: { app: 'web', 'pod-template-hash': '6d4cf56db6' },
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-6d4cf56db6', uid: 'a', controller: true },
      ],
      managedFields: ['kube-controller-manager', 'kubelet'].map((manager) => ({
        manager,
        operation: 'Update',
        apiVersion: 'v1',
        time,
        fieldsType: 'FieldsV1',
        fieldsV1: { 'f:metadata': { 'f:labels': { 'f:app': {} } }, 'f:spec': { 'f:containers': {} } },
      })),
    },
    spec: {
      containers: [container(1), container(2)],
      nodeName: `board-${index % 20}`,
      restartPolicy: 'Always',
    },
    status: {
      phase,
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(condition),
      hostIP: '192.168.1.10',
      podIP: `10.42.${index >> 8}.${index & 255}`,
      startTime: time,
      containerStatuses: [1, 2].map((n) => ({
        name: `container-${n}`,
        state: { running: { startedAt: time } },
        ready: true,
        restartCount: 0,
        image: 'registry.example.com/shop/web:1.4.2',
        imageID: `docker-pullable://web@sha256:${'ab'.repeat(32)}`,
        containerID: `docker://${String(index).padStart(64, 'c')}`,
      })),
    },
  } as KubeObject;
}

const keyOf = (object: KubeObject) => `${object.metadata.namespace}/${object.metadata.name}`;

/** Commits `count` changes from 16 writers, each waiting for its acknowledgement. */
async function burst(
  store: ObjectStore,
  count: number,
  durability: Durability,
  prefix: string,
): Promise<Figure[]> {
  const latencies: number[] = [];
  let bytes = 0;
  let next = 0;
  const before = bytesWritten();
  const begin = systemClock.monotonic();
  const writer = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const object = pod(index % 2000, index < 2000 ? 'Pending' : 'Running');
      const expected = store.head('pods', keyOf(object))?.revision ?? 0;
      const from = systemClock.monotonic();
      const [stored] = await store.commit([
        { bucket: 'pods', key: keyOf(object), object, expected, durability },
      ]);
      latencies.push(systemClock.monotonic() - from);
      bytes += stored ? store.json(stored.object).length : 0;
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  const seconds = (systemClock.monotonic() - begin) / 1000;
  const written = bytesWritten() - before;
  return [
    { name: `${prefix}: commits`, value: count / seconds, unit: '1/s' },
    { name: `${prefix}: latency p50`, value: quantile(latencies, 0.5), unit: 'ms' },
    { name: `${prefix}: latency p99`, value: quantile(latencies, 0.99), unit: 'ms' },
    { name: `${prefix}: object size`, value: bytes / count, unit: 'bytes' },
    { name: `${prefix}: written to disk per commit`, value: written / count, unit: 'bytes' },
    { name: `${prefix}: write amplification`, value: written / bytes, unit: '×' },
  ];
}

async function throughput(): Promise<Figure[]> {
  const store = newStore('throughput');
  await store.start();
  const figures = [
    ...(await burst(store, 4000, 'durable', 'durable, 16 writers')),
    ...(await burst(store, 20_000, 'coalesced', 'coalesced, 16 writers')),
  ];
  const before = bytesWritten();
  await store.stop();
  figures.push({ name: 'flush at stop', value: bytesWritten() - before, unit: 'bytes' });
  return figures;
}

async function memory(objects: number): Promise<Figure[]> {
  const filler = newStore('memory');
  await filler.start();
  let size = 0;
  for (let begin = 0; begin < objects; begin += 500) {
    const writes = Array.from({ length: 500 }, (_, index) => {
      const object = pod(begin + index);
      size += JSON.stringify(object).length;
      return { bucket: 'pods', key: keyOf(object), object, expected: 0, durability: 'durable' as const };
    });
    await filler.commit(writes);
  }
  await filler.stop();
  const file = statSync(join(directory, 'memory.db')).size;
  collectGarbage();
  const heapBefore = process.memoryUsage().heapUsed;
  const store = newStore('memory');
  const begin = systemClock.monotonic();
  await store.start();
  const startMs = systemClock.monotonic() - begin;
  collectGarbage();
  const heap = process.memoryUsage().heapUsed - heapBefore;
  const listBegin = systemClock.monotonic();
  for (let round = 0; round < 100; round += 1) store.list('pods', 'shop/');
  const listMs = (systemClock.monotonic() - listBegin) / 100;
  await store.stop();
  return [
    { name: `${objects} pods: JSON`, value: size / 2 ** 20, unit: 'MiB' },
    { name: `${objects} pods: heap`, value: heap / 2 ** 20, unit: 'MiB' },
    { name: `${objects} pods: heap per object`, value: heap / objects, unit: 'bytes' },
    { name: `${objects} pods: database file`, value: file / 2 ** 20, unit: 'MiB' },
    { name: `${objects} pods: start`, value: startMs, unit: 'ms' },
    { name: `${objects} pods: list`, value: listMs, unit: 'ms' },
  ];
}

async function emptyCost(): Promise<Figure[]> {
  collectGarbage();
  const before = residentBytes();
  const store = newStore('empty');
  await store.start();
  await store.commit([{ bucket: 'pods', key: 'a/b', object: pod(1), expected: 0, durability: 'durable' }]);
  collectGarbage();
  const figure = {
    name: 'empty store with its thread: resident',
    value: residentBytes() - before,
    unit: 'bytes',
  };
  await store.stop();
  return [{ ...figure, value: figure.value / 2 ** 20, unit: 'MiB' }];
}

/** Ten boards that report every ten seconds, for an hour of virtual time. */
async function idleHour(): Promise<Figure[]> {
  const clock = new VirtualClock();
  const store = newStore('idle', clock);
  await store.start();
  const before = bytesWritten();
  for (let elapsed = 0; elapsed < HOUR_MS; elapsed += HEARTBEAT_MS) {
    for (let board = 0; board < 10; board += 1) {
      const object = pod(board, `reported at ${elapsed}`);
      const expected = store.head('nodes', keyOf(object))?.revision ?? 0;
      await store.commit([
        { bucket: 'nodes', key: keyOf(object), object, expected, durability: 'coalesced' },
      ]);
    }
    await clock.advance(HEARTBEAT_MS);
  }
  await store.stop();
  return [
    {
      name: 'an hour of 10 idle boards: written',
      value: bytesWritten() - before,
      unit: 'bytes',
      budget: 1e6,
    },
  ];
}

try {
  const figures = [
    ...(await emptyCost()),
    ...(await throughput()),
    ...(await memory(10_000)),
    ...(await idleHour()),
  ];
  const worker = existsSync(bundledWorker) ? 'bundled worker' : 'worker from its source';
  publish(`store (${worker})`, figures, systemClock.now());
} finally {
  rmSync(directory, { recursive: true, force: true });
}
