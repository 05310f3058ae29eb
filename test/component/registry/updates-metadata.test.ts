// What may not change about objects of policy and of extension, and about the metadata of any.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signingRequest } from '../../support/signing-requests.ts';
import { collection, UpdateProbe, type UpdateRow } from '../../support/update-probe.ts';

let updates: UpdateProbe;
beforeAll(async () => {
  updates = await UpdateProbe.start();
});
afterAll(() => updates.stop());

const ROLE = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role' };
const RULE = { apiGroups: [''], resources: ['pods'], verbs: ['CREATE'], operations: ['CREATE'] };
const driver = (nodeID: string, count: number): object => ({
  spec: { drivers: [{ name: 'd.example.com', nodeID, allocatable: { count } }] },
});
const flow = (precedence: number): object => ({
  spec: { matchingPrecedence: precedence, priorityLevelConfiguration: { name: 'exempt' } },
});
const POLICY = {
  spec: {
    matchConstraints: { resourceRules: [{ ...RULE, apiVersions: ['v1'], verbs: undefined }] },
    validations: [{ expression: 'true' }],
  },
};
const DEFINITIONS = '/apiextensions.k8s.io/v1/customresourcedefinitions';
const SCHEMA = { openAPIV3Schema: { type: 'object' } };
const version = (name: string, storage: boolean): object => ({ name, served: true, storage, schema: SCHEMA });
const definition = (plural: string): object => ({
  metadata: { name: `${plural}.example.com` },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural, singular: plural.slice(0, -1), kind: plural.toUpperCase(), listKind: `${plural}List` },
    versions: [version('v1', true)],
  },
});

