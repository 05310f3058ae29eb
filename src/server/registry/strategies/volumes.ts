// Volumes of pods: defaults and rules.
import type { FieldError } from '../../../api/errors.ts';
import { configMapKey, dnsLabel, dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  forbiddenField,
  invalidValue,
  listAt,
  notSupported,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import { PULL_POLICIES, pullPolicy } from './containers.ts';
import { validateFieldRef, validateResourceFieldRef } from './environment.ts';
import { validateNoBacksteps } from './mounts.ts';

/** Every source, in the order in which Kubernetes looks: a second one is refused under its own name. */
const SOURCES = [
  'emptyDir',
  'hostPath',
  'gitRepo',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'secret',
  'nfs',
  'iscsi',
  'glusterfs',
  'flexVolume',
  'configMap',
  'persistentVolumeClaim',
  'rbd',
  'cinder',
  'cephfs',
  'flocker',
  'downwardAPI',
  'fc',
  'azureFile',
  'vsphereVolume',
  'quobyte',
  'photonPersistentDisk',
  'azureDisk',
  'storageos',
  'projected',
  'portworxVolume',
  'scaleIO',
  'csi',
  'ephemeral',
  'image',
];

export const HOST_PATH_TYPES = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];
const DOWNWARD_FIELDS = [
  'metadata.annotations',
  'metadata.labels',
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
];
const MODE_RULE = 'must be a number between 0 and 0777 (octal), both inclusive';
/** 0644 */
const DEFAULT_MODE = 420;

export function defaultVolume(volume: JsonObject): void {
  if (!SOURCES.some((source) => volume[source] !== undefined)) volume.emptyDir = {};
  for (const source of ['secret', 'configMap', 'downwardAPI', 'projected']) {
    const given = asObject(volume[source]);
    if (given) setDefault(given, 'defaultMode', DEFAULT_MODE);
  }
  defaultDownward(listAt(objectAt(volume, 'downwardAPI'), 'items'));
  for (const source of listAt(objectAt(volume, 'projected'), 'sources')) {
    defaultDownward(listAt(objectAt(source, 'downwardAPI'), 'items'));
    const token = asObject(source.serviceAccountToken);
    if (token) setDefault(token, 'expirationSeconds', 3600);
  }
  const hostPath = asObject(volume.hostPath);
  if (hostPath) setDefault(hostPath, 'type', '');
  const template = asObject(objectAt(volume, 'ephemeral').volumeClaimTemplate);
  if (template) setDefault(objectAt(template, 'spec'), 'volumeMode', 'Filesystem');
  const image = asObject(volume.image);
  if (image) setDefault(image, 'pullPolicy', pullPolicy(stringAt(image, 'reference')));
  for (const kind of ['azureDisk', 'scaleIO']) {
    const disk = asObject(volume[kind]);
    if (disk && kind === 'azureDisk') setDefault(disk, 'readOnly', false);
  }
}

function defaultDownward(items: JsonObject[]): void {
  for (const item of items) {
    const reference = asObject(item.fieldRef);
    if (reference) setDefault(reference, 'apiVersion', 'v1');
  }
}

/** The errors, and the volumes that are right, by name: mounts of others count as not found. */
export function validateVolumes(
  volumes: JsonObject[],
  field: string,
): { errors: FieldError[]; known: Map<string, JsonObject> } {
  const errors: FieldError[] = [];
  const known = new Map<string, JsonObject>();
  volumes.forEach((volume, index) => {
    const path = `${field}[${index}]`;
    const name = stringAt(volume, 'name');
    const wrong = validateVolumeSource(volume, path);
    if (name === '') wrong.push(required(`${path}.name`));
    else wrong.push(...checkName(`${path}.name`, name, dnsLabel));
    if (known.has(name)) wrong.push(duplicate(`${path}.name`, name));
    if (wrong.length === 0) known.set(name, volume);
    else errors.push(...wrong);
  });
  return { errors, known };
}

