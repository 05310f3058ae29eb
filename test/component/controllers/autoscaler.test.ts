import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  DEPLOYMENTS,
  HORIZONTAL_POD_AUTOSCALERS,
  PODS,
  REPLICATION_CONTROLLERS,
} from '../../../src/api/kinds.ts';
import type { HorizontalPodAutoscaler } from '../../../src/api/types/autoscaling-v2.ts';
import type { UsageSource } from '../../../src/client/usage.ts';
import { autoscalerController } from '../../../src/server/controllers/autoscaler/controller.ts';
import { deploymentController } from '../../../src/server/controllers/deployment/controller.ts';
import { replicaSetController } from '../../../src/server/controllers/replicaset/controller.ts';
import { ControlPlane } from '../../support/control-plane.ts';

describe('a HorizontalPodAutoscaler', () => {
  let plane: ControlPlane;
  /** CPU in cores that each pod uses; undefined: the boards tell nothing. */
  let cpu: number | undefined;
  let asked: number;

  beforeEach(async () => {
    plane = await ControlPlane.open('registry');
    cpu = 0.05;
    asked = 0;
    const usage: UsageSource = {
      of: () => {
        asked += 1;
        return cpu === undefined
          ? undefined
          : {
              at: plane.clock.now(),
              windowMs: 15_000,
              containers: [{ name: 'main', cpu, memory: 64 * 2 ** 20 }],
            };
      },
    };
    await plane.start(deploymentController, replicaSetController, (context) =>
      autoscalerController({ ...context, usage }),
    );
    await plane.node('board');
  });
  afterEach(() => plane.stop());

  async function deployment(
    replicas: number,
    requests: Record<string, string> | undefined = { cpu: '100m' },
  ) {
    await plane.client.create(DEPLOYMENTS, 'default', {
      metadata: { name: 'web' },
      spec: {
        replicas,
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'main', image: 'web', resources: { requests } }] },
        },
      },
    });
    await plane.clock.advance(400_000);
    // A kubelet says when a pod started.
    await touch();
  }
  async function touch(): Promise<void> {
    for (const pod of plane.client.all(PODS)) {
      await plane.client.updateStatus(PODS, {
        ...pod,
        status: { ...pod.status, startTime: pod.metadata.creationTimestamp ?? '' },
      });
    }
  }
  const autoscale = (spec: Partial<HorizontalPodAutoscaler['spec']> = {}) =>
    plane.client.create(HORIZONTAL_POD_AUTOSCALERS, 'default', {
      metadata: { name: 'web' },
      spec: {
        minReplicas: 1,
        maxReplicas: 6,
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
        metrics: [
          {
            type: 'Resource',
            resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } },
          },
        ],
        ...spec,
      },
    });
  const hpa = () => plane.client.peek(HORIZONTAL_POD_AUTOSCALERS, 'default', 'web');
  const replicas = () => plane.client.peek(DEPLOYMENTS, 'default', 'web')?.spec?.replicas;
  const condition = (type: string) => {
    const found = hpa()?.status?.conditions?.find((one) => one.type === type);
    return found && `${found.status} ${found.reason}: ${found.message}`;
  };

  it('scales up by use, says so, and down again five minutes after', async () => {
    await deployment(2);
    await autoscale();
    await plane.clock.advance(16_000);
    expect(replicas()).toBe(2);
    const quiet = [plane.client.peek(DEPLOYMENTS, 'default', 'web'), hpa()].map(
      (one) => one?.metadata.resourceVersion,
    );
    await plane.clock.advance(60_000);
    // To look is not to write.
    expect(
      [plane.client.peek(DEPLOYMENTS, 'default', 'web'), hpa()].map((one) => one?.metadata.resourceVersion),
    ).toEqual(quiet);
    cpu = 0.1;
    await plane.clock.advance(16_000);
    expect(replicas()).toBe(4);
    expect(plane.events()).toContain(
      'SuccessfulRescale: New size: 4; reason: cpu resource utilization (percentage of request) above target',
    );
    expect(condition('AbleToScale')).toBe(
      'True SucceededRescale: the HPA controller was able to update the target scale to 4',
    );
    expect(condition('ScalingActive')).toBe(
      'True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)',
    );
    expect(hpa()?.status?.currentMetrics).toEqual([
      {
        type: 'Resource',
        resource: { name: 'cpu', current: { averageUtilization: 100, averageValue: '100m' } },
      },
    ]);
    cpu = 0.01;
    await touch();
    await plane.clock.advance(200_000);
    expect(replicas()).toBe(4);
    await plane.clock.advance(120_000);
    expect(replicas()).toBe(1);
  });

  it('stays within its bounds', async () => {
    await deployment(2);
    cpu = 5;
    await autoscale({ maxReplicas: 3 });
    await plane.clock.advance(16_000);
    expect(replicas()).toBe(3);
    await plane.client.patch(HORIZONTAL_POD_AUTOSCALERS, 'default', 'web', {
      type: 'merge',
      body: { spec: { minReplicas: 5, maxReplicas: 6 } },
    });
    await plane.clock.advance(16_000);
    expect(replicas()).toBe(6);
    expect(plane.events()).toContain(
      'SuccessfulRescale: New size: 5; reason: Current number of replicas below Spec.MinReplicas',
    );
  });

  it('takes the most of several metrics, and does not shrink while one of them fails', async () => {
    await deployment(2);
    cpu = 0.01;
    const memory = (averageValue: string) => ({
      type: 'Resource',
      resource: { name: 'memory', target: { type: 'AverageValue', averageValue } },
    });
    const custom = {
      type: 'Pods',
      pods: { metric: { name: 'queue' }, target: { type: 'AverageValue', averageValue: '1' } },
    };
    const cpuMetric = {
      type: 'Resource',
      resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } },
    };
    await autoscale({ maxReplicas: 4, metrics: [cpuMetric, memory('32Mi')] });
    await plane.clock.advance(16_000);
    expect(replicas()).toBe(4);
    await plane.client.patch(HORIZONTAL_POD_AUTOSCALERS, 'default', 'web', {
      type: 'merge',
      body: { spec: { metrics: [cpuMetric, custom] } },
    });
    await touch();
    await plane.clock.advance(700_000);
    expect(replicas()).toBe(4);
    expect(condition('ScalingActive')).toContain('False FailedGetPodsMetric: the HPA was unable to compute');
  });

  it('says why it cannot scale', async () => {
    await autoscale();
    await plane.settle();
    expect(condition('AbleToScale')).toContain('False FailedGetScale: the HPA controller was unable to get');
    await deployment(2, {});
    expect(condition('ScalingActive')).toContain(
      'False FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in container main of Pod web-',
    );
    expect(
      plane
        .events()
        .some((text) =>
          text.startsWith('FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1)'),
        ),
    ).toBe(true);
  });

  it('leaves a target at zero alone, and waits for measurements', async () => {
    await deployment(0);
    await autoscale();
    await plane.clock.advance(16_000);
    expect(condition('ScalingActive')).toContain('False ScalingDisabled');
    expect(asked).toBe(0);
    cpu = undefined;
    await plane.client.patch(DEPLOYMENTS, 'default', 'web', {
      type: 'merge',
      body: { spec: { replicas: 2 } },
    });
    await plane.clock.advance(31_000);
    expect(replicas()).toBe(2);
    expect(condition('ScalingActive')).toContain('did not receive metrics for targeted pods');
    expect(asked).toBeGreaterThan(0);
  });

  it('scales other kinds that can be scaled, and refuses to share pods with another', async () => {
    await plane.client.create(REPLICATION_CONTROLLERS, 'default', {
      metadata: { name: 'rc' },
      spec: {
        replicas: 1,
        selector: { app: 'web' },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'main', image: 'web' }] },
        },
      },
    });
    await autoscale({
      minReplicas: 2,
      scaleTargetRef: { apiVersion: 'v1', kind: 'ReplicationController', name: 'rc' },
    });
    await plane.settle();
    expect(plane.client.peek(REPLICATION_CONTROLLERS, 'default', 'rc')?.spec?.replicas).toBe(2);
    await deployment(2);
    await plane.client.create(HORIZONTAL_POD_AUTOSCALERS, 'default', {
      metadata: { name: 'rival' },
      spec: {
        maxReplicas: 5,
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
      },
    });
    await plane.clock.advance(31_000);
    expect(condition('ScalingActive')).toBe(
      'False AmbiguousSelector: pods by selector app=web are controlled by multiple HPAs: [default/rival default/web]',
    );
  });
});
