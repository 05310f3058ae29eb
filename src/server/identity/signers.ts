// What Kubernetes' own signers demand of a certificate request. Pure.
import { NODE_USER_PREFIX, NODES_GROUP } from '../../wire/join.ts';
import type { SigningRequest } from './signing-request.ts';

const PREFIX = 'kubernetes.io/';
export const CLIENT_SIGNER = `${PREFIX}kube-apiserver-client`;
export const KUBELET_CLIENT_SIGNER = `${PREFIX}kube-apiserver-client-kubelet`;
export const KUBELET_SERVING_SIGNER = `${PREFIX}kubelet-serving`;
export const LEGACY_SIGNER = `${PREFIX}legacy-unknown`;

const BASE = ['digital signature', 'key encipherment'];

/** Why a signer will not sign; undefined when it does. Undefined signer: 'foreign'. */
export const SIGNERS: Readonly<
  Record<string, (request: SigningRequest, usages: readonly string[]) => string | undefined>
> = {
  [CLIENT_SIGNER]: (_request, usages) =>
    usages.includes('client auth') && usages.every((usage) => [...BASE, 'client auth'].includes(usage))
      ? undefined
      : `usages did not match [${[...BASE, 'client auth'].sort().join(' ')}]`,
  [KUBELET_CLIENT_SIGNER]: (request, usages) => nodeSubject(request) ?? nodeClient(request, usages),
  [KUBELET_SERVING_SIGNER]: (request, usages) => nodeSubject(request) ?? nodeServer(request, usages),
  // Whatever is asked for: nobody trusts these certificates for anything in particular.
  [LEGACY_SIGNER]: () => undefined,
};

function nodeSubject({ commonName, organizations }: SigningRequest): string | undefined {
  if (organizations.length !== 1 || organizations[0] !== NODES_GROUP) {
    return `subject organization is not ${NODES_GROUP}`;
  }
  return commonName.startsWith(NODE_USER_PREFIX)
    ? undefined
    : `subject common name does not begin with ${NODE_USER_PREFIX}`;
}

/** Key encipherment is for RSA keys; who has another kind leaves it out. */
function exactly(usages: readonly string[], purpose: string): string | undefined {
  const wanted = ['digital signature', purpose];
  const rest = usages.filter((usage) => usage !== 'key encipherment');
  const same = wanted.every((usage) => rest.includes(usage)) && rest.every((usage) => wanted.includes(usage));
  return same ? undefined : `usages did not match [${[...wanted, 'key encipherment'].sort().join(' ')}]`;
}

function nodeClient(request: SigningRequest, usages: readonly string[]): string | undefined {
  if (request.dnsNames.length > 0) return 'DNS subjectAltNames are not allowed';
  if (request.emailAddresses.length > 0) return 'Email subjectAltNames are not allowed';
  if (request.ipAddresses.length > 0) return 'IP subjectAltNames are not allowed';
  if (request.uris.length > 0) return 'URI subjectAltNames are not allowed';
  return exactly(usages, 'client auth');
}

function nodeServer(request: SigningRequest, usages: readonly string[]): string | undefined {
  if (request.dnsNames.length + request.ipAddresses.length === 0) {
    return 'DNS or IP subjectAltName is required';
  }
  if (request.emailAddresses.length > 0) return 'Email subjectAltNames are not allowed';
  if (request.uris.length > 0) return 'URI subjectAltNames are not allowed';
  return exactly(usages, 'server auth');
}
