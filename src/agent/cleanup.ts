// `copepod cleanup`: takes away what copepod has made on this board outside of its data directory, and the mounts inside.
import { readdir, readlink, rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { agentDirectories } from './directories.ts';
import { DockerRuntime } from './docker/runtime.ts';
import { Limiter } from './limiter.ts';
import { podUidOf } from './names.ts';
import { SystemNetCommands } from './network/commands.ts';
import { createLinuxNetwork } from './network/linux-network.ts';
import { removeUserspaceAddresses } from './network/userspace/addresses.ts';
import { ALL_PODS, cgroupDirectory } from './pods/cgroups.ts';
import { RuntimeError } from './runtime.ts';
import { SystemMounter } from './volumes/mounter.ts';

export interface CleanupOptions {
  dataDir: string;
  nodeName: string;
  dockerHost: string;
  /** /var/log */
  containerLogDir: string;
  /** False: only tell what there is. */
  remove: boolean;
}

const STOP_SECONDS = 10;
const PARALLEL = 4;
const CGROUPS = '/sys/fs/cgroup';

/** Idempotent. `complete`: nothing of what was to be removed is left. Refuses while an agent works with the data directory. */
export async function cleanUp(
  options: CleanupOptions,
  { clock, logger }: { clock: Clock; logger: Logger },
): Promise<{ text: string; complete: boolean }> {
  const directories = agentDirectories(options.dataDir);
  const holder = await processWith(join(directories.agent, 'journal.db'));
  if (holder !== undefined) {
    const text = `copepod: process ${holder} works with ${options.dataDir}: stop copepod first\n`;
    return { text, complete: false };
  }
  const report = { lines: [] as string[], failed: false };
  const step = async (what: string, act: () => Promise<number | undefined>): Promise<void> => {
    try {
      const count = await act();
      if (count !== 0) report.lines.push(count === undefined ? what : `${what}: ${count}`);
    } catch (error) {
      report.failed = true;
      const away = error instanceof RuntimeError && error.code === 'Unavailable';
      const mend = away ? `; start the engine at ${options.dockerHost}, or name another: --docker-host` : '';
      report.lines.push(`${what}: FAILED, ${(error as Error).message}${mend}`);
    }
  };
  const uids = new Set(await list(directories.pods));
  await step('containers', () => removeContainers(options, clock, uids));
  await step('network: nftables table, interfaces, routes, addresses, iptables chains', async () => {
    if (!options.remove) return undefined;
    const commands = new SystemNetCommands();
    await createLinuxNetwork({ nodeName: options.nodeName, clock, logger, commands }).network.cleanup();
    await removeUserspaceAddresses(commands);
    return undefined;
  });
  await step('mounts', () => unmountAll([directories.pods, directories.volatile], options.remove));
  await step('folders of logs', () => removeLogs(options, uids));
  await step('control groups', () => removeCgroups(options.remove, uids));
  if (options.remove) {
    await step('folders of pods', async () => {
      await rm(directories.volatile, { recursive: true, force: true, maxRetries: 2 });
      await rm(directories.pods, { recursive: true, force: true, maxRetries: 2 });
      return 0;
    });
  }
  const head = options.remove ? 'Removed:' : 'There is, and --yes would remove:';
  const text = [head, ...report.lines.map((line) => `  ${line}`), ''].join('\n');
  return { text, complete: !report.failed };
}

async function removeContainers(
  { dockerHost, nodeName, remove }: CleanupOptions,
  clock: Clock,
  uids: Set<string>,
): Promise<number> {
  const socketPath = dockerHost.replace(/^unix:\/\//, '');
  const runtime = new DockerRuntime({ clock, socketPath, owner: nodeName });
  try {
    const containers = await runtime.list();
    for (const container of containers) uids.add(podUidOf(container) ?? '');
    if (!remove) return containers.length;
    const limiter = new Limiter(PARALLEL);
    await Promise.all(
      containers.map(({ id }) =>
        limiter.run(async () => {
          await runtime.stop(id, STOP_SECONDS);
          await runtime.remove(id);
        }),
      ),
    );
    return containers.length;
  } finally {
    runtime.disconnect();
  }
}

/** The innermost first. */
async function unmountAll(folders: readonly string[], remove: boolean): Promise<number> {
  const mounter = new SystemMounter();
  const found = (await Promise.all(folders.map((folder) => mounter.mountsBelow(folder)))).flat();
  if (remove) for (const path of found.sort().reverse()) await mounter.unmount(path);
  return found.length;
}

/** `/var/log/pods/<namespace>_<name>_<uid>` of our pods, and the links of `/var/log/containers` that lead there. */
async function removeLogs(
  { containerLogDir, remove }: CleanupOptions,
  uids: ReadonlySet<string>,
): Promise<number> {
  const pods = join(containerLogDir, 'pods');
  const containers = join(containerLogDir, 'containers');
  const folders = (await list(pods)).filter((name) => {
    const [, , uid] = name.split('_');
    return uid !== undefined && uids.has(uid);
  });
  if (!remove) return folders.length;
  const ours = new Set(folders);
  for (const link of await list(containers)) {
    const target = await readlink(join(containers, link)).catch(() => '');
    const [folder = ''] = target.startsWith(`${pods}/`) ? target.slice(pods.length + 1).split('/') : [];
    if (ours.has(folder)) await rm(join(containers, link), { force: true });
  }
  for (const folder of folders) await rm(join(pods, folder), { recursive: true, force: true });
  // Only when nobody else has anything there.
  for (const folder of [pods, containers]) await rmdir(folder).catch(() => {});
  return folders.length;
}

/** Our pods' groups in every hierarchy; those above them only when nobody else has pods there. */
async function removeCgroups(remove: boolean, uids: ReadonlySet<string>): Promise<number> {
  const names = new Set([...uids].flatMap((uid) => [`pod${uid}`, `pod${uid.replaceAll('-', '_')}`]));
  const ours = (group: string): boolean =>
    group
      .split('/')
      .some((part) => [...names].some((name) => part === name || part.endsWith(`-${name}.slice`)));
  const hierarchies = [CGROUPS, ...(await list(CGROUPS)).map((name) => join(CGROUPS, name))];
  let count = 0;
  for (const hierarchy of hierarchies) {
    for (const driver of ['cgroupfs', 'systemd'] as const) {
      const top = join(hierarchy, cgroupDirectory(ALL_PODS, driver));
      if (basename(hierarchy) === basename(top)) continue;
      for (const group of await groupsBelow(top)) {
        if (ours(group)) count += 1;
        if (!remove) continue;
        if (ours(group)) await rmdir(group);
        else await rmdir(group).catch(() => {});
      }
    }
  }
  return count;
}

/** The innermost first; none where the folder is not there. */
async function groupsBelow(folder: string): Promise<string[]> {
  let entries: { name: string; isDirectory(): boolean }[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map(({ name }) => groupsBelow(join(folder, name))),
  );
  return [...below.flat(), folder];
}

const list = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);

/** The process that has a file open, other than this one. */
async function processWith(file: string): Promise<number | undefined> {
  for (const pid of (await list('/proc')).filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    for (const fd of await list(`/proc/${pid}/fd`)) {
      if ((await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')) === file) return Number(pid);
    }
  }
  return undefined;
}
