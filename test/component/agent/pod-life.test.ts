import { beforeEach, describe, expect, it } from 'vitest';
import { RuntimeError } from '../../../src/agent/runtime.ts';
import { VolumeError } from '../../../src/agent/volumes/port.ts';
import type { PodStatus } from '../../../src/api/types/core-v1.ts';
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
  node = fakeNode({ clock, runtime });
});

const started = async (): Promise<void> => {
  await node.manager.start();
  await clock.settle();
};

const containers = (name = 'web') =>
  runtime.all.filter(({ labels }) => labels['io.kubernetes.container.name'] === name);
const running = (name = 'web') => containers(name).filter(({ state }) => state === 'running');
const status = (uid = 'uid-a'): PodStatus => {
  const found = node.reporter.status(uid);
  if (!found) throw new Error(`no status of ${uid}`);
  return found;
};
const condition = (type: string, uid = 'uid-a') => status(uid).conditions?.find((each) => each.type === type);
const webPod = (name = 'a') =>
  testPod(name, { containers: [{ name: 'web', image: 'web', imagePullPolicy: 'IfNotPresent' }] });
const deleted = (pod: ReturnType<typeof testPod>, grace: number) => ({
  ...pod,
  metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:10Z', deletionGracePeriodSeconds: grace },
});