const KINDS: UpdateRow[] = [
  {
    what: 'parameters, provisioner and modes of a storage class',
    kind: '/storage.k8s.io/v1/storageclasses',
    base: { provisioner: 'example.com/p', parameters: { a: 'b' } },
    change: {
      provisioner: 'example.com/q',
      parameters: { a: 'c' },
      reclaimPolicy: 'Retain',
      volumeBindingMode: 'WaitForFirstConsumer',
    },
    refused: [
      'parameters: Forbidden: updates to parameters are forbidden.',
      'provisioner: Forbidden: updates to provisioner are forbidden.',
      'reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.',
      'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable',
    ],
  },
  {
    what: 'whether a storage class lets volumes grow',
    kind: '/storage.k8s.io/v1/storageclasses',
    base: { provisioner: 'example.com/p' },
    change: { allowVolumeExpansion: true, mountOptions: ['ro'] },
    refused: [],
  },
  {
    what: 'attaching and life cycle of a CSI driver',
    kind: '/storage.k8s.io/v1/csidrivers',
    base: { spec: { attachRequired: true } },
    change: { spec: { attachRequired: false, volumeLifecycleModes: ['Ephemeral'] } },
    refused: [
      'spec.attachedRequired: Invalid value: false: field is immutable',
      'spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable',
    ],
  },
  {
    what: 'the node of a CSI driver',
    kind: '/storage.k8s.io/v1/csinodes',
    base: driver('a', 1),
    change: driver('b', 1),
    refused: [
      'CSINodeDriver: Invalid value: {"Name":"d.example.com","NodeID":"b","TopologyKeys":null,"Allocatable":{"Count":1}}: field is immutable',
    ],
  },
  {
    what: 'how many volumes of a CSI driver fit',
    kind: '/storage.k8s.io/v1/csinodes',
    base: driver('a', 1),
    change: driver('a', 2),
    refused: [],
  },
  {
    what: 'what a volume attachment attaches',
    kind: '/storage.k8s.io/v1/volumeattachments',
    base: { spec: { attacher: 'a.example.com', nodeName: 'n', source: { persistentVolumeName: 'v' } } },
    change: { spec: { nodeName: 'm' } },
    refused: ['spec: Invalid value: …'],
  },
  {
    what: 'parameters of a volume attributes class',
    kind: '/storage.k8s.io/v1/volumeattributesclasses',
    base: { driverName: 'a.example.com', parameters: { a: 'b' } },
    change: { driverName: 'b.example.com', parameters: { a: 'c' } },
    refused: [
      'driverName: Forbidden: updates to driverName are forbidden.',
      'parameters: Forbidden: updates to parameters are forbidden.',
    ],
  },
  {
    what: 'the controller of an ingress class',
    kind: '/networking.k8s.io/v1/ingressclasses',
    base: { spec: { controller: 'example.com/a' } },
    change: { spec: { controller: 'example.com/b' } },
    refused: ['spec.controller: Invalid value: "example.com/b": field is immutable'],
  },
  {
    what: 'any part of a network policy',
    kind: 'networking.k8s.io/v1/networkpolicies',
    base: { spec: { podSelector: {} } },
    change: { spec: { podSelector: { matchLabels: { a: 'b' } } } },
    refused: [],
    shows: { metadata: { generation: 2 } },
  },
  {
    what: 'the handler of a runtime class',
    kind: '/node.k8s.io/v1/runtimeclasses',
    base: { handler: 'a' },
    change: { handler: 'b' },
    refused: ['handler: Invalid value: "b": field is immutable'],
  },
  {
    what: 'value and preemption of a priority class',
    kind: '/scheduling.k8s.io/v1/priorityclasses',
    base: { value: 1 },
    change: { value: 2, preemptionPolicy: 'Never' },
    refused: [
      'value: Forbidden: may not be changed in an update.',
      'preemptionPolicy: Invalid value: "Never": field is immutable',
    ],
  },
  {
    what: 'the role of a binding',
    kind: 'rbac.authorization.k8s.io/v1/rolebindings',
    base: { roleRef: { ...ROLE, name: 'a' } },
    change: { roleRef: { name: 'b' } },
    refused: [
      'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef',
    ],
  },
  {
    what: 'the addresses of an EndpointSlice',
    kind: 'discovery.k8s.io/v1/endpointslices',
    base: { addressType: 'IPv4', endpoints: [] },
    change: { addressType: 'IPv6' },
    refused: ['addressType: Invalid value: "IPv6": field is immutable'],
  },
  {
    what: 'the selector of a disruption budget, which may change',
    kind: 'policy/v1/poddisruptionbudgets',
    base: { spec: { minAvailable: 1, selector: { matchLabels: { a: 'b' } } } },
    change: { spec: { selector: { matchLabels: { a: 'c' } } } },
    refused: [],
    shows: { metadata: { generation: 2 } },
  },
  {
    what: 'the ranges of a ServiceCIDR',
    kind: '/networking.k8s.io/v1/servicecidrs',
    base: { spec: { cidrs: ['10.90.0.0/24'] } },
    change: { spec: { cidrs: ['10.91.0.0/24'] } },
    refused: ['spec.cidrs[0]: Invalid value: "10.91.0.0/24": field is immutable'],
  },
  {
    what: 'group and plural of a definition',
    kind: DEFINITIONS,
    base: definition('aas'),
    change: { spec: { group: 'other.com' } },
    refused: [
      'metadata.name: Invalid value: "aas.example.com": must be spec.names.plural+"."+spec.group',
      'spec.group: Invalid value: "other.com": field is immutable',
    ],
  },
  {
    what: 'the version in which objects are stored, taken from a definition',
    kind: DEFINITIONS,
    base: definition('bbs'),
    change: { spec: { versions: [version('v2', true)] } },
    refused: [
      'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions',
    ],
  },
  {
    what: 'the stored versions, all taken off the list',
    kind: DEFINITIONS,
    base: definition('ccs'),
    change: { status: { storedVersions: [] } },
    subresource: 'status',
    refused: ['status.storedVersions: Invalid value: []: must have at least one stored version'],
  },
];

const MAP = 'v1/configmaps';

