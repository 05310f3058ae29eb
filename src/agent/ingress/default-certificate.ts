import { generateKeyPairSync, sign } from 'node:crypto';
import * as der from '../../lib/der.ts';
import type { Random } from '../../lib/random.ts';

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectAltName: '2.5.29.17',
};
const NAME = 'copepod default ingress certificate';
/** An invalid name on purpose: nobody shall take this certificate for that of a site. */
const HOST = 'ingress.invalid';
/** Boards have no clock battery: good at any time that they may think it is. */
const VALIDITY = [0, Date.UTC(2099, 0, 1)] as const;

/** A key and a certificate that it signed itself, for names that no Secret covers. Made anew with each start. */
export function defaultCertificate(random: Random): { certificate: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der.sequence(der.oid(OID.ecdsaWithSha256));
  const name = der.sequence(der.setOf(der.sequence(der.oid(OID.commonName), der.utf8(NAME))));
  const hosts = der.sequence(der.context(2, Buffer.from(HOST, 'ascii'), false));
  const extensions = der.sequence(der.sequence(der.oid(OID.subjectAltName), der.octets(hosts)));
  const toBeSigned = der.sequence(
    der.context(0, der.unsigned(Buffer.from([2])), true),
    der.unsigned(random.bytes(16)),
    algorithm,
    name,
    der.sequence(...VALIDITY.map(der.time)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der.context(3, extensions, true),
  );
  const certificate = der.sequence(toBeSigned, algorithm, der.bits(sign('sha256', toBeSigned, privateKey)));
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${certificate
      .toString('base64')
      .match(/.{1,64}/g)
      ?.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