describe('a pod', () => {
  it('starts: sandbox, network, container, Ready', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    expect(runtime.all.map(({ name, state }) => `${name} ${state}`)).toEqual([
      'k8s_POD_a_default_uid-a_0 running',
      'k8s_web_a_default_uid-a_0 running',
    ]);
    const sandbox = containers('POD')[0];
    const spec = runtime.specOf(containers()[0]?.id ?? '');
    expect(spec.networkMode).toBe(`container:${sandbox?.id}`);
    expect(spec.ipcMode).toBe(`container:${sandbox?.id}`);
    expect(status()).toMatchObject({
      phase: 'Running',
      podIP: '10.42.0.2',
      hostIP: '192.168.1.10',
      observedGeneration: 1,
      qosClass: 'BestEffort',
      startTime: '2026-01-01T00:00:00Z',
    });
    expect(status().conditions?.map(({ type, status: value }) => `${type}=${value}`)).toEqual([
      'PodReadyToStartContainers=True',
      'Initialized=True',
      'Ready=True',
      'ContainersReady=True',
      'PodScheduled=True',
    ]);
    expect(status().containerStatuses?.[0]).toMatchObject({
      name: 'web',
      ready: true,
      started: true,
      restartCount: 0,
      containerID: `docker://${containers()[0]?.id}`,
      state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
    });
    expect(
      node.reporter.events.map(({ reason, message, fieldPath }) => [reason, message, fieldPath]),
    ).toEqual([
      [
        'Pulled',
        'Container image "web" already present on machine and can be accessed by the pod',
        'spec.containers{web}',
      ],
      ['Created', 'Container created', 'spec.containers{web}'],
      ['Started', 'Container started', 'spec.containers{web}'],
    ]);
  });

  it('says what it waits for while it starts', async () => {
    await started();
    runtime.latencyMs = 50;
    node.desired.set(webPod());
    await clock.advance(10);
    expect(status().containerStatuses?.[0]).toMatchObject({
      ready: false,
      started: false,
      restartCount: 0,
      image: 'web',
      imageID: '',
      state: { waiting: { reason: 'ContainerCreating' } },
    });
    expect(status()).toMatchObject({ phase: 'Pending', startTime: '2026-01-01T00:00:00Z' });
    expect(condition('PodReadyToStartContainers')?.status).toBe('False');
    expect(condition('ContainersReady')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotReady',
      message: 'containers with unready status: [web]',
    });
    await clock.advance(1_000);
    expect(status().phase).toBe('Running');
  });

  it('is started again when its container is killed by hand, and counts it', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    const first = running()[0]?.id ?? '';
    runtime.kill(first);
    await clock.settle();
    expect(running()).toHaveLength(1);
    expect(status().containerStatuses?.[0]).toMatchObject({
      restartCount: 1,
      ready: true,
      lastState: { terminated: { exitCode: 137, reason: 'Error', containerID: `docker://${first}` } },
    });
  });

  it('that somebody has removed is made again, and its restart count goes on', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    runtime.kill(running()[0]?.id ?? '');
    await clock.settle();
    for (const { id } of containers().reverse()) runtime.destroy(id);
    await clock.settle();
    expect(running()).toHaveLength(1);
    expect(status().containerStatuses?.[0]).toMatchObject({
      restartCount: 2,
      ready: true,
      lastState: { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } },
    });
  });

  it('does not do again what is done, though its containers were removed (docker system prune)', async () => {
    runtime.images.set('job', { exitAfterMs: 1_000 });
    await started();
    const job = { name: 'job', image: 'job', imagePullPolicy: 'Never' as const };
    const web = { name: 'web', image: 'web', imagePullPolicy: 'Never' as const };
    node.desired.set(testPod('a', { restartPolicy: 'OnFailure', containers: [job, web] }));
    await clock.advance(3_000);
    runtime.destroy(containers('job')[0]?.id ?? '');
    await clock.advance(60_000);
    expect(containers('job')).toHaveLength(0);
    expect(status().containerStatuses?.find(({ name }) => name === 'job')?.state).toMatchObject({
      terminated: { exitCode: 0 },
    });
    // Of what ran until it was removed nobody knows how far it came.
    node.desired.set(testPod('b', { restartPolicy: 'Never', containers: [web] }));
    await clock.settle();
    runtime.destroy(running().find(({ name }) => name.includes('_b_'))?.id ?? '');
    await clock.advance(60_000);
    expect(status('uid-b')).toMatchObject({ phase: 'Failed' });
    expect(containers().filter(({ name }) => name.includes('_b_'))).toEqual([]);
  });

  it('that crashes is restarted at once, then after 10 s, 20 s, … up to 5 min', async () => {
    runtime.images.set('crash', { exitAfterMs: 100, exitCode: 3 });
    await started();
    const begins: number[] = [];
    let known = 0;
    node.desired.set(
      testPod('a', { containers: [{ name: 'web', image: 'crash', imagePullPolicy: 'Never' }] }),
    );
    await clock.settle();
    for (let restart = 0; restart < 9; restart += 1) {
      await clock.runUntil(
        () => running().length === 1 && (running()[0]?.startedAt ?? 0) > known,
        400_000,
        'a start',
      );
      known = running()[0]?.startedAt ?? 0;
      begins.push(known);
      await clock.runUntil(() => running().length === 0, 1_000, 'the crash');
      if (restart === 2) {
        // The first restart came at once, within the instant of the first crash.
        expect(status().containerStatuses?.[0]).toMatchObject({
          ready: false,
          restartCount: 3,
          state: {
            waiting: {
              reason: 'CrashLoopBackOff',
              message: 'back-off 40s restarting failed container=web pod=a_default(uid-a)',
            },
          },
          lastState: { terminated: { exitCode: 3, reason: 'Error' } },
        });
        expect(status().phase).toBe('Running');
      }
    }
    const gaps = begins.slice(1).map((at, index) => at - (begins[index] ?? 0) - 100);
    expect(gaps).toEqual([10_100, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
    expect(runtime.calls.filter((call) => call.startsWith('create k8s_web')).length).toBe(10);
    // One dead instance is kept for lastState and `logs --previous`.
    expect(containers().length).toBeLessThanOrEqual(2);
    expect(node.reporter.events.find(({ reason }) => reason === 'BackOff')?.message).toBe(
      'Back-off restarting failed container web in pod a_default(uid-a)',
    );
  });

  it('that has run for more than ten minutes is restarted at once again', async () => {
    runtime.images.set('crash', { exitAfterMs: 700_000, exitCode: 1 });
    await started();
    node.desired.set(
      testPod('a', { containers: [{ name: 'web', image: 'crash', imagePullPolicy: 'Never' }] }),
    );
    await clock.settle();
    for (let round = 1; round <= 3; round += 1) {
      await clock.advance(700_001);
      expect(status().containerStatuses?.[0]?.restartCount).toBe(round);
      expect(running()).toHaveLength(1);
    }
  });

  it.each([
    ['Never', 0, 'Succeeded'],
    ['Never', 2, 'Failed'],
    ['OnFailure', 0, 'Succeeded'],
  ] as const)(
    'with restartPolicy %s that exits with %i ends as %s',
    async (restartPolicy, exitCode, phase) => {
      runtime.images.set('job', { exitAfterMs: 1_000, exitCode });
      await started();
      node.desired.set(
        testPod('a', {
          restartPolicy,
          containers: [{ name: 'web', image: 'job', imagePullPolicy: 'Never' }],
        }),
      );
      await clock.advance(1_500);
      expect(status().phase).toBe(phase);
      expect(condition('Ready')).toMatchObject({
        status: 'False',
        reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed',
      });
      // Sandbox, address and volumes are given back; the container stays for its log.
      expect(containers('POD')).toHaveLength(0);
      expect(node.network.attached.size).toBe(0);
      expect(containers()).toHaveLength(1);
      expect(status().podIP).toBe('10.42.0.2');
    },
  );

  it('is ended with its grace period, and reported gone when nothing is left', async () => {
    runtime.images.set('slow', { ignoresSigterm: true });
    await started();
    const pod = testPod('a', { containers: [{ name: 'web', image: 'slow', imagePullPolicy: 'Never' }] });
    node.desired.set(pod);
    await clock.settle();
    node.desired.set(deleted(pod, 20));
    await clock.advance(19_000);
    expect(running()).toHaveLength(1);
    expect(node.reporter.gone.size).toBe(0);
    await clock.advance(1_500);
    expect(runtime.all).toHaveLength(0);
    expect(node.reporter.gone.get('uid-a')).toMatchObject({
      phase: 'Failed',
      containerStatuses: [{ state: { terminated: { exitCode: 137 } }, ready: false }],
    });
    expect(node.network.attached.size).toBe(0);
    expect(node.volumes.prepared.size).toBe(0);
    expect(node.files.links.size).toBe(0);
    expect(node.reporter.events.find(({ reason }) => reason === 'Killing')?.message).toBe(
      'Stopping container web',
    );
  });

  it('is ended sooner when it is deleted again with a shorter period', async () => {
    runtime.images.set('slow', { ignoresSigterm: true });
    await started();
    const pod = testPod('a', { containers: [{ name: 'web', image: 'slow', imagePullPolicy: 'Never' }] });
    node.desired.set(pod);
    await clock.settle();
    node.desired.set(deleted(pod, 300));
    await clock.advance(2_000);
    node.desired.set(deleted(pod, 5));
    await clock.advance(6_000);
    expect(node.reporter.gone.has('uid-a')).toBe(true);
  });

  it('runs its preStop hook before SIGTERM, within the grace period', async () => {
    const order: string[] = [];
    runtime.images.set('hooked', {
      exec: (command) => {
        order.push(command);
        return { exitCode: 0, afterMs: 3_000 };
      },
    });
    await started();
    const pod = testPod('a', {
      containers: [
        {
          name: 'web',
          image: 'hooked',
          imagePullPolicy: 'Never',
          lifecycle: { preStop: { exec: { command: ['drain'] } } },
        },
      ],
    });
    node.desired.set(pod);
    await clock.settle();
    node.desired.set(deleted(pod, 10));
    await clock.advance(2_000);
    expect(running()).toHaveLength(1);
    await clock.advance(1_500);
    expect(order).toEqual(['drain']);
    expect(node.reporter.gone.has('uid-a')).toBe(true);
    expect(runtime.calls.filter((call) => call.startsWith('stop'))[0]).toMatch(/ 7$/);
  });

  it('takes the links of its logs with it, also of containers that somebody else has removed', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    await runtime.remove(running()[0]?.id ?? '');
    await clock.advance(40_000);
    expect(node.files.links.size).toBeGreaterThan(0);
    node.desired.set(deleted(webPod(), 1));
    await clock.advance(5_000);
    expect(node.reporter.gone.size).toBe(1);
    expect([...node.files.links]).toEqual([]);
  });

  it('that is desired no more is ended without a word', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    node.desired.delete('uid-a');
    await clock.advance(5_000);
    expect(runtime.all).toHaveLength(0);
    expect(node.reporter.gone.size).toBe(0);
  });

  it('deleted before its image came is gone at once', async () => {
    runtime.images.set('far', { present: false, pullMs: 60_000 });
    await started();
    const pod = testPod('a', { containers: [{ name: 'web', image: 'far' }] });
    node.desired.set(pod);
    await clock.advance(1_000);
    expect(containers('POD')).toHaveLength(1);
    node.desired.set(deleted(pod, 30));
    await clock.advance(61_000);
    expect(node.reporter.gone.has('uid-a')).toBe(true);
    expect(runtime.all).toHaveLength(0);
  });

  it('gets a new sandbox, and its containers anew, when its sandbox dies', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    const before = running()[0]?.id;
    runtime.kill(containers('POD')[0]?.id ?? '');
    await clock.advance(3_000);
    expect(running('POD').map(({ name }) => name)).toEqual(['k8s_POD_a_default_uid-a_1']);
    expect(running()[0]?.id).not.toBe(before);
    expect(status().containerStatuses?.[0]?.restartCount).toBe(1);
    expect(node.reporter.reasons()).toContain('SandboxChanged');
    expect(status().phase).toBe('Running');
  });

  it('is made anew when the image of a container is changed', async () => {
    runtime.images.set('web2', {});
    await started();
    node.desired.set(webPod());
    await clock.settle();
    const changed = webPod();
    changed.metadata.resourceVersion = '2';
    (changed.spec?.containers[0] ?? { image: '' }).image = 'web2';
    node.desired.set(changed);
    await clock.advance(3_000);
    expect(running().map(({ image }) => image)).toEqual(['web2']);
    expect(node.reporter.events.map(({ message }) => message)).toContain(
      'Container web definition changed, will be restarted',
    );
  });

  it('past its activeDeadlineSeconds is ended and stays Failed', async () => {
    await started();
    node.desired.set(
      testPod('a', {
        activeDeadlineSeconds: 60,
        containers: [{ name: 'web', image: 'web', imagePullPolicy: 'Never' }],
      }),
    );
    await clock.advance(59_000);
    expect(status().phase).toBe('Running');
    await clock.advance(3_000);
    expect(status()).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
    expect(running()).toHaveLength(0);
    await clock.advance(60_000);
    expect(status().phase).toBe('Failed');
    expect(node.reporter.gone.size).toBe(0);
  });
});

