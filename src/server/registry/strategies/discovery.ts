// Endpoints, and which addresses any endpoint may have.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain, portNumber } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  checkChoice,
  checkName,
  invalidValue,
  isUnset,
  listAt,
  numberAt,
  required,
  stringAt,
} from '../../../api/validation.ts';
import type { Strategy } from '../strategy.ts';
import { IP_RULE, isIp, validateSpecialIp } from './addresses.ts';
import { ageCell, nameCell } from './cells.ts';

const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const SHOWN = 3;

function withRest(values: string[]): string {
  return values.length > SHOWN
    ? `${values.slice(0, SHOWN).join(',')} + ${values.length - SHOWN} more...`
    : values.join(',');
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
      const node = stringAt(address, 'nodeName');
      if (node !== '') errors.push(...checkName(`${at}.nodeName`, node, dnsSubdomain));
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
