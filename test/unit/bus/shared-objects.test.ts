import { describe, expect, it } from 'vitest';
import type { Service } from '../../../src/api/types/core-v1.ts';
import type { Endpoint, EndpointSlice } from '../../../src/api/types/discovery-v1.ts';
import { dnsRules } from '../../../src/server/bus/dns-config.ts';
import { sharedNode, sharedService } from '../../../src/server/bus/shared-objects.ts';
import { encodeMessage, parseMessage } from '../../../src/wire/validate.ts';

function service(spec: Service['spec'], status?: Service['status']): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'shop' },
    ...(spec ? { spec } : {}),
    ...(status ? { status } : {}),
  };
}

function slice(
  endpoints: Endpoint[],
  ports: EndpointSlice['ports'],
  addressType: EndpointSlice['addressType'] = 'IPv4',
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 's', namespace: 'shop' },
    addressType,
    endpoints,
    ...(ports ? { ports } : {}),
  };
}

const spec: NonNullable<Service['spec']> = {
  clusterIP: '10.43.0.9',
  clusterIPs: ['10.43.0.9'],
  type: 'NodePort',
  ports: [{ name: 'http', port: 80, nodePort: 30080, targetPort: 'web' }],
};

describe('sharedService', () => {
  it('resolves a named target port slice by slice', () => {
    const shared = sharedService(service(spec), [
      slice([{ addresses: ['10.42.1.2'], nodeName: 'b' }], [{ name: 'http', port: 8081 }]),
      slice(
        [{ addresses: ['10.42.0.2'], nodeName: 'a', conditions: { ready: true } }],
        [{ name: 'http', port: 8080 }],
      ),
    ]);
    expect(shared?.ports).toEqual([
      {
        name: 'http',
        protocol: 'TCP',
        port: 80,
        nodePort: 30080,
        endpoints: [
          { ip: '10.42.0.2', port: 8080, node: 'a' },
          { ip: '10.42.1.2', port: 8081, node: 'b' },
        ],
      },
    ]);
  });

  it('tells which endpoints are ready and which leave and still serve', () => {
    const leaving = {
      addresses: ['10.42.0.3'],
      conditions: { ready: false, serving: true, terminating: true },
    };
    const broken = { addresses: ['10.42.0.4'], conditions: { ready: false, serving: false } };
    const ready = { addresses: ['10.42.0.5'], conditions: { ready: true } };
    const ips = (endpoints: Endpoint[]) =>
      sharedService(service(spec), [slice(endpoints, [{ name: 'http', port: 1 }])])?.ports[0]?.endpoints.map(
        ({ ip, leaving }) => `${ip}${leaving ? ' leaving' : ''}`,
      );
    expect(ips([leaving, broken, ready])).toEqual(['10.42.0.3 leaving', '10.42.0.5']);
    expect(ips([leaving, broken])).toEqual(['10.42.0.3 leaving']);
    expect(ips([broken])).toEqual([]);
  });

  it('matches ports by name and protocol', () => {
    const dns = {
      ...spec,
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP' as const },
        { name: 'dns-tcp', port: 53, protocol: 'TCP' as const },
      ],
    };
    const shared = sharedService(service(dns), [
      slice(
        [{ addresses: ['10.42.0.2'] }],
        [
          { name: 'dns', port: 5353, protocol: 'UDP' },
          { name: 'dns', port: 9999, protocol: 'TCP' },
        ],
      ),
    ]);
    expect(shared?.ports.map(({ endpoints }) => endpoints.map(({ port }) => port))).toEqual([[5353], []]);
  });

  it('carries the names of headless Services: ready endpoints only, those without a port too', () => {
    const headless = service({ ...spec, type: 'ClusterIP', clusterIP: 'None', clusterIPs: ['None'] });
    const leaving = { ready: false, serving: true, terminating: true };
    const shared = sharedService(headless, [
      slice(
        [
          { addresses: ['10.42.0.2'], nodeName: 'a', hostname: 'web-0' },
          { addresses: ['10.42.0.3'], nodeName: 'a', conditions: leaving },
        ],
        [{ name: 'http', port: 8080 }],
      ),
      slice([{ addresses: ['10.42.0.4'], hostname: 'web-1' }, { addresses: ['10.42.0.2'] }], []),
    ]);
    expect(shared).toEqual({
      v: 1,
      namespace: 'shop',
      name: 'web',
      type: 'ClusterIP',
      clusterIPs: [],
      headless: true,
      hosts: [{ ip: '10.42.0.4', hostname: 'web-1' }],
      ports: [
        {
          name: 'http',
          protocol: 'TCP',
          port: 80,
          endpoints: [{ ip: '10.42.0.2', port: 8080, node: 'a', hostname: 'web-0' }],
        },
      ],
    });
    expect(parseMessage('SharedService', encodeMessage('SharedService', shared as never) ?? '').ok).toBe(
      true,
    );
  });

  it('carries the target of an ExternalName', () => {
    const shared = sharedService(service({ type: 'ExternalName', externalName: 'x.org' }), []);
    expect(shared).toMatchObject({ externalName: 'x.org', clusterIPs: [], ports: [] });
  });

  it('has nothing to serve without an address', () => {
    expect(sharedService(service({ ...spec, clusterIP: '', clusterIPs: [] }), [])).toBeUndefined();
  });

  it('carries affinity, policies and outer addresses', () => {
    const shared = sharedService(
      service(
        {
          ...spec,
          type: 'LoadBalancer',
          sessionAffinity: 'ClientIP',
          loadBalancerSourceRanges: [' 10.0.0.0/8 '],
          healthCheckNodePort: 30_555,
          externalTrafficPolicy: 'Local',
          internalTrafficPolicy: 'Cluster',
          externalIPs: ['1.2.3.4'],
        },
        {
          loadBalancer: {
            ingress: [{ ip: '5.6.7.8' }, { ip: '9.9.9.9', ipMode: 'Proxy' }, { hostname: 'lb' }],
          },
        },
      ),
      [],
    );
    expect(shared).toMatchObject({
      sessionAffinitySeconds: 10_800,
      externalTrafficPolicy: 'Local',
      internalTrafficPolicy: 'Cluster',
      externalIPs: ['1.2.3.4'],
      balancerIPs: ['5.6.7.8'],
      sourceRanges: ['10.0.0.0/8'],
      healthCheckNodePort: 30_555,
    });
    if (shared)
      expect(parseMessage('SharedService', encodeMessage('SharedService', shared) ?? '').ok).toBe(true);
  });
});