describe('init containers and sidecars', () => {
  it('run in order, each to its end, before the regular ones', async () => {
    runtime.images.set('init', { exitAfterMs: 1_000 });
    await started();
    node.desired.set(
      testPod('a', {
        initContainers: [
          { name: 'one', image: 'init', imagePullPolicy: 'Never' },
          { name: 'two', image: 'init', imagePullPolicy: 'Never' },
        ],
        containers: [{ name: 'web', image: 'web', imagePullPolicy: 'Never' }],
      }),
    );
    await clock.advance(500);
    expect([running('one').length, running('two').length, containers().length]).toEqual([1, 0, 0]);
    expect(condition('Initialized')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotInitialized',
      message: 'containers with incomplete status: [one two]',
    });
    expect(status().containerStatuses?.[0]?.state).toEqual({ waiting: { reason: 'PodInitializing' } });
    expect(status().phase).toBe('Pending');
    await clock.advance(1_000);
    expect([running('two').length, containers().length]).toEqual([1, 0]);
    await clock.advance(1_000);
    expect(running()).toHaveLength(1);
    expect(status().phase).toBe('Running');
    expect(
      status().initContainerStatuses?.map(({ ready, state }) => [ready, state?.terminated?.reason]),
    ).toEqual([
      [true, 'Completed'],
      [true, 'Completed'],
    ]);
  });

  it('that fails is tried again with back-off; with restartPolicy Never the pod fails', async () => {
    runtime.images.set('bad', { exitAfterMs: 100, exitCode: 1 });
    await started();
    const spec = {
      initContainers: [{ name: 'one', image: 'bad', imagePullPolicy: 'Never' as const }],
      containers: [{ name: 'web', image: 'web', imagePullPolicy: 'Never' as const }],
    };
    node.desired.set(testPod('a', spec));
    node.desired.set(testPod('b', { ...spec, restartPolicy: 'Never' }));
    await clock.advance(5_000);
    expect(status().initContainerStatuses?.[0]).toMatchObject({
      restartCount: 1,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
    });
    expect(status().phase).toBe('Pending');
    expect(status('uid-b').phase).toBe('Failed');
    expect(containers()).toHaveLength(0);
  });

  it('a sidecar starts before and ends after the regular containers', async () => {
    runtime.images.set('job', { exitAfterMs: 5_000 });
    await started();
    node.desired.set(
      testPod('a', {
        restartPolicy: 'Never',
        initContainers: [{ name: 'side', image: 'web', imagePullPolicy: 'Never', restartPolicy: 'Always' }],
        containers: [{ name: 'web', image: 'job', imagePullPolicy: 'Never' }],
      }),
    );
    await clock.advance(1_000);
    expect([running('side').length, running().length]).toEqual([1, 1]);
    expect(status().initContainerStatuses?.[0]).toMatchObject({ started: true, ready: true });
    await clock.advance(5_000);
    expect(running('side')).toHaveLength(0);
    expect(status().phase).toBe('Succeeded');
  });
});

