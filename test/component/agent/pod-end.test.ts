import { beforeEach, describe, expect, it } from 'vitest';
import type { Container, Pod, PodStatus } from '../../../src/api/types/core-v1.ts';
import { type FakeNode, fakeNode, testPod } from '../../support/fake-node.ts';
import { FakeRuntime } from '../../support/fake-runtime.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

let clock: VirtualClock;
let runtime: FakeRuntime;
let node: FakeNode;

beforeEach(async () => {
  clock = new VirtualClock();
  runtime = new FakeRuntime({ clock });
  runtime.images.set('pause', {});
  runtime.images.set('web', {});
  runtime.images.set('stubborn', { ignoresSigterm: true });
  runtime.images.set('fails', { exitAfterMs: 1_000, exitCode: 3 });
  runtime.images.set('done', { exitAfterMs: 1_000 });
  node = fakeNode({ clock, runtime });
  await node.manager.start();
  await clock.settle();
});

const container = (name: string, image: string, more: Partial<Container> = {}): Container => ({
  name,
  image,
  imagePullPolicy: 'Never',
  ...more,
});
const status = (uid = 'uid-a'): PodStatus => {
  const found = node.reporter.status(uid);
  if (!found) throw new Error(`no status of ${uid}`);
  return found;
};
const condition = (type: string) => status().conditions?.find((each) => each.type === type)?.status;
const deleted = (pod: Pod): Pod => ({
  ...pod,
  metadata: {
    ...pod.metadata,
    deletionTimestamp: '2026-01-01T00:00:10Z',
    deletionGracePeriodSeconds: 30,
  },
});
const UNKNOWN = { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } };

describe('a pod that the node ends', () => {
  it('is told Failed, and why, when its last container has ended', async () => {
    node.desired.set(testPod('a', { containers: [container('web', 'stubborn')] }));
    await clock.advance(1_000);
    node.manager.end('uid-a', { reason: 'Evicted', message: 'low', graceSeconds: 20, disruption: true });
    await clock.advance(19_000);
    expect([status().phase, status().reason, condition('Ready'), condition('DisruptionTarget')]).toEqual([
      'Running',
      undefined,
      'True',
      undefined,
    ]);
    await clock.advance(2_000);
    expect(status()).toMatchObject({ phase: 'Failed', reason: 'Evicted', message: 'low' });
    expect([condition('Ready'), condition('DisruptionTarget')]).toEqual(['False', 'True']);
    expect(status().containerStatuses?.[0]?.state?.terminated?.exitCode).toBe(137);
  });

  it('keeps its place on the node until then', async () => {
    const wants = (name: string, image: string): Pod =>
      testPod(name, {
        containers: [container('web', image, { resources: { requests: { memory: '600Mi' } } })],
      });
    node.desired.set(wants('a', 'stubborn'));
    await clock.advance(1_000);
    node.manager.end('uid-a', { reason: 'Evicted', message: 'low', graceSeconds: 1 });
    node.desired.set(wants('b', 'web'));
    await clock.advance(500);
    expect(runtime.all.filter(({ name }) => name.includes('_b_'))).toEqual([]);
    await clock.advance(4_000);
    expect(status('uid-b').phase).toBe('Running');
  });

  it('says of containers that never ran that nothing is known of them', async () => {
    runtime.images.set('far', { present: false, pullMs: 60_000 });
    const pod = testPod('a', {
      containers: [container('web', 'web'), container('late', 'far', { imagePullPolicy: 'Always' })],
    });
    node.desired.set(pod);
    await clock.advance(1_000);
    node.manager.end('uid-a', { reason: 'Evicted', message: 'low' });
    await clock.advance(120_000);
    expect(status().phase).toBe('Failed');
    expect(status().containerStatuses?.find(({ name }) => name === 'late')?.state).toMatchObject(UNKNOWN);
  });
});

describe('a pod whose work is done', () => {
  it('is told Succeeded when its sidecars have ended too', async () => {
    node.desired.set(
      testPod('a', {
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 10,
        initContainers: [container('side', 'stubborn', { restartPolicy: 'Always' })],
        containers: [container('work', 'done')],
      }),
    );
    await clock.advance(5_000);
    expect(status().containerStatuses?.[0]?.state?.terminated?.exitCode).toBe(0);
    expect(status().phase).toBe('Running');
    await clock.advance(10_000);
    expect(status().phase).toBe('Succeeded');
  });

  it('is told Failed when a failed init container leaves nothing running', async () => {
    node.desired.set(
      testPod('a', {
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 10,
        initContainers: [
          container('side', 'stubborn', { restartPolicy: 'Always' }),
          container('setup', 'fails'),
        ],
        containers: [container('work', 'web')],
      }),
    );
    await clock.advance(5_000);
    expect(status().phase).toBe('Pending');
    await clock.advance(10_000);
    expect(status().phase).toBe('Failed');
    // It never got to this one: that is no failure of it.
    expect(status().containerStatuses?.[0]?.state).toEqual({ waiting: { reason: 'PodInitializing' } });
  });

  it('ends by the policies of its containers, whatever its own is', async () => {
    const once = { restartPolicy: 'Never' };
    node.desired.set(testPod('a', { containers: [container('work', 'done', once)] }));
    node.desired.set(testPod('b', { containers: [container('work', 'fails', once)] }));
    const init = { initContainers: [container('setup', 'fails', once)] };
    node.desired.set(testPod('c', { ...init, containers: [container('web', 'web')] }));
    const rules = [{ action: 'Restart', exitCodes: { operator: 'In', values: [3] } }];
    const again = container('work', 'fails', { ...once, restartPolicyRules: rules });
    node.desired.set(testPod('d', { restartPolicy: 'Never', containers: [again] }));
    await clock.advance(5_000);
    expect(['a', 'b', 'c', 'd'].map((name) => status(`uid-${name}`).phase)).toEqual([
      'Succeeded',
      'Failed',
      'Failed',
      'Running',
    ]);
    expect(status('uid-d').containerStatuses?.[0]?.restartCount).toBe(1);
  });
});

