import { afterEach, beforeEach, expect, test } from 'vitest';
import { badRequest } from '../../../src/api/errors.ts';
import type { PodStreamRequest } from '../../../src/server/http/ports.ts';
import { ApiFixture } from '../../support/api-fixture.ts';
import { waitFor } from '../../support/wait.ts';

// What is posted to a pod's subresources or connected to, before anything is done: who may, and what is refused.
let api: ApiFixture;
let reached: string[];
beforeEach(async () => {
  reached = [];
  const upgrade = ({ subresource, name }: PodStreamRequest): void => {
    reached.push(`${subresource} ${name}`);
    throw badRequest('the stream was reached');
  };
  api = await ApiFixture.start({ streams: () => ({ log: async () => {}, upgrade, proxy: async () => {} }) });
});
afterEach(() => api.stop());

const PODS = '/api/v1/namespaces/default/pods';
const UPGRADE = { connection: 'upgrade', upgrade: 'websocket' };

const pod = (name: string) => ({
  metadata: { name },
  spec: { automountServiceAccountToken: false, containers: [{ name: 'c', image: 'i' }] },
});

/** A policy that refuses what the expression says of CONNECT, as everything else of pods is none of its business. */
async function policy(
  name: string,
  validation: object,
  resources = ['pods/exec', 'pods/attach', 'pods/portforward'],
) {
  const client = api.client();
  const path = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic';
  const rule = { apiGroups: [''], apiVersions: ['v1'], operations: ['CONNECT'], resources };
  const made = await client.post(`${path}ies`, {
    metadata: { name },
    spec: { matchConstraints: { resourceRules: [rule] }, validations: [validation] },
  });
  const bound = await client.post(`${path}ybindings`, {
    metadata: { name },
    spec: { policyName: name, validationActions: ['Deny'] },
  });
  expect([made.status, bound.status]).toEqual([201, 201]);
}

const connect = async (path: string, headers: Record<string, string> = UPGRADE, method = 'GET') => {
  const { status, body } = await api.client().ask(method, `${PODS}/${path}`, { headers });
  return [status, body.message];
};

test('a policy refuses a connection before it is upgraded, by what is asked for', async () => {
  await policy('no-shells', {
    expression: "!(object.kind == 'PodExecOptions' && 'sh' in object.command && object.tty)",
    message: 'no shell on a terminal',
    reason: 'Forbidden',
  });
  const shell = 'p/exec?command=sh&stdin=true&stdout=true&tty=1&container=c';
  const refused = [
    403,
    `pods "p" is forbidden: ValidatingAdmissionPolicy 'no-shells' with binding 'no-shells' denied request: no shell on a terminal`,
  ];
  expect(await connect(shell)).toEqual(refused);
  expect(await connect(shell, { connection: 'upgrade', upgrade: 'SPDY/3.1' }, 'POST')).toEqual(refused);
  expect(await connect(shell, {}, 'POST')).toEqual(refused);
  expect(reached).toEqual([]);
  expect(await connect('p/exec?command=ls&stdout=true&tty=true')).toEqual([400, 'the stream was reached']);
  expect(await connect('p/attach?stdout=true')).toEqual([400, 'the stream was reached']);
  expect(await connect('p/exec?command=ls', {}, 'POST')).toEqual([400, 'Upgrade request required']);
  expect(reached).toEqual(['exec p', 'attach p']);
});

test('a policy sees who asks for what: kind, subresource, operation, name, ports', async () => {
  await policy('told', {
    expression: 'false',
    messageExpression:
      "[request.operation, request.kind.kind, request.resource.resource, request.subResource, request.name, request.userInfo.username, string(object.?ports.orValue([]).size())].join(' ')",
  });
  const [status, message] = await connect('web/portforward?ports=80,81&ports=82');
  // Without a reason of its own a policy's refusal is an Invalid, as in Kubernetes.
  expect(status).toBe(422);
  expect(message).toContain('CONNECT PodPortForwardOptions pods portforward web system:admin 3');
  expect(await connect('web/portforward?ports=http')).toEqual([
    400,
    'strconv.ParseInt: parsing "http": invalid syntax',
  ]);
});

test('what is posted to a pod names the pod', async () => {
  const client = api.client();
  await client.post(PODS, pod('p'));
  const post = async (path: string, body: object) => {
    const answer = await client.post(path, body);
    return [answer.status, answer.body.message];
  };
  const target = { kind: 'Node', name: 'n' };
  const namespaces = 'the namespace of the provided object does not match the namespace sent on the request';
  for (const [kind, more] of [
    ['Eviction', {}],
    ['Binding', { target }],
  ] as const) {
    const path = `${PODS}/p/${kind.toLowerCase()}`;
    const mismatch = `name in URL does not match name in ${kind} object`;
    expect(await post(path, more)).toEqual([400, mismatch]);
    expect(await post(path, { metadata: { name: 'q' }, ...more })).toEqual([400, mismatch]);
    expect(await post(path, { metadata: { name: 'p', namespace: 'other' }, ...more })).toEqual([
      400,
      namespaces,
    ]);
  }
  const bindings = '/api/v1/namespaces/default/bindings';
  expect(await post(bindings, { target })).toEqual([400, 'Name parameter required.']);
  expect(await post(bindings, { target: { kind: 'Node' } })).toEqual([500, 'target.name: Required value']);
  const old = { metadata: { name: 'p', resourceVersion: '1' }, target };
  expect(await post(bindings, old)).toEqual([
    409,
    expect.stringContaining('ResourceVersion in precondition: 1,'),
  ]);
  expect((await client.get(`${PODS}/p`)).body.spec.nodeName).toBeUndefined();
  expect((await client.post(bindings, { metadata: { name: 'p' }, target })).status).toBe(201);
  expect((await client.get(`${PODS}/p`)).body.spec.nodeName).toBe('n');
});

test('an Eviction of policy/v1beta1, which old kubectl drain with, is one', async () => {
  const client = api.client();
  await client.post(PODS, pod('p'));
  const eviction = { apiVersion: 'policy/v1beta1', kind: 'Eviction', metadata: { name: 'p' } };
  expect((await client.post(`${PODS}/p/eviction`, eviction)).status).toBe(201);
  await waitFor('the pod to be gone', async () => (await client.get(`${PODS}/p`)).status === 404);
});