describe('images', () => {
  it('that cannot be pulled: ErrImagePull, ImagePullBackOff, retried, and running when it comes', async () => {
    const failure = new RuntimeError('ImagePull', 'dial tcp: lookup registry-1.docker.io: no such host');
    runtime.images.set('far', { present: false, pullError: failure });
    await started();
    node.desired.set(testPod('a', { containers: [{ name: 'web', image: 'far:1' }] }));
    runtime.images.set('far:1', { present: false, pullError: failure });
    await clock.settle();
    expect(status().containerStatuses?.[0]?.state?.waiting).toEqual({
      reason: 'ErrImagePull',
      message: failure.message,
    });
    await clock.advance(2_000);
    expect(status().containerStatuses?.[0]?.state?.waiting).toEqual({
      reason: 'ImagePullBackOff',
      message: `Back-off pulling image "far:1": ErrImagePull: ${failure.message}`,
    });
    expect(status().phase).toBe('Pending');
    await clock.advance(300_000);
    // 10, 20, 40, 80 and 160 s apart.
    expect(runtime.calls.filter((call) => call === 'pull far:1')).toHaveLength(5);
    runtime.images.set('far:1', { present: false });
    await clock.advance(300_000);
    expect(status().phase).toBe('Running');
    const events = node.reporter.events.map(({ reason, message }) => `${reason}: ${message}`);
    expect(events).toContain('Pulling: Pulling image "far:1"');
    expect(events).toContain(`Failed: Failed to pull image "far:1": ${failure.message}`);
    expect(events).toContain('Failed: Error: ErrImagePull');
    expect(events).toContain('BackOff: Back-off pulling image "far:1"');
    expect(events.some((each) => each.startsWith('Pulled: Successfully pulled image "far:1" in '))).toBe(
      true,
    );
  });

  it('are never pulled by policy Never, and a name that is none is refused', async () => {
    await started();
    node.desired.set(
      testPod('a', { containers: [{ name: 'web', image: 'nope', imagePullPolicy: 'Never' }] }),
    );
    node.desired.set(testPod('b', { containers: [{ name: 'web', image: 'No/Such' }] }));
    runtime.images.set('nope', { present: false });
    await clock.settle();
    expect(status().containerStatuses?.[0]?.state?.waiting?.reason).toBe('ErrImageNeverPull');
    expect(status('uid-b').containerStatuses?.[0]?.state?.waiting?.reason).toBe('InvalidImageName');
    expect(runtime.calls.some((call) => call.startsWith('pull'))).toBe(false);
  });

  it('wanted by many pods are pulled once', async () => {
    runtime.images.set('far:1', { present: false, pullMs: 5_000 });
    await started();
    for (const name of ['a', 'b', 'c'])
      node.desired.set(testPod(name, { containers: [{ name: 'web', image: 'far:1' }] }));
    await clock.advance(6_000);
    expect(running()).toHaveLength(3);
    expect(runtime.calls.filter((call) => call === 'pull far:1')).toHaveLength(1);
  });
});

