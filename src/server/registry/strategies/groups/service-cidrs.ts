// ServiceCIDRs and IPAddresses: which addresses Services get, and which are taken.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsSubdomain, pathSegment } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkName,
  invalidValue,
  objectAt,
  required,
  stringAt,
  stringsAt,
} from '../../../../api/validation.ts';
import { checkImmutable } from '../../../../api/validation-meta.ts';
import { fieldsAt } from '../../selection.ts';
import type { Strategy } from '../../strategy.ts';
import { CIDR_RULE, IP_RULE, isCidr, isIp } from '../addresses.ts';
import { nameCell } from '../cells.ts';
import { canonicalAddress, formatNetwork, parseCidr } from './cidrs.ts';
import { row } from './rows.ts';

const cidrsOf = (object: JsonObject): string[] => stringsAt(objectAt(object, 'spec'), 'cidrs');

export const serviceCidrStrategy: Strategy = {
  statusKeepsMetadata: true,
  validatesUpdates: false,
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => validateCidrs(cidrsOf(object)),
  validateUpdate: (object, old) => {
    const next = cidrsOf(object);
    const before = cidrsOf(old);
    const changed = before.flatMap((cidr, index) =>
      next[index] === cidr ? [] : checkImmutable(`spec.cidrs[${index}]`, next[index], cidr),
    );
    if (next.length === before.length) return changed;
    // A cluster of one address family may become one of both.
    if (before.length === 1 && next.length === 2) return [...changed, ...validateCidrs(next)];
    return checkImmutable('spec.cidrs', next, before, null);
  },
  cells: row((object) => [cidrsOf(object).join(',')]),
};

function validateCidrs(cidrs: string[]): FieldError[] {
  if (cidrs.length === 0) return [required('spec.cidrs', 'at least one CIDR required')];
  if (cidrs.length > 2) {
    return [invalidValue('spec.cidrs', { CIDRs: cidrs }, 'may only hold up to 2 values')];
  }
  const errors = cidrs.flatMap((cidr, index) => validateCidr(cidr, `spec.cidrs[${index}]`));
  const families = cidrs.filter(isCidr).map((cidr) => parseCidr(cidr).family);
  if (families.length === 2 && families[0] === families[1]) {
    errors.push(
      invalidValue(
        'spec.cidrs',
        cidrs,
        'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64',
      ),
    );
  }
  return errors;
}

function validateCidr(cidr: string, field: string): FieldError[] {
  if (!isCidr(cidr)) return [invalidValue(field, cidr, CIDR_RULE)];
  const network = parseCidr(cidr);
  const due = formatNetwork(network);
  if (network.address !== network.base) {
    return [
      invalidValue(field, cidr, `must not have bits set beyond the prefix length (${JSON.stringify(due)})`),
    ];
  }
  return due === cidr
    ? []
    : [invalidValue(field, cidr, `must be in canonical form (${JSON.stringify(due)})`)];
}

export const ipAddressStrategy: Strategy = {
  nameRule: 'path-segment',
  validatesUpdates: false,
  validate: (object) => {
    const parent = asObject(objectAt(object, 'spec').parentRef);
    return [
      ...validateAddress(nameCell(object), 'metadata.name'),
      ...(parent ? validateParent(parent, 'spec.parentRef') : [required('spec.parentRef')]),
    ];
  },
  validateUpdate: (object, old) =>
    checkImmutable('spec.parentRef', objectAt(object, 'spec').parentRef, objectAt(old, 'spec').parentRef),
  selectableFields: fieldsAt('spec.parentRef.name'),
  cells: row((object) => {
    const parent = asObject(objectAt(object, 'spec').parentRef);
    if (!parent) return ['<none>'];
    const group = stringAt(parent, 'group');
    const type = `${stringAt(parent, 'resource')}${group === '' ? '' : `.${group}`}`.toLowerCase();
    const namespace = stringAt(parent, 'namespace');
    return [[type, ...(namespace === '' ? [] : [namespace]), stringAt(parent, 'name')].join('/')];
  }),
};

function validateAddress(address: string, field: string): FieldError[] {
  if (!isIp(address)) return [invalidValue(field, address, IP_RULE)];
  const due = canonicalAddress(address);
  return due === address
    ? []
    : [invalidValue(field, address, `must be in canonical form (${JSON.stringify(due)})`)];
}

function validateParent(parent: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const group = stringAt(parent, 'group');
  if (group !== '') errors.push(...checkName(`${path}.group`, group, dnsSubdomain));
  for (const field of ['resource', 'name']) {
    const value = stringAt(parent, field);
    if (value === '') errors.push(required(`${path}.${field}`));
    else errors.push(...checkName(`${path}.${field}`, value, pathSegment));
  }
  const namespace = stringAt(parent, 'namespace');
  if (namespace !== '') errors.push(...checkName(`${path}.namespace`, namespace, pathSegment));
  return errors;
}
