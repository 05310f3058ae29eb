import { describe, expect, it } from 'vitest';
import type { DaemonSet, Deployment, ReplicaSet } from '../../src/api/types/apps-v1.ts';
import type { Job } from '../../src/api/types/batch-v1.ts';
import type { Container, PersistentVolumeClaim, Pod, PodSpec } from '../../src/api/types/core-v1.ts';
import { busybox, podSpec, workload } from '../support/manifests.ts';
import { onBoards } from '../support/on-boards.ts';

// The workload controllers on real Docker, asked and judged with kubectl's own verbs: all at once on two boards. The
// autoscaler has a file of its own, since it needs a busy board.
const { cluster, kubectl, apply, list } = onBoards(['first', 'second']);

const STAY = 'trap exit TERM; while :; do sleep 0.2; done';

const running = (script: string, more: Partial<Container> = {}): Partial<PodSpec> => ({
  terminationGracePeriodSeconds: 5,
  containers: [busybox(script, more)],
});

const jobTemplate = (script: string) => ({
  spec: { ...podSpec(running(script)), restartPolicy: 'Never' },
});

const job = (name: string, script: string, spec: object) => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name },
  spec: { ...spec, template: jobTemplate(script) },
});

const rollout = (what: string) =>
  kubectl.line(`rollout status ${what} --timeout=100s`, { timeoutMs: 120_000 });

