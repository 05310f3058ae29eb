import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../../../src/api/object.ts';
import { validateEmbedded, validateListTypes } from '../../../../src/server/registry/custom/list-types.ts';
import { loadPatterns } from '../../../../src/server/registry/custom/patterns.ts';
import { validateSchema } from '../../../../src/server/registry/custom/schema-validation.ts';
import { compileStructural } from '../../../../src/server/registry/custom/structural.ts';

const patterns = await loadPatterns();

/** The violations of `{spec: {f: value}}` where `schema` describes `f`. */
function errorsOf(schema: JsonObject, value: Json, old?: Json): string[] {
  const wrapped = compileStructural({
    type: 'object',
    properties: { spec: { type: 'object', properties: { f: schema } } },
  });
  const errors = validateSchema(
    { spec: { f: value } },
    old === undefined ? undefined : { spec: { f: old } },
    wrapped,
    {
      patterns,
    },
  );
  return errors.map(({ field, message }) => `${field}: ${message}`);
}

const INVALID = 'spec.f: Invalid value: ';
const TABLE: [what: string, schema: JsonObject, value: Json, errors: string[]][] = [
  ['a fitting integer', { type: 'integer', minimum: 1 }, 1, []],
  [
    'a text for an integer',
    { type: 'integer' },
    'x',
    [`${INVALID}"string": spec.f in body must be of type integer: "string"`],
  ],
  [
    'a fraction for an integer',
    { type: 'integer' },
    1.5,
    [`${INVALID}"number": spec.f in body must be of type integer: "number"`],
  ],
  ['an integer for a number', { type: 'number' }, 1, []],
  ['a null', { type: 'string' }, null, [`${INVALID}"null": spec.f in body must be of type string: "null"`]],
  ['a null that may be', { type: 'string', nullable: true }, null, []],
  ['an integer for int-or-string', { 'x-kubernetes-int-or-string': true }, 1, []],
  [
    'a boolean for int-or-string',
    { 'x-kubernetes-int-or-string': true },
    true,
    [`${INVALID}"boolean": spec.f in body must be of type integer,string: "boolean"`],
  ],
  [
    'too small',
    { type: 'integer', minimum: 3 },
    2,
    [`${INVALID}2: spec.f in body should be greater than or equal to 3`],
  ],
  [
    'not above',
    { type: 'integer', minimum: 3, exclusiveMinimum: true },
    3,
    [`${INVALID}3: spec.f in body should be greater than 3`],
  ],
  [
    'too large a fraction',
    { type: 'number', maximum: 1000000 },
    1000000.5,
    [`${INVALID}1000000.5: spec.f in body should be less than or equal to 1e+06`],
  ],
  [
    'no multiple',
    { type: 'integer', multipleOf: 5 },
    7,
    [`${INVALID}7: spec.f in body should be a multiple of 5`],
  ],
  [
    'beyond its format',
    { type: 'integer', format: 'int32' },
    3000000000,
    ['<nil>: Invalid value: "": Checked value must be of type integer with format int32 (in spec.f)'],
  ],
  ['too long', { type: 'string', maxLength: 2 }, 'abc', ['spec.f: Too long: may not be more than 2 bytes']],
  ['as long as may be, in code points', { type: 'string', maxLength: 2 }, '🙂🙂', []],
  [
    'too short',
    { type: 'string', minLength: 2 },
    'a',
    [`${INVALID}"a": spec.f in body should be at least 2 chars long`],
  ],
  [
    'no match',
    { type: 'string', pattern: '^a+$' },
    'b',
    [`${INVALID}"b": spec.f in body should match '^a+$'`],
  ],
  [
    'no date',
    { type: 'string', format: 'date-time' },
    'now',
    [`${INVALID}"now": spec.f in body must be of type date-time: "now"`],
  ],
  ['a date', { type: 'string', format: 'date-time' }, '2026-01-02T03:04:05Z', []],
  ['an unknown format', { type: 'string', format: 'whatever' }, 'now', []],
  [
    'no choice',
    { type: 'string', enum: ['a', 'b'] },
    'c',
    ['spec.f: Unsupported value: "c": supported values: "a", "b"'],
  ],
  [
    'too many items',
    { type: 'array', maxItems: 1, items: { type: 'string' } },
    ['a', 'b'],
    ['spec.f: Too many: 2: must have at most 1 items'],
  ],
  [
    'too few items',
    { type: 'array', minItems: 1, items: { type: 'string' } },
    [],
    [`${INVALID}0: spec.f in body should have at least 1 items`],
  ],
  [
    'a wrong item',
    { type: 'array', items: { type: 'string' } },
    ['a', 2],
    ['spec.f[1]: Invalid value: "integer": spec.f[1] in body must be of type string: "integer"'],
  ],
  [
    'a wrong value of a map',
    { type: 'object', additionalProperties: { type: 'string' } },
    { k: 2 },
    ['spec.f.k: Invalid value: "integer": spec.f.k in body must be of type string: "integer"'],
  ],
  [
    'a missing field',
    { type: 'object', required: ['a'], properties: { a: { type: 'string' } } },
    {},
    ['spec.f.a: Required value'],
  ],
  [
    'a name of Object.prototype',
    { type: 'object', required: ['toString'] },
    {},
    ['spec.f.toString: Required value'],
  ],
  [
    'none of anyOf',
    { type: 'object', anyOf: [{ required: ['a'] }, { required: ['b'] }] },
    {},
    [
      '<nil>: Invalid value: "": "spec.f" must validate at least one schema (anyOf)',
      'spec.f.a: Required value',
    ],
  ],
  ['one of oneOf', { type: 'object', oneOf: [{ required: ['a'] }, { required: ['b'] }] }, { a: 1 }, []],
  [
    'both of oneOf',
    { type: 'object', oneOf: [{ required: ['a'] }, { required: ['b'] }] },
    { a: 1, b: 1 },
    [
      '<nil>: Invalid value: "": "spec.f" must validate one and only one schema (oneOf). Found 2 valid alternatives',
    ],
  ],
  [
    'not all of allOf',
    { type: 'integer', allOf: [{ minimum: 1 }, { maximum: 3 }] },
    4,
    [
      `${INVALID}4: spec.f in body should be less than or equal to 3`,
      '<nil>: Invalid value: "": "spec.f" must validate all the schemas (allOf)',
    ],
  ],
  [
    'what must not be',
    { type: 'string', not: { enum: ['x'] } },
    'x',
    ['<nil>: Invalid value: "": "spec.f" must not validate the schema (not)'],
  ],
];

