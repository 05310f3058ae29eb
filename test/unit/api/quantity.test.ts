import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  formatQuantity,
  milliUnits,
  parseQuantity,
  QuantityError,
  subtractQuantities,
  wholeUnits,
} from '../../../src/api/quantity.ts';

describe('canonical form', () => {
  test.each([
    ['1000m', '1'],
    ['0.25', '250m'],
    ['1024Mi', '1Gi'],
    ['1536Mi', '1536Mi'],
    ['0.5Gi', '512Mi'],
    ['1.5Gi', '1536Mi'],
    ['512', '512'],
    ['1000', '1k'],
    ['1500', '1500'],
    ['100000', '100k'],
    ['1e3', '1e3'],
    ['12e5', '1200e3'],
    ['1E', '1E'],
    ['1E3', '1e3'],
    ['0', '0'],
    ['0Gi', '0'],
    ['-1', '-1'],
    ['+5', '5'],
    ['.5', '500m'],
    ['5.', '5'],
    ['1000Ki', '1000Ki'],
    ['500Ki', '500Ki'],
    // Binary suffixes below 1024 are written in decimal.
    ['0.5Ki', '512'],
    ['0.001Ki', '1024m'],
    // Finer than nano is rounded up, away from zero.
    ['0.0000000001', '1n'],
    ['-0.0000000001', '-1n'],
    ['100u', '100u'],
  ])('%s is written %s', (given, canonical) => {
    expect(canonicalQuantity(given)).toBe(canonical);
  });

  test('what is canonical stays as it is, and means the same', () => {
    const suffix = fc.constantFrom('', 'm', 'u', 'n', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'e3', 'e-3');
    fc.assert(
      fc.property(fc.integer({ min: -1_000_000, max: 1_000_000 }), suffix, (number, unit) => {
        const parsed = parseQuantity(`${number}${unit}`);
        const text = formatQuantity(parsed);
        expect(parseQuantity(text).nano).toBe(parsed.nano);
        expect(canonicalQuantity(text)).toBe(text);
      }),
    );
  });
});

test.each([
  ['', /regular expression/],
  ['lots', /regular expression/],
  ['1Zi', /regular expression/],
  ['1 Gi', /regular expression/],
  ['1..2', /numeric part/],
  ['.', /numeric part/],
  ['1mm', /suffix/],
  [`1${'0'.repeat(300)}`, /regular expression/],
])('%j is no quantity', (text, message) => {
  expect(() => parseQuantity(text)).toThrow(QuantityError);
  expect(() => parseQuantity(text)).toThrow(message);
});

test('huge values are cut to the largest instead of costing memory', () => {
  expect(compareQuantities(parseQuantity('1e999999999'), parseQuantity('9223372036854775807'))).toBe(0);
  expect(parseQuantity('1e-999999999').nano).toBe(1n);
});

test('sums are exact and keep the format', () => {
  expect(formatQuantity(addQuantities(parseQuantity('0.1'), parseQuantity('0.2')))).toBe('300m');
  expect(formatQuantity(addQuantities(parseQuantity('1Gi'), parseQuantity('512Mi')))).toBe('1536Mi');
  expect(formatQuantity(subtractQuantities(parseQuantity('1'), parseQuantity('250m')))).toBe('750m');
});

test('whole and milli units are rounded up', () => {
  expect(wholeUnits(parseQuantity('1.1'))).toBe(2);
  expect(milliUnits(parseQuantity('0.0001'))).toBe(1);
  expect(milliUnits(parseQuantity('2'))).toBe(2000);
});
