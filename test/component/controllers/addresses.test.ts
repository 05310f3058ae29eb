import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ENDPOINT_SLICES, ENDPOINTS, IP_ADDRESSES, NODES, SERVICES } from '../../../src/api/kinds.ts';
import { endpointsController } from '../../../src/server/controllers/endpoints/controller.ts';
import { endpointSliceMirroringController } from '../../../src/server/controllers/endpoints/mirroring.ts';
import { ipAddressController } from '../../../src/server/controllers/ip-addresses.ts';
import { nextStep, ttlController } from '../../../src/server/controllers/ttl.ts';
import { ControlPlane } from '../../support/control-plane.ts';

let plane: ControlPlane;
beforeEach(async () => {
  plane = await ControlPlane.open('registry');
});
afterEach(() => plane.stop());

const MIRRORED = 'endpointslicemirroring-controller.k8s.io';
const mirrors = () =>
  plane.client
    .all(ENDPOINT_SLICES, 'default')
    .filter(({ metadata }) => metadata.labels?.['endpointslice.kubernetes.io/managed-by'] === MIRRORED);

const service = (selector?: Record<string, string>) =>
  plane.client.create(SERVICES, 'default', {
    metadata: { name: 'db' },
    spec: { ports: [{ port: 5432 }], ...(selector ? { selector } : {}) },
  });
const endpoints = (metadata: object = {}) =>
  plane.client.create(ENDPOINTS, 'default', {
    metadata: { name: 'db', labels: { tier: 'data' }, ...metadata },
    subsets: [
      {
        addresses: [{ ip: '192.0.2.1' }, { ip: '2001:db8::1' }],
        notReadyAddresses: [{ ip: '192.0.2.2', hostname: 'spare' }],
        ports: [{ port: 5432 }],
      },
    ],
  });

describe('mirroring of Endpoints', () => {
  beforeEach(() => plane.start(endpointsController, endpointSliceMirroringController));

  test('a Service without a selector has slices of the Endpoints kept for it', async () => {
    await service();
    await endpoints();
    await plane.settle();
    const slices = mirrors().sort((a, b) => (a.addressType < b.addressType ? -1 : 1));
    expect(slices.map(({ addressType }) => addressType)).toEqual(['IPv4', 'IPv6']);
    expect(slices[0]?.endpoints).toEqual([
      { addresses: ['192.0.2.1'], conditions: { ready: true } },
      { addresses: ['192.0.2.2'], conditions: { ready: false }, hostname: 'spare' },
    ]);
    expect(slices[0]?.metadata.labels).toMatchObject({ tier: 'data', 'kubernetes.io/service-name': 'db' });
    expect(slices[0]?.metadata.ownerReferences?.[0]).toMatchObject({ kind: 'Endpoints', name: 'db' });
  });

  test('they follow the Endpoints, keep their names, and go with them', async () => {
    await service();
    const made = await endpoints();
    await plane.settle();
    const before = mirrors().find(({ addressType }) => addressType === 'IPv4')?.metadata.name;
    await plane.client.update(ENDPOINTS, {
      ...made,
      subsets: [{ addresses: [{ ip: '192.0.2.9' }], ports: [{ port: 5432 }] }],
    });
    await plane.settle();
    expect(mirrors()).toHaveLength(1);
    expect(mirrors()[0]?.metadata.name).toBe(before);
    expect(mirrors()[0]?.endpoints?.[0]?.addresses).toEqual(['192.0.2.9']);
    await plane.client.delete(ENDPOINTS, 'default', 'db');
    await plane.settle();
    expect(mirrors()).toEqual([]);
  });

  test('not for Services with a selector, without a Service, or where it is not wanted', async () => {
    await endpoints();
    await plane.settle();
    expect(mirrors()).toEqual([]);
    await service({ app: 'db' });
    await plane.settle();
    expect(mirrors()).toEqual([]);
    await plane.client.delete(SERVICES, 'default', 'db');
    await plane.settle();
    await service();
    await endpoints({ labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } }).catch(() =>
      plane.client.patch(ENDPOINTS, 'default', 'db', {
        type: 'merge',
        body: { metadata: { labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } } },
      }),
    );
    await plane.settle();
    expect(mirrors()).toEqual([]);
  });
});

describe('IPAddresses', () => {
  beforeEach(() => plane.start(ipAddressController));
  const names = () => plane.client.all(IP_ADDRESSES).map(({ metadata }) => metadata.name);

  test("a Service's cluster IP has an object that names it", async () => {
    const made = await service();
    await plane.settle();
    const ip = made.spec?.clusterIP ?? '';
    expect(plane.client.peek(IP_ADDRESSES, undefined, ip)).toMatchObject({
      metadata: {
        labels: {
          'ipaddress.kubernetes.io/ip-family': 'IPv4',
          'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
        },
      },
      spec: { parentRef: { resource: 'services', namespace: 'default', name: 'db' } },
    });
    await plane.client.delete(IP_ADDRESSES, undefined, ip);
    await plane.settle();
    expect(names()).toEqual([ip]);
    await plane.client.delete(SERVICES, 'default', 'db');
    await plane.settle();
    expect(names()).toEqual([]);
  });
});

describe('the TTL of what kubelets keep', () => {
  test('nodes are annotated', async () => {
    await plane.start(ttlController);
    await plane.client.create(NODES, undefined, { metadata: { name: 'n' } });
    await plane.settle();
    expect(plane.client.peek(NODES, undefined, 'n')?.metadata.annotations).toEqual({
      'node.alpha.kubernetes.io/ttl': '0',
    });
  });

  test('it grows with the cluster, and does not waver at a bound', () => {
    expect(nextStep(0, 100)).toBe(0);
    expect(nextStep(0, 101)).toBe(1);
    expect(nextStep(1, 95)).toBe(1);
    expect(nextStep(1, 89)).toBe(0);
    expect(nextStep(0, 5000)).toBe(4);
  });
});
