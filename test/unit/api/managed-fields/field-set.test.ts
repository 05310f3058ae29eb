import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  difference,
  differenceBelow,
  equal,
  type FieldSet,
  fieldSet,
  has,
  intersection,
  isEmpty,
  paths,
  union,
} from '../../../../src/api/managed-fields/field-set.ts';
import {
  compareElements,
  normalElement,
  writtenPath,
} from '../../../../src/api/managed-fields/path-element.ts';

type Paths = string[][];

function set(...list: string[]): FieldSet {
  return fieldSet(...list.map((path) => path.split('/')));
}

describe('set algebra', () => {
  test.each<[string, FieldSet, FieldSet, FieldSet]>([
    ['union: disjoint', union(set('a'), set('b')), set('a', 'b'), set('b', 'a')],
    ['union: a parent beside its child', union(set('a'), set('a/b')), set('a', 'a/b'), set('a/b', 'a')],
    ['intersection: of a parent and its child nothing', intersection(set('a'), set('a/b')), set(), {}],
    [
      'intersection',
      intersection(set('a', 'a/b', 'c/d'), set('a', 'a/b/c', 'c/d')),
      set('a', 'c/d'),
      set('c/d', 'a'),
    ],
    [
      'difference: a parent stays when its child goes',
      difference(set('a', 'a/b'), set('a/b')),
      set('a'),
      { a: {} },
    ],
    [
      'difference: a child stays when its parent goes',
      difference(set('a', 'a/b'), set('a')),
      set('a/b'),
      { a: { b: {} } },
    ],
    ['difference: of a leaf without members nothing is left', difference(set('a/b'), set('a/b')), set(), {}],
    [
      'difference below: with all that is below',
      differenceBelow(set('a', 'a/b', 'c'), set('a')),
      set('c'),
      { c: {} },
    ],
  ])('%s', (_, result, expected, same) => {
    expect(result).toEqual(expected);
    expect(equal(result, same)).toBe(true);
  });

  const element = fc.constantFrom('f:a', 'f:b', 'k:{"name":"x"}', 'v:1');
  const anyPaths = fc.array(fc.array(element, { minLength: 1, maxLength: 3 }), { maxLength: 8 });
  const text = (path: readonly string[]): string => path.join('/');
  const members = (given: FieldSet): Set<string> => new Set(paths(given, compareElements).map(text));

  test('a set is what a set of its paths is', () => {
    fc.assert(
      fc.property(anyPaths, anyPaths, (left: Paths, right: Paths) => {
        const [a, b] = [fieldSet(...left), fieldSet(...right)];
        const [ours, theirs] = [new Set(left.map(text)), new Set(right.map(text))];
        expect(members(a)).toEqual(ours);
        expect(members(union(a, b))).toEqual(new Set([...ours, ...theirs]));
        expect(members(intersection(a, b))).toEqual(new Set([...ours].filter((path) => theirs.has(path))));
        expect(members(difference(a, b))).toEqual(new Set([...ours].filter((path) => !theirs.has(path))));
        const isBelow = (path: string) =>
          [...theirs].some((one) => path === one || path.startsWith(`${one}/`));
        expect(members(differenceBelow(a, b))).toEqual(new Set([...ours].filter((path) => !isBelow(path))));
        for (const path of left) expect(has(a, path)).toBe(true);
        for (const path of right) expect(has(difference(a, b), path)).toBe(false);
        expect(isEmpty(difference(a, a))).toBe(true);
        expect(equal(union(a, b), union(b, a))).toBe(true);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test('nothing is changed in place', () => {
    const left = set('f:a/f:b', 'f:c');
    const right = set('f:a/f:b', 'f:a');
    const before = JSON.stringify([left, right]);
    union(left, right);
    difference(left, right);
    differenceBelow(left, right);
    intersection(left, right);
    expect(JSON.stringify([left, right])).toBe(before);
  });
});

describe('path elements', () => {
  test('as they are shown in conflicts', () => {
    const path = ['f:spec', 'k:{"port":80,"protocol":"TCP"}', 'v:"x"', 'v:1', 'i:2'];
    expect(writtenPath(path)).toBe('.spec[port=80,protocol="TCP"][="x"][=1][2]');
  });

  test.each([
    ['k:{"b": 1, "a" : "x"}', 'k:{"a":"x","b":1}'],
    ['v: "x"', 'v:"x"'],
    ['v:"<"', String.raw`v:"\u003c"`],
    ['f:k:{', 'f:k:{'],
    ['k:[1]', undefined],
    ['k:{', undefined],
    ['i:x', undefined],
    ['x:y', undefined],
    ['', undefined],
  ])('%s is normally %s', (given, normal) => {
    expect(normalElement(given)).toBe(normal);
  });

  test('order: fields, items by key, items by value', () => {
    const ordered = [
      'f:a',
      'f:b',
      'k:{"a":2}',
      'k:{"a":10}',
      'k:{"a":10,"b":"x"}',
      'k:{"b":1}',
      'v:2',
      'v:10',
    ];
    expect([...ordered].reverse().sort(compareElements)).toEqual(ordered);
  });
});
