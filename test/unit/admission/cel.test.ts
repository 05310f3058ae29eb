import { beforeAll, describe, expect, test } from 'vitest';
import { Budget, ExpressionError, Expressions } from '../../../src/server/cel/expressions.ts';
import { rewriteMessages } from '../../../src/server/cel/messages.ts';
import { fromCel, toCel } from '../../../src/server/cel/values.ts';

let engine: Expressions;
beforeAll(async () => {
  engine = await Expressions.load();
});

const OBJECT = { metadata: { name: 'web', labels: { a: '1' } }, spec: { replicas: 2, list: [1, 2] } };
const run = (source: string): unknown => {
  const result = engine.compile(source).evaluate({ object: toCel(OBJECT) }, new Budget());
  return fromCel(result);
};

describe('messages', () => {
  test.each([
    ['Object{}', "message('Object', {})"],
    [
      "Object{metadata: Object.metadata{labels: {'a': 'b'}}}",
      `message('Object', {"metadata": message('Object.metadata', {"labels": {'a': 'b'}})})`,
    ],
    ["[JSONPatch{op: 'test'}]", `[message('JSONPatch', {"op": 'test'})]`],
    ["'Object{a: 1}' + object.Object", "'Object{a: 1}' + object.Object"],
    ['Object{a: x ? {b: c} : d, e: f}', `message('Object', {"a": x ? {b: c} : d, "e": f})`],
  ])('%s', (source, rewritten) => {
    expect(rewriteMessages(source)).toBe(rewritten);
  });

  test('optional fields are left out when they have no value', () => {
    expect(run('Object{spec: Object.spec{?a: object.?spec.?replicas, ?b: object.?spec.?none}}')).toEqual({
      spec: { a: 2 },
    });
  });
});

describe('expressions', () => {
  test.each<[string, unknown]>([
    ['object.spec.replicas + 1', 3],
    ['object.spec.list.map(x, x * 2)', [2, 4]],
    ["object.metadata.name.matches('^w.b$')", true],
    ["has(object.metadata.annotations) ? 'yes' : 'no'", 'no'],
    ["jsonpatch.escapeKey('a/b~c')", 'a~1b~0c'],
    ["quantity('1Gi').isGreaterThan(quantity('512Mi'))", true],
  ])('%s', (source, value) => {
    expect(run(source)).toEqual(value);
  });

  test('what does not compile is told as cel-go tells it', () => {
    expect(() => engine.compile('objekt.spec')).toThrow(
      "ERROR: <input>:1:1: undeclared reference to 'objekt' (in container '')\n | objekt.spec\n | ^",
    );
  });

  test('a missing field is an error', () => {
    expect(() => run('object.spec.none == 1')).toThrow(new ExpressionError('no such key: none'));
  });

  test('an expression costs no more than its budget', () => {
    const list = JSON.stringify(Array.from({ length: 300 }, (_, index) => index));
    const source = `${list}.all(a, ${list}.all(b, ${list}.all(c, a + b + c >= 0)))`;
    expect(() => run(source)).toThrow('operation cancelled: actual cost limit exceeded');
  });

  test('keys of objects cannot reach their prototype', () => {
    const value = toCel(JSON.parse('{"__proto__": {"a": 1}}'));
    const back = fromCel(value) as object;
    expect(Object.keys(back)).toEqual(['__proto__']);
    expect((back as { a?: number }).a).toBeUndefined();
  });
});
