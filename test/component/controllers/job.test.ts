import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { JOBS, PODS } from '../../../src/api/kinds.ts';
import type { Job } from '../../../src/api/types/batch-v1.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { jobController } from '../../../src/server/controllers/job/controller.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  let plane: ControlPlane;

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    await plane.start(jobController);
  });
  afterEach(() => plane.stop());

  async function create(spec: Partial<NonNullable<Job['spec']>> = {}): Promise<void> {
    await plane.client.create(JOBS, 'default', {
      metadata: { name: 'sum' },
      spec: {
        template: { spec: { restartPolicy: 'Never', containers: [{ name: 'sum', image: 'sum' }] } },
        ...spec,
      },
    });
    await plane.settle();
  }

  const job = (): Job => plane.client.peek(JOBS, 'default', 'sum') as Job;
  const conditions = (): string[] =>
    (job().status?.conditions ?? []).map(({ type, status, reason }) => `${type}=${status} ${reason}`);
  const pods = (): Pod[] => plane.client.all(PODS);
  const running = (): Pod[] => pods().filter(({ status }) => status?.phase === 'Running');
  const indexOf = (pod: Pod): string | undefined =>
    pod.metadata.annotations?.['batch.kubernetes.io/job-completion-index'];

  async function finish(pod: Pod | undefined, exitCode: number): Promise<void> {
    await plane.kubelet.finish(pod as Pod, exitCode);
    await plane.settle();
  }

  describe('a Job', () => {
    it('runs its pod once and completes', async () => {
      await create();
      expect(job().status).toMatchObject({ active: 1, ready: 1, startTime: '2026-01-01T00:00:00Z' });
      expect(running()[0]?.metadata.finalizers).toEqual(['batch.kubernetes.io/job-tracking']);
      await finish(running()[0], 0);
      expect(conditions()).toEqual([
        'SuccessCriteriaMet=True CompletionsReached',
        'Complete=True CompletionsReached',
      ]);
      expect(job().status).toMatchObject({ succeeded: 1, ready: 0, uncountedTerminatedPods: {} });
      expect(job().status?.completionTime).toBe('2026-01-01T00:00:00Z');
      expect(job().status?.active).toBeUndefined();
      expect(pods()[0]?.metadata.finalizers).toBeUndefined();
      expect(plane.events()).toContain('Completed: Job completed');
    });

    it('keeps its parallelism until it has its completions', async () => {
      await create({ completions: 5, parallelism: 2 });
      for (let done = 0; done < 5; done += 1) {
        expect(running()).toHaveLength(Math.min(2, 5 - done));
        await finish(running()[0], 0);
      }
      expect(pods()).toHaveLength(5);
      expect(conditions()).toContain('Complete=True CompletionsReached');
    });

    it('tries again with doubling waits and fails beyond its back-off limit', async () => {
      await create({ backoffLimit: 2 });
      await finish(running()[0], 1);
      expect(running()).toHaveLength(0);
      await plane.clock.advance(10_000);
      expect(running()).toHaveLength(1);
      await finish(running()[0], 1);
      await plane.clock.advance(19_000);
      expect(running()).toHaveLength(0);
      await plane.clock.advance(1_500);
      await finish(running()[0], 1);
      expect(conditions()).toEqual([
        'FailureTarget=True BackoffLimitExceeded',
        'Failed=True BackoffLimitExceeded',
      ]);
      expect(job().status).toMatchObject({ failed: 3 });
      await plane.clock.advance(3_600_000);
      expect(pods()).toHaveLength(3);
    });

    it('counts every pod once, also when the controller dies between its writes', async () => {
      await create({ completions: 3, parallelism: 3 });
      const remove = plane.client.intercept(({ verb, resource }) => {
        if (verb === 'patch' && resource === 'pods') throw new Error('crash before the finalizer goes');
      });
      for (const pod of running()) await plane.kubelet.finish(pod, 0);
      await plane.settle();
      expect(job().status?.uncountedTerminatedPods?.succeeded).toHaveLength(3);
      expect(conditions()).not.toContain('Complete=True CompletionsReached');
      remove();
      await plane.clock.advance(60_000);
      expect(job().status).toMatchObject({ succeeded: 3, uncountedTerminatedPods: {} });
      expect(pods()).toHaveLength(3);
      expect(conditions()).toContain('Complete=True CompletionsReached');
    });

    it('counts a pod that somebody deleted as failed and replaces it', async () => {
      await create();
      await plane.client.delete(PODS, 'default', running()[0]?.metadata.name ?? '');
      await plane.clock.advance(60_000);
      expect(job().status?.failed).toBe(1);
      expect(running()).toHaveLength(1);
    });

    it('gives every index its own pod', async () => {
      await create({ completionMode: 'Indexed', completions: 3, parallelism: 3 });
      expect(running().map(indexOf).sort()).toEqual(['0', '1', '2']);
      const one = running().find((pod) => indexOf(pod) === '1');
      expect(one?.spec?.hostname).toBe('sum-1');
      expect(one?.metadata.name).toMatch(/^sum-1-[a-z0-9]{5}$/);
      expect(one?.spec?.containers[0]?.env?.[0]?.name).toBe('JOB_COMPLETION_INDEX');
      await finish(
        running().find((pod) => indexOf(pod) === '0'),
        0,
      );
      await finish(one, 1);
      await plane.clock.advance(10_000);
      expect(running().map(indexOf).sort()).toEqual(['1', '2']);
      for (const pod of running()) await finish(pod, 0);
      expect(job().status).toMatchObject({ succeeded: 3, failed: 1, completedIndexes: '0-2' });
      expect(conditions()).toContain('Complete=True CompletionsReached');
    });

    it('stops its pods when suspended, without counting them, and starts them when resumed', async () => {
      await create({ parallelism: 2, completions: 2, activeDeadlineSeconds: 100 });
      const patch = (suspend: boolean) =>
        plane.client.patch(JOBS, 'default', 'sum', { type: 'merge', body: { spec: { suspend } } });
      await patch(true);
      await plane.settle();
      expect(pods()).toHaveLength(0);
      expect(conditions()).toEqual(['Suspended=True JobSuspended']);
      expect(job().status?.failed).toBeUndefined();
      await plane.clock.advance(200_000);
      await patch(false);
      await plane.settle();
      expect(running()).toHaveLength(2);
      expect(conditions()).toEqual(['Suspended=False JobResumed']);
      expect(job().status?.startTime).toBe('2026-01-01T00:03:20Z');
      await plane.clock.advance(100_000);
      expect(conditions()).toContain('Failed=True DeadlineExceeded');
      expect(running()).toHaveLength(0);
    });

    it('is removed with its pods some time after it finished', async () => {
      await create({ ttlSecondsAfterFinished: 30 });
      await finish(running()[0], 0);
      await plane.clock.advance(29_000);
      expect(job().metadata.deletionTimestamp).toBeUndefined();
      await plane.clock.advance(2_000);
      expect(job().metadata.finalizers).toEqual(['foregroundDeletion']);
    });

    it('fails at once for an exit code of which its failure policy says so', async () => {
      await create({
        podFailurePolicy: {
          rules: [
            { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
            { action: 'FailJob', onExitCodes: { operator: 'In', values: [42] } },
          ],
        },
      });
      const [pod] = running();
      await finish(pod, 42);
      expect(conditions()).toEqual(['FailureTarget=True PodFailurePolicy', 'Failed=True PodFailurePolicy']);
      expect(job().status?.conditions?.[1]?.message).toBe(
        `Container sum for pod default/${pod?.metadata.name} failed with exit code 42 matching FailJob rule at index 1`,
      );
    });

    it('is left alone when another manages it', async () => {
      await create({ managedBy: 'example.com/queue' });
      await plane.clock.advance(60_000);
      expect(pods()).toEqual([]);
      expect(job().status).toEqual(expect.not.objectContaining({ startTime: expect.anything() }));
    });

    it('lets its pods go when it is deleted', async () => {
      await create();
      await plane.client.delete(JOBS, 'default', 'sum');
      await plane.client.delete(PODS, 'default', running()[0]?.metadata.name ?? '');
      await plane.clock.advance(1000);
      expect(pods()).toHaveLength(0);
    });
  });
});