describe('kinds', () => {
  test.each(KINDS)('$what', (row) => updates.check(row));

  test('the flows of the system are as they are', async () => {
    const path = `${collection('/flowcontrol.apiserver.k8s.io/v1/flowschemas')}/exempt`;
    const answer = await updates.merge(path, flow(7));
    expect(answer.body.message).toContain("spec of 'exempt' must equal the fixed value");
  });

  test('a certificate is not approved by its status', async () => {
    const kind = '/certificates.k8s.io/v1/certificatesigningrequests';
    const path = await updates.make(kind, {
      spec: {
        request: signingRequest({ commonName: 'a' }).request,
        signerName: 'example.com/s',
        usages: ['client auth'],
      },
    });
    const approved = [{ type: 'Approved', status: 'True', reason: 'a', message: 'b' }];
    const answer = await updates.merge(`${path}/status`, { status: { conditions: approved } });
    expect(answer.body.details.causes[0].message).toBe(
      'Forbidden: updates may not add a condition of type "Approved"',
    );
    expect((await updates.merge(path, { spec: { signerName: 'example.com/t' } })).body.spec.signerName).toBe(
      'example.com/s',
    );
    expect((await updates.merge(`${path}/approval`, { status: { conditions: approved } })).status).toBe(200);
    const lost = await updates.merge(`${path}/approval`, { status: { conditions: null } });
    expect(lost.body.details.causes[0].message).toBe(
      'Forbidden: updates may not remove a condition of type "Approved"',
    );
    const issued = { status: { certificate: Buffer.from('a').toString('base64') } };
    expect((await updates.merge(`${path}/status`, issued)).status).toBe(200);
    const other = { status: { certificate: Buffer.from('b').toString('base64') } };
    expect((await updates.merge(`${path}/status`, other)).body.details.causes[0]).toMatchObject({
      field: 'status.certificate',
      message: 'Forbidden: updates may not modify existing certificate content',
    });
  });
});

