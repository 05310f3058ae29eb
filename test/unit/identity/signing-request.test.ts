import { describe, expect, test } from 'vitest';
import type { CertificateSigningRequest } from '../../../src/api/types/certificates-v1.ts';
import { timeLeft } from '../../../src/server/identity/certificate-signing.ts';
import { DerError } from '../../../src/server/identity/der-reader.ts';
import {
  CLIENT_SIGNER,
  KUBELET_CLIENT_SIGNER,
  KUBELET_SERVING_SIGNER,
  SIGNERS,
} from '../../../src/server/identity/signers.ts';
import { readSigningRequest } from '../../../src/server/identity/signing-request.ts';
import { type RequestedNames, signingRequest } from '../../support/signing-requests.ts';

const read = (names: RequestedNames) => readSigningRequest(signingRequest(names).request);

describe('a certificate request', () => {
  test('says who wants to be what', () => {
    const request = read({
      commonName: 'system:node:pi',
      organizations: ['system:nodes', 'b'],
      dnsNames: ['pi', 'pi.local'],
      addresses: [[192, 0, 2, 1]],
    });
    expect(request).toMatchObject({
      commonName: 'system:node:pi',
      organizations: ['system:nodes', 'b'],
      dnsNames: ['pi', 'pi.local'],
      ipAddresses: ['c0000201'],
      emailAddresses: [],
    });
    expect(request.publicKey.asymmetricKeyType).toBe('ec');
  });

  test('that is cut or altered is refused without a crash', () => {
    const { request } = signingRequest({ commonName: 'x', dnsNames: ['y'] });
    const pem = Buffer.from(request, 'base64').toString();
    const body = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    const again = (bytes: Buffer): string =>
      Buffer.from(
        `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`,
      ).toString('base64');
    for (let index = 0; index < body.length; index += 1) {
      const altered = Buffer.from(body);
      altered[index] = (altered[index] ?? 0) ^ 0xff;
      for (const bytes of [altered, body.subarray(0, index)]) {
        try {
          readSigningRequest(again(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(DerError);
        }
      }
    }
    expect(() => readSigningRequest('bm90IGEgY3Ny')).toThrow(DerError);
  });
});

describe('signers', () => {
  const node: RequestedNames = { commonName: 'system:node:pi', organizations: ['system:nodes'] };
  const USAGES = ['digital signature', 'client auth'];
  test.each<[string, string, RequestedNames, string[], string | undefined]>([
    ['clients', CLIENT_SIGNER, { commonName: 'jane' }, USAGES, undefined],
    [
      'clients that want to serve',
      CLIENT_SIGNER,
      { commonName: 'jane' },
      [...USAGES, 'server auth'],
      'usages did not match [client auth digital signature key encipherment]',
    ],
    ['nodes', KUBELET_CLIENT_SIGNER, node, USAGES, undefined],
    ['nodes with an RSA key', KUBELET_CLIENT_SIGNER, node, [...USAGES, 'key encipherment'], undefined],
    [
      'nodes of another group',
      KUBELET_CLIENT_SIGNER,
      { ...node, organizations: ['admins'] },
      USAGES,
      'subject organization is not system:nodes',
    ],
    [
      'users as nodes',
      KUBELET_CLIENT_SIGNER,
      { ...node, commonName: 'jane' },
      USAGES,
      'subject common name does not begin with system:node:',
    ],
    [
      'nodes with names',
      KUBELET_CLIENT_SIGNER,
      { ...node, dnsNames: ['a'] },
      USAGES,
      'DNS subjectAltNames are not allowed',
    ],
    [
      'servers without names',
      KUBELET_SERVING_SIGNER,
      node,
      ['digital signature', 'server auth'],
      'DNS or IP subjectAltName is required',
    ],
    [
      'servers',
      KUBELET_SERVING_SIGNER,
      { ...node, addresses: [[10, 0, 0, 1]] },
      ['digital signature', 'server auth'],
      undefined,
    ],
  ])('%s', (_name, signer, names, usages, problem) => {
    expect(SIGNERS[signer]?.(read(names), usages)).toBe(problem);
  });
});

describe('how long a request is kept', () => {
  const HOUR = 3_600_000;
  const MADE = Date.UTC(2026, 0, 1);
  const at = (hours: number): string => new Date(MADE + hours * HOUR).toISOString();
  const csr = (status: CertificateSigningRequest['status']): CertificateSigningRequest => ({
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { name: 'x', creationTimestamp: at(0) },
    spec: { request: '', signerName: CLIENT_SIGNER, usages: [] },
    ...(status === undefined ? {} : { status }),
  });
  const condition = (type: string, hours: number) => ({ type, status: 'True', lastUpdateTime: at(hours) });

  test.each<[string, CertificateSigningRequest['status'], number]>([
    ['nobody has answered', {}, 24],
    ['approved and not yet signed', { conditions: [condition('Approved', 20)] }, 24],
    ['signed', { conditions: [condition('Approved', 20)], certificate: 'x' }, 21],
    ['denied', { conditions: [condition('Denied', 2)] }, 3],
    ['failed', { conditions: [condition('Approved', 2), condition('Failed', 3)] }, 4],
  ])('%s', (_name, status, hours) => {
    expect(timeLeft(csr(status), MADE)).toBe(hours * HOUR);
  });
});
