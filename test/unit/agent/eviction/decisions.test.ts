import { describe, expect, it } from 'vitest';
import { nodeResources } from '../../../../src/agent/allocatable.ts';
import { pressureObjection } from '../../../../src/agent/eviction/admission.ts';
import { isCritical } from '../../../../src/agent/eviction/critical.ts';
import { exceededStorage, limitsStorage } from '../../../../src/agent/eviction/local-storage.ts';
import { starvedMessage } from '../../../../src/agent/eviction/messages.ts';
import type { ContainerUse, PodUse } from '../../../../src/agent/eviction/port.ts';
import { rankForEviction, type Starved } from '../../../../src/agent/eviction/rank.ts';
import { memoryVolumeBytes } from '../../../../src/agent/volumes/empty-dir.ts';
import type { Pod, PodSpec } from '../../../../src/api/types/core-v1.ts';
import { thresholdsOf } from '../../../../src/health/thresholds.ts';
import { testPod } from '../../../support/fake-node.ts';

const MIB = 1024 * 1024;
const use = (containers: Record<string, ContainerUse>, volumes: Record<string, number> = {}): PodUse => ({
  containers: new Map(Object.entries(containers)),
  volumes: new Map(Object.entries(volumes).map(([name, bytes]) => [name, { bytes, inodes: bytes / MIB }])),
});
const asking = (name: string, requests: Record<string, string>, spec: Partial<PodSpec> = {}): Pod =>
  testPod(name, { containers: [{ name: 'main', image: 'i', resources: { requests } }], ...spec });

describe('the order of eviction', () => {
  const order = (starved: Starved, rows: [Pod, PodUse | undefined][]): string[] => {
    const uses = new Map(
      rows.flatMap(([pod, used]) => (used ? [[pod.metadata.uid ?? '', used] as const] : [])),
    );
    return rankForEviction(
      rows.map(([pod]) => ({ pod, containers: [] })),
      uses,
      starved,
    ).map(({ pod }) => pod.metadata.name ?? '');
  };
  const memory = (mebibytes: number) => use({ main: { memory: mebibytes * MIB } });

  it('for memory: above the request, then priority, then how far above', () => {
    expect(
      order('memory', [
        [asking('modest', { memory: '300Mi' }), memory(290)],
        [asking('important', {}, { priority: 1000 }), memory(500)],
        [asking('a-little-above', { memory: '100Mi' }), memory(110)],
        [asking('far-above', { memory: '200Mi' }), memory(280)],
        [asking('best-effort', {}), memory(60)],
        [asking('frugal', { memory: '300Mi' }), memory(10)],
      ]),
    ).toEqual(['far-above', 'best-effort', 'a-little-above', 'important', 'modest', 'frugal']);
  });

  it('takes a pod that could not be measured before those of its kind', () => {
    expect(
      order('memory', [
        [asking('measured', {}), memory(100)],
        [asking('unknown', {}), undefined],
        [asking('unknown-important', {}, { priority: 5 }), undefined],
      ]),
    ).toEqual(['unknown', 'measured', 'unknown-important']);
  });

  it('for disk: layers, logs and volumes together, against the request', () => {
    expect(
      order('ephemeral-storage', [
        [asking('writes-logs', {}), use({ main: { logs: 300 * MIB, writable: 0 } })],
        [asking('asked-for-it', { 'ephemeral-storage': '1Gi' }), use({ main: { writable: 900 * MIB } })],
        [asking('fills-a-volume', {}), use({ main: { writable: 1 * MIB } }, { data: 400 * MIB })],
      ]),
    ).toEqual(['fills-a-volume', 'writes-logs', 'asked-for-it']);
  });

  it('for processes: priority, then their number', () => {
    const pids = (count: number) => use({ main: { pids: count } });
    expect(
      order('pids', [
        [asking('few', {}), pids(3)],
        [asking('bomb', {}), pids(3000)],
        [asking('important', {}, { priority: 9 }), pids(9000)],
      ]),
    ).toEqual(['bomb', 'few', 'important']);
  });

  it('spares static pods and those of the system', () => {
    expect(isCritical(asking('web', {}))).toBe(false);
    expect(isCritical(asking('web', {}, { priority: 1_999_999_999 }))).toBe(false);
    expect(isCritical(asking('dns', {}, { priority: 2_000_000_000 }))).toBe(true);
    const from = (annotations: Record<string, string>) => testPod('a', { containers: [] }, { annotations });
    expect(isCritical(from({ 'kubernetes.io/config.source': 'file' }))).toBe(true);
    expect(isCritical(from({ 'kubernetes.io/config.source': 'api' }))).toBe(false);
    expect(isCritical(from({ 'kubernetes.io/config.mirror': 'hash' }))).toBe(true);
  });
});

