import { beforeEach, describe, expect, it } from 'vitest';
import type { Container, Pod, PodStatus } from '../../../src/api/types/core-v1.ts';
import { type FakeNode, fakeNode, testPod } from '../../support/fake-node.ts';
import { FakeRuntime } from '../../support/fake-runtime.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

let clock: VirtualClock;
let runtime: FakeRuntime;
let node: FakeNode;
let used: number;

beforeEach(() => {
  clock = new VirtualClock();
  runtime = new FakeRuntime({ clock });
  runtime.images.set('pause', {});
  runtime.images.set('web', {});
  used = 0;
  node = fakeNode({ clock, runtime, memoryUse: async () => used });
});

type Sizes = Record<string, string>;
const MIB = 1024 * 1024;

/** A pod of containers with these requests and limits, as the server sends it in its `generation`. */
function sized(
  name: string,
  containers: Record<string, { requests?: Sizes; limits?: Sizes; more?: Partial<Container> }>,
  generation = 1,
  spec: Partial<NonNullable<Pod['spec']>> = {},
): Pod {
  const list = Object.entries(containers).map(([container, { requests, limits, more }]) => ({
    name: container,
    image: 'web',
    imagePullPolicy: 'Never' as const,
    resources: { ...(requests ? { requests } : {}), ...(limits ? { limits } : {}) },
    ...more,
  }));
  return testPod(name, { containers: list, ...spec }, { generation, resourceVersion: String(generation) });
}

const show = async (...pods: Pod[]): Promise<void> => {
  for (const pod of pods) node.desired.set(pod);
  // To stop a container takes a moment.
  await clock.advance(50);
};
const status = (name = 'a'): PodStatus => node.reporter.status(`uid-${name}`) as PodStatus;
const container = (name = 'a', which = 'web') =>
  status(name).containerStatuses?.find((each) => each.name === which);
const condition = (type: string, name = 'a') => status(name).conditions?.find((each) => each.type === type);
const updates = () => runtime.calls.filter((call) => call.startsWith('update'));
const reasons = () => node.reporter.reasons().filter((reason) => reason.startsWith('Resize'));

