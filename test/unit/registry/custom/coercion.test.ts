import { describe, expect, test } from 'vitest';
import { cloneJson, type JsonObject } from '../../../../src/api/object.ts';
import { dropNulls, isSettled, prune, setDefaults } from '../../../../src/server/registry/custom/coercion.ts';
import { compileStructural } from '../../../../src/server/registry/custom/structural.ts';

const SCHEMA = compileStructural({
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        size: { type: 'string', default: 'S' },
        maybe: { type: 'string', nullable: true },
        ports: {
          type: 'array',
          items: {
            type: 'object',
            properties: { name: { type: 'string' }, port: { type: 'integer', default: 80 } },
          },
        },
        free: {
          type: 'object',
          'x-kubernetes-preserve-unknown-fields': true,
          properties: { strict: { type: 'object', properties: { a: { type: 'string' } } } },
        },
        labels: {
          type: 'object',
          additionalProperties: { type: 'object', properties: { x: { type: 'string', default: 'y' } } },
        },
        template: {
          type: 'object',
          'x-kubernetes-embedded-resource': true,
          properties: { spec: { type: 'object' } },
        },
        nested: { type: 'object', default: {}, properties: { deep: { type: 'integer', default: 3 } } },
      },
    },
  },
});

function coerced(object: JsonObject): { object: JsonObject; unknown: string[] } {
  const copy = cloneJson(object);
  const unknown = prune(copy, SCHEMA);
  dropNulls(copy, SCHEMA);
  setDefaults(copy, SCHEMA);
  return { object: copy, unknown };
}

describe('pruning', () => {
  test('removes what the schema does not know and names it', () => {
    const { object, unknown } = coerced({
      apiVersion: 'x/v1',
      kind: 'X',
      other: 1,
      spec: {
        extra: 1,
        ports: [{ name: 'a', port: 1, protocol: 'TCP' }],
        free: { any: { thing: 1 }, strict: { a: 'b', c: 'd' } },
      },
    });
    expect(unknown).toEqual(['other', 'spec.extra', 'spec.free.strict.c', 'spec.ports[0].protocol']);
    expect(object).toMatchObject({
      apiVersion: 'x/v1',
      kind: 'X',
      spec: { free: { any: { thing: 1 }, strict: { a: 'b' } } },
    });
    expect(object).not.toHaveProperty('other');
  });

  test('keeps type and metadata of embedded objects', () => {
    const { object, unknown } = coerced({
      spec: {
        template: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { a: 1 }, status: {} },
      },
    });
    expect(unknown).toEqual(['spec.template.spec.a', 'spec.template.status']);
    expect(object).toMatchObject({ spec: { template: { kind: 'Pod', metadata: { name: 'p' } } } });
  });

  test('a key named __proto__ is a key', () => {
    const object = JSON.parse(
      '{"spec": {"__proto__": {"polluted": true}, "labels": {"__proto__": {}}}}',
    ) as JsonObject;
    const result = coerced(object);
    expect(result.unknown).toEqual(['spec.__proto__']);
    expect(JSON.stringify(result.object)).toContain('"__proto__":{"x":"y"}');
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('defaults', () => {
  test('go from the outside in', () => {
    expect(coerced({ spec: { ports: [{ name: 'a' }], labels: { k: {} } } }).object).toEqual({
      spec: { size: 'S', ports: [{ name: 'a', port: 80 }], labels: { k: { x: 'y' } }, nested: { deep: 3 } },
    });
    expect(coerced({}).object).toEqual({});
  });

  test('replace a null that may not be, and leave one that may', () => {
    expect(coerced({ spec: { size: null, maybe: null, labels: null } }).object).toEqual({
      spec: { size: 'S', maybe: null, nested: { deep: 3 } },
    });
  });

  test('are not shared between objects', () => {
    const first = coerced({ spec: {} }).object as { spec: { nested: JsonObject } };
    first.spec.nested.deep = 4;
    expect(coerced({ spec: {} }).object).toMatchObject({ spec: { nested: { deep: 3 } } });
  });
});

test.each([
  [{ spec: { size: 'M', nested: { deep: 1 } }, metadata: { name: 'x', whatever: 1 } }, true],
  [{ spec: { size: 'M' } }, false],
  [{ spec: { size: 'M', nested: { deep: 1 }, extra: 1 } }, false],
  [{ spec: { size: 'M', nested: { deep: 1 }, ports: [{ name: 'a' }] } }, false],
  [{ spec: { size: 'M', nested: { deep: 1 }, maybe: null } }, true],
  [{ spec: { size: null, nested: { deep: 1 } } }, false],
] as [JsonObject, boolean][])('%j is settled: %s', (object, settled) => {
  expect(isSettled(object, SCHEMA, true, true)).toBe(settled);
});
