import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NODES, SERVICES } from '../../../src/api/kinds.ts';
import type { Node, Service } from '../../../src/api/types/core-v1.ts';
import {
  isWrittenByOthers,
  planBalancers,
  serviceLbController,
} from '../../../src/server/controllers/service-lb.ts';
import { APIS, ControlPlane } from '../../support/control-plane.ts';

const node = (
  name: string,
  address: string,
  fields: { labels?: Record<string, string>; ready?: string } = {},
) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, ...(fields.labels ? { labels: fields.labels } : {}) },
  status: {
    addresses: [{ type: 'InternalIP', address }],
    conditions: [{ type: 'Ready', status: fields.ready ?? 'True' }],
  },
});
const balanced = (name: string, port: number, spec: Partial<Service['spec']> = {}, created = '') => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', creationTimestamp: created },
  spec: { type: 'LoadBalancer' as const, ports: [{ port }], ...spec },
});
const planned = (services: object[], nodes: object[], endpointsOn: string[] = []) =>
  planBalancers(services as Service[], nodes as Node[], () => new Set(endpointsOn));

describe('planBalancers', () => {
  const [a, b] = [node('a', '10.0.0.1'), node('b', '10.0.0.2')];

  it('gives every ready node’s address', () => {
    const nodes = [
      b,
      a,
      node('c', '10.0.0.3', { ready: 'Unknown' }),
      node('d', '10.0.0.4', { labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } }),
    ];
    expect(planned([balanced('web', 80)], nodes).addresses.get('default/web')).toEqual([
      '10.0.0.1',
      '10.0.0.2',
    ]);
  });

  it('prefers external addresses, and nodes that are labelled for it', () => {
    const outer = node('a', '10.0.0.1');
    outer.status.addresses.push({ type: 'ExternalIP', address: '203.0.113.1' });
    const labelled = node('b', '10.0.0.2', { labels: { 'svccontroller.k3s.cattle.io/enablelb': 'true' } });
    expect(planned([balanced('web', 80)], [outer]).addresses.get('default/web')).toEqual(['203.0.113.1']);
    expect(planned([balanced('web', 80)], [outer, labelled]).addresses.get('default/web')).toEqual([
      '10.0.0.2',
    ]);
  });

  it('gives only nodes with an endpoint where the policy is Local', () => {
    const service = balanced('web', 80, { externalTrafficPolicy: 'Local' });
    expect(planned([service], [a, b], ['b']).addresses.get('default/web')).toEqual(['10.0.0.2']);
  });

  it('gives a port to the oldest Service, and leaves other classes alone', () => {
    const services = [
      balanced('new', 80, {}, '2026-01-02T00:00:00Z'),
      balanced('old', 80, {}, '2026-01-01T00:00:00Z'),
      balanced('udp', 80, { ports: [{ port: 80, protocol: 'UDP' }] }, '2026-01-03T00:00:00Z'),
      balanced('foreign', 80, { loadBalancerClass: 'example.com/lb' }, '2025-01-01T00:00:00Z'),
    ];
    const { addresses, waiting } = planned(services, [a]);
    expect(Object.fromEntries(addresses)).toEqual({
      'default/old': ['10.0.0.1'],
      'default/new': [],
      'default/udp': ['10.0.0.1'],
    });
    expect(Object.fromEntries(waiting)).toEqual({ 'default/new': { port: '80/TCP', holder: 'default/old' } });
  });
});

it('knows addresses that somebody else has written', () => {
  const written = (manager: string): Service => ({
    ...(balanced('web', 80) as Service),
    metadata: {
      name: 'web',
      managedFields: [{ manager, fieldsV1: { 'f:status': { 'f:loadBalancer': { 'f:ingress': {} } } } }],
    },
    status: { loadBalancer: { ingress: [{ ip: '192.0.2.80' }] } },
  });
  expect(isWrittenByOthers(written('metallb'))).toBe(true);
  expect(isWrittenByOthers(written('kube-controller-manager'))).toBe(false);
  expect(isWrittenByOthers({ ...written('metallb'), status: { loadBalancer: {} } })).toBe(false);
});

describe.each(APIS)('the service-lb controller on the %s API', (api) => {
  let plane: ControlPlane;
  beforeEach(async () => {
    plane = await ControlPlane.open(api);
    await plane.start(serviceLbController);
  });
  afterEach(() => plane.stop());

  const ips = (name: string): string[] =>
    (plane.client.peek(SERVICES, 'default', name) as Service).status?.loadBalancer?.ingress?.map(
      ({ ip }) => ip ?? '',
    ) ?? [];
  const join = async (name: string, address: string): Promise<void> => {
    const { metadata, status } = node(name, address);
    const made = await plane.client.create(NODES, undefined, { metadata } as Node);
    await plane.client.updateStatus(NODES, { ...made, status } as Node);
  };
  const settled = async (): Promise<void> => {
    await plane.settle();
    await plane.clock.advance(1000);
    await plane.settle();
  };

  it('follows nodes and Services', async () => {
    await plane.client.create(SERVICES, 'default', {
      metadata: { name: 'web' },
      spec: { type: 'LoadBalancer', ports: [{ port: 80 }] },
    } as Service);
    await settled();
    const before = ips('web');
    await join('balancer', '10.9.9.9');
    await settled();
    expect(ips('web')).toEqual([...before, '10.9.9.9'].sort());
    await plane.client.patch(SERVICES, 'default', 'web', {
      type: 'merge',
      body: { spec: { type: 'ClusterIP' } },
    });
    await settled();
    expect(ips('web')).toEqual([]);
  });
});
