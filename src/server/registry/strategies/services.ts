import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain, portName, portNumber, qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { jsonEqual } from '../../../api/patch-json.ts';
import {
  asObject,
  checkChoice,
  checkName,
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
  setDefault,
  stringAt,
  stringsAt,
} from '../../../api/validation.ts';
import { validateLabels } from '../../../api/validation-meta.ts';
import { fieldsAt } from '../selection.ts';
import type { Strategy } from '../strategy.ts';
import { CIDR_RULE, IP_RULE, isCidr, isIp, validateSpecialIp } from './addresses.ts';
import { ageCell, mapCell, nameCell } from './cells.ts';
import { validateBalancer } from './service-status.ts';
import { validateServiceUpdate } from './service-update.ts';
import { serviceWarnings } from './service-warnings.ts';

const TYPES = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
const AFFINITY_SECONDS = 10_800;
const LONGEST_AFFINITY = 86_400;

const isHeadless = (spec: JsonObject): boolean => clusterIps(spec)[0] === 'None';
const isExternal = (spec: JsonObject): boolean => spec.type === 'ExternalName';

function clusterIps(spec: JsonObject): string[] {
  const list = stringsAt(spec, 'clusterIPs');
  const one = stringAt(spec, 'clusterIP');
  return list.length > 0 ? list : one === '' ? [] : [one];
}

/** Reached from outside the cluster: then it has an external traffic policy. */
function isExposed(spec: JsonObject): boolean {
  return (
    spec.type === 'LoadBalancer' ||
    spec.type === 'NodePort' ||
    (spec.type === 'ClusterIP' && stringsAt(spec, 'externalIPs').length > 0)
  );
}

export const serviceStrategy: Strategy = {
  returnsDeleted: true,
  allowCreateOnUpdate: true,
  nameRule: 'dns-label',
  applyDefaults: (service) => {
    const spec = ensureObject(service, 'spec');
    if (isUnset(spec.sessionAffinity)) spec.sessionAffinity = 'None';
    if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
    if (spec.sessionAffinity === 'ClientIP') {
      const client = ensureObject(ensureObject(spec, 'sessionAffinityConfig'), 'clientIP');
      client.timeoutSeconds ??= AFFINITY_SECONDS;
    }
    if (isUnset(spec.type)) spec.type = 'ClusterIP';
    for (const port of listAt(spec, 'ports')) {
      if (isUnset(port.protocol)) port.protocol = 'TCP';
      if (isUnset(port.targetPort) || port.targetPort === 0) port.targetPort = port.port ?? 0;
    }
    if (isExposed(spec) && isUnset(spec.externalTrafficPolicy)) spec.externalTrafficPolicy = 'Cluster';
    if (!isExternal(spec) && TYPES.includes(spec.type as string)) {
      setDefault(spec, 'internalTrafficPolicy', 'Cluster');
    }
    if (spec.type === 'LoadBalancer') setDefault(spec, 'allocateLoadBalancerNodePorts', true);
    ensureObject(ensureObject(service, 'status'), 'loadBalancer');
  },
  prepareForCreate: (service) => {
    service.status = { loadBalancer: {} };
    const spec = objectAt(service, 'spec');
    normaliseAddresses(spec, undefined);
    dropForeignFields(spec, undefined);
    setFamilies(spec);
  },
  prepareForUpdate: (service, old) => {
    const spec = objectAt(service, 'spec');
    const before = objectAt(old, 'spec');
    normaliseAddresses(spec, before);
    keepAllocated(spec, before);
    dropForeignFields(spec, before);
    setFamilies(spec);
  },
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  validateStatusUpdate: validateBalancer,
  prepareForStatusUpdate: (service) => {
    for (const ingress of listAt(objectAt(objectAt(service, 'status'), 'loadBalancer'), 'ingress')) {
      if (stringAt(ingress, 'ip') !== '') setDefault(ingress, 'ipMode', 'VIP');
    }
  },
  warnings: serviceWarnings,
  fieldLabelError: (field) => `field label not supported: ${field}`,
  selectableFields: fieldsAt('spec.clusterIP', 'spec.type'),
  cells: (service, now) => {
    const spec = objectAt(service, 'spec');
    const ports = listAt(spec, 'ports').map((port) => {
      const nodePort = numberAt(port, 'nodePort') ?? 0;
      return `${port.port}${nodePort > 0 ? `:${nodePort}` : ''}/${port.protocol}`;
    });
    return [
      nameCell(service),
      stringAt(spec, 'type'),
      isExternal(spec) ? '<none>' : (clusterIps(spec)[0] ?? '<none>'),
      externalCell(service, spec),
      ports.join(',') || '<none>',
      ageCell(service, now),
      mapCell(asObject(spec.selector)),
    ];
  },
};

