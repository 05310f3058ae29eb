import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AdmissionServer } from '../../support/admission-server.ts';

const API = 'admissionregistration.k8s.io/v1';
let server: AdmissionServer;
beforeEach(async () => {
  server = await AdmissionServer.start({
    authorize: ({ context }, { verb, resource }) => ({
      allowed: context.user.name === 'admin' && verb === 'create' && resource === 'secrets',
      reason: '',
    }),
  });
});
afterEach(() => server.stop());

const CONFIG_MAPS = [
  { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['configmaps'] },
];
const DEPLOYMENTS = [
  { apiGroups: ['apps'], apiVersions: ['v1'], operations: ['CREATE'], resources: ['deployments'] },
];

async function validating(name: string, spec: object, binding: object = {}): Promise<void> {
  await server.create(API, 'ValidatingAdmissionPolicy', undefined, {
    metadata: { name },
    spec: { matchConstraints: { resourceRules: CONFIG_MAPS }, ...spec },
  });
  await server.create(API, 'ValidatingAdmissionPolicyBinding', undefined, {
    metadata: { name },
    spec: { policyName: name, validationActions: ['Deny'], ...binding },
  });
}

async function mutating(name: string, spec: object, binding: object = {}): Promise<void> {
  await server.create(API, 'MutatingAdmissionPolicy', undefined, {
    metadata: { name },
    spec: { matchConstraints: { resourceRules: CONFIG_MAPS }, reinvocationPolicy: 'Never', ...spec },
  });
  await server.create(API, 'MutatingAdmissionPolicyBinding', undefined, {
    metadata: { name },
    spec: { policyName: name, ...binding },
  });
}

const configMap = (name: string, body: object = {}, metadata: object = {}) =>
  server.create('v1', 'ConfigMap', 'default', { metadata: { name, ...metadata }, ...body });

