// The sources of volumes that pods and PersistentVolumes share: their rules, one source each.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel, dnsSubdomain } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  forbiddenField,
  invalidValue,
  numberAt,
  objectAt,
  required,
  stringAt,
  tooLong,
} from '../../../api/validation.ts';
import { validateDescendingPath, validateNoBacksteps } from './mounts.ts';

/** Every source, in the order in which Kubernetes looks: a second one is refused under its own name. */
export const SOURCES: readonly string[] = [
  'emptyDir',
  'hostPath',
  'gitRepo',
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'secret',
  'nfs',
  'iscsi',
  'glusterfs',
  'flocker',
  'persistentVolumeClaim',
  'rbd',
  'cinder',
  'cephfs',
  'quobyte',
  'downwardAPI',
  'fc',
  'flexVolume',
  'configMap',
  'azureFile',
  'vsphereVolume',
  'photonPersistentDisk',
  'portworxVolume',
  'azureDisk',
  'storageos',
  'projected',
  'scaleIO',
  'csi',
  'ephemeral',
  'image',
];

const HOST_PATH_TYPES = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];

/** Fields that may not be empty, where that is all there is to check. */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  nfs: ['server', 'path'],
  glusterfs: ['endpoints', 'path'],
  persistentVolumeClaim: ['claimName'],
  rbd: ['monitors', 'image'],
  cinder: ['volumeID'],
  cephfs: ['monitors'],
  flexVolume: ['driver'],
  azureFile: ['secretName', 'shareName'],
  azureDisk: ['diskName', 'diskURI'],
  vsphereVolume: ['volumePath'],
  photonPersistentDisk: ['pdID'],
  portworxVolume: ['volumeID'],
  scaleIO: ['gateway', 'system', 'volumeName'],
  gcePersistentDisk: ['pdName'],
  awsElasticBlockStore: ['volumeID'],
  iscsi: ['targetPortal', 'iqn'],
  gitRepo: ['repository'],
};

/** Kubernetes calls some by another name in what it says of their fields, and of a second source. */
const FIELD_NAMES: Readonly<Record<string, string>> = { gcePersistentDisk: 'persistentDisk' };
const SECOND_NAMES: Readonly<Record<string, string>> = { cephfs: 'cephFS', downwardAPI: 'downwarAPI' };

/** One source at most, each with its rules; `parent` is the path of what names them. */
export function validateSources(
  kinds: readonly string[],
  holder: JsonObject,
  parent: string,
  check: (kind: string, source: JsonObject, path: string) => FieldError[],
): FieldError[] {
  const errors: FieldError[] = [];
  let given = 0;
  for (const kind of kinds) {
    const source = asObject(holder[kind]);
    if (!source) continue;
    given += 1;
    if (given > 1) {
      const field = `${parent}.${SECOND_NAMES[kind] ?? kind}`;
      errors.push(forbiddenField(field, 'may not specify more than 1 volume type'));
    } else errors.push(...check(kind, source, `${parent}.${FIELD_NAMES[kind] ?? kind}`));
  }
  if (given === 0) errors.push(required(parent, 'must specify a volume type'));
  return errors;
}

export function validateSource(kind: string, source: JsonObject, path: string): FieldError[] {
  return [...requireFields(source, path, REQUIRED[kind] ?? []), ...validateMore(kind, source, path)];
}

function requireFields(source: JsonObject, path: string, fields: readonly string[]): FieldError[] {
  return fields
    .filter((field) => {
      const value = source[field];
      return value === undefined || value === '' || (Array.isArray(value) && value.length === 0);
    })
    .map((field) => required(`${path}.${field}`));
}

function validateMore(kind: string, source: JsonObject, path: string): FieldError[] {
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
      return [
        ...validateNoBacksteps(hostPath, `${path}.path`),
        ...checkChoice(`${path}.type`, source.type, HOST_PATH_TYPES),
      ];
    }
    case 'nfs': {
      const exported = stringAt(source, 'path');
      const absolute = exported.startsWith('/');
      return absolute ? [] : [invalidValue(`${path}.path`, exported, 'must be an absolute path')];
    }
    case 'gitRepo':
      return validateDescendingPath(stringAt(source, 'directory'), `${path}.directory`);
    case 'iscsi':
      return validateIscsi(source, path);
    case 'gcePersistentDisk':
    case 'awsElasticBlockStore': {
      const partition = numberAt(source, 'partition') ?? 0;
      return partition < 0 || partition > 255
        ? [invalidValue(`${path}.partition`, partition, 'must be between 1 and 255, inclusive')]
        : [];
    }
    case 'flocker':
      return source.datasetName || source.datasetUUID
        ? []
        : [required(path, 'one of datasetName and datasetUUID is required')];
    case 'fc':
      return validateFibreChannel(source, path);
    case 'quobyte': {
      const pair = 'must be a host:port pair or multiple pairs separated by commas';
      return [
        ...(stringAt(source, 'registry') === '' ? [required(`${path}.registry`, pair)] : []),
        ...requireFields(source, path, ['volume']),
      ];
    }
    case 'storageos': {
      const name = stringAt(source, 'volumeName');
      const field = `${path}.volumeName`;
      return name === '' ? [required(field)] : checkName(field, name, dnsLabel);
    }
    default:
      return [];
  }
}

