// A PKCS#10 certificate request in PEM [RFC 2986]: just enough of DER to see that its owner has the key.
import { createPublicKey, type KeyObject, verify } from 'node:crypto';

const PEM = /-----BEGIN ([^-\n]+)-----\r?\n([\s\S]*?)-----END \1-----/;
const SEQUENCE = 0x30;
const OID = 0x06;
const BIT_STRING = 0x03;

/** Signature algorithms by their identifier; null: the key says which hash. */
const HASHES: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
};

interface Element {
  tag: number;
  /** With its header. */
  whole: Buffer;
  content: Buffer;
}

/** What is wrong with a request (PEM, in base64 as JSON carries it); undefined when nothing is. */
export function signingRequestProblem(base64: string): string | undefined {
  const [, type, body = ''] = PEM.exec(Buffer.from(base64, 'base64').toString('latin1')) ?? [];
  if (type !== 'CERTIFICATE REQUEST') return 'PEM block type must be CERTIFICATE REQUEST';
  try {
    return verifyRequest(Buffer.from(body, 'base64'));
  } catch {
    return 'asn1: structure error: the block is no certificate request';
  }
}

function verifyRequest(der: Buffer): string | undefined {
  const [request] = elements(der);
  const [info, algorithm, signature] = elements(contentOf(request, SEQUENCE));
  const [, , keyInfo] = elements(contentOf(info, SEQUENCE));
  const [identifier] = elements(contentOf(algorithm, SEQUENCE));
  const oid = oidText(contentOf(identifier, OID));
  if (!Object.hasOwn(HASHES, oid)) return 'x509: cannot verify signature: algorithm unimplemented';
  contentOf(keyInfo, SEQUENCE);
  const key = publicKey((keyInfo as Element).whole);
  if (!key) return 'x509: unsupported public key';
  // The first byte counts unused bits: none, in a signature.
  const bits = contentOf(signature, BIT_STRING).subarray(1);
  const good = verify(HASHES[oid], (info as Element).whole, key, bits);
  return good ? undefined : 'x509: the signature does not fit the public key';
}

function publicKey(der: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

function contentOf(element: Element | undefined, tag: number): Buffer {
  if (element?.tag !== tag) throw new Error('unexpected DER element');
  return element.content;
}

function elements(der: Buffer): Element[] {
  const found: Element[] = [];
  let offset = 0;
  while (offset < der.length) {
    const start = offset;
    const tag = der[offset] as number;
    let length = der.readUInt8(offset + 1);
    offset += 2;
    if (length >= 0x80) {
      const bytes = length & 0x7f;
      length = der.readUIntBE(offset, bytes);
      offset += bytes;
    }
    if (offset + length > der.length) throw new Error('truncated DER element');
    found.push({
      tag,
      whole: der.subarray(start, offset + length),
      content: der.subarray(offset, offset + length),
    });
    offset += length;
  }
  return found;
}

function oidText(content: Buffer): string {
  const arcs: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (arcs.length === 0)
      arcs.push(Math.min(2, Math.floor(value / 40)), value - 40 * Math.min(2, Math.floor(value / 40)));
    else arcs.push(value);
    value = 0;
  }
  return arcs.join('.');
}