describe('what is missing or wrong', () => {
  it('a ConfigMap that does not exist: CreateContainerConfigError, and running when it comes', async () => {
    await started();
    node.desired.set(
      testPod('a', {
        containers: [
          {
            name: 'web',
            image: 'web',
            imagePullPolicy: 'Never',
            env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'settings', key: 'x' } } }],
          },
        ],
      }),
    );
    await clock.settle();
    expect(status().containerStatuses?.[0]?.state?.waiting).toEqual({
      reason: 'CreateContainerConfigError',
      message: 'configmap "settings" not found',
    });
    node.desired.setConfig({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace: 'default', name: 'settings' },
      data: { x: 'y' },
    });
    await clock.advance(100);
    expect(status().phase).toBe('Running');
    expect(runtime.specOf(running()[0]?.id ?? '').env).toContain('X=y');
  });

  it('a volume that cannot be made: ContainerCreating and a FailedMount event', async () => {
    await started();
    node.desired.set(
      testPod('a', {
        volumes: [{ name: 'cfg', configMap: { name: 'missing' } }],
        containers: [{ name: 'web', image: 'web', imagePullPolicy: 'Never' }],
      }),
    );
    await clock.advance(5_000);
    expect(status().containerStatuses?.[0]?.state).toEqual({ waiting: { reason: 'ContainerCreating' } });
    expect(node.reporter.events.find(({ reason }) => reason === 'FailedMount')?.message).toBe(
      'MountVolume.SetUp failed for volume "cfg" : configmap "missing" not found',
    );
  });

  it('a device that is plugged in late: looked for often, told seldom, running within seconds', async () => {
    await started();
    let there = false;
    const prepare = node.volumes.prepare.bind(node.volumes);
    let looks = 0;
    node.volumes.prepare = async (pod) => {
      looks += 1;
      if (!there) throw new VolumeError('camera', 'hostPath type check failed: /dev/video0 is not …');
      await prepare(pod);
    };
    node.desired.set(webPod());
    await clock.advance(600_000);
    expect(looks).toBeGreaterThan(100);
    expect(node.reporter.reasons().filter((reason) => reason === 'FailedMount').length).toBeLessThan(10);
    there = true;
    await clock.advance(4_100);
    expect(status().phase).toBe('Running');
  });

  it('a command that does not exist: RunContainerError, then CrashLoopBackOff with ContainerCannotRun', async () => {
    runtime.images.set('bad', { startError: 'exec: "nope": executable file not found in $PATH: unknown' });
    await started();
    node.desired.set(testPod('a', { containers: [{ name: 'web', image: 'bad', imagePullPolicy: 'Never' }] }));
    await clock.advance(1_000);
    expect(status().containerStatuses?.[0]).toMatchObject({
      restartCount: 1,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { reason: 'ContainerCannotRun', exitCode: 127 } },
    });
    const reasons = node.reporter.statuses
      .get('uid-a')
      ?.map((each) => each.containerStatuses?.[0]?.state?.waiting?.reason);
    expect(reasons).toContain('RunContainerError');
  });

  it('no network: a FailedCreatePodSandBox event, and running when it comes', async () => {
    await started();
    node.network.failure = new Error('no addresses left');
    node.desired.set(webPod());
    await clock.advance(3_000);
    expect(condition('PodReadyToStartContainers')?.status).toBe('False');
    expect(node.reporter.events.find(({ reason }) => reason === 'FailedCreatePodSandBox')?.message).toBe(
      'Failed to create pod sandbox: no addresses left',
    );
    node.network.failure = undefined;
    await clock.advance(30_000);
    expect(status().phase).toBe('Running');
  });

  it('a container that was killed for memory says OOMKilled', async () => {
    runtime.images.set('hog', { exitAfterMs: 100, exitCode: 137, oomKilled: true });
    await started();
    node.desired.set(
      testPod('a', {
        restartPolicy: 'Never',
        containers: [{ name: 'web', image: 'hog', imagePullPolicy: 'Never' }],
      }),
    );
    await clock.advance(1_000);
    expect(status().containerStatuses?.[0]?.state?.terminated).toMatchObject({
      reason: 'OOMKilled',
      exitCode: 137,
    });
  });

  it('a Docker call that hangs on one container holds up only its pod', async () => {
    runtime.images.set('stuck', { startHangs: true });
    await started();
    node.desired.set(
      testPod('a', { containers: [{ name: 'web', image: 'stuck', imagePullPolicy: 'Never' }] }),
    );
    node.desired.set(webPod('b'));
    await clock.settle();
    expect(status('uid-b').phase).toBe('Running');
    expect(status('uid-a').phase).toBe('Pending');
  });
});

