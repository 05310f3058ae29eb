import { expect, it } from 'vitest';
import type { Node, Pod, PodSpec } from '../../src/api/types/core-v1.ts';
import type { Board } from '../support/boards.ts';
import { JoinedAgent } from '../support/cluster.ts';
import { isReady } from '../support/look-at.ts';
import { busybox, onNode, podOf, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// A board that joins by token over its one outgoing connection, in a network namespace and with a Docker of its own.
const {
  network,
  boards: [first, second],
  agents: [agent],
  cluster,
  kubectl,
  apply,
  getPod,
  podsOf,
} = onBoards(['first', 'second']);

const ready = async (): Promise<string | undefined> =>
  (await kubectl.get<Node>('node', 'second')).status?.conditions?.find(({ type }) => type === 'Ready')
    ?.status;

const containers = [busybox('echo I am here; sleep 1000000')];

const containersOf = (name: string, board: Board) =>
  board.docker.containers({ 'io.kubernetes.pod.name': name });
const idsOf = async (name: string): Promise<string[]> =>
  (await containersOf(name, second)).map(({ Id }) => Id);

it('runs pods on the second board; logs and exec work through its outgoing connection', async () => {
  await apply(podOf('there', { ...onNode('second'), containers }));
  await kubectl.line('wait --for=condition=Ready pod/there --timeout=60s');
  expect((await getPod('there')).status?.hostIP).toBe(second.ip);
  expect(await containersOf('there', second)).toHaveLength(2);
  expect(await containersOf('there', first)).toHaveLength(0);
  expect(await kubectl.line('logs there')).toBe('I am here\n');
  expect(await kubectl.line('exec there -- cat /proc/sys/kernel/hostname')).toBe('there\n');
});

it('opens no port on the second board that could be reached from elsewhere', () => {
  const listening = second.run('ss', '--no-header', '--listening', '--tcp', '--udp', '--processes');
  const own = listening.split('\n').filter((line) => line.includes(`pid=${agent.process.pid},`));
  // The cluster's DNS, for the board's own pods.
  expect(own.filter((line) => !line.includes(' 127.0.0.1:'))).toEqual([]);
});

const cutOffUntilNoticed = async (): Promise<void> => {
  second.cutOff();
  await cluster.eventually('it to be NotReady', async () => (await ready()) === 'Unknown', 90_000);
};

it('is NotReady when cut off, keeps its pod running, and heals when brought back', async () => {
  const before = await idsOf('there');
  await cutOffUntilNoticed();
  expect(await idsOf('there')).toEqual(before);
  const back = Date.now();
  second.bringBack();
  await cluster.nodeReady('second', back, 90_000);
  expect(await idsOf('there')).toEqual(before);
  expect(await kubectl.line('logs there')).toBe('I am here\n');
});

/** Best on the second board, and given up a second after that board counts as lost. */
const movable: Partial<PodSpec> = {
  containers,
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
};

const runningOn = async (board: Board, name: string): Promise<number> =>
  (await containersOf(name, board)).length;
const readyOn = (node: string, pods: Pod[]): Pod | undefined =>
  pods.find(
    (pod) => pod.metadata.deletionTimestamp === undefined && pod.spec?.nodeName === node && isReady(pod),
  );

it('heals with its pods as the rules say: deleted, replaced, and a StatefulSet’s never twice', async () => {
  await apply(workload('Deployment', 'moves', movable), workload('StatefulSet', 'once', movable));
  await kubectl.line('rollout status deployment/moves statefulset/once --timeout=60s');
  const [moved] = await podsOf('app=moves');
  expect(readyOn('second', await podsOf('app=moves'))).toBeDefined();
  expect(readyOn('second', await podsOf('app=once'))).toBeDefined();
  await cutOffUntilNoticed();
  await kubectl.line('delete pod there --wait=false');
  expect(await runningOn(second, 'there')).toBe(2);
  // The Deployment's pod is replaced; the StatefulSet's is asked to end, and keeps its name until it has ended.
  await cluster.eventually('the replacement', async () => readyOn('first', await podsOf('app=moves')));
  await cluster.eventually(
    'the eviction',
    async () => (await podsOf('app=once'))[0]?.metadata.deletionTimestamp !== undefined,
  );
  expect(await podsOf('app=once')).toHaveLength(1);
  expect([await runningOn(first, 'once-0'), await runningOn(second, 'once-0')]).toEqual([0, 2]);
  second.bringBack();
  await cluster.eventually(
    'the containers to be gone',
    async () =>
      (await runningOn(second, 'there')) === 0 && (await runningOn(second, moved?.metadata.name ?? '')) === 0,
    90_000,
  );
  await cluster.eventually(
    'the pod to be gone',
    async () => (await kubectl.run(['get', 'pod', 'there'])).code === 1,
  );
  await cluster.eventually('the identity to run again', async () => {
    const pods = await podsOf('app=once');
    return pods.length === 1 && (readyOn('first', pods) ?? readyOn('second', pods));
  });
  expect((await runningOn(first, 'once-0')) + (await runningOn(second, 'once-0'))).toBe(2);
  expect(await podsOf('app=moves')).toHaveLength(1);
});

it('refuses a token of another cluster', async () => {
  const stranger = new JoinedAgent({
    board: await network.board('third'),
    cluster,
    token: cluster.token.replace(/^K10[0-9a-f]{8}/, 'K1000000000'),
  });
  stranger.process.start();
  try {
    await cluster.eventually('the agent to say why', async () => /token|CA/i.test(stranger.process.log()));
    expect((await kubectl.line('get nodes -o name')).split('\n')).not.toContain('node/third');
  } finally {
    await stranger.dispose();
  }
});