describe('ValidatingAdmissionPolicy', () => {
  test('refuses with the message, the message expression or the failed expression', async () => {
    await validating('p', {
      variables: [
        { name: 'data', expression: 'has(object.data) ? object.data : {}' },
        { name: 'count', expression: 'size(variables.data)' },
      ],
      validations: [
        {
          expression: 'variables.count < 3',
          messageExpression: "'has ' + string(variables.count) + ' keys'",
        },
        { expression: "!('b' in variables.data)", message: 'no b', reason: 'Forbidden' },
        { expression: "!('c' in variables.data)" },
      ],
    });
    await configMap('good', { data: { a: '' } });
    expect(await server.refusal(configMap('x', { data: { a: '', d: '', e: '' } }))).toBe(
      `configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: has 3 keys`,
    );
    await expect(configMap('x', { data: { b: '' } })).rejects.toMatchObject({
      status: { code: 403, reason: 'Forbidden' },
    });
    expect(await server.refusal(configMap('x', { data: { c: '' } }))).toContain(
      "denied request: failed expression: !('c' in variables.data)",
    );
  });

  test('sees the old object, and judges updates and deletions', async () => {
    await validating('p', {
      matchConstraints: {
        resourceRules: [{ ...CONFIG_MAPS[0], operations: ['UPDATE', 'DELETE'] }],
      },
      validations: [
        {
          expression:
            "request.operation == 'DELETE' ? oldObject.metadata.name != 'kept' : object.data == oldObject.data",
          message: 'no',
        },
      ],
    });
    await configMap('kept', { data: { a: '1' } });
    expect(
      await server.refusal(server.patch('v1', 'ConfigMap', 'default', 'kept', { data: { a: '2' } })),
    ).toContain('denied request: no');
    await server.patch('v1', 'ConfigMap', 'default', 'kept', { metadata: { labels: { x: 'y' } } });
    expect(await server.refusal(server.delete('v1', 'ConfigMap', 'default', 'kept'))).toContain(
      'denied request: no',
    );
  });

  test('match conditions, selectors, excluded rules and names say what it is about', async () => {
    await validating(
      'p',
      {
        matchConstraints: {
          resourceRules: CONFIG_MAPS,
          excludeResourceRules: [{ ...CONFIG_MAPS[0], resourceNames: ['spared'] }],
          namespaceSelector: { matchLabels: { team: 'a' } },
        },
        matchConditions: [{ name: 'users', expression: "request.userInfo.username != 'robot'" }],
        validations: [{ expression: 'false', message: 'never' }],
      },
      { matchResources: { objectSelector: { matchLabels: { checked: 'yes' } } } },
    );
    const checked = { labels: { checked: 'yes' } };
    await configMap('other-namespace', {}, checked);
    await server.namespace('team-a', { labels: { team: 'a' } });
    const inTeam = (name: string, metadata: object = checked) =>
      server.create('v1', 'ConfigMap', 'team-a', { metadata: { name, ...metadata } });
    await inTeam('unlabelled', {});
    await inTeam('spared');
    expect(await server.refusal(inTeam('caught'))).toContain('never');
    server.user = { name: 'robot', groups: ['system:masters'] };
    await inTeam('by-robot');
  });

  test('parameters, one evaluation for each', async () => {
    await validating(
      'limits',
      {
        paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
        matchConditions: [
          {
            name: 'not-params',
            expression: "!has(object.metadata.labels) || !('limit' in object.metadata.labels)",
          },
        ],
        validations: [
          {
            expression: 'size(object.metadata.name) <= int(params.data.longest)',
            messageExpression: "'at most ' + params.data.longest",
          },
        ],
      },
      {
        paramRef: {
          selector: { matchLabels: { limit: 'names' } },
          parameterNotFoundAction: 'Deny',
        },
      },
    );
    expect(await server.refusal(configMap('abc'))).toContain(
      'denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction',
    );
    // Params are themselves of the kind that is judged: an update of the binding lets them be made.
    await server.patch(API, 'ValidatingAdmissionPolicyBinding', undefined, 'limits', {
      spec: { paramRef: { parameterNotFoundAction: 'Allow' } },
    });
    await configMap('wide', { data: { longest: '10' } }, { labels: { limit: 'names' } });
    await configMap('tight', { data: { longest: '4' } }, { labels: { limit: 'names' } });
    await configMap('abc');
    expect(await server.refusal(configMap('abcdef'))).toContain('denied request: at most 4');
  });

  test('what cannot be evaluated is refused, or ignored where the policy says so', async () => {
    await validating('fail', { validations: [{ expression: 'object.data.x == "1"' }] });
    expect(await server.refusal(configMap('x'))).toContain(
      `denied request: expression 'object.data.x == "1"' resulted in error: no such key: data`,
    );
    await server.patch(API, 'ValidatingAdmissionPolicy', undefined, 'fail', {
      spec: { failurePolicy: 'Ignore' },
    });
    await configMap('x');
  });

  test('warns and audits where the binding says so', async () => {
    await validating(
      'p',
      {
        validations: [{ expression: 'false', message: 'frowned upon' }],
        auditAnnotations: [{ key: 'who', valueExpression: "'by ' + request.userInfo.username" }],
      },
      { validationActions: ['Warn', 'Audit'] },
    );
    await configMap('x');
    expect(server.warnings).toEqual([
      "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': frowned upon",
    ]);
    expect(server.annotations['p/who']).toBe('by admin');
    expect(
      JSON.parse(server.annotations['validation.policy.admission.k8s.io/validation_failure'] ?? ''),
    ).toEqual([
      {
        message: 'frowned upon',
        policy: 'p',
        binding: 'p',
        expressionIndex: 0,
        validationActions: ['Warn', 'Audit'],
      },
    ]);
  });

  test('expressions may ask what the user may do', async () => {
    await validating('p', {
      validations: [
        {
          expression:
            "authorizer.group('').resource('secrets').namespace('default').check('create').allowed()",
        },
      ],
    });
    await configMap('x');
    server.user = { name: 'other', groups: [] };
    expect(await server.refusal(configMap('y'))).toContain('failed expression');
  });

  test('a policy that names what does not exist is refused when it is written', async () => {
    const made = server.create(API, 'ValidatingAdmissionPolicy', undefined, {
      metadata: { name: 'wrong' },
      spec: {
        matchConstraints: { resourceRules: CONFIG_MAPS },
        validations: [{ expression: 'objekt.x' }, { expression: "'text'" }],
      },
    });
    const message = await server.refusal(made);
    expect(message).toContain(
      'spec.validations[0].expression: Invalid value: "objekt.x": compilation failed: ERROR: <input>:1:1: undeclared reference',
    );
    expect(message).toContain(
      `spec.validations[1].expression: Invalid value: "'text'": must evaluate to bool`,
    );
  });

  test('a policy without a binding, and one that is deleted, judge nothing', async () => {
    await validating('p', { validations: [{ expression: 'false' }] });
    await server.delete(API, 'ValidatingAdmissionPolicyBinding', undefined, 'p');
    await configMap('x');
  });
});