function validateIscsi(source: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const name = stringAt(source, 'iqn');
  if (name !== '' && !/^(?:iqn|eui|naa)/.test(name)) {
    errors.push(invalidValue(`${path}.iqn`, name, 'must be valid format starting with iqn, eui, or naa'));
  } else if (name !== '' && !ISCSI_NAMES.test(name)) {
    errors.push(invalidValue(`${path}.iqn`, name, 'must be valid format'));
  }
  const lun = numberAt(source, 'lun') ?? 0;
  if (lun < 0 || lun > 255) {
    errors.push(invalidValue(`${path}.lun`, lun, 'must be between 0 and 255, inclusive'));
  }
  const authenticated = source.chapAuthDiscovery === true || source.chapAuthSession === true;
  if (authenticated && source.secretRef === undefined) errors.push(required(`${path}.secretRef`));
  return errors;
}

const ISCSI_NAMES =
  /^(?:iqn\.\d{4}-\d{2}\.([0-9a-z]+(-[^-:]+)*\.)*[a-z0-9]+(-[^-:]+)*(:[^,;*&$|\s]+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{32})$/;

function validateFibreChannel(source: JsonObject, path: string): FieldError[] {
  const targets = Array.isArray(source.targetWWNs) ? source.targetWWNs : [];
  const wide = Array.isArray(source.wwids) ? source.wwids : [];
  const field = `${path}.targetWWNs`;
  if (targets.length === 0) {
    return wide.length > 0 ? [] : [required(field, 'must specify either targetWWNs or wwids, but not both')];
  }
  const errors: FieldError[] = [];
  if (wide.length > 0) {
    errors.push(invalidValue(field, targets, 'targetWWNs and wwids can not be specified simultaneously'));
  }
  const lun = numberAt(source, 'lun');
  if (lun === undefined) errors.push(required(`${path}.lun`, 'lun is required if targetWWNs is specified'));
  else if (lun < 0 || lun > 255) {
    errors.push(invalidValue(`${path}.lun`, lun, 'must be between 0 and 255, inclusive'));
  }
  return errors;
}

const LONGEST_DRIVER = 63;

/** An empty name is missing and malformed: Kubernetes says both. */
export function validateDriverName(name: string, field: string): FieldError[] {
  const errors = name === '' ? [required(field)] : [];
  if (name.length > LONGEST_DRIVER) errors.push(tooLong(field, LONGEST_DRIVER));
  for (const rule of dnsSubdomain(name.toLowerCase())) errors.push(invalidValue(field, name, rule));
  return errors;
}

/** A Secret of any namespace, as PersistentVolumes name them. */
export function validateSecretReference(holder: JsonObject, field: string, path: string): FieldError[] {
  const reference = asObject(holder[field]);
  if (!reference) return [];
  const at = `${path}.${field}`;
  const { name, namespace } = {
    name: stringAt(reference, 'name'),
    namespace: stringAt(reference, 'namespace'),
  };
  return [
    ...(name === '' ? [required(`${at}.name`)] : checkName(`${at}.name`, name, dnsSubdomain)),
    ...(namespace === '' ? [required(`${at}.namespace`)] : checkName(`${at}.namespace`, namespace, dnsLabel)),
  ];
}

/** csi of a pod: its Secret is one of the pod's namespace. */
export function validateInlineCsi(source: JsonObject, path: string): FieldError[] {
  const errors = validateDriverName(stringAt(source, 'driver'), `${path}.driver`);
  if (source.nodePublishSecretRef === undefined) return errors;
  const name = stringAt(objectAt(source, 'nodePublishSecretRef'), 'name');
  if (name === '') return [...errors, required(`${path}.nodePublishSecretRef.name`)];
  // Kubernetes leaves the reference out of this path.
  return [...errors, ...checkName(`${path}.name`, name, dnsSubdomain)];
}
