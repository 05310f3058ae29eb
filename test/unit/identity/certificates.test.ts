import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { addressBytes, makeCertificate, readPublicKey } from '../../../src/server/identity/certificates.ts';

const pair = (namedCurve = 'P-256') => generateKeyPairSync('ec', { namedCurve });
const AUTHORITY = pair();
const NOT_AFTER = Date.UTC(2060, 0, 2, 3, 4, 5);

function issue(options: Partial<Parameters<typeof makeCertificate>[0]> = {}) {
  const { publicKey, privateKey } = pair();
  const pem = makeCertificate(
    {
      commonName: 'x',
      usage: 'server',
      publicKey,
      notAfter: NOT_AFTER,
      serial: Buffer.alloc(16, 0xff),
      ...options,
    },
    { commonName: 'ca', key: AUTHORITY.privateKey },
  );
  return { certificate: new X509Certificate(pem), privateKey };
}

test('a certificate says what it was asked to say, and its issuer vouches for it', () => {
  const { certificate, privateKey } = issue({
    commonName: 'system:node:pi',
    organizations: ['system:nodes', 'b'],
    alternativeNames: ['board.local', '192.0.2.1', '2001:db8::1'],
  });
  expect(certificate.subject.split('\n')).toEqual(['O=system:nodes', 'O=b', 'CN=system:node:pi']);
  expect(certificate.issuer).toBe('CN=ca');
  expect(certificate.verify(createPublicKey(AUTHORITY.privateKey))).toBe(true);
  expect(certificate.verify(pair().publicKey)).toBe(false);
  expect(certificate.checkPrivateKey(privateKey)).toBe(true);
  expect(certificate.checkHost('board.local')).toBe('board.local');
  expect(certificate.checkIP('192.0.2.1')).toBe('192.0.2.1');
  expect(certificate.checkIP('2001:db8::1')).toBe('2001:db8::1');
  expect(certificate.checkIP('192.0.2.2')).toBeUndefined();
  expect(certificate.ca).toBe(false);
});

test('it is good on a board whose clock stands at 1970, and its end beyond 2050 is exact', () => {
  const { certificate } = issue();
  expect(Date.parse(certificate.validFrom)).toBe(0);
  expect(Date.parse(certificate.validTo)).toBe(NOT_AFTER);
});

test('only an authority is one, and usages differ', () => {
  expect(issue({ usage: 'authority' }).certificate.ca).toBe(true);
  expect(issue({ usage: 'client' }).certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
  expect(issue({ usage: 'server' }).certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
});

test.each([
  ['::', '00000000000000000000000000000000'],
  ['::1', '00000000000000000000000000000001'],
  ['fe80::1:2', 'fe800000000000000000000000010002'],
  ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
  ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
  ['10.0.0.1', '0a000001'],
])('address %s', (address, hex) => {
  expect(addressBytes(address).toString('hex')).toBe(hex);
});

test('a key of another kind is refused', () => {
  const pem = (key: { export(options: object): string | Buffer }) =>
    key.export({ type: 'spki', format: 'pem' }).toString();
  expect(() => readPublicKey(pem(pair().publicKey as never))).not.toThrow();
  expect(() => readPublicKey(pem(pair('P-384').publicKey as never))).toThrow('P-256');
  expect(() => readPublicKey(pem(generateKeyPairSync('ed25519').publicKey as never))).toThrow('P-256');
  expect(() => readPublicKey('nonsense')).toThrow('PEM');
});