describe('a resize', () => {
  it('changes the running container and tells so', async () => {
    await node.manager.start();
    await show(sized('a', { web: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '200m' } } }));
    expect(container()).toMatchObject({
      allocatedResources: { cpu: '100m', memory: '64Mi' },
      resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '200m' } },
    });
    const id = container()?.containerID;
    await show(
      sized('a', { web: { requests: { cpu: '250m', memory: '64Mi' }, limits: { cpu: '500m' } } }, 2),
    );
    expect(updates()).toEqual([`update ${id?.replace('docker://', '')} {"cpuShares":256,"cpuQuota":50000}`]);
    expect(container()).toMatchObject({
      containerID: id,
      restartCount: 0,
      allocatedResources: { cpu: '250m', memory: '64Mi' },
      resources: { requests: { cpu: '250m', memory: '64Mi' }, limits: { cpu: '500m' } },
    });
    expect(status().observedGeneration).toBe(2);
    expect(condition('PodResizeInProgress')).toBeUndefined();
    expect(condition('PodResizePending')).toBeUndefined();
    expect(reasons()).toEqual(['ResizeStarted', 'ResizeCompleted']);
    expect(node.reporter.events.find(({ reason }) => reason === 'ResizeStarted')?.message).toBe(
      'Pod resize started: {"containers":[{"name":"web","resources":{"requests":{"cpu":"250m","memory":"64Mi"},"limits":{"cpu":"500m"}}}],"generation":2}',
    );
  });

  it('takes from one container before it gives to another', async () => {
    await node.manager.start();
    const both = (one: string, two: string) => ({
      one: { limits: { memory: one } },
      two: { limits: { memory: two } },
    });
    await show(sized('a', both('100Mi', '200Mi')));
    await show(sized('a', both('200Mi', '100Mi'), 2));
    expect(updates().map((call) => call.split(' ')[2])).toEqual([
      `{"cpuShares":2,"memoryBytes":${100 * MIB}}`,
      `{"cpuShares":2,"memoryBytes":${200 * MIB}}`,
    ]);
  });

  it('restarts a container whose policy says so, once and whatever its restart policy', async () => {
    await node.manager.start();
    const of = (memory: string, generation: number) =>
      sized(
        'a',
        {
          web: {
            limits: { memory },
            more: { resizePolicy: [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }] },
          },
        },
        generation,
        { restartPolicy: 'OnFailure' },
      );
    runtime.images.set('web', { exitCode: 0 });
    await show(of('64Mi', 1));
    await show(of('128Mi', 2));
    expect(updates()).toEqual([]);
    expect(container()).toMatchObject({
      restartCount: 1,
      state: { running: {} },
      resources: { limits: { memory: '128Mi' } },
    });
    expect(node.reporter.events).toContainEqual(
      expect.objectContaining({ reason: 'Killing', message: 'Container web resize requires restart' }),
    );
    expect(status().phase).toBe('Running');
  });

  it('that the node can never give is infeasible, and the pod runs on as it is', async () => {
    await node.manager.start();
    await show(sized('a', { web: { requests: { cpu: '1' } } }));
    await show(sized('a', { web: { requests: { cpu: '5' } } }, 2));
    expect(condition('PodResizePending')).toMatchObject({
      status: 'True',
      reason: 'Infeasible',
      message: "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000",
      observedGeneration: 2,
    });
    expect(container()).toMatchObject({ allocatedResources: { cpu: '1' }, ready: true });
    expect(updates()).toEqual([]);
    await show(sized('a', { web: { requests: { cpu: '1' } } }, 3));
    expect(condition('PodResizePending')).toBeUndefined();
    expect(reasons()).toEqual(['ResizeInfeasible']);
  });

  it('that has to wait for others is deferred, and taken up when they are gone', async () => {
    await node.manager.start();
    await show(
      sized('a', { web: { requests: { cpu: '1' } } }),
      sized('b', { web: { requests: { cpu: '2' } } }),
    );
    await show(sized('a', { web: { requests: { cpu: '3' } } }, 2));
    expect(condition('PodResizePending')).toMatchObject({
      reason: 'Deferred',
      message: "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000",
    });
    const b = sized('b', { web: { requests: { cpu: '2' } } });
    await show({
      ...b,
      metadata: { ...b.metadata, deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 0 },
    });
    expect(condition('PodResizePending')).toBeUndefined();
    expect(container()).toMatchObject({ allocatedResources: { cpu: '3' } });
    expect(reasons()).toEqual(['ResizeDeferred', 'ResizeStarted', 'ResizeCompleted']);
  });

  it('below what is used is in progress with its error until the container has given it back', async () => {
    await node.manager.start();
    await show(sized('a', { web: { limits: { memory: '200Mi' } } }));
    used = 150 * MIB;
    await show(sized('a', { web: { limits: { memory: '100Mi' } } }, 2));
    expect(condition('PodResizeInProgress')).toMatchObject({
      status: 'True',
      reason: 'Error',
      message: `attempting to set container "web" memory limit (${100 * MIB}) below current usage (${150 * MIB})`,
      observedGeneration: 2,
    });
    // Given, but not yet true of what runs.
    expect(container()?.resources?.limits).toEqual({ memory: String(200 * MIB) });
    expect(updates()).toEqual([]);
    used = 50 * MIB;
    await clock.advance(5_000);
    expect(condition('PodResizeInProgress')).toBeUndefined();
    expect(container()?.resources?.limits).toEqual({ memory: '100Mi' });
    expect(reasons()).toEqual(['ResizeStarted', 'ResizeError', 'ResizeCompleted']);
  });

  it('that waited when the agent ended still waits for the next one', async () => {
    await node.manager.start();
    await show(sized('a', { web: { requests: { cpu: '1' }, limits: { cpu: '1' } } }));
    await show(sized('a', { web: { requests: { cpu: '9' }, limits: { cpu: '9' } } }, 2));
    await node.manager.stop();
    const last = status();
    const next = fakeNode({ ...node, clock, runtime, lastStatus: () => last });
    await next.manager.start();
    await clock.settle();
    expect(next.reporter.status('uid-a')?.containerStatuses?.[0]).toMatchObject({
      allocatedResources: { cpu: '1' },
      resources: { limits: { cpu: '1' } },
      restartCount: 0,
    });
    expect(updates()).toEqual([]);
    // What has to be made anew is made with what the pod has been given.
    runtime.kill(last.containerStatuses?.[0]?.containerID?.replace('docker://', '') ?? '');
    await clock.settle();
    const newest = runtime.all.filter(({ state, name }) => state === 'running' && name.startsWith('k8s_web'));
    expect(runtime.specOf(newest[0]?.id ?? '').resources.cpuQuota).toBe(100_000);
  });

  it('of a sidecar works as of any container; an init container that runs to its end has no say', async () => {
    await node.manager.start();
    const of = (cpu: string, generation: number) => {
      const pod = sized('a', { web: {} }, generation);
      return {
        ...pod,
        spec: {
          ...(pod.spec as NonNullable<Pod['spec']>),
          initContainers: [
            {
              name: 'side',
              image: 'web',
              imagePullPolicy: 'Never' as const,
              restartPolicy: 'Always',
              resources: { limits: { cpu } },
            },
          ],
        },
      };
    };
    await show(of('100m', 1));
    await show(of('200m', 2));
    expect(updates()).toHaveLength(1);
    expect(status().initContainerStatuses?.[0]?.resources).toEqual({ limits: { cpu: '200m' } });
  });
});
