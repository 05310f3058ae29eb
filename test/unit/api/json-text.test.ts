import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonSyntaxError, parseJson } from '../../../src/api/json-text.ts';

test('whatever JSON.stringify writes is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      fc.pre(!text.includes('__proto__'));
      expect(parseJson(text)).toEqual({ value: JSON.parse(text), duplicates: [] });
    }),
  );
});

test('the scan refuses what JSON.parse refuses', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.nat(),
      fc.constantFrom('', '"', '}', ']', ',', ':', '\\', '1', 'x', ' '),
      (value, at, junk) => {
        const text = JSON.stringify(value);
        const position = at % (text.length + 1);
        const broken = text.slice(0, position) + junk + text.slice(position + 1);
        fc.pre(!broken.includes('__proto__'));
        let native = true;
        try {
          JSON.parse(broken);
        } catch {
          native = false;
        }
        if (native) expect(parseJson(broken).value).toEqual(JSON.parse(broken));
        else expect(() => parseJson(broken)).toThrow(JsonSyntaxError);
      },
    ),
    { numRuns: 500 },
  );
});

test('fields that occur twice are found with their path', () => {
  const { value, duplicates } = parseJson(
    '{"data":{"a":"1","a":"2"},"list":[{"x":1},{"x":1,"\\u0078":2}],"data":{}}',
  );
  expect(duplicates).toEqual(['data.a', 'list[1].x', 'data']);
  expect(value).toEqual({ data: {}, list: [{ x: 1 }, { x: 2 }] });
});

test.each([
  ['', 'unexpected end of JSON input'],
  ['{"a":1,', 'unexpected end of JSON input'],
  ['{bad', "invalid character 'b' looking for beginning of object key string"],
  ['garbage', "invalid character 'g' looking for beginning of value"],
  ['{"a" 1}', "invalid character '1' after object key"],
  ['{"a":1 "b"', `invalid character '"' after object key:value pair`],
  ['[1 2]', "invalid character '2' after array element"],
  ['{} x', "invalid character 'x' after top-level value"],
  ['trux', "invalid character 'x' in literal true (expecting 'e')"],
  ['"a\nb"', "invalid character '\\n' in string literal"],
  ['"\\q"', "invalid character 'q' in string escape code"],
  ['-x', "invalid character 'x' in numeric literal"],
])('%j is worded as Go words it', (text, message) => {
  expect(() => parseJson(text)).toThrow(message);
});

test('nesting is bounded and __proto__ is no field name, also when escaped', () => {
  expect(() => parseJson('['.repeat(100_000))).toThrow('exceeded max depth');
  expect(() => parseJson('{"a":{"__proto__":{}}}')).toThrow('__proto__');
  expect(() => parseJson('{"\\u005f_proto__":1}')).toThrow('__proto__');
});
