import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS } from '../../../src/api/kinds.ts';
import type { DaemonSet } from '../../../src/api/types/apps-v1.ts';
import { Scheduler } from '../../../src/scheduler/scheduler.ts';
import { daemonSetController } from '../../../src/server/controllers/daemonset/controller.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  let plane: ControlPlane;

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    plane.kubelet.binding = false;
    await plane.start(
      daemonSetController,
      (context) => new Scheduler({ ...context, readings: { of: () => undefined } }),
    );
    for (const name of ['a', 'b', 'c']) await plane.node(name);
    await plane.settle();
  });
  afterEach(() => plane.stop());

  const template = (image: string) => ({
    metadata: { labels: { app: 'agent' } },
    spec: { containers: [{ name: 'agent', image }] },
  });

  async function create(spec: Partial<NonNullable<DaemonSet['spec']>> = {}): Promise<void> {
    await plane.client.create(DAEMON_SETS, 'default', {
      metadata: { name: 'agent' },
      spec: { selector: { matchLabels: { app: 'agent' } }, template: template('agent:1'), ...spec },
    });
    await plane.settle();
  }
  const set = (): DaemonSet => plane.client.peek(DAEMON_SETS, 'default', 'agent') as DaemonSet;
  const placed = (): string[] =>
    plane.client
      .all(PODS)
      .map(({ spec }) => `${spec?.nodeName} ${spec?.containers[0]?.image}`)
      .sort();
  const change = (spec: object) =>
    plane.client.patch(DAEMON_SETS, 'default', 'agent', { type: 'merge', body: { spec } });
  const taint = (node: string, taints: object[] | null) =>
    plane.client.patch(NODES, undefined, node, { type: 'merge', body: { spec: { taints } } });

  describe('a DaemonSet', () => {
    it('runs one pod on every node, on those that join later as well', async () => {
      await create();
      expect(placed()).toEqual(['a agent:1', 'b agent:1', 'c agent:1']);
      await plane.node('d');
      await plane.settle();
      expect(placed()).toContain('d agent:1');
      expect(set().status).toEqual({
        currentNumberScheduled: 4,
        desiredNumberScheduled: 4,
        numberMisscheduled: 0,
        numberReady: 4,
        observedGeneration: 1,
        updatedNumberScheduled: 4,
        numberAvailable: 4,
      });
    });

    it('keeps to its node selector and follows a label', async () => {
      await create({
        template: {
          ...template('agent:1'),
          spec: { ...template('agent:1').spec, nodeSelector: { disk: 'ssd' } },
        },
      });
      expect(placed()).toEqual([]);
      await plane.client.patch(NODES, undefined, 'b', {
        type: 'merge',
        body: { metadata: { labels: { disk: 'ssd' } } },
      });
      await plane.settle();
      expect(placed()).toEqual(['b agent:1']);
      await plane.client.patch(NODES, undefined, 'b', {
        type: 'merge',
        body: { metadata: { labels: { disk: null } } },
      });
      await plane.settle();
      expect(placed()).toEqual([]);
    });

    it('stays on cordoned and unready nodes, and leaves those with a foreign NoExecute taint', async () => {
      await create();
      await plane.client.patch(NODES, undefined, 'a', {
        type: 'merge',
        body: { spec: { unschedulable: true } },
      });
      await taint('a', [{ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }]);
      await taint('b', [{ key: 'node.kubernetes.io/unreachable', effect: 'NoExecute' }]);
      await taint('c', [{ key: 'mine', effect: 'NoExecute' }]);
      await plane.settle();
      expect(placed()).toEqual(['a agent:1', 'b agent:1']);
      expect(set().status).toMatchObject({ desiredNumberScheduled: 2, numberMisscheduled: 0 });
    });

    it('rolls one node after another', async () => {
      await create();
      let fewest = 3;
      plane.client.follow(
        PODS,
        {},
        {
          onList: () => {},
          onEvent: () => {
            const ready = plane.client
              .all(PODS)
              .filter(
                ({ metadata, status }) =>
                  !metadata.deletionTimestamp &&
                  status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
              );
            fewest = Math.min(fewest, ready.length);
          },
        },
      );
      await change({ template: template('agent:2') });
      await plane.settle();
      expect(placed()).toEqual(['a agent:2', 'b agent:2', 'c agent:2']);
      expect(fewest).toBe(2);
      expect(
        plane.client
          .all(CONTROLLER_REVISIONS)
          .map(({ revision }) => revision)
          .sort(),
      ).toEqual([1, 2]);

      await change({ template: template('agent:1') });
      await plane.settle();
      expect(placed()).toEqual(['a agent:1', 'b agent:1', 'c agent:1']);
      expect(
        plane.client
          .all(CONTROLLER_REVISIONS)
          .map(({ revision }) => revision)
          .sort(),
      ).toEqual([2, 3]);
    });

    it('stops a rollout whose pods do not get ready', async () => {
      await create();
      plane.kubelet.ready = (pod) => pod.spec?.containers[0]?.image === 'agent:1';
      await change({ template: template('agent:2') });
      await plane.settle();
      expect(placed().filter((one) => one.endsWith(':2'))).toHaveLength(1);
      expect(set().status).toMatchObject({
        updatedNumberScheduled: 1,
        numberAvailable: 2,
        numberUnavailable: 1,
      });
    });

    it('brings the new pod up before the old one goes when it may surge', async () => {
      await create({
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      });
      let fewest = 3;
      plane.client.follow(
        PODS,
        {},
        {
          onList: () => {},
          onEvent: () => {
            const nodes = new Set(
              plane.client
                .all(PODS)
                .filter(
                  ({ metadata, status }) =>
                    !metadata.deletionTimestamp &&
                    status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
                )
                .map(({ spec }) => spec?.nodeName),
            );
            fewest = Math.min(fewest, nodes.size);
          },
        },
      );
      await change({ template: template('agent:2') });
      await plane.settle();
      expect(placed()).toEqual(['a agent:2', 'b agent:2', 'c agent:2']);
      expect(fewest).toBe(3);
    });

    it('with OnDelete replaces only what is deleted by hand', async () => {
      await create({ updateStrategy: { type: 'OnDelete' } });
      await change({ template: template('agent:2') });
      await plane.settle();
      expect(placed()).toEqual(['a agent:1', 'b agent:1', 'c agent:1']);
      const [first] = plane.client.all(PODS).filter(({ spec }) => spec?.nodeName === 'a');
      await plane.client.delete(PODS, 'default', first?.metadata.name ?? '');
      await plane.settle();
      expect(placed()).toEqual(['a agent:2', 'b agent:1', 'c agent:1']);
    });

    it('replaces a failed pod, and waits longer each time', async () => {
      await create();
      const fail = async (): Promise<void> => {
        const pod = plane.client
          .all(PODS)
          .find(({ spec, status }) => spec?.nodeName === 'a' && status?.phase === 'Running');
        if (pod) await plane.kubelet.finish(pod, 1);
        await plane.settle();
      };
      await fail();
      expect(placed()).toHaveLength(3);
      expect(
        plane.events().some((event) => event.startsWith('FailedDaemonPod: Found failed daemon pod default/')),
      ).toBe(true);
      await fail();
      expect(plane.client.all(PODS).find(({ spec }) => spec?.nodeName === 'a')?.status?.phase).toBe('Failed');
      await plane.clock.advance(1000);
      expect(plane.client.all(PODS).find(({ spec }) => spec?.nodeName === 'a')?.status?.phase).toBe(
        'Running',
      );
    });
  });
});
