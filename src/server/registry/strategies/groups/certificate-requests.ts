// CertificateSigningRequests. Who asked is recorded by admission; what was asked for never changes after.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsLabel, dnsSubdomain } from '../../../../api/names.ts';
import type { Json, JsonObject } from '../../../../api/object.ts';
import {
  duplicate,
  ensureObject,
  forbiddenField,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  stringAt,
  stringsAt,
  tooLong,
} from '../../../../api/validation.ts';
import { timestamp } from '../../../../lib/clock.ts';
import { fieldsAt } from '../../selection.ts';
import type { Strategy } from '../../strategy.ts';
import { humanDuration } from '../age.ts';
import { ageCell, nameCell } from '../cells.ts';
import { signingRequestProblem } from './signing-request.ts';

// Kubernetes' names of key usages, as it lists them.
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
const LONGEST_SIGNER = 571;
const STATES = ['True', 'False', 'Unknown'];
/** Decisions: once taken they stay, and they are not "False". */
const FINAL = ['Approved', 'Denied', 'Failed'];
const DECISIONS = ['Approved', 'Denied'];

export const certificateRequestStrategy: Strategy = {
  nameRule: 'path-segment',
  prepareForCreate: (object) => {
    object.status = {};
  },
  prepareForUpdate: (object, old) => {
    if (old.spec !== undefined) object.spec = old.spec;
  },
  prepareForStatusUpdate: (object, old, now) => {
    const status = ensureObject(object, 'status');
    // Who may write the status may not approve by it: that is the approval subresource. What they repeat of a
    // decision stays as it was made; validation refuses those who add one or take one away.
    const decided = new Map(DECISIONS.map((type) => [type, conditionsOf(old, type)]));
    const kept = new Map(
      [...decided].filter(([type, were]) => conditionsOf(object, type).length === were.length),
    );
    if (Array.isArray(status.conditions)) {
      status.conditions = listAt(status, 'conditions').map(
        (condition) => kept.get(stringAt(condition, 'type'))?.shift() ?? condition,
      );
    }
    stampConditions(object, old, now);
  },
  validate: validateRequest,
  validateStatusUpdate: validateStatus,
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: fieldsAt('spec.signerName'),
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const seconds = numberAt(spec, 'expirationSeconds');
    return [
      nameCell(object),
      ageCell(object, now),
      stringAt(spec, 'signerName') || '<none>',
      stringAt(spec, 'username'),
      seconds === undefined ? '<none>' : humanDuration(seconds * 1000),
      stateCell(objectAt(object, 'status')),
    ];
  },
};

function stateCell(status: JsonObject): string {
  const has = (type: string): boolean => listAt(status, 'conditions').some((one) => one.type === type);
  const decision = has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending';
  const issued = stringAt(status, 'certificate') === '' ? '' : ',Issued';
  return `${decision}${has('Failed') ? ',Failed' : ''}${issued}`;
}

/** Of the approval subresource: `next` has the submitted conditions and everything else of `old`. */
export function stampConditions(next: JsonObject, old: JsonObject, now: number): void {
  const before = listAt(objectAt(old, 'status'), 'conditions');
  const status = objectAt(next, 'status');
  if (listAt(status, 'conditions').length === 0) return;
  status.conditions = listAt(status, 'conditions').map((given) => {
    const condition = { ...given };
    if (isUnset(condition.lastUpdateTime)) condition.lastUpdateTime = timestamp(now);
    if (isUnset(condition.lastTransitionTime)) {
      const same = before.find(({ type, status: state }) => type === given.type && state === given.status);
      const since = same?.lastTransitionTime;
      condition.lastTransitionTime = isUnset(since) ? timestamp(now) : (since as Json);
    }
    return condition;
  });
}

function validateRequest(object: JsonObject): FieldError[] {
  const spec = objectAt(object, 'spec');
  const errors: FieldError[] = [];
  const request = stringAt(spec, 'request');
  const problem = signingRequestProblem(request);
  if (problem !== undefined) errors.push(invalidValue('spec.request', request, problem));
  const usages = stringsAt(spec, 'usages');
  if (usages.length === 0) errors.push(required('spec.usages'));
  const seen = new Set<string>();
  usages.forEach((usage, index) => {
    if (!USAGES.includes(usage)) errors.push(notSupported(`spec.usages[${index}]`, usage, USAGES));
    if (seen.has(usage)) errors.push(duplicate(`spec.usages[${index}]`, usage));
    seen.add(usage);
  });
  const signer = stringAt(spec, 'signerName');
  if (signer === 'kubernetes.io/legacy-unknown') {
    errors.push(
      invalidValue('spec.signerName', signer, 'the legacy signerName is not allowed via this API version'),
    );
  } else errors.push(...validateSignerName(signer, 'spec.signerName'));
  const seconds = numberAt(spec, 'expirationSeconds');
  if (seconds !== undefined && seconds < SHORTEST_SECONDS) {
    errors.push(
      invalidValue(
        'spec.expirationSeconds',
        seconds,
        'may not specify a duration less than 600 seconds (10 minutes)',
      ),
    );
  }
  return [...errors, ...validateConditions(object)];
}

