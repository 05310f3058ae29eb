import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../../../src/api/object.ts';
import { CelEngine } from '../../../../src/server/registry/custom/cel/rules.ts';
import { loadPatterns } from '../../../../src/server/registry/custom/patterns.ts';
import { compileStructural } from '../../../../src/server/registry/custom/structural.ts';

const engine = await CelEngine.load(await loadPatterns());

const PROPERTIES: JsonObject = {
  a: { type: 'integer' },
  b: { type: 'integer' },
  d: { type: 'number' },
  s: { type: 'string' },
  t: { type: 'string', format: 'date-time' },
  u: { type: 'string', format: 'duration' },
  y: { type: 'string', format: 'byte' },
  flag: { type: 'boolean' },
  iop: { 'x-kubernetes-int-or-string': true },
  names: { type: 'array', items: { type: 'string' } },
  ports: {
    type: 'array',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
    items: { type: 'object', properties: { name: { type: 'string' }, port: { type: 'integer' } } },
  },
  labels: { type: 'object', additionalProperties: { type: 'string' } },
  in: { type: 'string' },
  'my-field': { type: 'string' },
  'x/y.z': { type: 'string' },
  o: { type: 'object', properties: { v: { type: 'integer' } } },
  e: { type: 'object', 'x-kubernetes-embedded-resource': true, 'x-kubernetes-preserve-unknown-fields': true },
};

function compile(rules: JsonObject[]) {
  return engine.compile(
    compileStructural({
      type: 'object',
      properties: { spec: { type: 'object', properties: PROPERTIES, 'x-kubernetes-validations': rules } },
    }),
  );
}

function run(rules: JsonObject[], spec: JsonObject, old?: JsonObject): string[] {
  const compiled = compile(rules);
  expect(compiled.problems).toEqual([]);
  const errors = compiled.validate({ spec }, old && { spec: old });
  return errors.map(({ field, message }) => `${field}: ${message}`);
}

const SPEC: JsonObject = {
  a: 1,
  b: 2,
  d: 1.5,
  s: 'text',
  t: '2026-01-02T03:04:05Z',
  u: '90s',
  y: 'aGk=',
  flag: true,
  iop: '50%',
  names: ['x', 'y'],
  ports: [
    { name: 'http', port: 80 },
    { name: 'https', port: 443 },
  ],
  labels: { k: 'v', constructor: 'c' },
  in: 'i',
  'my-field': 'm',
  'x/y.z': 'z',
  o: { v: 3 },
  e: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } },
};

const HOLDS = [
  'self.a < self.b',
  'self.a + self.b == 3',
  'self.d == 1.5',
  'double(self.a) < self.d',
  'self.s.size() == 4 && size(self.s) == 4',
  "self.s.matches('^te.t$')",
  "!self.s.matches('^(t+)+$')",
  'has(self.o) && has(self.o.v)',
  "self.__in__ == 'i'",
  "self.my__dash__field == 'm'",
  "self.x__slash__y__dot__z == 'z'",
  "self.iop == '50%'",
  "type(self.iop) == string ? self.iop.endsWith('%') : self.iop > 0",
  "self.names.all(n, n != '')",
  "self.names.exists_one(n, n == 'x')",
  'self.ports.filter(p, p.port > 100).size() == 1',
  "self.ports.map(p, p.name).exists(n, n == 'https')",
  'self.ports.all(p, self.ports.exists_one(q, q.name == p.name))',
  "'k' in self.labels && self.labels['k'] == 'v' && !('z' in self.labels)",
  'self.labels.all(k, self.labels[k].size() < 5)',
  "self.labels != {'k': 'v'} && {'k': 'v'} == {'k': 'v'}",
  "self.names == ['x', 'y']",
  'self.o == self.o',
  "self.t < timestamp('2027-01-01T00:00:00Z')",
  "self.u == duration('90s') && self.u < duration('2m')",
  "self.y == b'hi'",
  "self.e.kind == 'Pod' && self.e.metadata.name == 'p'",
  'self.?o.?v.orValue(0) == 3',
  'self.names.isSorted()',
  '[1, 2, 3].sum() == 6 && [3, 1].min() == 1 && [3, 1].max() == 3',
  "self.names.indexOf('y') == 1 && ['a'].lastIndexOf('b') == -1",
  "'a-b-c'.replace('-', '+') == 'a+b+c' && 'a-b-c'.replace('-', '', 1) == 'ab-c'",
  "'abc'.charAt(1) == 'b' && 'abc'.reverse() == 'cba'",
  "'%s has %d of %.2f'.format(['x', 2, 1.5]) == 'x has 2 of 1.50'",
  "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
  "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1000m') == quantity('1')",
  "isQuantity('1Ki') && !isQuantity('x') && quantity('2').add(quantity('500m')).compareTo(quantity('2500m')) == 0",
  "url('https://u.example.com:8443/p?q=1').getHostname() == 'u.example.com' && isURL('/p') && !isURL('p')",
  "ip('10.0.0.1').family() == 4 && isIP('::1') && cidr('10.0.0.0/8').containsIP('10.2.3.4')",
  "!cidr('10.0.0.0/8').containsCIDR('11.0.0.0/16') && cidr('fd00::/8').containsIP(ip('fd00::1'))",
  "sets.contains([1, 2], [2]) && sets.intersects(['a'], ['a', 'b']) && !sets.equivalent([1], [2])",
  "!format.dns1123Label().validate('ok').hasValue() && format.dns1123Label().validate('NOT').hasValue()",
  'cel.bind(x, self.a, x == 1)',
  'dyn(self.a) == 1.0 || true',
];

