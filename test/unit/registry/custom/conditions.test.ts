import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../../../src/api/object.ts';
import { namesInUse, nextStatus, withCondition } from '../../../../src/server/registry/custom/conditions.ts';

const NOW = '2026-01-01T00:00:00Z';

function definition(names: JsonObject, status: JsonObject = {}): JsonObject {
  return {
    metadata: { name: `${names.plural}.example.com` },
    spec: { group: 'example.com', names: { singular: 'x', listKind: 'XList', ...names } },
    status,
  };
}

describe('names', () => {
  const names = {
    plural: 'widgets',
    singular: 'widget',
    kind: 'Widget',
    listKind: 'WidgetList',
    shortNames: ['w'],
  };

  test('are accepted when nobody has them', () => {
    const status = nextStatus(definition(names), namesInUse([]), NOW);
    expect(status).toMatchObject({
      acceptedNames: names,
      conditions: [
        {
          type: 'NamesAccepted',
          status: 'True',
          reason: 'NoConflicts',
          message: 'no conflicts found',
          lastTransitionTime: NOW,
        },
        { type: 'Established', status: 'False', reason: 'Installing' },
      ],
    });
  });

  test('that another definition of the group has are refused, the others accepted', () => {
    const other = definition({}, { acceptedNames: { plural: 'w', kind: 'Other' } });
    const status = nextStatus(definition(names), namesInUse([other]), NOW);
    expect(status).toMatchObject({
      acceptedNames: { plural: 'widgets', kind: 'Widget' },
      conditions: [
        {
          type: 'NamesAccepted',
          status: 'False',
          reason: 'ShortNamesConflict',
          message: '"w" is already in use',
        },
        {
          type: 'Established',
          status: 'False',
          reason: 'NotAccepted',
          message: 'not all names are accepted',
        },
      ],
    });
  });

  test('that were given stay, and an established definition stays established', () => {
    const before = {
      acceptedNames: names,
      conditions: [
        {
          type: 'NamesAccepted',
          status: 'True',
          reason: 'NoConflicts',
          message: 'no conflicts found',
          lastTransitionTime: NOW,
        },
        {
          type: 'Established',
          status: 'True',
          reason: 'InitialNamesAccepted',
          message: '',
          lastTransitionTime: NOW,
        },
      ],
    };
    const self = definition(names, before);
    expect(nextStatus(self, namesInUse([self]), NOW)).toBeUndefined();
    const renamed = definition({ ...names, shortNames: ['taken'] }, before);
    const other = definition({}, { acceptedNames: { plural: 'others', shortNames: ['taken'] } });
    expect(nextStatus(renamed, namesInUse([renamed, other]), NOW)).toMatchObject({
      acceptedNames: { shortNames: ['w'] },
      conditions: [
        { status: 'False', reason: 'ShortNamesConflict' },
        { type: 'Established', status: 'True' },
      ],
    });
  });

  test('of a protected group need approval', () => {
    const object = definition(names);
    (object.spec as JsonObject).group = 'x.k8s.io';
    expect(nextStatus(object, namesInUse([]), NOW)?.conditions).toContainEqual(
      expect.objectContaining({ type: 'KubernetesAPIApproved', status: 'False' }),
    );
  });
});

test('the time of a condition changes with its status alone', () => {
  const condition = { type: 'A', status: 'True' as const, reason: 'R', message: 'm' };
  const first = withCondition({}, condition, NOW) as JsonObject;
  expect(withCondition(first, condition, 'later')).toBeUndefined();
  expect(withCondition(first, { ...condition, reason: 'S' }, 'later')?.conditions).toEqual([
    { type: 'A', status: 'True', lastTransitionTime: NOW, reason: 'S', message: 'm' },
  ]);
  expect(withCondition(first, { ...condition, status: 'False' }, 'later')).toMatchObject({
    conditions: [{ lastTransitionTime: 'later' }],
  });
});
