// EndpointSlices and Endpoints.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain, portNumber } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  checkChoice,
  checkName,
  duplicate,
  invalidValue,
  isUnset,
  listAt,
  numberAt,
  required,
  setDefault,
  stringAt,
  stringsAt,
  tooMany,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import type { Strategy } from '../strategy.ts';
import { IP_RULE, isIp, isIpv4 } from './addresses.ts';
import { ageCell, nameCell } from './cells.ts';

const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const MOST_ENDPOINTS = 1000;
const MOST_ADDRESSES = 100;
const MOST_PORTS = 20_000;
const SHOWN = 3;

export const endpointSliceStrategy: Strategy = {
  hasGeneration: true,
  requireResourceVersionOnUpdate: false,
  applyDefaults: (slice) => {
    for (const port of listAt(slice, 'ports')) {
      setDefault(port, 'name', '');
      setDefault(port, 'protocol', 'TCP');
    }
  },
  validate: (slice) => {
    const type = stringAt(slice, 'addressType');
    const errors: FieldError[] = [];
    if (type === '') errors.push(required('addressType'));
    else errors.push(...checkChoice('addressType', type, ['FQDN', 'IPv4', 'IPv6']));
    return [...errors, ...validateSlicePorts(slice), ...validateEndpoints(slice, type)];
  },
  validateUpdate: (slice, old) => checkImmutable('addressType', slice.addressType, old.addressType),
  warnings: (slice) =>
    slice.addressType === 'FQDN' ? ['spec.addressType: FQDN endpoints are deprecated'] : [],
  cells: (slice, now) => [
    nameCell(slice),
    stringAt(slice, 'addressType'),
    portsCell(listAt(slice, 'ports')),
    addressesCell(listAt(slice, 'endpoints').flatMap((endpoint) => stringsAt(endpoint, 'addresses'))),
    ageCell(slice, now),
  ],
};

function portsCell(ports: JsonObject[]): string {
  if (ports.length === 0) return '<unset>';
  return withRest(
    ports.map((port) => {
      const number = numberAt(port, 'port');
      return number === undefined ? '*' : String(number);
    }),
  );
}

function addressesCell(addresses: string[]): string {
  return addresses.length === 0 ? '<unset>' : withRest(addresses);
}

function withRest(values: string[]): string {
  return values.length > SHOWN
    ? `${values.slice(0, SHOWN).join(',')} + ${values.length - SHOWN} more...`
    : values.join(',');
}

function validateSlicePorts(slice: JsonObject): FieldError[] {
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
    else errors.push(...checkChoice(`${path}.protocol`, port.protocol, PROTOCOLS));
    return errors;
  });
}

function validateEndpoints(slice: JsonObject, type: string): FieldError[] {
  const endpoints = listAt(slice, 'endpoints');
  if (endpoints.length > MOST_ENDPOINTS) return [tooMany('endpoints', endpoints.length, MOST_ENDPOINTS)];
  return endpoints.flatMap((endpoint, index) => {
    const path = `endpoints[${index}].addresses`;
    const addresses = stringsAt(endpoint, 'addresses');
    if (addresses.length === 0) return [required(path, 'must contain at least 1 address')];
    if (addresses.length > MOST_ADDRESSES) return [tooMany(path, addresses.length, MOST_ADDRESSES)];
    return addresses.flatMap((address, at) => validateAddress(address, type, path, at));
  });
}

function validateAddress(address: string, type: string, path: string, index: number): FieldError[] {
  if (type === 'FQDN') return checkName(`${path}[${index}]`, address, dnsSubdomain);
  const errors: FieldError[] = [];
  if (type === 'IPv4' && !isIpv4(address))
    errors.push(invalidValue(path, address, 'must be an IPv4 address'));
  if (type === 'IPv6' && (!isIp(address) || isIpv4(address))) {
    errors.push(invalidValue(path, address, 'must be an IPv6 address'));
  }
  return [...errors, ...validateSpecialIp(address, `${path}[${index}]`)];
}

/** Addresses at which no pod of another node can be reached. */
export function validateSpecialIp(address: string, field: string): FieldError[] {
  if (!isIp(address)) return [invalidValue(field, address, 'must be a valid IP address')];
  const text = address.toLowerCase();
  if (/^0+(\.0+){3}$/.test(text) || text === '::') {
    return [invalidValue(field, address, 'may not be unspecified (0.0.0.0 or ::)')];
  }
  if (text.startsWith('127.') || text === '::1') {
    return [invalidValue(field, address, 'may not be in the loopback range (127.0.0.0/8, ::1/128)')];
  }
  if (text.startsWith('169.254.') || /^fe[89ab]/.test(text)) {
    return [invalidValue(field, address, 'may not be in the link-local range (169.254.0.0/16, fe80::/10)')];
  }
  if (text.startsWith('224.0.0.') || /^ff02:/.test(text)) {
    return [
      invalidValue(field, address, 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)'),
    ];
  }
  return [];
}

export const endpointsStrategy: Strategy = {
  allowCreateOnUpdate: true,
  deprecation: 'v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice',
  applyDefaults: (object) => {
    for (const subset of listAt(object, 'subsets')) {
      for (const port of listAt(subset, 'ports')) if (isUnset(port.protocol)) port.protocol = 'TCP';
    }
  },
  validate: (object) =>
    listAt(object, 'subsets').flatMap((subset, index) => validateSubset(subset, `subsets[${index}]`)),
  cells: (object, now) => {
    const all: string[] = [];
    for (const subset of listAt(object, 'subsets')) {
      const ports = listAt(subset, 'ports');
      const addresses = listAt(subset, 'addresses');
      if (ports.length === 0) all.push(...addresses.map((address) => stringAt(address, 'ip')));
      for (const port of ports) {
        for (const address of addresses) all.push(`${address.ip}:${port.port}`);
      }
    }
    return [nameCell(object), all.length === 0 ? '<none>' : withRest(all), ageCell(object, now)];
  },
};

function validateSubset(subset: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const addresses = listAt(subset, 'addresses');
  const notReady = listAt(subset, 'notReadyAddresses');
  if (addresses.length === 0 && notReady.length === 0) {
    errors.push(required(path, 'must specify `addresses` or `notReadyAddresses`'));
  }
  for (const [field, list] of [
    ['addresses', addresses],
    ['notReadyAddresses', notReady],
  ] as const) {
    list.forEach((address, index) => {
      const at = `${path}.${field}[${index}]`;
      const ip = stringAt(address, 'ip');
      if (!isIp(ip)) errors.push(invalidValue(`${at}.ip`, ip, IP_RULE));
      const hostname = stringAt(address, 'hostname');
      if (hostname !== '') errors.push(...checkName(`${at}.hostname`, hostname, dnsLabel));
      errors.push(...validateSpecialIp(ip, `${at}.ip`));
    });
  }
  const ports = listAt(subset, 'ports');
  ports.forEach((port, index) => {
    const at = `${path}.ports[${index}]`;
    const name = stringAt(port, 'name');
    if (ports.length > 1 && name === '') errors.push(required(`${at}.name`));
    else if (name !== '') errors.push(...checkName(`${at}.name`, name, dnsLabel));
    const number = numberAt(port, 'port') ?? 0;
    for (const rule of portNumber(number)) errors.push(invalidValue(`${at}.port`, number, rule));
    if (isUnset(port.protocol)) errors.push(required(`${at}.protocol`));
    else errors.push(...checkChoice(`${at}.protocol`, port.protocol, PROTOCOLS));
  });
  return errors;
}
