// Volumes of pods: defaults and rules.
import type { FieldError } from '../../../api/errors.ts';
import { dnsLabel } from '../../../api/names.ts';
import type { JsonObject } from '../../../api/object.ts';
import {
  asObject,
  checkChoice,
  checkName,
  duplicate,
  forbiddenField,
  invalidValue,
  listAt,
  numberAt,
  objectAt,
  required,
  setDefault,
  stringAt,
} from '../../../api/validation.ts';
import { validateClaimTemplate } from './claim-spec.ts';
import { PULL_POLICIES, pullPolicy } from './containers.ts';
import { validateFieldRef, validateResourceFieldRef } from './environment.ts';
import { validateDescendingPath } from './mounts.ts';
import { SOURCES, validateInlineCsi, validateSource, validateSources } from './volume-sources.ts';

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
  return validateSources(SOURCES, volume, path, validatePodSource);
}

function validatePodSource(kind: string, source: JsonObject, path: string): FieldError[] {
  switch (kind) {
    case 'secret':
    case 'configMap': {
      const name = kind === 'secret' ? 'secretName' : 'name';
      return [
        ...(stringAt(source, name) === '' ? [required(`${path}.${name}`)] : []),
        ...validateMode(source, 'defaultMode', path),
        ...validateItems(source, path),
      ];
    }
    case 'downwardAPI':
      return [...validateMode(source, 'defaultMode', path), ...validateDownward(source, path)];
    case 'projected':
      return [...validateMode(source, 'defaultMode', path), ...validateProjected(source, path)];
    case 'csi':
      return validateInlineCsi(source, path);
    case 'image':
      return [
        ...(stringAt(source, 'reference') === '' ? [required(`${path}.reference`)] : []),
        ...checkChoice(`${path}.pullPolicy`, source.pullPolicy, PULL_POLICIES),
      ];
    case 'ephemeral': {
      const template = asObject(source.volumeClaimTemplate);
      const field = `${path}.volumeClaimTemplate`;
      return template ? validateClaimTemplate(template, field) : [required(field)];
    }
    default:
      return validateSource(kind, source, path);
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
    if (stringAt(item, 'key') === '') errors.push(required(`${at}.key`));
    errors.push(...validateFilePath(item, at), ...validateMode(item, 'mode', at));
    return errors;
  });
}

/** A relative path that neither climbs nor collides with the `..data` links of atomic updates. */
function validateFilePath(item: JsonObject, at: string): FieldError[] {
  const value = stringAt(item, 'path');
  const field = `${at}.path`;
  if (value === '') return [required(field)];
  const errors = validateDescendingPath(value, field);
  if (value.startsWith('..') && !value.startsWith('../')) {
    errors.push(invalidValue(field, value, "must not start with '..'"));
  }
  return errors;
}

function validateDownward(source: JsonObject, path: string): FieldError[] {
  // Kubernetes does not say which of the items it means.
  return listAt(source, 'items').flatMap((item) => {
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
      errors.push(required(at, 'one of fieldRef and resourceFieldRef is required'));
    }
    errors.push(...validateMode(item, 'mode', at));
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
      errors.push(...validateProjection(kind, part, `${at}.${kind}`, path));
      for (const file of projectedPaths(kind, part)) {
        const who = kind === 'secret' || kind === 'configMap' ? stringAt(part, 'name') : file;
        if (paths.has(file)) errors.push(invalidValue(path, who, 'conflicting duplicate paths'));
        paths.add(file);
      }
    }
    if (given > 1) errors.push(forbiddenField(at, 'may not specify more than 1 volume type per source'));
  });
  return errors;
}

const LONGEST_LIFE = 2 ** 32;

function validateProjection(kind: string, part: JsonObject, path: string, volume: string): FieldError[] {
  switch (kind) {
    case 'secret':
    case 'configMap':
      return [
        ...(stringAt(part, 'name') === '' ? [required(`${path}.name`)] : []),
        ...validateItems(part, path),
      ];
    case 'downwardAPI':
      return validateDownward(part, path);
    case 'serviceAccountToken': {
      const seconds = numberAt(part, 'expirationSeconds') ?? 3600;
      const wrong =
        seconds < 600
          ? 'may not specify a duration less than 10 minutes'
          : seconds > LONGEST_LIFE
            ? 'may not specify a duration larger than 2^32 seconds'
            : undefined;
      // The path of the token's file is that of the volume in Kubernetes' words.
      return [
        ...(wrong === undefined ? [] : [invalidValue(`${path}.expirationSeconds`, seconds, wrong)]),
        ...validateFilePath(part, volume),
      ];
    }
    default:
      return [];
  }
}

/** Where the files of a projection are; a token's is not compared with others. */
function projectedPaths(kind: string, part: JsonObject): string[] {
  if (kind === 'serviceAccountToken') return [];
  return listAt(part, 'items')
    .map((item) => stringAt(item, 'path'))
    .filter((path) => path !== '');
}
