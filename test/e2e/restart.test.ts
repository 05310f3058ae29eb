import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root } from '../../scripts/lib/bundle.mjs';
import type { Pod } from '../../src/api/types/core-v1.ts';
import { isReady } from '../support/look-at.ts';
import { onBoards } from '../support/on-boards.ts';

// Pods outlive the process that started them, however it ends.
const {
  boards: [board],
  cluster,
  kubectl,
  podsOf,
} = onBoards(['pi'], {
  async begin() {
    await kubectl.ok(['apply', '-f', join(root, 'examples/web.yaml')]);
    await kubectl.line('rollout status deployment/web --timeout=60s');
  },
});

const pods = (): Promise<Pod[]> => podsOf('app=web');

/** The identity of every container of ours that runs, by name. */
async function running(): Promise<Record<string, string>> {
  const containers = await board.docker.containers({ 'io.kubernetes.pod.namespace': 'default' });
  return Object.fromEntries(containers.map(({ Names, Id }) => [Names[0] ?? '', Id]).sort());
}

const allReady = (items: Pod[]): boolean => items.length === 2 && items.every(isReady);

it('adopts the containers after SIGKILL: none orphaned, none doubled, none restarted', async () => {
  const before = await running();
  expect(Object.keys(before)).toHaveLength(4);
  await cluster.process.kill();
  expect(await running()).toEqual(before);
  await cluster.start();
  await cluster.eventually('the pods to be Ready', async () => allReady(await pods()));
  expect(await running()).toEqual(before);
  for (const pod of await pods()) expect(pod.status?.containerStatuses?.[0]?.restartCount).toBe(0);
});

it('stops cleanly with exit code 0, pods go on, and the next start adopts them', async () => {
  const before = await running();
  expect(await cluster.process.stop()).toBe(0);
  expect(await running()).toEqual(before);
  await cluster.start();
  await cluster.eventually('the pods to be Ready', async () => allReady(await pods()));
  expect(await running()).toEqual(before);
});

it('sees what happened while it was away: a container that ended is restarted, and counted', async () => {
  const [first] = await pods();
  const labels = {
    'io.kubernetes.pod.uid': first?.metadata?.uid ?? '',
    'io.kubernetes.container.name': 'httpd',
  };
  await cluster.process.kill();
  const [victim] = await board.docker.containers(labels);
  await board.docker.call('POST', `/containers/${victim?.Id}/kill`);
  await cluster.start();
  await cluster.eventually('the restart to be counted', async () => {
    const items = await pods();
    const pod = items.find(({ metadata }) => metadata?.uid === first?.metadata?.uid);
    return allReady(items) && pod?.status?.containerStatuses?.[0]?.restartCount === 1;
  });
  expect(await board.docker.containers(labels)).toHaveLength(1);
});

it('survives being killed again and again while a rollout is under way', async () => {
  await kubectl.line('rollout restart deployment/web');
  for (let round = 0; round < 3; round += 1) await cluster.killAndRestart();
  await kubectl.line('rollout status deployment/web --timeout=90s');
  await cluster.eventually('two pods and their four containers, no other', async () => {
    const items = await pods();
    const uids = new Set(items.map(({ metadata }) => metadata?.uid));
    const containers = await board.docker.containers({ 'io.kubernetes.pod.namespace': 'default' });
    return (
      allReady(items) &&
      containers.length === 4 &&
      containers.every(({ Labels }) => uids.has(Labels['io.kubernetes.pod.uid']))
    );
  });
});

it('recovers when Docker goes away and comes back, within seconds', async () => {
  const before = await running();
  await board.docker.kill();
  const node = (): Promise<string> => kubectl.line('get node pi');
  // Told when it happens, not found out by the next look at everything (30 s).
  const lost = async () => /pi +NotReady/.test(await node());
  await cluster.eventually('the node to be NotReady', lost, 10_000);
  await board.docker.start();
  const back = async () => /pi +Ready/.test(await node());
  await cluster.eventually('the node to be Ready', back, 10_000);
  await cluster.eventually('the pods to be Ready', async () => allReady(await pods()), 20_000);
  // This engine keeps containers alive while it is away.
  expect(await running()).toEqual(before);
});
