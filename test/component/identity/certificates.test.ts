import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JOIN_GROUP } from '../../../src/server/identity/bootstrap-tokens.ts';
import { JOIN_PATH, joinAuthorization } from '../../../src/wire/join.ts';
import { drive } from '../../golden/replay/drive.ts';
import { ReplayServer } from '../../golden/replay/replay-server.ts';
import type { Answer, Ask } from '../../support/api-fixture.ts';
import { type RequestedNames, signingRequest } from '../../support/signing-requests.ts';

const PATH = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const CLIENT = 'kubernetes.io/kube-apiserver-client';
const KUBELET = 'kubernetes.io/kube-apiserver-client-kubelet';
const HOUR = 3_600_000;

let server: ReplayServer;
beforeAll(async () => {
  server = await ReplayServer.start();
});
afterAll(() => server.stop());

const ask = (method: string, path: string, options: Ask = {}): Promise<Answer> =>
  drive(server.clock, server.api.client().ask(method, path, options));
const get = async (name: string) => (await ask('GET', `${PATH}/${name}`)).body;

async function request(
  name: string,
  names: RequestedNames,
  spec: object = {},
  headers: Record<string, string | string[]> = {},
) {
  const { request, privateKey } = signingRequest(names);
  const answer = await ask('POST', PATH, {
    headers,
    body: {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { name },
      spec: { request, signerName: CLIENT, usages: ['digital signature', 'client auth'], ...spec },
    },
  });
  return { answer, privateKey };
}

async function decide(
  name: string,
  type: string,
  headers: Record<string, string | string[]> = {},
): Promise<Answer> {
  const csr = await get(name);
  const condition = { type, status: 'True', reason: 'Test', message: 'by a test' };
  return ask('PUT', `${PATH}/${name}/approval`, {
    headers,
    body: { ...csr, status: { conditions: [condition] } },
  });
}

describe('certificate signing', () => {
  test('an approved request is signed by the CA for the time that was asked for', async () => {
    const { privateKey } = await request(
      'jane',
      { commonName: 'jane', organizations: ['dev'] },
      { expirationSeconds: 3600 },
    );
    expect((await get('jane')).status).toEqual({});
    await decide('jane', 'Approved');
    const { status } = await get('jane');
    const certificate = new X509Certificate(Buffer.from(status.certificate, 'base64'));
    expect(certificate.subject.split('\n')).toEqual(['O=dev', 'CN=jane']);
    expect(certificate.verify(createPublicKey(server.api.identity.caPem))).toBe(true);
    expect(certificate.checkPrivateKey(privateKey)).toBe(true);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validTo) - server.clock.now()).toBeLessThanOrEqual(HOUR);
  });

  test('what is denied, or not for this signer, is not signed', async () => {
    await request('denied', { commonName: 'x' });
    await decide('denied', 'Denied');
    expect((await get('denied')).status.certificate).toBeUndefined();
    await request('foreign', { commonName: 'x' }, { signerName: 'example.com/signer' });
    await decide('foreign', 'Approved');
    expect((await get('foreign')).status.certificate).toBeUndefined();
  });

  test('an approved request that breaks its signer’s rules has failed', async () => {
    await request('wrong', { commonName: 'x' }, { usages: ['server auth'] });
    await decide('wrong', 'Approved');
    const failed = (await get('wrong')).status.conditions.find(
      (one: { type: string }) => one.type === 'Failed',
    );
    expect(failed).toMatchObject({
      status: 'True',
      reason: 'SignerValidationFailure',
      message: 'usages did not match [client auth digital signature key encipherment]',
    });
  });

  test('nobody becomes master of the cluster by a certificate', async () => {
    const { answer } = await request('master', { commonName: 'x', organizations: ['system:masters'] });
    expect(answer.status).toBe(403);
    expect(answer.body.message).toBe(
      'certificatesigningrequests.certificates.k8s.io "master" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed',
    );
  });

  test('who approves needs the right on the signer', async () => {
    await ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      body: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: 'approver' },
        rules: [
          {
            apiGroups: ['certificates.k8s.io'],
            resources: ['certificatesigningrequests/approval'],
            verbs: ['update'],
          },
          {
            apiGroups: ['certificates.k8s.io'],
            resources: ['signers'],
            resourceNames: ['example.com/*'],
            verbs: ['approve'],
          },
        ],
      },
    });
    await ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      body: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'approver' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'approver' },
        subjects: [{ kind: 'User', name: 'ann', apiGroup: 'rbac.authorization.k8s.io' }],
      },
    });
    const asAnn = { 'impersonate-user': 'ann' };
    await request('theirs', { commonName: 'x' }, { signerName: 'example.com/signer' });
    await request('ours', { commonName: 'x' });
    expect((await decide('theirs', 'Approved', asAnn)).status).toBe(200);
    const refused = await decide('ours', 'Approved', asAnn);
    expect(refused.status).toBe(403);
    expect(refused.body.message).toContain(
      `user not permitted to approve requests with signerName "${CLIENT}"`,
    );
  });

  test('a board that may have a certificate gets it without being asked', async () => {
    const headers = {
      'impersonate-user': 'system:node:pi',
      'impersonate-group': ['system:nodes', 'system:authenticated'],
    };
    await ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      body: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'renewal' },
        roleRef: {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'ClusterRole',
          name: 'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
        },
        subjects: [{ kind: 'Group', name: 'system:nodes', apiGroup: 'rbac.authorization.k8s.io' }],
      },
    });
    await ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      body: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'bootstrap' },
        roleRef: {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'ClusterRole',
          name: 'system:node-bootstrapper',
        },
        subjects: [{ kind: 'Group', name: 'system:nodes', apiGroup: 'rbac.authorization.k8s.io' }],
      },
    });
    const names = { commonName: 'system:node:pi', organizations: ['system:nodes'] };
    const { answer } = await request('pi', names, { signerName: KUBELET }, headers);
    expect(answer.status).toBe(201);
    const { status } = await get('pi');
    expect(status.conditions[0]).toMatchObject({ type: 'Approved', reason: 'AutoApproved' });
    expect(status.certificate).toBeDefined();
    // Not for another board.
    await request('other', { ...names, commonName: 'system:node:other' }, { signerName: KUBELET }, headers);
    expect((await get('other')).status).toEqual({});
  });

  test('requests go when they are old: those that were answered after an hour', async () => {
    await request('old-pending', { commonName: 'x' });
    await request('old-answered', { commonName: 'x' });
    await decide('old-answered', 'Approved');
    await server.clock.advance(HOUR + 1000);
    expect((await ask('GET', `${PATH}/old-answered`)).status).toBe(404);
    expect((await ask('GET', `${PATH}/old-pending`)).status).toBe(200);
  });
});