describe('MutatingAdmissionPolicy', () => {
  test('lays a configuration over the object and patches it, before it is validated', async () => {
    await mutating('m', {
      mutations: [
        {
          patchType: 'ApplyConfiguration',
          applyConfiguration: {
            expression:
              "Object{metadata: Object.metadata{labels: {'added': 'yes'}}, data: {'n': string(size(object.metadata.name))}}",
          },
        },
        {
          patchType: 'JSONPatch',
          jsonPatch: {
            expression:
              "[JSONPatch{op: 'add', path: '/metadata/annotations', value: {jsonpatch.escapeKey('a'): object.data.n}}]",
          },
        },
      ],
    });
    const made = await configMap('abc', { data: { own: 'kept' } }, { labels: { mine: '1' } });
    expect(made.metadata.labels).toEqual({ added: 'yes', mine: '1' });
    expect(made.metadata.annotations).toEqual({ a: '3' });
    expect(made.data).toEqual({ own: 'kept', n: '3' });
  });

  test('lists merge by their keys, and the object gets its defaults again', async () => {
    await mutating('sidecar', {
      matchConstraints: { resourceRules: DEPLOYMENTS },
      mutations: [
        {
          patchType: 'ApplyConfiguration',
          applyConfiguration: {
            expression: `Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
              containers: [Object.spec.template.spec.containers{name: 'proxy', image: 'proxy:1'}]}}}}`,
          },
        },
      ],
    });
    const made = await server.create('apps/v1', 'Deployment', 'default', {
      metadata: { name: 'web' },
      spec: {
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'web', image: 'web' }] },
        },
      },
    });
    const containers = made.spec.template.spec.containers;
    expect(containers.map((one: { name: string }) => one.name)).toEqual(['web', 'proxy']);
    expect(containers[1]).toMatchObject({
      imagePullPolicy: 'IfNotPresent',
      terminationMessagePolicy: 'File',
    });
  });

  test('what it makes has to be valid, and may not take the name', async () => {
    await mutating('bad', {
      mutations: [
        {
          patchType: 'JSONPatch',
          jsonPatch: { expression: "[JSONPatch{op: 'add', path: '/data', value: {'bad key': 'x'}}]" },
        },
      ],
    });
    expect(await server.refusal(configMap('x'))).toContain('ConfigMap "x" is invalid: data[bad key]');
    await server.delete(API, 'MutatingAdmissionPolicyBinding', undefined, 'bad');
    await mutating('rename', {
      mutations: [
        {
          patchType: 'ApplyConfiguration',
          applyConfiguration: { expression: "Object{metadata: Object.metadata{name: 'other'}}" },
        },
      ],
    });
    expect(await server.refusal(configMap('x'))).toContain(
      "policy 'rename' with binding 'rename' denied request: invalid ApplyConfiguration",
    );
  });

  test('a policy is run again after another one when it asks for it', async () => {
    const mark = (label: string, expression: string) => ({
      patchType: 'ApplyConfiguration',
      applyConfiguration: {
        expression: `Object{metadata: Object.metadata{labels: {'${label}': ${expression}}}}`,
      },
    });
    await mutating('a-first', {
      reinvocationPolicy: 'IfNeeded',
      mutations: [
        mark(
          'sees-second',
          "has(object.metadata.labels) && 'second' in object.metadata.labels ? 'yes' : 'no'",
        ),
      ],
    });
    await mutating('b-second', { mutations: [mark('second', "'here'")] });
    const made = await configMap('x');
    expect(made.metadata.labels).toEqual({ 'sees-second': 'yes', second: 'here' });
  });

  test('updates are mutated too, and what is stored stays as it was until then', async () => {
    await configMap('x', { data: { a: '1' } });
    await mutating('m', {
      mutations: [
        {
          patchType: 'JSONPatch',
          jsonPatch: {
            expression:
              "[JSONPatch{op: 'test', path: '/data/a', value: '2'}, JSONPatch{op: 'replace', path: '/data/a', value: '3'}]",
          },
        },
      ],
    });
    const changed = await server.patch('v1', 'ConfigMap', 'default', 'x', { data: { a: '2' } });
    expect(changed.data).toEqual({ a: '3' });
  });
});