describe('the agent', () => {
  it('adopts what runs, without touching it, when it is started again', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    runtime.kill(running()[0]?.id ?? '');
    await clock.settle();
    await node.manager.stop();
    runtime.calls.length = 0;
    const pod = { ...webPod(), status: status() };
    const next = fakeNode({
      clock,
      runtime,
      network: node.network,
      volumes: node.volumes,
      files: node.files,
    });
    next.desired.set(pod);
    await next.manager.start();
    await clock.advance(1_000);
    expect(runtime.calls.filter((call) => /^(create|start|stop|remove)/.test(call))).toEqual([]);
    // Nothing has changed; it is told once, for the report of before may never have arrived.
    expect(next.reporter.statuses.get('uid-a')).toEqual([pod.status]);
    runtime.kill(running()[0]?.id ?? '');
    await clock.advance(15_000);
    expect(next.reporter.status('uid-a')?.containerStatuses?.[0]?.restartCount).toBe(2);
  });

  it('leaves unknown pods alone until the desired state is known, then ends them; foreign containers never', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    await node.manager.stop();
    runtime.addForeign('somebody-elses');
    const next = fakeNode({
      clock,
      runtime,
      network: node.network,
      volumes: node.volumes,
      files: node.files,
    });
    next.desired.unconfirmed();
    await next.manager.start();
    await clock.advance(60_000);
    expect(running()).toHaveLength(1);
    next.desired.confirm();
    await clock.advance(10_000);
    expect(runtime.all.map(({ name }) => name)).toEqual(['somebody-elses']);
    expect(next.network.attached.size).toBe(0);
  });

  it('goes on with a pod that its journal had not got yet when it was killed', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    await node.manager.stop();
    runtime.calls.length = 0;
    const next = fakeNode({
      clock,
      runtime,
      network: node.network,
      volumes: node.volumes,
      files: node.files,
    });
    next.desired.unconfirmed();
    await next.manager.start();
    await clock.settle();
    next.desired.set({ ...webPod(), status: status() });
    next.desired.confirm();
    await clock.advance(30_000);
    expect(runtime.calls.filter((call) => /^(create|start|stop|remove)/.test(call))).toEqual([]);
    expect(next.reporter.status('uid-a')).toMatchObject({ phase: 'Running' });
  });

  it('starts a pod again that was disowned and is wanted after all, once the old one has ended', async () => {
    await started();
    const pod = webPod();
    node.desired.set(pod);
    await clock.settle();
    const first = running()[0]?.id;
    node.desired.delete('uid-a');
    node.desired.set(pod);
    await clock.advance(60_000);
    expect(running()).toHaveLength(1);
    expect(running()[0]?.id).not.toBe(first);
    expect(node.reporter.status('uid-a')).toMatchObject({ phase: 'Running' });
  });

  it('starts everything anew after the machine was rebooted, counting the restart', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    await node.manager.stop();
    runtime.reboot();
    const next = fakeNode({ clock, runtime });
    next.desired.set({ ...webPod(), status: status() });
    await next.manager.start();
    await clock.advance(1_000);
    expect(running().map(({ name }) => name)).toEqual(['k8s_web_a_default_uid-a_1']);
    expect(next.reporter.status('uid-a')).toMatchObject({ phase: 'Running' });
    expect(next.reporter.status('uid-a')?.containerStatuses?.[0]?.restartCount).toBe(1);
  });

  it('does not run a finished pod again, even when the engine has forgotten it', async () => {
    await started();
    node.desired.set({ ...webPod(), status: { phase: 'Succeeded', startTime: '2026-01-01T00:00:00Z' } });
    await clock.advance(5_000);
    expect(runtime.all).toHaveLength(0);
    expect(node.reporter.status('uid-a')?.phase ?? 'Succeeded').toBe('Succeeded');
  });

  it('waits for an engine that is away, and goes on when it is back', async () => {
    await started();
    node.desired.set(webPod());
    await clock.settle();
    runtime.down = true;
    await clock.advance(60_000);
    expect(node.runtimeStates).toEqual([true, false]);
    const reports = node.reporter.statuses.get('uid-a')?.length;
    node.desired.set(webPod('b'));
    await clock.advance(10_000);
    expect(node.reporter.statuses.get('uid-a')?.length).toBe(reports);
    runtime.reboot();
    runtime.down = false;
    await clock.advance(5_000);
    expect(node.runtimeStates).toEqual([true, false, true]);
    expect(running()).toHaveLength(2);
    expect(status().containerStatuses?.[0]?.restartCount).toBe(1);
  });
});

