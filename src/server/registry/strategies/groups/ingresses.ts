// Ingresses.
import type { FieldError } from '../../../../api/errors.ts';
import {
  dnsLabel,
  dnsSubdomain,
  pathSegment,
  portName,
  portNumber,
  wildcardSubdomain,
} from '../../../../api/names.ts';
import type { JsonObject } from '../../../../api/object.ts';
import {
  asObject,
  checkName,
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
import { IP_RULE, isIp } from '../addresses.ts';
import { row } from './rows.ts';

const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';
const PATH_TYPES = ['Exact', 'ImplementationSpecific', 'Prefix'];
const SHOWN_HOSTS = 3;

const annotationsOf = (ingress: JsonObject): JsonObject =>
  objectAt(objectAt(ingress, 'metadata'), 'annotations');

export const ingressStrategy: Strategy = {
  hasGeneration: true,
  validatesUpdates: false,
  prepareForCreate: (ingress) => {
    ingress.status = { loadBalancer: {} };
  },
  validate: (ingress) => [...validateSpec(objectAt(ingress, 'spec')), ...validateAnnotation(ingress)],
  validateUpdate: (ingress) => validateSpec(objectAt(ingress, 'spec')),
  validateStatusUpdate: validateStatus,
  warnings: (ingress, old) =>
    old === undefined &&
    annotationsOf(ingress)[CLASS_ANNOTATION] !== undefined &&
    objectAt(ingress, 'spec').ingressClassName === undefined
      ? [`annotation "${CLASS_ANNOTATION}" is deprecated, please use 'spec.ingressClassName' instead`]
      : [],
  cells: row((ingress) => {
    const spec = objectAt(ingress, 'spec');
    const entries = listAt(objectAt(objectAt(ingress, 'status'), 'loadBalancer'), 'ingress');
    const addresses = entries.map((entry) => stringAt(entry, 'ip') || stringAt(entry, 'hostname'));
    return [
      stringAt(spec, 'ingressClassName') || '<none>',
      hostsCell(listAt(spec, 'rules')),
      [...new Set(addresses.filter((address) => address !== ''))].sort().join(','),
      listAt(spec, 'tls').length > 0 ? '80, 443' : '80',
    ];
  }),
};

/** A rule after the third host makes the rest "more", whether it names a host or not: so does Kubernetes. */
function hostsCell(rules: JsonObject[]): string {
  const hosts: string[] = [];
  let more = false;
  for (const rule of rules) {
    if (hosts.length === SHOWN_HOSTS) more = true;
    const host = stringAt(rule, 'host');
    if (!more && host !== '') hosts.push(host);
  }
  if (hosts.length === 0) return '*';
  return more ? `${hosts.join(',')} + ${rules.length - SHOWN_HOSTS} more...` : hosts.join(',');
}

function validateAnnotation(ingress: JsonObject): FieldError[] {
  const named = annotationsOf(ingress)[CLASS_ANNOTATION];
  const className = objectAt(ingress, 'spec').ingressClassName;
  if (named === undefined || className === undefined || named === className) return [];
  const why = 'must match `ingressClassName` when both are specified';
  return [invalidValue(`annotations.${CLASS_ANNOTATION}`, named, why)];
}

function validateSpec(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const rules = listAt(spec, 'rules');
  const backend = asObject(spec.defaultBackend);
  if (rules.length === 0 && !backend) {
    errors.push(
      invalidValue('spec', spec.rules ?? null, 'either `defaultBackend` or `rules` must be specified'),
    );
  }
  if (backend) errors.push(...validateBackend(backend, 'spec.defaultBackend'));
  rules.forEach((rule, index) => {
    const path = `spec.rules[${index}]`;
    const host = stringAt(rule, 'host');
    if (host !== '') errors.push(...validateHost(host, `${path}.host`));
    const http = asObject(rule.http);
    if (http) errors.push(...validatePaths(http, `${path}.http.paths`));
  });
  listAt(spec, 'tls').forEach((tls, index) => {
    const path = `spec.tls[${index}]`;
    stringsAt(tls, 'hosts').forEach((host, at) => {
      errors.push(...checkName(`${path}.hosts[${at}]`, host, hostCheck(host)));
    });
    const secret = stringAt(tls, 'secretName');
    if (secret !== '') errors.push(...checkName(`${path}.secretName`, secret, dnsSubdomain));
  });
  if (spec.ingressClassName !== undefined) {
    errors.push(...checkName('spec.ingressClassName', stringAt(spec, 'ingressClassName'), dnsSubdomain));
  }
  return errors;
}

const hostCheck = (host: string) => (host.includes('*') ? wildcardSubdomain : dnsSubdomain);

function validateHost(host: string, field: string): FieldError[] {
  const errors = isIp(host) ? [invalidValue(field, host, 'must be a DNS name, not an IP address')] : [];
  return [...errors, ...checkName(field, host, hostCheck(host))];
}

function validatePaths(http: JsonObject, field: string): FieldError[] {
  const paths = listAt(http, 'paths');
  if (paths.length === 0) return [required(field)];
  return paths.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const path = stringAt(entry, 'path');
    if (isUnset(entry.pathType)) return [required(`${at}.pathType`, 'pathType must be specified')];
    const errors: FieldError[] = [];
    if (!PATH_TYPES.includes(entry.pathType as string)) {
      errors.push(notSupported(`${at}.pathType`, entry.pathType, PATH_TYPES));
    } else if (entry.pathType !== 'ImplementationSpecific' || path !== '') {
      if (!path.startsWith('/')) errors.push(invalidValue(`${at}.path`, path, 'must be an absolute path'));
      if (entry.pathType !== 'ImplementationSpecific') errors.push(...validateSteps(path, `${at}.path`));
    }
    return [...errors, ...validateBackend(objectAt(entry, 'backend'), `${at}.backend`)];
  });
}