it('carries the hints of endpoints', () => {
  const hinted = slice(
    [
      {
        addresses: ['10.42.0.9'],
        nodeName: 'one',
        hints: { forZones: [{ name: 'cellar' }], forNodes: [{ name: 'one' }] },
      },
    ],
    [{ name: 'http', port: 8080 }],
  );
  expect(sharedService(service(spec), [hinted])?.ports[0]?.endpoints).toEqual([
    { ip: '10.42.0.9', port: 8080, node: 'one', zones: ['cellar'], nodes: ['one'] },
  ]);
});

describe('sharedNode', () => {
  it('waits for the address and the pod range', () => {
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } };
    const status = {
      addresses: [
        { type: 'Hostname', address: 'a' },
        { type: 'InternalIP', address: '10.0.0.1' },
      ],
    };
    expect(sharedNode(node)).toBeUndefined();
    expect(sharedNode({ ...node, status })).toBeUndefined();
    const labels = { 'topology.kubernetes.io/zone': 'cellar' };
    expect(
      sharedNode({ ...node, metadata: { name: 'a', labels }, spec: { podCIDR: '10.42.0.0/24' }, status }),
    ).toMatchObject({ zone: 'cellar' });
    expect(sharedNode({ ...node, spec: { podCIDR: '10.42.0.0/24' }, status })).toEqual({
      v: 1,
      name: 'a',
      internalIP: '10.0.0.1',
      podCIDR: '10.42.0.0/24',
    });
  });

  it('says that a node is leaving: deleted, or about to be by an autoscaler', () => {
    const status = { addresses: [{ type: 'InternalIP', address: '10.0.0.1' }] };
    const spec = { podCIDR: '10.42.0.0/24' };
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' }, spec, status };
    const deletionTimestamp = '2026-01-01T00:00:00Z';
    expect(sharedNode({ ...node, metadata: { name: 'a', deletionTimestamp } })?.leaving).toBe(true);
    const tainted = (key: string) => ({
      ...node,
      spec: { ...spec, taints: [{ key, effect: 'NoSchedule' as const }] },
    });
    expect(sharedNode(tainted('ToBeDeletedByClusterAutoscaler'))?.leaving).toBe(true);
    expect(sharedNode(tainted('node.kubernetes.io/unschedulable'))?.leaving).toBeUndefined();
  });
});

describe('dnsRules', () => {
  const config = (data: Record<string, string>) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'kube-dns', namespace: 'kube-system' },
    data,
  });

  it('reads the settings of kube-dns', () => {
    const rules = dnsRules(
      config({ stubDomains: '{"corp.example": ["10.0.0.1:5353"]}', upstreamNameservers: '["1.1.1.1"]' }),
      (problem) => expect.fail(problem),
    );
    expect(rules).toEqual({
      stubDomains: { 'corp.example': ['10.0.0.1:5353'] },
      upstreamNameservers: ['1.1.1.1'],
    });
    expect(dnsRules(undefined, (problem) => expect.fail(problem))).toEqual({});
  });

  it.each(['{', '["ns.example.com"]', '{"a": "1.1.1.1"}'])('reports and leaves out %s', (text) => {
    const problems: string[] = [];
    const rules = dnsRules(config({ stubDomains: text, upstreamNameservers: text }), (problem) =>
      problems.push(problem),
    );
    expect(rules).toEqual({});
    expect(problems).toHaveLength(2);
  });
});
