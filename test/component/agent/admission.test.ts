import { beforeEach, expect, it } from 'vitest';
import type { PodStatus } from '../../../src/api/types/core-v1.ts';
import { type FakeNode, fakeNode, testPod } from '../../support/fake-node.ts';
import { FakeRuntime } from '../../support/fake-runtime.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

// The kubelet's admission: pods whose spec.nodeName was written by hand, past the scheduler. The node has 4 CPUs.
let clock: VirtualClock;
let runtime: FakeRuntime;
let node: FakeNode;

beforeEach(async () => {
  clock = new VirtualClock();
  runtime = new FakeRuntime({ clock });
  runtime.images.set('pause', {});
  runtime.images.set('web', {});
  node = fakeNode({ clock, runtime });
  await node.manager.start();
  await clock.settle();
});

const status = (uid: string): PodStatus | undefined => node.reporter.status(uid);
const podOf = (name: string, cpu: string, hostPort?: number) =>
  testPod(name, {
    containers: [
      {
        name: 'web',
        image: 'web',
        imagePullPolicy: 'Never',
        resources: { requests: { cpu } },
        ...(hostPort === undefined ? {} : { ports: [{ containerPort: 80, hostPort }] }),
      },
    ],
  });

it('refuses what the node has no room for: OutOfcpu, and nothing of it is made', async () => {
  node.desired.set(podOf('a', '3'));
  await clock.settle();
  node.desired.set(podOf('b', '1500m'));
  await clock.advance(5_000);
  const message = "Node didn't have enough resource: cpu, requested: 1500, used: 3000, capacity: 4000";
  expect(status('uid-b')).toMatchObject({
    phase: 'Failed',
    reason: 'OutOfcpu',
    message: `Pod was rejected: ${message}`,
  });
  expect(status('uid-b')?.containerStatuses).toBeUndefined();
  expect(node.reporter.events.filter(({ reason }) => reason === 'OutOfcpu')).toMatchObject([
    { type: 'Warning', name: 'b', message },
  ]);
  expect(runtime.all.map(({ name }) => name)).toEqual([
    'k8s_POD_a_default_uid-a_0',
    'k8s_web_a_default_uid-a_0',
  ]);
  node.desired.set({
    ...podOf('b', '1500m'),
    metadata: {
      ...podOf('b', '1500m').metadata,
      deletionTimestamp: '2026-01-01T00:01:00Z',
      deletionGracePeriodSeconds: 0,
    },
  });
  await clock.advance(1_000);
  expect([...node.reporter.gone.keys()]).toEqual(['uid-b']);
});

it('refuses a hostPort that another pod has', async () => {
  node.desired.set(podOf('a', '1', 8080));
  await clock.settle();
  node.desired.set(podOf('b', '1', 8080));
  node.desired.set(podOf('c', '1', 8081));
  await clock.advance(5_000);
  expect(status('uid-b')).toMatchObject({
    phase: 'Failed',
    reason: 'NodePorts',
    message:
      "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
  });
  expect(status('uid-c')?.phase).toBe('Running');
});

it('does not refuse for the sake of a pod that is gone, though the news of it comes later', async () => {
  node.desired.set(podOf('a', '3', 8080));
  await clock.settle();
  node.desired.set(podOf('b', '3', 8080));
  await clock.advance(500);
  node.desired.delete('uid-a');
  await clock.advance(40_000);
  expect(status('uid-b')?.phase).toBe('Running');
});

it('says at once what the server has against it', async () => {
  const objection = { reason: 'NodeAffinity', message: 'Predicate NodeAffinity failed: why' };
  node.desired.objections.set('uid-a', objection);
  node.desired.set(podOf('a', '1'));
  await clock.settle();
  expect(status('uid-a')).toMatchObject({ phase: 'Failed', reason: 'NodeAffinity' });
});

it('asks no pod that has begun, also not after a restart of the agent', async () => {
  node.desired.set(podOf('a', '3'));
  await clock.settle();
  await node.manager.stop();
  const { network, volumes, files } = node;
  const next = fakeNode({ clock, runtime, network, volumes, files });
  next.desired.objections.set('uid-a', { reason: 'NodeAffinity', message: 'labels have changed' });
  next.desired.set(podOf('a', '8'));
  await next.manager.start();
  await clock.advance(5_000);
  expect(next.reporter.status('uid-a')?.phase).toBe('Running');
});
