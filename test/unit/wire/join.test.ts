import { expect, test } from 'vitest';
import {
  caHash,
  formatJoinToken,
  JoinTokenError,
  joinAuthorization,
  nodeNameOf,
  parseJoinRequest,
  parseJoinToken,
  verifyCa,
} from '../../../src/wire/join.ts';

const CA = '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n';

test('a token says what it was made of', () => {
  const token = formatJoinToken(CA, 's3cret');
  expect(token).toBe(`K10${caHash(CA)}::server:s3cret`);
  expect(parseJoinToken(` ${token}\n`)).toEqual({ caHash: caHash(CA), user: 'server', secret: 's3cret' });
});

test('a bare secret is a token without a pin', () => {
  const token = parseJoinToken('hunter2');
  expect(token).toEqual({ user: 'server', secret: 'hunter2' });
  expect(verifyCa(token, CA)).toBe(true);
});

test.each([
  '',
  '  ',
  'K10abc::server:x',
  `K10${'a'.repeat(64)}:server:x`,
  `K10${'A'.repeat(64)}::s:x`,
  'a b',
  'a:b',
])('the malformed token %j is refused with a sentence', (text) => {
  expect(() => parseJoinToken(text)).toThrow(JoinTokenError);
});

test('the pin holds for one CA only', () => {
  const token = parseJoinToken(formatJoinToken(CA, 'x'));
  expect(verifyCa(token, CA)).toBe(true);
  expect(verifyCa(token, Buffer.from(CA))).toBe(true);
  expect(verifyCa(token, CA.trimEnd())).toBe(false);
});

test('the secret travels as Basic authorisation', () => {
  const header = joinAuthorization({ user: 'server', secret: 'a:b' });
  expect(Buffer.from(header.slice('Basic '.length), 'base64').toString()).toBe('server:a:b');
});

test('only a full node user names a node', () => {
  expect(nodeNameOf('system:node:pi')).toBe('pi');
  expect(nodeNameOf('system:node:')).toBeUndefined();
  expect(nodeNameOf('system:nodes')).toBeUndefined();
});

test('a join request is checked field by field', () => {
  const good = { v: 1, nodeName: 'pi-1.lan', machineId: 'm', publicKey: 'p' };
  expect(parseJoinRequest({ ...good, more: 1 })).toEqual(good);
  for (const bad of [
    null,
    [],
    'x',
    {},
    { ...good, v: 2 },
    { ...good, nodeName: 'Pi' },
    { ...good, machineId: 7 },
  ]) {
    expect(typeof parseJoinRequest(bad)).toBe('string');
  }
});
