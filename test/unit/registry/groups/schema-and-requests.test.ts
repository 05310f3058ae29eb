import { expect, test } from 'vitest';
import { cloneJson, type JsonObject } from '../../../../src/api/object.ts';
import {
  certificateRequestStrategy,
  stampConditions,
  validateApproval,
} from '../../../../src/server/registry/strategies/groups/certificate-requests.ts';
import { signingRequestProblem } from '../../../../src/server/registry/strategies/groups/signing-request.ts';
import { validateSchema } from '../../../../src/server/registry/strategies/groups/structural-schema.ts';
import recorded from '../../../golden/recordings/05-create-policy.json' with { type: 'json' };

const SCHEMAS: [what: string, schema: JsonObject, refused: string[]][] = [
  [
    'the root is an object',
    { type: 'string' },
    ['s.type: Invalid value: "string": must be object at the root'],
  ],
  [
    'everything has a type',
    { type: 'object', properties: { spec: { properties: { a: { type: 'array' } } } } },
    [
      's.properties[spec].type: Required value: must not be empty for specified object fields',
      's.properties[spec].properties[a].items: Required value: must be specified',
    ],
  ],
  [
    'keys of a map list are required or have a default',
    {
      type: 'object',
      properties: {
        l: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name', 'port'],
          items: { type: 'object', properties: { name: { type: 'string' } } },
        },
      },
    },
    [
      's.properties[l].items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
      's.properties[l].x-kubernetes-list-map-keys[1]: Invalid value: "port": entries must all be names of item properties',
    ],
  ],
  [
    'alternatives constrain values only',
    { type: 'object', anyOf: [{ type: 'object', required: ['a'] }], $ref: '#/x' },
    [
      's.$ref: Forbidden: $ref is not supported',
      's.anyOf[0].type: Forbidden: must be empty to be structural',
    ],
  ],
  [
    'what may hold anything needs no type',
    {
      type: 'object',
      properties: {
        any: { 'x-kubernetes-preserve-unknown-fields': true },
        port: { 'x-kubernetes-int-or-string': true, anyOf: [{ minimum: 1 }] },
        metadata: { type: 'object', properties: { name: { type: 'string' } } },
      },
    },
    [],
  ],
];

test.each(SCHEMAS)('schema: %s', (_what, schema, refused) => {
  expect(validateSchema(schema, 's').map(({ field, message }) => `${field}: ${message}`)).toEqual(refused);
});

function recordedRequest(): string {
  for (const { request } of recorded.exchanges) {
    const body = request.body as { spec?: { request?: string } } | null | undefined;
    if (typeof body?.spec?.request === 'string') return body.spec.request;
  }
  throw new Error('no certificate request is recorded');
}

test('a certificate request is signed with its own key', () => {
  const request = recordedRequest();
  expect(signingRequestProblem(request)).toBeUndefined();
  const pem = Buffer.from(request, 'base64').toString();
  const lines = pem.split('\n');
  // One bit of the subject, inside what is signed.
  lines[2] = (lines[2] as string).replace(/^./, (first) => (first === 'A' ? 'B' : 'A'));
  expect(signingRequestProblem(Buffer.from(lines.join('\n')).toString('base64'))).toBeDefined();
  const cut = pem.replace(/\n[^\n]+\n-----END/, '\n-----END');
  expect(signingRequestProblem(Buffer.from(cut).toString('base64'))).toContain('asn1');
});

const NOW = Date.parse('2026-01-01T00:00:00Z');
const approved: JsonObject = { type: 'Approved', status: 'True', reason: 'Mine' };
const withConditions = (...conditions: JsonObject[]): JsonObject => ({ status: { conditions } });

test('a decision is stamped once and never taken back', () => {
  const first = withConditions({ ...approved });
  stampConditions(first, {}, NOW);
  expect(first.status).toEqual({
    conditions: [
      { ...approved, lastUpdateTime: '2026-01-01T00:00:00Z', lastTransitionTime: '2026-01-01T00:00:00Z' },
    ],
  });
  const again = withConditions({ ...approved });
  stampConditions(again, first, NOW + 60_000);
  expect(again.status).toMatchObject({
    conditions: [{ lastUpdateTime: '2026-01-01T00:01:00Z', lastTransitionTime: '2026-01-01T00:00:00Z' }],
  });
  const messages = (next: JsonObject): string[] =>
    validateApproval(next, first).map(({ field, message }) => `${field}: ${message}`);
  expect(messages({ status: {} })).toEqual([
    'status.conditions: Forbidden: updates may not remove a condition of type "Approved"',
  ]);
  expect(messages(withConditions(approved, { type: 'Denied', status: 'True' }))).toEqual([
    'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive',
  ]);
});

test('who writes the status can neither approve nor change what was asked', () => {
  const old: JsonObject = { spec: { request: 'a' }, status: {} };
  const written = withConditions({ ...approved }, { type: 'Failed', status: 'True' });
  const refusals = certificateRequestStrategy.validateStatusUpdate?.(written, old) ?? [];
  expect(refusals.map(({ field, message }) => `${field}: ${message}`)).toEqual([
    'status.conditions: Forbidden: updates may not add a condition of type "Approved"',
  ]);
  // A decision that is only repeated stays as it was made.
  const repeated = withConditions({ ...approved, reason: 'Forged' }, { type: 'Failed', status: 'True' });
  certificateRequestStrategy.prepareForStatusUpdate?.(repeated, withConditions({ ...approved }), NOW);
  expect(repeated.status).toMatchObject({ conditions: [{ reason: 'Mine' }, { type: 'Failed' }] });
  const replaced: JsonObject = { spec: { request: 'b' } };
  certificateRequestStrategy.prepareForUpdate?.(replaced, cloneJson(old), NOW);
  expect(replaced.spec).toEqual({ request: 'a' });
});
