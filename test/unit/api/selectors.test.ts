import { describe, expect, test } from 'vitest';
import { parseFieldSelector } from '../../../src/api/field-selectors.ts';
import {
  formatSelector,
  mapMatcher,
  parseLabelSelector,
  SelectorError,
  selectorMatcher,
  selectorRequirements,
} from '../../../src/api/selectors.ts';

describe('label selector strings', () => {
  const web = { app: 'web', tier: 'front', count: '5' };
  test.each([
    ['', true],
    ['app=web', true],
    ['app==web', true],
    ['app=db', false],
    ['app!=db', true],
    ['missing!=x', true],
    ['app', true],
    ['!app', false],
    ['!missing', true],
    ['app in (web,db)', true],
    ['app in (db)', false],
    ['app notin (db),tier=front', true],
    ['missing notin (a)', true],
    ['tier in ()', false],
    ['count>4', true],
    ['count<5', false],
    ['app=', false],
    ['missing=', false],
    ['  app = web , tier ', true],
    // Inherited names are no labels.
    ['constructor', false],
    ['toString', false],
  ])('%j', (text, matches) => {
    expect(parseLabelSelector(text)(web)).toBe(matches);
  });

  test.each([
    ['app=x,,', "found ',', expected: identifier after ','"],
    [
      'x>y',
      "unable to parse requirement: values[0]: Invalid value: \"y\": for 'Gt', 'Lt' operators, the value must be an integer",
    ],
    ['app in web', "unable to parse requirement: found 'web' expected: '('"],
    ['app=a b', "found 'b', expected: ',' or 'end of string'"],
    [')', "found ')', expected: !, identifier, or 'end of string'"],
  ])('%j is refused', (text, message) => {
    expect(() => parseLabelSelector(text)).toThrow(new SelectorError(message));
  });

  test('a hostile selector is refused in time', () => {
    expect(() => parseLabelSelector(`${'a-'.repeat(100_000)}=x`)).toThrow(SelectorError);
  });
});

test('selector objects: an empty one matches everything, an absent one nothing', () => {
  expect(selectorMatcher({})({ a: 'b' })).toBe(true);
  expect(selectorMatcher(undefined)({ a: 'b' })).toBe(false);
  expect(mapMatcher({})({ a: 'b' })).toBe(false);
  const selector = {
    matchLabels: { b: '2' },
    matchExpressions: [{ key: 'a', operator: 'In', values: ['y', 'x'] }],
  };
  expect(selectorMatcher(selector)({ a: 'x', b: '2' })).toBe(true);
  expect(selectorMatcher(selector)({ a: 'z', b: '2' })).toBe(false);
  expect(formatSelector(selectorRequirements(selector))).toBe('a in (x,y),b=2');
});

test('field selectors with escapes', () => {
  expect(parseFieldSelector('status.phase!=Running,metadata.name=a\\,b\\=c')).toEqual([
    { field: 'status.phase', value: 'Running', negated: true },
    { field: 'metadata.name', value: 'a,b=c', negated: false },
  ]);
  expect(() => parseFieldSelector('nonsense')).toThrow(
    "invalid selector: 'nonsense'; can't understand 'nonsense'",
  );
});
