import { describe, expect, test } from 'vitest';
import { ApplyConflicts, apply, ConfigError } from '../../../../src/api/managed-fields/apply.ts';
import { compareObjects } from '../../../../src/api/managed-fields/compare.ts';
import { conflictStatus } from '../../../../src/api/managed-fields/conflicts.ts';
import type { Owners } from '../../../../src/api/managed-fields/entries.ts';
import { fieldsOf } from '../../../../src/api/managed-fields/fields-of.ts';
import { LAST_APPLIED } from '../../../../src/api/managed-fields/last-applied.ts';
import { mergeObjects } from '../../../../src/api/managed-fields/merge.ts';
import type { ObjectType } from '../../../../src/api/managed-fields/object-type.ts';
import { ownersAfterScale, ownersOfScale } from '../../../../src/api/managed-fields/scale.ts';
import { ownersAfterUpdate } from '../../../../src/api/managed-fields/update.ts';
import type { JsonObject } from '../../../../src/api/object.ts';
import { fields, owned, struct, THING, thing, thingType } from './support.ts';

const spec = (value: JsonObject): JsonObject => thing({ spec: value });

describe('fields of an object', () => {
  test.each<[string, JsonObject, JsonObject]>([
    ['a scalar', { size: 'S' }, { size: {} }],
    ['null', { size: null }, { size: {} }],
    ['an atomic map', { selector: { a: 'b' } }, { selector: {} }],
    ['an atomic list', { args: ['a'] }, { args: {} }],
    ['an atomic struct', { whole: { a: 'x' } }, { whole: {} }],
    ['a set', { tags: ['b', 'a'] }, { tags: { 'v:"a"': {}, 'v:"b"': {} } }],
    ["an empty set is nobody's", { tags: [] }, {}],
    [
      'items by their keys, with the default of a key that is absent',
      { ports: [{ port: 80, name: 'x' }] },
      { ports: { 'k:{"port":80,"protocol":"TCP"}': { '.': {}, port: {}, name: {} } } },
    ],
    ['an item that occurs twice is one value', { tags: ['a', 'a'] }, { tags: { 'v:"a"': {} } }],
    [
      'entries of a map in an item',
      { parts: [{ name: 'p', env: { A: '1' } }] },
      {
        parts: { 'k:{"name":"p"}': { '.': {}, name: {}, env: { A: {} } } },
      },
    ],
    [
      'where there is no schema the value decides',
      { free: { a: { b: 1 }, c: [1, 2], d: {} } },
      {
        free: { a: { '.': {}, b: {} }, c: {}, d: {} },
      },
    ],
    [
      'names of an open struct',
      { open: { a: '1', z: { y: 1 } } },
      { open: { a: {}, z: { '.': {}, y: {} } } },
    ],
  ])('%s', (_, value, expected) => {
    const set = fieldsOf(THING, thing({ spec: value }));
    expect(set['f:spec'] ?? {}).toEqual(fields(expected));
  });

  test('a key may be called like a method of every object', () => {
    const labels = { constructor: 'a', __proto__x: 'b' };
    const { changed } = compareObjects(THING, thing({}), thing({ metadata: { labels } }));
    expect(changed).toEqual(fields({ metadata: { labels: { '.': {}, constructor: {}, __proto__x: {} } } }));
  });
});

