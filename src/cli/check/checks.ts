import { listenerName, listenerQuery } from '../../lib/listener.ts';
import { apiAtLeast, explainEngineFailure, OLDEST_API } from '../docker-socket.ts';
import type { Machine } from './machine.ts';

/** What one check found. `warning`: copepod runs, but something will not work as it should. */
export interface Finding {
  state: 'ok' | 'warning' | 'missing';
  /** What was seen. */
  detail: string;
  /** What to do about it. */
  mend?: string;
}

export interface CheckTarget {
  dataDir: string;
  dockerHost: string;
  ports: { flag: string; port: number }[];
  /** Taken with the first Ingress only. */
  ingressPorts: { flag: string; port: number }[];
  bindAddress: string;
}

interface Check {
  name: string;
  run(machine: Machine, target: CheckTarget): Promise<Finding> | Finding;
}

const ok = (detail: string): Finding => ({ state: 'ok', detail });
const missing = (detail: string, mend: string): Finding => ({ state: 'missing', detail, mend });
const warning = (detail: string, mend: string): Finding => ({ state: 'warning', detail, mend });

const MEGABYTE = 1024 * 1024;
const LEAST_MEMORY = 400 * MEGABYTE;
const LEAST_DISK = 500 * MEGABYTE;
/** No correct clock is earlier: this program did not exist. */
const EARLIEST = Date.UTC(2026, 0, 1);
const LATEST = Date.UTC(2100, 0, 1);

/** In the order of the report. Each looks at one thing through `machine`, so that a test can play any machine. */
export const checks: readonly Check[] = [
  {
    name: 'root',
    run: (machine) =>
      machine.uid === 0
        ? ok('running as root')
        : missing(`running as user ${machine.uid}`, 'use sudo: pods need network namespaces and mounts'),
  },
  {
    name: 'Docker Engine',
    run: async (machine, { dockerHost }) => {
      try {
        const { Version, ApiVersion } = await machine.engineVersion(dockerHost);
        return apiAtLeast(ApiVersion, OLDEST_API)
          ? ok(`${Version}, API ${ApiVersion}`)
          : missing(
              `${Version} speaks API ${ApiVersion}`,
              `update Docker: API ${OLDEST_API} (20.10) or newer is needed`,
            );
      } catch (error) {
        const [detail = '', mend = 'see its log: journalctl -u docker'] = explainEngineFailure(
          dockerHost,
          error as NodeJS.ErrnoException,
        ).split(/: (.*)/s);
        return missing(detail, mend);
      }
    },
  },
  {
    name: 'nftables',
    run: async (machine) => {
      const result = await machine.run('nft', ['list', 'tables']);
      if (result.notFound) {
        return warning(
          'nft is not installed: Services go through userspace (slower, no SCTP), NetworkPolicies are not enforced',
          'apt-get install nftables',
        );
      }
      return result.code === 0
        ? ok('nft works')
        : warning(
            `nft fails (${firstLine(result.stderr)}): Services go through userspace, NetworkPolicies are not enforced`,
            'a kernel with nf_tables is needed (modprobe nf_tables)',
          );
    },
  },
  {
    name: 'iproute2',
    run: async (machine) => {
      const result = await machine.run('ip', ['-Version']);
      return result.notFound
        ? missing('ip is not installed', 'apt-get install iproute2')
        : ok(firstLine(result.stdout));
    },
  },
  linkType('bridge', 'missing', 'pods have no network without it'),
  linkType('veth', 'missing', 'pods have no network without it'),
  linkType(
    'vxlan',
    'warning',
    "boards on different network segments cannot reach each other's pods without it",
    ['id', '1', 'dstport', '4789'],
  ),
  {
    name: 'kernel: overlay',
    run: async (machine) =>
      (machine.read('/proc/filesystems') ?? '').includes('\toverlay\n') ||
      (await loadable(machine, 'overlay'))
        ? ok('there')
        : warning(
            'no overlay file system: images take more disk and pods start slower',
            'a kernel with overlayfs is needed (modprobe overlay)',
          ),
  },
  {
    name: 'kernel: nf_conntrack',
    run: async (machine) =>
      machine.read('/proc/sys/net/netfilter/nf_conntrack_max') !== undefined ||
      (await loadable(machine, 'nf_conntrack'))
        ? ok('there')
        : warning(
            'connections cannot be translated: Services go through userspace, pods do not reach what is outside',
            'a kernel with nf_conntrack is needed (modprobe nf_conntrack)',
          ),
  },
  {
    name: 'conntrack',
    run: async (machine) => {
      const result = await machine.run('conntrack', ['--version']);
      return result.notFound
        ? warning(
            'conntrack is not installed: clients that send UDP without a pause stay with an endpoint that is gone',
            'apt-get install conntrack',
          )
        : ok(firstLine(result.stdout));
    },
  },
  {
    name: 'memory cgroup',
    run: (machine) => {
      const unified = machine.read('/sys/fs/cgroup/cgroup.controllers');
      const enabled =
        unified === undefined
          ? /^memory\t\d+\t\d+\t1$/m.test(machine.read('/proc/cgroups') ?? '')
          : unified.split(/\s+/).includes('memory');
      return enabled
        ? ok(unified === undefined ? 'cgroup v1' : 'cgroup v2')
        : missing(
            'the kernel was started without it: memory limits of pods would have no effect',
            'append "cgroup_enable=memory cgroup_memory=1" to the one line of /boot/firmware/cmdline.txt (or /boot/cmdline.txt) and reboot',
          );
    },
  },
  {
    name: 'clock',
    run: ({ now }) =>
      now >= EARLIEST && now < LATEST
        ? ok(new Date(now).toISOString())
        : warning(
            `it is not ${new Date(now).toISOString()}: certificates of others and CronJobs go wrong`,
            'set it, and keep it set: apt-get install systemd-timesyncd (or chrony), timedatectl set-ntp true',
          ),
  },
  {
    name: 'memory',
    run: ({ totalMemory }) =>
      totalMemory >= LEAST_MEMORY
        ? ok(`${megabytes(totalMemory)} MB`)
        : warning(`${megabytes(totalMemory)} MB`, `${megabytes(LEAST_MEMORY)} MB leave room for a few pods`),
  },
  {
    name: 'disk',
    run: (machine, { dataDir }) => {
      const free = machine.freeDisk(dataDir);
      return free >= LEAST_DISK
        ? ok(`${megabytes(free)} MB free at ${dataDir}`)
        : missing(`${megabytes(free)} MB free at ${dataDir}`, 'free some, or move with --data-dir');
    },
  },
  {
    name: 'ports',
    run: async (machine, { ports, bindAddress }) => {
      const { taken, free } = await look(machine, ports, bindAddress);
      return taken.length === 0
        ? ok(`${free.join(' and ')} are free`)
        : missing(
            `${taken.join(' and ')} in use`,
            'stop the program that has it (ss -ltnp; perhaps copepod itself), or choose another',
          );
    },
  },
  {
    name: 'ingress ports',
    run: async (machine, { ingressPorts }) => {
      const wanted = ingressPorts.filter(({ port }) => port !== 0);
      const { taken, free } = await look(machine, wanted, undefined);
      if (wanted.length === 0) return ok('none: this board serves no Ingress');
      return taken.length === 0
        ? ok(`${free.join(' and ')} are free`)
        : warning(
            `${taken.join(' and ')} in use: this board will not serve Ingresses there`,
            'stop the program that has it (perhaps copepod itself), or choose another port, or 0 for none',
          );
    },
  },
];

