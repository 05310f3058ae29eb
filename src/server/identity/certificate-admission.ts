// CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may approve and sign for a signer is a
// right on that signer, and no client certificate is asked for that makes its owner master of the cluster.
import { forbidden } from '../../api/errors.ts';
import type { JsonObject } from '../../api/object.ts';
import { jsonEqual } from '../../api/patch-json.ts';
import { objectAt, stringAt } from '../../api/validation.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../admission/port.ts';
import { refuse } from '../admission/refusal.ts';
import { type Authorizer, MASTERS } from './authorization.ts';
import { DerError } from './der-reader.ts';
import { CLIENT_SIGNER } from './signers.ts';
import { readSigningRequest } from './signing-request.ts';

const BUCKET = 'certificatesigningrequests.certificates.k8s.io';

export class CertificateAdmission implements AdmissionPlugin {
  readonly name = 'CertificateApproval';
  private readonly authorizer: Authorizer;

  constructor(authorizer: Authorizer) {
    this.authorizer = authorizer;
  }

  validate(request: AdmissionRequest): void {
    const { bucket, operation, target, object, old } = request;
    if (bucket !== BUCKET || !object) return;
    if (operation === 'CREATE' && target.subresource === undefined) {
      checkSubject(request, object);
      return;
    }
    if (operation !== 'UPDATE' || !old) return;
    const signer = stringAt(objectAt(old, 'spec'), 'signerName');
    if (target.subresource === 'approval') this.demand(request, 'approve', signer);
    if (target.subresource === 'status' && signs(object, old)) this.demand(request, 'sign', signer);
  }

  private demand(request: AdmissionRequest, verb: 'approve' | 'sign', signer: string): void {
    const domain = signer.slice(0, signer.indexOf('/'));
    const may = [signer, `${domain}/*`].some(
      (name) =>
        this.authorizer.authorize({
          user: request.context.user,
          verb,
          group: 'certificates.k8s.io',
          version: '*',
          resource: 'signers',
          subresource: '',
          namespace: '',
          name,
        }).allowed,
    );
    if (may) return;
    throw refuse(request, `user not permitted to ${verb} requests with signerName ${JSON.stringify(signer)}`);
  }
}

function signs(object: JsonObject, old: JsonObject): boolean {
  const [next, before] = [objectAt(object, 'status'), objectAt(old, 'status')];
  return next.certificate !== before.certificate || !jsonEqual(next.conditions, before.conditions);
}

function checkSubject(request: AdmissionRequest, object: JsonObject): void {
  const spec = objectAt(object, 'spec');
  if (spec.signerName !== CLIENT_SIGNER) return;
  try {
    if (!readSigningRequest(stringAt(spec, 'request')).organizations.includes(MASTERS)) return;
  } catch (error) {
    // Validation has said all that is to be said of it.
    if (error instanceof DerError) return;
    throw error;
  }
  throw forbidden(
    request.target.info,
    stringAt(objectAt(object, 'metadata'), 'name'),
    `use of ${CLIENT_SIGNER} signer with ${MASTERS} group is not allowed`,
  );
}
