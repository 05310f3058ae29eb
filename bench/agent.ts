// `copepod agent` with 10 idle pods, on a board of its own beside the server's: memory, CPU and disk writes of its process,
// as root: `node bench/agent.ts [--json FILE] [--minutes N]` (default 2).
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BoardNetwork } from '../test/support/boards.ts';
import { Cluster, JoinedAgent } from '../test/support/cluster.ts';
import { IDLE_PODS, startIdlePods } from './idle-pods.ts';
import { processUsage, publish } from './report.ts';

const SETTLE_MS = 60_000;
const { values } = parseArgs({ options: { minutes: { type: 'string' }, json: { type: 'string' } } });
const minutes = Number(values.minutes ?? 2);

const network = new BoardNetwork();
await network.start();
try {
  const home = await network.board('server');
  const board = await network.board('board');
  const cluster = await Cluster.start({ board: home });
  const agent = new JoinedAgent({ board, cluster });
  try {
    const since = Date.now();
    agent.process.start();
    await cluster.nodeReady(board.name, since);
    await startIdlePods(cluster, board.name);
    await pause(SETTLE_MS);
    const before = processUsage(agent.process.pid);
    await pause(minutes * 60_000);
    const after = processUsage(agent.process.pid);
    const seconds = minutes * 60;
    publish(
      `agent alone, ${IDLE_PODS} pods, ${minutes} min`,
      [
        { name: 'resident memory', value: after.resident / 2 ** 20, unit: 'MiB', budget: 64 },
        {
          name: 'CPU of one core',
          value: ((after.cpuSeconds - before.cpuSeconds) / seconds) * 100,
          unit: '%',
        },
        {
          name: 'disk writes an hour',
          value: ((after.written - before.written) / 2 ** 20) * (3600 / seconds),
          unit: 'MiB',
        },
      ],
      Date.now(),
    );
    await cluster.kubectl.ok(['delete', 'deployment', 'idle', '--timeout=60s']);
  } finally {
    await agent.dispose();
    await cluster.dispose();
  }
} finally {
  await network.stop();
}
