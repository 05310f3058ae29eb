// CertificateSigningRequests.
import type { FieldError } from '../../../api/errors.ts';
import { dnsSubdomain } from '../../../api/names.ts';
import {
  checkName,
  ensureObject,
  invalidValue,
  listAt,
  notSupported,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { ageCell, nameCell } from './cells.ts';

const USAGES = [
  'any',
  'cert sign',
  'client auth',
  'code signing',
  'content commitment',
  'crl sign',
  'data encipherment',
  'decipher only',
  'digital signature',
  'email protection',
  'encipher only',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'key agreement',
  'key encipherment',
  'microsoft sgc',
  'netscape sgc',
  'ocsp signing',
  's/mime',
  'server auth',
  'signing',
  'timestamping',
];
const SHORTEST_SECONDS = 600;

export const certificateRequestStrategy: Strategy = {
  prepareForCreate: (object) => {
    object.status = {};
  },
  prepareForUpdate: (object, old) => {
    object.spec = objectAt(old, 'spec');
  },
  prepareForStatusUpdate: (object) => {
    for (const condition of listAt(ensureObject(object, 'status'), 'conditions')) {
      condition.status ??= 'True';
    }
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const errors: FieldError[] = [];
    const request = stringAt(spec, 'request');
    const pem = Buffer.from(request, 'base64').toString('latin1');
    if (!/-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----[\s\S]+-----END/.test(pem)) {
      errors.push(invalidValue('spec.request', request, 'PEM block type must be CERTIFICATE REQUEST'));
    }
    const usages = stringsAt(spec, 'usages');
    if (usages.length === 0) errors.push(required('spec.usages', 'usages must not be empty'));
    usages.forEach((usage, index) => {
      if (!USAGES.includes(usage)) errors.push(notSupported(`spec.usages[${index}]`, usage, USAGES));
    });
    errors.push(...validateSigner(stringAt(spec, 'signerName'), 'spec.signerName'));
    const seconds = spec.expirationSeconds;
    if (typeof seconds === 'number' && seconds < SHORTEST_SECONDS) {
      errors.push(
        invalidValue(
          'spec.expirationSeconds',
          seconds,
          'may not specify a duration less than 600 seconds (10 minutes)',
        ),
      );
    }
    return errors;
  },
  validateUpdate: (object, old) => checkImmutable('spec', object.spec, old.spec),
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: fieldsAt('spec.signerName'),
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const status = objectAt(object, 'status');
    const has = (type: string): boolean => listAt(status, 'conditions').some((one) => one.type === type);
    const state = has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending';
    const issued = stringAt(status, 'certificate') === '' ? '' : ',Issued';
    return [
      nameCell(object),
      ageCell(object, now),
      stringAt(spec, 'signerName') || '<none>',
      stringAt(spec, 'username'),
      spec.expirationSeconds === undefined ? '<none>' : durationText(spec.expirationSeconds as number),
      `${state}${has('Failed') ? ',Failed' : issued}`,
    ];
  },
};

function durationText(seconds: number): string {
  if (seconds % 86_400 === 0) return `${seconds / 86_400}d`;
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}

export function validateSigner(name: string, field: string): FieldError[] {
  if (name === '') return [required(field)];
  const slash = name.indexOf('/');
  if (slash < 0 || name.slice(slash + 1) === '') {
    return [
      invalidValue(
        field,
        name,
        "must be a fully qualified domain and path of the form 'example.com/signer-name'",
      ),
    ];
  }
  const domain = name.slice(0, slash);
  if (!domain.includes('.')) {
    return [invalidValue(field, domain, 'should be a domain with at least two segments separated by dots')];
  }
  return checkName(field, domain, dnsSubdomain);
}