describe('merge keeps the order of the configuration and the place of what it does not name', () => {
  test.each<[string, string[], string[], string[]]>([
    ['nothing new', ['a', 'b', 'c'], ['b'], ['a', 'b', 'c']],
    ['appended', ['a', 'b'], ['c'], ['a', 'b', 'c']],
    ['before what follows it', ['a', 'b', 'c'], ['x', 'c'], ['a', 'b', 'x', 'c']],
    ['reordered', ['a', 'b', 'c'], ['c', 'a'], ['b', 'c', 'a']],
    ['reordered whole', ['a', 'b', 'c'], ['c', 'b', 'a'], ['c', 'b', 'a']],
    ['from nothing', [], ['b', 'a'], ['b', 'a']],
  ])('%s', (_, live, config, expected) => {
    const merged = mergeObjects(THING, spec({ tags: live }), spec({ tags: config }));
    expect((merged.spec as JsonObject).tags).toEqual(expected);
  });

  test('items are merged by their keys, atomics replaced, unknown maps merged', () => {
    const live = spec({
      parts: [{ name: 'p', image: '1', env: { A: '1' } }],
      args: ['a', 'b'],
      selector: { a: '1' },
      free: { a: 1, list: [1] },
    });
    const config = spec({
      parts: [{ name: 'p', env: { B: '2' } }],
      args: ['c'],
      selector: { b: '2' },
      free: { b: 2, list: [2] },
    });
    expect(mergeObjects(THING, live, config).spec).toEqual({
      parts: [{ name: 'p', image: '1', env: { A: '1', B: '2' } }],
      args: ['c'],
      selector: { b: '2' },
      free: { a: 1, b: 2, list: [2] },
    });
  });
});

class Story {
  object: JsonObject = thing({});
  owners: Owners = [];
  clock = 0;
  type: ObjectType = thingType;

  apply(manager: string, value: JsonObject, force = false): this {
    this.clock += 1;
    const writer = { manager, force, time: this.time() };
    const result = apply(this.type, this.object, thing(value), this.owners, writer);
    this.object = result.object;
    this.owners = result.owners;
    return this;
  }

  update(manager: string, value: JsonObject): this {
    this.clock += 1;
    const after = thing(value);
    this.owners = ownersAfterUpdate(this.type, this.object, after, this.owners, {
      manager,
      time: this.time(),
    });
    this.object = after;
    return this;
  }

  conflict(manager: string, value: JsonObject): string {
    const before = this.owners;
    try {
      this.apply(manager, value);
    } catch (error) {
      if (!(error instanceof ApplyConflicts)) throw error;
      this.owners = before;
      return conflictStatus(error.conflicts).message;
    }
    return '';
  }

  time(): string {
    return `2026-01-01T00:00:${String(this.clock).padStart(2, '0')}Z`;
  }
}

const config = (value: JsonObject): JsonObject => ({ spec: value });

