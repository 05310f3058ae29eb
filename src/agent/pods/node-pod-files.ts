import { chmod, mkdir, open, readFile, rm, rmdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Pod } from '../../api/types/core-v1.ts';
import { type ClusterDns, formatResolvConf, parseResolvConf, resolverConfig } from '../containers/dns.ts';
import { hostNetworkHosts, podHosts } from '../containers/hosts.ts';
import { identity } from '../names.ts';
import { LONGEST_TERMINATION_MESSAGE, type PodFiles } from './files.ts';

export interface NodePodFilesOptions {
  /** Termination logs: they outlive a reboot. */
  podsDirectory: string;
  /** On a tmpfs: hosts, resolv.conf, the network attachment. */
  volatileDirectory: string;
  /** /var/log. */
  logDirectory: string;
  /** The engine's data directory. */
  engineDirectory: () => string | undefined;
  /** /etc, to read the node's own hosts and resolv.conf from. */
  etcDirectory: string;
  /** Undefined while the cluster has no DNS. */
  clusterDns: () => ClusterDns | undefined;
  clusterDomain: () => string;
  onDnsFallback: (pod: Pod) => void;
}

export class NodePodFiles implements PodFiles {
  private readonly options: NodePodFilesOptions;

  constructor(options: NodePodFilesOptions) {
    this.options = options;
  }

  paths(podUid: string): { hosts: string; resolvConf: string } {
    const directory = this.volatile(podUid);
    return { hosts: join(directory, 'etc-hosts'), resolvConf: join(directory, 'resolv.conf') };
  }

  async prepare(pod: Pod): Promise<void> {
    const { uid } = identity(pod);
    await mkdir(this.volatile(uid), { recursive: true, mode: 0o755 });
    const { hosts, resolvConf } = this.paths(uid);
    const node = await this.readEtc('resolv.conf');
    const { config, fellBack } = resolverConfig(pod, parseResolvConf(node), this.options.clusterDns());
    const written = await writeIfMissing(resolvConf, formatResolvConf(config));
    if (written && fellBack) this.options.onDnsFallback(pod);
    await writeIfMissing(hosts, '');
  }

  async writeHosts(pod: Pod, ips: readonly string[]): Promise<void> {
    const { uid } = identity(pod);
    const content = pod.spec?.hostNetwork
      ? hostNetworkHosts(pod, await this.readEtc('hosts'))
      : podHosts(pod, ips, this.options.clusterDomain());
    await mkdir(this.volatile(uid), { recursive: true, mode: 0o755 });
    // In place: the file may be mounted into a container already.
    await writeFile(this.paths(uid).hosts, content, { mode: 0o644 });
  }

  async createTerminationLog(podUid: string, container: string, attempt: number): Promise<string> {
    const path = this.terminationLog(podUid, container, attempt);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await (await open(path, 'w', 0o666)).close();
    // The container writes as any user; open's mode passes through the umask.
    await chmod(path, 0o666);
    return path;
  }

  async readTerminationLog(podUid: string, container: string, attempt: number): Promise<string> {
    const file = await open(this.terminationLog(podUid, container, attempt), 'r').catch(() => undefined);
    if (!file) return '';
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(LONGEST_TERMINATION_MESSAGE), 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  }

  async saveNetwork(podUid: string, network: { sandboxId: string; ips: string[] }): Promise<void> {
    await mkdir(this.volatile(podUid), { recursive: true, mode: 0o755 });
    await writeFile(join(this.volatile(podUid), 'network.json'), JSON.stringify(network), { mode: 0o600 });
  }

  async loadNetwork(podUid: string): Promise<{ sandboxId: string; ips: string[] } | undefined> {
    const text = await readFile(join(this.volatile(podUid), 'network.json'), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as { sandboxId: string; ips: string[] };
    } catch {
      return undefined;
    }
  }

  logPath(pod: Pod, container: string, attempt: number): string {
    return join(this.podLogs(identity(pod)), container, `${attempt}.log`);
  }

  async linkLogs(pod: Pod, container: string, attempt: number, containerId: string): Promise<void> {
    const engine = this.options.engineDirectory();
    if (engine === undefined) return;
    const path = this.logPath(pod, container, attempt);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await link(join(engine, 'containers', containerId, `${containerId}-json.log`), path);
    const legacy = this.legacyLink(identity(pod), container, containerId);
    await mkdir(dirname(legacy), { recursive: true, mode: 0o755 });
    await link(path, legacy);
  }

  async unlinkLogs(
    pod: { namespace: string; name: string; uid: string },
    container: string,
    attempt: number,
    containerId: string,
  ): Promise<void> {
    await rm(this.legacyLink(pod, container, containerId), { force: true });
    await rm(join(this.podLogs(pod), container, `${attempt}.log`), { force: true });
    await rm(this.terminationLog(pod.uid, container, attempt), { force: true });
    // rmdir takes empty directories only: the last instance of a pod takes them with it.
    await rmdir(join(this.podLogs(pod), container)).catch(() => {});
    await rmdir(this.podLogs(pod)).catch(() => {});
  }

  private volatile(podUid: string): string {
    return join(this.options.volatileDirectory, podUid);
  }

  private terminationLog(podUid: string, container: string, attempt: number): string {
    return join(this.options.podsDirectory, podUid, 'containers', container, `${attempt}.termination`);
  }

  private podLogs({ namespace, name, uid }: { namespace: string; name: string; uid: string }): string {
    return join(this.options.logDirectory, 'pods', `${namespace}_${name}_${uid}`);
  }

  private legacyLink(
    { namespace, name }: { namespace: string; name: string },
    container: string,
    containerId: string,
  ): string {
    // 255 bytes is what file systems take; dockershim cuts the same way.
    const prefix = `${name}_${namespace}_${container}-`.slice(0, 251 - containerId.length);
    return join(this.options.logDirectory, 'containers', `${prefix}${containerId}.log`);
  }

  private async readEtc(name: string): Promise<string> {
    return await readFile(join(this.options.etcDirectory, name), 'utf8').catch(() => '');
  }
}

/** True when the file was not there. */
async function writeIfMissing(path: string, content: string): Promise<boolean> {
  try {
    await writeFile(path, content, { flag: 'wx', mode: 0o644 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function link(target: string, path: string): Promise<void> {
  await symlink(target, path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
    await rm(path, { force: true });
    await symlink(target, path);
  });
}
