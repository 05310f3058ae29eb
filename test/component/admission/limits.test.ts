import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AdmissionServer } from '../../support/admission-server.ts';

let server: AdmissionServer;
beforeEach(async () => {
  server = await AdmissionServer.start();
});
afterEach(() => server.stop());

const pod = (name: string, resources: object = {}, extra: object = {}) => ({
  metadata: { name },
  spec: { containers: [{ name: 'main', image: 'busybox', resources }], ...extra },
});
const range = (limits: object[]) => ({ metadata: { name: 'limits' }, spec: { limits } });
const createPod = (body: object, options?: object) => server.create('v1', 'Pod', 'default', body, options);
const createRange = (limits: object[]) => server.create('v1', 'LimitRange', 'default', range(limits));

describe('LimitRange', () => {
  test('fills in what containers do not say, and tells so', async () => {
    await createRange([
      {
        type: 'Container',
        default: { cpu: '500m', memory: '128Mi' },
        defaultRequest: { cpu: '100m', memory: '64Mi' },
      },
    ]);
    const made = await createPod(
      pod('a', { requests: { cpu: '200m' } }, { initContainers: [{ name: 'first', image: 'busybox' }] }),
    );
    expect(made.spec.containers[0].resources).toEqual({
      requests: { cpu: '200m', memory: '64Mi' },
      limits: { cpu: '500m', memory: '128Mi' },
    });
    expect(made.spec.initContainers[0].resources.requests).toEqual({ cpu: '100m', memory: '64Mi' });
    expect(made.metadata.annotations['kubernetes.io/limit-ranger']).toBe(
      'LimitRanger plugin set: memory request for container main; cpu, memory limit for container main; ' +
        'cpu, memory request for init container first; cpu, memory limit for init container first',
    );
    expect(made.status.qosClass).toBe('Burstable');
  });

  test('leaves pods alone that say everything themselves', async () => {
    await createRange([{ type: 'Container', default: { cpu: '500m' } }]);
    const made = await createPod(pod('a', { requests: { cpu: '1' }, limits: { cpu: '1' } }));
    expect(made.metadata.annotations).toBeUndefined();
  });

  test('holds containers to minimum, maximum and ratio', async () => {
    await createRange([
      {
        type: 'Container',
        min: { cpu: '100m' },
        max: { cpu: '1', memory: '1Gi' },
        maxLimitRequestRatio: { cpu: '4' },
        default: { cpu: '200m', memory: '64Mi' },
        defaultRequest: { cpu: '200m', memory: '64Mi' },
      },
    ]);
    const refused = (resources: object) => server.refusal(createPod(pod('a', resources)));
    expect(await refused({ requests: { cpu: '50m' }, limits: { cpu: '100m' } })).toBe(
      'pods "a" is forbidden: minimum cpu usage per Container is 100m, but request is 50m',
    );
    expect(await refused({ limits: { cpu: '2', memory: '2Gi' } })).toBe(
      'pods "a" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]',
    );
    expect(await refused({ requests: { cpu: '100m' }, limits: { cpu: '1' } })).toBe(
      'pods "a" is forbidden: cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000',
    );
    await createPod(pod('b', { requests: { cpu: '250m' }, limits: { cpu: '1' } }));
  });

  test('counts a whole pod, with what runs before it', async () => {
    await createRange([{ type: 'Pod', max: { memory: '1Gi' } }]);
    expect(await server.refusal(createPod(pod('a')))).toBe(
      'pods "a" is forbidden: maximum memory usage per Pod is 1Gi.  No limit is specified',
    );
    const big = { limits: { memory: '2Gi' } };
    const first = { initContainers: [{ name: 'first', image: 'busybox', resources: big }] };
    expect(await server.refusal(createPod(pod('a', { limits: { memory: '1Gi' } }, first)))).toContain(
      'maximum memory usage per Pod is 1Gi, but limit is 2Gi',
    );
  });

  test('bounds the storage that claims ask for', async () => {
    await createRange([{ type: 'PersistentVolumeClaim', min: { storage: '1Gi' }, max: { storage: '5Gi' } }]);
    const claim = (storage: string) =>
      server.create('v1', 'PersistentVolumeClaim', 'default', {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } },
      });
    expect(await server.refusal(claim('10Gi'))).toBe(
      'persistentvolumeclaims "data" is forbidden: maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 10Gi',
    );
    expect(await server.refusal(claim('1Mi'))).toBe(
      'persistentvolumeclaims "data" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi',
    );
    await claim('2Gi');
  });
});

const quota = (name: string, hard: object, spec: object = {}) =>
  server.create('v1', 'ResourceQuota', 'default', { metadata: { name }, spec: { hard, ...spec } });