describe('apply', () => {
  test('what a manager no longer applies goes, unless another owns it', () => {
    const story = new Story()
      .apply(
        'one',
        config({ size: 'S', tags: ['a', 'b'], parts: [{ name: 'p', image: '1' }, { name: 'q' }] }),
      )
      .apply('two', config({ tags: ['b'], parts: [{ name: 'p' }] }))
      .apply('one', config({ size: 'S' }));
    expect(story.object.spec).toEqual({ size: 'S', tags: ['b'], parts: [{ name: 'p' }] });
    expect(owned(story.owners)).toEqual({
      one: fields({ spec: { size: {} } }),
      two: fields({ spec: { tags: { 'v:"b"': {} }, parts: { 'k:{"name":"p"}': { '.': {}, name: {} } } } }),
    });
  });

  test('a field set by an update stays when an applier gives it up', () => {
    const story = new Story()
      .apply('one', config({ size: 'S', replicas: 1 }))
      .update('scaler', config({ size: 'S', replicas: 5 }))
      .apply('one', config({ size: 'S' }));
    expect(story.object.spec).toEqual({ size: 'S', replicas: 5 });
    expect(owned(story.owners).scaler).toEqual(fields({ spec: { replicas: {} } }));
  });

  test('conflicts name every field and its owner, in order', () => {
    const story = new Story()
      .apply('one', config({ size: 'S', parts: [{ name: 'p', image: '1' }] }))
      .update('two', config({ size: 'S', parts: [{ name: 'p', image: '1' }], replicas: 2, paused: true }));
    expect(story.conflict('three', config({ size: 'M' }))).toBe(
      'Apply failed with 1 conflict: conflict with "one": .spec.size',
    );
    const all = config({ size: 'M', replicas: 3, paused: false, parts: [{ name: 'p', image: '2' }] });
    expect(story.conflict('three', all)).toBe(
      [
        'Apply failed with 4 conflicts: conflicts with "one":',
        '- .spec.size',
        '- .spec.parts[name="p"].image',
        'conflicts with "two" using v1:',
        '- .spec.paused',
        '- .spec.replicas',
      ].join('\n'),
    );
  });

  test('the same value is no conflict and is owned by both; force takes what differs', () => {
    const story = new Story().apply('one', config({ size: 'S', replicas: 1 }));
    expect(story.conflict('two', config({ size: 'S' }))).toBe('');
    story.apply('two', config({ size: 'S', replicas: 2 }), true);
    expect(story.object.spec).toEqual({ size: 'S', replicas: 2 });
    expect(owned(story.owners)).toEqual({
      one: fields({ spec: { size: {} } }),
      two: fields({ spec: { size: {}, replicas: {} } }),
    });
  });

  test('times: of an apply that changed something, and only then', () => {
    const story = new Story().apply('one', config({ size: 'S' }));
    const { owners } = story;
    expect(owners[0]?.time).toBe('2026-01-01T00:00:01Z');
    expect(story.apply('one', config({ size: 'S' })).owners).toBe(owners);
    story.apply('two', config({ size: 'S' }));
    expect(story.owners.map(({ manager, time }) => [manager, time])).toEqual([
      ['two', undefined],
      ['one', '2026-01-01T00:00:01Z'],
    ]);
  });

  test('what was there before anybody was asked belongs to before-first-apply', () => {
    const story = new Story();
    story.object = thing({ metadata: { name: 'x' }, spec: { size: 'S' } });
    expect(story.conflict('one', config({ size: 'M' }))).toBe(
      'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .spec.size',
    );
    story.apply('one', config({ size: 'S' }));
    expect(Object.keys(owned(story.owners)).sort()).toEqual(['before-first-apply', 'one']);
  });

  test('the status is not owned through the object itself', () => {
    const story = new Story().apply('one', { spec: { size: 'S' }, status: { phase: 'x' } });
    expect(owned(story.owners).one).toEqual(fields({ spec: { size: {} } }));
  });

  test.each<[string, JsonObject, string]>([
    ['an unknown field', { nope: 1 }, '.nope: field not declared in schema'],
    [
      'text for a number',
      config({ replicas: 'x' }),
      '.spec.replicas: expected numeric (int or float), got string',
    ],
    ['a map for a list', config({ tags: {} }), '.spec.tags: expected list, got &{map[]}'],
    [
      'an item twice',
      config({ parts: [{ name: 'a' }, { name: 'a' }] }),
      '.spec.parts: duplicate entries for key [name="a"]',
    ],
    [
      'an item without its key',
      config({ parts: [{ image: 'a' }] }),
      '.spec.parts: element 0: associative list with keys has an element that omits key field "name" (and doesn\'t have default value)',
    ],
    [
      'several faults',
      config({ size: 1, paused: 'x' }),
      'errors:\n  .spec.size: expected string, got &value.valueUnstructured{Value:1}\n  .spec.paused: expected boolean, got &{x}',
    ],
  ])('refuses %s', (_, value, message) => {
    expect(() => new Story().apply('one', value)).toThrow(new ConfigError([message]).message);
  });

  test('kubectl takes over from its client-side apply without force', () => {
    const last = JSON.stringify(thing({ spec: { size: 'S' } }));
    const story = new Story().update('kubectl-client-side-apply', {
      metadata: { annotations: { [LAST_APPLIED]: last } },
      spec: { size: 'S', replicas: 1 },
    });
    expect(story.conflict('kubectl', config({ size: 'M', replicas: 2 }))).toContain('1 conflict: ');
    expect(story.conflict('other', config({ size: 'M' }))).toContain('.spec.size');
    story.apply('kubectl', config({ size: 'M' }));
    expect(story.object.spec).toEqual({ size: 'M', replicas: 1 });
    const annotations = (story.object.metadata as JsonObject).annotations as JsonObject;
    expect(annotations[LAST_APPLIED]).toBe(
      '{"apiVersion":"v1","kind":"Thing","metadata":{},"spec":{"size":"M"}}\n',
    );
  });

  test('owners of another version see the change in theirs', () => {
    const old = struct({ ...Object.fromEntries([...THING.fields].map(([name, { node }]) => [name, node])) });
    const story = new Story();
    story.type = {
      ...thingType,
      other: (apiVersion) =>
        apiVersion === 'v0'
          ? {
              node: old,
              // v0 calls the size a tag.
              convert: ({ spec: value, ...rest }) => ({
                ...rest,
                spec: { tags: [(value as JsonObject | undefined)?.size ?? 'none'] },
              }),
              convertBack: (object) => object,
            }
          : undefined,
    };
    story.apply('one', config({ size: 'S' }));
    story.owners = [
      ...story.owners,
      {
        manager: 'old',
        operation: 'Apply',
        apiVersion: 'v0',
        fieldsType: 'FieldsV1',
        fieldsV1: fields({ spec: { tags: { 'v:"S"': {} } } }),
      },
      {
        manager: 'gone',
        operation: 'Update',
        apiVersion: 'v-1',
        fieldsType: 'FieldsV1',
        fieldsV1: fields({ spec: { size: {} } }),
      },
    ];
    story.apply('one', config({ size: 'M' }));
    expect(Object.keys(owned(story.owners))).toEqual(['one']);
  });
});

