import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CgroupFiles, type CgroupSetup } from '../../../src/agent/pods/cgroup-files.ts';
import type { Pod, ResourceRequirements } from '../../../src/api/types/core-v1.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { testPod } from '../../support/fake-node.ts';

// A folder stands for /sys/fs/cgroup: what is written where. That groups go away is for the end-to-end tests.
let root: string;
let calls: string[];
let refuses: boolean;
let unlimited: string[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'copepod-cgroup-'));
  calls = [];
  unlimited = [];
  refuses = false;
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const groups = (setup: CgroupSetup | undefined): CgroupFiles =>
  new CgroupFiles({
    engine: async () => setup,
    root,
    cores: 4,
    logger: silentLogger,
    systemctl: async (args) => {
      calls.push(args.join(' '));
      if (refuses) throw new Error('no');
    },
    onUnlimited: (pod, reason) => unlimited.push(`${pod.metadata.name}: ${reason}`),
  });
const sized = (name: string, limits: Record<string, string>, own?: ResourceRequirements): Pod => ({
  ...testPod(
    name,
    {
      containers: [{ name: 'c', resources: { limits, requests: limits } }],
      ...(own ? { resources: own } : {}),
    },
    { uid: `uid-${name}` },
  ),
  status: { qosClass: 'Burstable' },
});
const read = (...path: string[]): string => readFileSync(join(root, ...path), 'utf8');

it('writes limits into the hierarchies of version 1, and grows before it shrinks', async () => {
  for (const name of ['cpu,cpuacct', 'memory', 'pids']) mkdirSync(join(root, name));
  const cgroups = groups({ driver: 'cgroupfs', version: 1 });
  const pod = sized('a', { cpu: '500m', memory: '64Mi' });
  expect(await cgroups.prepare(pod)).toBe('/kubepods/burstable/poduid-a');
  const group = ['kubepods', 'burstable', 'poduid-a'];
  expect(read('cpu,cpuacct', ...group, 'cpu.cfs_quota_us')).toBe('50000');
  expect(read('memory', ...group, 'memory.limit_in_bytes')).toBe(String(64 * 2 ** 20));
  expect(existsSync(join(root, 'pids', 'kubepods'))).toBe(false);
  // All cores for pods together, and for the Burstable ones what they request.
  expect(read('cpu,cpuacct', 'kubepods', 'cpu.shares')).toBe('4096');
  expect(read('cpu,cpuacct', 'kubepods', 'burstable', 'cpu.shares')).toBe('512');
  const other = sized('a', { cpu: '1', memory: '32Mi' });
  await cgroups.grow(other);
  expect(read('cpu,cpuacct', ...group, 'cpu.cfs_quota_us')).toBe('100000');
  expect(read('memory', ...group, 'memory.limit_in_bytes')).toBe(String(64 * 2 ** 20));
  await cgroups.apply(other);
  expect(read('memory', ...group, 'memory.limit_in_bytes')).toBe(String(32 * 2 ** 20));
  // One that an earlier agent has made is grown as well.
  const next = groups({ driver: 'cgroupfs', version: 1 });
  next.adopt(other);
  await next.grow(sized('a', { cpu: '2', memory: '32Mi' }));
  expect(read('cpu,cpuacct', ...group, 'cpu.cfs_quota_us')).toBe('200000');
});

it('switches controllers on along the way in version 2', async () => {
  const cgroups = groups({ driver: 'cgroupfs', version: 2 });
  await cgroups.prepare(sized('a', { cpu: '500m', memory: '64Mi' }));
  expect(read('kubepods', 'burstable', 'poduid-a', 'cpu.max')).toBe('50000 100000');
  expect(read('kubepods', 'burstable', 'poduid-a', 'memory.max')).toBe(String(64 * 2 ** 20));
  for (const parent of [[], ['kubepods'], ['kubepods', 'burstable']]) {
    expect(existsSync(join(root, ...parent, 'cgroup.subtree_control'))).toBe(true);
  }
});

it('leaves groups to systemd where Docker does, with as few calls as will do', async () => {
  const cgroups = groups({ driver: 'systemd', version: 2 });
  const pod = sized('a', { cpu: '500m', memory: '64Mi' });
  expect(await cgroups.prepare(pod)).toBe('kubepods-burstable-poduid_a.slice');
  expect(calls).toEqual([
    'set-property --runtime kubepods.slice CPUWeight=157 CPUQuota= MemoryMax=infinity',
    `set-property --runtime kubepods-burstable-poduid_a.slice CPUWeight=20 CPUQuota=50% MemoryMax=${64 * 2 ** 20}`,
    'set-property --runtime kubepods-burstable.slice CPUWeight=20 CPUQuota= MemoryMax=infinity',
    'set-property --runtime kubepods-besteffort.slice CPUWeight=1 CPUQuota= MemoryMax=infinity',
  ]);
  calls.length = 0;
  const free: Pod = { ...testPod('b', { containers: [{ name: 'c' }] }), status: { qosClass: 'BestEffort' } };
  expect(await cgroups.prepare(free)).toBe('kubepods-besteffort-poduid_b.slice');
  expect(calls).toEqual([]);
  refuses = true;
  await cgroups.prepare(sized('c', {}, { limits: { memory: '1Gi' } }));
  expect(unlimited).toEqual(['c: no']);
});

it('does nothing where groups cannot be made', async () => {
  refuses = true;
  expect(await groups({ driver: 'systemd', version: 2 }).prepare(sized('a', { cpu: '1' }))).toBeUndefined();
  const none = groups(undefined);
  expect(await none.prepare(sized('a', { cpu: '1' }))).toBeUndefined();
  await none.remove('uid-a');
});
