import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CONFIG_MAPS, NODES, PODS, RESOURCE_QUOTAS } from '../../../src/api/kinds.ts';
import type { Pod } from '../../../src/api/types/core-v1.ts';
import { resourceQuotaController } from '../../../src/server/controllers/resource-quota.ts';
import { ControlPlane } from '../../support/control-plane.ts';

let plane: ControlPlane;
beforeEach(async () => {
  plane = await ControlPlane.open('registry');
  plane.kubelet.binding = false;
  await plane.start(resourceQuotaController);
});
afterEach(() => plane.stop());

const status = () => plane.client.peek(RESOURCE_QUOTAS, 'default', 'q')?.status;
const quota = (hard: Record<string, string>) =>
  plane.client.create(RESOURCE_QUOTAS, 'default', { metadata: { name: 'q' }, spec: { hard } });
const pod = (name: string): Promise<Pod> =>
  plane.client.create(PODS, 'default', {
    metadata: { name },
    spec: {
      containers: [{ name: 'c', image: 'busybox', resources: { requests: { cpu: '100m', memory: '64Mi' } } }],
    },
  });

describe('the quota controller', () => {
  test('writes what is limited and what is used of it', async () => {
    await pod('a');
    await quota({ pods: '5', 'requests.cpu': '1', 'requests.memory': '1024Mi', 'count/configmaps': '10' });
    await plane.settle();
    expect(status()).toEqual({
      hard: { pods: '5', 'requests.cpu': '1', 'requests.memory': '1Gi', 'count/configmaps': '10' },
      used: { pods: '1', 'requests.cpu': '100m', 'requests.memory': '64Mi', 'count/configmaps': '0' },
    });
    await pod('b');
    await plane.client.create(CONFIG_MAPS, 'default', { metadata: { name: 'x' } });
    await plane.settle();
    expect(status()?.used).toMatchObject({ pods: '2', 'requests.cpu': '200m', 'count/configmaps': '1' });
  });

  test('what ends or goes is used no more', async () => {
    await quota({ pods: '5', 'count/pods': '5' });
    const made = await pod('a');
    await pod('b');
    await plane.settle();
    await plane.client.updateStatus(PODS, { ...made, status: { ...made.status, phase: 'Failed' } });
    await plane.settle();
    expect(status()?.used).toEqual({ pods: '1', 'count/pods': '2' });
    await plane.client.delete(PODS, 'default', 'b', { gracePeriodSeconds: 0 });
    await plane.settle();
    expect(status()?.used).toEqual({ pods: '0', 'count/pods': '1' });
  });

  test('a changed limit shows at once, and names that nothing uses stay without a count', async () => {
    await quota({ pods: '5', 'count/widgets.example.com': '1' });
    await plane.settle();
    expect(status()).toEqual({
      hard: { pods: '5', 'count/widgets.example.com': '1' },
      used: { pods: '0' },
    });
    await plane.client.patch(RESOURCE_QUOTAS, 'default', 'q', {
      type: 'merge',
      body: { spec: { hard: { pods: '7' } } },
    });
    await plane.settle();
    expect(status()?.hard).toMatchObject({ pods: '7' });
  });

  test('pods of other namespaces and cluster-wide objects do not count', async () => {
    await quota({ pods: '5', 'count/nodes': '3' });
    await plane.client.create(NODES, undefined, { metadata: { name: 'n' } });
    await plane.settle();
    expect(status()?.used).toEqual({ pods: '0' });
  });
});