/** Which of the ports another program has, and which one. */
async function look(
  machine: Machine,
  ports: CheckTarget['ports'],
  address: string | undefined,
): Promise<{ taken: string[]; free: number[] }> {
  const taken: string[] = [];
  const free: number[] = [];
  for (const { flag, port } of ports) {
    if (port === 0 || (await machine.canListen(address, port))) free.push(port);
    else {
      const { file, args } = listenerQuery(port);
      const holder = listenerName((await machine.run(file, args)).stdout);
      taken.push(holder === undefined ? `${port} (--${flag})` : `${port} (--${flag}) by ${holder}`);
    }
  }
  return { taken, free };
}

/** Tries to make such an interface in a network namespace of its own: built in, module or absent, this is the truth. */
function linkType(type: string, absent: 'missing' | 'warning', why: string, more: string[] = []): Check {
  return {
    name: `kernel: ${type}`,
    run: async (machine) => {
      const result = await machine.run('unshare', [
        '--net',
        'ip',
        'link',
        'add',
        'probe0',
        'type',
        type,
        ...more,
      ]);
      if (result.code === 0) return ok('there');
      if (machine.uid !== 0)
        return { state: 'warning', detail: 'cannot be tried without root', mend: 'use sudo' };
      return {
        state: absent,
        detail: `${why} (${firstLine(result.stderr)})`,
        mend: `modprobe ${type}, or a kernel that has it`,
      };
    },
  };
}

async function loadable(machine: Machine, module: string): Promise<boolean> {
  return (await machine.run('modprobe', ['--dry-run', '--quiet', module])).code === 0;
}

const firstLine = (text: string): string => text.trim().split('\n')[0] ?? '';
const megabytes = (bytes: number): number => Math.round(bytes / MEGABYTE);
