// A Docker Engine of our own: its own data, runtime state, socket and pidfile, so that it meets no other engine of the
// machine. Used by start.mjs (kept running) and by the tests (stopped in the end).
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { dockerCall, engineAnswers } from './docker-api.mjs';

/**
 * Where the parts of an engine for `dataDir` lie. Images and containers belong to the data directory; what is only true
 * until the machine restarts (and sockets, whose paths may have 107 bytes) lies in /run.
 */
export function engineLayout(dataDir) {
  const id = createHash('sha256').update(dataDir).digest('hex').slice(0, 8);
  const run = `/run/copepod-${id}`;
  return {
    id,
    dataRoot: join(dataDir, 'docker'),
    log: join(dataDir, 'docker.log'),
    execRoot: `${run}/docker`,
    pidfile: `${run}/docker.pid`,
    socket: `${run}/docker.sock`,
  };
}

/** dockerd's arguments. Its bridge and its firewall rules stay off: pods have a bridge of their own. */
export function engineArguments({ id, dataRoot, execRoot, pidfile, socket }) {
  return [
    `--data-root=${dataRoot}`,
    `--exec-root=${execRoot}`,
    `--pidfile=${pidfile}`,
    `--host=unix://${socket}`,
    // Where the machine's own containerd runs, dockerd uses it: keep our containers apart from others' there.
    `--containerd-namespace=copepod-${id}`,
    `--containerd-plugins-namespace=copepod-${id}-plugins`,
    '--bridge=none',
    '--iptables=false',
    '--ip6tables=false',
    '--ip-forward=false',
    // Containers outlive a restart of the engine.
    '--live-restore',
    // What kubelet keeps of a container's log by default.
    '--log-driver=json-file',
    '--log-opt=max-size=10m',
    '--log-opt=max-file=5',
    '--log-level=warn',
  ];
}

/** The pid of the engine that `layout` describes, while it runs. A pid that now belongs to another program is not it. */
export function enginePid({ pidfile, socket }) {
  try {
    const pid = Number(readFileSync(pidfile, 'utf8'));
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return command.some((part) => part.endsWith('dockerd')) && command.includes(`--host=unix://${socket}`)
      ? pid
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Starts the engine unless it runs already, and resolves when it answers. It goes on after this process ends.
 * `prefix` is put before `dockerd`, to start it in other namespaces. Returns {pid, adopted}.
 */
export async function startEngine(layout, { prefix = [], timeoutMs = 60_000, extraArguments = [] } = {}) {
  const running = enginePid(layout);
  if (running !== undefined && (await engineAnswers(layout.socket))) return { pid: running, adopted: true };
  for (const folder of [layout.dataRoot, layout.execRoot, dirname(layout.socket)]) {
    mkdirSync(folder, { recursive: true, mode: 0o711 });
  }
  rotate(layout.log);
  const log = openSync(layout.log, 'a', 0o600);
  const [command, ...args] = [...prefix, dockerd(), ...engineArguments(layout), ...extraArguments];
  const child = spawn(command, args, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  let ended;
  child.on('error', (error) => {
    ended = error.message;
  });
  child.on('exit', (code, signal) => {
    ended = `it ended with ${code ?? signal}`;
  });
  child.unref();
  const deadline = performance.now() + timeoutMs;
  while (!(await engineAnswers(layout.socket))) {
    if (ended !== undefined || performance.now() > deadline) {
      if (ended === undefined) child.kill('SIGTERM');
      throw new Error(
        `the Docker Engine does not start: ${ended ?? `no answer within ${timeoutMs / 1000} s`}\n${tail(layout.log)}`,
      );
    }
    await delay(50);
  }
  const pid = enginePid(layout);
  if (pid === undefined) throw new Error(`an engine that is not ours answers at ${layout.socket}`);
  return { pid, adopted: false };
}

/** Stops the containers (they would outlive it) and then the engine; resolves when it has ended. */
export async function stopEngine(layout, { graceSeconds = 10 } = {}) {
  const pid = enginePid(layout);
  if (pid === undefined) return false;
  if (await engineAnswers(layout.socket)) {
    const containers = await dockerCall(layout.socket, 'GET', '/containers/json');
    await Promise.allSettled(
      containers.map(({ Id }) =>
        dockerCall(layout.socket, 'POST', `/containers/${Id}/stop?t=${graceSeconds}`, {
          timeoutMs: (graceSeconds + 20) * 1000,
        }),
      ),
    );
  }
  process.kill(pid, 'SIGTERM');
  const deadline = performance.now() + 30_000;
  while (enginePid(layout) !== undefined && existsSync(`/proc/${pid}`)) {
    if (performance.now() > deadline) throw new Error(`dockerd (pid ${pid}) does not end`);
    await delay(50);
  }
  return true;
}

/** Removes what an ended engine leaves: mounts below its folders, and the folders. */
export function removeEngineFiles({ dataRoot, execRoot, socket, log }) {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter(
      (path) =>
        path && [dataRoot, execRoot].some((folder) => path === folder || path.startsWith(`${folder}/`)),
    );
  for (const path of mounts.reverse()) execFileSync('umount', ['--lazy', path]);
  for (const path of [dataRoot, execRoot, socket, log, `${log}.1`])
    rmSync(path, { recursive: true, force: true });
  try {
    rmdirSync(dirname(socket));
  } catch {
    // Somebody else's files are in it.
  }
}

function dockerd() {
  const path = ['/usr/bin/dockerd', '/usr/sbin/dockerd', '/usr/local/bin/dockerd'].find(existsSync);
  if (!path) throw new Error('dockerd is not installed: apt-get install docker.io');
  return path;
}

function rotate(log) {
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > 5_000_000) renameSync(log, `${log}.1`);
}

function tail(log) {
  try {
    return readFileSync(log, 'utf8').trim().split('\n').slice(-8).join('\n');
  } catch {
    return '';
  }
}
