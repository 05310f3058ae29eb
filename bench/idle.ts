// Server with its agent and 10 idle pods on real Docker: memory, CPU and disk writes of the process, as root:
// `node bench/idle.ts [--json FILE] [--minutes N]`. The longer it runs, the truer the figure for writes (default 5).
import { parseArgs } from 'node:util';
import { BoardNetwork } from '../test/support/boards.ts';
import { Cluster } from '../test/support/cluster.ts';
import { processUsage, publish } from './report.ts';

const PODS = 10;
const { values } = parseArgs({ options: { minutes: { type: 'string' }, json: { type: 'string' } } });
const minutes = Number(values.minutes ?? 5);

const network = new BoardNetwork();
await network.start();
try {
  const cluster = await Cluster.start({ board: await network.board('board') });
  try {
    await cluster.kubectl.apply({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'idle' },
      spec: {
        replicas: PODS,
        selector: { matchLabels: { app: 'idle' } },
        template: {
          metadata: { labels: { app: 'idle' } },
          spec: {
            containers: [
              {
                name: 'main',
                image: 'copepod.local/busybox',
                imagePullPolicy: 'IfNotPresent',
                command: ['sleep', '1000000'],
              },
            ],
          },
        },
      },
    });
    await cluster.kubectl.ok(['rollout', 'status', 'deployment/idle', '--timeout=120s'], {
      timeoutMs: 130_000,
    });
    // What starting has left behind settles.
    await pause(60_000);
    const before = processUsage(cluster.process.pid);
    await pause(minutes * 60_000);
    const after = processUsage(cluster.process.pid);
    const seconds = minutes * 60;
    publish(
      `idle, ${PODS} pods, ${minutes} min`,
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
      ],
      Date.now(),
    );
    const begin = performance.now();
    await cluster.restart();
    publish(
      'restart',
      [{ name: 'stop, start, node Ready', value: (performance.now() - begin) / 1000, unit: 's' }],
      Date.now(),
      undefined,
    );
    await cluster.kubectl.ok(['delete', 'deployment', 'idle', '--timeout=60s']);
  } finally {
    await cluster.dispose();
  }
} finally {
  await network.stop();
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
