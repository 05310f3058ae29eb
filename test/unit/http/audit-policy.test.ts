import { expect, test } from 'vitest';
import type { JsonObject } from '../../../src/api/object.ts';
import { AuditPolicy, problemsOf } from '../../../src/server/http/audit-policy.ts';
import { parseRequest } from '../../../src/server/http/request-info.ts';

const HEAD = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy' };
const joe = { name: 'joe', groups: ['developers', 'system:authenticated'] };

/** The levels of `GET joe /path` and the like under the rules. */
const level = (rules: object[], request: string, user: typeof joe | undefined = joe): string => {
  const [method = '', url = ''] = request.split(' ');
  const [path = '', query] = url.split('?');
  const info = parseRequest(method, path, new URLSearchParams(query));
  return new AuditPolicy({ ...HEAD, rules } as unknown as JsonObject).of(user, info)?.level ?? 'nothing';
};
const group = (resources: string[], more: object = {}) => [{ group: '', resources, ...more }];

test.each([
  [{}, 'GET /anything', true],
  [{ users: ['joe'] }, 'GET /healthz', true],
  [{ users: ['jim'] }, 'GET /healthz', false],
  [{ userGroups: ['admins', 'developers'] }, 'GET /healthz', true],
  [{ userGroups: ['admins'] }, 'GET /healthz', false],
  [{ verbs: ['list'] }, 'GET /api/v1/pods', true],
  [{ verbs: ['get'] }, 'GET /api/v1/pods', false],
  [{ verbs: ['watch'] }, 'GET /api/v1/pods?watch=1', true],
  [{ namespaces: ['a'] }, 'GET /api/v1/namespaces/a/pods', true],
  [{ namespaces: ['a'] }, 'GET /api/v1/namespaces/b/pods', false],
  [{ namespaces: [''] }, 'GET /api/v1/nodes', true],
  [{ namespaces: [''] }, 'GET /healthz', false],
  [{ resources: group([]) }, 'GET /api/v1/namespaces/a/pods', true],
  [{ resources: group([]) }, 'GET /apis/apps/v1/deployments', false],
  [{ resources: group(['pods']) }, 'GET /api/v1/namespaces/a/pods/p', true],
  [{ resources: group(['pods']) }, 'GET /api/v1/namespaces/a/pods/p/log', false],
  [{ resources: group(['pods/log']) }, 'GET /api/v1/namespaces/a/pods/p/log', true],
  [{ resources: group(['pods/*']) }, 'GET /api/v1/namespaces/a/pods/p/log', true],
  [{ resources: group(['*/log']) }, 'GET /api/v1/namespaces/a/pods/p/log', true],
  [{ resources: group(['*/log']) }, 'GET /api/v1/namespaces/a/pods/p', false],
  [{ resources: group(['*']) }, 'GET /api/v1/namespaces/a/pods/p/log', true],
  [{ resources: group(['pods'], { resourceNames: ['p'] }) }, 'GET /api/v1/namespaces/a/pods/p', true],
  [{ resources: group(['pods'], { resourceNames: ['q'] }) }, 'GET /api/v1/namespaces/a/pods/p', false],
  [{ nonResourceURLs: ['/metrics'] }, 'GET /metrics', true],
  [{ nonResourceURLs: ['/health*'] }, 'GET /healthz/etcd', true],
  [{ nonResourceURLs: ['/health*'] }, 'GET /metrics', false],
  [{ nonResourceURLs: ['*'] }, 'GET /api/v1/pods', false],
])('a rule %j and %s: %j', (rule, request, matches) => {
  expect(level([{ level: 'Request', ...rule }], request)).toBe(matches ? 'Request' : 'nothing');
});

test('the first rule that matches decides, and nobody is no user', () => {
  const rules = [{ level: 'None', users: ['joe'] }, { level: 'Metadata' }];
  expect(level(rules, 'GET /x')).toBe('None');
  expect(level(rules, 'GET /x', { ...joe, name: 'jim' })).toBe('Metadata');
  const policy = new AuditPolicy({ ...HEAD, rules } as unknown as JsonObject);
  expect(policy.of(undefined, undefined)?.level).toBe('Metadata');
});

test('a rule adds to the stages that the policy omits, and overrides its managed fields', () => {
  const policy = new AuditPolicy({
    ...HEAD,
    omitStages: ['RequestReceived'],
    omitManagedFields: true,
    rules: [
      { level: 'Metadata', omitStages: ['ResponseStarted'], omitManagedFields: false, users: ['joe'] },
      { level: 'Request' },
    ],
  });
  const rule = policy.of(joe, undefined);
  expect([...(rule?.omitStages ?? [])]).toEqual(['RequestReceived', 'ResponseStarted']);
  expect(rule?.omitManagedFields).toBe(false);
  expect(policy.of(undefined, undefined)).toMatchObject({ level: 'Request', omitManagedFields: true });
});

test.each([
  [{ kind: 'Policy' }, ['kind: expected Policy of audit.k8s.io/v1, got "Policy" of ""']],
  [HEAD, ['rules: Required value: there is no rule']],
  [{ ...HEAD, rules: [{ level: 'None' }], omitStages: ['RequestReceived', 'Panic'] }, []],
  [
    { ...HEAD, rules: [{ level: 'None' }], omitStages: ['Received'], omitManagedFields: 'yes', rulez: [] },
    [
      'unknown field "rulez"',
      'omitStages[0]: Unsupported value: "Received": supported values: "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"',
      'omitManagedFields: Invalid value: "yes": it is neither true nor false',
    ],
  ],
  [{ ...HEAD, rules: [{}] }, ['rules[0].level: Required value']],
  [
    { ...HEAD, rules: [{ level: 'All', verb: ['get'] }] },
    [
      'unknown field "rules[0].verb"',
      'rules[0].level: Unsupported value: "All": supported values: "None", "Metadata", "Request", "RequestResponse"',
    ],
  ],
  [
    { ...HEAD, rules: [{ level: 'None', verbs: 'get' }] },
    ['rules[0].verbs: Invalid value: "get": it is no list of texts'],
  ],
  [
    { ...HEAD, rules: [{ level: 'None', nonResourceURLs: ['healthz', '/a*b', '*'], namespaces: ['x'] }] },
    [
      `rules[0].nonResourceURLs[0]: Invalid value: "healthz": non-resource URL rules must begin with a '/' character`,
      `rules[0].nonResourceURLs[1]: Invalid value: "/a*b": non-resource URL wildcards '*' must be the final character of the rule`,
      'rules[0].nonResourceURLs: Invalid value: ["healthz","/a*b","*"]: rules cannot apply to both regular resources and non-resource URLs',
    ],
  ],
  [
    { ...HEAD, rules: [{ level: 'None', resources: [{ group: 'Apps', resourceNames: ['x'] }, 'pods'] }] },
    [
      expect.stringMatching(
        /^rules\[0\]\.resources\[0\]\.group: Invalid value: "Apps": a lowercase RFC 1123 subdomain/,
      ),
      'rules[0].resources[0].resourceNames: Invalid value: ["x"]: using resourceNames requires at least one resource',
      'rules[0].resources[1]: Invalid value: it is no object',
    ],
  ],
])('what is wrong with %j', (policy, problems) => {
  expect(problemsOf(policy as unknown as JsonObject)).toEqual(problems);
});
