import { describe, expect, it } from 'vitest';
import {
  cgroupDirectory,
  cgroupParent,
  isCgroupName,
  largerLimits,
  limitFiles,
  podCgroup,
  podCgroupLimits,
  sliceProperties,
} from '../../../../src/agent/pods/cgroups.ts';
import { qosClass } from '../../../../src/agent/pods/qos.ts';
import type { Pod, ResourceRequirements } from '../../../../src/api/types/core-v1.ts';
import { testPod } from '../../../support/fake-node.ts';

const UID = '0a-1b';

function pod(containers: ResourceRequirements[], own?: ResourceRequirements): Pod {
  const made = testPod('a', {
    containers: containers.map((resources, index) => ({ name: `c${index}`, resources })),
    ...(own ? { resources: own } : {}),
  });
  return { ...made, status: { qosClass: qosClass(made) } };
}

describe('names of groups', () => {
  it.each([
    ['Guaranteed', '/kubepods/pod0a-1b', 'kubepods-pod0a_1b.slice', 'kubepods.slice/kubepods-pod0a_1b.slice'],
    [
      'Burstable',
      '/kubepods/burstable/pod0a-1b',
      'kubepods-burstable-pod0a_1b.slice',
      'kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a_1b.slice',
    ],
    [
      'BestEffort',
      '/kubepods/besteffort/pod0a-1b',
      'kubepods-besteffort-pod0a_1b.slice',
      'kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a_1b.slice',
    ],
  ] as const)('%s', (qos, plain, slice, directory) => {
    const path = podCgroup(UID, qos);
    expect(cgroupParent(path, 'cgroupfs')).toBe(plain);
    expect(`/${cgroupDirectory(path, 'cgroupfs')}`).toBe(plain);
    expect(cgroupParent(path, 'systemd')).toBe(slice);
    expect(cgroupDirectory(path, 'systemd')).toBe(directory);
  });

  it('are never made of a uid that is a path', () => {
    expect(isCgroupName('1b2c-3d')).toBe(true);
    for (const uid of ['../x', '/etc', '', 'a.b', 'a b']) expect(isCgroupName(uid)).toBe(false);
  });
});

describe('limits of a pod as a whole', () => {
  const limited = { requests: { cpu: '100m', memory: '32Mi' }, limits: { cpu: '200m', memory: '64Mi' } };
  it.each<[string, ResourceRequirements[], ResourceRequirements | undefined, object]>([
    ['nothing asked for', [{}], undefined, { cpuShares: 2 }],
    ['requests only', [{ requests: { cpu: '1' } }, {}], undefined, { cpuShares: 1024 }],
    [
      'all limited: the sum',
      [limited, limited],
      undefined,
      { cpuShares: 204, cpuQuotaUs: 40_000, memoryBytes: 128 * 2 ** 20 },
    ],
    ['one without a limit: none', [limited, {}], undefined, { cpuShares: 102 }],
    [
      'one with a limit of memory only',
      [limited, { limits: { memory: '1Mi' } }],
      undefined,
      { cpuShares: 102, memoryBytes: 65 * 2 ** 20 },
    ],
    [
      'the pod’s own word above its containers’',
      [{}, limited],
      { requests: { cpu: '1', memory: '1Gi' }, limits: { cpu: '2', memory: '1Gi' } },
      { cpuShares: 1024, cpuQuotaUs: 200_000, memoryBytes: 2 ** 30 },
    ],
  ])('%s', (_name, containers, own, expected) => {
    expect(podCgroupLimits(pod(containers, own))).toEqual(expected);
  });

  it('are written as each version of control groups has them', () => {
    const limits = { cpuShares: 1024, cpuQuotaUs: 50_000, memoryBytes: 1000 };
    const files = (version: 1 | 2, of = limits as Parameters<typeof limitFiles>[0]) =>
      limitFiles(of, version).map(({ name, value }) => `${name}=${value}`);
    expect(files(1)).toEqual([
      'cpu.shares=1024',
      'cpu.cfs_period_us=100000',
      'cpu.cfs_quota_us=50000',
      'memory.limit_in_bytes=1000',
    ]);
    expect(files(1, { cpuShares: 2 })).toContain('cpu.cfs_quota_us=-1');
    expect(files(2)).toEqual(['cpu.weight=39', 'cpu.max=50000 100000', 'memory.max=1000']);
    expect(files(2, { cpuShares: 2 })).toEqual(['cpu.weight=1', 'cpu.max=max 100000', 'memory.max=max']);
    expect(sliceProperties(limits, 2)).toEqual(['CPUWeight=39', 'CPUQuota=50%', 'MemoryMax=1000']);
    expect(sliceProperties({ cpuShares: 512 }, 1)).toEqual([
      'CPUShares=512',
      'CPUQuota=',
      'MemoryLimit=infinity',
    ]);
  });

  it('grow before its containers do: the larger of each, and none where one has none', () => {
    const small = { cpuShares: 10, cpuQuotaUs: 100, memoryBytes: 100 };
    expect(largerLimits(small, { cpuShares: 5, cpuQuotaUs: 300, memoryBytes: 50 })).toEqual({
      cpuShares: 10,
      cpuQuotaUs: 300,
      memoryBytes: 100,
    });
    expect(largerLimits(small, { cpuShares: 20, cpuQuotaUs: 1 })).toEqual({ cpuShares: 20, cpuQuotaUs: 100 });
  });
});