describe('probes', () => {
  const probed = (exec: (command: string) => { exitCode: number; stdout?: string; afterMs?: number }) => {
    runtime.images.set('probed', { exec });
  };

  it('a readiness gate decides with them, and is never repeated to whom it came from', async () => {
    await started();
    const gated = (status?: string) => {
      const pod = webPod();
      return {
        ...pod,
        metadata: { ...pod.metadata, resourceVersion: String(status) },
        spec: {
          ...pod.spec,
          containers: pod.spec?.containers ?? [],
          readinessGates: [{ conditionType: 'x/open' }],
        },
        status: { ...pod.status, conditions: status ? [{ type: 'x/open', status }] : [] },
      } as ReturnType<typeof webPod>;
    };
    node.desired.set(gated());
    await clock.settle();
    expect(condition('Ready')).toMatchObject({ status: 'False', reason: 'ReadinessGatesNotReady' });
    node.desired.set(gated('True'));
    await clock.settle();
    expect(condition('Ready')?.status).toBe('True');
    expect(condition('x/open')).toBeUndefined();
    node.desired.set(gated('False'));
    await clock.settle();
    expect(condition('Ready')?.message).toBe(
      'the status of pod readiness gate "x/open" is not "True", but False',
    );
  });

  it('readiness decides on Ready, with its thresholds', async () => {
    let healthy = false;
    probed(() => (healthy ? { exitCode: 0 } : { exitCode: 1, stdout: 'not yet' }));
    await started();
    node.desired.set(
      testPod('a', {
        containers: [
          {
            name: 'web',
            image: 'probed',
            imagePullPolicy: 'Never',
            readinessProbe: { exec: { command: ['check'] }, periodSeconds: 5, failureThreshold: 2 },
          },
        ],
      }),
    );
    await clock.advance(7_000);
    expect(condition('Ready')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotReady',
      message: 'containers with unready status: [web]',
    });
    expect(node.reporter.events.find(({ reason }) => reason === 'Unhealthy')?.message).toBe(
      'Readiness probe failed: not yet',
    );
    healthy = true;
    await clock.advance(5_000);
    expect(condition('Ready')?.status).toBe('True');
    healthy = false;
    await clock.advance(5_000);
    expect(condition('Ready')?.status).toBe('True');
    await clock.advance(5_000);
    expect(condition('Ready')?.status).toBe('False');
  });

  it('a failed liveness probe restarts the container; a probe out of time is a failure', async () => {
    let hangs = false;
    probed(() => ({ exitCode: 0, afterMs: hangs ? 60_000 : 0 }));
    await started();
    node.desired.set(
      testPod('a', {
        containers: [
          {
            name: 'web',
            image: 'probed',
            imagePullPolicy: 'Never',
            livenessProbe: {
              exec: { command: ['check'] },
              periodSeconds: 10,
              failureThreshold: 3,
              timeoutSeconds: 1,
            },
          },
        ],
      }),
    );
    await clock.advance(25_000);
    expect(status().containerStatuses?.[0]?.restartCount).toBe(0);
    hangs = true;
    await clock.advance(32_000);
    expect(status().containerStatuses?.[0]?.restartCount).toBe(1);
    expect(node.reporter.events.map(({ message }) => message)).toContain(
      'Container web failed liveness probe, will be restarted',
    );
  });

  it('a startup probe holds back readiness and the rest', async () => {
    let up = false;
    const asked: string[] = [];
    probed((command) => {
      asked.push(command);
      return { exitCode: up || command === 'ready' ? 0 : 1 };
    });
    await started();
    node.desired.set(
      testPod('a', {
        containers: [
          {
            name: 'web',
            image: 'probed',
            imagePullPolicy: 'Never',
            startupProbe: { exec: { command: ['start'] }, periodSeconds: 1, failureThreshold: 30 },
            readinessProbe: { exec: { command: ['ready'] }, periodSeconds: 1 },
          },
        ],
      }),
    );
    await clock.advance(5_500);
    expect(asked).not.toContain('ready');
    expect(status().containerStatuses?.[0]).toMatchObject({ started: false, ready: false });
    up = true;
    await clock.advance(1_000);
    expect(status().containerStatuses?.[0]).toMatchObject({ started: true, ready: true });
  });
});
