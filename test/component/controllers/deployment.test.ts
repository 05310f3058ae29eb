import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEPLOYMENTS, PODS, REPLICA_SETS } from '../../../src/api/kinds.ts';
import type { Deployment } from '../../../src/api/types/apps-v1.ts';
import { deploymentController } from '../../../src/server/controllers/deployment/controller.ts';
import { replicaSetController } from '../../../src/server/controllers/replicaset/controller.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  let plane: ControlPlane;

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    await plane.start(deploymentController, replicaSetController);
  });
  afterEach(() => plane.stop());

  const template = (image: string) => ({
    metadata: { labels: { app: 'web' } },
    spec: { containers: [{ name: 'web', image }] },
  });

  async function create(spec: Partial<NonNullable<Deployment['spec']>> = {}): Promise<void> {
    await plane.client.create(DEPLOYMENTS, 'default', {
      metadata: { name: 'web' },
      spec: {
        replicas: 3,
        selector: { matchLabels: { app: 'web' } },
        template: template('web:1'),
        ...spec,
      },
    });
    await plane.settle();
  }

  const deployment = (): Deployment => plane.client.peek(DEPLOYMENTS, 'default', 'web') as Deployment;
  const condition = (type: string) => deployment().status?.conditions?.find((one) => one.type === type);
  const images = (): (string | undefined)[] =>
    plane.client.all(PODS).map((pod) => pod.spec?.containers[0]?.image);

  async function change(spec: object): Promise<void> {
    await plane.client.patch(DEPLOYMENTS, 'default', 'web', { type: 'merge', body: { spec } });
  }

  describe('a Deployment', () => {
    it('makes its ReplicaSet and pods and is complete when they are ready', async () => {
      await create();
      expect(plane.client.all(PODS)).toHaveLength(3);
      const [set] = plane.client.all(REPLICA_SETS);
      expect(set?.metadata.name).toBe(`web-${set?.metadata.labels?.['pod-template-hash']}`);
      expect(set?.metadata.annotations).toMatchObject({
        'deployment.kubernetes.io/revision': '1',
        'deployment.kubernetes.io/desired-replicas': '3',
        'deployment.kubernetes.io/max-replicas': '4',
      });
      expect(deployment().metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('1');
      expect(deployment().status).toMatchObject({
        observedGeneration: 1,
        replicas: 3,
        updatedReplicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
      });
      expect(deployment().status?.unavailableReplicas).toBeUndefined();
      expect(condition('Progressing')).toMatchObject({
        status: 'True',
        reason: 'NewReplicaSetAvailable',
        message: `ReplicaSet "${set?.metadata.name}" has successfully progressed.`,
      });
      expect(condition('Available')).toMatchObject({ status: 'True', reason: 'MinimumReplicasAvailable' });
      expect(plane.events()).toContain(
        `ScalingReplicaSet: Scaled up replica set ${set?.metadata.name} from 0 to 3`,
      );
    });

    it('rolls to a new image without missing or exceeding the limits, and back by restoring the template', async () => {
      await create({ strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } });
      let most = 0;
      let fewest = Number.POSITIVE_INFINITY;
      plane.client.follow(
        PODS,
        {},
        {
          onList: () => {},
          onEvent: () => {
            const pods = plane.client.all(PODS);
            const running = pods.filter((pod) => !pod.metadata.deletionTimestamp);
            most = Math.max(most, running.length);
            const ready = running.filter((pod) =>
              pod.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
            );
            fewest = Math.min(fewest, ready.length);
          },
        },
      );
      await plane.settle();
      await change({ template: template('web:2') });
      await plane.settle();
      expect(images()).toEqual(['web:2', 'web:2', 'web:2']);
      expect(most).toBe(4);
      expect(fewest).toBe(3);
      expect(deployment().metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('2');

      await change({ template: template('web:1') });
      await plane.settle();
      expect(images()).toEqual(['web:1', 'web:1', 'web:1']);
      expect(plane.client.all(REPLICA_SETS)).toHaveLength(2);
      expect(deployment().metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('3');
      const undone = plane.client.all(REPLICA_SETS).find((set) => set.spec?.replicas === 3);
      expect(undone?.metadata.annotations).toMatchObject({
        'deployment.kubernetes.io/revision': '3',
        'deployment.kubernetes.io/revision-history': '1',
      });
    });

    it('is scaled to nothing', async () => {
      await create();
      await change({ replicas: 0 });
      await plane.settle();
      expect(plane.client.all(PODS)).toHaveLength(0);
      expect(deployment().status?.replicas).toBeUndefined();
      expect(condition('Available')?.status).toBe('True');
    });

    it('replaces a pod that was deleted', async () => {
      await create();
      const [victim] = plane.client.all(PODS);
      await plane.client.delete(PODS, 'default', victim?.metadata.name ?? '');
      await plane.settle();
      expect(plane.client.all(PODS)).toHaveLength(3);
      expect(plane.client.peek(PODS, 'default', victim?.metadata.name ?? '')).toBeUndefined();
    });

    it('reports a rollout that does not get ready before its deadline, and goes on when it does', async () => {
      await create({ progressDeadlineSeconds: 60 });
      plane.kubelet.ready = (pod) => pod.spec?.containers[0]?.image === 'web:1';
      await change({ template: template('web:2') });
      await plane.clock.advance(30_000);
      expect(condition('Progressing')?.reason).toBe('ReplicaSetUpdated');
      await plane.clock.advance(40_000);
      expect(condition('Progressing')).toMatchObject({ status: 'False', reason: 'ProgressDeadlineExceeded' });
      expect(images().filter((image) => image === 'web:1')).toHaveLength(3);

      plane.kubelet.ready = () => true;
      plane.kubelet.look();
      await plane.settle();
      expect(condition('Progressing')).toMatchObject({ status: 'True', reason: 'NewReplicaSetAvailable' });
      expect(images()).toEqual(['web:2', 'web:2', 'web:2']);
    });

    it('waits minReadySeconds before it counts a pod', async () => {
      await create({ minReadySeconds: 10 });
      expect(deployment().status).toMatchObject({ readyReplicas: 3, unavailableReplicas: 3 });
      await plane.clock.advance(10_000);
      expect(deployment().status?.availableReplicas).toBe(3);
    });

    it('recreates: old pods are gone before new ones come', async () => {
      await create({ strategy: { type: 'Recreate' } });
      const mixed: string[] = [];
      plane.client.follow(
        PODS,
        {},
        {
          onList: () => {},
          onEvent: () => {
            if (new Set(images()).size > 1) mixed.push(images().join());
          },
        },
      );
      await change({ template: template('web:2') });
      await plane.settle();
      expect(images()).toEqual(['web:2', 'web:2', 'web:2']);
      expect(mixed).toEqual([]);
    });

    it('does not roll while paused, but scales; resumed, it rolls', async () => {
      await create();
      await change({ paused: true });
      await change({ template: template('web:2'), replicas: 5 });
      await plane.settle();
      expect(images()).toEqual(Array(5).fill('web:1'));
      expect(condition('Progressing')).toMatchObject({ status: 'Unknown', reason: 'DeploymentPaused' });
      await change({ paused: false });
      await plane.settle();
      expect(images()).toEqual(Array(5).fill('web:2'));
    });

    it('keeps only so many old ReplicaSets', async () => {
      await create({ revisionHistoryLimit: 1 });
      for (const version of [2, 3, 4]) {
        await change({ template: template(`web:${version}`) });
        await plane.settle();
      }
      const revisions = plane.client
        .all(REPLICA_SETS)
        .map((set) => set.metadata.annotations?.['deployment.kubernetes.io/revision'])
        .sort();
      expect(revisions).toEqual(['3', '4']);
    });

    it('takes another name when its ReplicaSet name belongs to somebody else', async () => {
      await create({ replicas: 1 });
      const [first] = plane.client.all(REPLICA_SETS);
      const name = first?.metadata.name ?? '';
      await plane.client.delete(DEPLOYMENTS, 'default', 'web');
      await plane.client.delete(REPLICA_SETS, 'default', name);
      await plane.settle();
      await plane.client.create(REPLICA_SETS, 'default', {
        metadata: { name },
        spec: {
          replicas: 0,
          selector: { matchLabels: { app: 'other' } },
          template: { ...template('other'), metadata: { labels: { app: 'other' } } },
        },
      });
      await create({ replicas: 1 });
      expect(deployment().status).toMatchObject({ collisionCount: 1, availableReplicas: 1 });
    });

    it('adopts matching pods without an owner and releases those that stop matching', async () => {
      await plane.client.create(PODS, 'default', {
        metadata: { name: 'stray', labels: { app: 'solo' } },
        spec: { containers: [{ name: 'web', image: 'web' }] },
      });
      await plane.client.create(REPLICA_SETS, 'default', {
        metadata: { name: 'solo' },
        spec: {
          replicas: 1,
          selector: { matchLabels: { app: 'solo' } },
          template: {
            metadata: { labels: { app: 'solo' } },
            spec: { containers: [{ name: 'web', image: 'web' }] },
          },
        },
      });
      await plane.settle();
      expect(plane.client.all(PODS)).toHaveLength(1);
      expect(plane.client.peek(PODS, 'default', 'stray')?.metadata.ownerReferences?.[0]?.name).toBe('solo');
      await plane.client.patch(PODS, 'default', 'stray', {
        type: 'merge',
        body: { metadata: { labels: { app: 'none' } } },
      });
      await plane.settle();
      expect(plane.client.peek(PODS, 'default', 'stray')?.metadata.ownerReferences).toBeUndefined();
      expect(plane.client.all(PODS)).toHaveLength(2);
    });

    it('reports pods that cannot be created', async () => {
      const remove = plane.client.intercept(({ verb, resource }) => {
        if (verb === 'create' && resource === 'pods') throw new Error('no room');
      });
      await create();
      expect(condition('ReplicaFailure')).toMatchObject({
        status: 'True',
        reason: 'FailedCreate',
        message: 'no room',
      });
      remove();
      await plane.clock.advance(60_000);
      expect(deployment().status?.availableReplicas).toBe(3);
      expect(condition('ReplicaFailure')).toBeUndefined();
    });
  });
});
