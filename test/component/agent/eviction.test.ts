import { beforeEach, describe, expect, it } from 'vitest';
import { EvictionManager, type ReclaimImages } from '../../../src/agent/eviction/manager.ts';
import { PodUseMeter } from '../../../src/agent/eviction/pod-use.ts';
import type { PodUse } from '../../../src/agent/eviction/port.ts';
import type { Pod, PodStatus } from '../../../src/api/types/core-v1.ts';
import type { Readings } from '../../../src/health/pressure.ts';
import { thresholdsOf } from '../../../src/health/thresholds.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { type FakeNode, fakeNode, testPod } from '../../support/fake-node.ts';
import { FakeRuntime } from '../../support/fake-runtime.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const MIB = 1024 * 1024;

let clock: VirtualClock;
let runtime: FakeRuntime;
let node: FakeNode;
let manager: EvictionManager;
let board: Readings;
/** Working sets by pod name, mebibytes. */
let memory: Record<string, number>;
let storage: Record<string, PodUse>;
let reclaim: ReclaimImages;
let conditions: string[];
let starved: string[];
let evicted: string[];

class ScriptedMeter extends PodUseMeter {
  override async measure(...[pods, what]: Parameters<PodUseMeter['measure']>): Promise<Map<string, PodUse>> {
    return new Map(
      await Promise.all(
        pods.map(async (active) => {
          const { name = '', uid = '' } = active.pod.metadata;
          if (what !== 'memory') return [uid, await this.storage(active)] as const;
          const use = {
            containers: new Map([['main', { memory: (memory[name] ?? 0) * MIB }]]),
            volumes: new Map(),
          };
          return [uid, use] as const;
        }),
      ),
    );
  }
  override async storage(...[{ pod }]: Parameters<PodUseMeter['storage']>): Promise<PodUse> {
    return storage[pod.metadata.name ?? ''] ?? { containers: new Map(), volumes: new Map() };
  }
}

function evictionManager(options: Partial<Parameters<typeof thresholdsOf>[0]> = {}, maxPodGraceSeconds = 0) {
  return new EvictionManager({
    clock,
    logger: silentLogger,
    thresholds: thresholdsOf({ hard: [], soft: [], softGrace: [], reclaim: [], ...options }),
    transitionMs: 300_000,
    storageMs: 60_000,
    maxPodGraceSeconds,
    signals: { read: async () => structuredClone(board), memory: () => board['memory.available'] },
    pods: node.manager,
    meter: async () =>
      new ScriptedMeter({ runtime, podsDirectory: '/nowhere', engineDirectory: () => undefined }),
    reclaimImages: (request) => reclaim(request),
    onConditions: () => conditions.push(Object.keys(manager.conditions).join() || 'none'),
    onStarved: (resource) => starved.push(resource),
    onEvicted: (pod) => evicted.push(pod.metadata.name ?? ''),
  });
}

beforeEach(() => {
  clock = new VirtualClock();
  runtime = new FakeRuntime({ clock });
  runtime.images.set('pause', {});
  runtime.images.set('app', {});
  runtime.images.set('stubborn', { ignoresSigterm: true });
  node = fakeNode({ clock, runtime, pressures: () => Object.keys(manager.conditions) });
  board = {
    'memory.available': { available: 500 * MIB, capacity: 1024 * MIB },
    'nodefs.available': { available: 5_000 * MIB, capacity: 10_000 * MIB },
  };
  memory = {};
  storage = {};
  reclaim = async () => ({ freedBytes: 0 });
  conditions = [];
  starved = [];
  evicted = [];
  manager = evictionManager();
});

const app = (name: string, spec: Partial<NonNullable<Pod['spec']>> = {}, container = {}): Pod =>
  testPod(name, {
    containers: [{ name: 'main', image: 'app', imagePullPolicy: 'Never', ...container }],
    ...spec,
  });
async function running(...pods: Pod[]): Promise<void> {
  await node.manager.start();
  for (const pod of pods) node.desired.set(pod);
  await clock.settle();
  await manager.start();
}
const status = (name: string): PodStatus | undefined => node.reporter.status(`uid-${name}`);
const phases = (...names: string[]) => names.map((name) => status(name)?.phase);
const free = (mebibytes: number): void => {
  board['memory.available'] = { available: mebibytes * MIB, capacity: 1024 * MIB };
};