function externalCell(service: JsonObject, spec: JsonObject): string {
  const external = stringsAt(spec, 'externalIPs');
  switch (spec.type) {
    case 'LoadBalancer': {
      const ingress = listAt(objectAt(objectAt(service, 'status'), 'loadBalancer'), 'ingress').map(
        (entry) => stringAt(entry, 'ip') || stringAt(entry, 'hostname'),
      );
      const all = [...ingress, ...external];
      return all.length > 0 ? all.join(',') : '<pending>';
    }
    case 'ExternalName':
      return stringAt(spec, 'externalName');
    default:
      return external.length > 0 ? external.join(',') : '<none>';
  }
}

/** clusterIP is the first of clusterIPs; whichever of the two was changed counts. */
function normaliseAddresses(spec: JsonObject, before: JsonObject | undefined): void {
  const one = stringAt(spec, 'clusterIP');
  const list = stringsAt(spec, 'clusterIPs');
  if (one === '' && list.length === 0) return;
  if (!before) {
    if (one !== '' && list.length === 0) spec.clusterIPs = [one];
    return;
  }
  const oneChanged = one !== stringAt(before, 'clusterIP');
  const listChanged = !jsonEqual(list, stringsAt(before, 'clusterIPs'));
  if (oneChanged && !listChanged) {
    if (one === '') delete spec.clusterIPs;
    else spec.clusterIPs = [one, ...list.slice(1)];
  } else if (one !== '' && list.length === 0 && !oneChanged) {
    spec.clusterIPs = [one];
  }
}

/** An update need not repeat what the server gave out, unless the type says that it is no longer wanted. */
function keepAllocated(spec: JsonObject, before: JsonObject): void {
  if (!isExternal(spec) && !isExternal(before) && clusterIps(spec).length === 0) {
    spec.clusterIP = before.clusterIP;
    spec.clusterIPs = before.clusterIPs;
  }
  if (spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local') {
    if (isUnset(spec.healthCheckNodePort) && before.healthCheckNodePort !== undefined) {
      spec.healthCheckNodePort = before.healthCheckNodePort;
    }
  }
  if (!isExternal(spec)) {
    for (const field of ['ipFamilyPolicy', 'ipFamilies']) {
      if (spec[field] === undefined && before[field] !== undefined) spec[field] = before[field];
    }
  }
}

/** What belongs to another type and was not touched goes when the type changes. */
function dropForeignFields(spec: JsonObject, before: JsonObject | undefined): void {
  const untouched = (field: string): boolean => before === undefined || jsonEqual(spec[field], before[field]);
  const typeChanged = before !== undefined && before.type !== spec.type;
  if (isExternal(spec)) {
    if (typeChanged) {
      for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) {
        if (untouched(field)) delete spec[field];
      }
    }
    if (typeChanged && untouched('internalTrafficPolicy')) delete spec.internalTrafficPolicy;
  }
  if (!typeChanged) return;
  const keepsPorts = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  if (!keepsPorts) {
    const were = new Set(listAt(before, 'ports').map((port) => port.nodePort));
    for (const port of listAt(spec, 'ports')) if (were.has(port.nodePort)) delete port.nodePort;
  }
  if (!isExposed(spec) && untouched('externalTrafficPolicy')) delete spec.externalTrafficPolicy;
  if (spec.type !== 'LoadBalancer') {
    for (const field of ['healthCheckNodePort', 'allocateLoadBalancerNodePorts', 'loadBalancerClass']) {
      if (untouched(field)) delete spec[field];
    }
  }
}

