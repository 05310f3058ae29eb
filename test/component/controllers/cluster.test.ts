import { afterEach, describe, expect, it } from 'vitest';
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  ENDPOINTS,
  NAMESPACES,
  NODES,
  POD_DISRUPTION_BUDGETS,
  PODS,
  REPLICA_SETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../../src/api/kinds.ts';
import type { Endpoint } from '../../../src/api/types/discovery-v1.ts';
import { disruptionController } from '../../../src/server/controllers/disruption.ts';
import { endpointsController } from '../../../src/server/controllers/endpoints/controller.ts';
import { firstFreeCidr, nodeIpamController } from '../../../src/server/controllers/node-ipam.ts';
import { podGcController } from '../../../src/server/controllers/pod-gc.ts';
import { replicaSetController } from '../../../src/server/controllers/replicaset/controller.ts';
import { serviceAccountController } from '../../../src/server/controllers/service-account.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

describe.each(APIS)('on the %s API', (api) => {
  let plane: ControlPlane;
  afterEach(() => plane.stop());

  async function pod(
    name: string,
    options: { labels?: Record<string, string>; port?: number; node?: string } = {},
  ) {
    await plane.client.create(PODS, 'default', {
      metadata: { name, labels: options.labels ?? { app: 'web' } },
      spec: {
        ...(options.node ? { nodeName: options.node } : {}),
        containers: [
          { name: 'web', image: 'web', ports: [{ name: 'http', containerPort: options.port ?? 8080 }] },
        ],
      },
    });
    await plane.settle();
  }

  describe('endpoints of a Service', () => {
    const slices = () => plane.client.all(ENDPOINT_SLICES);
    const endpoints = (): Endpoint[] => slices().flatMap((slice) => slice.endpoints ?? []);
    const state = (name: string) => endpoints().find(({ targetRef }) => targetRef?.name === name)?.conditions;

    async function service(spec: object = {}): Promise<void> {
      plane = await ControlPlane.open(api);
      await plane.start(endpointsController);
      await plane.client.create(SERVICES, 'default', {
        metadata: { name: 'web', labels: { team: 'a' } },
        spec: { selector: { app: 'web' }, ports: [{ name: 'web', port: 80, targetPort: 'http' }], ...spec },
      });
      await plane.settle();
    }

    it('are one empty slice without pods, and the ready pods then', async () => {
      await service();
      expect(slices()).toHaveLength(1);
      expect(endpoints()).toEqual([]);
      await pod('a');
      await pod('other', { labels: { app: 'other' } });
      const [slice] = slices();
      expect(slices()).toHaveLength(1);
      expect(slice).toMatchObject({
        addressType: 'IPv4',
        ports: [{ name: 'web', port: 8080, protocol: 'TCP' }],
        endpoints: [
          {
            conditions: { ready: true, serving: true, terminating: false },
            nodeName: 'board',
            targetRef: { kind: 'Pod', namespace: 'default', name: 'a' },
          },
        ],
      });
      expect(slice?.metadata.labels).toEqual({
        team: 'a',
        'kubernetes.io/service-name': 'web',
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      });
      expect(plane.client.peek(ENDPOINTS, 'default', 'web')?.subsets).toMatchObject([
        { addresses: [{ targetRef: { name: 'a' } }], ports: [{ name: 'web', port: 8080, protocol: 'TCP' }] },
      ]);
    });

    it('tell pods that are not ready and those that are on their way out', async () => {
      await service();
      plane.kubelet.ready = ({ metadata }) => metadata.name !== 'b';
      await pod('a');
      await pod('b');
      expect(state('b')).toEqual({ ready: false, serving: false, terminating: false });
      expect(plane.client.peek(ENDPOINTS, 'default', 'web')?.subsets?.[0]?.notReadyAddresses).toHaveLength(1);
      plane.kubelet.reachable = () => false;
      await plane.client.delete(PODS, 'default', 'a');
      await plane.settle();
      expect(state('a')).toEqual({ ready: false, serving: true, terminating: true });
      expect(plane.client.peek(ENDPOINTS, 'default', 'web')?.subsets?.[0]?.addresses).toBeUndefined();
    });

    it('publish unready addresses when told to', async () => {
      await service({ publishNotReadyAddresses: true });
      plane.kubelet.ready = () => false;
      await pod('a');
      expect(state('a')).toEqual({ ready: true, serving: false, terminating: false });
    });

    it('stand in one slice for each set of ports, and in no more than a hundred each', async () => {
      await service();
      await pod('odd', { port: 9090 });
      for (let index = 0; index < 101; index += 1) await pod(`p${index}`);
      expect(
        slices()
          .map((slice) => `${slice.ports?.[0]?.port}x${slice.endpoints?.length}`)
          .sort(),
      ).toEqual(['8080x1', '8080x100', '9090x1']);
      await plane.client.delete(PODS, 'default', 'odd');
      await plane.settle();
      expect(slices()).toHaveLength(2);
    });

    it('go with the Service', async () => {
      await service();
      await pod('a');
      await plane.client.delete(SERVICES, 'default', 'web');
      await plane.settle();
      expect(plane.client.all(ENDPOINTS)).toHaveLength(0);
    });

    it('are left alone without a selector', async () => {
      await service({ selector: {} });
      expect(slices()).toHaveLength(0);
      expect(plane.client.all(ENDPOINTS)).toHaveLength(0);
    });
  });

  describe('a namespace', () => {
    it('has its default ServiceAccount and the CA, and gets them back', async () => {
      plane = await ControlPlane.open(api);
      await plane.start(serviceAccountController);
      await plane.client.create(NAMESPACES, undefined, { metadata: { name: 'shop' } });
      await plane.settle();
      expect(plane.client.peek(CONFIG_MAPS, 'shop', 'kube-root-ca.crt')?.data?.['ca.crt']).toContain(
        'BEGIN CERT',
      );
      await plane.client.delete(SERVICE_ACCOUNTS, 'shop', 'default');
      await plane.client.patch(CONFIG_MAPS, 'shop', 'kube-root-ca.crt', {
        type: 'merge',
        body: { data: { 'ca.crt': 'x' } },
      });
      await plane.settle();
      expect(plane.client.peek(SERVICE_ACCOUNTS, 'shop', 'default')).toBeDefined();
      expect(plane.client.peek(CONFIG_MAPS, 'shop', 'kube-root-ca.crt')?.data?.['ca.crt']).toContain(
        'BEGIN CERT',
      );
    });
  });

  describe('pod networks', () => {
    it('are given to nodes one by one, and again when free', async () => {
      plane = await ControlPlane.open(api);
      await plane.start(nodeIpamController);
      await Promise.all(['a', 'b', 'c'].map((name) => plane.node(name)));
      await plane.settle();
      const cidrs = () => plane.client.all(NODES).map(({ spec }) => spec?.podCIDR);
      expect(cidrs()).toEqual(['10.42.0.0/24', '10.42.1.0/24', '10.42.2.0/24']);
      await plane.client.delete(NODES, undefined, 'b');
      await plane.node('d');
      await plane.settle();
      expect(plane.client.peek(NODES, undefined, 'd')?.spec?.podCIDRs).toEqual(['10.42.1.0/24']);
    });

    it.each([
      ['10.42.0.0/16', [], '10.42.0.0/24'],
      ['10.42.7.9/16', ['10.42.0.0/24'], '10.42.1.0/24'],
      ['10.0.0.0/8', ['10.0.0.0/24'], '10.0.1.0/24'],
      ['10.42.3.0/24', ['10.42.3.0/24'], undefined],
    ])('first free of %s beside %s is %s', (cluster, used, expected) => {
      expect(firstFreeCidr(cluster, new Set(used))).toBe(expected);
    });
  });

  describe('pod garbage collection', () => {
    it('gives up pods of a node that is gone, not of one that comes back', async () => {
      plane = await ControlPlane.open(api);
      await plane.start((context) => podGcController(context));
      await plane.node('a');
      await plane.node('b');
      await pod('on-a', { node: 'a' });
      await pod('on-b', { node: 'b' });
      await plane.client.delete(NODES, undefined, 'a');
      await plane.client.delete(NODES, undefined, 'b');
      await plane.clock.advance(20_000);
      await plane.node('b');
      await plane.clock.advance(30_000);
      expect(plane.client.all(PODS).map(({ metadata }) => metadata.name)).toEqual(['on-b']);
    });

    it('keeps only so many ended pods, the youngest', async () => {
      plane = await ControlPlane.open(api);
      await plane.start((context) => podGcController(context, 2));
      await plane.node('board');
      for (const name of ['one', 'two', 'three', 'four']) {
        await pod(name, { node: 'board' });
        const live = plane.client.peek(PODS, 'default', name);
        if (live) await plane.kubelet.finish(live, 0);
        await plane.clock.advance(1000);
      }
      expect(
        plane.client
          .all(PODS)
          .map(({ metadata }) => metadata.name)
          .sort(),
      ).toEqual(['four', 'three']);
    });
  });

  describe('a disruption budget', () => {
    it('allows what its controller can spare', async () => {
      plane = await ControlPlane.open(api);
      await plane.start(disruptionController, replicaSetController);
      await plane.client.create(REPLICA_SETS, 'default', {
        metadata: { name: 'web' },
        spec: {
          replicas: 4,
          selector: { matchLabels: { app: 'web' } },
          template: {
            metadata: { labels: { app: 'web' } },
            spec: { containers: [{ name: 'web', image: 'web' }] },
          },
        },
      });
      const budget = (name: string, spec: object) =>
        plane.client.create(POD_DISRUPTION_BUDGETS, 'default', {
          metadata: { name },
          spec: { selector: { matchLabels: { app: 'web' } }, ...spec },
        });
      await budget('min', { minAvailable: 3 });
      await budget('percent', { minAvailable: '60%' });
      await budget('max', { maxUnavailable: '30%' });
      await plane.settle();
      const status = (name: string) => {
        const found = plane.client.peek(POD_DISRUPTION_BUDGETS, 'default', name)?.status;
        return [found?.expectedPods, found?.desiredHealthy, found?.currentHealthy, found?.disruptionsAllowed];
      };
      expect(status('min')).toEqual([4, 3, 4, 1]);
      expect(status('percent')).toEqual([4, 3, 4, 1]);
      expect(status('max')).toEqual([4, 2, 4, 2]);
      plane.kubelet.ready = () => false;
      plane.kubelet.look();
      await plane.settle();
      expect(status('min')).toEqual([4, 3, 0, 0]);
      const conditions = plane.client.peek(POD_DISRUPTION_BUDGETS, 'default', 'min')?.status?.conditions;
      expect(conditions).toMatchObject([
        { type: 'DisruptionAllowed', status: 'False', reason: 'InsufficientPods' },
      ]);
    });
  });
});
