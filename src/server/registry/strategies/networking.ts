// Ingresses, network policies, and the address kinds of networking.k8s.io.
import type { FieldError } from '../../../api/errors.ts';
import {
  dnsSubdomain,
  domainPrefixedPath,
  portName,
  portNumber,
  wildcardSubdomain,
} from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
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
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { checkImmutable } from '../../../api/validation-meta.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { CIDR_RULE, IP_RULE, isCidr, isIp } from './addresses.ts';
import { ageCell, nameCell, selectorCell } from './cells.ts';
import { validateLabelSelector } from './label-selector.ts';

const CLASS_ANNOTATION = 'kubernetes.io/ingress.class';
const PATH_TYPES = ['Exact', 'ImplementationSpecific', 'Prefix'];

export const ingressStrategy: Strategy = {
  hasGeneration: true,
  prepareForCreate: (ingress) => {
    ingress.status = { loadBalancer: {} };
  },
  validate: validateIngress,
  warnings: (ingress, old) =>
    old === undefined &&
    objectAt(objectAt(ingress, 'metadata'), 'annotations')[CLASS_ANNOTATION] !== undefined
      ? [
          `annotation ${JSON.stringify(CLASS_ANNOTATION)} is deprecated, please use 'spec.ingressClassName' instead`,
        ]
      : [],
  cells: (ingress, now) => {
    const spec = objectAt(ingress, 'spec');
    const hosts = listAt(spec, 'rules').map((rule) => stringAt(rule, 'host') || '*');
    const unique = [...new Set(hosts)];
    const shown =
      unique.length > 3 ? `${unique.slice(0, 3).join(',')} + ${unique.length - 3} more...` : unique.join(',');
    const addresses = listAt(objectAt(objectAt(ingress, 'status'), 'loadBalancer'), 'ingress').map(
      (entry) => stringAt(entry, 'ip') || stringAt(entry, 'hostname'),
    );
    return [
      nameCell(ingress),
      stringAt(spec, 'ingressClassName') ||
        stringAt(objectAt(objectAt(ingress, 'metadata'), 'annotations'), CLASS_ANNOTATION) ||
        '<none>',
      shown === '' ? '*' : shown,
      addresses.join(','),
      listAt(spec, 'tls').length > 0 ? '80, 443' : '80',
      ageCell(ingress, now),
    ];
  },
};

function validateIngress(ingress: JsonObject): FieldError[] {
  const spec = objectAt(ingress, 'spec');
  const errors: FieldError[] = [];
  const rules = listAt(spec, 'rules');
  const backend = asObject(spec.defaultBackend);
  if (rules.length === 0 && !backend) {
    errors.push(invalidValue('spec', spec, 'either `defaultBackend` or `rules` must be specified'));
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
    stringsAt(tls, 'hosts').forEach((host, at) => {
      const path = `spec.tls[${index}].hosts[${at}]`;
      errors.push(...checkName(path, host, host.includes('*') ? wildcardSubdomain : dnsSubdomain));
    });
    const secret = stringAt(tls, 'secretName');
    if (secret !== '') errors.push(...checkName(`spec.tls[${index}].secretName`, secret, dnsSubdomain));
  });
  const className = stringAt(spec, 'ingressClassName');
  if (className !== '') errors.push(...checkName('spec.ingressClassName', className, dnsSubdomain));
  return errors;
}

function validateHost(host: string, path: string): FieldError[] {
  if (isIp(host)) return [invalidValue(path, host, 'must be a DNS name, not an IP address')];
  return checkName(path, host, host.includes('*') ? wildcardSubdomain : dnsSubdomain);
}

function validatePaths(http: JsonObject, field: string): FieldError[] {
  const paths = listAt(http, 'paths');
  if (paths.length === 0) return [required(field)];
  return paths.flatMap((entry, index) => {
    const at = `${field}[${index}]`;
    const path = stringAt(entry, 'path');
    const errors: FieldError[] = [];
    if (isUnset(entry.pathType)) {
      errors.push(required(`${at}.pathType`, 'pathType must be specified'));
    } else if (!PATH_TYPES.includes(entry.pathType as string)) {
      errors.push(notSupported(`${at}.pathType`, entry.pathType, PATH_TYPES));
    } else if (entry.pathType === 'ImplementationSpecific') {
      if (path !== '' && !path.startsWith('/')) {
        errors.push(invalidValue(`${at}.path`, path, 'must be an absolute path'));
      }
    } else {
      errors.push(...validateExactPath(path, `${at}.path`));
    }
    errors.push(...validateBackend(objectAt(entry, 'backend'), `${at}.backend`));
    return errors;
  });
}

