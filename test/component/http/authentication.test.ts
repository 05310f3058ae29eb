import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CERTIFICATES_ANNOTATION } from '../../../src/server/identity/node-certificates.ts';
import { JOIN_PATH, joinAuthorization, parseJoinToken, verifyCa } from '../../../src/wire/join.ts';
import { type ApiClient, ApiFixture } from '../../support/api-fixture.ts';
import { waitFor } from '../../support/wait.ts';

let api: ApiFixture;
beforeAll(async () => {
  api = await ApiFixture.start();
});
afterAll(() => api.stop());

const RBAC = '/apis/rbac.authorization.k8s.io/v1';

async function serviceAccountToken(name: string): Promise<string> {
  const admin = api.client();
  await admin.post('/api/v1/namespaces/default/serviceaccounts', { metadata: { name } });
  const answer = await admin.post(`/api/v1/namespaces/default/serviceaccounts/${name}/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {},
  });
  expect(answer.status).toBe(201);
  return answer.body.status.token;
}

function nodeKey() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

test('the administrator is known by the client certificate', async () => {
  const answer = await api.client().post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {});
  expect(answer.status).toBe(201);
  expect(answer.body.status.userInfo).toEqual({
    username: 'system:admin',
    groups: ['system:masters', 'system:authenticated'],
  });
});

test('without credentials only what is public answers', async () => {
  const nobody = api.client({});
  for (const path of ['/version', '/healthz', '/livez', '/readyz', '/livez/ping', '/cacerts']) {
    expect([path, (await nobody.get(path)).status]).toEqual([path, 200]);
  }
  for (const path of [
    '/api',
    '/apis',
    '/api/v1/pods',
    '/openapi/v2',
    '/openapi/v3',
    '/metrics',
    '/openid/v1/jwks',
  ]) {
    const answer = await nobody.get(path);
    expect([path, answer.status, answer.body.reason]).toEqual([path, 401, 'Unauthorized']);
  }
});

test('a certificate of another authority is nobody', async () => {
  const other = await ApiFixture.start();
  try {
    const { certificate, key } = other.identity.admin;
    const answer = await api.client({ cert: certificate, key }).get('/api/v1/pods');
    expect(answer.status).toBe(401);
  } finally {
    await other.stop();
  }
});

test('a page of another site gains nothing by the certificate of a browser', async () => {
  const admin = api.client();
  const host = api.url.slice('https://'.length);
  expect((await admin.get('/api', { headers: { origin: 'https://evil.example', host } })).status).toBe(403);
  expect((await admin.get('/api', { headers: { origin: api.url, host } })).status).toBe(200);
  // What `kubectl proxy` hands on: no page can set that header without being asked first.
  const forwarded = { origin: 'http://localhost:8001', host, 'x-forwarded-for': '127.0.0.1' };
  expect((await admin.get('/api', { headers: forwarded })).status).toBe(200);
});

test('a token of a service account names it, and dies with it', async () => {
  const token = await serviceAccountToken('robot');
  const robot = api.client({ token });
  const review = await robot.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {});
  expect(review.body.status.userInfo).toMatchObject({
    username: 'system:serviceaccount:default:robot',
    groups: ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
  });
  const refused = await robot.get('/api/v1/namespaces/default/secrets');
  expect(refused.status).toBe(403);
  expect(refused.body.message).toBe(
    'secrets is forbidden: User "system:serviceaccount:default:robot" cannot list resource "secrets" in API group "" in the namespace "default"',
  );
  await api.client().delete('/api/v1/namespaces/default/serviceaccounts/robot');
  expect((await robot.get('/apis')).status).toBe(401);
});

test('a tampered token, a wrong token and a token for another audience are refused', async () => {
  const token = await serviceAccountToken('careful');
  const [head, body, signature] = token.split('.') as [string, string, string];
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
  const forged = Buffer.from(JSON.stringify({ ...claims, sub: 'system:serviceaccount:kube-system:x' }));
  const unsigned = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
  const elsewhere = await api.client().post('/api/v1/namespaces/default/serviceaccounts/careful/token', {
    spec: { audiences: ['https://elsewhere'] },
  });
  for (const bad of [
    'nonsense',
    `${head}.${forged.toString('base64url')}.${signature}`,
    `${unsigned}.${body}.`,
    elsewhere.body.status.token,
  ]) {
    expect((await api.client({ token: bad }).get('/apis')).status).toBe(401);
  }
  expect((await api.client({ token }).get('/apis')).status).toBe(200);
});

test('the dashboard token is an administrator; a wrong token still gets public pages', async () => {
  const admin = api.client({ token: api.identity.dashboardToken });
  expect((await admin.get('/api/v1/namespaces')).status).toBe(200);
  expect((await api.client({ token: 'old' }).get('/version')).status).toBe(200);
});

test('roles decide at once after they are written', async () => {
  const token = await serviceAccountToken('reader');
  const reader = api.client({ token });
  const path = '/api/v1/namespaces/default/configmaps';
  expect((await reader.get(path)).status).toBe(403);
  const admin = api.client();
  await admin.post(`${RBAC}/namespaces/default/roles`, {
    metadata: { name: 'read' },
    rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] }],
  });
  await admin.post(`${RBAC}/namespaces/default/rolebindings`, {
    metadata: { name: 'read' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'read' },
    subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace: 'default' }],
  });
  expect((await reader.get(path)).status).toBe(200);
  expect((await reader.get('/api/v1/configmaps')).status).toBe(403);
  expect((await reader.post(path, { metadata: { name: 'x' } })).status).toBe(403);
  await admin.delete(`${RBAC}/namespaces/default/rolebindings/read`);
  expect((await reader.get(path)).status).toBe(403);
});

test('nobody grants more than they hold', async () => {
  const token = await serviceAccountToken('manager');
  const admin = api.client();
  await admin.post(`${RBAC}/namespaces/default/roles`, {
    metadata: { name: 'manage' },
    rules: [
      {
        apiGroups: ['rbac.authorization.k8s.io'],
        resources: ['roles', 'rolebindings'],
        verbs: ['create', 'update'],
      },
      { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] },
    ],
  });
  await admin.post(`${RBAC}/namespaces/default/rolebindings`, {
    metadata: { name: 'manage' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'manage' },
    subjects: [{ kind: 'ServiceAccount', name: 'manager', namespace: 'default' }],
  });
  const manager = api.client({ token });
  const role = (name: string, verbs: string[]) => ({
    metadata: { name },
    rules: [{ apiGroups: [''], resources: ['pods'], verbs }],
  });
  expect((await manager.post(`${RBAC}/namespaces/default/roles`, role('fine', ['get']))).status).toBe(201);
  const refused = await manager.post(`${RBAC}/namespaces/default/roles`, role('more', ['get', 'delete']));
  expect(refused.status).toBe(403);
  expect(refused.body.message).toContain('{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}');
  const binding = await manager.post(`${RBAC}/namespaces/default/rolebindings`, {
    metadata: { name: 'self-made-admin' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ kind: 'ServiceAccount', name: 'manager', namespace: 'default' }],
  });
  expect(binding.status).toBe(403);
});

test('a machine joins with the token, and its certificate makes it that node', async () => {
  const nobody = api.client({});
  const ca = await nobody.get('/cacerts');
  const token = parseJoinToken(api.identity.joinToken);
  expect(verifyCa(token, ca.text)).toBe(true);
  const { publicKey, key } = nodeKey();
  const request = { v: 1, nodeName: 'pi', machineId: 'm1', publicKey };
  const headers = { authorization: joinAuthorization(token) };
  const joined = await nobody.post(JOIN_PATH, request, { headers });
  expect(joined.status).toBe(200);
  expect(joined.body).toMatchObject({ v: 1, nodeName: 'pi', ca: ca.text });
  const node = api.client({ cert: joined.body.certificate, key });
  const review = await node.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {});
  expect(review.body.status.userInfo).toEqual({
    username: 'system:node:pi',
    groups: ['system:nodes', 'system:authenticated'],
  });
  // Its own certificate is enough to renew, but only for itself.
  expect((await node.post(JOIN_PATH, request)).status).toBe(200);
  expect((await node.post(JOIN_PATH, { ...request, nodeName: 'other' })).status).toBe(401);
  // Another machine of the same name is told what to do.
  const second = await nobody.post(JOIN_PATH, { ...request, machineId: 'm2' }, { headers });
  expect([second.status, second.body.reason]).toEqual([409, 'Conflict']);
  expect(second.body.message).toContain('--node-name');
  expect(second.body.message).toContain('kubectl delete node pi');
});

test('a node that was deleted, or whose certificate was taken off it, is shut out until it joins anew', async () => {
  const nobody = api.client({});
  const admin = api.client();
  const headers = { authorization: joinAuthorization(parseJoinToken(api.identity.joinToken)) };
  const join = async () => {
    const { publicKey, key } = nodeKey();
    const request = { v: 1, nodeName: 'leaving', machineId: 'm1', publicKey };
    const { body } = await nobody.post(JOIN_PATH, request, { headers });
    return api.client({ cert: body.certificate, key });
  };
  const annotated = (value: unknown) =>
    waitFor('the certificates to be noted', async () => {
      const { body } = await admin.get('/api/v1/nodes/leaving');
      return String(body.metadata.annotations?.[CERTIFICATES_ANNOTATION] ?? '').split(',').length === value;
    });
  const ask = async (client: ApiClient) => {
    const { status, body } = await client.get('/api/v1/nodes/leaving');
    return status === 401 ? body.details.causes[0].reason : status;
  };
  const first = await join();
  expect(await ask(first)).toBe(404);
  await admin.post('/api/v1/nodes', { metadata: { name: 'leaving' } });
  await annotated(1);
  expect(await ask(first)).toBe(200);
  const own = (await first.get('/api/v1/nodes/leaving')).body;
  own.metadata.annotations[CERTIFICATES_ANNOTATION] += ',another';
  expect((await first.ask('PUT', '/api/v1/nodes/leaving', { body: own })).status).toBe(403);
  // A join by token ends the certificate of before, on connections that are open too.
  const second = await join();
  expect(await ask(first)).toBe('NodeUnknown');
  expect(await ask(second)).toBe(200);
  // A renewal does not: the new one may not have reached the board's disk.
  const { publicKey, key } = nodeKey();
  const renewed = await second.post(JOIN_PATH, {
    v: 1,
    nodeName: 'leaving',
    machineId: 'm1',
    publicKey,
  });
  const third = api.client({ cert: renewed.body.certificate, key });
  expect([await ask(second), await ask(third)]).toEqual([200, 200]);
  await admin.delete('/api/v1/nodes/leaving');
  expect([await ask(second), await ask(third)]).toEqual(['NodeRemoved', 'NodeRemoved']);
  expect(await ask(await join())).toBe(404);
});

test('a join with a wrong token or a malformed request is refused with a sentence', async () => {
  const nobody = api.client({});
  const { publicKey } = nodeKey();
  const request = { v: 1, nodeName: 'board', machineId: 'm', publicKey };
  const wrong = await nobody.post(JOIN_PATH, request, {
    headers: { authorization: joinAuthorization({ user: 'server', secret: 'guess' }) },
  });
  expect([wrong.status, wrong.body.reason]).toEqual([401, 'Unauthorized']);
  const headers = { authorization: joinAuthorization(parseJoinToken(api.identity.joinToken)) };
  for (const bad of [
    { ...request, nodeName: 'Not A Name' },
    { ...request, machineId: '' },
    { ...request, publicKey: 'x' },
    { ...request, v: 2 },
  ]) {
    expect((await nobody.post(JOIN_PATH, bad, { headers })).status).toBe(400);
  }
});

test('a node reads what its pods need and nothing more, and gets tokens for its pods only', async () => {
  const admin = api.client();
  const { publicKey, key } = nodeKey();
  const node = api.client({ cert: api.identity.issueNodeCertificate('n1', publicKey), key });
  // Made by hand: it names no certificates, and takes any of its name.
  await admin.post('/api/v1/nodes', { metadata: { name: 'n1' } });
  await admin.post('/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'app' } });
  for (const name of ['used', 'unused']) {
    await admin.post('/api/v1/namespaces/default/secrets', { metadata: { name } });
  }
  const pod = (name: string, nodeName: string) => ({
    metadata: { name },
    spec: {
      nodeName,
      serviceAccountName: 'app',
      containers: [{ name: 'c', image: 'i', envFrom: [{ secretRef: { name: 'used' } }] }],
    },
  });
  const mine = await admin.post('/api/v1/namespaces/default/pods', pod('mine', 'n1'));
  const theirs = await admin.post('/api/v1/namespaces/default/pods', pod('theirs', 'n2'));
  expect([mine.status, theirs.status]).toEqual([201, 201]);
  const status = async (path: string) => (await node.get(path)).status;
  expect(await status('/api/v1/namespaces/default/secrets/used')).toBe(200);
  expect(await status('/api/v1/namespaces/default/secrets/unused')).toBe(403);
  expect(await status('/api/v1/namespaces/default/secrets')).toBe(403);
  expect(await status('/api/v1/namespaces/default/pods/mine')).toBe(200);
  expect(await status('/api/v1/namespaces/default/pods/theirs')).toBe(403);
  expect(await status('/api/v1/pods?fieldSelector=spec.nodeName%3Dn1')).toBe(200);
  expect(await status('/api/v1/pods?fieldSelector=spec.nodeName%3Dn2')).toBe(403);
  expect(await status('/api/v1/pods')).toBe(403);
  const ask = async (bound: object | undefined) =>
    node.post('/api/v1/namespaces/default/serviceaccounts/app/token', { spec: { boundObjectRef: bound } });
  const reference = ({ metadata }: { metadata: { name: string; uid: string } }) => ({
    kind: 'Pod',
    apiVersion: 'v1',
    name: metadata.name,
    uid: metadata.uid,
  });
  const issued = await ask(reference(mine.body));
  expect(issued.status).toBe(201);
  expect((await ask(reference(theirs.body))).status).toBe(403);
  expect((await ask(undefined)).status).toBe(403);
  const review = await admin.post('/apis/authentication.k8s.io/v1/tokenreviews', {
    spec: { token: issued.body.status.token },
  });
  expect(review.body.status.user.extra['authentication.kubernetes.io/pod-name']).toEqual(['mine']);
});
