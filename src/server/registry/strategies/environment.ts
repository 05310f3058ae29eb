// Environment variables, and references to fields of the pod.
import type { FieldError } from '../../../api/errors.ts';
import { configMapKey, dnsSubdomain, envName, qualifiedName } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import { quantityOf } from '../../../api/quantity.ts';
import {
  asObject,
  checkName,
  invalidValue,
  listAt,
  notSupported,
  objectAt,
  required,
  stringAt,
} from '../../../api/validation.ts';

const FIELD_PATHS = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];
const RESOURCE_FIELDS = /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/;

export function validateEnv(container: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  listAt(container, 'env').forEach((variable, index) => {
    const path = `${field}[${index}]`;
    const name = stringAt(variable, 'name');
    if (name === '') errors.push(required(`${path}.name`));
    else errors.push(...checkName(`${path}.name`, name, envName));
    const source = asObject(variable.valueFrom);
    if (source) errors.push(...validateEnvSource(variable, source, `${path}.valueFrom`));
  });
  return errors;
}

function validateEnvSource(variable: JsonObject, source: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const fieldRef = asObject(source.fieldRef);
  if (fieldRef) errors.push(...validateFieldRef(fieldRef, `${path}.fieldRef`, FIELD_PATHS));
  const resourceRef = asObject(source.resourceFieldRef);
  if (resourceRef) errors.push(...validateResourceFieldRef(resourceRef, `${path}.resourceFieldRef`, false));
  for (const kind of ['configMapKeyRef', 'secretKeyRef']) {
    const reference = asObject(source[kind]);
    if (!reference) continue;
    const name = stringAt(reference, 'name');
    errors.push(...checkName(`${path}.${kind}.name`, name, dnsSubdomain));
    const key = stringAt(reference, 'key');
    if (key === '') errors.push(required(`${path}.${kind}.key`));
    else errors.push(...checkName(`${path}.${kind}.key`, key, configMapKey));
  }
  const sources = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'fileKeyRef'];
  const given = sources.filter((kind) => source[kind] !== undefined).length;
  if (given === 0) {
    errors.push(
      invalidValue(
        path,
        '',
        'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
      ),
    );
  } else if (stringAt(variable, 'value') !== '') {
    errors.push(invalidValue(path, '', 'may not be specified when `value` is not empty'));
  } else if (given > 1) {
    errors.push(invalidValue(path, '', 'may not have more than one field specified at a time'));
  }
  return errors;
}

/** `metadata.labels['app']` or one of `supported`. */
export function validateFieldRef(
  reference: JsonObject,
  path: string,
  supported: readonly string[],
): FieldError[] {
  const errors: FieldError[] = [];
  if (stringAt(reference, 'apiVersion') === '') errors.push(required(`${path}.apiVersion`));
  const fieldPath = stringAt(reference, 'fieldPath');
  const version = stringAt(reference, 'apiVersion');
  if (fieldPath !== '' && version !== '' && version !== 'v1') {
    const why = `error converting fieldPath: unsupported pod version: ${version}`;
    return [...errors, invalidValue(`${path}.fieldPath`, fieldPath, why)];
  }
  if (fieldPath === '') return [...errors, required(`${path}.fieldPath`)];
  const subscript = /^(metadata\.(?:labels|annotations))\['(.*)'\]$/.exec(fieldPath);
  if (subscript) {
    const [, map = '', key = ''] = subscript;
    const wanted = map === 'metadata.annotations' ? key.toLowerCase() : key;
    return [...errors, ...checkName(path, wanted, qualifiedName)];
  }
  if (supported.includes(fieldPath)) return errors;
  const known = [
    ...FIELD_PATHS,
    'metadata.labels',
    'metadata.annotations',
    'spec.restartPolicy',
    'status.phase',
  ];
  if (!known.includes(fieldPath)) {
    errors.push(
      invalidValue(
        `${path}.fieldPath`,
        fieldPath,
        `error converting fieldPath: field label not supported: ${fieldPath}`,
      ),
    );
  } else {
    errors.push(notSupported(`${path}.fieldPath`, fieldPath, supported));
  }
  return errors;
}

export function validateResourceFieldRef(
  reference: JsonObject,
  path: string,
  inVolume: boolean,
): FieldError[] {
  const errors: FieldError[] = [];
  if (inVolume && stringAt(reference, 'containerName') === '') errors.push(required(`${path}.containerName`));
  const resource = stringAt(reference, 'resource');
  if (resource === '') errors.push(required(`${path}.resource`));
  else if (!RESOURCE_FIELDS.test(resource)) {
    errors.push(
      notSupported(`${path}.resource`, resource, [
        'limits.cpu',
        'limits.ephemeral-storage',
        'limits.memory',
        'requests.cpu',
        'requests.ephemeral-storage',
        'requests.memory',
      ]),
    );
  }
  return [...errors, ...validateDivisor(reference, resource, `${path}.divisor`)];
}

const CPU_DIVISORS = ['1m', '1'];
const BYTE_DIVISORS = ['1', '1k', '1M', '1G', '1T', '1P', '1E', '1Ki', '1Mi', '1Gi', '1Ti', '1Pi', '1Ei'];
const BYTE_RESOURCES: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/\.memory$/, 'memory'],
  [/\.ephemeral-storage$/, 'local ephemeral storage'],
  [/\.hugepages-/, 'hugepages'],
];

function validateDivisor(reference: JsonObject, resource: string, field: string): FieldError[] {
  const { divisor } = reference;
  if (divisor === undefined || quantityOf(divisor).nano === 0n || !RESOURCE_FIELDS.test(resource)) return [];
  const bytes = BYTE_RESOURCES.find(([pattern]) => pattern.test(resource));
  const [choices, name] = bytes ? [BYTE_DIVISORS, bytes[1]] : [CPU_DIVISORS, 'cpu'];
  if (choices.includes(String(divisor))) return [];
  const list = bytes ? choices.join(', ') : choices.join(' and ');
  return [
    invalidValue(field, resource, `only divisor's values ${list} are supported with the ${name} resource`),
  ];
}

export function validateEnvFrom(container: JsonObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  listAt(container, 'envFrom').forEach((source, index) => {
    const path = `${field}[${index}]`;
    const prefix = stringAt(source, 'prefix');
    if (prefix !== '') errors.push(...checkName(`${path}.prefix`, prefix, envName));
    const given = ['configMapRef', 'secretRef'].filter((kind) => source[kind] !== undefined);
    for (const kind of given) {
      const name = stringAt(objectAt(source, kind), 'name');
      if (name === '') errors.push(required(`${path}.${kind}.name`));
      else errors.push(...checkName(`${path}.${kind}.name`, name, dnsSubdomain));
    }
    if (given.length === 0) {
      errors.push(invalidValue(field, '', 'must specify one of: `configMapRef` or `secretRef`'));
    } else if (given.length > 1) {
      errors.push(invalidValue(field, '', 'may not have more than one field specified at a time'));
    }
  });
  return errors;
}
