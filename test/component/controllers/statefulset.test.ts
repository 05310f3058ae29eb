import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CONTROLLER_REVISIONS,
  PERSISTENT_VOLUME_CLAIMS,
  PODS,
  STATEFUL_SETS,
} from '../../../src/api/kinds.ts';
import type { StatefulSet } from '../../../src/api/types/apps-v1.ts';
import { statefulSetController } from '../../../src/server/controllers/statefulset/controller.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  let plane: ControlPlane;
  let history: string[];

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    history = [];
    plane.client.follow(
      PODS,
      {},
      {
        onList: () => {},
        onEvent: (event, pod) => {
          if (event !== 'MODIFIED') history.push(`${event === 'ADDED' ? '+' : '-'}${pod.metadata.name}`);
        },
      },
    );
    await plane.start(statefulSetController);
  });
  afterEach(() => plane.stop());

  const template = (image: string) => ({
    metadata: { labels: { app: 'db' } },
    spec: { containers: [{ name: 'db', image }] },
  });
  async function create(spec: Partial<NonNullable<StatefulSet['spec']>> = {}): Promise<void> {
    await plane.client.create(STATEFUL_SETS, 'default', {
      metadata: { name: 'db' },
      spec: {
        replicas: 3,
        serviceName: 'db',
        selector: { matchLabels: { app: 'db' } },
        template: template('db:1'),
        ...spec,
      },
    });
    await plane.settle();
  }
  const set = (): StatefulSet => plane.client.peek(STATEFUL_SETS, 'default', 'db') as StatefulSet;
  const change = (spec: object) =>
    plane.client.patch(STATEFUL_SETS, 'default', 'db', { type: 'merge', body: { spec } });
  const images = (): string[] =>
    plane.client
      .all(PODS)
      .map(({ metadata, spec }) => `${metadata.name} ${spec?.containers[0]?.image}`)
      .sort();

  describe('a StatefulSet', () => {
    it('starts its pods in order, each with its name, hostname and labels', async () => {
      plane.kubelet.ready = () => false;
      await create();
      expect(history).toEqual(['+db-0']);
      plane.kubelet.ready = () => true;
      plane.kubelet.look();
      await plane.settle();
      expect(history).toEqual(['+db-0', '+db-1', '+db-2']);
      const pod = plane.client.peek(PODS, 'default', 'db-1');
      expect(pod?.spec).toMatchObject({ hostname: 'db-1', subdomain: 'db' });
      expect(pod?.metadata.labels).toMatchObject({
        'statefulset.kubernetes.io/pod-name': 'db-1',
        'apps.kubernetes.io/pod-index': '1',
        'controller-revision-hash': set().status?.updateRevision,
      });
      expect(set().status).toMatchObject({
        replicas: 3,
        readyReplicas: 3,
        availableReplicas: 3,
        currentReplicas: 3,
        updatedReplicas: 3,
      });
    });

    it('starts and stops all at once with Parallel', async () => {
      plane.kubelet.ready = () => false;
      await create({ podManagementPolicy: 'Parallel' });
      expect(history).toEqual(['+db-0', '+db-1', '+db-2']);
      await change({ replicas: 0 });
      await plane.settle();
      expect(plane.client.all(PODS)).toHaveLength(0);
    });

    it('shrinks from the top, one after another', async () => {
      await create();
      history.length = 0;
      await change({ replicas: 1 });
      await plane.settle();
      expect(history).toEqual(['-db-2', '-db-1']);
    });

    it('rolls from the top, and only down to the partition', async () => {
      await create({ updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 1 } } });
      history.length = 0;
      await change({ template: template('db:2') });
      await plane.settle();
      expect(images()).toEqual(['db-0 db:1', 'db-1 db:2', 'db-2 db:2']);
      expect(history).toEqual(['-db-2', '+db-2', '-db-1', '+db-1']);
      expect(set().status?.currentRevision).not.toBe(set().status?.updateRevision);
      // A pod below the partition comes back as it was.
      await plane.client.delete(PODS, 'default', 'db-0');
      await plane.settle();
      expect(images()[0]).toBe('db-0 db:1');
      await change({ updateStrategy: { rollingUpdate: { partition: 0 } } });
      await plane.settle();
      expect(images()).toEqual(['db-0 db:2', 'db-1 db:2', 'db-2 db:2']);
      expect(set().status?.currentRevision).toBe(set().status?.updateRevision);
    });

    it('never has two pods of one identity: the old one has to be gone first', async () => {
      await create({ replicas: 1 });
      plane.kubelet.reachable = () => false;
      await plane.client.delete(PODS, 'default', 'db-0');
      await plane.clock.advance(600_000);
      expect(history).toEqual(['+db-0']);
      plane.kubelet.reachable = () => true;
      plane.kubelet.look();
      await plane.settle();
      expect(history).toEqual(['+db-0', '-db-0', '+db-0']);
    });

    it('makes a claim for each pod and keeps it', async () => {
      await create({
        replicas: 2,
        template: {
          ...template('db:1'),
          spec: {
            containers: [{ name: 'db', image: 'db:1', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
          },
        },
        volumeClaimTemplates: [
          {
            apiVersion: 'v1',
            kind: 'PersistentVolumeClaim',
            metadata: { name: 'data' },
            spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
          },
        ],
      });
      expect(plane.client.all(PERSISTENT_VOLUME_CLAIMS).map(({ metadata }) => metadata.name)).toEqual([
        'data-db-0',
        'data-db-1',
      ]);
      expect(plane.client.peek(PODS, 'default', 'db-1')?.spec?.volumes?.[0]).toEqual({
        name: 'data',
        persistentVolumeClaim: { claimName: 'data-db-1' },
      });
      await change({ replicas: 0 });
      await plane.settle();
      expect(plane.client.all(PERSISTENT_VOLUME_CLAIMS)).toHaveLength(2);
    });

    it('makes nothing anew while the garbage collector takes its content away', async () => {
      await create({ replicas: 1 });
      const [revision] = plane.client.all(CONTROLLER_REVISIONS);
      await plane.client.delete(STATEFUL_SETS, 'default', 'db', { propagationPolicy: 'Foreground' });
      await plane.client.delete(CONTROLLER_REVISIONS, 'default', revision?.metadata.name ?? '');
      await plane.client.delete(PODS, 'default', 'db-0', { gracePeriodSeconds: 0 });
      await plane.settle();
      expect(plane.client.all(CONTROLLER_REVISIONS)).toEqual([]);
      expect(plane.client.all(PODS)).toEqual([]);
    });

    it('makes a failed pod anew', async () => {
      await create({ replicas: 1 });
      const pod = plane.client.peek(PODS, 'default', 'db-0');
      if (pod) await plane.kubelet.finish(pod, 1);
      await plane.settle();
      expect(history).toEqual(['+db-0', '-db-0', '+db-0']);
      expect(plane.events()).toContain(
        'RecreatingFailedPod: StatefulSet default/db is recreating failed Pod db-0',
      );
    });
  });
});
