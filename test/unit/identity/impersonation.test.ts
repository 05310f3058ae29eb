import { expect, test } from 'vitest';
import { readImpersonation } from '../../../src/server/identity/impersonation.ts';

function read(headers: Record<string, string[]>) {
  const joined = Object.fromEntries(
    Object.entries(headers).map(([name, values]) => [name, values.join(', ')]),
  );
  return readImpersonation(joined, (name) => headers[name] ?? []);
}
const groups = (headers: Record<string, string[]>) => read(headers)?.user.groups;

test('without the headers there is none; a group alone is refused', () => {
  expect(read({})).toBeUndefined();
  expect(() => read({ 'impersonate-group': ['g'] })).toThrow('Impersonate-User');
});

test('groups are completed as Kubernetes does', () => {
  expect(groups({ 'impersonate-user': ['jane'] })).toEqual(['system:authenticated']);
  expect(groups({ 'impersonate-user': ['jane'], 'impersonate-group': ['a,b', 'c'] })).toEqual([
    'a,b',
    'c',
    'system:authenticated',
  ]);
  expect(groups({ 'impersonate-user': ['system:anonymous'] })).toEqual(['system:unauthenticated']);
  expect(groups({ 'impersonate-user': ['system:serviceaccount:ns:sa'] })).toEqual([
    'system:serviceaccounts',
    'system:serviceaccounts:ns',
    'system:authenticated',
  ]);
});

test('every part has to be allowed', () => {
  const demands = read({
    'impersonate-user': ['system:serviceaccount:ns:sa'],
    'impersonate-group': ['g'],
    'impersonate-uid': ['7'],
    'impersonate-extra-scopes%2fx': ['s1', 's2'],
  })?.demands.map(({ resource, subresource, namespace, name }) =>
    [resource, subresource, namespace, name].join(' '),
  );
  expect(demands).toEqual([
    'serviceaccounts  ns sa',
    'groups   g',
    'uids   7',
    'userextras scopes/x  s1',
    'userextras scopes/x  s2',
  ]);
});
