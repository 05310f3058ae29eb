import {
  access,
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  rmdir,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Pod } from '../../api/types/core-v1.ts';
import { SerialByKey } from '../../lib/serial.ts';
import {
  asksLoopback,
  type ClusterDns,
  type DnsNotice,
  formatResolvConf,
  parseResolvConf,
  type ResolverConfig,
  resolverConfig,
} from '../containers/dns.ts';
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
  /** `<data>/agent/seccomp`: profiles of type Localhost. */
  seccompDirectory: string;
  /** The engine's data directory. */
  engineDirectory: () => string | undefined;
  /** /etc, to read the node's own hosts and resolv.conf from. */
  etcDirectory: string;
  /** systemd-resolved's list of the servers that it asks. */
  resolvedConf?: string;
  /** Undefined while the cluster has no DNS. */
  clusterDns: () => ClusterDns | undefined;
  clusterDomain: () => string;
  onDnsNotice: (pod: Pod, notice: DnsNotice) => void;
}

export class NodePodFiles implements PodFiles {
  private readonly options: NodePodFilesOptions;
  /** By pod: nobody waits for a link, and yet none may come after it was removed. */
  private readonly links = new SerialByKey<string>();

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
    const { config, notices } = resolverConfig(pod, await this.nodeResolver(), this.options.clusterDns());
    const written = await writeIfMissing(resolvConf, formatResolvConf(config));
    if (written) for (const notice of notices) this.options.onDnsNotice(pod, notice);
    await writeIfMissing(hosts, '');
  }

  async writeHosts(pod: Pod, ips: readonly string[]): Promise<void> {
    const { uid } = identity(pod);
    const content = pod.spec?.hostNetwork
      ? hostNetworkHosts(pod, await this.readEtc('hosts'))
      : podHosts(pod, ips, this.options.clusterDomain());
    // In place: the file may be mounted into a container already.
    await inDirectory(this.volatile(uid), () => writeFile(this.paths(uid).hosts, content, { mode: 0o644 }));
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
    const directory = this.volatile(podUid);
    await inDirectory(directory, () =>
      writeFile(join(directory, 'network.json'), JSON.stringify(network), { mode: 0o600 }),
    );
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

  async seccompProfile(name: string): Promise<string> {
    const path = join(this.options.seccompDirectory, name);
    if (!path.startsWith(`${this.options.seccompDirectory}/`)) {
      throw new Error(`seccomp profile "${name}" is not below ${this.options.seccompDirectory}`);
    }
    return await readFile(path, 'utf8').catch((error: Error) => {
      throw new Error(`cannot load seccomp profile "${path}": ${error.message}`);
    });
  }

  logPath(pod: Pod, container: string, attempt: number): string {
    return join(this.podLogs(identity(pod)), container, `${attempt}.log`);
  }

  linkLogs(pod: Pod, container: string, attempt: number, containerId: string): Promise<void> {
    return this.links.run(identity(pod).uid, () => this.link(pod, container, attempt, containerId));
  }

  unlinkLogs(
    pod: { namespace: string; name: string; uid: string },
    container: string,
    attempt: number,
    containerId: string,
  ): Promise<void> {
    return this.links.run(pod.uid, () => this.unlink(pod, container, attempt, containerId));
  }

  removeLogs(podUid: string): Promise<void> {
    return this.links.run(podUid, async () => {
      const pods = join(this.options.logDirectory, 'pods');
      const folders = (await list(pods)).filter((name) => name.endsWith(`_${podUid}`));
      for (const folder of folders) {
        const [namespace = '', name = ''] = folder.split('_');
        for (const container of await list(join(pods, folder))) {
          for (const log of await list(join(pods, folder, container))) {
            // It leads to `<engine>/containers/<id>/<id>-json.log`.
            const target = await readlink(join(pods, folder, container, log)).catch(() => '');
            const id = basename(dirname(target));
            await rm(this.legacyLink({ namespace, name }, container, id), { force: true });
          }
        }
        await rm(join(pods, folder), { recursive: true, force: true });
      }
    });
  }

  private async link(pod: Pod, container: string, attempt: number, containerId: string): Promise<void> {
    const engine = this.options.engineDirectory();
    if (engine === undefined) return;
    const path = this.logPath(pod, container, attempt);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await link(join(engine, 'containers', containerId, `${containerId}-json.log`), path);
    const legacy = this.legacyLink(identity(pod), container, containerId);
    await inDirectory(dirname(legacy), () => link(path, legacy));
    if (attempt > 0) await this.removeDangling(pod, container, `${attempt}.log`);
  }

  /** Links of earlier instances that somebody else has removed (`docker rm`), perhaps while there was no agent. */
  private async removeDangling(pod: Pod, container: string, kept: string): Promise<void> {
    const directory = join(this.podLogs(identity(pod)), container);
    for (const log of await list(directory)) {
      if (log === kept) continue;
      const target = await readlink(join(directory, log)).catch(() => '');
      const held = dirname(target);
      if (target === '' || (await exists(held))) continue;
      await rm(this.legacyLink(identity(pod), container, basename(held)), { force: true });
      await rm(join(directory, log), { force: true });
    }
  }

  private async unlink(
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

  /** The node's name servers: behind systemd-resolved's stub those that it asks itself. */
  private async nodeResolver(): Promise<ResolverConfig> {
    const node = parseResolvConf(await this.readEtc('resolv.conf'));
    if (!asksLoopback(node)) return node;
    const path = this.options.resolvedConf ?? '/run/systemd/resolve/resolv.conf';
    const behind = parseResolvConf(await readFile(path, 'utf8').catch(() => ''));
    return behind.nameservers.length > 0 ? behind : node;
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

/** Makes the directory only if that is what is missing: it nearly always stands. */
async function inDirectory(directory: string, write: () => Promise<void>): Promise<void> {
  await write().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await write();
  });
}

async function list(directory: string): Promise<string[]> {
  return await readdir(directory).catch(() => []);
}

async function link(target: string, path: string): Promise<void> {
  await symlink(target, path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
    await rm(path, { force: true });
    await symlink(target, path);
  });
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
