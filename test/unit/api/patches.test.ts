import { describe, expect, test } from 'vitest';
import { loadSchemaFacts } from '../../../src/api/facts.ts';
import type { Json, JsonObject } from '../../../src/api/object.ts';
import { cloneJson } from '../../../src/api/object.ts';
import { applyJsonPatch, jsonEqual, PatchError } from '../../../src/api/patch-json.ts';
import { applyMergePatch } from '../../../src/api/patch-merge.ts';
import { applyStrategicPatch } from '../../../src/api/patch-strategic.ts';
import { Schemas } from '../../../src/api/schema.ts';

describe('JSON patch', () => {
  const document = { a: { b: [1, 2, 3] }, 'x/y': { '~': 0 } };
  test.each<[string, object[], Json]>([
    [
      'add to a list',
      [{ op: 'add', path: '/a/b/1', value: 9 }],
      { a: { b: [1, 9, 2, 3] }, 'x/y': { '~': 0 } },
    ],
    ['append', [{ op: 'add', path: '/a/b/-', value: 4 }], { a: { b: [1, 2, 3, 4] }, 'x/y': { '~': 0 } }],
    ['escapes', [{ op: 'replace', path: '/x~1y/~0', value: 1 }], { a: { b: [1, 2, 3] }, 'x/y': { '~': 1 } }],
    ['move', [{ op: 'move', from: '/a/b', path: '/c' }], { a: {}, c: [1, 2, 3], 'x/y': { '~': 0 } }],
    [
      'copy',
      [{ op: 'copy', from: '/a/b/0', path: '/a/c' }],
      { a: { b: [1, 2, 3], c: 1 }, 'x/y': { '~': 0 } },
    ],
    [
      'test and remove',
      [
        { op: 'test', path: '/a/b/0', value: 1 },
        { op: 'remove', path: '/a' },
      ],
      { 'x/y': { '~': 0 } },
    ],
  ])('%s', (_, operations, result) => {
    const before = cloneJson(document);
    expect(applyJsonPatch(document, operations)).toEqual(result);
    expect(document).toEqual(before);
  });

  test.each<[string, object[]]>([
    ['remove of nothing', [{ op: 'remove', path: '/nope' }]],
    ['failing test', [{ op: 'test', path: '/a', value: 1 }]],
    ['beyond the end', [{ op: 'add', path: '/a/b/9', value: 1 }]],
    ['below a number', [{ op: 'add', path: '/a/b/0/c', value: 1 }]],
    ['path without slash', [{ op: 'add', path: 'a', value: 1 }]],
    ['unknown operation', [{ op: 'frob', path: '/a' }]],
    ['no value', [{ op: 'add', path: '/a' }]],
    ['inherited names', [{ op: 'replace', path: '/constructor/prototype/x', value: 1 }]],
  ])('%s is refused', (_, operations) => {
    expect(() => applyJsonPatch(document, operations)).toThrow(PatchError);
  });

  test('__proto__ is a key like any other', () => {
    const result = applyJsonPatch({}, [{ op: 'add', path: '/__proto__', value: { polluted: true } }]);
    expect(Object.keys(result as object)).toEqual(['__proto__']);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test('copies cannot blow the document up', () => {
    const operations = Array.from({ length: 40 }, () => ({ op: 'copy', from: '/a', path: '/a/-' }));
    expect(() => applyJsonPatch({ a: [1] }, operations)).toThrow(/size limit/);
  });
});

test('merge patch: null deletes, lists are replaced, nothing is shared that changed', () => {
  const document = { a: 1, b: { c: [1, 2], d: 'x' }, keep: { deep: true } };
  expect(applyMergePatch(document, { a: null, b: { c: [3] }, e: { f: null, g: 1 } })).toEqual({
    b: { c: [3], d: 'x' },
    e: { g: 1 },
    keep: { deep: true },
  });
  expect(document.b.c).toEqual([1, 2]);
  const polluted = applyMergePatch({}, JSON.parse('{"__proto__":{"x":1}}'));
  expect(Object.getPrototypeOf(polluted)).toBe(Object.prototype);
});

describe('strategic merge patch', async () => {
  const schemas = new Schemas(await loadSchemaFacts());
  const spec = schemas.struct('io.k8s.api.core.v1.PodSpec');
  const deployment = schemas.struct('io.k8s.api.apps.v1.DeploymentSpec');
  const meta = schemas.struct('io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta');
  const pod: JsonObject = {
    containers: [
      { name: 'a', image: 'a:1', env: [{ name: 'X', value: '1' }], args: ['p', 'q'] },
      { name: 'b', image: 'b:1' },
    ],
    volumes: [{ name: 'v', emptyDir: {} }],
    nodeSelector: { x: 'y' },
  };
  const patch = (body: JsonObject): JsonObject => {
    const before = cloneJson(pod);
    const result = applyStrategicPatch(pod, body, spec);
    expect(pod).toEqual(before);
    return result;
  };
  const names = (list: unknown): unknown[] => (list as JsonObject[]).map(({ name }) => name);

  test('keyed lists are merged by their key, others replaced', () => {
    const { containers } = patch({
      containers: [{ name: 'a', image: 'a:2', args: ['z'], env: [{ name: 'Y', value: '2' }] }],
    });
    expect(containers).toEqual([
      {
        name: 'a',
        image: 'a:2',
        args: ['z'],
        // What the patch names comes before what only the server has, unless both stood there before.
        env: [
          { name: 'Y', value: '2' },
          { name: 'X', value: '1' },
        ],
      },
      { name: 'b', image: 'b:1' },
    ]);
  });

  test('$patch: delete takes an item out, $patch: replace the rest as well', () => {
    expect(names(patch({ containers: [{ name: 'a', $patch: 'delete' }] }).containers)).toEqual(['b']);
    const replaced = patch({ containers: [{ $patch: 'replace' }, { name: 'c', image: 'c' }] });
    expect(replaced.containers).toEqual([{ name: 'c', image: 'c' }]);
    expect(patch({ nodeSelector: { $patch: 'replace', n: '1' } }).nodeSelector).toEqual({ n: '1' });
  });

  test('$setElementOrder puts the named ones in order and weaves the others in', () => {
    const result = patch({
      '$setElementOrder/containers': [{ name: 'c' }, { name: 'b' }, { name: 'a' }],
      containers: [{ name: 'c', image: 'c' }],
    });
    expect(names(result.containers)).toEqual(['c', 'b', 'a']);
    expect(() =>
      patch({ '$setElementOrder/containers': [{ name: 'a' }], containers: [{ name: 'z', image: 'z' }] }),
    ).toThrow(/order in patch list/);
  });

  test('$retainKeys clears what is not named', () => {
    const strategy = { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } };
    expect(
      applyStrategicPatch(strategy, { strategy: { $retainKeys: ['type'], type: 'Recreate' } }, deployment),
    ).toEqual({ strategy: { type: 'Recreate' } });
    const volumes = patch({
      volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/x' } }],
    });
    expect(volumes.volumes).toEqual([{ name: 'v', hostPath: { path: '/x' } }]);
  });

  test('lists of plain values are sets; $deleteFromPrimitiveList takes from them', () => {
    const object = { finalizers: ['a', 'b'] };
    expect(applyStrategicPatch(object, { finalizers: ['b', 'c'] }, meta)).toEqual({
      finalizers: ['a', 'b', 'c'],
    });
    expect(applyStrategicPatch(object, { '$deleteFromPrimitiveList/finalizers': ['a'] }, meta)).toEqual({
      finalizers: ['b'],
    });
  });

  test('null deletes a field', () => {
    expect(patch({ nodeSelector: null })).not.toHaveProperty('nodeSelector');
    expect(patch({ containers: [{ name: 'a', image: null }] }).containers).toContainEqual({
      name: 'a',
      env: [{ name: 'X', value: '1' }],
      args: ['p', 'q'],
    });
  });

  test.each<[string, JsonObject, RegExp]>([
    ['a missing merge key', { containers: [{ image: 'x' }] }, /does not contain declared merge key: name/],
    ['an unknown directive', { containers: [{ name: 'a', $patch: 'nope' }] }, /unknown patch type: nope/],
    ['$patch: merge of a map', { nodeSelector: { $patch: 'merge', a: 'b' } }, /unknown patch type: merge/],
  ])('%s is refused', (_, body, message) => {
    expect(() => patch(body)).toThrow(message);
  });
});

test('jsonEqual ignores the order of keys and absent values', () => {
  expect(jsonEqual({ a: 1, b: [1, { c: 2 }] }, { b: [1, { c: 2 }], a: 1, d: undefined })).toBe(true);
  expect(jsonEqual([1, 2], [2, 1])).toBe(false);
  expect(jsonEqual({ a: null }, {})).toBe(false);
  expect(jsonEqual({ toString: 1 } as unknown as Json, {})).toBe(false);
});