describe('bootstrap tokens', () => {
  const secret = (id: string, data: Record<string, string> = {}) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': id,
      'token-secret': '0123456789abcdef',
      'usage-bootstrap-authentication': 'true',
      ...data,
    },
  });
  const whoIs = (token: string) =>
    ask('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
    });

  test('stand for their user and groups until they end, and are deleted then', async () => {
    const expiration = new Date(server.clock.now() + HOUR).toISOString();
    await ask('POST', '/api/v1/namespaces/kube-system/secrets', {
      body: secret('abcdef', { expiration, 'auth-extra-groups': 'system:bootstrappers:boards' }),
    });
    const { body } = await whoIs('abcdef.0123456789abcdef');
    expect(body.status).toMatchObject({
      authenticated: true,
      user: {
        username: 'system:bootstrap:abcdef',
        groups: ['system:bootstrappers', 'system:bootstrappers:boards', 'system:authenticated'],
      },
    });
    expect((await whoIs('abcdef.0123456789abcdee')).body.status.authenticated).toBeUndefined();
    await server.clock.advance(HOUR + 1000);
    expect((await whoIs('abcdef.0123456789abcdef')).body.status.authenticated).toBeUndefined();
    const gone = await ask('GET', '/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef');
    expect(gone.status).toBe(404);
  });

  test('that may not authenticate, or name a group that is not theirs, are good for nothing', async () => {
    await ask('POST', '/api/v1/namespaces/kube-system/secrets', {
      body: secret('aaaaaa', { 'usage-bootstrap-authentication': 'false' }),
    });
    await ask('POST', '/api/v1/namespaces/kube-system/secrets', {
      body: secret('bbbbbb', { 'auth-extra-groups': 'system:masters' }),
    });
    for (const id of ['aaaaaa', 'bbbbbb']) {
      expect((await whoIs(`${id}.0123456789abcdef`)).body.status.authenticated).toBeUndefined();
    }
  });

  test('that are made for boards let one join while they last', async () => {
    const publicKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      .publicKey.export({ type: 'spki', format: 'pem' })
      .toString();
    const join = (nodeName: string, secret: string) =>
      ask('POST', JOIN_PATH, {
        headers: { authorization: joinAuthorization({ user: 'bootstrap', secret }) },
        body: { v: 1, nodeName, machineId: nodeName, publicKey },
      });
    const expiration = new Date(server.clock.now() + HOUR).toISOString();
    await ask('POST', '/api/v1/namespaces/kube-system/secrets', {
      body: secret('cccccc', { expiration, 'auth-extra-groups': JOIN_GROUP }),
    });
    await ask('POST', '/api/v1/namespaces/kube-system/secrets', { body: secret('dddddd') });
    expect((await join('shed', 'cccccc.0123456789abcdef')).status).toBe(200);
    expect((await join('cellar', 'cccccc.0123456789abcdee')).status).toBe(401);
    // A token for something else is no token for boards.
    expect((await join('cellar', 'dddddd.0123456789abcdef')).status).toBe(401);
    await server.clock.advance(HOUR + 1000);
    expect((await join('cellar', 'cccccc.0123456789abcdef')).status).toBe(401);
  });
});
