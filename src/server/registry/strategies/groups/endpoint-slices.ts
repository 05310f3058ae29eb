// EndpointSlices.
import type { FieldError } from '../../../../api/errors.ts';
import { dnsLabel, dnsSubdomain, labelValue, portNumber, qualifiedName } from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import { jsonEqual } from '../../../../api/patch-json.ts';
import {
  asObject,
  checkName,
  duplicate,
  invalidValue,
  isUnset,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
  tooMany,
} from '../../../../api/validation.ts';
import { checkImmutable, validateLabels } from '../../../../api/validation-meta.ts';
import type { Strategy } from '../../strategy.ts';
import { IP_RULE, isIp, isIpv4, validateSpecialIp } from '../addresses.ts';
import { row } from './rows.ts';

const ADDRESS_TYPES = ['FQDN', 'IPv4', 'IPv6'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const MOST_ENDPOINTS = 1000;
const MOST_ADDRESSES = 100;
const MOST_PORTS = 20_000;
const MOST_TOPOLOGY = 16;
const MOST_HINTS = 8;
const SHOWN = 3;

export const endpointSliceStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (slice) => {
    for (const port of listAt(slice, 'ports')) {
      setDefault(port, 'name', '');
      setDefault(port, 'protocol', 'TCP');
    }
  },
  prepareForUpdate: (slice, old) => {
    // Here labels count as a change of the object: they say whose endpoints these are.
    const metadata = objectAt(slice, 'metadata');
    const before = objectAt(old, 'metadata');
    const labels = (of: JsonObject): JsonObject => objectAt(of, 'labels');
    if (!jsonEqual(labels(metadata), labels(before))) {
      metadata.generation = (numberAt(before, 'generation') ?? 0) + 1;
    }
  },
  validate: (slice) => {
    const type = stringAt(slice, 'addressType');
    const errors: FieldError[] = [];
    if (type === '') errors.push(required('addressType'));
    else if (!ADDRESS_TYPES.includes(type)) errors.push(notSupported('addressType', type, ADDRESS_TYPES));
    return [...errors, ...validatePorts(slice), ...validateEndpoints(slice, type)];
  },
  validateUpdate: (slice, old) => checkImmutable('addressType', slice.addressType, old.addressType),
  warnings: (slice) =>
    slice.addressType === 'FQDN' ? ['spec.addressType: FQDN endpoints are deprecated'] : [],
  cells: row((slice) => [
    stringAt(slice, 'addressType'),
    shortened(listAt(slice, 'ports').map((port) => String(port.port ?? port.name ?? '*'))),
    shortened(listAt(slice, 'endpoints').flatMap((endpoint) => stringsAt(endpoint, 'addresses'))),
  ]),
};

function shortened(values: string[]): string {
  const shown = values.slice(0, SHOWN).join(',');
  if (values.length > SHOWN) return `${shown} + ${values.length - SHOWN} more...`;
  return shown === '' ? '<unset>' : shown;
}

function validatePorts(slice: JsonObject): FieldError[] {
  const ports = listAt(slice, 'ports');
  if (ports.length > MOST_PORTS) return [tooMany('ports', ports.length, MOST_PORTS)];
  const names = new Set<string>();
  return ports.flatMap((port, index) => {
    const path = `ports[${index}]`;
    const name = stringAt(port, 'name');
    const errors = name === '' ? [] : checkName(`${path}.name`, name, dnsLabel);
    if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    names.add(name);
    if (isUnset(port.protocol)) errors.push(required(`${path}.protocol`));
    else if (!PROTOCOLS.includes(port.protocol as string)) {
      errors.push(notSupported(`${path}.protocol`, port.protocol, PROTOCOLS));
    }
    const number = numberAt(port, 'port');
    if (number !== undefined) {
      for (const why of portNumber(number)) errors.push(invalidValue(`${path}.port`, number, why));
    }
    if (port.appProtocol !== undefined) {
      errors.push(...checkName(`${path}.appProtocol`, stringAt(port, 'appProtocol'), qualifiedName));
    }
    return errors;
  });
}