function validateVolumeSource(volume: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  let given = 0;
  for (const kind of SOURCES) {
    const source = asObject(volume[kind]);
    if (!source) continue;
    given += 1;
    if (given > 1) {
      errors.push(forbiddenField(`${path}.${kind}`, 'may not specify more than 1 volume type'));
    } else {
      errors.push(...validateSource(kind, source, `${path}.${kind}`));
    }
  }
  if (given === 0) errors.push(required(path, 'must specify a volume type'));
  return errors;
}

function requireFields(source: JsonObject, path: string, fields: readonly string[]): FieldError[] {
  return fields
    .filter((field) => stringAt(source, field) === '')
    .map((field) => required(`${path}.${field}`));
}

/** Also used for the sources that a PersistentVolume shares with pods. */
export function validateSource(kind: string, source: JsonObject, path: string): FieldError[] {
  switch (kind) {
    case 'emptyDir': {
      const limit = source.sizeLimit;
      return typeof limit === 'string' && limit.startsWith('-')
        ? [forbiddenField(`${path}.sizeLimit`, 'SizeLimit field must be a valid resource quantity')]
        : [];
    }
    case 'hostPath': {
      const hostPath = stringAt(source, 'path');
      if (hostPath === '') return [required(`${path}.path`)];
      const errors = validateNoBacksteps(hostPath, `${path}.path`);
      if (!HOST_PATH_TYPES.includes(stringAt(source, 'type'))) {
        errors.push(notSupported(`${path}.type`, source.type, HOST_PATH_TYPES));
      }
      return errors;
    }
    case 'secret':
      return [
        ...requireFields(source, path, ['secretName']),
        ...validateMode(source, 'defaultMode', path),
        ...validateItems(source, path),
      ];
    case 'configMap':
      return [
        ...requireFields(source, path, ['name']),
        ...validateMode(source, 'defaultMode', path),
        ...validateItems(source, path),
      ];
    case 'downwardAPI':
      return [...validateMode(source, 'defaultMode', path), ...validateDownward(source, path)];
    case 'projected':
      return [...validateMode(source, 'defaultMode', path), ...validateProjected(source, path)];
    case 'nfs': {
      const errors = requireFields(source, path, ['server', 'path']);
      const exported = stringAt(source, 'path');
      if (exported !== '' && !exported.startsWith('/')) {
        errors.push(invalidValue(`${path}.path`, exported, 'must be an absolute path'));
      }
      return errors;
    }
    case 'persistentVolumeClaim':
      return requireFields(source, path, ['claimName']);
    case 'csi':
      return requireFields(source, path, ['driver']);
    case 'image':
      return [
        ...requireFields(source, path, ['reference']),
        ...checkChoice(`${path}.pullPolicy`, source.pullPolicy, PULL_POLICIES),
      ];
    case 'ephemeral':
      return source.volumeClaimTemplate === undefined ? [required(`${path}.volumeClaimTemplate`)] : [];
    case 'gitRepo':
      return requireFields(source, path, ['repository']);
    case 'glusterfs':
      return requireFields(source, path, ['endpoints', 'path']);
    case 'flexVolume':
      return requireFields(source, path, ['driver']);
    case 'iscsi':
      return requireFields(source, path, ['targetPortal', 'iqn']);
    case 'rbd':
      return requireFields(source, path, ['image']);
    default:
      return [];
  }
}

function validateMode(source: JsonObject, field: string, path: string): FieldError[] {
  const mode = numberAt(source, field);
  return mode !== undefined && (mode < 0 || mode > 0o777)
    ? [invalidValue(`${path}.${field}`, mode, MODE_RULE)]
    : [];
}

function validateItems(source: JsonObject, path: string): FieldError[] {
  return listAt(source, 'items').flatMap((item, index) => {
    const at = `${path}.items[${index}]`;
    const errors: FieldError[] = [];
    const key = stringAt(item, 'key');
    if (key === '') errors.push(required(`${at}.key`));
    else errors.push(...checkName(`${at}.key`, key, configMapKey));
    errors.push(...validateFilePath(item, at), ...validateMode(item, 'mode', at));
    return errors;
  });
}

