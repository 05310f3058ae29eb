import { expect, test } from 'vitest';
import type { ClusterRole, PolicyRule } from '../../../src/api/types/rbac-v1.ts';
import { effectiveRules, ruleAllows, uncovered, writeRule } from '../../../src/server/identity/rbac-rules.ts';

const ask = (verb: string, group: string, what: string, name = '') => {
  const [resource = '', subresource = ''] = what.split('/');
  return { verb, group, resource, subresource, name };
};
const rule = (
  verbs: string[],
  apiGroups: string[],
  resources: string[],
  resourceNames?: string[],
): PolicyRule => ({
  verbs,
  apiGroups,
  resources,
  ...(resourceNames ? { resourceNames } : {}),
});

test.each([
  [rule(['get'], [''], ['pods']), ask('get', '', 'pods'), true],
  [rule(['get'], [''], ['pods']), ask('list', '', 'pods'), false],
  [rule(['get'], [''], ['pods']), ask('get', 'apps', 'pods'), false],
  [rule(['get'], [''], ['pods']), ask('get', '', 'pods/log'), false],
  [rule(['get'], [''], ['pods/log']), ask('get', '', 'pods/log'), true],
  [rule(['get'], [''], ['pods/log']), ask('get', '', 'pods'), false],
  [rule(['*'], ['*'], ['*']), ask('delete', 'x', 'y/z'), true],
  [rule(['update'], ['apps'], ['*/scale']), ask('update', 'apps', 'deployments/scale'), true],
  [rule(['update'], ['apps'], ['*/scale']), ask('update', 'apps', 'deployments'), false],
  [rule(['get'], [''], ['secrets'], ['one']), ask('get', '', 'secrets', 'one'), true],
  [rule(['get'], [''], ['secrets'], ['one']), ask('get', '', 'secrets', 'two'), false],
  [rule(['list'], [''], ['secrets'], ['one']), ask('list', '', 'secrets'), false],
])('%j to %j: %s', (given, request, expected) => {
  expect(ruleAllows(given, request)).toBe(expected);
});

test('paths match whole or by a trailing star', () => {
  const paths: PolicyRule = { verbs: ['get'], nonResourceURLs: ['/healthz', '/apis/*'] };
  const may = (path: string) => ruleAllows(paths, { verb: 'get', path });
  expect([may('/healthz'), may('/healthz/x'), may('/apis/apps'), may('/api')]).toEqual([
    true,
    false,
    true,
    false,
  ]);
});

test('an aggregate has the rules of all roles it selects, also of other aggregates, and a circle ends', () => {
  const role = (name: string, labels: Record<string, string>, more: object): ClusterRole =>
    ({ metadata: { name, labels }, ...more }) as ClusterRole;
  const select = (key: string) => ({
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { [key]: 'true' } }] },
  });
  const all = [
    role('view', { toEdit: 'true' }, select('toView')),
    role('edit', { toView: 'true' }, select('toEdit')),
    role('pods', { toView: 'true' }, { rules: [rule(['get'], [''], ['pods'])] }),
    role('other', {}, { rules: [rule(['*'], ['*'], ['*'])] }),
  ];
  expect(effectiveRules(all[1] as ClusterRole, all)).toEqual([rule(['get'], [''], ['pods'])]);
});

test('what one may grant is what one holds, rule by rule', () => {
  const held = [
    rule(['get', 'list'], [''], ['pods', 'pods/log']),
    rule(['*'], ['apps'], ['deployments'], ['web']),
  ];
  expect(uncovered(held, [rule(['get'], [''], ['pods', 'pods/log'])])).toEqual([]);
  expect(uncovered(held, [rule(['get', 'watch'], [''], ['pods'])])).toEqual([
    rule(['watch'], [''], ['pods']),
  ]);
  expect(uncovered(held, [rule(['patch'], ['apps'], ['deployments'], ['web'])])).toEqual([]);
  expect(uncovered(held, [rule(['patch'], ['apps'], ['deployments'])])).toHaveLength(1);
  expect(
    uncovered([rule(['*'], ['*'], ['*'])], [{ verbs: ['get'], nonResourceURLs: ['/metrics'] }]),
  ).toHaveLength(1);
});

test('a rule is written as error messages name it', () => {
  expect(writeRule(rule(['get', 'list'], [''], ['pods']))).toBe(
    '{APIGroups:[""], Resources:["pods"], Verbs:["get", "list"]}',
  );
});
