import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { conflict } from '../../../src/api/errors.ts';
import { NODES, PODS, PRIORITY_CLASSES } from '../../../src/api/kinds.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { metricText } from '../../../src/lib/metrics.ts';
import { ImageArchitectures } from '../../../src/scheduler/image-hints.ts';
import { Scheduler } from '../../../src/scheduler/scheduler.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';
import { parsePrometheus } from '../../support/prometheus.ts';

describe.each(APIS)('on the %s API', (api) => {
  let plane: ControlPlane;
  let attempts: string[];
  let scheduler: Scheduler;

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    plane.kubelet.binding = false;
    attempts = [];
    plane.client.intercept(({ subresource, name }) => {
      if (subresource === 'binding') attempts.push(name);
    });
    await plane.start((context) => {
      scheduler = new Scheduler({
        ...context,
        readings: { of: () => undefined },
        images: new ImageArchitectures(),
      });
      return scheduler;
    });
  });
  afterEach(() => plane.stop());

  async function pod(
    name: string,
    spec: Partial<NonNullable<Pod['spec']>> & { cpu?: string } = {},
  ): Promise<void> {
    const { cpu, ...rest } = spec;
    const { priority } = spec;
    if (priority !== undefined) {
      // The API takes a priority only from its class.
      const name = `p${priority}`;
      rest.priorityClassName = name;
      if (!plane.client.peek(PRIORITY_CLASSES, undefined, name)) {
        await plane.client.create(PRIORITY_CLASSES, undefined, { metadata: { name }, value: priority });
      }
    }
    await plane.client.create(PODS, 'default', {
      metadata: { name },
      spec: {
        containers: [{ name: 'main', image: 'main', ...(cpu ? { resources: { requests: { cpu } } } : {}) }],
        ...rest,
      },
    });
  }
  const get = (name: string) => plane.client.peek(PODS, 'default', name);
  const condition = (name: string) =>
    get(name)?.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  /** Attempts that found no node. */
  const failures = (): number =>
    parsePrometheus(metricText([scheduler]))
      .get('scheduler_schedule_attempts_total')
      ?.samples.get('{profile="default-scheduler",result="unschedulable"}') ?? 0;

  describe('the scheduler', () => {
    it('binds a pod and says so', async () => {
      await plane.node('a');
      await pod('web');
      await plane.settle();
      expect(get('web')?.spec?.nodeName).toBe('a');
      expect(plane.events()).toContain('Scheduled: Successfully assigned default/web to a');
    });

    it('reports why a pod waits, and tries again when a node comes that helps, not by a timer', async () => {
      await plane.node('a');
      await pod('big', { cpu: '8' });
      await plane.settle();
      expect(condition('big')).toMatchObject({
        status: 'False',
        reason: 'Unschedulable',
        message:
          '0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
      });
      expect(failures()).toBe(1);
      await plane.clock.advance(3_600_000);
      expect(failures()).toBe(1);
      await plane.node('large', { allocatable: { cpu: '16' } });
      await plane.clock.advance(10_000);
      expect(get('big')?.spec?.nodeName).toBe('large');
    });

    it('wakes a pod for the events that can help it only', async () => {
      await plane.node('a', { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } });
      await pod('web');
      await plane.clock.advance(60_000);
      const change = (body: object) => plane.client.patch(NODES, undefined, 'a', { type: 'merge', body });
      await change({ metadata: { labels: { some: 'label' } } });
      await plane.settle();
      expect(failures()).toBe(1);
      await change({ spec: { taints: null } });
      await plane.settle();
      expect(get('web')?.spec?.nodeName).toBe('a');
    });

    it('waits longer after each failed attempt', async () => {
      await plane.node('a');
      await pod('holder', { cpu: '4' });
      await plane.settle();
      await pod('web', { cpu: '4' });
      await plane.settle();
      const gaps: number[] = [];
      for (let round = 0; round < 6; round += 1) {
        const before = failures();
        // Something that could have helped, each time.
        const node = plane.client.peek(NODES, undefined, 'a');
        if (node) {
          await plane.client.updateStatus(NODES, {
            ...node,
            status: {
              ...node.status,
              allocatable: { ...node.status?.allocatable, memory: `${round + 2}Gi` },
            },
          });
        }
        gaps.push(await plane.clock.runUntil(() => failures() > before, 20_000));
      }
      expect(gaps).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000]);
    });

    it('takes the most important pod first', async () => {
      await pod('low', { priority: 1 });
      await pod('high', { priority: 100 });
      await pod('middle', { priority: 50 });
      await plane.clock.advance(20_000);
      await plane.node('a');
      await plane.clock.advance(10_000);
      expect(attempts).toEqual(['high', 'middle', 'low']);
    });

    it('never places more than fits, however many come at once', async () => {
      await plane.node('a');
      await Promise.all(Array.from({ length: 10 }, (_, index) => pod(`p${index}`, { cpu: '1' })));
      await plane.settle();
      expect(plane.client.all(PODS).filter(({ spec }) => spec?.nodeName)).toHaveLength(4);
      const [placed] = plane.client.all(PODS).filter(({ spec }) => spec?.nodeName);
      await plane.client.delete(PODS, 'default', placed?.metadata.name ?? '');
      await plane.clock.advance(10_000);
      expect(plane.client.all(PODS).filter(({ spec }) => spec?.nodeName)).toHaveLength(4);
    });

    it('forgets a placement whose binding failed, and tries again', async () => {
      await plane.node('a');
      let failed = 0;
      plane.client.intercept(({ subresource, name }) => {
        if (subresource === 'binding' && failed < 2) {
          failed += 1;
          throw conflict({ group: '', resource: 'pods' }, name, 'try again');
        }
      });
      await pod('web', { cpu: '4' });
      await plane.settle();
      expect(get('web')?.spec?.nodeName).toBeUndefined();
      await plane.clock.advance(3000);
      expect(get('web')?.spec?.nodeName).toBe('a');
    });

    it('leaves gated pods and those of other schedulers alone', async () => {
      await plane.node('a');
      await pod('gated', { schedulingGates: [{ name: 'wait' }] });
      await pod('foreign', { schedulerName: 'mine' });
      await plane.settle();
      expect(attempts).toEqual([]);
      await plane.client.patch(PODS, 'default', 'gated', {
        type: 'merge',
        body: { spec: { schedulingGates: null } },
      });
      await plane.settle();
      expect(attempts).toEqual(['gated']);
    });

    it('makes room for a more important pod, and gives the room to nobody else', async () => {
      await plane.node('a');
      for (const name of ['one', 'two']) await pod(name, { cpu: '2', priority: 1 });
      await plane.settle();
      plane.kubelet.reachable = () => false;
      await pod('boss', { cpu: '4', priority: 100 });
      await plane.settle();
      expect(get('boss')?.status?.nominatedNodeName).toBe('a');
      expect(get('one')?.metadata.deletionTimestamp).toBeDefined();
      expect(get('one')?.status?.conditions?.find(({ type }) => type === 'DisruptionTarget')?.reason).toBe(
        'PreemptionByScheduler',
      );
      await pod('thief', { cpu: '1', priority: 2 });
      plane.kubelet.reachable = () => true;
      plane.kubelet.look();
      await plane.clock.advance(20_000);
      expect(get('boss')?.spec?.nodeName).toBe('a');
      expect(get('thief')?.spec?.nodeName).toBeUndefined();
    });
  });
});
