import { describe, expect, it } from 'vitest';
import { checks } from '../../../src/cli/check/checks.ts';
import type { Machine } from '../../../src/cli/check/machine.ts';
import { checkMachine } from '../../../src/cli/check/report.ts';

const MEGABYTE = 1024 * 1024;

const goodMachine: Machine = {
  uid: 0,
  now: Date.UTC(2026, 6, 1),
  totalMemory: 1024 * MEGABYTE,
  read: (path) =>
    ({ '/sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n', '/proc/filesystems': 'nodev\toverlay\n' })[
      path
    ],
  run: async () => ({ code: 0, stdout: 'fine\n', stderr: '', notFound: false }),
  engineVersion: async () => ({ Version: '20.10.24', ApiVersion: '1.41' }),
  freeDisk: () => 4000 * MEGABYTE,
  canListen: async () => true,
};

const target = {
  dataDir: '/var/lib/copepod',
  dockerHost: 'unix:///var/run/docker.sock',
  bindAddress: '0.0.0.0',
  ports: [
    { flag: 'https-listen-port', port: 6443 },
    { flag: 'mqtt-listen-port', port: 0 },
  ],
  ingressPorts: [
    { flag: 'ingress-http-port', port: 80 },
    { flag: 'ingress-https-port', port: 443 },
  ],
};

async function report(machine: Partial<Machine>): Promise<{ complete: boolean; text: string }> {
  let text = '';
  const complete = await checkMachine({ ...goodMachine, ...machine }, target, (more) => {
    text += more;
  });
  return { complete, text };
}

const failing =
  (command: string, result: Partial<Awaited<ReturnType<Machine['run']>>>): Machine['run'] =>
  async (name, args) =>
    [name, ...args].join(' ').includes(command)
      ? { code: 1, stdout: '', stderr: '', notFound: false, ...result }
      : { code: 0, stdout: '', stderr: '', notFound: false };

const socketError =
  (code: string): Machine['engineVersion'] =>
  async () => {
    throw Object.assign(new Error(code), { code });
  };

describe('copepod check', () => {
  it('finds nothing missing on a good machine', async () => {
    const { complete, text } = await report({});
    expect(text.match(/^ok /gm)).toHaveLength(checks.length);
    expect(text).toContain('Nothing is missing');
    expect(complete).toBe(true);
  });

  it.each<[string, Partial<Machine>, RegExp]>([
    ['no root', { uid: 1000 }, /missing +root +running as user 1000\n +-> use sudo/],
    [
      'no Docker',
      { engineVersion: socketError('ENOENT') },
      /missing +Docker Engine +there is no Docker Engine[^\n]*\n +-> install one \(apt-get install docker.io\)/,
    ],
    ['Docker stopped', { engineVersion: socketError('ECONNREFUSED') }, /is not running\n +-> start it/],
    [
      'Docker too old',
      { engineVersion: async () => ({ Version: '19.03', ApiVersion: '1.40' }) },
      /missing +Docker Engine +19.03 speaks API 1.40/,
    ],
    [
      'no iproute2',
      { run: failing('ip -Version', { notFound: true }) },
      /missing +iproute2[^\n]*\n +-> apt-get install iproute2/,
    ],
    [
      'no bridges',
      { run: failing('type bridge', { stderr: 'Error: Unknown device type.\n' }) },
      /missing +kernel: bridge[^\n]*Unknown device type/,
    ],
    [
      'no memory cgroup on a Raspberry Pi',
      { read: (path) => (path.startsWith('/sys') ? 'cpu pids\n' : undefined) },
      /missing +memory cgroup[^\n]*\n[^\n]*cgroup_enable=memory/,
    ],
    [
      'no memory cgroup, v1',
      { read: (path) => (path === '/proc/cgroups' ? 'memory\t0\t60\t0\n' : undefined) },
      /missing +memory cgroup/,
    ],
    ['a full disk', { freeDisk: () => 10 * MEGABYTE }, /missing +disk +10 MB free/],
    [
      'a port in use',
      { canListen: async () => false },
      /missing +ports +6443 \(--https-listen-port\) in use/,
    ],
  ])('names what is missing and the mend: %s', async (_, machine, line) => {
    const { complete, text } = await report(machine);
    expect(text).toMatch(line);
    expect(complete).toBe(false);
  });

  it.each<[string, Partial<Machine>, RegExp]>([
    [
      'an ingress port in use',
      {
        canListen: async (_address, port) => port !== 80,
        run: async (name, args) => {
          const nginx =
            'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=812,fd=6),("nginx",pid=813,fd=6))\n';
          const stdout = name === 'ss' && args.includes('sport = :80') ? nginx : 'fine\n';
          return { code: 0, stdout, stderr: '', notFound: false };
        },
      },
      /warning +ingress ports +80 \(--ingress-http-port\) by nginx \(pid 812\) in use: this board will not serve Ingresses there/,
    ],
    ['a clock at 1970', { now: 3600_000 }, /warning +clock +it is not 1970-01-01T01:00:00/],
    [
      'no nftables',
      { run: failing('nft', { notFound: true }) },
      /warning +nftables[^\n]*\n +-> apt-get install nftables/,
    ],
    [
      'no conntrack',
      { run: failing('conntrack', { notFound: true }) },
      /warning +conntrack[^\n]*UDP[^\n]*\n +-> apt-get install conntrack/,
    ],
    [
      'no connection tracking',
      { run: failing('nf_conntrack', {}) },
      /warning +kernel: nf_conntrack[^\n]*\n +-> [^\n]*modprobe nf_conntrack/,
    ],
    ['no vxlan', { run: failing('type vxlan', { stderr: 'no\n' }) }, /warning +kernel: vxlan/],
    ['little memory', { totalMemory: 256 * MEGABYTE }, /warning +memory +256 MB/],
  ])('warns, but lets copepod run: %s', async (_, machine, line) => {
    const { complete, text } = await report(machine);
    expect(text).toMatch(line);
    expect(complete).toBe(true);
  });

  it('counts the memory cgroup of cgroup v1', async () => {
    const read: Machine['read'] = (path) =>
      path === '/proc/cgroups' ? 'cpu\t1\t1\t1\nmemory\t5\t60\t1\n' : undefined;
    expect((await report({ read })).text).toMatch(/ok +memory cgroup +cgroup v1/);
  });
});
