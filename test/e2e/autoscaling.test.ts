import { expect, it } from 'vitest';
import type { Deployment } from '../../src/api/types/apps-v1.ts';
import { busybox, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// What pods use, measured on real Docker: `kubectl top` and `kubectl autoscale`.
const { cluster, kubectl, apply } = onBoards(['pi']);

const deployment = workload('Deployment', 'busy', {
  terminationGracePeriodSeconds: 0,
  containers: [
    busybox('while :; do :; done', {
      resources: { requests: { cpu: '20m', memory: '8Mi' }, limits: { cpu: '60m' } },
    }),
  ],
});

const lines = (text: string): string[][] =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));

it('shows what boards and pods use', async () => {
  await apply(deployment);
  await kubectl.line('rollout status deployment/busy --timeout=60s');
  const [header, row] = await cluster.eventually('the board to be measured', async () => {
    const answer = await kubectl.run(['top', 'nodes']);
    return answer.code === 0 ? lines(answer.stdout) : undefined;
  });
  expect(header?.[0]).toBe('NAME');
  expect(row?.[0]).toBe('pi');
  expect(row?.[1]).toMatch(/^\d+m$/);
  const [, pod] = await cluster.eventually('the pods to be measured', async () => {
    const answer = await kubectl.run(['top', 'pods', '--containers']);
    return answer.code === 0 && answer.stdout.includes('main') ? lines(answer.stdout) : undefined;
  });
  expect(pod?.[0]).toMatch(/^busy-/);
  expect(pod?.[1]).toBe('main');
  expect(Number.parseInt(pod?.[2] ?? '', 10)).toBeGreaterThan(20);
  expect(pod?.[3]).toMatch(/^\d+Mi$/);
});

it('scales by what is measured', async () => {
  await kubectl.line('autoscale deployment/busy --cpu-percent=50 --min=1 --max=3');
  await cluster.eventually(
    'the deployment to be scaled to its maximum',
    async () => (await kubectl.get<Deployment>('deployment', 'busy')).spec?.replicas === 3 || undefined,
    90_000,
  );
  expect(await kubectl.line('describe hpa busy')).toContain('SuccessfulRescale');
});
