import { mkdir, readFile, statfs, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { nodeAddress } from '../health/node-address.ts';
import type { Threshold } from '../health/thresholds.ts';
import type { Random } from '../lib/random.ts';
import { nodeResources, type Reservation } from './allocatable.ts';
import type { NodeFacts } from './ports.ts';

/** Node's names of architectures to those of Go, which are Kubernetes'. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  riscv64: 'riscv64',
  ppc64: 'ppc64le',
  s390x: 's390x',
  loong64: 'loong64',
};

/** GOARCH of a `process.arch`. */
export function goArchitecture(arch: string): string {
  return ARCHITECTURES[arch] ?? arch;
}

export interface RegistrationOptions {
  nodeName: string;
  /** As given at the join; see readMachineId. */
  machineId: string;
  /** `v1.36.0+copepod.0.1.0`. */
  version: string;
  labels: Readonly<Record<string, string>>;
  taints: NodeFacts['taints'];
  /** `--node-ip`; else the address of the interface with the default route. */
  nodeIP?: string;
  /** The engine: `{name: 'docker', version: '20.10.24'}`. */
  engine: () => Promise<{ name: string; version: string }>;
  /** Where pods' volumes are: its file system is the node's ephemeral storage. */
  podsDirectory: string;
  maxPods: number;
  /** What pods do not get. */
  reserved: { kube: readonly Reservation[]; system: readonly Reservation[] };
  thresholds: readonly Threshold[];
  /** The file system root, another in tests. */
  root?: string;
}

/** Reads what the board is. Cheap files only; nothing of it changes often. */
export async function nodeFacts(options: RegistrationOptions): Promise<NodeFacts> {
  const root = options.root ?? '';
  const read = (path: string): Promise<string> => readText(`${root}${path}`);
  const [bootID, productUuid, serial, osRelease, address, engine] = await Promise.all([
    read('/proc/sys/kernel/random/boot_id'),
    read('/sys/class/dmi/id/product_uuid'),
    read('/proc/device-tree/serial-number'),
    read('/etc/os-release'),
    options.nodeIP ?? nodeAddress(root),
    options.engine(),
  ]);
  const storage = await statfs(options.podsDirectory).then(
    ({ blocks, bsize }) => blocks * bsize,
    () => 0,
  );
  const { capacity, allocatable } = nodeResources(
    { cores: Math.max(1, cpus().length), memory: totalmem(), storage, pods: options.maxPods },
    options.reserved,
    options.thresholds,
  );
  return {
    labels: { ...options.labels },
    taints: options.taints,
    addresses: [
      ...(address === undefined ? [] : [{ type: 'InternalIP', address }]),
      { type: 'Hostname', address: options.nodeName },
    ],
    capacity,
    allocatable,
    nodeInfo: {
      architecture: goArchitecture(process.arch),
      bootID,
      containerRuntimeVersion: `${engine.name}://${engine.version}`,
      kernelVersion: release(),
      kubeProxyVersion: '',
      kubeletVersion: options.version,
      machineID: options.machineId,
      operatingSystem: 'linux',
      osImage: osImage(osRelease),
      systemUUID: productUuid || serial || options.machineId,
    },
  };
}

/**
 * What tells this board from another of the same name, the same over reboots: /etc/machine-id, else the serial number
 * of the board, else a random one kept in `directory` (images that were flashed without either).
 */
export async function readMachineId(options: {
  directory: string;
  random: Random;
  root?: string;
}): Promise<string> {
  const root = options.root ?? '';
  const own = join(options.directory, 'machine-id');
  for (const path of [`${root}/etc/machine-id`, `${root}/proc/device-tree/serial-number`, own]) {
    const id = await readText(path);
    // systemd writes this word while a machine has not been set up.
    if (id !== '' && id !== 'uninitialized') return id.slice(0, 128);
  }
  const made = options.random.uuid().replaceAll('-', '');
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  await writeFile(own, `${made}\n`, { mode: 0o600, flush: true });
  return made;
}

/** The trimmed text of a file, empty when it cannot be read; device tree texts end in NUL. */
function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').then(
    (text) => text.replaceAll('\0', '').trim(),
    () => '',
  );
}

/** PRETTY_NAME of /etc/os-release (its format: os-release(5)). */
export function osImage(osRelease: string): string {
  const line = osRelease.split('\n').find((candidate) => candidate.startsWith('PRETTY_NAME='));
  return line?.slice('PRETTY_NAME='.length).replace(/^(["'])(.*)\1$/, '$2') || 'Linux';
}
