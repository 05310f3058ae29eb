import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { isIP } from 'node:net';
import * as der from '../../lib/der.ts';

/** A key pair's private half and its certificate, both PEM. */
export interface KeyAndCertificate {
  key: string;
  certificate: string;
}

export interface CertificateRequest {
  commonName: string;
  organizations?: readonly string[];
  /** What the certificate may be used for. */
  usage: 'authority' | 'server' | 'client';
  /** DNS names and IP addresses. */
  alternativeNames?: readonly string[];
  /** The subject's public key; for a self-signed authority its own. */
  publicKey: KeyObject;
  /** Milliseconds since 1970. */
  notAfter: number;
  /** 16 random bytes. */
  serial: Uint8Array;
  /** In DER, as a signing request has them: stand for commonName, organizations and alternativeNames. */
  asked?: { subject: Buffer; alternativeNames?: Buffer | undefined };
  /** Kubernetes' names of key usages (`client auth`), instead of what `usage` stands for. */
  usages?: readonly string[];
}

/**
 * Valid from 1970 on: boards have no clock battery, and one whose clock stands at its epoch must still be able to talk.
 */
export const NOT_BEFORE = 0;

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
};

/** Bits of KeyUsage, counted from the most significant [RFC 5280 4.2.1.3]. */
const KEY_USAGE_BITS: Readonly<Record<string, number>> = {
  'digital signature': 0,
  signing: 0,
  'content commitment': 1,
  'key encipherment': 2,
  'data encipherment': 3,
  'key agreement': 4,
  'cert sign': 5,
  'crl sign': 6,
  'encipher only': 7,
  'decipher only': 8,
};
const EXTENDED_USAGES: Readonly<Record<string, string>> = {
  any: '2.5.29.37.0',
  'server auth': OID.serverAuth,
  'client auth': OID.clientAuth,
  'code signing': '1.3.6.1.5.5.7.3.3',
  'email protection': '1.3.6.1.5.5.7.3.4',
  's/mime': '1.3.6.1.5.5.7.3.4',
  'ipsec end system': '1.3.6.1.5.5.7.3.5',
  'ipsec tunnel': '1.3.6.1.5.5.7.3.6',
  'ipsec user': '1.3.6.1.5.5.7.3.7',
  timestamping: '1.3.6.1.5.5.7.3.8',
  'ocsp signing': '1.3.6.1.5.5.7.3.9',
  'microsoft sgc': '1.3.6.1.4.1.311.10.3.3',
  'netscape sgc': '2.16.840.1.113730.4.1',
};
const DEFAULT_USAGES: Readonly<Record<CertificateRequest['usage'], readonly string[]>> = {
  authority: ['digital signature', 'cert sign', 'crl sign'],
  server: ['digital signature', 'server auth'],
  client: ['digital signature', 'client auth'],
};

/** X.509 v3 [RFC 5280 4.1], signed with ECDSA and SHA-256 by the issuer's P-256 key. */
export function makeCertificate(
  request: CertificateRequest,
  issuer: { commonName: string; key: KeyObject },
): string {
  const algorithm = der.sequence(der.oid(OID.ecdsaWithSha256));
  const tbs = der.sequence(
    der.context(0, der.unsigned(Buffer.from([2])), true),
    der.unsigned(positiveSerial(request.serial)),
    algorithm,
    distinguishedName(issuer.commonName, []),
    der.sequence(der.time(NOT_BEFORE), der.time(request.notAfter)),
    request.asked?.subject ?? distinguishedName(request.commonName, request.organizations ?? []),
    request.publicKey.export({ type: 'spki', format: 'der' }),
    der.context(3, der.sequence(...extensions(request, issuer.key)), true),
  );
  const signature = sign('sha256', tbs, issuer.key);
  return toPem('CERTIFICATE', der.sequence(tbs, algorithm, der.bits(signature)));
}

function positiveSerial(bytes: Uint8Array): Buffer {
  const serial = Buffer.from(bytes);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

function distinguishedName(commonName: string, organizations: readonly string[]): Buffer {
  const attribute = (type: string, value: string): Buffer =>
    der.setOf(der.sequence(der.oid(type), der.utf8(value)));
  return der.sequence(
    ...organizations.map((organization) => attribute(OID.organization, organization)),
    attribute(OID.commonName, commonName),
  );
}

function extensions(request: CertificateRequest, issuerKey: KeyObject): Buffer[] {
  const authority = request.usage === 'authority';
  const usages = request.usages ?? DEFAULT_USAGES[request.usage];
  const bits = usages.flatMap((usage) => KEY_USAGE_BITS[usage] ?? []);
  const list = [
    ...(bits.length > 0 ? [extension(OID.keyUsage, true, bitString(bits))] : []),
    extension(OID.basicConstraints, true, authority ? der.sequence(der.boolean(true)) : der.sequence()),
    extension(OID.subjectKeyIdentifier, false, der.octets(keyIdentifier(request.publicKey))),
    extension(
      OID.authorityKeyIdentifier,
      false,
      der.sequence(der.context(0, keyIdentifier(createPublicKey(issuerKey)), false)),
    ),
  ];
  const purposes = [...new Set(usages.flatMap((usage) => EXTENDED_USAGES[usage] ?? []))];
  if (purposes.length > 0) {
    list.push(extension(OID.extendedKeyUsage, false, der.sequence(...purposes.map(der.oid))));
  }
  const names = request.alternativeNames ?? [];
  const asked = request.asked?.alternativeNames;
  if (asked) list.push(extension(OID.subjectAltName, false, asked));
  else if (names.length > 0) {
    list.push(extension(OID.subjectAltName, false, der.sequence(...names.map(generalName))));
  }
  return list;
}

/** Of named bits: trailing zeros are left out [X.690 11.2.2]. */
function bitString(set: readonly number[]): Buffer {
  const last = Math.max(...set);
  const bytes = Buffer.alloc((last >> 3) + 1);
  for (const bit of set) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return der.bits(bytes, 7 - (last & 7));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return der.sequence(der.oid(id), ...(critical ? [der.boolean(true)] : []), der.octets(value));
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

/** dNSName [2] or iPAddress [7]. */
function generalName(name: string): Buffer {
  return isIP(name) === 0
    ? der.context(2, Buffer.from(name, 'ascii'), false)
    : der.context(7, addressBytes(name), false);
}

export function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const bare = address.replace(/%.*$/, '');
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(bare);
  const hex = dotted
    ? `${dotted[1]}${word(Number(dotted[2]), Number(dotted[3]))}:${word(Number(dotted[4]), Number(dotted[5]))}`
    : bare;
  const [left = '', right] = hex.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const words = [...head, ...new Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  const bytes = Buffer.alloc(16);
  for (const [index, text] of words.entries()) bytes.writeUInt16BE(Number.parseInt(text, 16), index * 2);
  return bytes;
}

const word = (high: number, low: number): string => (high * 256 + low).toString(16);

function toPem(label: string, content: Buffer): string {
  const lines = content.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Reads a P-256 public key as SPKI PEM; throws a sentence when it is something else. */
export function readPublicKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    if (!pem.includes('PUBLIC KEY')) throw new Error('not a public key');
    key = createPublicKey(pem);
  } catch {
    throw new Error('publicKey is not a PEM public key');
  }
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error('publicKey must be an EC key on the curve P-256');
  }
  return key;
}

export function readPrivateKey(pem: string): KeyObject {
  return createPrivateKey(pem);
}