describe('metadata', () => {
  test('times of deletion are not for clients to set', async () => {
    const path = await updates.make(MAP, {});
    const answer = await updates.merge(path, {
      metadata: { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 5 },
    });
    expect(answer.body.details.causes.map(({ message, field }: never) => `${field}: ${message}`)).toEqual([
      'metadata.deletionTimestamp: Invalid value: "2026-01-01T00:00:00Z": field is immutable',
      'metadata.deletionGracePeriodSeconds: Invalid value: 5: field is immutable',
    ]);
  });

  test('what the server owns is not changed by who sends something else', async () => {
    const path = await updates.make(MAP, { metadata: { generateName: 'g-', name: '' } });
    const { body } = await updates.client.get(path);
    const changed = await updates.put(path, {
      metadata: {
        name: body.metadata.name,
        creationTimestamp: '2001-01-01T00:00:00Z',
        generation: 9,
        selfLink: '/x',
      },
    });
    expect(changed.status).toBe(200);
    expect(changed.body.metadata).toEqual({
      ...body.metadata,
      // The name was made from it once; who replaces the object need not keep it.
      generateName: undefined,
      managedFields: changed.body.metadata.managedFields,
      resourceVersion: changed.body.metadata.resourceVersion,
    });
  });

  test('a uid says which object is meant, there or gone', async () => {
    const path = await updates.make(MAP, {});
    const name = path.split('/').at(-1);
    expect((await updates.merge(path, { metadata: { uid: 'other' } })).body.details.causes[0]).toMatchObject({
      field: 'metadata.uid',
      message: 'Invalid value: "other": field is immutable',
    });
    const taken = await updates.put(path, { metadata: { name, uid: 'other' } });
    expect([taken.status, taken.body.reason]).toEqual([409, 'Conflict']);
    await updates.client.delete(path);
    const gone = await updates.put(path, { metadata: { name, uid: 'other' } });
    expect([gone.status, gone.body.reason]).toEqual([409, 'Conflict']);
    expect(gone.body.message).toBe(
      `Operation cannot be fulfilled on configmaps "${name}": StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/${name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object meta: `,
    );
    expect((await updates.put(path, { metadata: { name } })).status).toBe(404);
  });

  test('a body is of the namespace of its request', async () => {
    const path = await updates.make(MAP, {});
    const name = path.split('/').at(-1);
    const answer = await updates.put(path, { metadata: { name, namespace: 'other' } });
    expect([answer.status, answer.body.message]).toEqual([
      400,
      'the namespace of the object (other) does not match the namespace on the request (default)',
    ]);
  });

  test('a version that is old loses, none and zero mean whatever it is', async () => {
    const path = await updates.make(MAP, { data: { a: '1' } });
    const name = path.split('/').at(-1);
    const { body } = await updates.client.get(path);
    await updates.merge(path, { data: { a: '2' } });
    const late = await updates.put(path, body);
    expect([late.status, late.body.reason]).toEqual([409, 'Conflict']);
    for (const resourceVersion of [undefined, '', '0']) {
      expect((await updates.put(path, { metadata: { name, resourceVersion } })).status).toBe(200);
    }
    expect((await updates.merge(path, { metadata: { resourceVersion: '0' }, data: { b: '1' } })).status).toBe(
      200,
    );
  });

  const LOCKED: [kind: string, base: object][] = [
    ['/admissionregistration.k8s.io/v1/validatingadmissionpolicies', POLICY],
    ['/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', {}],
    ['/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', {}],
    [DEFINITIONS, definition('dds')],
    ['coordination.k8s.io/v1/leases', {}],
    ['/node.k8s.io/v1/runtimeclasses', { handler: 'h' }],
    ['policy/v1/poddisruptionbudgets', { spec: { minAvailable: 1 } }],
    ['/storage.k8s.io/v1/csidrivers', { spec: {} }],
    ['/storage.k8s.io/v1/csinodes', { spec: { drivers: [] } }],
    ['storage.k8s.io/v1/csistoragecapacities', { storageClassName: 's' }],
  ];
  test.each(LOCKED)('%s are replaced by who knows their version', async (kind, base) => {
    const path = await updates.make(kind, base);
    const { body } = await updates.client.get(path);
    for (const resourceVersion of [undefined, '0']) {
      const answer = await updates.put(path, { ...body, metadata: { ...body.metadata, resourceVersion } });
      expect(answer.body.details.causes).toEqual([
        {
          reason: 'FieldValueInvalid',
          field: 'metadata.resourceVersion',
          message: 'Invalid value: 0: must be specified for an update',
        },
      ]);
      expect(answer.body.code).toBe(422);
    }
    // Definitions are written to by the server as well, just after they are made.
    if (kind !== DEFINITIONS) expect((await updates.put(path, body)).status).toBe(200);
  });

  const CREATED: [kind: string, body: object, status: number][] = [
    ['coordination.k8s.io/v1/leases', {}, 201],
    ['v1/endpoints', {}, 201],
    ['v1/limitranges', {}, 201],
    ['v1/podtemplates', { template: { spec: { containers: [{ name: 'c', image: 'i' }] } } }, 201],
    ['v1/services', { spec: { ports: [{ port: 80 }] } }, 201],
    ['rbac.authorization.k8s.io/v1/roles', {}, 201],
    ['rbac.authorization.k8s.io/v1/rolebindings', { roleRef: { ...ROLE, name: 'a' } }, 201],
    ['/rbac.authorization.k8s.io/v1/clusterroles', {}, 201],
    ['v1/configmaps', {}, 404],
    ['v1/secrets', {}, 404],
    ['v1/pods', { spec: { containers: [{ name: 'c', image: 'i' }] } }, 404],
    ['apps/v1/deployments', {}, 404],
    ['discovery.k8s.io/v1/endpointslices', { addressType: 'IPv4' }, 404],
    ['/v1/namespaces', {}, 404],
  ];
  test.each(CREATED)('PUT of %s that are not there', async (kind, body, status) => {
    // Where it creates, the version of something else does not matter.
    const made = await updates.put(`${collection(kind)}/by-put`, {
      metadata: { name: 'by-put', resourceVersion: '7' },
      ...body,
    });
    expect(made.status, made.text).toBe(status);
  });

  test('an object that goes takes no new finalizers, and loses those it has', async () => {
    const path = await updates.make(MAP, { metadata: { finalizers: ['example.com/a', 'example.com/b'] } });
    await updates.client.delete(path);
    const added = await updates.merge(path, { metadata: { finalizers: ['example.com/a', 'example.com/c'] } });
    expect(added.body.details.causes).toEqual([
      {
        reason: 'FieldValueForbidden',
        field: 'metadata.finalizers',
        message:
          'Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/c"}',
      },
    ]);
    expect((await updates.merge(path, { metadata: { finalizers: ['example.com/b'] } })).status).toBe(200);
    expect((await updates.merge(path, { metadata: { deletionTimestamp: null } })).status).toBe(200);
    expect((await updates.client.get(path)).body.metadata.deletionTimestamp).toBeDefined();
    expect((await updates.merge(path, { metadata: { finalizers: null } })).status).toBe(200);
    expect((await updates.client.get(path)).status).toBe(404);
  });
});