function validateEndpoints(slice: JsonObject, type: string): FieldError[] {
  const endpoints = listAt(slice, 'endpoints');
  if (endpoints.length > MOST_ENDPOINTS) return [tooMany('endpoints', endpoints.length, MOST_ENDPOINTS)];
  return endpoints.flatMap((endpoint, index) => validateEndpoint(endpoint, `endpoints[${index}]`, type));
}

function validateEndpoint(endpoint: JsonObject, path: string, type: string): FieldError[] {
  const field = `${path}.addresses`;
  const addresses = stringsAt(endpoint, 'addresses');
  const errors: FieldError[] = [];
  if (addresses.length === 0) errors.push(required(field, 'must contain at least 1 address'));
  else if (addresses.length > MOST_ADDRESSES) {
    errors.push(tooMany(field, addresses.length, MOST_ADDRESSES));
  }
  addresses.forEach((address, index) => {
    errors.push(...validateAddress(address, type, field, index));
  });
  const node = stringAt(endpoint, 'nodeName');
  if (endpoint.nodeName !== undefined) errors.push(...checkName(`${path}.nodeName`, node, dnsSubdomain));
  const topology = objectAt(endpoint, 'deprecatedTopology');
  const size = Object.keys(topology).length;
  if (size > MOST_TOPOLOGY) errors.push(tooMany(`${path}.deprecatedTopology`, size, MOST_TOPOLOGY));
  errors.push(...validateLabels(topology, `${path}.deprecatedTopology`));
  if (endpoint.hostname !== undefined) {
    errors.push(...checkName(`${path}.hostname`, stringAt(endpoint, 'hostname'), dnsLabel));
  }
  const hints = asObject(endpoint.hints);
  if (hints) {
    errors.push(...validateHints(listAt(hints, 'forZones'), `${path}.hints.forZones`, labelValue));
    errors.push(...validateHints(listAt(hints, 'forNodes'), `${path}.hints.forNodes`, dnsSubdomain));
  }
  return errors;
}

function validateHints(hints: JsonObject[], field: string, check: (name: string) => string[]): FieldError[] {
  if (hints.length > MOST_HINTS) return [tooMany(field, hints.length, MOST_HINTS)];
  const seen = new Set<string>();
  return hints.flatMap((hint, index) => {
    const name = stringAt(hint, 'name');
    const at = `${field}[${index}].name`;
    const errors = seen.has(name) ? [duplicate(at, name)] : [];
    seen.add(name);
    return [...errors, ...checkName(at, name, check)];
  });
}

function validateAddress(address: string, type: string, field: string, index: number): FieldError[] {
  const at = `${field}[${index}]`;
  if (type === 'FQDN') return validateDomain(address, at);
  if (type !== 'IPv4' && type !== 'IPv6') return [];
  if (!isIp(address)) return [invalidValue(at, address, IP_RULE)];
  const errors: FieldError[] = [];
  if (isIpv4(address) !== (type === 'IPv4')) {
    errors.push(invalidValue(field, address, `must be an ${type} address`));
  }
  return [...errors, ...validateSpecialIp(address, at)];
}

function validateDomain(address: string, field: string): FieldError[] {
  if (address === '') return [required(field)];
  const name = address.endsWith('.') ? address.slice(0, -1) : address;
  const rules = dnsSubdomain(name);
  if (rules.length > 0) return [invalidValue(field, name, rules.join(','))];
  const labels = name.split('.');
  if (labels.length < 2) {
    return [invalidValue(field, name, 'should be a domain with at least two segments separated by dots')];
  }
  return labels.flatMap((label) => {
    const wrong = dnsLabel(label);
    return wrong.length > 0 ? [invalidValue(field, label, wrong.join(','))] : [];
  });
}
