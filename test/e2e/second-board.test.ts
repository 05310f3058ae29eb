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

/** Best on the second board, and given up a second after that board counts as lost. */
const replicated = (kind: 'Deployment' | 'StatefulSet', name: string) => ({
  apiVersion: 'apps/v1',
  kind,
  metadata: { name },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: name } },
    ...(kind === 'StatefulSet' ? { serviceName: name } : {}),
    template: {
      metadata: { labels: { app: name } },
      spec: {
        ...pod.spec,
        nodeSelector: {},
        affinity: {
          nodeAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [
              {
                weight: 100,
                preference: {
                  matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['second'] }],
                },
              },
            ],
          },
        },
        tolerations: ['not-ready', 'unreachable'].map((taint) => ({
          key: `node.kubernetes.io/${taint}`,
          operator: 'Exists',
          effect: 'NoExecute',
          tolerationSeconds: 1,
        })),
      },
    },
  },
});

const podsOf = async (app: string): Promise<Pod[]> =>
  (await cluster.kubectl.get<{ items: Pod[] }>('pods', '-l', `app=${app}`)).items;
const runningOn = async (board: Board, name: string): Promise<number> =>
  (await board.docker.containers({ 'io.kubernetes.pod.name': name })).length;
const readyOn = (node: string, pods: Pod[]): Pod | undefined =>
  pods.find(
    ({ metadata, spec, status }) =>
      metadata.deletionTimestamp === undefined &&
      spec?.nodeName === node &&
      status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
  );

it('heals with its pods as the rules say: deleted, replaced, and a StatefulSet’s never twice', async () => {
  await cluster.kubectl.apply(replicated('Deployment', 'moves'));
  await cluster.kubectl.apply(replicated('StatefulSet', 'once'));
  await cluster.kubectl.line('rollout status deployment/moves statefulset/once --timeout=60s');
  const [moved] = await podsOf('moves');
  expect(readyOn('second', await podsOf('moves'))).toBeDefined();
  expect(readyOn('second', await podsOf('once'))).toBeDefined();
  second.cutOff();
  await cluster.eventually(
    'the second board to be NotReady',
    async () => (await ready()) === 'Unknown',
    90_000,
  );
  await cluster.kubectl.line('delete pod there --wait=false');
  expect(await containersThere(second)).toHaveLength(2);
  // The Deployment's pod is replaced; the StatefulSet's is asked to end, and keeps its name until it has ended.
  await cluster.eventually('the replacement', async () => readyOn('first', await podsOf('moves')));
  await cluster.eventually(
    'the eviction',
    async () => (await podsOf('once'))[0]?.metadata.deletionTimestamp !== undefined,
  );
  expect(await podsOf('once')).toHaveLength(1);
  expect([await runningOn(first, 'once-0'), await runningOn(second, 'once-0')]).toEqual([0, 2]);
  second.bringBack();
  await cluster.eventually(
    'the containers to be gone',
    async () =>
      (await containersThere(second)).length === 0 &&
      (await runningOn(second, moved?.metadata.name ?? '')) === 0,
    90_000,
  );
  await cluster.eventually(
    'the pod to be gone',
    async () => (await cluster.kubectl.run(['get', 'pod', 'there'])).code === 1,
  );
  await cluster.eventually('the identity to run again', async () => {
    const pods = await podsOf('once');
    return pods.length === 1 && (readyOn('first', pods) ?? readyOn('second', pods));
  });
  expect((await runningOn(first, 'once-0')) + (await runningOn(second, 'once-0'))).toBe(2);
  expect(await podsOf('moves')).toHaveLength(1);
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