function validateSteps(path: string, field: string): FieldError[] {
  return [
    ...['//', '/./', '/../', '%2f', '%2F']
      .filter((part) => path.includes(part))
      .map((part) => invalidValue(field, path, `must not contain '${part}'`)),
    ...['/..', '/.']
      .filter((suffix) => path.endsWith(suffix))
      .map((suffix) => invalidValue(field, path, `cannot end with '${suffix}'`)),
  ];
}

function validateBackend(backend: JsonObject, path: string): FieldError[] {
  const service = asObject(backend.service);
  const resource = asObject(backend.resource);
  if (service && resource) {
    return [invalidValue(path, '', 'cannot set both resource and service backends')];
  }
  if (resource) return validateResource(resource, `${path}.resource`);
  if (!service) return [invalidValue(path, '', 'resource or service backend is required')];
  const errors: FieldError[] = [];
  const name = stringAt(service, 'name');
  if (name === '') errors.push(required(`${path}.service.name`));
  else errors.push(...checkName(`${path}.service.name`, name, dnsLabel));
  const port = objectAt(service, 'port');
  const number = numberAt(port, 'number') ?? 0;
  const named = stringAt(port, 'name');
  if (named !== '' && number !== 0) {
    errors.push(invalidValue(path, '', 'cannot set both port name & port number'));
  } else if (named !== '') {
    errors.push(...checkName(`${path}.service.port.name`, named, portName));
  } else if (number !== 0) {
    for (const why of portNumber(number)) {
      errors.push(invalidValue(`${path}.service.port.number`, number, why));
    }
  } else errors.push(required(path, 'port name or number is required'));
  return errors;
}

/** A reference to an object of some kind, here and in IngressClass parameters. */
export function validateResource(reference: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const group = reference.apiGroup;
  if (typeof group === 'string') errors.push(...checkName(`${path}.apiGroup`, group, dnsSubdomain));
  for (const field of ['kind', 'name']) {
    const value = stringAt(reference, field);
    if (value === '') errors.push(required(`${path}.${field}`));
    else errors.push(...checkName(`${path}.${field}`, value, pathSegment));
  }
  return errors;
}

function validateStatus(ingress: JsonObject): FieldError[] {
  const entries = listAt(objectAt(objectAt(ingress, 'status'), 'loadBalancer'), 'ingress');
  return entries.flatMap((entry, index) => {
    const path = `status.loadBalancer.ingress[${index}]`;
    const errors: FieldError[] = [];
    const ip = stringAt(entry, 'ip');
    if (ip !== '' && !isIp(ip)) errors.push(invalidValue(`${path}.ip`, ip, IP_RULE));
    const hostname = stringAt(entry, 'hostname');
    if (hostname === '') return errors;
    errors.push(...checkName(`${path}.hostname`, hostname, dnsSubdomain));
    if (isIp(hostname)) {
      errors.push(invalidValue(`${path}.hostname`, hostname, 'must be a DNS name, not an IP address'));
    }
    return errors;
  });
}