describe('rules that hold', () => {
  test.each(HOLDS)('%s', (rule) => {
    expect(run([{ rule }], SPEC)).toEqual([]);
  });
});

describe('rules that are broken', () => {
  test('tell themselves, or their message', () => {
    expect(run([{ rule: ' self.a > 5 ' }], SPEC)).toEqual([
      'spec: Invalid value: "object": failed rule: self.a > 5',
    ]);
    expect(run([{ rule: 'self.a > 5', message: ' too small ' }], SPEC)).toEqual([
      'spec: Invalid value: "object": too small',
    ]);
  });

  test('tell a computed message, and their own when that fails', () => {
    const rule = { rule: 'self.a > 5', message: 'm', messageExpression: "'a is ' + string(self.a)" };
    expect(run([rule], SPEC)).toEqual(['spec: Invalid value: "object": a is 1']);
    const failing = { ...rule, messageExpression: "self.labels['none']" };
    expect(run([failing], SPEC)).toEqual(['spec: Invalid value: "object": m']);
  });

  test('name their reason and field', () => {
    expect(
      run(
        [
          { rule: 'false', message: 'm', reason: 'FieldValueForbidden', fieldPath: '.o.v' },
          { rule: 'false', message: 'm', reason: 'FieldValueRequired', fieldPath: ".labels['a b']" },
          { rule: 'false', message: 'm', reason: 'FieldValueDuplicate' },
        ],
        SPEC,
      ),
    ).toEqual([
      'spec.o.v: Forbidden: m',
      'spec.labels.a b: Required value: m',
      'spec: Duplicate value: "object"',
    ]);
  });

  test.each([
    ["self.labels['none'] == 'x'", "no such key: none evaluating rule: self.labels['none'] == 'x'"],
    ["self.names[7] == 'x'", "index out of bounds: 7 evaluating rule: self.names[7] == 'x'"],
    ['self.a / 0 == 1', 'division by zero evaluating rule: self.a / 0 == 1'],
    [
      'self.iop > 5',
      "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.iop > 5",
    ],
  ])('%s fails while it runs', (rule, message) => {
    expect(run([{ rule }], SPEC)).toEqual([`spec: Invalid value: "object": ${message}`]);
  });

  test('stand below lists and maps', () => {
    const schema = compileStructural({
      type: 'object',
      properties: {
        l: {
          type: 'array',
          items: { type: 'string', 'x-kubernetes-validations': [{ rule: "self != 'bad'" }] },
        },
        m: {
          type: 'object',
          additionalProperties: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self > 0' }] },
        },
      },
    });
    const errors = engine.compile(schema).validate({ l: ['ok', 'bad'], m: { k: 0 } }, undefined);
    expect(errors.map(({ field }) => field)).toEqual(['l[1]', 'm[k]']);
  });

  test('see type and name of the whole object', () => {
    const schema = compileStructural({
      type: 'object',
      'x-kubernetes-validations': [{ rule: "self.metadata.name == 'x' && self.kind == 'K'" }],
    });
    const rules = engine.compile(schema);
    expect(rules.problems).toEqual([]);
    expect(rules.validate({ kind: 'K', apiVersion: 'v1', metadata: { name: 'x' } }, undefined)).toEqual([]);
    expect(rules.validate({ kind: 'K', metadata: { name: 'y' } }, undefined)).toMatchObject([
      { field: '<nil>' },
    ]);
  });
});

