import { describe, expect, it } from 'vitest';
import type { Namespace, Pod } from '../../../src/api/types/core-v1.ts';
import type { NetworkPolicy } from '../../../src/api/types/networking-v1.ts';
import { policyRelevant, sharedPolicy } from '../../../src/server/bus/shared-policies.ts';
import { encodeMessage, parseMessage } from '../../../src/wire/validate.ts';

const namespace = (name: string, labels: Record<string, string> = {}): Namespace => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels: { 'kubernetes.io/metadata.name': name, ...labels } },
});
const pod = (of: string, app: string, ip: string, fields: { spec?: object; phase?: string } = {}): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `${app}-${ip}`, namespace: of, labels: { app } },
    spec: {
      nodeName: 'one',
      containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 }, { containerPort: 1 }] }],
      ...fields.spec,
    },
    status: { podIP: ip, phase: fields.phase ?? 'Running' },
  }) as unknown as Pod;

const pods = [
  pod('shop', 'front', '10.42.0.2'),
  pod('shop', 'db', '10.42.0.3'),
  pod('shop', 'front', '10.42.0.4', { phase: 'Succeeded' }),
  pod('shop', 'front', '192.168.1.1', { spec: { hostNetwork: true } }),
  pod('shop', 'front', ''),
  pod('ops', 'front', '10.42.0.5'),
];
const world = {
  namespaces: [namespace('shop'), namespace('ops', { team: 'ops' })],
  podsOf: (name: string) => pods.filter(({ metadata }) => metadata.namespace === name),
};
const policy = (spec: NetworkPolicy['spec']): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  ...(spec ? { spec } : {}),
});
const ipsOf = (from: object): string[] => {
  const { ingress } = sharedPolicy(policy({ policyTypes: ['Ingress'], ingress: [{ from: [from] }] }), world);
  const peer = ingress?.[0]?.peers?.[0];
  return peer && 'pods' in peer ? peer.pods.map(({ ip }) => ip) : [];
};

describe('sharedPolicy', () => {
  it('looks up peers: pods with an address of their own that have not ended', () => {
    expect(ipsOf({ podSelector: { matchLabels: { app: 'front' } } })).toEqual(['10.42.0.2']);
    expect(ipsOf({ podSelector: {} })).toEqual(['10.42.0.2', '10.42.0.3']);
    expect(ipsOf({ namespaceSelector: { matchLabels: { team: 'ops' } } })).toEqual(['10.42.0.5']);
    expect(ipsOf({ namespaceSelector: {}, podSelector: { matchLabels: { app: 'front' } } })).toEqual([
      '10.42.0.2',
      '10.42.0.5',
    ]);
    expect(ipsOf({ namespaceSelector: { matchLabels: { team: 'none' } } })).toEqual([]);
  });

  it('tells directions apart: not isolated, nothing allowed, everything allowed', () => {
    expect(sharedPolicy(policy({ podSelector: {}, policyTypes: ['Egress'] }), world)).toEqual({
      v: 1,
      namespace: 'shop',
      name: 'p',
      podSelector: {},
      egress: [],
    });
    const open = sharedPolicy(policy({ podSelector: {}, policyTypes: ['Ingress'], ingress: [{}] }), world);
    expect(open.ingress).toEqual([{}]);
    expect(open.egress).toBeUndefined();
    // Not defaulted by an API server.
    expect(sharedPolicy(policy({ podSelector: {}, egress: [{}] }), world)).toMatchObject({
      ingress: [],
      egress: [{}],
    });
  });

  it('gives the ports’ names along where a rule goes out by one, to every pod if it names no peers', () => {
    const { egress } = sharedPolicy(
      policy({ policyTypes: ['Egress'], egress: [{ ports: [{ port: 'http' }] }] }),
      world,
    );
    expect(egress?.[0]).toMatchObject({
      ports: [{ protocol: 'TCP', port: 'http' }],
      peers: [{ namespaces: ['ops', 'shop'] }],
    });
    const peer = egress?.[0]?.peers?.[0];
    expect(peer && 'pods' in peer && peer.pods[0]).toEqual({
      ip: '10.42.0.2',
      node: 'one',
      ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    });
  });

  it('is a message that receivers take', () => {
    const shared = sharedPolicy(
      policy({
        policyTypes: ['Ingress'],
        ingress: [
          { from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }, { podSelector: {} }] },
        ],
      }),
      world,
    );
    expect(parseMessage('SharedPolicy', encodeMessage('SharedPolicy', shared) ?? '')).toEqual({
      ok: true,
      message: shared,
    });
  });
});

it('looks again when an address, a label or the end of a pod changes, and at nothing else', () => {
  const one = pod('shop', 'front', '10.42.0.2');
  expect(policyRelevant(one, undefined)).toBe(true);
  expect(policyRelevant({ ...one, metadata: { ...one.metadata, resourceVersion: '9' } }, one)).toBe(false);
  expect(policyRelevant(pod('shop', 'front', '10.42.0.9'), one)).toBe(true);
  expect(policyRelevant(pod('shop', 'db', '10.42.0.2'), one)).toBe(true);
  expect(policyRelevant(pod('shop', 'front', '10.42.0.2', { phase: 'Failed' }), one)).toBe(true);
});