/** `example.com/name`: a domain of two labels or more, a slash, and dotted names. */
function validateSignerName(name: string, field: string): FieldError[] {
  if (name === '') return [required(field)];
  const segments = name.split('/');
  const [domain = '', path = ''] = segments;
  if (segments.length !== 2) {
    return [
      invalidValue(
        field,
        name,
        "must be a fully qualified domain and path of the form 'example.com/signer-name'",
      ),
    ];
  }
  const errors: FieldError[] = [];
  if (domain.length > 253) errors.push(tooLong(field, 253));
  const labels = domain.split('.');
  errors.push(...firstWrong(labels, dnsLabel, domain, field));
  if (labels.length < 2) {
    errors.push(
      invalidValue(field, domain, 'should be a domain with at least two segments separated by dots'),
    );
  }
  errors.push(...firstWrong(path.split('.'), dnsSubdomain, path, field));
  if (name.length > LONGEST_SIGNER) errors.push(tooLong(field, LONGEST_SIGNER));
  return errors;
}

function firstWrong(
  labels: string[],
  check: (label: string) => string[],
  value: string,
  field: string,
): FieldError[] {
  const wrong = labels.find((label) => check(label).length > 0);
  if (wrong === undefined) return [];
  return check(wrong).map((why) =>
    invalidValue(field, value, `validating label ${JSON.stringify(wrong)}: ${why}`),
  );
}

function validateConditions(object: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  listAt(objectAt(object, 'status'), 'conditions').forEach((condition, index) => {
    const path = `status.conditions[${index}]`;
    const type = stringAt(condition, 'type');
    const state = stringAt(condition, 'status');
    if (type === '') errors.push(required(`${path}.type`));
    if (state === '') errors.push(required(`${path}.status`));
    else if (FINAL.includes(type) && state !== 'True') {
      errors.push(notSupported(`${path}.status`, state, ['True']));
    } else if (!STATES.includes(state)) errors.push(notSupported(`${path}.status`, state, STATES));
    if ((type === 'Approved' && seen.has('Denied')) || (type === 'Denied' && seen.has('Approved'))) {
      errors.push(
        invalidValue(`${path}.type`, type, 'Approved and Denied conditions are mutually exclusive'),
      );
    }
    if (seen.has(type)) errors.push(duplicate(`${path}.type`, type));
    seen.add(type);
  });
  return errors;
}

function conditionsOf(object: JsonObject, wanted: string): JsonObject[] {
  return listAt(objectAt(object, 'status'), 'conditions').filter(({ type }) => type === wanted);
}

/** How many conditions of a type came and went. */
function gained(object: JsonObject, old: JsonObject, type: string): number {
  return conditionsOf(object, type).length - conditionsOf(old, type).length;
}

function refuse(what: string, types: readonly string[]): FieldError[] {
  return types.map((type) =>
    forbiddenField(
      'status.conditions',
      `updates may not ${what} a condition of type ${JSON.stringify(type)}`,
    ),
  );
}

/** Of an approval write: decisions may be added, never taken back. */
export function validateApproval(object: JsonObject, old: JsonObject): FieldError[] {
  const lost = FINAL.filter((type) => gained(object, old, type) < 0);
  return [...validateConditions(object), ...refuse('remove', lost)];
}

/** Of a status write: no decisions, and a certificate that was issued stays. */
function validateStatus(object: JsonObject, old: JsonObject): FieldError[] {
  const added = DECISIONS.filter((type) => gained(object, old, type) > 0);
  const errors = [...validateApproval(object, old), ...refuse('add', added)];
  const issued = stringAt(objectAt(old, 'status'), 'certificate');
  if (issued !== '' && stringAt(objectAt(object, 'status'), 'certificate') !== issued) {
    const why = 'updates may not modify existing certificate content';
    errors.push(forbiddenField('status.certificate', why));
  }
  return errors;
}