describe('subresources', () => {
  const LABELS = { metadata: { labels: { a: 'b' }, annotations: { c: 'd' } } };
  const WRITTEN: [kind: string, base: object, kept: object][] = [
    ['v1/pods', { spec: { containers: [{ name: 'c', image: 'i' }] } }, LABELS.metadata],
    ['/v1/namespaces', {}, LABELS.metadata],
    ['v1/services', { spec: { ports: [{ port: 80 }] } }, LABELS.metadata],
    [
      'networking.k8s.io/v1/ingresses',
      { spec: { defaultBackend: { service: { name: 's', port: { number: 1 } } } } },
      LABELS.metadata,
    ],
  ];
  test.each(WRITTEN)('the status of %s takes labels and annotations along', async (kind, base, kept) => {
    const path = await updates.make(kind, base);
    const answer = await updates.merge(`${path}/status`, LABELS);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body.metadata).toMatchObject(kept);
  });

  test('the labels of a deployment are not written with its status, annotations are', async () => {
    const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const path = await updates.make('apps/v1/deployments', {
      spec: { selector: { matchLabels: { a: 'b' } }, template },
    });
    const { body } = await updates.merge(`${path}/status`, LABELS);
    expect(body.metadata.labels).toBeUndefined();
    expect(body.metadata.annotations).toMatchObject({ c: 'd' });
    expect(body.metadata.generation).toBe(1);
  });

  const APART: [kind: string, base: object][] = [
    ['/flowcontrol.apiserver.k8s.io/v1/flowschemas', flow(9)],
    [
      '/storage.k8s.io/v1/volumeattachments',
      { spec: { attacher: 'a.example.com', nodeName: 'n', source: { persistentVolumeName: 'v' } } },
    ],
    ['/admissionregistration.k8s.io/v1/validatingadmissionpolicies', POLICY],
    ['/networking.k8s.io/v1/servicecidrs', { spec: { cidrs: ['10.92.0.0/24'] } }],
    ['resource.k8s.io/v1/resourceclaims', { spec: {} }],
  ];
  test.each(APART)('the status of %s leaves metadata alone', async (kind, base) => {
    const path = await updates.make(kind, base);
    const { body } = await updates.client.get(path);
    const answer = await updates.merge(`${path}/status`, LABELS);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body.metadata.labels).toBeUndefined();
    expect(answer.body.metadata.annotations).toEqual(body.metadata.annotations);
  });

  test('a status write ignores the spec, a spec write the status', async () => {
    const path = await updates.make('v1/services', { spec: { type: 'LoadBalancer', ports: [{ port: 80 }] } });
    const status = { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } };
    const first = await updates.merge(`${path}/status`, { spec: { type: 'NodePort' }, status });
    expect(first.body.spec.type).toBe('LoadBalancer');
    const second = await updates.merge(path, {
      status: { loadBalancer: null },
      spec: { selector: { a: 'b' } },
    });
    expect(second.body.status).toMatchObject(status);
  });

  test('finalize writes the finalizers of a namespace and its metadata', async () => {
    const path = await updates.make('/v1/namespaces', {});
    const { body } = await updates.client.get(path);
    const wrong = await updates.put(`${path}/finalize`, { ...body, spec: { finalizers: ['odd'] } });
    expect(wrong.body.details.causes[0]).toMatchObject({
      field: 'spec.finalizers[0]',
      message: 'Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified',
    });
    const done = await updates.put(`${path}/finalize`, {
      metadata: { name: body.metadata.name, labels: { a: 'b' } },
      spec: { finalizers: ['kubernetes', 'example.com/f'] },
    });
    expect(done.status, done.text).toBe(200);
    expect(done.body.spec.finalizers).toEqual(['kubernetes', 'example.com/f']);
    expect(done.body.metadata.labels).toEqual({
      a: 'b',
      'kubernetes.io/metadata.name': body.metadata.name,
    });
  });

  test('only the spec counts as a new generation', async () => {
    const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
    const path = await updates.make('apps/v1/statefulsets', {
      spec: { serviceName: 's', selector: { matchLabels: { a: 'b' } }, template },
    });
    const generation = async (sub: string, body: object): Promise<number> =>
      (await updates.merge(`${path}${sub}`, body)).body.metadata.generation;
    expect(await generation('', LABELS)).toBe(1);
    expect(await generation('/status', { status: { observedGeneration: 1 } })).toBe(1);
    expect(await generation('', { spec: { replicas: 2 } })).toBe(2);
    await updates.merge(`${path}/scale`, { spec: { replicas: 3 } });
    expect((await updates.client.get(path)).body.metadata.generation).toBe(3);
  });
});