describe('when memory runs out', () => {
  it('evicts one pod, says why, and leaves the others alone once that was enough', async () => {
    memory = { big: 300, small: 20 };
    await running(app('small'), app('big', {}, { resources: { requests: { memory: '64Mi' } } }));
    free(90);
    await manager.check();
    expect(evicted).toEqual(['big']);
    free(390);
    await clock.advance(60_000);
    const message =
      'The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container main was using 300Mi, request is 64Mi, has larger consumption of memory. ';
    expect(status('big')).toMatchObject({ phase: 'Failed', reason: 'Evicted', message });
    expect(status('big')?.conditions?.find(({ type }) => type === 'DisruptionTarget')).toMatchObject({
      status: 'True',
      reason: 'TerminationByKubelet',
      message,
    });
    expect(phases('small')).toEqual(['Running']);
    expect(evicted).toEqual(['big']);
    expect(starved).toEqual(['memory']);
    // Its sandbox and network are given back; its containers stay for those who ask why.
    expect(runtime.all.filter(({ name }) => name.includes('_big_')).map(({ state }) => state)).toEqual([
      'exited',
    ]);
  });

  it('waits for the evicted pod to end before it takes the next, and goes on until there is enough', async () => {
    memory = { a: 300, b: 200, c: 100 };
    await running(app('a', {}, { image: 'stubborn' }), app('b'), app('c'));
    free(50);
    await manager.check();
    await clock.advance(500);
    expect(evicted).toEqual(['a']);
    await clock.advance(4_000);
    expect(evicted.slice(0, 2)).toEqual(['a', 'b']);
    free(400);
    await clock.advance(60_000);
    expect(evicted.length).toBeLessThanOrEqual(3);
    expect(phases('a', 'b')).toEqual(['Failed', 'Failed']);
  });

  it('kills after a second whatever the pod asked for', async () => {
    memory = { a: 300 };
    await running(app('a', { terminationGracePeriodSeconds: 600 }, { image: 'stubborn' }));
    free(50);
    await manager.check();
    await clock.settle();
    expect(runtime.calls.filter((call) => call.startsWith('stop'))).toEqual([expect.stringMatching(/ 1$/)]);
  });

  it('gives a pod time for a soft threshold, no more than it asked for', async () => {
    manager = evictionManager(
      {
        soft: [{ signal: 'memory.available', amount: '200Mi' }],
        softGrace: [{ signal: 'memory.available', milliseconds: 30_000 }],
      },
      60,
    );
    memory = { a: 300, b: 200 };
    await running(app('a', { terminationGracePeriodSeconds: 20 }), app('b'));
    free(150);
    await manager.check();
    await clock.advance(20_000);
    expect(evicted).toEqual([]);
    await clock.advance(20_000);
    expect(evicted[0]).toBe('a');
    expect(runtime.calls.find((call) => call.startsWith('stop'))).toMatch(/ 20$/);
  });

  it('notices within half a second when there is little left, though it looks every ten seconds else', async () => {
    memory = { a: 300 };
    await running(app('a'));
    free(120);
    await clock.advance(10_000);
    expect(evicted).toEqual([]);
    free(80);
    await clock.advance(700);
    expect(evicted).toEqual(['a']);
  });

  it('spares static pods and those of the system', async () => {
    memory = { dns: 300, file: 300, web: 10 };
    const file = app('file');
    file.metadata.annotations = { 'kubernetes.io/config.source': 'file' };
    await running(app('dns', { priority: 2_000_001_000 }), file, app('web'));
    free(50);
    await manager.check();
    await clock.advance(60_000);
    expect(evicted).toEqual(['web']);
    expect(phases('dns', 'file')).toEqual(['Running', 'Running']);
  });

  it('tells the condition at once and takes it back after the transition period', async () => {
    await running();
    free(50);
    await manager.check();
    expect(manager.conditions).toEqual({ MemoryPressure: 'kubelet has insufficient memory available' });
    free(500);
    await clock.advance(290_000);
    expect(conditions).toEqual(['MemoryPressure']);
    await clock.advance(30_000);
    expect(conditions).toEqual(['MemoryPressure', 'none']);
  });
});

