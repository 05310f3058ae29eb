import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Board } from '../boards.ts';
import type { Cluster } from '../cluster.ts';

/** What lies on a board, each kind as a sorted list: two of them are compared to find what was left behind. */
export type Census = Record<string, string[]>;

/** Kinds that only the engine itself can clean up: what it does not list any more nobody else may touch. */
export const ENGINE = 'engine ';

/** Looks at everything that a pod may leave on a board. `uids`: of all pods that there ever were. */
export async function census(board: Board, cluster: Cluster, uids: ReadonlySet<string>): Promise<Census> {
  const { docker } = board;
  const containers = await docker.containers({}, true);
  const { Volumes } = (await docker.call('GET', '/volumes')) as { Volumes: { Name: string }[] | null };
  const images = (await docker.call('GET', '/images/json?all=true')) as { Id: string; RepoTags: string[] }[];
  const mounts = lines(board, 'cat', '/proc/self/mountinfo').map((line) => line.split(' ')[4] ?? line);
  const engineOwn = (path: string): boolean =>
    path.startsWith(`${docker.dataRoot}/`) || path.startsWith(`${docker.execRoot}/`);
  const lists: Census = {
    containers: containers.map(({ Names, State }) => `${Names[0]} ${State}`),
    dockerVolumes: (Volumes ?? []).map(({ Name }) => Name),
    images: images.map(({ Id, RepoTags }) => `${Id} ${RepoTags}`),
    processes: contained(docker.execRoot),
    links: lines(board, 'ip', '-oneline', 'link').map((line) => line.split(': ')[1] ?? line),
    addresses: lines(board, 'ip', '-oneline', '-4', 'address').map((line) => line.split(' \\')[0] ?? line),
    routes: lines(board, 'ip', '-4', 'route'),
    neighbours: lines(board, 'ip', '-4', 'neigh').filter((line) => line.includes('cpod0')),
    nftables: lines(board, 'nft', '--stateless', 'list', 'ruleset'),
    mounts: mounts.filter((path) => !engineOwn(path)),
    [`${ENGINE}layers`]: layers(docker.dataRoot),
    [`${ENGINE}containerFolders`]: files(join(docker.dataRoot, 'containers')),
    [`${ENGINE}mounts`]: mounts.filter(engineOwn),
    podFolders: files(join(cluster.dataDir, 'pods')),
    volatileFolders: files(join(cluster.dataDir, 'volatile')),
    claims: files(join(cluster.dataDir, 'storage')),
    podLogs: lines(board, 'find', '/var/log/pods', '/var/log/containers', '-mindepth', '1'),
    cgroups: cgroups(uids),
    udpConnections: lines(board, 'cat', '/proc/net/nf_conntrack').filter(
      (line) => line.includes(' udp ') && line.includes(' 10.42.'),
    ),
    children: children(cluster.process.pid),
  };
  for (const list of Object.values(lists)) list.sort();
  return lists;
}

/** What one has and the other has not: `kind: +more -less`. Empty when they are the same. */
export function compareCensus(before: Census, after: Census): string[] {
  const found: string[] = [];
  for (const [kind, list] of Object.entries(after)) {
    const known = before[kind] ?? [];
    const more = list.filter((entry) => !known.includes(entry));
    const less = known.filter((entry) => !list.includes(entry));
    for (const entry of more) found.push(`${kind}: +${entry}`);
    for (const entry of less) found.push(`${kind}: -${entry}`);
    if (more.length + less.length === 0 && list.length !== known.length)
      found.push(`${kind}: ${known.length} entries became ${list.length}`);
  }
  return found;
}

/** What the process holds now. */
export interface Holdings {
  /** Resident memory in MiB. */
  rss: number;
  descriptors: number;
  sockets: number;
  /** Connections that the engine has accepted. */
  engineConnections: number;
}

export function holdings(board: Board, pid: number): Holdings {
  const folder = `/proc/${pid}/fd`;
  const targets = readdirSync(folder).map((fd) => {
    try {
      return readlinkSync(join(folder, fd));
    } catch {
      return '';
    }
  });
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const engine = lines(board, 'cat', '/proc/net/unix').filter(
    (line) => line.endsWith(` ${board.docker.socket}`) && line.split(/\s+/)[5] === '03',
  );
  return {
    rss: Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024),
    descriptors: targets.length,
    sockets: targets.filter((target) => target.startsWith('socket:')).length,
    engineConnections: engine.length,
  };
}

/** Standard output of a command on the board; one that fails has nothing to tell. */
function lines(board: Board, ...command: string[]): string[] {
  try {
    return board
      .run(...command)
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  } catch {
    return [];
  }
}

function files(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/**
 * The layers that the engine knows of, of images and of containers. (One that is killed while it makes a container leaves
 * the folder of a layer that it knows nothing of, which nobody but its own next start could remove.)
 */
function layers(dataRoot: string): string[] {
  const database = join(dataRoot, 'image', 'overlay2', 'layerdb');
  return ['sha256', 'mounts'].flatMap((kind) => files(join(database, kind)).map((id) => `${kind}/${id}`));
}

interface Process {
  pid: number;
  parent: number;
  command: string;
}

function processes(): Process[] {
  return execFileSync('ps', ['-e', '-ww', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map(([, pid, parent, command = '']) => ({ pid: Number(pid), parent: Number(parent), command }));
}

/** What runs in this engine's containers. */
function contained(execRoot: string): string[] {
  const namespace = `-namespace ${basename(dirname(execRoot))} `;
  const all = processes();
  const shims = new Set(all.filter(({ command }) => command.includes(namespace)).map(({ pid }) => pid));
  return all
    .filter(({ parent, command }) => shims.has(parent) && !DEAD_STARTS.test(command))
    .map(({ command }) => command);
}

/**
 * An engine that is killed between the making and the start of a task, or between its end and its removal, forgets it:
 * its shim stays until the board restarts, without a process of the container's. Nothing above the engine can tell.
 */
const DEAD_STARTS = /^(\S*runc init|\[.*\] <defunct>)$/;

function children(pid: number): string[] {
  return processes()
    .filter(({ parent }) => parent === pid)
    .map(({ command }) => command);
}

function cgroups(uids: ReadonlySet<string>): string[] {
  const args = ['/sys/fs/cgroup', '-mindepth', '2', '-type', 'd', '-name', '*pod*'];
  // Groups come and go under its eyes; it goes on, and ends with a failure.
  const { stdout } = spawnSync('find', args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return stdout.split('\n').filter((path) => {
    const name = basename(path).replaceAll('_', '-');
    return [...uids].some((uid) => name.includes(`pod${uid}`));
  });
}
