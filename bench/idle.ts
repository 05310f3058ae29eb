// Server with its agent and 10 idle pods on real Docker: memory, CPU and disk writes of the process, and how long it takes
// to start again, as root:
// `node bench/idle.ts [--json FILE] [--minutes N]`. The longer it runs, the truer the figure for writes (default 5).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Board, BoardNetwork } from '../test/support/boards.ts';
import { Cluster } from '../test/support/cluster.ts';
import { IDLE_PODS, startIdlePods } from './idle-pods.ts';
import { processUsage, publish, quantile } from './report.ts';

const STARTS = 5;
const { values } = parseArgs({ options: { minutes: { type: 'string' }, json: { type: 'string' } } });
const minutes = Number(values.minutes ?? 5);

const network = new BoardNetwork();
await network.start();
try {
  const board = await network.board('board');
  const cluster = await Cluster.start({ board });
  try {
    await startIdlePods(cluster);
    // What starting has left behind settles.
    await pause(60_000);
    const before = processUsage(cluster.process.pid);
    await pause(minutes * 60_000);
    const after = processUsage(cluster.process.pid);
    const seconds = minutes * 60;
    const starts: number[] = [];
    for (let round = 0; round < STARTS; round += 1) starts.push(await startSeconds(cluster, board));
    publish(
      `idle, ${IDLE_PODS} pods, ${minutes} min`,
      [
        {
          name: 'resident memory of server and agent',
          value: after.resident / 2 ** 20,
          unit: 'MiB',
          budget: 120,
        },
        {
          name: 'CPU of one core',
          value: ((after.cpuSeconds - before.cpuSeconds) / seconds) * 100,
          unit: '%',
          budget: 1,
        },
        {
          name: 'disk writes an hour',
          value: ((after.written - before.written) / 2 ** 20) * (3600 / seconds),
          unit: 'MiB',
          budget: 1,
        },
        {
          name: 'process start to node Ready, pods adopted: p50',
          value: quantile(starts, 0.5),
          unit: 's',
          budget: 2,
        },
        { name: 'process start to node Ready: slowest', value: Math.max(...starts), unit: 's' },
      ],
      Date.now(),
    );
    await cluster.kubectl.ok(['delete', 'deployment', 'idle', '--timeout=60s']);
  } finally {
    await cluster.dispose();
  }
} finally {
  await network.stop();
}

/** Stops the process and starts it again: seconds from its start until its node is Ready, looked for every 10 ms. */
async function startSeconds(cluster: Cluster, on: Board): Promise<number> {
  await cluster.process.stop();
  const script = fileURLToPath(new URL('node-ready.ts', import.meta.url));
  const [command = '', ...rest] = [...on.enter, process.execPath, script, cluster.kubeconfig, on.name];
  const waiter = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(waiter.stdout);
  // Its own start is not to be measured.
  await once(lines, 'line');
  const begin = Date.now();
  cluster.process.start();
  const [ready] = (await once(lines, 'line')) as [string];
  return (Number(ready) - begin) / 1000;
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