/** This cluster has IPv4 only; a headless service without selector names both, for whoever fills in its endpoints. */
function setFamilies(spec: JsonObject): void {
  if (isExternal(spec) || !TYPES.includes(spec.type as string)) return;
  const bare = isHeadless(spec) && Object.keys(objectAt(spec, 'selector')).length === 0;
  if (isUnset(spec.ipFamilyPolicy)) {
    const both = bare && listAt(spec, 'ports').length === 0 && stringsAt(spec, 'ipFamilies').length === 0;
    spec.ipFamilyPolicy = bare || both ? 'RequireDualStack' : 'SingleStack';
  }
  if (stringsAt(spec, 'ipFamilies').length === 0) {
    const dual = bare && spec.ipFamilyPolicy !== 'SingleStack';
    spec.ipFamilies = dual ? ['IPv4', 'IPv6'] : ['IPv4'];
  }
}

function validateService(service: JsonObject): FieldError[] {
  const spec = objectAt(service, 'spec');
  const ports = listAt(spec, 'ports');
  const errors: FieldError[] = [];
  if (ports.length === 0 && !isHeadless(spec) && !isExternal(spec)) errors.push(required('spec.ports'));
  errors.push(...validateTypeRules(spec));
  const names = new Set<string>();
  ports.forEach((port, index) => {
    errors.push(...validatePort(port, `spec.ports[${index}]`, ports.length > 1, names));
  });
  errors.push(...validateLabels(objectAt(spec, 'selector'), 'spec.selector'));
  errors.push(...validateAffinity(spec));
  errors.push(...validateAddresses(spec));
  stringsAt(spec, 'externalIPs').forEach((ip, index) => {
    const field = `spec.externalIPs[${index}]`;
    if (!isIp(ip)) errors.push(invalidValue(field, ip, IP_RULE));
    else errors.push(...validateSpecialIp(ip, field));
  });
  if (isUnset(spec.type)) errors.push(required('spec.type'));
  else errors.push(...checkChoice('spec.type', spec.type, TYPES));
  errors.push(...validatePortSet(spec, ports), ...validateExposure(spec));
  errors.push(...validateFamilies(spec));
  return errors;
}