function validateExactPath(path: string, field: string): FieldError[] {
  if (!path.startsWith('/')) return [invalidValue(field, path, 'must be an absolute path')];
  const errors: FieldError[] = [];
  for (const part of ['//', '/./', '/../', '%2f', '%2F']) {
    if (path.includes(part)) errors.push(invalidValue(field, path, `must not contain '${part}'`));
  }
  for (const suffix of ['/..', '/.']) {
    if (path.endsWith(suffix)) errors.push(invalidValue(field, path, `cannot end with '${suffix}'`));
  }
  return errors;
}

function validateBackend(backend: JsonObject, path: string): FieldError[] {
  const service = asObject(backend.service);
  const resource = asObject(backend.resource);
  if (service && resource) {
    return [invalidValue(path, '', 'cannot set both resource and service backends')];
  }
  if (!service && !resource) return [required(path, 'port name or number is required')];
  if (!service) return [];
  const errors: FieldError[] = [];
  const name = stringAt(service, 'name');
  if (name === '') errors.push(required(`${path}.service.name`));
  const port = objectAt(service, 'port');
  const number = numberAt(port, 'number') ?? 0;
  const named = stringAt(port, 'name');
  if (named !== '' && number !== 0) {
    errors.push(invalidValue(path, '', 'cannot set both port name & port number'));
  } else if (named !== '') {
    errors.push(...checkName(`${path}.service.port.name`, named, portName));
  } else if (number !== 0) {
    for (const rule of portNumber(number))
      errors.push(invalidValue(`${path}.service.port.number`, number, rule));
  } else {
    errors.push(required(path, 'port name or number is required'));
  }
  return errors;
}

export const ingressClassStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (object) => {
    const parameters = asObject(objectAt(object, 'spec').parameters);
    if (parameters) setDefault(parameters, 'scope', 'Cluster');
  },
  validate: (object) => {
    const spec = objectAt(object, 'spec');
    const controller = stringAt(spec, 'controller');
    const errors: FieldError[] = [];
    if (controller.length > 250) {
      errors.push({
        reason: 'FieldValueTooLong',
        field: 'spec.controller',
        message: 'Too long: may not be more than 250 bytes',
      });
    }
    errors.push(...checkName('spec.controller', controller, domainPrefixedPath));
    const parameters = asObject(spec.parameters);
    if (parameters) {
      for (const field of ['kind', 'name']) {
        if (stringAt(parameters, field) === '') errors.push(required(`spec.parameters.${field}`));
      }
      errors.push(...checkChoice('spec.parameters.scope', parameters.scope, ['Cluster', 'Namespace']));
      if (parameters.scope === 'Namespace' && stringAt(parameters, 'namespace') === '') {
        errors.push(required('spec.parameters.namespace', "`parameters.scope` is set to 'Namespace'"));
      }
      if (parameters.scope === 'Cluster' && parameters.namespace !== undefined) {
        errors.push(forbiddenField('spec.parameters.namespace', "`parameters.scope` is set to 'Cluster'"));
      }
    }
    return errors;
  },
  validateUpdate: (object, old) =>
    checkImmutable('spec.controller', objectAt(object, 'spec').controller, objectAt(old, 'spec').controller),
  cells: (object, now) => {
    const spec = objectAt(object, 'spec');
    const parameters = asObject(spec.parameters);
    const group = stringAt(parameters, 'apiGroup');
    const kind = parameters
      ? `${parameters.kind}${group === '' ? '' : `.${group}`}/${parameters.name}`
      : '<none>';
    return [nameCell(object), stringAt(spec, 'controller'), kind, ageCell(object, now)];
  },
};

const POLICY_TYPES = ['Ingress', 'Egress'];

export const networkPolicyStrategy: Strategy = {
  hasGeneration: true,
  applyDefaults: (policy) => {
    const spec = ensureObject(policy, 'spec');
    for (const direction of ['ingress', 'egress']) {
      for (const rule of listAt(spec, direction)) {
        for (const port of listAt(rule, 'ports')) if (isUnset(port.protocol)) port.protocol = 'TCP';
      }
    }
    // Egress rules say that egress is meant; everything else has to be said.
    if (stringsAt(spec, 'policyTypes').length === 0) {
      spec.policyTypes = listAt(spec, 'egress').length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
    }
  },
  validate: (policy) => {
    const spec = objectAt(policy, 'spec');
    const errors = validateLabelSelector(asObject(spec.podSelector), 'spec.podSelector');
    for (const [direction, peers] of [
      ['ingress', 'from'],
      ['egress', 'to'],
    ] as const) {
      listAt(spec, direction).forEach((rule, index) => {
        const path = `spec.${direction}[${index}]`;
        listAt(rule, 'ports').forEach((port, at) => {
          errors.push(...validatePolicyPort(port, `${path}.ports[${at}]`));
        });
        listAt(rule, peers).forEach((peer, at) => {
          errors.push(...validatePeer(peer, `${path}.${peers}[${at}]`));
        });
      });
    }
    stringsAt(spec, 'policyTypes').forEach((type, index) => {
      if (!POLICY_TYPES.includes(type)) {
        errors.push(notSupported(`spec.policyTypes[${index}]`, type, POLICY_TYPES));
      }
    });
    return errors;
  },
  cells: (policy, now) => [
    nameCell(policy),
    selectorCell(asObject(objectAt(policy, 'spec').podSelector)),
    ageCell(policy, now),
  ],
};

