import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NodeRestriction } from '../../../src/server/identity/node-restriction.ts';
import { AdmissionServer } from '../../support/admission-server.ts';

let server: AdmissionServer;
beforeEach(async () => {
  server = await AdmissionServer.start({
    enabled: ['PodTolerationRestriction'],
    before: (store) => [new NodeRestriction(store)],
  });
});
afterEach(() => server.stop());

const pod = (name: string, spec: object = {}, metadata: object = {}) => ({
  metadata: { name, ...metadata },
  spec: { containers: [{ name: 'c', image: 'busybox' }], ...spec },
});
const create = (body: object, namespace = 'default') => server.create('v1', 'Pod', namespace, body);

describe('ServiceAccount', () => {
  test('an account may limit the secrets that its pods use', async () => {
    await server.create('v1', 'ServiceAccount', 'default', {
      metadata: { name: 'tight', annotations: { 'kubernetes.io/enforce-mountable-secrets': 'true' } },
      secrets: [{ name: 'mine' }],
    });
    const using = (secretName: string) =>
      pod('a', { serviceAccountName: 'tight', volumes: [{ name: 'v', secret: { secretName } }] });
    expect(await server.refusal(create(using('other')))).toBe(
      'pods "a" is forbidden: volume with secret.secretName="other" is not allowed because service account tight does not reference that secret',
    );
    const container = {
      name: 'c',
      image: 'busybox',
      env: [{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'other', key: 'k' } } }],
    };
    expect(
      await server.refusal(create(pod('a', { serviceAccountName: 'tight', containers: [container] }))),
    ).toContain('container c with envVar KEY referencing secret.secretName="other" is not allowed');
    const pulling = pod('a', { serviceAccountName: 'tight', imagePullSecrets: [{ name: 'reg' }] });
    expect(await server.refusal(create(pulling))).toContain(
      'imagePullSecrets[0].name="reg" is not allowed because service account tight does not reference that imagePullSecret',
    );
    await create(using('mine'));
  });
});

describe('PodTolerationRestriction', () => {
  const OWN = { key: 'dedicated', operator: 'Equal', value: 'a', effect: 'NoSchedule' };
  const annotated = (key: string, tolerations: object[]) => ({
    annotations: { [`scheduler.alpha.kubernetes.io/${key}`]: JSON.stringify(tolerations) },
  });

  test("pods get their namespace's tolerations", async () => {
    await server.namespace('given', annotated('defaultTolerations', [OWN]));
    const made = await create(pod('a'), 'given');
    expect(made.spec.tolerations).toContainEqual(OWN);
  });

  test('pods may not tolerate more than their namespace allows', async () => {
    await server.namespace(
      'held',
      annotated('tolerationsWhitelist', [
        OWN,
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists' },
        { key: 'node.kubernetes.io/unreachable', operator: 'Exists' },
      ]),
    );
    await create(pod('a', { tolerations: [OWN] }), 'held');
    expect(await server.refusal(create(pod('b', { tolerations: [{ operator: 'Exists' }] }), 'held'))).toBe(
      'pods "b" is forbidden: pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist',
    );
  });
});

describe('NodeRestriction', () => {
  const asNode = (name: string): void => {
    server.user = { name: `system:node:${name}`, groups: ['system:nodes'] };
  };

  test('a node labels itself only with what is its own', async () => {
    asNode('one');
    const node = (name: string, labels: object) =>
      server.create('v1', 'Node', undefined, { metadata: { name, labels } });
    expect(await server.refusal(node('two', {}))).toContain('is not allowed to modify node "two"');
    expect(await server.refusal(node('one', { 'node-restriction.kubernetes.io/x': 'y' }))).toContain(
      'node "one" is not allowed to set the following labels: node-restriction.kubernetes.io/x',
    );
    await node('one', { 'kubernetes.io/arch': 'arm64', color: 'green' });
    const change = (body: object) => server.patch('v1', 'Node', undefined, 'one', body);
    expect(
      await server.refusal(change({ metadata: { labels: { 'node-role.kubernetes.io/master': '' } } })),
    ).toContain('is not allowed to modify labels: node-role.kubernetes.io/master');
    expect(await server.refusal(change({ spec: { taints: [] } }))).toContain(
      'node "one" is not allowed to modify taints',
    );
  });

  test('a node makes mirror pods of its own only, and ends only what runs on it', async () => {
    await create(pod('free', { nodeName: 'two' }));
    asNode('one');
    expect(await server.refusal(create(pod('a', { nodeName: 'one' })))).toContain(
      'pod does not have "kubernetes.io/config.mirror" annotation, node "one" can only create mirror pods',
    );
    const mirror = { annotations: { 'kubernetes.io/config.mirror': 'x' } };
    expect(await server.refusal(create(pod('a', { nodeName: 'one' }, mirror)))).toContain(
      'node "one" can only create pods with an owner reference set to itself',
    );
    expect(await server.refusal(server.delete('v1', 'Pod', 'default', 'free'))).toContain(
      'node "one" can only delete pods with spec.nodeName set to itself',
    );
    expect(
      await server.refusal(
        server.patch('v1', 'Pod', 'default', 'free', { status: { phase: 'Failed' } }, 'status'),
      ),
    ).toContain('node "one" can only update pod status for pods with spec.nodeName set to itself');
  });

  test('a node gets tokens only for pods that run on it', async () => {
    const made = await create(pod('there', { nodeName: 'two' }));
    asNode('one');
    const token = (boundObjectRef?: object) =>
      server.create(
        'v1',
        'ServiceAccount',
        'default',
        { spec: { audiences: ['x'], ...(boundObjectRef ? { boundObjectRef } : {}) } },
        { subresource: 'token', name: 'default' },
      );
    expect(await server.refusal(token())).toBe(
      'serviceaccounts "default" is forbidden: node requested token not bound to a pod',
    );
    const bound = { apiVersion: 'v1', kind: 'Pod', name: 'there' };
    expect(await server.refusal(token(bound))).toContain('token with a pod binding without a uid');
    expect(await server.refusal(token({ ...bound, uid: made.metadata.uid }))).toContain(
      'node requested token bound to a pod scheduled on a different node',
    );
  });

  test('a node has the one lease of its name', async () => {
    await server.namespace('kube-node-lease');
    asNode('one');
    const lease = (namespace: string, name: string) =>
      server.create('coordination.k8s.io/v1', 'Lease', namespace, { metadata: { name } });
    expect(await server.refusal(lease('default', 'one'))).toContain(
      'can only access leases in the "kube-node-lease" system namespace',
    );
    expect(await server.refusal(lease('kube-node-lease', 'two'))).toContain(
      'same name as the requesting node',
    );
    await lease('kube-node-lease', 'one');
  });
});
