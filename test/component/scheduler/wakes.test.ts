import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  NAMESPACES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  SERVICE_ACCOUNTS,
  STORAGE_CLASSES,
} from '../../../src/api/kinds.ts';
import type { PersistentVolumeClaim, Pod } from '../../../src/api/types/core-v1.ts';
import { ImageArchitectures } from '../../../src/scheduler/image-hints.ts';
import { Scheduler } from '../../../src/scheduler/scheduler.ts';
import { BIND_COMPLETED, SELECTED_NODE } from '../../../src/scheduler/volumes.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  let plane: ControlPlane;
  let images: ImageArchitectures;
  let scheduler: Scheduler;

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    plane.kubelet.binding = false;
    images = new ImageArchitectures();
    await plane.start((context) => {
      scheduler = new Scheduler({ ...context, readings: { of: () => undefined }, images });
      return scheduler;
    });
  });
  afterEach(() => plane.stop());

  const pod = (
    name: string,
    spec: Partial<NonNullable<Pod['spec']>> = {},
    labels: Record<string, string> = {},
    namespace = 'default',
  ): Promise<Pod> =>
    plane.client.create(PODS, namespace, {
      metadata: { name, labels },
      spec: { containers: [{ name: 'main', image: 'web:1' }], ...spec },
    });
  const nodeOf = (name: string, namespace = 'default') =>
    plane.client.peek(PODS, namespace, name)?.spec?.nodeName;
  const reason = (name: string) =>
    plane.client.peek(PODS, 'default', name)?.status?.conditions?.find(({ type }) => type === 'PodScheduled')
      ?.message;

  describe('a pod that waits', () => {
    const near = (more: object = {}) => ({
      affinity: {
        podAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            {
              labelSelector: { matchLabels: { app: 'db' } },
              topologyKey: 'kubernetes.io/hostname',
              ...more,
            },
          ],
        },
      },
    });

    it('for company is placed when the company is', async () => {
      await plane.node('a');
      await pod('web', near());
      await plane.clock.advance(60_000);
      expect(reason('web')).toContain("1 node(s) didn't match pod affinity rules");
      await pod('db', {}, { app: 'db' });
      await plane.settle();
      expect(nodeOf('web')).toBe('a');
    });

    it('for a namespace is placed when its labels match', async () => {
      await plane.node('a');
      await plane.client.create(NAMESPACES, undefined, { metadata: { name: 'team' } });
      if (api === 'registry') {
        await plane.client.create(SERVICE_ACCOUNTS, 'team', { metadata: { name: 'default' } });
      }
      await pod('db', {}, { app: 'db' }, 'team');
      await pod('web', near({ namespaceSelector: { matchLabels: { kind: 'team' } } }));
      await plane.clock.advance(60_000);
      expect(nodeOf('web')).toBeUndefined();
      await plane.client.patch(NAMESPACES, undefined, 'team', {
        type: 'merge',
        body: { metadata: { labels: { kind: 'team' } } },
      });
      await plane.settle();
      expect(nodeOf('web')).toBe('a');
    });

    it('because of anti-affinity or spread is placed when the other goes', async () => {
      await plane.node('a');
      const alone = {
        affinity: {
          podAntiAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [
              { labelSelector: { matchLabels: { app: 'x' } }, topologyKey: 'kubernetes.io/hostname' },
            ],
          },
        },
      };
      await pod('one', alone, { app: 'x' });
      await plane.settle();
      await pod('two', alone, { app: 'x' });
      await plane.clock.advance(60_000);
      expect(reason('two')).toContain("1 node(s) didn't match pod anti-affinity rules");
      await plane.client.delete(PODS, 'default', 'one');
      await plane.settle();
      expect(nodeOf('two')).toBe('a');
    });

    it('for an image of its architecture is placed when one is known', async () => {
      await plane.node('pi', { labels: { 'kubernetes.io/arch': 'arm64' } });
      images.learn('web:1', 'arm64', false);
      await pod('web');
      await plane.clock.advance(60_000);
      expect(reason('web')).toContain('1 node(s) had a CPU architecture');
      images.learn('web:1', 'arm64', true);
      await plane.settle();
      expect(nodeOf('web')).toBe('pi');
    });
  });

  describe('claims that wait for their consumer', () => {
    const claimOf = (name: string) => plane.client.peek(PERSISTENT_VOLUME_CLAIMS, 'default', name);
    const withClaim = {
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
    };
    const create = async (provisioner: string): Promise<void> => {
      await plane.client.create(STORAGE_CLASSES, undefined, {
        metadata: { name: 'local' },
        provisioner,
        volumeBindingMode: 'WaitForFirstConsumer',
      });
      await plane.client.create(PERSISTENT_VOLUME_CLAIMS, 'default', {
        metadata: { name: 'data' },
        spec: {
          storageClassName: 'local',
          accessModes: ['ReadWriteOnce'],
          resources: { requests: { storage: '1Gi' } },
        },
      });
    };
    const volume = (name: string) =>
      plane.client.create(PERSISTENT_VOLUMES, undefined, {
        metadata: { name },
        spec: {
          storageClassName: 'local',
          accessModes: ['ReadWriteOnce'],
          capacity: { storage: '1Gi' },
          hostPath: { path: '/data' },
          persistentVolumeReclaimPolicy: 'Retain',
        },
      });
    /** What the volume controller does once a claim and its volume have found each other. */
    const complete = async (volumeName: string): Promise<void> => {
      await plane.client.patch(PERSISTENT_VOLUME_CLAIMS, 'default', 'data', {
        type: 'merge',
        body: { metadata: { annotations: { [BIND_COMPLETED]: 'yes' } }, spec: { volumeName } },
      });
      const claim = claimOf('data') as PersistentVolumeClaim;
      await plane.client.updateStatus(PERSISTENT_VOLUME_CLAIMS, { ...claim, status: { phase: 'Bound' } });
    };

    it('are given a volume that is there, and the pod its node when they are bound', async () => {
      await plane.node('a');
      await create('kubernetes.io/no-provisioner');
      await pod('web', withClaim);
      await plane.clock.advance(60_000);
      expect(reason('web')).toContain("1 node(s) didn't find available persistent volumes to bind");
      const made = await volume('v');
      await plane.client.updateStatus(PERSISTENT_VOLUMES, { ...made, status: { phase: 'Available' } });
      await plane.clock.advance(10_000);
      expect(plane.client.peek(PERSISTENT_VOLUMES, undefined, 'v')?.spec?.claimRef).toMatchObject({
        namespace: 'default',
        name: 'data',
        uid: claimOf('data')?.metadata.uid,
      });
      expect(nodeOf('web')).toBeUndefined();
      await complete('v');
      await plane.settle();
      expect(nodeOf('web')).toBe('a');
    });

    it('do not get a volume that another was just promised', async () => {
      await plane.node('a');
      await create('kubernetes.io/no-provisioner');
      const claim = claimOf('data');
      await plane.client.create(PERSISTENT_VOLUME_CLAIMS, 'default', {
        metadata: { name: 'more' },
        spec: { ...claim?.spec },
      });
      const made = await volume('v');
      await plane.client.updateStatus(PERSISTENT_VOLUMES, { ...made, status: { phase: 'Available' } });
      await Promise.all([
        pod('one', withClaim),
        pod('two', { volumes: [{ name: 'more', persistentVolumeClaim: { claimName: 'more' } }] }),
      ]);
      await plane.settle();
      expect(reason('two') ?? reason('one')).toContain("didn't find available persistent volumes to bind");
      expect(plane.events().filter((text) => text.includes('binding rejected'))).toEqual([]);
    });

    it('are asked of their provisioner for the chosen node', async () => {
      await plane.node('a');
      await create('copepod.io/local');
      await pod('web', withClaim);
      await plane.settle();
      expect(claimOf('data')?.metadata.annotations?.[SELECTED_NODE]).toBe('a');
      expect(nodeOf('web')).toBeUndefined();
      await volume('made');
      await complete('made');
      await plane.settle();
      expect(nodeOf('web')).toBe('a');
    });

    it('are decided anew when the provisioner refuses the node', async () => {
      await plane.node('a');
      await create('copepod.io/local');
      await pod('web', withClaim);
      await plane.settle();
      await plane.client.patch(NODES, undefined, 'a', {
        type: 'merge',
        body: { spec: { unschedulable: true } },
      });
      await plane.node('b');
      await plane.client.patch(PERSISTENT_VOLUME_CLAIMS, 'default', 'data', {
        type: 'merge',
        body: { metadata: { annotations: { [SELECTED_NODE]: null } } },
      });
      await plane.clock.advance(10_000);
      expect(claimOf('data')?.metadata.annotations?.[SELECTED_NODE]).toBe('b');
    });

    it('end with the pod that wanted them', async () => {
      await plane.node('a');
      await create('copepod.io/local');
      await pod('web', withClaim);
      await plane.settle();
      await plane.client.delete(PODS, 'default', 'web', { gracePeriodSeconds: 0 });
      await plane.clock.advance(1000);
      // Nothing waits any more: no timer is left but those that repeat.
      await scheduler.stop();
      expect(plane.events().filter((text) => text.startsWith('Scheduled'))).toEqual([]);
    });
  });
});