function validatePolicyPort(port: JsonObject, path: string): FieldError[] {
  const errors = checkChoice(`${path}.protocol`, port.protocol, ['SCTP', 'TCP', 'UDP']);
  if (typeof port.port === 'number') {
    for (const rule of portNumber(port.port)) errors.push(invalidValue(`${path}.port`, port.port, rule));
    const end = numberAt(port, 'endPort');
    if (end !== undefined) {
      if (end < port.port) {
        errors.push(invalidValue(`${path}.endPort`, end, 'must be greater than or equal to `port`'));
      }
      for (const rule of portNumber(end)) errors.push(invalidValue(`${path}.endPort`, end, rule));
    }
  } else if (typeof port.port === 'string') {
    errors.push(...checkName(`${path}.port`, port.port, portName));
    if (port.endPort !== undefined) {
      errors.push(
        invalidValue(`${path}.endPort`, port.endPort, 'may not be specified when `port` is non-numeric'),
      );
    }
  } else if (port.endPort !== undefined) {
    errors.push(
      invalidValue(`${path}.endPort`, port.endPort, 'may not be specified when `port` is not specified'),
    );
  }
  return errors;
}

function validatePeer(peer: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const kinds = ['podSelector', 'namespaceSelector', 'ipBlock'].filter((kind) => peer[kind] !== undefined);
  for (const kind of ['podSelector', 'namespaceSelector']) {
    errors.push(...validateLabelSelector(asObject(peer[kind]), `${path}.${kind}`));
  }
  const block = asObject(peer.ipBlock);
  if (block) {
    const cidr = stringAt(block, 'cidr');
    if (cidr === '') errors.push(required(`${path}.ipBlock.cidr`));
    else if (!isCidr(cidr)) errors.push(invalidValue(`${path}.ipBlock.cidr`, cidr, CIDR_RULE));
    stringsAt(block, 'except').forEach((except, index) => {
      if (!isCidr(except)) errors.push(invalidValue(`${path}.ipBlock.except[${index}]`, except, CIDR_RULE));
    });
    if (kinds.length > 1) {
      errors.push(forbiddenField(path, 'may not specify both ipBlock and another peer'));
    }
  }
  if (kinds.length === 0) errors.push(required(path, 'must specify a peer'));
  return errors;
}

export const serviceCidrStrategy: Strategy = {
  requireResourceVersionOnUpdate: false,
  prepareForCreate: (object) => {
    object.status = {};
  },
  validate: (object) => {
    const cidrs = stringsAt(objectAt(object, 'spec'), 'cidrs');
    if (cidrs.length === 0) return [required('spec.cidrs', 'at least one CIDR required')];
    return cidrs.flatMap((cidr, index) =>
      isCidr(cidr) ? [] : [invalidValue(`spec.cidrs[${index}]`, cidr, CIDR_RULE)],
    );
  },
  validateUpdate: (object, old) =>
    checkImmutable('spec.cidrs', objectAt(object, 'spec').cidrs, objectAt(old, 'spec').cidrs),
  cells: (object, now) => [
    nameCell(object),
    stringsAt(objectAt(object, 'spec'), 'cidrs').join(','),
    ageCell(object, now),
  ],
};

export const ipAddressStrategy: Strategy = {
  nameRule: 'path-segment',
  validate: (object) => {
    const name = nameCell(object);
    const errors: FieldError[] = isIp(name) ? [] : [invalidValue('metadata.name', name, IP_RULE)];
    const parent = asObject(objectAt(object, 'spec').parentRef);
    if (!parent) return [...errors, required('spec.parentRef')];
    if (stringAt(parent, 'resource') === '') errors.push(required('spec.parentRef.resource'));
    if (stringAt(parent, 'name') === '') errors.push(required('spec.parentRef.name'));
    return errors;
  },
  validateUpdate: (object, old) =>
    checkImmutable('spec.parentRef', objectAt(object, 'spec').parentRef, objectAt(old, 'spec').parentRef),
  selectableFields: fieldsAt('spec.parentRef.name'),
  cells: (object) => {
    const parent = objectAt(objectAt(object, 'spec'), 'parentRef');
    const group = stringAt(parent, 'group');
    const type = `${stringAt(parent, 'resource')}${group === '' ? '' : `.${group}`}`;
    const namespace = stringAt(parent, 'namespace');
    return [
      nameCell(object),
      `${type}/${namespace === '' ? '' : `${namespace}/`}${stringAt(parent, 'name')}`,
      stringAt(objectAt(object, 'metadata'), 'creationTimestamp'),
    ];
  },
};
