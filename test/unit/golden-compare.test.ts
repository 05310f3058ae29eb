import { expect, test } from 'vitest';
import { differences, statusDifferences, textMatches } from '../golden/replay/compare.ts';

test('placeholders stand for any value but an absent one', () => {
  expect(differences({ a: '<*uid>', b: '<*any>' }, { a: 'x' })).toEqual([]);
  expect(differences({ a: '<*uid>' }, {})).toHaveLength(1);
  expect(differences({ a: '<*uid>' }, { a: null })).toHaveLength(1);
  expect(textMatches('web-<*suffix>', 'web-abc')).toBe(true);
  expect(textMatches('web-<*suffix>', 'db-abc')).toBe(false);
});

test('a field that was not recorded is a difference, unless a subset will do', () => {
  expect(differences({ a: 1 }, { a: 1, b: 2 })).toEqual(['(body): has b = 2, not recorded']);
  expect(differences({ a: 1 }, { a: 1, b: 2 }, { subset: true })).toEqual([]);
  expect(differences({ a: [1, 2] }, { a: [2, 1] })).toHaveLength(2);
});

test('managedFields and the revision of deployments are left out', () => {
  const live = {
    metadata: { managedFields: [{}], annotations: { 'deployment.kubernetes.io/revision': '1' } },
  };
  expect(differences({ metadata: {} }, live)).toEqual([]);
  const applied = { managedFields: [{ manager: 'kube-scheduler' }, { manager: 'me' }] };
  expect(differences({ managedFields: [{ manager: 'me' }] }, applied, { managedFields: true })).toEqual([]);
});

test('of an error, status, reason, code and the set of causes count', () => {
  const recorded = {
    status: 'Failure',
    reason: 'Invalid',
    code: 422,
    message: 'x',
    details: {
      causes: [
        { field: 'a', reason: 'R', message: 'm' },
        { field: 'b', reason: 'R' },
      ],
    },
  };
  const live = {
    ...recorded,
    message: 'y',
    details: {
      causes: [
        { field: 'b', reason: 'R' },
        { field: 'a', reason: 'R' },
      ],
    },
  };
  expect(statusDifferences(recorded, live)).toEqual([]);
  expect(statusDifferences(recorded, { ...live, code: 400 })).toHaveLength(1);
  expect(statusDifferences(recorded, { ...live, details: {} })).not.toEqual([]);
});