it('under pressure a pod that asked for nothing is turned away, and what runs already stays', async () => {
  const asking = { resources: { requests: { memory: '1Mi' } } };
  await running(app('here', { priority: 2_000_000_000 }));
  free(50);
  await manager.check();
  free(500);
  await clock.advance(10_000);
  node.desired.set(app('nothing'));
  node.desired.set(app('something', {}, asking));
  await clock.advance(30_000);
  expect(phases('here', 'something', 'nothing')).toEqual(['Running', 'Running', 'Failed']);
  expect(status('nothing')).toMatchObject({
    reason: 'Evicted',
    message: 'Pod was rejected: The node had condition: [MemoryPressure]. ',
  });
});

describe('when the disk runs full', () => {
  const disk = (mebibytes: number): void => {
    board['nodefs.available'] = { available: mebibytes * MIB, capacity: 10_000 * MIB };
  };

  it('gives back dead containers and images first, and evicts nobody when that is enough', async () => {
    runtime.images.set('job', { exitAfterMs: 100 });
    const asked: number[] = [];
    reclaim = async ({ freeBytes = 0 }) => {
      asked.push(freeBytes / MIB);
      disk(1_200);
      return { freedBytes: 400 * MIB };
    };
    await running(app('web'), app('done', { restartPolicy: 'Never' }, { image: 'job' }));
    await clock.advance(1_000);
    expect(phases('done')).toEqual(['Succeeded']);
    disk(800);
    await manager.check();
    await clock.advance(30_000);
    expect(asked).toEqual([200]);
    expect(evicted).toEqual([]);
    expect(manager.conditions).toEqual({ DiskPressure: 'kubelet has disk pressure' });
    expect(runtime.all.some(({ name }) => name.startsWith('k8s_main_done'))).toBe(false);
    // What was told of it stands.
    expect(status('done')?.containerStatuses?.[0]?.state?.terminated).toMatchObject({ exitCode: 0 });
  });

  it('evicts the pod that takes the most when that was not enough', async () => {
    const layer = (mebibytes: number): PodUse => ({
      containers: new Map([['main', { writable: mebibytes * MIB, logs: 0 }]]),
      volumes: new Map(),
    });
    storage = { log: layer(900), web: layer(10) };
    await running(app('web'), app('log'));
    disk(700);
    await manager.check();
    await clock.advance(2_000);
    expect(evicted).toEqual(['log']);
    disk(5_000);
    await clock.advance(60_000);
    expect(phases('log', 'web')).toEqual(['Failed', 'Running']);
    expect(status('log')?.message).toBe(
      'The node was low on resource: ephemeral-storage. Threshold quantity: 1000Mi, available: 700Mi. Container main was using 900Mi, request is 0, has larger consumption of ephemeral-storage. ',
    );
  });

  it('still sees that memory runs out while images are being removed', async () => {
    reclaim = () => new Promise(() => {});
    memory = { a: 10 };
    await running(app('a'));
    disk(700);
    await manager.check();
    free(50);
    await clock.advance(3_000);
    expect(evicted).toEqual(['a']);
  });
});

it('ends pods that wrote more than they may, once a minute, whoever else has room', async () => {
  const limited = app('writer', { volumes: [{ name: 'cache', emptyDir: { sizeLimit: '10Mi' } }] });
  await running(limited, app('web'));
  await clock.advance(70_000);
  expect(evicted).toEqual([]);
  storage = {
    writer: { containers: new Map(), volumes: new Map([['cache', { bytes: 11 * MIB, inodes: 2 }]]) },
  };
  await clock.advance(70_000);
  expect(evicted).toEqual(['writer']);
  expect(status('writer')).toMatchObject({
    phase: 'Failed',
    reason: 'Evicted',
    message: 'Usage of EmptyDir volume "cache" exceeds the limit "10Mi". ',
  });
  // The node is not short of anything: a Job does not count it as a disruption.
  expect(status('writer')?.conditions?.some(({ type }) => type === 'DisruptionTarget')).toBe(false);
});
