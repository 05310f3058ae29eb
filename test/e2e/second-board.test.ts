import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Node, Pod } from '../../src/api/types/core-v1.ts';
import { type Board, BoardNetwork } from '../support/boards.ts';
import { Cluster, JoinedAgent } from '../support/cluster.ts';

// A board that joins by token over its one outgoing connection, in a network namespace and with a Docker of its own.
const network = new BoardNetwork();
let first: Board;
let second: Board;
let cluster: Cluster;
let agent: JoinedAgent;

beforeAll(async () => {
  await network.start();
  first = await network.board('first');
  second = await network.board('second');
  cluster = await Cluster.start({ board: first });
  agent = new JoinedAgent({ board: second, server: `https://${first.ip}:6443`, token: cluster.token });
  agent.process.start();
  await cluster.nodeReady('second', Date.now());
});
afterAll(async () => {
  await agent?.dispose();
  await cluster?.dispose();
  await network.stop();
});

const ready = async (): Promise<string | undefined> =>
  (await cluster.kubectl.get<Node>('node', 'second')).status?.conditions?.find(({ type }) => type === 'Ready')
    ?.status;

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'there' },
  spec: {
    nodeSelector: { 'kubernetes.io/hostname': 'second' },
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        name: 'main',
        image: 'copepod.local/busybox',
        imagePullPolicy: 'IfNotPresent',
        command: ['sh', '-c', 'echo I am here; sleep 1000000'],
      },
    ],
  },
};

const containersThere = (of: Board) => of.docker.containers({ 'io.kubernetes.pod.name': 'there' });

it('runs pods on the second board; logs and exec work through its outgoing connection', async () => {
  await cluster.kubectl.apply(pod);
  await cluster.kubectl.line('wait --for=condition=Ready pod/there --timeout=60s');
  expect((await cluster.kubectl.get<Pod>('pod', 'there')).status?.hostIP).toBe(second.ip);
  expect(await containersThere(second)).toHaveLength(2);
  expect(await containersThere(first)).toHaveLength(0);
  expect(await cluster.kubectl.line('logs there')).toBe('I am here\n');
  expect(await cluster.kubectl.line('exec there -- cat /proc/sys/kernel/hostname')).toBe('there\n');
});

it('opens no port on the second board that could be reached from elsewhere', () => {
  const listening = second.run('ss', '--no-header', '--listening', '--tcp', '--udp', '--processes');
  const own = listening.split('\n').filter((line) => line.includes(`pid=${agent.process.pid},`));
  // The cluster's DNS, for the board's own pods.
  expect(own.filter((line) => !line.includes(' 127.0.0.1:'))).toEqual([]);
});

it('is NotReady when cut off, keeps its pod running, and heals when brought back', async () => {
  const before = await containersThere(second);
  second.cutOff();
  await cluster.eventually(
    'the second board to be NotReady',
    async () => (await ready()) === 'Unknown',
    90_000,
  );
  expect((await containersThere(second)).map(({ Id }) => Id)).toEqual(before.map(({ Id }) => Id));
  const back = Date.now();
  second.bringBack();
  await cluster.nodeReady('second', back, 90_000);
  expect((await containersThere(second)).map(({ Id }) => Id)).toEqual(before.map(({ Id }) => Id));
  expect(await cluster.kubectl.line('logs there')).toBe('I am here\n');
});

it('hears of a deletion that was made while it was cut off', async () => {
  second.cutOff();
  await cluster.eventually(
    'the second board to be NotReady',
    async () => (await ready()) === 'Unknown',
    90_000,
  );
  await cluster.kubectl.line('delete pod there --wait=false');
  expect(await containersThere(second)).toHaveLength(2);
  second.bringBack();
  await cluster.eventually(
    'the containers to be gone',
    async () => (await containersThere(second)).length === 0,
    90_000,
  );
  await cluster.eventually(
    'the pod to be gone',
    async () => (await cluster.kubectl.run(['get', 'pod', 'there'])).code === 1,
  );
});

it('refuses a token of another cluster', async () => {
  const stranger = new JoinedAgent({
    board: await network.board('third'),
    server: `https://${first.ip}:6443`,
    token: cluster.token.replace(/^K10[0-9a-f]{8}/, 'K1000000000'),
  });
  stranger.process.start();
  try {
    await cluster.eventually('the agent to say why', async () => /token|CA/i.test(stranger.process.log()));
    expect((await cluster.kubectl.line('get nodes -o name')).split('\n')).not.toContain('node/third');
  } finally {
    await stranger.dispose();
  }
});
