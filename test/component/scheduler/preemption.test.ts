import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODES, POD_DISRUPTION_BUDGETS, PODS, PRIORITY_CLASSES } from '../../../src/api/kinds.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { Scheduler } from '../../../src/scheduler/scheduler.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('preemption on the %s API', (api) => {
  let plane: ControlPlane;

  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    plane.kubelet.binding = false;
  });
  afterEach(() => plane.stop());
  const start = (): Promise<void> =>
    plane.start((context) => new Scheduler({ ...context, readings: { of: () => undefined } }));

  async function pod(
    name: string,
    cpu: string,
    priority: number,
    more: { labels?: Record<string, string>; spec?: Partial<NonNullable<Pod['spec']>> } = {},
  ): Promise<Pod> {
    const priorityClassName = `p${priority}`;
    if (!plane.client.peek(PRIORITY_CLASSES, undefined, priorityClassName)) {
      await plane.client.create(PRIORITY_CLASSES, undefined, {
        metadata: { name: priorityClassName },
        value: priority,
      });
    }
    return await plane.client.create(PODS, 'default', {
      metadata: { name, ...(more.labels ? { labels: more.labels } : {}) },
      spec: {
        containers: [{ name: 'main', image: 'main', resources: { requests: { cpu } } }],
        priority,
        priorityClassName,
        ...more.spec,
      },
    });
  }
  const get = (name: string) => plane.client.peek(PODS, 'default', name);
  const going = (...names: string[]) =>
    names.filter((name) => !get(name) || get(name)?.metadata.deletionTimestamp !== undefined);

  it('spares what budgets protect, counting each eviction against them', async () => {
    await start();
    await plane.node('a');
    await plane.node('b');
    const on = (name: string) => ({ nodeSelector: { 'kubernetes.io/hostname': name } });
    await pod('a1', '2', 1, { labels: { app: 'db' }, spec: on('a') });
    await pod('a2', '2', 1, { labels: { app: 'db' }, spec: on('a') });
    await pod('b1', '4', 5, { spec: on('b') });
    await plane.settle();
    const budget = await plane.client.create(POD_DISRUPTION_BUDGETS, 'default', {
      metadata: { name: 'db' },
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'db' } } },
    });
    await plane.client.updateStatus(POD_DISRUPTION_BUDGETS, {
      ...budget,
      status: { currentHealthy: 2, desiredHealthy: 1, expectedPods: 2, disruptionsAllowed: 1 },
    });
    // On `a` the second eviction would violate it: `b` is freed although its pod is more important.
    plane.kubelet.reachable = () => false;
    await pod('boss', '4', 100);
    await plane.settle();
    expect(going('a1', 'a2', 'b1')).toEqual(['b1']);
    const one = await pod('large', '4', 100);
    await plane.settle();
    // Nowhere else is room for it: protection is as far as possible, no further.
    expect(get(one.metadata.name ?? '')?.status?.nominatedNodeName).toBe('a');
    expect(going('a1', 'a2')).toEqual(['a1', 'a2']);
  });

  it('takes the nomination from a less important pod that waits for the same node', async () => {
    await start();
    await plane.node('a');
    await pod('low', '4', 1);
    await plane.settle();
    plane.kubelet.reachable = () => false;
    await pod('middle', '4', 10);
    await plane.settle();
    expect(get('middle')?.status?.nominatedNodeName).toBe('a');
    await plane.client.patch(NODES, undefined, 'a', {
      type: 'merge',
      body: { metadata: { labels: { some: 'change' } } },
    });
    await pod('high', '4', 100);
    await plane.settle();
    expect([get('high')?.status?.nominatedNodeName, get('middle')?.status?.nominatedNodeName]).toEqual([
      'a',
      undefined,
    ]);
    plane.kubelet.reachable = () => true;
    plane.kubelet.look();
    await plane.clock.advance(30_000);
    expect(get('high')?.spec?.nodeName).toBe('a');
    expect(get('middle')?.spec?.nodeName).toBeUndefined();
  });

  it('does not place a pod near one that was only promised a node', async () => {
    await start();
    await plane.node('a');
    await pod('low', '4', 1);
    await plane.settle();
    plane.kubelet.reachable = () => false;
    await pod('boss', '2', 100, { labels: { app: 'boss' } });
    const near = {
      podAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [
          { labelSelector: { matchLabels: { app: 'boss' } }, topologyKey: 'kubernetes.io/hostname' },
        ],
      },
    };
    await pod('friend', '0', 50, { spec: { affinity: near } });
    await plane.settle();
    expect(get('boss')?.status?.nominatedNodeName).toBe('a');
    expect(get('friend')?.spec?.nodeName).toBeUndefined();
    plane.kubelet.reachable = () => true;
    plane.kubelet.look();
    await plane.clock.advance(30_000);
    expect([get('boss')?.spec?.nodeName, get('friend')?.spec?.nodeName]).toEqual(['a', 'a']);
  });

  it('does not evict again while its victims go', async () => {
    await start();
    await plane.node('a');
    await pod('one', '2', 1);
    await pod('two', '2', 1);
    await plane.settle();
    plane.kubelet.reachable = () => false;
    await pod('boss', '2', 100);
    await plane.clock.advance(60_000);
    // Something that wakes it.
    await plane.node('b', { allocatable: { cpu: '1' } });
    await plane.clock.advance(60_000);
    expect(going('one', 'two')).toHaveLength(1);
    expect(plane.events().some((text) => text.includes('terminating pod on the nominated node'))).toBe(true);
  });

  it('remembers a nomination over a restart of the server', async () => {
    await plane.start();
    await plane.node('a');
    const boss = await pod('boss', '4', 100, { spec: { schedulingGates: [{ name: 'wait' }] } });
    await plane.client.updateStatus(PODS, { ...boss, status: { ...boss.status, nominatedNodeName: 'a' } });
    await plane.start((context) => new Scheduler({ ...context, readings: { of: () => undefined } }));
    await pod('thief', '1', 2);
    await plane.settle();
    expect(get('thief')?.spec?.nodeName).toBeUndefined();
    await plane.client.patch(PODS, 'default', 'boss', {
      type: 'merge',
      body: { spec: { schedulingGates: null } },
    });
    await plane.settle();
    expect(get('boss')?.spec?.nodeName).toBe('a');
  });

  it('gives up a nomination when the node goes', async () => {
    await start();
    await plane.node('a');
    await pod('low', '4', 1);
    await plane.settle();
    plane.kubelet.reachable = () => false;
    await pod('boss', '4', 100);
    await plane.settle();
    expect(get('boss')?.status?.nominatedNodeName).toBe('a');
    await plane.client.delete(NODES, undefined, 'a');
    await plane.node('b');
    await plane.clock.advance(20_000);
    expect(get('boss')?.spec?.nodeName).toBe('b');
  });

  it('leaves pods of other schedulers alone; a Binding by hand is heeded', async () => {
    await start();
    await plane.node('a');
    await pod('foreign', '3', 1, { spec: { schedulerName: 'mine' } });
    await plane.settle();
    expect(get('foreign')?.status?.conditions ?? []).toEqual([]);
    await plane.client.createSubresource(PODS, 'default', 'foreign', 'binding', {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'foreign' },
      target: { apiVersion: 'v1', kind: 'Node', name: 'a' },
    });
    await pod('own', '2', 1);
    await plane.settle();
    expect(get('foreign')?.spec?.nodeName).toBe('a');
    expect(get('own')?.spec?.nodeName).toBeUndefined();
  });

  it('lets two schedulers share the work by name', async () => {
    await plane.start(
      (context) => new Scheduler({ ...context, readings: { of: () => undefined } }),
      (context) => new Scheduler({ ...context, readings: { of: () => undefined }, name: 'mine' }),
    );
    await plane.node('a');
    await pod('one', '1', 1);
    await pod('two', '1', 1, { spec: { schedulerName: 'mine' } });
    await plane.settle();
    expect([get('one')?.spec?.nodeName, get('two')?.spec?.nodeName]).toEqual(['a', 'a']);
    const from = plane.client
      .everything()
      .filter(({ kind }) => kind === 'Event')
      .map((event) => (event as unknown as { reportingComponent: string }).reportingComponent);
    expect(new Set(from)).toEqual(new Set(['default-scheduler', 'mine']));
  });
});