describe('a node under pressure', () => {
  const tolerant = asking(
    'a',
    {},
    { tolerations: [{ key: 'node.kubernetes.io/memory-pressure', operator: 'Exists' }] },
  );

  it('of memory takes pods that asked for some, or tolerate it', () => {
    const refused = { reason: 'Evicted', message: 'The node had condition: [MemoryPressure]. ' };
    expect(pressureObjection(asking('a', {}), ['MemoryPressure'])).toEqual(refused);
    expect(pressureObjection(asking('a', { cpu: '1m' }), ['MemoryPressure'])).toBeUndefined();
    expect(pressureObjection(tolerant, ['MemoryPressure'])).toBeUndefined();
    expect(pressureObjection(asking('a', {}), [])).toBeUndefined();
  });

  it('of anything else takes critical pods only', () => {
    const both = ['MemoryPressure', 'DiskPressure'];
    expect(pressureObjection(asking('a', { memory: '1Mi' }), ['DiskPressure'])?.reason).toBe('Evicted');
    expect(pressureObjection(tolerant, both)?.message).toBe(
      'The node had condition: [MemoryPressure DiskPressure]. ',
    );
    expect(pressureObjection(asking('a', {}, { priority: 2_000_000_000 }), both)).toBeUndefined();
  });
});

describe('the message', () => {
  const thresholds = thresholdsOf({ hard: [], soft: [], softGrace: [], reclaim: [] });

  it('says what ran short and who took more than they asked for', () => {
    const pod = testPod('a', {
      containers: [
        { name: 'greedy', image: 'i', resources: { requests: { memory: '64Mi' } } },
        { name: 'modest', image: 'i', resources: { requests: { memory: '64Mi' } } },
      ],
    });
    const readings = { 'memory.available': { available: 97_812 * 1024, capacity: 1024 * MIB } };
    const used = use({ greedy: { memory: 200 * MIB }, modest: { memory: 64 * MIB } });
    expect(starvedMessage(pod, 'memory', used, thresholds, readings)).toBe(
      'The node was low on resource: memory. Threshold quantity: 100Mi, available: 97812Ki. Container greedy was using 200Mi, request is 64Mi, has larger consumption of memory. ',
    );
  });

  it('knows a share of a disk, and a request that was not made', () => {
    const readings = { 'nodefs.available': { available: 1024 * MIB, capacity: 100 * 1024 * MIB } };
    const used = use({ main: { writable: 3 * MIB, logs: MIB } });
    expect(starvedMessage(asking('a', {}), 'ephemeral-storage', used, thresholds, readings)).toBe(
      'The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 1Gi. Container main was using 4Mi, request is 0, has larger consumption of ephemeral-storage. ',
    );
  });
});

