import { expect, test } from 'vitest';
import type { JsonObject } from '../../../../src/api/object.ts';
import { strategyOf } from './strategy-of.ts';

const NOW = Date.parse('2026-01-01T00:05:00Z');

function cellsOf(resource: string, object: JsonObject): unknown[] {
  const metadata = {
    name: 'x',
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...(object.metadata as JsonObject),
  };
  return strategyOf(resource).cells?.({ ...object, metadata }, NOW) ?? [];
}

const metric = (type: string, field: string, target: JsonObject): JsonObject => ({
  type,
  [field]: { name: 'cpu', target },
});

const CASES: [resource: string, object: JsonObject, cells: unknown[]][] = [
  [
    'horizontalpodautoscalers.autoscaling',
    {
      spec: {
        maxReplicas: 5,
        minReplicas: 2,
        scaleTargetRef: { kind: 'Deployment', name: 'web' },
        metrics: [
          metric('Resource', 'resource', { averageUtilization: 50 }),
          metric('External', 'external', { averageValue: '3' }),
          metric('Pods', 'pods', { averageValue: '1k' }),
        ],
      },
      status: { currentReplicas: 3, currentMetrics: [{ resource: { current: { averageUtilization: 40 } } }] },
    },
    ['x', 'Deployment/web', 'cpu: 40%/50%, <unknown>/3 (avg) + 1 more...', '2', 5, 3, '5m'],
  ],
  [
    'ingresses.networking.k8s.io',
    {
      spec: { rules: ['b', 'a', 'c', 'd'].map((host) => ({ host })), tls: [{}] },
      status: { loadBalancer: { ingress: [{ ip: '10.0.0.2' }, { hostname: 'lb' }, { ip: '10.0.0.1' }] } },
    },
    ['x', '<none>', 'b,a,c + 1 more...', '10.0.0.1,10.0.0.2,lb', '80, 443', '5m'],
  ],
  [
    'endpointslices.discovery.k8s.io',
    {
      addressType: 'IPv4',
      ports: [{ name: 'any' }, { port: 80 }],
      endpoints: [{ addresses: ['a', 'b'] }, { addresses: ['c', 'd'] }],
    },
    ['x', 'IPv4', 'any,80', 'a,b,c + 1 more...', '5m'],
  ],
  ['endpointslices.discovery.k8s.io', { addressType: 'IPv4' }, ['x', 'IPv4', '<unset>', '<unset>', '5m']],
  [
    'storageclasses.storage.k8s.io',
    {
      metadata: { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'p',
      allowVolumeExpansion: true,
    },
    ['x (default)', 'p', 'Delete', 'Immediate', true, '5m'],
  ],
  [
    'csidrivers.storage.k8s.io',
    { spec: { tokenRequests: [{ audience: 'a' }, { audience: 'b' }], volumeLifecycleModes: ['Persistent'] } },
    ['x', true, false, false, 'a,b', false, 'Persistent', '5m'],
  ],
  [
    'certificatesigningrequests.certificates.k8s.io',
    {
      spec: { signerName: 'example.com/s', username: 'jane', expirationSeconds: 86_400 },
      status: { certificate: 'x', conditions: [{ type: 'Approved' }] },
    },
    ['x', '5m', 'example.com/s', 'jane', '24h', 'Approved,Issued'],
  ],
  [
    'apiservices.apiregistration.k8s.io',
    {
      spec: { service: { namespace: 'n', name: 's' } },
      status: { conditions: [{ type: 'Available', status: 'False', reason: 'ServiceNotFound' }] },
    },
    ['x', 'n/s', 'False (ServiceNotFound)', '5m'],
  ],
  [
    'prioritylevelconfigurations.flowcontrol.apiserver.k8s.io',
    {
      spec: {
        type: 'Limited',
        limited: { nominalConcurrencyShares: 30, limitResponse: { queuing: { queues: 64 } } },
      },
    },
    ['x', 'Limited', 30, 64, '<none>', '<none>', '5m'],
  ],
  [
    'resourceclaims.resource.k8s.io',
    { status: { allocation: {}, reservedFor: [{}] } },
    ['x', 'allocated,reserved', '5m'],
  ],
];

test.each(CASES)('row of %s', (resource, object, cells) => {
  expect(cellsOf(resource, object)).toEqual(cells);
});