describe.concurrent('with kubectl', () => {
  it('a Deployment is rolled, rolled back, paused and resumed', async () => {
    await apply(workload('Deployment', 'web', running(STAY), { replicas: 3 }));
    expect(await rollout('deployment/web')).toContain('deployment "web" successfully rolled out');
    await kubectl.line('set env deployment/web VERSION=2');
    await rollout('deployment/web');
    const versions = async () => {
      const pods = await list<Pod>('pods', '-l', 'app=web', '--field-selector=status.phase=Running');
      return pods
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .map(({ spec }) => spec?.containers[0]?.env?.[0]?.value ?? '1');
    };
    expect(await versions()).toEqual(['2', '2', '2']);
    const history = await kubectl.line('rollout history deployment/web');
    expect(history.match(/^\d+/gm)).toEqual(['1', '2']);
    expect(await kubectl.line('rollout history deployment/web --revision=2')).toContain('VERSION:\t2');

    await kubectl.line('rollout undo deployment/web');
    await rollout('deployment/web');
    expect(await versions()).toEqual(['1', '1', '1']);
    expect((await kubectl.line('rollout history deployment/web')).match(/^\d+/gm)).toEqual(['2', '3']);

    await kubectl.line('rollout pause deployment/web');
    await kubectl.line('set env deployment/web VERSION=4');
    await kubectl.line('scale deployment/web --replicas=2');
    await cluster.eventually('the paused deployment to be scaled', async () => {
      const { status } = await kubectl.get<Deployment>('deployment', 'web');
      return status?.observedGeneration !== undefined && status.readyReplicas === 2 && status.replicas === 2;
    });
    expect(await versions()).toEqual(['1', '1']);
    await kubectl.line('rollout resume deployment/web');
    await rollout('deployment/web');
    expect(await versions()).toEqual(['4', '4']);
    const sets = await list<ReplicaSet>('replicasets', '-l', 'app=web');
    expect(sets.map(({ spec }) => spec?.replicas).sort()).toEqual([0, 0, 2]);
  });

  it('a StatefulSet keeps the claims of its identities over updates and sizes', async () => {
    const keep = 'test -f /data/id || cat /proc/sys/kernel/random/uuid > /data/id';
    await apply(
      workload(
        'StatefulSet',
        'db',
        running(`${keep}; ${STAY}`, { volumeMounts: [{ name: 'data', mountPath: '/data' }] }),
        {
          replicas: 2,
          volumeClaimTemplates: [
            {
              metadata: { name: 'data' },
              spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
            },
          ],
        },
      ),
    );
    await rollout('statefulset/db');
    const id = (pod: string) => kubectl.line(`exec ${pod} -- cat /data/id`);
    const before = [await id('db-0'), await id('db-1')];
    expect(new Set(before).size).toBe(2);
    await kubectl.line('scale statefulset/db --replicas=3');
    await rollout('statefulset/db');
    await kubectl.line('set env statefulset/db VERSION=2');
    expect(await rollout('statefulset/db')).toContain('partitioned roll out complete: 3 new pods');
    expect([await id('db-0'), await id('db-1')]).toEqual(before);
    await kubectl.line('scale statefulset/db --replicas=1');
    await kubectl.line('wait --for=delete pod/db-1 pod/db-2 --timeout=60s');
    const claims = await list<PersistentVolumeClaim>('pvc');
    expect(claims.map(({ metadata, status }) => `${metadata.name} ${status?.phase}`)).toEqual([
      'data-db-0 Bound',
      'data-db-1 Bound',
      'data-db-2 Bound',
    ]);
  });

  it('Jobs complete, by index too, and fail; a CronJob’s is made by hand', async () => {
    await apply(
      job('indexed', 'echo index $JOB_COMPLETION_INDEX', {
        completionMode: 'Indexed',
        completions: 3,
        parallelism: 2,
      }),
    );
    await apply(job('broken', 'exit 3', { backoffLimit: 0 }));
    await apply({
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'nightly' },
      spec: {
        schedule: '0 3 1 1 *',
        jobTemplate: { spec: { template: jobTemplate('echo done') } },
      },
    });
    await kubectl.line('create job --from=cronjob/nightly by-hand');
    await kubectl.line('wait --for=condition=complete job/indexed job/by-hand --timeout=90s', {
      timeoutMs: 120_000,
    });
    await kubectl.line('wait --for=condition=failed job/broken --timeout=60s');
    const logs = await kubectl.line('logs -l job-name=indexed --tail=-1');
    expect(logs.trim().split('\n').sort()).toEqual(['index 0', 'index 1', 'index 2']);
    const { metadata, status } = await kubectl.get<Job>('job', 'indexed');
    expect(status).toMatchObject({ succeeded: 3, completedIndexes: '0-2' });
    expect(metadata.ownerReferences).toBeUndefined();
    const made = await kubectl.get<Job>('job', 'by-hand');
    expect(made.metadata.ownerReferences?.[0]).toMatchObject({ kind: 'CronJob', name: 'nightly' });
    expect(made.metadata.annotations).toMatchObject({ 'cronjob.kubernetes.io/instantiate': 'manual' });
  });

  it('a DaemonSet runs on both boards, is updated and rolled back', async () => {
    await apply(workload('DaemonSet', 'probe', running(STAY)));
    expect(await rollout('daemonset/probe')).toContain('daemon set "probe" successfully rolled out');
    await kubectl.line('set env daemonset/probe VERSION=2');
    await rollout('daemonset/probe');
    await kubectl.line('rollout undo daemonset/probe');
    await rollout('daemonset/probe');
    const { status } = await kubectl.get<DaemonSet>('daemonset', 'probe');
    expect(status).toMatchObject({
      desiredNumberScheduled: 2,
      updatedNumberScheduled: 2,
      numberAvailable: 2,
    });
    const pods = await list<Pod>('pods', '-l', 'app=probe');
    const living = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    expect(living.map(({ spec }) => spec?.nodeName).sort()).toEqual(['first', 'second']);
    expect(living.every(({ spec }) => spec?.containers[0]?.env === undefined)).toBe(true);
  });
});

it('a drain waits for what a disruption budget protects', async () => {
  await kubectl.line('cordon first');
  await apply(workload('Deployment', 'guarded', running(STAY), { replicas: 2 }));
  await kubectl.line('create poddisruptionbudget guarded --selector=app=guarded --min-available=1');
  await rollout('deployment/guarded');
  await kubectl.line('uncordon first');
  await cluster.eventually(
    'the budget to allow a disruption',
    async () =>
      (await kubectl.line('get pdb guarded -o jsonpath={.status.disruptionsAllowed}')) === '1' || undefined,
  );
  const drained = await kubectl.run(
    'drain second --ignore-daemonsets --pod-selector=app=guarded --timeout=90s'.split(' '),
    { timeoutMs: 120_000 },
  );
  expect(drained.code, drained.stderr).toBe(0);
  expect(drained.stderr).toContain("would violate the pod's disruption budget");
  await rollout('deployment/guarded');
  const pods = await list<Pod>('pods', '-l', 'app=guarded');
  expect(pods.map(({ spec }) => spec?.nodeName)).toEqual(['first', 'first']);
  await kubectl.line('uncordon second');
});