describe('ResourceQuota', () => {
  test('refuses what would exceed it, in the words of Kubernetes', async () => {
    await quota('compute', { pods: '2', 'requests.cpu': '1', 'limits.memory': '1Gi' });
    const half = { requests: { cpu: '500m' }, limits: { memory: '256Mi' } };
    await createPod(pod('a', half));
    expect(await server.refusal(createPod(pod('b', { ...half, requests: { cpu: '600m' } })))).toBe(
      'pods "b" is forbidden: exceeded quota: compute, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1',
    );
    await createPod(pod('b', half));
    expect(await server.refusal(createPod(pod('c', half)))).toBe(
      'pods "c" is forbidden: exceeded quota: compute, requested: pods=1,requests.cpu=500m, used: pods=2,requests.cpu=1, limited: pods=2,requests.cpu=1',
    );
  });

  test('demands that containers say what is limited', async () => {
    await quota('compute', { 'requests.cpu': '1', 'limits.memory': '1Gi' });
    expect(await server.refusal(createPod(pod('a')))).toBe(
      'pods "a" is forbidden: failed quota: compute: must specify limits.memory for: main; requests.cpu for: main',
    );
  });

  test('lets exactly as many of a crowd through as there is room for', async () => {
    await quota('few', { 'count/configmaps': '3' });
    const crowd = Array.from({ length: 10 }, (_, index) =>
      server.create('v1', 'ConfigMap', 'default', { metadata: { name: `c${index}` } }),
    );
    const outcomes = await Promise.allSettled(crowd);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
  });

  test('a dry run is checked and takes nothing', async () => {
    await quota('few', { configmaps: '1' });
    const make = (name: string, dryRun: boolean) =>
      server.create('v1', 'ConfigMap', 'default', { metadata: { name } }, { dryRun });
    await make('a', true);
    await make('a', false);
    expect(await server.refusal(make('b', true))).toContain('exceeded quota: few, requested: configmaps=1');
  });

  test('what has ended no longer counts as a pod, but as an object', async () => {
    await quota('pods', { pods: '1' });
    await createPod(pod('a'));
    await server.patch('v1', 'Pod', 'default', 'a', { status: { phase: 'Succeeded' } }, 'status');
    await createPod(pod('b'));
    await quota('objects', { 'count/pods': '2' });
    await server.patch('v1', 'Pod', 'default', 'b', { status: { phase: 'Failed' } }, 'status');
    expect(await server.refusal(createPod(pod('c')))).toContain('exceeded quota: objects');
  });

  test('several quotas all have to have room', async () => {
    await quota('wide', { pods: '10' });
    await quota('narrow', { pods: '0' });
    expect(await server.refusal(createPod(pod('a')))).toContain('exceeded quota: narrow');
  });

  test.each([
    ['Terminating', { activeDeadlineSeconds: 60 }, {}],
    ['NotTerminating', {}, { activeDeadlineSeconds: 60 }],
    [
      'CrossNamespacePodAffinity',
      {
        affinity: {
          podAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [
              { topologyKey: 'kubernetes.io/hostname', namespaces: ['x'], labelSelector: {} },
            ],
          },
        },
      },
      {},
    ],
  ])('the scope %s', async (scope, within, without) => {
    await quota('scoped', { pods: '0' }, { scopes: [scope] });
    await createPod(pod('out', {}, without));
    expect(await server.refusal(createPod(pod('in', {}, within)))).toContain('exceeded quota: scoped');
  });

  test('the scopes BestEffort and NotBestEffort', async () => {
    const some = { requests: { cpu: '1m' } };
    await quota('best', { pods: '0' }, { scopes: ['BestEffort'] });
    await createPod(pod('a', some));
    expect(await server.refusal(createPod(pod('b')))).toContain('exceeded quota: best');
    await server.delete('v1', 'ResourceQuota', 'default', 'best');
    await quota('other', { pods: '0' }, { scopes: ['NotBestEffort'] });
    await createPod(pod('b'));
    expect(await server.refusal(createPod(pod('c', some)))).toContain('exceeded quota: other');
  });

  test('scope selectors on priority classes', async () => {
    await server.create('scheduling.k8s.io/v1', 'PriorityClass', undefined, {
      metadata: { name: 'high' },
      value: 10,
    });
    await quota(
      'high',
      { pods: '0' },
      {
        scopeSelector: {
          matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: ['high'] }],
        },
      },
    );
    await createPod(pod('plain'));
    expect(await server.refusal(createPod(pod('a', {}, { priorityClassName: 'high' })))).toContain(
      'exceeded quota: high, requested: pods=1, used: pods=0, limited: pods=0',
    );
  });

  test('node ports and load balancers, also of a Service that changes its type', async () => {
    await quota('services', { 'services.nodeports': '2', 'services.loadbalancers': '0' });
    const service = (name: string, type: string) =>
      server.create('v1', 'Service', 'default', {
        metadata: { name },
        spec: {
          type,
          ports: [{ port: 80 }, { name: 'b', port: 81 }].map((port, i) => ({ ...port, name: `p${i}` })),
        },
      });
    await service('a', 'NodePort');
    await service('b', 'ClusterIP');
    expect(
      await server.refusal(server.patch('v1', 'Service', 'default', 'b', { spec: { type: 'NodePort' } })),
    ).toBe(
      'services "b" is forbidden: exceeded quota: services, requested: services.nodeports=2, used: services.nodeports=2, limited: services.nodeports=2',
    );
    // What it uses already is its own.
    await server.patch('v1', 'Service', 'default', 'a', { metadata: { labels: { x: 'y' } } });
    expect(await server.refusal(service('c', 'LoadBalancer'))).toContain('services.loadbalancers=1');
  });

  test('storage by class', async () => {
    await quota('storage', {
      'requests.storage': '10Gi',
      'fast.storageclass.storage.k8s.io/requests.storage': '1Gi',
      'slow.storageclass.storage.k8s.io/persistentvolumeclaims': '0',
    });
    const claim = (name: string, storageClassName: string, storage: string) =>
      server.create('v1', 'PersistentVolumeClaim', 'default', {
        metadata: { name },
        spec: { accessModes: ['ReadWriteOnce'], storageClassName, resources: { requests: { storage } } },
      });
    await claim('a', 'fast', '1Gi');
    expect(await server.refusal(claim('b', 'fast', '1Mi'))).toContain(
      'requested: fast.storageclass.storage.k8s.io/requests.storage=1Mi, used: fast.storageclass.storage.k8s.io/requests.storage=1Gi',
    );
    expect(await server.refusal(claim('c', 'slow', '1Mi'))).toContain(
      'slow.storageclass.storage.k8s.io/persistentvolumeclaims=1',
    );
    expect(await server.refusal(claim('d', 'other', '20Gi'))).toContain('limited: requests.storage=10Gi');
  });
});
