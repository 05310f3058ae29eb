import { expect, test } from 'vitest';
import { compileJsonPath, JsonPathError } from '../../../../src/server/registry/custom/json-path.ts';

const OBJECT = {
  spec: { a: 1, 'b.c': 2, list: [{ n: 'x', v: 1 }, { n: 'y', v: 2 }, { n: 'z' }], map: { k: { v: 7 } } },
  metadata: { annotations: { 'example.com/x': 'y' } },
  status: {
    conditions: [
      { type: 'Synced', status: 'False' },
      { type: 'Ready', status: 'True' },
    ],
  },
};

test.each([
  ['.spec.a', [1]],
  ['{.spec.a}', [1]],
  ['$.spec.a', [1]],
  ['.spec.none', []],
  [".spec['b.c']", [2]],
  ['.spec.b\\.c', [2]],
  ['.metadata.annotations.example\\.com/x', ['y']],
  ['.spec.list[0].n', ['x']],
  ['.spec.list[-1].n', ['z']],
  ['.spec.list[*].n', ['x', 'y', 'z']],
  ['.spec.list[0:2].n', ['x', 'y']],
  ['.spec.map.*.v', [7]],
  ['.status.conditions[?(@.type=="Ready")].status', ['True']],
  [".status.conditions[?(@.type == 'Ready')].status", ['True']],
  ['.spec.list[?(@.v>1)].n', ['y']],
  ['.spec.list[?(@.v)].n', ['x', 'y']],
  ['.spec.constructor', []],
])('%s', (path, values) => {
  expect(compileJsonPath(path)(OBJECT)).toEqual(values);
});

test.each(['.spec..a', '.spec[', '.spec[a]', 'spec'])('%s is refused', (path) => {
  expect(() => compileJsonPath(path)).toThrow(JsonPathError);
});
