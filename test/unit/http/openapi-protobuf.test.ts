import { expect, test } from 'vitest';
import { openApiV2Protobuf } from '../../../src/server/http/openapi-protobuf.ts';

type Field = [number: number, value: Buffer | number];

/** The fields of a message; enough of protobuf's wire format for what is written. */
function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag & 7;
    if (wire === 0) fields.push([tag >> 3, varint()]);
    else {
      const length = wire === 1 ? 8 : varint();
      fields.push([tag >> 3, bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  return fields;
}

const messages = (bytes: Buffer, number: number): Buffer[] =>
  fieldsOf(bytes)
    .filter(([found]) => found === number)
    .map(([, value]) => value as Buffer);
/** Follows field numbers down, the first of each. */
const at = (bytes: Buffer, ...path: number[]): Buffer =>
  path.reduce((here, number) => messages(here, number)[0] ?? Buffer.alloc(0), bytes);

const gvk = { group: 'apps', version: 'v1', kind: 'Thing' };
const document = openApiV2Protobuf({
  info: { title: 'T', version: 'v1' },
  paths: {
    '/things/{name}': {
      patch: {
        operationId: 'patchThing',
        parameters: [
          { name: 'body', in: 'body' },
          { name: 'dryRun', in: 'query', type: 'string' },
        ],
        'x-kubernetes-group-version-kind': gvk,
      },
    },
  },
  definitions: {
    Thing: {
      type: 'object',
      description: `A thing. ${'x'.repeat(300)}`,
      required: ['spec'],
      properties: {
        spec: { $ref: '#/definitions/Spec' },
        list: { type: 'array', items: { type: 'integer', format: 'int32', minimum: 1.5, maxItems: 200 } },
        map: { type: 'object', additionalProperties: { type: 'string' } },
        free: { type: 'object', additionalProperties: true },
        choice: { type: 'string', enum: ['a'], default: 'a' },
      },
      'x-kubernetes-group-version-kind': [gvk],
    },
  },
});

test('definitions are what gnostic reads', () => {
  expect(at(document, 1).toString()).toBe('2.0');
  const [named] = messages(at(document, 9), 1);
  const thing = at(named as Buffer, 2);
  expect(at(named as Buffer, 1).toString()).toBe('Thing');
  expect(at(thing, 4)).toHaveLength(309);
  expect(at(thing, 22, 1).toString()).toBe('object');
  expect(at(thing, 19).toString()).toBe('spec');
  const properties = new Map(
    messages(at(thing, 25), 1).map((property) => [at(property, 1).toString(), at(property, 2)]),
  );
  expect(at(properties.get('spec') as Buffer, 1).toString()).toBe('#/definitions/Spec');
  const item = at(properties.get('list') as Buffer, 23, 1);
  expect(at(item, 2).toString()).toBe('int32');
  expect(at(item, 9).readDoubleLE()).toBe(1.5);
  expect(fieldsOf(item)).toContainEqual([14, 200]);
  expect(at(properties.get('map') as Buffer, 21, 1, 22, 1).toString()).toBe('string');
  expect(fieldsOf(at(properties.get('free') as Buffer, 21))).toEqual([[2, 1]]);
  expect(at(properties.get('choice') as Buffer, 20, 2).toString()).toBe('"a"\n');
  const extension = at(thing, 31);
  expect(at(extension, 1).toString()).toBe('x-kubernetes-group-version-kind');
  expect(JSON.parse(at(extension, 2, 2).toString())).toEqual([gvk]);
});

test('paths tell which kinds can be patched with dryRun', () => {
  const operation = at(document, 8, 2, 2, 8);
  expect(at(operation, 5).toString()).toBe('patchThing');
  expect(at(operation, 8, 1, 2, 3, 4).toString()).toBe('dryRun');
  expect(JSON.parse(at(operation, 13, 2, 2).toString())).toEqual(gvk);
});
