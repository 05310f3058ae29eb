// What may not change about services, storage and the other kinds of the core: each row makes one, changes it, and
// reads the refusal.
import { afterAll, beforeAll, test } from 'vitest';
import { UpdateProbe, type UpdateRow } from '../../support/update-probe.ts';

let updates: UpdateProbe;
beforeAll(async () => {
  updates = await UpdateProbe.start();
});
afterAll(() => updates.stop());

const zone = (value: string): object => ({
  matchExpressions: [{ key: 'zone', operator: 'In', values: [value] }],
});
const service = (rest: object = {}): object => ({ spec: { ports: [{ port: 80 }], ...rest } });
const claim = (rest: object = {}): object => ({
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '10Gi' } }, ...rest },
});
const size = (storage: string): object => ({ spec: { resources: { requests: { storage } } } });
const BOUND = { phase: 'Bound', capacity: { storage: '8Gi' } };
const CLAIM_FIXED =
  'spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n…';
const volume = (rest: object = {}): object => ({
  spec: {
    capacity: { storage: '1Gi' },
    accessModes: ['ReadWriteOnce'],
    hostPath: { path: '/data' },
    ...rest,
  },
});
const ZONE_A = { required: { nodeSelectorTerms: [zone('a')] } };

const CORE: UpdateRow[] = [
  {
    what: 'the address of a Service',
    kind: 'v1/services',
    base: service(),
    change: { spec: { clusterIP: '10.0.200.201' } },
    refused: ['spec.clusterIPs[0]: Invalid value: ["10.0.200.201"]: may not change once set'],
  },
  {
    what: 'a headless Service that shall have an address',
    kind: 'v1/services',
    base: service({ clusterIP: 'None', selector: { a: 'b' } }),
    change: { spec: { clusterIP: '10.0.200.202' } },
    refused: ['spec.clusterIPs[0]: Invalid value: ["10.0.200.202"]: may not change once set'],
  },
  {
    what: 'the type of a Service',
    kind: 'v1/services',
    base: service(),
    change: { spec: { type: 'ExternalName', externalName: 'example.com', ports: null } },
    refused: [],
    shows: { spec: { type: 'ExternalName' } },
  },
  {
    what: 'the class of a load balancer',
    kind: 'v1/services',
    base: service({ type: 'LoadBalancer', loadBalancerClass: 'example.com/a' }),
    change: { spec: { loadBalancerClass: 'example.com/b' } },
    refused: ['spec.loadBalancerClass: Invalid value: "example.com/b": may not change once set'],
  },
  {
    what: 'the size of a claim that is not bound',
    kind: 'v1/persistentvolumeclaims',
    base: claim(),
    change: size('20Gi'),
    refused: [CLAIM_FIXED],
  },
  {
    what: 'the size of a bound claim, upwards',
    kind: 'v1/persistentvolumeclaims',
    base: claim(),
    status: BOUND,
    change: size('20Gi'),
    refused: [],
  },
  {
    what: 'the size of a bound claim, down to what it has',
    kind: 'v1/persistentvolumeclaims',
    base: claim(),
    status: BOUND,
    change: size('8Gi'),
    refused: ['spec.resources.requests.storage: Forbidden: field can not be less than status.capacity'],
  },
  {
    what: 'access modes and volume mode of a bound claim',
    kind: 'v1/persistentvolumeclaims',
    base: claim(),
    status: BOUND,
    change: { spec: { accessModes: ['ReadWriteMany'], volumeMode: 'Block' } },
    refused: [CLAIM_FIXED, 'volumeMode: Invalid value: "Block": field is immutable'],
  },
  {
    what: 'the class of a claim that has one',
    kind: 'v1/persistentvolumeclaims',
    base: claim({ storageClassName: 'a' }),
    change: { spec: { storageClassName: 'b' } },
    refused: [CLAIM_FIXED],
  },
  {
    what: 'the class of a claim that has none',
    kind: 'v1/persistentvolumeclaims',
    base: claim(),
    change: { spec: { storageClassName: 'b' } },
    refused: [],
  },
  {
    what: 'attributes that a volume has got, taken away',
    kind: 'v1/persistentvolumeclaims',
    base: claim({ volumeAttributesClassName: 'fast' }),
    status: { ...BOUND, currentVolumeAttributesClassName: 'fast' },
    change: { spec: { volumeAttributesClassName: null } },
    refused: [
      'spec.volumeAttributesClassName: Forbidden: update to nil is forbidden when status.currentVolumeAttributesClassName is not nil',
    ],
  },
  {
    what: 'the source and mode of a volume',
    kind: '/v1/persistentvolumes',
    base: volume(),
    change: { spec: { hostPath: { path: '/other' }, volumeMode: 'Block' } },
    refused: [
      'spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n…',
      'volumeMode: Invalid value: "Block": field is immutable',
    ],
  },
  {
    what: 'the nodes of a volume, first set',
    kind: '/v1/persistentvolumes',
    base: volume(),
    change: { spec: { nodeAffinity: ZONE_A } },
    refused: [],
  },
  {
    what: 'the nodes of a volume, taken away',
    kind: '/v1/persistentvolumes',
    base: volume({ nodeAffinity: ZONE_A }),
    change: { spec: { nodeAffinity: null } },
    refused: ['nodeAffinity: Invalid value: "null": field is immutable'],
  },
  {
    what: 'the type of a Secret',
    kind: 'v1/secrets',
    base: { type: 'a' },
    change: { type: 'b' },
    refused: ['type: Invalid value: "b": field is immutable'],
  },
  {
    what: 'what an immutable Secret holds',
    kind: 'v1/secrets',
    base: { immutable: true, data: { a: 'YQ==' } },
    change: { immutable: null, data: { a: 'Yg==' } },
    refused: [
      'immutable: Forbidden: field is immutable when `immutable` is set',
      'data: Forbidden: field is immutable when `immutable` is set',
    ],
  },
  {
    what: 'what an immutable ConfigMap holds',
    kind: 'v1/configmaps',
    base: { immutable: true, data: { a: 'a' } },
    change: { data: { a: 'b' }, binaryData: { b: 'Yg==' } },
    refused: [
      'data: Forbidden: field is immutable when `immutable` is set',
      'binaryData: Forbidden: field is immutable when `immutable` is set',
    ],
  },
  {
    what: 'the secrets of an account, of which the names are kept',
    kind: 'v1/serviceaccounts',
    base: {},
    change: { secrets: [{ name: 's', kind: 'Secret', namespace: 'other' }] },
    refused: [],
    shows: { secrets: [{ name: 's' }] },
  },
  {
    what: 'the scopes of a quota',
    kind: 'v1/resourcequotas',
    base: { spec: { hard: { pods: '1' }, scopes: ['Terminating'] } },
    change: { spec: { scopes: null } },
    refused: ['spec.scopes: Invalid value: null: field is immutable'],
  },
  {
    what: 'ranges and provider of a node',
    kind: '/v1/nodes',
    base: { spec: { podCIDR: '10.1.0.0/24', providerID: 'a://b' } },
    change: { spec: { podCIDR: '10.2.0.0/24', podCIDRs: ['10.2.0.0/24'], providerID: 'a://c' } },
    refused: [
      'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
      'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    ],
  },
  {
    what: 'a range first given to a node, and a kubelet configuration that is no more',
    kind: '/v1/nodes',
    base: {},
    change: { spec: { podCIDRs: ['10.2.0.0/24'], configSource: { configMap: { name: 'n' } } } },
    refused: [],
    shows: { spec: { podCIDR: '10.2.0.0/24', podCIDRs: ['10.2.0.0/24'] } },
  },
  {
    what: 'an address told twice',
    kind: '/v1/nodes',
    base: {},
    change: {
      status: {
        addresses: [
          { type: 'InternalIP', address: '10.0.0.1' },
          { type: 'InternalIP', address: '10.0.0.1' },
        ],
      },
    },
    subresource: 'status',
    refused: ['status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"10.0.0.1"}'],
  },
  {
    what: 'the finalizers in the spec of a namespace, which stay',
    kind: '/v1/namespaces',
    base: {},
    change: { spec: { finalizers: [] } },
    refused: [],
    shows: { spec: { finalizers: ['kubernetes'] } },
  },
  {
    what: 'the phase of a namespace that lives',
    kind: '/v1/namespaces',
    base: {},
    change: { status: { phase: 'Terminating' } },
    subresource: 'status',
    refused: [
      'status.Phase: Invalid value: "Terminating": may only be \'Active\' if `deletionTimestamp` is empty',
    ],
  },
];

test.each(CORE)('$what', (row) => updates.check(row));
