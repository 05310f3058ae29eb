// npm start [-- FLAGS OF copepod server]
//
// From a clean clone to a node that is Ready: packages, bundle, Docker, server. What it installs or starts it says. The
// server ends with Ctrl-C; pods, and the Docker Engine that runs them, go on.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from './lib/bundle.mjs';
import { ensureBusyboxImage } from './lib/busybox-image.mjs';
import { findProgram, installCommand, installPrograms, missingPrograms } from './lib/debian.mjs';
import { ensureDependencies, pinnedNode } from './lib/dependencies.mjs';
import { engineAnswers } from './lib/docker-api.mjs';
import { connect, nodeReadySince, readKubeconfig } from './lib/kube.mjs';
import { engineLayout, startEngine } from './lib/private-engine.mjs';
import { NODE_ENVIRONMENT, NODE_OPTIONS } from './lib/runtime-options.mjs';

const DEFAULT_DOCKER = 'unix:///var/run/docker.sock';
/** Of an agent. */
const TOOLS = ['ip', 'nft'];

const say = (line) => console.log(`copepod: ${line}`);
const fail = (line, code = 1) => {
  console.error(`copepod: ${line}`);
  process.exit(code);
};

// Whoever reads our output may go away (`| head`, a closed terminal): the server has to be stopped in order all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const flags = process.argv.slice(2);
const [major = 0] = process.versions.node.split('.').map(Number);
if (process.platform !== 'linux') fail(`copepod runs on Linux, this is ${process.platform}`);
if (major < 20)
  fail(`Node 20 or newer is needed to start, this is ${process.version}: apt-get install nodejs npm`);

ensureDependencies(say);
run(process.execPath, ['scripts/build.mjs']);
const node = pinnedNode();
const bundle = 'dist/copepod.js';
if (flags.includes('--help') || flags.includes('-h')) {
  run(node, [bundle, 'server', '--help']);
  process.exit(0);
}
// The program itself resolves its flags, variables and file: a mistake in them ends here, before anything is installed.
const config = JSON.parse(run(node, [bundle, 'config', ...flags], 'pipe'));
if (!config.disableAgent) await prepareMachine();
await serve();

/** Runs a step in the foreground; ends with its exit code when it fails. */
function run(command, args, stdout = 'inherit') {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', stdout, 'inherit'],
    encoding: 'utf8',
  });
  if (result.error) fail(`${command}: ${result.error.message}`);
  if (result.status !== 0) process.exit(result.status ?? 1);
  return result.stdout;
}

/** Sees to Docker and the tools that pods need. */
async function prepareMachine() {
  const asRoot = process.getuid() === 0;
  if (!asRoot) {
    const missing = missingPrograms(['dockerd', ...TOOLS]);
    const first = missing.length > 0 ? `sudo ${installCommand(missing)}\n  ` : '';
    fail(
      `pods need root (network namespaces, mounts). Type:\n  ${first}sudo npm start${flags.length > 0 ? ` -- ${flags.join(' ')}` : ''}\nor, for the API without pods on this machine: npm start -- --disable-agent --data-dir DIR`,
    );
  }
  try {
    installPrograms(TOOLS, say);
    await findEngine();
    await ensureBusyboxImage(config.dockerHost.replace('unix://', ''), say).catch((error) => {
      // Only the examples need it.
      say(`${error.message}; the examples need an image of yours instead`);
    });
  } catch (error) {
    fail(error.message);
  }
}

/** Sets config.dockerHost to an engine that answers: the one that was named, the machine's own, or a private one. */
async function findEngine() {
  const answers = () => engineAnswers(config.dockerHost.replace('unix://', ''));
  if (await answers()) return;
  if (config.dockerHost !== DEFAULT_DOCKER) {
    throw new Error(
      `no Docker Engine answers at ${config.dockerHost}: start it, or leave out --docker-host for one of copepod's own`,
    );
  }
  if (findProgram('dockerd') === undefined) {
    installPrograms(['dockerd', 'iptables'], say);
    // Where systemd runs, Debian's package has just started the machine's own engine.
    for (let attempt = 0; attempt < 20 && existsSync('/run/systemd/system'); attempt += 1) {
      if (await answers()) return;
      await delay(250);
    }
  }
  const layout = engineLayout(config.dataDir);
  const { pid, adopted } = await startEngine(layout);
  config.dockerHost = `unix://${layout.socket}`;
  say(
    `${adopted ? 'found' : 'started'} a private Docker Engine (pid ${pid}), images and containers in ${layout.dataRoot}`,
  );
  say(
    `  it goes on when copepod ends, so that pods do; \`npm run stop:docker\` stops both. To look in: docker -H ${config.dockerHost} ps`,
  );
}

/** Runs the server until it ends; its exit code is ours. */
async function serve() {
  const since = Date.now();
  const started = performance.now();
  const args = [...NODE_OPTIONS, bundle, 'server', ...flags.filter((flag) => flag !== '--')];
  if (!config.disableAgent) args.push('--docker-host', config.dockerHost);
  // A process group of its own: a Ctrl-C of the terminal then reaches it once, through us, and not through npm as well.
  const server = spawn(node, args, {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...NODE_ENVIRONMENT, ...process.env },
  });
  const ended = new Promise((resolve) => {
    server.on('error', (error) => fail(`${node}: ${error.message}`));
    server.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 1)));
  });
  forwardSignals(server);
  let over = false;
  void ended.then(() => {
    over = true;
  });
  await announce(since, started, () => over);
  process.exit(await ended);
}

function forwardSignals(server) {
  let first = 0;
  const forward = (signal) => {
    const now = performance.now();
    // npm passes on what the terminal has already sent us: the same Ctrl-C, a moment later.
    if (first > 0 && now - first < 500) return;
    if (first > 0) say('ending at once');
    server.kill(first > 0 ? 'SIGKILL' : signal === 'SIGINT' ? 'SIGTERM' : signal);
    if (first === 0) first = now;
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => forward(signal));
}

/** Says when the node is Ready and what to do next. */
async function announce(since, started, isOver) {
  const client = await untilTrue(() => {
    if (!existsSync(config.writeKubeconfig)) return undefined;
    return connect(readKubeconfig(config.writeKubeconfig));
  }, isOver);
  if (!client) return;
  const ready = await untilTrue(
    config.disableAgent
      ? async () => (await client.send('GET', '/readyz')).status === 200
      : () => nodeReadySince(client, config.nodeName, since),
    isOver,
  );
  client.close();
  if (!ready) return;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const what = config.disableAgent ? 'the API is ready' : `node ${config.nodeName} is Ready`;
  console.log(`
copepod: ${what} after ${seconds} s
  kubeconfig: ${config.writeKubeconfig}
  dashboard:  https://localhost:${config.httpsListenPort}/
Next, in another terminal:
  export KUBECONFIG=${config.writeKubeconfig}
  kubectl apply -f ${config.disableAgent ? `${root}/examples/web.yaml` : `${root}/examples/`}
${findProgram('kubectl') ? '' : `(kubectl is not installed: ${installCommand(['kubectl'])})\n`}`);
}

/** Polls until `condition` gives something; undefined when the server ended first. Failures mean "not yet". */
async function untilTrue(condition, isOver) {
  while (!isOver()) {
    try {
      const value = await condition();
      if (value) return value;
    } catch {}
    await delay(50);
  }
  return undefined;
}
