import { expect, test } from 'vitest';
import {
  syntaxProblem,
  validateExpression,
} from '../../../../src/server/registry/strategies/groups/expressions.ts';

test.each([
  "object.metadata.name.startsWith('web-') && !has(object.spec.x)",
  'a ? b : c ? d : e',
  "[1, 2u, 0x1F, 1.5e3,].all(x, x in {'a': 1, 'b': -2,})",
  "Object{metadata: Object.metadata{labels: {'a': 'b'}}}",
  'object.?spec[?0].orValue("""x"""  + r\'\\d\') // comment',
  "oldObject.spec.`x-y` == b'\\x00'",
  'inner.index < 3',
])('well-formed: %s', (expression) => {
  expect(syntaxProblem(expression)).toBeUndefined();
});

test.each([
  ['object.', 7],
  ['a +', 3],
  ['(a', 2],
  ['a b', 2],
  ['a ? b', 5],
  ["'open", 0],
  ['f(a,)', 4],
  ['a == = b', 5],
  ['x @ y', 2],
])('malformed: %s', (expression, offset) => {
  expect(syntaxProblem(expression)?.offset).toBe(offset);
});

test('points at the place in its line', () => {
  const [error] = validateExpression('a &&\n  b.', 'spec.x');
  expect(error?.message).toBe(
    `Invalid value: "a &&\\n  b.": compilation failed: ERROR: <input>:2:5: Syntax error: no viable alternative at input '.'\n |   b.\n | ....^`,
  );
});

test('refuses nesting that would exhaust the stack', () => {
  expect(syntaxProblem('('.repeat(100_000))?.text).toContain('recursion limit');
  expect(syntaxProblem(`${'!'.repeat(50_000)}a`)).toBeUndefined();
});