describe('structural validation', () => {
  test.each(TABLE)('%s', (_, schema, value, errors) => {
    expect(errorsOf(schema, value)).toEqual(errors);
  });

  test('judges again only what changed', () => {
    const schema: JsonObject = {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['k'],
      items: { type: 'object', properties: { k: { type: 'string' }, v: { type: 'integer', maximum: 5 } } },
    };
    const old = [{ k: 'a', v: 9 }];
    expect(errorsOf(schema, old, old)).toEqual([]);
    expect(
      errorsOf(
        schema,
        [
          { k: 'b', v: 1 },
          { k: 'a', v: 9 },
        ],
        old,
      ),
    ).toEqual([]);
    expect(errorsOf(schema, [{ k: 'a', v: 8 }], old)).toEqual([
      'spec.f[0].v: Invalid value: 8: spec.f[0].v in body should be less than or equal to 5',
    ]);
  });

  test('a pattern that would backtrack for ever answers', () => {
    expect(errorsOf({ type: 'string', pattern: '^(a+)+$' }, `${'a'.repeat(50_000)}!`)).toHaveLength(1);
  });

  test('an object with very many errors names some of them', () => {
    const many = Array.from({ length: 5000 }, () => 1);
    expect(errorsOf({ type: 'array', items: { type: 'string' } }, many).length).toBeLessThanOrEqual(200);
  });
});

describe('lists that are sets or maps', () => {
  const set = compileStructural({
    type: 'object',
    properties: { s: { type: 'array', 'x-kubernetes-list-type': 'set', items: {} } },
  });
  const map = compileStructural({
    type: 'object',
    properties: {
      m: {
        type: 'array',
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['b', 'a'],
        items: { type: 'object' },
      },
    },
  });
  const texts = (errors: { field: string; message: string }[]) =>
    errors.map(({ field, message }) => `${field}: ${message}`);

  test('have no item twice', () => {
    expect(texts(validateListTypes({ s: ['a', 'b', 'a'] }, set))).toEqual(['s[2]: Duplicate value: "a"']);
    expect(
      texts(
        validateListTypes(
          {
            s: [
              { a: 1, b: 2 },
              { b: 2, a: 1 },
            ],
          },
          set,
        ),
      ),
    ).toHaveLength(1);
    expect(
      texts(
        validateListTypes(
          {
            m: [
              { a: 1, b: 1 },
              { a: 1, b: 2 },
              { b: 1, a: 1, c: 3 },
            ],
          },
          map,
        ),
      ),
    ).toEqual(['m[2]: Duplicate value: {"a":1,"b":1}']);
  });

  test('embedded objects name their type', () => {
    const schema = compileStructural({
      type: 'object',
      properties: { o: { type: 'object', 'x-kubernetes-embedded-resource': true } },
    });
    expect(texts(validateEmbedded({ o: { kind: 'Pod' } }, schema))).toEqual([
      'o.apiVersion: Required value: must not be empty',
    ]);
    expect(validateEmbedded({}, schema)).toEqual([]);
  });
});
