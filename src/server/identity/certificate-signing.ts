import { CERTIFICATE_SIGNING_REQUESTS } from '../../api/kinds.ts';
import { splitKey } from '../../api/object.ts';
import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition,
} from '../../api/types/certificates-v1.ts';
import type { InformerSet } from '../../client/informer.ts';
import type { Client } from '../../client/port.ts';
import { Controller, watch } from '../../client/reconcile.ts';
import { type Clock, timestamp } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { UserInfo } from '../registry/port.ts';
import type { Authorizer } from './authorization.ts';
import type { CertificateRequest } from './certificates.ts';
import { DerError } from './der-reader.ts';
import { KUBELET_CLIENT_SIGNER, SIGNERS } from './signers.ts';
import { readSigningRequest, type SigningRequest } from './signing-request.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;
/** A certificate that does not say how long it is wanted; also the longest there is. */
const LONGEST_MS = 365 * DAY;
/** How long a request is kept after it was answered, and without an answer. */
const KEPT_MS = { answered: HOUR, pending: 24 * HOUR };

export interface CertificateSigningOptions {
  client: Client;
  informers: InformerSet;
  clock: Clock;
  logger: Logger;
  /** May a user have his node's certificate approved by himself? */
  authorizer: Authorizer;
  /** Signs with the cluster's CA; the key never leaves identity. */
  issue(request: Omit<CertificateRequest, 'serial'>): string;
}

/**
 * CertificateSigningRequests of Kubernetes' own signers: kubelets' are approved for who may have them, approved ones are
 * signed, and old ones are deleted. Other signers' are theirs to sign; they too are deleted when they are old.
 */
export function certificateSigning(options: CertificateSigningOptions): Controller {
  const { client, informers, clock, logger } = options;
  const requests = informers.of(CERTIFICATE_SIGNING_REQUESTS);
  return new Controller({
    name: 'certificatesigningrequest-controller',
    clock,
    logger,
    watches: [watch(requests)],
    reconcile: async (key) => {
      const { name } = splitKey(key);
      const csr = requests.get(undefined, name);
      if (!csr || csr.metadata.deletionTimestamp !== undefined) return undefined;
      const left = timeLeft(csr, clock.now());
      if (left <= 0) {
        await client.delete(CERTIFICATE_SIGNING_REQUESTS, undefined, name, {
          preconditions: { uid: csr.metadata.uid ?? '' },
        });
        return undefined;
      }
      await answer(csr, options);
      return left;
    },
  });
}

const has = ({ status }: CertificateSigningRequest, type: string): boolean =>
  status?.conditions?.some((condition) => condition.type === type) === true;

/** Until a request is too old to be kept; it is asked again at that time, or when it changes. */
export function timeLeft(csr: CertificateSigningRequest, now: number): number {
  const decided = (csr.status?.conditions ?? []).filter(({ type }) =>
    ['Approved', 'Denied', 'Failed'].includes(type),
  );
  const times = decided.map(({ lastUpdateTime }) => Date.parse(lastUpdateTime ?? ''));
  const answered = csr.status?.certificate !== undefined || has(csr, 'Denied') || has(csr, 'Failed');
  if (answered && times.length > 0) return Math.max(...times) + KEPT_MS.answered - now;
  // Approved, and its signer has not signed: it may come back, as for one that waits for approval.
  return Date.parse(csr.metadata.creationTimestamp ?? '') + KEPT_MS.pending - now;
}

async function answer(csr: CertificateSigningRequest, options: CertificateSigningOptions): Promise<void> {
  const { signerName } = csr.spec;
  const rule = Object.hasOwn(SIGNERS, signerName) ? SIGNERS[signerName] : undefined;
  if (!rule || csr.status?.certificate || has(csr, 'Denied') || has(csr, 'Failed')) return;
  let request: SigningRequest;
  let problem: string | undefined;
  try {
    request = readSigningRequest(String(csr.spec.request));
    problem = rule(request, csr.spec.usages ?? []);
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    await fail(csr, `unable to parse csr: ${error.message}`, options);
    return;
  }
  if (!has(csr, 'Approved')) {
    if (problem === undefined) await approve(csr, request, options);
    return;
  }
  if (problem !== undefined) {
    await fail(csr, problem, options);
    return;
  }
  const { client, clock } = options;
  const seconds = csr.spec.expirationSeconds;
  const lifetime = Math.min(LONGEST_MS, seconds === undefined ? LONGEST_MS : seconds * 1000);
  const certificate = options.issue({
    commonName: request.commonName,
    usage: 'client',
    asked: { subject: request.subject, alternativeNames: request.alternativeNames },
    usages: csr.spec.usages ?? [],
    publicKey: request.publicKey,
    notAfter: clock.now() + lifetime,
  });
  await client.updateStatus(CERTIFICATE_SIGNING_REQUESTS, {
    ...csr,
    status: { ...csr.status, certificate: Buffer.from(certificate).toString('base64') },
  });
}

/** A node's certificate is approved for who may ask for it: the node itself, or who sets boards up. */
async function approve(
  csr: CertificateSigningRequest,
  { commonName }: SigningRequest,
  { client, clock, authorizer }: CertificateSigningOptions,
): Promise<void> {
  if (csr.spec.signerName !== KUBELET_CLIENT_SIGNER) return;
  const self = commonName === csr.spec.username;
  const kinds = [
    ...(self
      ? [
          {
            subresource: 'selfnodeclient',
            message: 'Auto approving self kubelet client certificate after SubjectAccessReview.',
          },
        ]
      : []),
    {
      subresource: 'nodeclient',
      message: 'Auto approving kubelet client certificate after SubjectAccessReview.',
    },
  ];
  const found = kinds.find(
    ({ subresource }) =>
      authorizer.authorize({
        user: requester(csr),
        verb: 'create',
        group: 'certificates.k8s.io',
        version: '*',
        resource: 'certificatesigningrequests',
        subresource,
        namespace: '',
        name: '',
      }).allowed,
  );
  if (!found) return;
  const condition = conditionOf('Approved', 'AutoApproved', found.message, clock.now());
  await client.patch(
    CERTIFICATE_SIGNING_REQUESTS,
    undefined,
    csr.metadata.name ?? '',
    {
      type: 'merge',
      body: {
        metadata: { resourceVersion: csr.metadata.resourceVersion },
        status: { conditions: [...(csr.status?.conditions ?? []), condition] },
      },
    },
    'approval',
  );
}

function requester({ spec }: CertificateSigningRequest): UserInfo {
  return {
    name: spec.username ?? '',
    groups: spec.groups ?? [],
    ...(spec.uid === undefined ? {} : { uid: spec.uid }),
    ...(spec.extra === undefined ? {} : { extra: spec.extra }),
  };
}

async function fail(
  csr: CertificateSigningRequest,
  message: string,
  { client, clock }: CertificateSigningOptions,
): Promise<void> {
  const condition = conditionOf('Failed', 'SignerValidationFailure', message, clock.now());
  await client.updateStatus(CERTIFICATE_SIGNING_REQUESTS, {
    ...csr,
    status: { ...csr.status, conditions: [...(csr.status?.conditions ?? []), condition] },
  });
}

function conditionOf(
  type: string,
  reason: string,
  message: string,
  now: number,
): CertificateSigningRequestCondition {
  return { type, status: 'True', reason, message, lastUpdateTime: timestamp(now) };
}