describe('transitions', () => {
  const grows = [{ rule: 'self.a >= oldSelf.a', message: 'a may not shrink' }];

  test('are judged on changes alone', () => {
    expect(run(grows, { a: 1 })).toEqual([]);
    expect(run(grows, { a: 2 }, { a: 1 })).toEqual([]);
    expect(run(grows, { a: 1 }, { a: 2 })).toEqual(['spec: Invalid value: "object": a may not shrink']);
  });

  test('with an optional old self are judged on creation as well', () => {
    const rules = [
      { rule: 'oldSelf.hasValue() || self.a == 1', message: 'starts at 1', optionalOldSelf: true },
    ];
    expect(run(rules, { a: 2 })).toEqual(['spec: Invalid value: "object": starts at 1']);
    expect(run(rules, { a: 2 }, { a: 1 })).toEqual([]);
  });

  test('a rule about the state alone does not judge again what did not change', () => {
    const rules = [{ rule: 'self.a > 5' }];
    expect(run(rules, { a: 1 }, { a: 1 })).toEqual([]);
    expect(run(rules, { a: 2 }, { a: 1 })).toHaveLength(1);
  });

  test('items of a list that is a map are compared by their keys', () => {
    const schema = compileStructural({
      type: 'object',
      properties: {
        l: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['k'],
          items: {
            type: 'object',
            properties: {
              k: { type: 'string' },
              v: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self == oldSelf' }] },
            },
          },
        },
      },
    });
    const old = {
      l: [
        { k: 'a', v: 1 },
        { k: 'b', v: 2 },
      ],
    };
    const rules = engine.compile(schema);
    expect(
      rules.validate(
        {
          l: [
            { k: 'b', v: 2 },
            { k: 'c', v: 9 },
            { k: 'a', v: 1 },
          ],
        },
        old,
      ),
    ).toEqual([]);
    expect(rules.validate({ l: [{ k: 'b', v: 3 }] }, old)).toMatchObject([{ field: 'l[0].v' }]);
  });
});

describe('rules that do not compile', () => {
  const detail = (rule: JsonObject): string[] =>
    compile([rule]).problems.map((problem) => `${problem.field}: ${problem.detail}`);

  test.each([
    [
      { rule: 'self.nope == 1' },
      "rule: compilation failed: ERROR: <input>:1:6: undefined field 'nope'\n | self.nope == 1\n | .....^",
    ],
    [
      { rule: 'nope' },
      "rule: compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope\n | ^",
    ],
    [{ rule: 'self.a' }, 'rule: cel expression must evaluate to a bool'],
    [
      { rule: 'true', messageExpression: 'self.a' },
      'messageExpression: messageExpression must evaluate to a string',
    ],
  ])('%j', (rule, expected) => {
    expect(detail(rule)).toEqual([expected]);
  });

  test.each([
    'self.a + "x" == "1x"',
    'self.a == "1"',
    'self.names.all(n, n > 1)',
    'unknown(self.a)',
    'self.s.size() =',
  ])('%s', (rule) => {
    expect(detail({ rule })).toHaveLength(1);
  });

  test('a transition where nothing can be compared', () => {
    const schema = compileStructural({
      type: 'object',
      properties: {
        l: {
          type: 'array',
          items: { type: 'string', 'x-kubernetes-validations': [{ rule: 'self == oldSelf' }] },
        },
      },
    });
    expect(engine.compile(schema).problems).toHaveLength(1);
  });
});

describe('hostile rules and objects', () => {
  const names: Json = Array.from({ length: 2000 }, (_, index) => `n${index}`);
  const limit = /cost/;

  test.each([
    'self.names.all(a, self.names.all(b, self.names.all(c, a + b + c != "")))',
    'self.names.map(a, self.names.map(b, self.names.map(c, a))).size() > 0',
    'self.names.exists(a, self.names.exists(b, self.names.exists(c, false || a == b && b == c && c == "none")))',
    'self.names.all(a, self.names == self.names || true)',
    'self.names.all(a, a in self.names)',
    'self.names.filter(a, self.names.exists_one(b, a == b)).size() > 0',
  ])('%s costs too much', (rule) => {
    const [error, ...others] = run([{ rule }, { rule: 'self.a == 1' }], { a: 1, names });
    expect(error).toMatch(limit);
    expect(others).toEqual([]);
  });

  test('all rules of an object together have a budget', () => {
    const rule = { rule: 'self.names.all(a, self.names.exists(b, b == "n300"))' };
    const errors = run(
      Array.from({ length: 40 }, () => rule),
      { names: names.slice(0, 400) as Json },
    );
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/running out of cost budget/);
  });

  test('keys that are names of Object.prototype are keys', () => {
    const labels = JSON.parse('{"__proto__": "p", "constructor": "c", "toString": "t"}');
    expect(
      run([{ rule: "self.labels.size() == 3 && self.labels['constructor'] == 'c'" }], { labels }),
    ).toEqual([]);
    expect(run([{ rule: "!('valueOf' in self.labels)" }], { labels })).toEqual([]);
  });

  test('an expression nested too deep does not compile', () => {
    const rule = `${'('.repeat(5000)}true${')'.repeat(5000)}`;
    expect(compile([{ rule }]).problems).toHaveLength(1);
  });
});