function validateTypeRules(spec: JsonObject): FieldError[] {
  switch (spec.type) {
    case 'ExternalName': {
      const errors: FieldError[] = [];
      if (stringsAt(spec, 'clusterIPs').length > 0) {
        errors.push(forbiddenField('spec.clusterIPs', 'may not be set for ExternalName services'));
      }
      if (stringsAt(spec, 'ipFamilies').length > 0) {
        errors.push(forbiddenField('spec.ipFamilies', 'may not be set for ExternalName services'));
      }
      if (spec.ipFamilyPolicy !== undefined) {
        errors.push(forbiddenField('spec.ipFamilyPolicy', 'may not be set for ExternalName services'));
      }
      const name = stringAt(spec, 'externalName').replace(/\.$/, '');
      if (name === '') errors.push(required('spec.externalName'));
      else errors.push(...checkName('spec.externalName', name, dnsSubdomain));
      return errors;
    }
    case 'NodePort':
    case 'LoadBalancer':
      return isHeadless(spec)
        ? [invalidValue('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`)]
        : [];
    default:
      return [];
  }
}

function validatePort(port: JsonObject, path: string, needsName: boolean, names: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  const name = stringAt(port, 'name');
  if (needsName && name === '') errors.push(required(`${path}.name`));
  else if (name !== '') {
    errors.push(...checkName(`${path}.name`, name, dnsLabel));
    if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    names.add(name);
  }
  const number = numberAt(port, 'port') ?? 0;
  for (const rule of portNumber(number)) errors.push(invalidValue(`${path}.port`, number, rule));
  if (isUnset(port.protocol)) errors.push(required(`${path}.protocol`));
  else errors.push(...checkChoice(`${path}.protocol`, port.protocol, PROTOCOLS));
  const target = port.targetPort;
  if (typeof target === 'string') {
    errors.push(...checkName(`${path}.targetPort`, target, portName));
  } else {
    for (const rule of portNumber((target as number | undefined) ?? 0)) {
      errors.push(invalidValue(`${path}.targetPort`, target ?? 0, rule));
    }
  }
  if (typeof port.appProtocol === 'string') {
    errors.push(...checkName(`${path}.appProtocol`, port.appProtocol, qualifiedName));
  }
  return errors;
}

function validateAffinity(spec: JsonObject): FieldError[] {
  if (isUnset(spec.sessionAffinity)) return [required('spec.sessionAffinity')];
  const errors = checkChoice('spec.sessionAffinity', spec.sessionAffinity, ['ClientIP', 'None']);
  if (spec.sessionAffinity === 'ClientIP') {
    const seconds = numberAt(objectAt(objectAt(spec, 'sessionAffinityConfig'), 'clientIP'), 'timeoutSeconds');
    if (seconds !== undefined && (seconds <= 0 || seconds > LONGEST_AFFINITY)) {
      errors.push(
        invalidValue(
          'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
          seconds,
          `must be greater than 0 and less than ${LONGEST_AFFINITY}`,
        ),
      );
    }
  }
  return errors;
}

function validateAddresses(spec: JsonObject): FieldError[] {
  if (isExternal(spec)) return [];
  const errors: FieldError[] = [];
  const list = stringsAt(spec, 'clusterIPs');
  const one = stringAt(spec, 'clusterIP');
  if (one !== '' && list.length > 0 && list[0] !== one) {
    errors.push(invalidValue('spec.clusterIPs', list, 'first value must match `clusterIP`'));
  } else if (one === '' && list.length > 0) {
    errors.push(invalidValue('spec.clusterIPs', list, 'must be empty when `clusterIP` is not specified'));
  }
  list.forEach((ip, index) => {
    if (ip === 'None') {
      if (index > 0) {
        errors.push(invalidValue(`spec.clusterIPs[${index}]`, ip, "'None' must be the first and only value"));
      }
    } else if (!isIp(ip)) {
      errors.push(invalidValue(`spec.clusterIPs[${index}]`, ip, IP_RULE));
    }
  });
  if (list.length > 2) {
    errors.push(invalidValue('spec.clusterIPs', list, 'may only hold up to 2 values'));
  }
  const families = new Set(list.map((ip) => ip.includes(':')));
  if (errors.length === 0 && list.length > 1 && families.size === 1) {
    const why = 'may specify no more than one IP for each IP family';
    errors.push(invalidValue('spec.clusterIPs', list, why));
  }
  return errors;
}

/** A port by what may not occur twice, as Go writes it. */
function shown({ protocol, port }: JsonObject): JsonObject {
  return {
    Name: '',
    Protocol: protocol ?? '',
    AppProtocol: null,
    Port: port ?? 0,
    TargetPort: 0,
    NodePort: 0,
  };
}

function validatePortSet(spec: JsonObject, ports: JsonObject[]): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  const nodePorts = new Set<string>();
  ports.forEach((port, index) => {
    const path = `spec.ports[${index}]`;
    const nodePort = numberAt(port, 'nodePort') ?? 0;
    if (nodePort !== 0 && spec.type === 'ClusterIP') {
      errors.push(forbiddenField(`${path}.nodePort`, "may not be used when `type` is 'ClusterIP'"));
    } else if (nodePort !== 0) {
      const key = `${port.protocol}/${nodePort}`;
      if (nodePorts.has(key)) errors.push(duplicate(`${path}.nodePort`, nodePort));
      nodePorts.add(key);
    }
    const key = `${port.protocol}/${port.port}`;
    if (seen.has(key)) errors.push(duplicate(path, shown(port)));
    seen.add(key);
  });
  return errors;
}

function validateExposure(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const ranges = stringsAt(spec, 'loadBalancerSourceRanges');
  if (ranges.length > 0) {
    if (spec.type !== 'LoadBalancer') {
      errors.push(
        forbiddenField('spec.LoadBalancerSourceRanges', "may only be used when `type` is 'LoadBalancer'"),
      );
    }
    ranges.forEach((range, index) => {
      if (!isCidr(range.trim())) {
        errors.push(invalidValue(`spec.LoadBalancerSourceRanges[${index}]`, range, CIDR_RULE));
      }
    });
  }
  if (spec.allocateLoadBalancerNodePorts !== undefined && spec.type !== 'LoadBalancer') {
    errors.push(
      forbiddenField('spec.allocateLoadBalancerNodePorts', "may only be used when `type` is 'LoadBalancer'"),
    );
  }
  if (spec.loadBalancerClass !== undefined && spec.type !== 'LoadBalancer') {
    errors.push(forbiddenField('spec.loadBalancerClass', "may only be used when `type` is 'LoadBalancer'"));
  } else if (spec.loadBalancerClass !== undefined) {
    errors.push(...checkName('spec.loadBalancerClass', stringAt(spec, 'loadBalancerClass'), qualifiedName));
  }
  const external = stringAt(spec, 'externalTrafficPolicy');
  if (external !== '' && !isExposed(spec)) {
    errors.push(
      invalidValue(
        'spec.externalTrafficPolicy',
        external,
        'may only be set for externally-accessible services',
      ),
    );
  } else {
    errors.push(...checkChoice('spec.externalTrafficPolicy', external, ['Cluster', 'Local']));
  }
  const healthPort = numberAt(spec, 'healthCheckNodePort') ?? 0;
  if (healthPort !== 0 && !(spec.type === 'LoadBalancer' && external === 'Local')) {
    errors.push(
      invalidValue(
        'spec.healthCheckNodePort',
        healthPort,
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
      ),
    );
  }
  errors.push(
    ...checkChoice('spec.internalTrafficPolicy', spec.internalTrafficPolicy, ['Cluster', 'Local']),
    ...checkChoice('spec.trafficDistribution', spec.trafficDistribution, [
      'PreferClose',
      'PreferSameNode',
      'PreferSameZone',
    ]),
  );
  return errors;
}

function validateFamilies(spec: JsonObject): FieldError[] {
  if (isExternal(spec)) return [];
  const policy = stringAt(spec, 'ipFamilyPolicy');
  const errors = checkChoice('spec.ipFamilyPolicy', policy, [
    'PreferDualStack',
    'RequireDualStack',
    'SingleStack',
  ]);
  const bare = isHeadless(spec) && Object.keys(objectAt(spec, 'selector')).length === 0;
  if (bare) return errors;
  if (policy === 'RequireDualStack') {
    errors.push(
      invalidValue('spec.ipFamilyPolicy', policy, 'this cluster is not configured for dual-stack services'),
    );
  }
  const seen = new Set<string>();
  stringsAt(spec, 'ipFamilies').forEach((family, index) => {
    const field = `spec.ipFamilies[${index}]`;
    if (family !== 'IPv4' && family !== 'IPv6') {
      errors.push(notSupported(field, family, ['IPv4', 'IPv6']));
    } else if (seen.has(family)) {
      errors.push(duplicate(field, family));
    } else if (family === 'IPv6') {
      errors.push(invalidValue(field, family, 'not configured on this cluster'));
    }
    seen.add(family);
  });
  return errors;
}
