import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StatusError } from '../../../src/api/errors.ts';
import { POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS } from '../../../src/api/kinds.ts';
import type { PodDisruptionBudgetSpec } from '../../../src/api/types/policy-v1.ts';
import { disruptionController } from '../../../src/server/controllers/disruption.ts';
import { replicaSetController } from '../../../src/server/controllers/replicaset/controller.ts';
import { ControlPlane } from '../../support/control-plane.ts';

// The eviction subresource takes from what the disruption controller counts.
describe('an eviction', () => {
  let plane: ControlPlane;
  beforeEach(async () => {
    plane = await ControlPlane.open('registry');
    await plane.start(disruptionController, replicaSetController);
    await plane.node('a');
    await plane.client.create(REPLICA_SETS, 'default', {
      metadata: { name: 'web' },
      spec: {
        replicas: 3,
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'web', image: 'web' }] },
        },
      },
    });
    await plane.settle();
  });
  afterEach(() => plane.stop());

  const budget = async (spec: Partial<PodDisruptionBudgetSpec>, name = 'web'): Promise<void> => {
    await plane.client.create(POD_DISRUPTION_BUDGETS, 'default', {
      metadata: { name },
      spec: { selector: { matchLabels: { app: 'web' } }, ...spec },
    });
    await plane.settle();
  };
  const names = (): string[] => plane.client.all(PODS).map(({ metadata }) => metadata.name ?? '');
  /** `granted`, or the code and the cause of the refusal. */
  const evict = async (name: string | undefined): Promise<string> => {
    const body = {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: name ?? '', namespace: 'default' },
    };
    try {
      await plane.client.createSubresource(PODS, 'default', name ?? '', 'eviction', body);
      return 'granted';
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      const { code, message, details } = error.status;
      return `${code} ${details?.causes?.[0]?.message ?? message}`;
    }
  };

  it('without a budget is a deletion that says why', async () => {
    plane.kubelet.reachable = () => false;
    const [first] = names();
    expect(await evict(first)).toBe('granted');
    const pod = plane.client.peek(PODS, 'default', first ?? '');
    expect(pod?.metadata.deletionTimestamp).toBeDefined();
    expect(pod?.status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI' }),
    );
    expect(await evict('nobody')).toBe('404 pods "nobody" not found');
  });

  it('takes from the budget, and is refused when nothing is left, until another pod is ready', async () => {
    await budget({ minAvailable: 2 });
    plane.kubelet.ready = ({ metadata }) =>
      plane.clock.now() - Date.parse(metadata.creationTimestamp ?? '') >= 0;
    const [first, second] = names();
    plane.kubelet.ready = () => false;
    expect(await evict(first)).toBe('granted');
    await plane.settle();
    expect(await evict(second)).toBe(
      '429 The disruption budget web needs 2 healthy pods and has 2 currently',
    );
    plane.kubelet.ready = () => true;
    plane.kubelet.look();
    await plane.settle();
    expect(await evict(second)).toBe('granted');
  });

  it('counts evictions that the controller has not seen yet', async () => {
    await budget({ minAvailable: 2 });
    const [first, second] = names();
    expect(await Promise.all([evict(first), evict(second)])).toEqual([
      'granted',
      expect.stringMatching(/^429 The disruption budget web needs 2 healthy pods/),
    ]);
  });

  it.each([
    ['IfHealthyBudget', '429'],
    ['AlwaysAllow', 'granted'],
  ] as const)('of a pod that is not ready, %s, while the budget is short: %s', async (policy, expected) => {
    await budget({ minAvailable: 3, unhealthyPodEvictionPolicy: policy });
    const [first, second] = names();
    plane.kubelet.ready = ({ metadata }) => metadata.name !== first && metadata.name !== second;
    plane.kubelet.look();
    await plane.settle();
    expect(await evict(first)).toMatch(new RegExp(`^${expected}`));
  });

  it('of a pod that is not ready is granted while enough others are', async () => {
    await budget({ minAvailable: 2 });
    const [first, second] = names();
    plane.kubelet.ready = ({ metadata }) => metadata.name !== first;
    plane.kubelet.look();
    await plane.settle();
    expect(await evict(second)).toMatch(/^429/);
    expect(await evict(first)).toBe('granted');
  });

  it('is refused while the budget is not worked out, and with two budgets', async () => {
    await plane.stop();
    await plane.client.create(POD_DISRUPTION_BUDGETS, 'default', {
      metadata: { name: 'web' },
      spec: { selector: { matchLabels: { app: 'web' } }, minAvailable: 0 },
    });
    const [first] = names();
    expect(await evict(first)).toBe('429 The disruption budget web is still being processed by the server.');
    await plane.start(disruptionController, replicaSetController);
    await budget({ minAvailable: 0 }, 'other');
    expect(await evict(first)).toMatch(/^500 .*more than one PodDisruptionBudget/);
  });
});
