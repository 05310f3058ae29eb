import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { groupFiles } from '../../src/health/control-groups.ts';
import { PodMeter } from '../../src/health/pod-usage.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

describe('where the control groups of a process are', () => {
  it.each([
    [
      '0::/system.slice/docker-abc.scope\n',
      {
        cpu: '/sys/fs/cgroup/system.slice/docker-abc.scope',
        memory: '/sys/fs/cgroup/system.slice/docker-abc.scope',
        pids: '/sys/fs/cgroup/system.slice/docker-abc.scope',
        version: 2,
      },
    ],
    [
      '9:name=systemd:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n0::/\n',
      {
        cpu: '/sys/fs/cgroup/cpu,cpuacct/docker/abc',
        memory: '/sys/fs/cgroup/memory/docker/abc',
        version: 1,
      },
    ],
    ['0::/../../outside\n', undefined],
    ['', undefined],
  ])('%j', (text, files) => {
    expect(groupFiles(text)).toEqual(files);
  });
});

describe('what containers use', () => {
  let root: string;
  let clock: VirtualClock;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'pod-usage-'));
    clock = new VirtualClock();
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const containers = [{ id: 'abc', podUid: 'u', name: 'main', pid: 42 }];

  it('is the growth of CPU time, and memory without idle file pages (version 2)', async () => {
    write('/proc/42/cgroup', '0::/x\n');
    const use = (microseconds: number): void => {
      write('/sys/fs/cgroup/x/cpu.stat', `usage_usec ${microseconds}\nuser_usec 1\n`);
    };
    use(1_000_000);
    write('/sys/fs/cgroup/x/memory.current', '1000\n');
    write('/sys/fs/cgroup/x/memory.stat', 'anon 5\ninactive_file 300\n');
    const meter = new PodMeter({ clock, root });
    expect(await meter.measure(containers)).toEqual({ windowMs: 0, pods: {} });
    await clock.advance(10_000);
    use(6_000_000);
    expect(await meter.measure(containers)).toEqual({ windowMs: 10_000, pods: { u: { main: [0.5, 700] } } });
  });

  it('reads version 1, and begins anew with another process', async () => {
    write('/proc/42/cgroup', '4:cpuacct:/x\n3:memory:/x\n');
    write('/sys/fs/cgroup/cpuacct/x/cpuacct.usage', '1000000000\n');
    write('/sys/fs/cgroup/memory/x/memory.usage_in_bytes', '1000\n');
    write('/sys/fs/cgroup/memory/x/memory.stat', 'inactive_file 1\ntotal_inactive_file 400\n');
    const meter = new PodMeter({ clock, root });
    await meter.measure(containers);
    await clock.advance(1000);
    write('/sys/fs/cgroup/cpuacct/x/cpuacct.usage', '1250000000\n');
    expect((await meter.measure(containers)).pods).toEqual({ u: { main: [0.25, 600] } });
    await clock.advance(1000);
    // Restarted: another pid, whose group tells nothing yet.
    expect((await meter.measure([{ ...containers[0], pid: 43 } as never])).pods).toEqual({});
  });
});