describe('update', () => {
  test('whoever removes owns nothing by it', () => {
    const story = new Story()
      .update('one', config({ size: 'S', tags: ['a'] }))
      .update('two', config({ size: 'S' }));
    expect(owned(story.owners)).toEqual({ one: fields({ spec: { '.': {}, size: {} } }) });
  });

  test('the same fields again: the same set, a new time', () => {
    const story = new Story().update('one', config({ replicas: 1 }));
    const [before] = story.owners;
    story.update('one', config({ replicas: 2 }));
    expect(story.owners[0]?.fieldsV1).toBe(before?.fieldsV1);
    expect(story.owners[0]?.time).toBe('2026-01-01T00:00:02Z');
  });

  test('nothing changed: the very same owners', () => {
    const story = new Story().update('one', config({ replicas: 1 }));
    const { owners } = story;
    expect(story.update('two', config({ replicas: 1 })).owners).toBe(owners);
  });

  test('of many updaters the oldest become one', () => {
    const story = new Story();
    const labels: JsonObject = {};
    for (let index = 0; index < 13; index += 1) {
      labels[`l${index}`] = 'x';
      story.update(`m${String(index).padStart(2, '0')}`, { metadata: { labels: { ...labels } } });
    }
    expect(story.owners.length).toBe(10);
    expect(owned(story.owners)['ancient-changes']).toEqual(
      fields({ metadata: { labels: { '.': {}, l0: {}, l1: {}, l2: {}, l3: {} } } }),
    );
  });
});

test('through the scale only the replicas are seen, and go back to where they are', () => {
  const path = (apiVersion: string) => (apiVersion === 'v1' ? ['f:spec', 'f:replicas'] : undefined);
  const owner = (manager: string, set: JsonObject) => ({
    manager,
    operation: 'Apply' as const,
    apiVersion: 'v1',
    fieldsType: 'FieldsV1' as const,
    fieldsV1: fields(set),
  });
  const owners = [owner('one', { spec: { size: {}, replicas: {} } }), owner('two', { spec: { size: {} } })];
  const seen = ownersOfScale(owners, path);
  expect(seen).toEqual([{ ...owner('one', { spec: { replicas: {} } }), apiVersion: 'autoscaling/v1' }]);
  expect(ownersAfterScale(owners, seen, path, 'v1')).toEqual(owners);
  const hpa = { ...seen[0], manager: 'hpa', operation: 'Update' as const, subresource: 'scale', time: 'x' };
  expect(owned(ownersAfterScale(owners, [hpa as never], path, 'v1'))).toEqual({
    one: fields({ spec: { size: {} } }),
    two: fields({ spec: { size: {} } }),
    hpa: fields({ spec: { replicas: {} } }),
  });
});
