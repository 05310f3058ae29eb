import { describe, expect, it } from 'vitest';
import type { ConfigMap, Pod } from '../../../src/api/types/core-v1.ts';
import { desiredPod, sameForAgent } from '../../../src/server/bus/desired-objects.ts';
import { diffDesired } from '../../../src/server/bus/desired-publisher.ts';
import { referencedConfigs } from '../../../src/server/bus/referenced-configs.ts';

function pod(over: Partial<Pod> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'shop', uid: 'u1', resourceVersion: '5', labels: { app: 'web' } },
    spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i' }] },
    ...over,
  };
}

describe('referencedConfigs', () => {
  it('finds every place that names a ConfigMap or Secret, once each', () => {
    const subject = pod({
      spec: {
        imagePullSecrets: [{ name: 'pull' }, {}],
        initContainers: [{ name: 'i', image: 'i', envFrom: [{ configMapRef: { name: 'init-from' } }] }],
        ephemeralContainers: [{ name: 'e', image: 'i', envFrom: [{ secretRef: { name: 'ephemeral' } }] }],
        containers: [
          {
            name: 'c',
            image: 'i',
            env: [
              { name: 'A', value: 'plain' },
              { name: 'B', valueFrom: { configMapKeyRef: { name: 'env', key: 'k' } } },
              { name: 'C', valueFrom: { secretKeyRef: { name: 'env-secret', key: 'k', optional: true } } },
              { name: 'D', valueFrom: { configMapKeyRef: { name: 'env', key: 'other' } } },
            ],
          },
        ],
        volumes: [
          { name: 'a', configMap: { name: 'volume' } },
          { name: 'b', secret: { secretName: 'volume-secret' } },
          {
            name: 'c',
            projected: {
              sources: [
                { configMap: { name: 'kube-root-ca.crt' } },
                { secret: { name: 'projected' } },
                { serviceAccountToken: { path: 'token' } },
              ],
            },
          },
          { name: 'd', emptyDir: {} },
        ],
      },
    });
    expect(referencedConfigs(subject)).toEqual([
      'configmaps/shop/env',
      'configmaps/shop/init-from',
      'configmaps/shop/kube-root-ca.crt',
      'configmaps/shop/volume',
      'secrets/shop/env-secret',
      'secrets/shop/ephemeral',
      'secrets/shop/projected',
      'secrets/shop/pull',
      'secrets/shop/volume-secret',
    ]);
  });
});

describe('desiredPod', () => {
  it('leaves out who set what and what the agent itself reports', () => {
    const published = desiredPod(
      pod({
        metadata: { ...pod().metadata, managedFields: [{ manager: 'kubectl' }] },
        status: {
          phase: 'Running',
          startTime: '2026-01-01T00:00:00Z',
          qosClass: 'Burstable',
          podIP: '10.42.0.2',
          conditions: [],
        },
      }),
    );
    expect(published.metadata.managedFields).toBeUndefined();
    expect(published.status).toEqual({
      phase: 'Running',
      startTime: '2026-01-01T00:00:00Z',
      qosClass: 'Burstable',
    });
  });

  it('is the same when only the status changed, unless the pod has ended', () => {
    const before = pod({ status: { phase: 'Pending' } });
    const metadata = { ...before.metadata, resourceVersion: '6', managedFields: [{ manager: 'x' }] };
    expect(sameForAgent(before, pod({ metadata, status: { phase: 'Running', podIP: '10.42.0.2' } }))).toBe(
      true,
    );
    expect(sameForAgent(before, pod({ metadata, status: { phase: 'Failed', reason: 'Evicted' } }))).toBe(
      false,
    );
    expect(
      sameForAgent(before, pod({ metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } })),
    ).toBe(false);
    expect(sameForAgent(before, pod({ metadata: { ...metadata, labels: { app: 'other' } } }))).toBe(false);
    expect(
      sameForAgent(before, pod({ spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'new' }] } })),
    ).toBe(false);
  });
});

describe('readiness gates', () => {
  it('are told to the agent as others have set them, and each time that they change', () => {
    const gated = (status: string) =>
      pod({
        spec: { nodeName: 'n1', containers: [], readinessGates: [{ conditionType: 'x/open' }] },
        status: {
          conditions: [
            { type: 'x/open', status },
            { type: 'Ready', status },
          ],
        },
      });
    expect(desiredPod(gated('True')).status?.conditions).toEqual([{ type: 'x/open', status: 'True' }]);
    expect(sameForAgent(gated('True'), gated('True'))).toBe(true);
    expect(sameForAgent(gated('True'), gated('False'))).toBe(false);
  });
});

describe('diffDesired', () => {
  const config = (resourceVersion: string): ConfigMap => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'a', namespace: 'shop', resourceVersion },
  });

  it('says what is new or changed and what is gone, and nothing twice', () => {
    const told = {
      pods: new Map([
        ['u1', pod()],
        ['old', pod()],
      ]),
      configs: new Map([
        ['configmaps/shop/a', '1'],
        ['secrets/shop/old', '1'],
      ]),
    };
    const changed = pod({ metadata: { ...pod().metadata, resourceVersion: '9', annotations: { x: 'y' } } });
    const fresh = pod({ metadata: { ...pod().metadata, uid: 'u2' } });
    const diff = diffDesired(told, [changed, fresh], new Map([['configmaps/shop/a', config('2')]]));
    expect(diff.pods).toEqual([changed, fresh]);
    expect(diff.gonePods).toEqual(['old']);
    expect(diff.configs.map(({ key }) => key)).toEqual(['configmaps/shop/a']);
    expect(diff.goneConfigs).toEqual(['secrets/shop/old']);
    const after = { pods: new Map([['u1', changed]]), configs: new Map([['configmaps/shop/a', '2']]) };
    expect(diffDesired(after, [changed], new Map([['configmaps/shop/a', config('2')]]))).toEqual({
      configs: [],
      pods: [],
      gonePods: [],
      goneConfigs: [],
    });
  });
});
