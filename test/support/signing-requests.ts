import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import * as der from '../../src/lib/der.ts';

export interface RequestedNames {
  commonName: string;
  organizations?: readonly string[];
  dnsNames?: readonly string[];
  addresses?: readonly (readonly number[])[];
}

/** A PKCS#10 request for a new P-256 key, as `spec.request` carries it. */
export function signingRequest(names: RequestedNames): { request: string; privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const attribute = (type: string, value: string): Buffer =>
    der.setOf(der.sequence(der.oid(type), der.utf8(value)));
  const subject = der.sequence(
    ...(names.organizations ?? []).map((organization) => attribute('2.5.4.10', organization)),
    attribute('2.5.4.3', names.commonName),
  );
  const general = [
    ...(names.dnsNames ?? []).map((name) => der.context(2, Buffer.from(name), false)),
    ...(names.addresses ?? []).map((bytes) => der.context(7, Buffer.from(bytes), false)),
  ];
  const extension = der.sequence(der.oid('2.5.29.17'), der.octets(der.sequence(...general)));
  const attributes =
    general.length === 0
      ? Buffer.alloc(0)
      : der.sequence(der.oid('1.2.840.113549.1.9.14'), der.setOf(der.sequence(extension)));
  const info = der.sequence(
    der.unsigned(Buffer.from([0])),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der.context(0, attributes, true),
  );
  const algorithm = der.sequence(der.oid('1.2.840.10045.4.3.2'));
  const whole = der.sequence(info, algorithm, der.bits(sign('sha256', info, privateKey)));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
  return { request: Buffer.from(pem).toString('base64'), privateKey };
}