describe('a deleted pod', () => {
  it('has a final status in which no container waits any more', async () => {
    runtime.images.set('far', { present: false, pullMs: 60_000 });
    const pod = testPod('a', { containers: [container('web', 'far', { imagePullPolicy: 'Always' })] });
    node.desired.set(pod);
    await clock.advance(1_000);
    node.desired.set(deleted(pod));
    await clock.advance(61_000);
    expect(node.reporter.gone.get('uid-a')).toMatchObject({
      phase: 'Failed',
      containerStatuses: [{ name: 'web', state: UNKNOWN }],
    });
  });
});

describe('sidecars of a pod that ends', () => {
  const hook = (command: string) => ({ lifecycle: { preStop: { exec: { command: [command] } } } });
  const pod = (grace: number, main: string): Pod =>
    testPod('a', {
      terminationGracePeriodSeconds: grace,
      initContainers: [
        container('one', 'hooked', { restartPolicy: 'Always', ...hook('drain-one') }),
        container('two', 'hooked', { restartPolicy: 'Always', ...hook('drain-two') }),
      ],
      containers: [container('web', main)],
    });
  const calls = (): string[] => {
    const names = new Map(runtime.all.map(({ id, name }) => [id, name.split('_')[1]]));
    return runtime.calls
      .filter((call) => /^(exec|stop) /.test(call))
      .map((call) => call.replace(/[0-9a-f]{64}/, (id) => names.get(id) ?? id));
  };

  it('run their hooks at once, and end one after the other behind the rest', async () => {
    runtime.images.set('slow', { stopsAfterMs: 10_000 });
    runtime.images.set('hooked', { stopsAfterMs: 1_000, exec: () => ({ exitCode: 0, afterMs: 3_000 }) });
    node.desired.set(pod(60, 'slow'));
    await clock.advance(1_000);
    node.desired.set(deleted(pod(60, 'slow')));
    await clock.advance(5_000);
    expect(calls().sort()).toEqual(['exec drain-one', 'exec drain-two', 'stop web 30']);
    await clock.advance(5_100);
    expect(calls().at(-1)).toMatch(/^stop two /);
    await clock.advance(1_100);
    expect(calls().at(-1)).toMatch(/^stop one /);
    expect(calls()).toHaveLength(5);
    await clock.advance(5_000);
    expect(node.reporter.gone.has('uid-a')).toBe(true);
  });

  it('get two seconds each, together, when the others have used up the grace period', async () => {
    runtime.images.set('hooked', { ignoresSigterm: true, exec: () => ({ exitCode: 0, afterMs: 100_000 }) });
    node.desired.set(pod(60, 'stubborn'));
    await clock.advance(1_000);
    node.desired.set(deleted(pod(60, 'stubborn')));
    await clock.advance(30_100);
    expect(
      calls()
        .filter((call) => call.startsWith('stop'))
        .sort(),
    ).toEqual(['stop one 2', 'stop two 2', 'stop web 30']);
    await clock.advance(3_000);
    expect(node.reporter.gone.has('uid-a')).toBe(true);
  });
});

describe('a container whose postStart hook fails', () => {
  it('is ended as any other is, with its preStop hook', async () => {
    runtime.images.set('hooked', {
      exec: (command) => ({ exitCode: command === 'begin' ? 1 : 0 }),
    });
    const lifecycle = {
      postStart: { exec: { command: ['begin'] } },
      preStop: { exec: { command: ['drain'] } },
    };
    node.desired.set(testPod('a', { containers: [container('web', 'hooked', { lifecycle })] }));
    await clock.advance(1_000);
    const made = runtime.calls.filter((call) => /^(exec|stop) /.test(call)).map((call) => call.split(' ')[0]);
    expect(made.slice(0, 3)).toEqual(['exec', 'exec', 'stop']);
    expect(node.reporter.reasons()).toContain('FailedPostStartHook');
    expect(node.reporter.statuses.get('uid-a')?.some(({ phase }) => phase === 'Failed')).toBe(false);
  });
});

describe('termination messages', () => {
  it('share twelve kilobytes among the containers of a pod', async () => {
    const many = Array.from({ length: 6 }, (_, index) => container(`c${index}`, 'fails'));
    node.files.messages.set('uid-a/c0/0', 'ü'.repeat(2_000));
    node.files.messages.set('uid-a/c1/0', 'short');
    node.desired.set(testPod('a', { restartPolicy: 'Never', containers: many }));
    await clock.advance(5_000);
    const [first, second] = (status().containerStatuses ?? []).map(({ state }) => state?.terminated?.message);
    expect(first).toBe('ü'.repeat(1_024));
    expect(second).toBe('short');
  });
});
