// NetworkPolicies.
import type { FieldError } from '../../../../api/errors.ts';
import { portName, portNumber } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
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
} from '../../../../api/validation.ts';
import type { Strategy } from '../../strategy.ts';
import { CIDR_RULE, isCidr } from '../addresses.ts';
import { selectorCell } from '../cells.ts';
import { validateLabelSelector } from '../label-selector.ts';
import { cidrWarnings, isStrictlyWithin, parseCidr } from './cidrs.ts';
import { row } from './rows.ts';

const POLICY_TYPES = ['Ingress', 'Egress'];
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'];
/** Directions with the field that names their peers. */
const DIRECTIONS = [
  ['ingress', 'from'],
  ['egress', 'to'],
] as const;

export const networkPolicyStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (policy) => {
    const spec = ensureObject(policy, 'spec');
    for (const [direction] of DIRECTIONS) {
      for (const rule of listAt(spec, direction)) {
        for (const port of listAt(rule, 'ports')) if (isUnset(port.protocol)) port.protocol = 'TCP';
      }
    }
    // Egress rules say that egress is meant; everything else has to be said.
    if (stringsAt(spec, 'policyTypes').length === 0) {
      spec.policyTypes = listAt(spec, 'egress').length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
    }
  },
  validate: validatePolicy,
  warnings: (policy) =>
    blocks(policy).flatMap(({ block, path }) => [
      ...cidrWarnings(stringAt(block, 'cidr'), `${path}.cidr`),
      ...stringsAt(block, 'except').flatMap((except, index) =>
        cidrWarnings(except, `${path}.except[${index}]`),
      ),
    ]),
  cells: row((policy) => [selectorCell(asObject(objectAt(policy, 'spec').podSelector))]),
};

function blocks(policy: JsonObject): { block: JsonObject; path: string }[] {
  const spec = objectAt(policy, 'spec');
  return DIRECTIONS.flatMap(([direction, peers]) =>
    listAt(spec, direction).flatMap((rule, index) =>
      listAt(rule, peers).flatMap((peer, at) => {
        const block = asObject(peer.ipBlock);
        return block ? [{ block, path: `spec.${direction}[${index}].${peers}[${at}].ipBlock` }] : [];
      }),
    ),
  );
}

function validatePolicy(policy: JsonObject): FieldError[] {
  const spec = objectAt(policy, 'spec');
  const errors = validateLabelSelector(asObject(spec.podSelector), 'spec.podSelector');
  for (const [direction, peers] of DIRECTIONS) {
    listAt(spec, direction).forEach((rule, index) => {
      const path = `spec.${direction}[${index}]`;
      listAt(rule, 'ports').forEach((port, at) => {
        errors.push(...validatePort(port, `${path}.ports[${at}]`));
      });
      listAt(rule, peers).forEach((peer, at) => {
        errors.push(...validatePeer(peer, `${path}.${peers}[${at}]`));
      });
    });
  }
  const types = stringsAt(spec, 'policyTypes');
  if (types.length > POLICY_TYPES.length) {
    return [...errors, invalidValue('spec.policyTypes', types, 'may not specify more than two policyTypes')];
  }
  types.forEach((type, index) => {
    if (!POLICY_TYPES.includes(type)) {
      errors.push(notSupported(`spec.policyTypes[${index}]`, type, POLICY_TYPES));
    }
  });
  return errors;
}

function validatePort(port: JsonObject, path: string): FieldError[] {
  const errors = checkChoice(`${path}.protocol`, port.protocol, PROTOCOLS);
  const end = numberAt(port, 'endPort');
  const wrongEnd = (why: string): FieldError => invalidValue(`${path}.endPort`, end, why);
  if (typeof port.port === 'number') {
    for (const why of portNumber(port.port)) errors.push(invalidValue(`${path}.port`, port.port, why));
    if (end === undefined) return errors;
    if (end < port.port) errors.push(wrongEnd('must be greater than or equal to `port`'));
    return [...errors, ...portNumber(end).map(wrongEnd)];
  }
  if (typeof port.port === 'string') {
    if (end !== undefined) errors.push(wrongEnd('may not be specified when `port` is non-numeric'));
    return [...errors, ...checkName(`${path}.port`, port.port, portName)];
  }
  if (end !== undefined) errors.push(wrongEnd('may not be specified when `port` is not specified'));
  return errors;
}

function validatePeer(peer: JsonObject, path: string): FieldError[] {
  const errors = ['podSelector', 'namespaceSelector'].flatMap((field) =>
    validateLabelSelector(asObject(peer[field]), `${path}.${field}`),
  );
  const block = asObject(peer.ipBlock);
  if (block) errors.push(...validateBlock(block, `${path}.ipBlock`));
  const selects = peer.podSelector !== undefined || peer.namespaceSelector !== undefined;
  if (!block && !selects) errors.push(required(path, 'must specify a peer'));
  if (block && selects) {
    errors.push(forbiddenField(path, 'may not specify both ipBlock and another peer'));
  }
  return errors;
}

function validateBlock(block: JsonObject, path: string): FieldError[] {
  const cidr = stringAt(block, 'cidr');
  if (cidr === '') return [required(`${path}.cidr`)];
  if (!isCidr(cidr)) return [invalidValue(`${path}.cidr`, cidr, CIDR_RULE)];
  const network = parseCidr(cidr);
  return stringsAt(block, 'except').flatMap((except, index) => {
    const field = `${path}.except[${index}]`;
    if (!isCidr(except)) return [invalidValue(field, except, CIDR_RULE)];
    return isStrictlyWithin(parseCidr(except), network)
      ? []
      : [invalidValue(field, except, 'must be a strict subset of `cidr`')];
  });
}