/** A relative path that neither climbs nor collides with the `..data` links of atomic updates. */
function validateFilePath(item: JsonObject, at: string): FieldError[] {
  const value = stringAt(item, 'path');
  const field = `${at}.path`;
  if (value === '') return [required(field)];
  const errors: FieldError[] = [];
  if (value.startsWith('/')) errors.push(invalidValue(field, value, 'must be a relative path'));
  errors.push(...validateNoBacksteps(value, field));
  if (value.startsWith('..') && !value.startsWith('../')) {
    errors.push(invalidValue(field, value, "must not start with '..'"));
  }
  return errors;
}

function validateDownward(source: JsonObject, path: string): FieldError[] {
  return listAt(source, 'items').flatMap((item, index) => {
    const at = path;
    const errors = validateFilePath(item, at);
    const fieldRef = asObject(item.fieldRef);
    const resourceRef = asObject(item.resourceFieldRef);
    if (fieldRef) {
      errors.push(...validateFieldRef(fieldRef, `${at}.fieldRef`, DOWNWARD_FIELDS));
      if (resourceRef) {
        errors.push(
          invalidValue(at, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously'),
        );
      }
    } else if (resourceRef) {
      errors.push(...validateResourceFieldRef(resourceRef, `${at}.resourceFieldRef`, true));
    } else {
      errors.push(required(at, 'either fieldRef or resourceFieldRef is required'));
    }
    errors.push(...validateMode(item, 'mode', `${path}.items[${index}]`));
    return errors;
  });
}

const PROJECTIONS = [
  'secret',
  'configMap',
  'downwardAPI',
  'serviceAccountToken',
  'clusterTrustBundle',
  'podCertificate',
];

function validateProjected(source: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  listAt(source, 'sources').forEach((projection, index) => {
    const at = `${path}.sources[${index}]`;
    let given = 0;
    for (const kind of PROJECTIONS) {
      const part = asObject(projection[kind]);
      if (!part) continue;
      given += 1;
      if (given > 1) {
        errors.push(forbiddenField(`${at}.${kind}`, 'may not specify more than 1 volume type per source'));
        continue;
      }
      errors.push(...validateProjection(kind, part, `${at}.${kind}`));
      for (const file of projectedPaths(kind, part)) {
        if (paths.has(file)) {
          errors.push(invalidValue(path, stringAt(part, 'name'), 'conflicting duplicate paths'));
        }
        paths.add(file);
      }
    }
    if (given === 0) {
      errors.push(required(at, 'must specify a volume type'));
    }
  });
  return errors;
}

function validateProjection(kind: string, part: JsonObject, path: string): FieldError[] {
  switch (kind) {
    case 'secret':
    case 'configMap': {
      const name = stringAt(part, 'name');
      const errors = name === '' ? [required(`${path}.name`)] : checkName(`${path}.name`, name, dnsSubdomain);
      return [...errors, ...validateItems(part, path)];
    }
    case 'downwardAPI':
      return validateDownward(part, path);
    case 'serviceAccountToken': {
      const errors: FieldError[] = [];
      const seconds = numberAt(part, 'expirationSeconds') ?? 3600;
      if (seconds < 600) {
        errors.push(
          invalidValue(
            `${path}.expirationSeconds`,
            seconds,
            'may not specify a duration less than 10 minutes',
          ),
        );
      }
      if (stringAt(part, 'path') === '') errors.push(required(`${path}.path`));
      return errors;
    }
    default:
      return [];
  }
}

function projectedPaths(kind: string, part: JsonObject): string[] {
  if (kind === 'serviceAccountToken') return [stringAt(part, 'path')];
  return listAt(part, 'items')
    .map((item) => stringAt(item, 'path'))
    .filter((path) => path !== '');
}
