// A PKCS#10 certificate request [RFC 2986] taken apart: what a signer decides by, and what it copies.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { contentOf, DerError, type Element, elements, oidText, TAG } from './der-reader.ts';

export interface SigningRequest {
  commonName: string;
  organizations: string[];
  dnsNames: string[];
  emailAddresses: string[];
  /** As bytes in hex. */
  ipAddresses: string[];
  uris: string[];
  publicKey: KeyObject;
  /** DER of the Name and of the GeneralNames, for the certificate. */
  subject: Buffer;
  alternativeNames: Buffer | undefined;
}

const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  extensionRequest: '1.2.840.113549.1.9.14',
  subjectAltName: '2.5.29.17',
};
const ATTRIBUTES = 0xa0;
const PEM = /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END/;

/**
 * `base64`: the PEM as `spec.request` carries it. The signature has been checked when the request was made. Throws
 * DerError.
 */
export function readSigningRequest(base64: string): SigningRequest {
  const pem = Buffer.from(base64, 'base64').toString('latin1');
  const body = PEM.exec(pem)?.[1];
  if (body === undefined) throw new DerError('no PEM block of type CERTIFICATE REQUEST');
  const [request] = elements(Buffer.from(body, 'base64'));
  const [info] = elements(contentOf(request, TAG.sequence));
  const [, subject, key, attributes] = elements(contentOf(info, TAG.sequence));
  contentOf(subject, TAG.sequence);
  contentOf(key, TAG.sequence);
  const names = alternativeNamesIn(attributes);
  const { commonName, organizations } = nameParts(subject as Element);
  return {
    commonName,
    organizations,
    ...sorted(names),
    publicKey: readKey((key as Element).whole),
    subject: (subject as Element).whole,
    alternativeNames: names?.whole,
  };
}

function readKey(spki: Buffer): KeyObject {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch {
    throw new DerError('unsupported public key');
  }
}

/** A Name is a sequence of sets of attributes. */
function nameParts(name: Element): { commonName: string; organizations: string[] } {
  let commonName = '';
  const organizations: string[] = [];
  for (const set of elements(name.content)) {
    for (const attribute of elements(contentOf(set, TAG.set))) {
      const [type, value] = elements(contentOf(attribute, TAG.sequence));
      const id = oidText(contentOf(type, TAG.oid));
      if (!value) throw new DerError('an attribute without a value');
      if (id === OID.commonName) commonName = textOf(value);
      if (id === OID.organization) organizations.push(textOf(value));
    }
  }
  return { commonName, organizations };
}

const BMP_STRING = 0x1e;

function textOf({ tag, content }: Element): string {
  if (tag === BMP_STRING) return Buffer.from(content).swap16().toString('utf16le');
  return content.toString('utf8');
}

/** The GeneralNames in the request's attribute extensionRequest. */
function alternativeNamesIn(attributes: Element | undefined): Element | undefined {
  if (attributes?.tag !== ATTRIBUTES) return undefined;
  for (const attribute of elements(attributes.content)) {
    const [type, values] = elements(contentOf(attribute, TAG.sequence));
    if (oidText(contentOf(type, TAG.oid)) !== OID.extensionRequest) continue;
    const [extensions] = elements(contentOf(values, TAG.set));
    for (const extension of elements(contentOf(extensions, TAG.sequence))) {
      const parts = elements(contentOf(extension, TAG.sequence));
      if (oidText(contentOf(parts[0], TAG.oid)) !== OID.subjectAltName) continue;
      const [names] = elements(contentOf(parts.at(-1), TAG.octets));
      contentOf(names, TAG.sequence);
      return names;
    }
  }
  return undefined;
}

/** rfc822Name [1], dNSName [2], uniformResourceIdentifier [6], iPAddress [7]. */
function sorted(
  names: Element | undefined,
): Pick<SigningRequest, 'dnsNames' | 'emailAddresses' | 'ipAddresses' | 'uris'> {
  const all = names ? elements(names.content) : [];
  const of = (tag: number, encoding: 'latin1' | 'hex'): string[] =>
    all.filter((name) => name.tag === tag).map((name) => name.content.toString(encoding));
  return {
    emailAddresses: of(0x81, 'latin1'),
    dnsNames: of(0x82, 'latin1'),
    uris: of(0x86, 'latin1'),
    ipAddresses: of(0x87, 'hex'),
  };
}