describe('limits of local storage', () => {
  const pod = testPod('a', {
    volumes: [
      { name: 'cache', emptyDir: { sizeLimit: '10Mi' } },
      { name: 'free', emptyDir: {} },
      { name: 'ram', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
    ],
    containers: [
      { name: 'one', image: 'i', resources: { limits: { 'ephemeral-storage': '20Mi' } } },
      { name: 'two', image: 'i', resources: { limits: { 'ephemeral-storage': '30Mi' } } },
    ],
  });

  it('are said in the words of the kubelet', () => {
    const over = (one: number, two: number, cache: number) =>
      exceededStorage(
        pod,
        use(
          { one: { writable: one * MIB, logs: MIB }, two: { writable: two * MIB, logs: 0 } },
          { cache: cache * MIB },
        ),
      );
    expect(over(19, 30, 0)).toBeUndefined();
    expect(over(0, 0, 10)).toBeUndefined();
    expect(over(0, 0, 11)).toBe('Usage of EmptyDir volume "cache" exceeds the limit "10Mi". ');
    expect(over(19.5, 5, 0)).toBe('Container one exceeded its local ephemeral storage limit "20Mi". ');
    expect(over(15, 30, 9)).toBe(
      'Pod ephemeral local storage usage exceeds the total limit of containers 50Mi. ',
    );
  });

  it('are looked after only where there are some', () => {
    expect(limitsStorage(pod)).toBe(true);
    expect(limitsStorage(asking('a', {}))).toBe(false);
    expect(limitsStorage(asking('a', {}, { volumes: [{ name: 'v', emptyDir: {} }] }))).toBe(false);
    const inMemory = asking(
      'a',
      {},
      { volumes: [{ name: 'v', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }] },
    );
    expect(limitsStorage(inMemory)).toBe(false);
  });

  it('of a volume in memory are the least of its own, the pod and the node', () => {
    const volume = (sizeLimit?: string) => ({
      name: 'v',
      emptyDir: { medium: 'Memory', ...(sizeLimit ? { sizeLimit } : {}) },
    });
    const limited = testPod('a', {
      containers: [{ name: 'main', image: 'i', resources: { limits: { memory: '64Mi' } } }],
    });
    expect(memoryVolumeBytes(limited, volume('16Mi'), '700Mi')).toBe(16 * MIB);
    expect(memoryVolumeBytes(limited, volume('100Mi'), '700Mi')).toBe(64 * MIB);
    expect(memoryVolumeBytes(limited, volume(), '700Mi')).toBe(64 * MIB);
    expect(memoryVolumeBytes(asking('a', {}), volume(), '700Mi')).toBe(700 * MIB);
    expect(memoryVolumeBytes(asking('a', {}), volume(), undefined)).toBe(0);
  });
});

describe('allocatable', () => {
  const thresholds = thresholdsOf({ hard: [], soft: [], softGrace: [], reclaim: [] });
  const board = { cores: 4, memory: 1000 * MIB, storage: 30_000 * MIB, pods: 110 };

  it('leaves the system a tenth of the memory unless told otherwise, and what eviction keeps free', () => {
    expect(nodeResources(board, { kube: [], system: [] }, thresholds)).toEqual({
      capacity: { cpu: '4', memory: '1024000Ki', 'ephemeral-storage': '30720000Ki', pods: '110' },
      allocatable: { cpu: '4', memory: '819200Ki', 'ephemeral-storage': '27648000Ki', pods: '110' },
    });
    const large = nodeResources({ ...board, memory: 16_384 * MIB }, { kube: [], system: [] }, thresholds);
    expect(large.allocatable.memory).toBe(`${(16_384 - 256 - 100) * 1024}Ki`);
    const small = nodeResources({ ...board, memory: 480 * MIB }, { kube: [], system: [] }, thresholds);
    expect(small.allocatable.memory).toBe(`${(480 - 64 - 100) * 1024}Ki`);
  });

  it('subtracts what was reserved', () => {
    const reserved = {
      kube: [
        { resource: 'cpu', quantity: '250m' },
        { resource: 'memory', quantity: '100Mi' },
      ],
      system: [
        { resource: 'memory', quantity: '50Mi' },
        { resource: 'ephemeral-storage', quantity: '1000Mi' },
      ],
    };
    expect(nodeResources(board, reserved, thresholds).allocatable).toEqual({
      cpu: '3750m',
      memory: `${(1000 - 150 - 100) * 1024}Ki`,
      'ephemeral-storage': `${(27_000 - 1000) * 1024}Ki`,
      pods: '110',
    });
    const all = nodeResources(
      board,
      { kube: [{ resource: 'memory', quantity: '4Gi' }], system: [] },
      thresholds,
    );
    expect(all.allocatable.memory).toBe('0Ki');
  });
});
